//! When a subscriber's path can't take its video, and when to try again.
//!
//! The path of simulcast's subscribers is measured, and they get a layer that fits. Where there is only
//! one layer, or even the lowest is too much, there is nothing smaller to send: then video pauses and
//! sound goes on, the queue on the path empties, and after a while video is tried again with a
//! keyframe. By what the subscriber's own reports say (RFC 3550, section 6.4), which every client sends
//! and which cost nothing, unlike measuring.

use std::time::{Duration, Instant};

/// The share of packets lost that no resending makes up for, and one that leaves no doubt.
const LOSS: f32 = 0.25;
const HEAVY_LOSS: f32 = 0.5;
/// A round trip this much longer than the shortest is a queue.
const QUEUE: Duration = Duration::from_millis(300);
/// What shows that a layer is too much, before it is that bad.
const SOME_LOSS: f32 = 0.1;
const SOME_QUEUE: Duration = Duration::from_millis(150);
/// Reports in a row that say so.
const REPORTS: u32 = 2;
/// How long video pauses at first, and at most. Each time in vain doubles it.
const PAUSE: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(12);
/// How long video must flow until a pause counts as over for good.
const RECOVERED: Duration = Duration::from_secs(10);
/// How often a keyframe is asked for to begin again with.
const ASK: Duration = Duration::from_secs(1);

/// One subscriber's video.
#[derive(Debug)]
pub(super) struct Strain {
    gate: Gate,
    bad: u32,
    /// Whether the last report showed any.
    shows: bool,
    shortest: Option<Duration>,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Since when, if it was shut before.
    Open(Option<Instant>),
    /// The path empties until then.
    Shut(Instant),
    /// It opens with the next keyframe, for which is asked then.
    Ajar(Instant),
}

impl Default for Strain {
    fn default() -> Self {
        Self {
            gate: Gate::Open(None),
            bad: 0,
            shows: false,
            shortest: None,
            pause: PAUSE,
        }
    }
}

impl Strain {
    /// Whether video flows.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.gate, Gate::Open(_))
    }

    /// Whether the last report shows that the path has more to carry than it can.
    pub(super) fn shows(&self) -> bool {
        self.shows
    }

    /// Whether a keyframe that comes now would let it flow again.
    pub(super) fn is_ajar(&self) -> bool {
        matches!(self.gate, Gate::Ajar(_))
    }

    /// There is something smaller to send: it flows from its next keyframe on.
    pub(super) fn relieve(&mut self, now: Instant) {
        self.gate = Gate::Ajar(now);
        self.pause = PAUSE;
    }

    /// A keyframe has come while it [`Self::is_ajar`]: video flows from it on.
    pub(super) fn open(&mut self, now: Instant) {
        self.gate = Gate::Open(Some(now));
    }

    /// The subscriber's report of its video, of the time since the last. True: video pauses from now on.
    pub(super) fn reported(&mut self, now: Instant, loss: f32, rtt: Option<Duration>) -> bool {
        let Gate::Open(since) = self.gate else {
            return false;
        };
        let shortest = rtt.into_iter().chain(self.shortest).min();
        self.shortest = shortest;
        let queue = rtt.zip(shortest).map(|(rtt, shortest)| rtt - shortest);
        let is_bad = loss >= LOSS || queue.is_some_and(|queue| queue >= QUEUE);
        self.shows = loss >= SOME_LOSS || queue.is_some_and(|queue| queue >= SOME_QUEUE);
        self.bad = if is_bad { self.bad + 1 } else { 0 };
        let flowed = since.is_none_or(|since| now >= since + RECOVERED);
        if flowed {
            self.pause = PAUSE;
        }
        if self.bad < REPORTS && loss < HEAVY_LOSS {
            return false;
        }
        self.bad = 0;
        self.gate = Gate::Shut(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// When [`Self::asks`] has something to say, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.gate {
            Gate::Open(_) => None,
            Gate::Shut(until) | Gate::Ajar(until) => Some(until),
        }
    }

    /// Whether to ask for a keyframe now. It counts as asked.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = self.due().is_some_and(|due| now >= due);
        if asks {
            self.gate = Gate::Ajar(now + ASK);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(40));

    #[test]
    fn losses_that_can_be_made_up_for_pause_nothing() {
        let mut now = Instant::now();
        let mut strain = Strain::default();
        for loss in [0.05, 0.3, 0.1, 0.05, 0.24].repeat(10) {
            now += Duration::from_secs(1);
            assert!(!strain.reported(now, loss, RTT));
        }
        assert!(strain.is_open());
    }

    #[test]
    fn a_queue_pauses_video_even_without_losses() {
        let mut now = Instant::now();
        let mut strain = Strain::default();
        assert!(!strain.reported(now, 0.0, RTT));
        for (report, rtt) in [200, 400, 700].into_iter().enumerate() {
            now += Duration::from_secs(1);
            let paused = strain.reported(now, 0.0, Some(Duration::from_millis(rtt)));
            assert_eq!(paused, report == 2);
        }
    }

    #[test]
    fn something_smaller_flows_from_its_keyframe_on() {
        let now = Instant::now();
        let mut strain = Strain::default();
        assert!(strain.reported(now, 0.6, RTT));
        strain.relieve(now);
        assert!(strain.is_ajar() && strain.asks(now));
        strain.open(now);
        assert!(strain.is_open());
    }

    #[test]
    fn video_is_tried_again_with_a_keyframe_ever_more_rarely_until_it_flows() {
        let mut now = Instant::now();
        let mut strain = Strain::default();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            assert!(strain.reported(now, 0.6, RTT));
            let begin = now;
            while !strain.asks(now) {
                assert!(!strain.is_ajar());
                now += Duration::from_millis(500);
            }
            pauses.push((now - begin).as_secs());
            assert!(strain.is_ajar() && !strain.asks(now));
            assert!(strain.asks(now + ASK));
            strain.open(now);
            now += Duration::from_secs(2);
        }
        assert_eq!(pauses, [3, 6, 12, 12]);
        for _ in 0..10 {
            now += Duration::from_secs(1);
            assert!(!strain.reported(now, 0.0, RTT));
        }
        assert!(strain.reported(now, 0.6, RTT));
        assert_eq!(strain.due(), Some(now + PAUSE));
    }
}

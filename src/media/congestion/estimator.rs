//! What a path takes, out of transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! A queue at a bottleneck shows as packets that take longer than the fastest ones of the last seconds.
//! While one stands, what arrives is what the bottleneck lets through: the estimate falls to a little
//! below that, as often as it likes, and never any further. While none stands, it rises: slowly near
//! the rate at which the last queue stood, faster elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

/// The least that is estimated, in bits per second. A picture and sound still pass.
const LEAST: f64 = 200_000.0;
/// What is assumed at first, in bits per second.
const FIRST: f64 = 1_000_000.0;
/// The most that is estimated, in bits per second.
const MOST: f64 = 20_000_000.0;
/// A packet's headers of IP, UDP, SRTP and RTP with its extension, in bytes. Feedback counts payloads.
const HEADERS: usize = 60;
/// How long packets are remembered.
const MEMORY: Duration = Duration::from_secs(1);
/// Packets remembered at most; the oldest are forgotten first.
const PACKETS: usize = 4096;
/// Over how long the rate of arrival is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// The least time over which a rate of arrival means anything.
const RATE_LEAST: Duration = Duration::from_millis(150);
/// The same for what passes while a queue stands.
const PASSING_LEAST: Duration = Duration::from_millis(80);
/// A queue stands if no packet of so long a time was faster: shorter delays are jitter or one big frame.
const QUEUE_WINDOW: Duration = Duration::from_millis(150);
/// A standing queue of this length is congestion.
const QUEUE: Duration = Duration::from_millis(40);
/// So long it must stand. A hiccup of the radio, or of a busy machine, is no queue.
const CONFIRMED: Duration = Duration::from_millis(120);
/// The part of the estimate that is left free to empty a queue, for each second of its length, and at
/// most: one of 200 ms is gone after half a second.
const EMPTYING: f64 = 2.0;
/// See [`EMPTYING`].
const EMPTYING_MOST: f64 = 0.5;
/// Below this length, the rate may rise: the less, the nearer it is.
const CLEAR: Duration = Duration::from_millis(25);
/// The fastest packet of so many slices is what a path without a queue takes. A path that became
/// longer is learnt after this time.
const SLICES: usize = 10;
/// See [`SLICES`].
const SLICE: Duration = Duration::from_secs(1);
/// A feedback whose delays differ by more than this from the ones before counts from another clock.
const CLOCK_JUMP: i128 = 10_000_000_000;
/// While a queue stands, the estimate is this part of what arrives.
const BACK_OFF: f64 = 0.85;
/// The growth in a second: before the first congestion, away from the last one's rate, and near it.
const GROWTH: [f64; 3] = [0.5, 0.25, 0.08];
/// "Near" is between these parts of the rate at which the last queue stood.
const NEAR: (f64, f64) = (0.8, 1.15);
/// After congestion, the rate stays for so long.
const HOLD: Duration = Duration::from_millis(700);
/// No more is estimated than this many times what arrives: the rest was never tried. Encoders that make
/// less than they are told must not keep it down.
const TRIED: f64 = 1.5;
/// Whose estimate is more than this part of that is limited by it.
const NEARLY: f64 = 0.9;
/// What is always worth trying above that, in bits per second.
const TRY: f64 = 50_000.0;
/// More lost packets than this part are congestion, queue or not. Radio links lose some by themselves.
const LOSS: f64 = 0.12;
/// So many packets must be known before the loss means anything.
const LOSS_PACKETS: usize = 40;
/// How often the loss may lower the estimate.
const LOSS_INTERVAL: Duration = Duration::from_millis(400);
/// Without feedback for so long, packets or reports don't arrive at all.
const SILENCE: Duration = Duration::from_secs(1);
/// What is left of the estimate after each such time.
const SILENCE_FACTOR: f64 = 0.7;

/// A queue that is still there after so long, though less was sent, isn't ours: the path became longer,
/// or others keep the queue full.
const STUBBORN: Duration = Duration::from_millis(2500);
/// "Still there" is more than this part of the longest that it was.
const SHRUNK: f64 = 0.6;

/// What the other side says about one packet of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Packet {
    /// When it was sent, by our clock.
    pub(in crate::media) sent: Duration,
    /// When it arrived, by the other side's clock; `None` if it didn't.
    pub(in crate::media) arrived: Option<Duration>,
    /// Its payload.
    pub(in crate::media) bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(in crate::media) struct Estimator {
    estimate: f64,
    packets: VecDeque<Packet>,
    fastest: Fastest,
    queue: Duration,
    standing: Option<Standing>,
    /// The rate at which the last queue stood.
    ceiling: Option<f64>,
    congested_before: bool,
    /// When the estimate last fell.
    fell: Option<Duration>,
    lowered_for_loss: Duration,
    updated: Option<Duration>,
    limited: bool,
}

/// A queue that stands without a break.
#[derive(Debug, Clone, Copy)]
struct Standing {
    since: Duration,
    longest: Duration,
}

impl Default for Estimator {
    fn default() -> Self {
        Self {
            estimate: FIRST,
            packets: VecDeque::new(),
            fastest: Fastest::default(),
            queue: Duration::ZERO,
            standing: None,
            ceiling: None,
            congested_before: false,
            fell: None,
            lowered_for_loss: Duration::ZERO,
            updated: None,
            limited: false,
        }
    }
}

impl Estimator {
    /// What the path takes, in bits per second with all headers.
    pub(in crate::media) fn estimate(&self) -> u64 {
        whole(self.estimate)
    }

    /// What to send now, in bits per second with all headers: less than the path takes while a queue
    /// is to be emptied.
    pub(in crate::media) fn target(&self) -> u64 {
        let waiting = match self.queue > CLEAR {
            true => (self.queue.as_secs_f64() * EMPTYING).min(EMPTYING_MOST),
            false => 0.0,
        };
        whole(self.estimate * (1.0 - waiting))
    }

    /// How long packets wait at the bottleneck.
    pub(in crate::media) const fn queue(&self) -> Duration {
        self.queue
    }

    /// Whether packets wait, or did a moment ago.
    pub(in crate::media) fn is_congested(&self, now: Duration) -> bool {
        self.queue > CLEAR || self.fell.is_some_and(|at| now.saturating_sub(at) < HOLD)
    }

    /// Whether the estimate doesn't rise only because too little is sent to try more.
    pub(in crate::media) const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Assumes another rate at first; without effect once there was feedback.
    pub(in crate::media) fn seed(&mut self, bits_per_second: u64) {
        if self.updated.is_none() {
            self.assume(bits_per_second);
        }
    }

    /// Tries so much at once.
    pub(in crate::media) fn assume(&mut self, bits_per_second: u64) {
        self.estimate = self.estimate.max(bits_per_second as f64).min(MOST);
    }

    /// Takes a feedback that came at `now`, by our clock. Its packets are in the order of sending.
    pub(in crate::media) fn feedback(
        &mut self,
        now: Duration,
        packets: impl IntoIterator<Item = Packet>,
    ) {
        for packet in packets {
            if let Some(arrived) = packet.arrived {
                let delay = signed(arrived) - signed(packet.sent);
                if self.fastest.is_from_another_clock(delay) {
                    self.fastest = Fastest::default();
                    self.packets.clear();
                }
                self.fastest.add(packet.sent, delay);
            }
            if self.packets.len() >= PACKETS {
                self.packets.pop_front();
            }
            self.packets.push_back(packet);
        }
        let Some(newest) = self.packets.iter().map(|packet| packet.sent).max() else {
            return;
        };
        while self
            .packets
            .front()
            .is_some_and(|packet| packet.sent + MEMORY < newest)
        {
            self.packets.pop_front();
        }
        let elapsed = self.updated.map_or(Duration::ZERO, |before| {
            now.saturating_sub(before).min(SILENCE)
        });
        self.updated = Some(now);
        self.queue = self.standing_queue();
        self.look_at_queue(now);
        self.look_at_loss(now);
        self.rise(now, elapsed);
        self.estimate = self.estimate.clamp(LEAST, MOST);
    }

    /// Notes that it is `now` and packets are being sent: if no feedback comes, the path is full or gone.
    pub(in crate::media) fn sending(&mut self, now: Duration) {
        if let Some(before) = self.updated
            && now.saturating_sub(before) >= SILENCE
        {
            self.updated = Some(now);
            self.fell = Some(now);
            self.estimate = (self.estimate * SILENCE_FACTOR).max(LEAST);
        }
    }

    fn look_at_queue(&mut self, now: Duration) {
        if self.queue <= QUEUE {
            self.standing = None;
            return;
        }
        let new = Standing {
            since: now,
            longest: self.queue,
        };
        let standing = self.standing.get_or_insert(new);
        standing.longest = standing.longest.max(self.queue);
        let Standing { since, longest } = *standing;
        if now.saturating_sub(since) > STUBBORN && self.queue > longest.mul_f64(SHRUNK) {
            self.fastest.forget();
            self.standing = None;
            return;
        }
        let Some(rate) = self.passing() else {
            return;
        };
        if now.saturating_sub(since) < CONFIRMED {
            return;
        }
        self.congested_before = true;
        if rate < self.estimate {
            self.ceiling = Some(rate);
        }
        self.estimate = self.estimate.min(rate * BACK_OFF);
        self.fell = Some(now);
    }

    fn look_at_loss(&mut self, now: Duration) {
        let known = self.packets.len();
        let lost = self.packets.iter().filter(|it| it.arrived.is_none());
        let loss = lost.count() as f64 / known.max(1) as f64;
        let again = now.saturating_sub(self.lowered_for_loss) >= LOSS_INTERVAL;
        if known < LOSS_PACKETS || loss <= LOSS || !again {
            return;
        }
        let Some(rate) = self.arriving() else {
            return;
        };
        self.lowered_for_loss = now;
        self.fell = Some(now);
        self.congested_before = true;
        let less = (self.estimate * (1.0 - 0.5 * loss)).max(rate * BACK_OFF);
        self.estimate = self.estimate.min(less);
    }

    fn rise(&mut self, now: Duration, elapsed: Duration) {
        let held = self
            .fell
            .is_some_and(|at| now.saturating_sub(at) < HOLD.max(self.queue));
        if held || self.queue > CLEAR {
            return;
        }
        let near = self
            .ceiling
            .is_some_and(|ceiling| (ceiling * NEAR.0..ceiling * NEAR.1).contains(&self.estimate));
        if self
            .ceiling
            .is_some_and(|ceiling| self.estimate >= ceiling * NEAR.1)
        {
            // The bottleneck is gone.
            self.ceiling = None;
        }
        let growth = match (self.congested_before, near) {
            (false, _) => GROWTH[0],
            (true, false) => GROWTH[1],
            (true, true) => GROWTH[2],
        };
        // A queue that is about to stand is the first sign of having come too far.
        let clear = 1.0 - self.queue.as_secs_f64() / CLEAR.as_secs_f64();
        let more = self.estimate * (1.0 + growth * clear * elapsed.as_secs_f64());
        let tried = self
            .arriving()
            .map_or(self.estimate, |rate| rate * TRIED + TRY);
        self.limited = more > tried * NEARLY;
        self.estimate = more.min(tried.max(self.estimate));
    }

    /// The shortest wait of the latest packets.
    fn standing_queue(&self) -> Duration {
        let arrivals = || {
            self.packets
                .iter()
                .filter_map(|it| Some((it.sent, it.arrived?)))
        };
        let Some(newest) = arrivals().map(|(_, arrived)| arrived).max() else {
            return self.queue;
        };
        let fastest = self.fastest.delay();
        let latest = arrivals().filter(|(_, arrived)| *arrived + QUEUE_WINDOW >= newest);
        let delays = latest.map(|(sent, arrived)| signed(arrived) - signed(sent) - fastest);
        let shortest = delays.min().unwrap_or_default().max(0);
        Duration::from_nanos(u64::try_from(shortest).unwrap_or(u64::MAX))
    }

    /// The bits per second that the bottleneck let through while a queue stood without a break.
    fn passing(&self) -> Option<f64> {
        let fastest = self.fastest.delay();
        let arrivals = self.packets.iter().rev();
        let mut arrivals = arrivals.filter_map(|it| Some((it.sent, it.arrived?, it.bytes)));
        let (_, newest, last) = arrivals.next()?;
        let (mut oldest, mut bytes, mut before) = (newest, 0, last);
        for (sent, arrived, size) in arrivals {
            let waited = signed(arrived) - signed(sent) - fastest;
            if waited < signed(CLEAR) || arrived + RATE_WINDOW < newest {
                break;
            }
            // The first packet only starts the time.
            bytes += before + HEADERS;
            (oldest, before) = (arrived.min(oldest), size);
        }
        let span = newest.saturating_sub(oldest);
        (span >= PASSING_LEAST).then(|| bytes as f64 * 8.0 / span.as_secs_f64())
    }

    /// The bits per second that arrived of late.
    fn arriving(&self) -> Option<f64> {
        let arrivals = || {
            self.packets
                .iter()
                .filter_map(|it| Some((it.arrived?, it.bytes)))
        };
        let newest = arrivals().map(|(arrived, _)| arrived).max()?;
        let oldest = arrivals().map(|(arrived, _)| arrived).min()?;
        let span = newest.saturating_sub(oldest).min(RATE_WINDOW);
        if span < RATE_LEAST {
            return None;
        }
        let start = newest.saturating_sub(span);
        // The first packet only starts the time.
        let within = arrivals().filter(|(arrived, _)| *arrived > start);
        let bytes: usize = within.map(|(_, bytes)| bytes + HEADERS).sum();
        Some(bytes as f64 * 8.0 / span.as_secs_f64())
    }
}

/// The fastest packets of the last seconds, by slices of time.
#[derive(Debug, Default)]
struct Fastest {
    /// When a slice began, and its shortest delay in nanoseconds, to an unknown zero.
    slices: VecDeque<(Duration, i128)>,
    last: Option<i128>,
}

impl Fastest {
    fn add(&mut self, sent: Duration, delay: i128) {
        self.last = Some(delay);
        match self.slices.back_mut() {
            Some((began, shortest)) if sent < *began + SLICE => *shortest = delay.min(*shortest),
            _ => {
                if self.slices.len() >= SLICES {
                    self.slices.pop_front();
                }
                self.slices.push_back((sent, delay));
            }
        }
    }

    fn delay(&self) -> i128 {
        let delays = self.slices.iter().map(|(_, delay)| *delay);
        delays.min().unwrap_or_default()
    }

    /// Learns the delay of the path anew.
    fn forget(&mut self) {
        self.slices.clear();
    }

    fn is_from_another_clock(&self, delay: i128) -> bool {
        self.last
            .is_some_and(|last| (delay - last).abs() > CLOCK_JUMP)
    }
}

fn signed(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// A rate in whole bits; a float never exceeds [`MOST`] here.
fn whole(rate: f64) -> u64 {
    rate as u64
}

#[cfg(test)]
mod tests;

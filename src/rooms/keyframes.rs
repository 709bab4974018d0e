//! When a publisher is asked for a keyframe.

use std::time::{Duration, Instant};

/// The shortest time between two requests to one stream: each costs its publisher a large frame.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Lets requests for one stream through, at most one per [`PAUSE`]; none is lost.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    wanted: bool,
}

impl Throttle {
    /// Someone needs a keyframe.
    pub(super) fn ask(&mut self) {
        self.wanted = true;
    }

    /// When [`Self::fire`] has something to send, if ever; now, if the pause is over.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.wanted
            .then(|| self.last.map_or(now, |last| (last + PAUSE).max(now)))
    }

    /// Whether a request must be sent now. It counts as sent.
    pub(super) fn fire(&mut self, now: Instant) -> bool {
        let fires = self.due(now).is_some_and(|due| due <= now);
        if fires {
            self.last = Some(now);
            self.wanted = false;
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_passes_at_once() {
        let now = Instant::now();
        let mut throttle = Throttle::default();
        assert!(!throttle.fire(now));
        throttle.ask();
        assert!(throttle.fire(now));
        assert!(!throttle.fire(now));
    }

    #[test]
    fn a_request_within_the_pause_is_sent_at_its_end() {
        let now = Instant::now();
        let mut throttle = Throttle::default();
        throttle.ask();
        assert!(throttle.fire(now));
        for ms in [1, 10, 499] {
            let later = now + Duration::from_millis(ms);
            throttle.ask();
            assert!(!throttle.fire(later));
            assert_eq!(throttle.due(later), Some(now + PAUSE));
        }
        assert!(throttle.fire(now + PAUSE));
        assert_eq!(throttle.due(now + PAUSE), None);
    }
}

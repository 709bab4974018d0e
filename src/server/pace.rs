//! How fast others may send. A WebSocket that is faster isn't refused: it isn't read for a while, and
//! its own queues fill. An HTTP request that comes too soon is.

use std::time::{Duration, Instant};

/// What may be sent at once, as the time that it would take at the given rate.
const BURST: Duration = Duration::from_secs(1);

/// So many messages and so many bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Nanoseconds.
    message: u64,
    /// Picoseconds.
    byte: u64,
}

/// What one sender has used of its rate (the virtual scheduling algorithm of ITU-T I.371).
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Until when what was sent would have taken at the given rate.
    used_until: Instant,
}

impl Rate {
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        let per = |whole: u64, number: usize| whole / (number as u64).max(1);
        Self {
            message: per(1_000_000_000, messages),
            byte: per(1_000_000_000_000, bytes),
        }
    }

    fn cost(self, bytes: usize) -> Duration {
        let bytes = self.byte.saturating_mul(bytes as u64) / 1_000;
        Duration::from_nanos(self.message.max(bytes))
    }
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { used_until: now }
    }

    /// Notes a message, which has come already. If that was too fast, until when to take no more.
    pub(super) fn note(&mut self, rate: Rate, bytes: usize, now: Instant) -> Option<Instant> {
        self.used_until = self.used_until.max(now) + rate.cost(bytes);
        self.held_until(now)
    }

    /// If too much was noted, until when to take no more.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        let may_go_on = self.used_until.checked_sub(BURST)?;
        (may_go_on > now).then_some(may_go_on)
    }

    /// Whether it is as if nothing had been noted.
    pub(super) fn is_unused(&self, now: Instant) -> bool {
        self.used_until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_counts() {
        let start = Instant::now();
        let rate = Rate::new(10, 1_000_000);
        let mut pace = Pace::new(start);
        for _ in 0..10 {
            assert_eq!(pace.note(rate, 1, start), None);
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(pace.note(rate, 1, start), Some(start + tenth));
        assert_eq!(pace.note(rate, 1, start + tenth), Some(start + 2 * tenth));
        let last = start + 12 * tenth;
        assert!(!pace.is_unused(last - tenth) && pace.is_unused(last));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.held_until(later), None);
        assert_eq!(pace.note(rate, 1, later), None);
    }

    #[test]
    fn bytes_count_where_they_cost_more() {
        let start = Instant::now();
        let rate = Rate::new(1_000, 1_000);
        let mut pace = Pace::new(start);
        assert_eq!(pace.note(rate, 1_000, start), None);
        let second = Duration::from_secs(1);
        assert_eq!(pace.note(rate, 1_000, start), Some(start + second));
    }
}

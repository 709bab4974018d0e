//! When each endpoint must be woken.

use std::collections::BTreeSet;
use std::time::Instant;

/// One time for each slot.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, usize)>,
    times: Vec<Option<Instant>>,
}

impl Timers {
    /// Wakes a slot at `at`, and no longer when it was to be woken before.
    pub(super) fn set(&mut self, slot: usize, at: Instant) {
        if self.times.len() <= slot {
            self.times.resize(slot + 1, None);
        }
        if self.times[slot] == Some(at) {
            return;
        }
        if let Some(other) = self.times[slot].replace(at) {
            self.order.remove(&(other, slot));
        }
        self.order.insert((at, slot));
    }

    /// Forgets a slot.
    pub(super) fn clear(&mut self, slot: usize) {
        if let Some(at) = self.times.get_mut(slot).and_then(Option::take) {
            self.order.remove(&(at, slot));
        }
    }

    /// The next time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes a slot whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<usize> {
        let &(at, slot) = self.order.first().filter(|(at, _)| *at <= now)?;
        self.order.remove(&(at, slot));
        self.times[slot] = None;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_slot_is_woken_once_at_its_latest_setting() {
        let now = Instant::now();
        let ms = |n| now + Duration::from_millis(n);
        let mut timers = Timers::default();
        timers.set(3, ms(5));
        timers.set(1, ms(20));
        timers.set(3, ms(30));
        timers.set(3, ms(10));
        timers.set(2, ms(20));
        timers.clear(2);
        assert_eq!(timers.next(), Some(ms(10)));
        assert_eq!(timers.due(ms(5)), None);
        assert_eq!(timers.due(ms(40)), Some(3));
        assert_eq!(timers.due(ms(40)), Some(1));
        assert_eq!(timers.due(ms(40)), None);
        assert_eq!(timers.next(), None);
    }
}

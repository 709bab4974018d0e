//! How often a client speaks: not too seldom, and not too much.

use std::time::{Duration, Instant};

/// The interval of a client whose first ping says none (kurento.md A1.14).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(20);
/// A client may be silent for so many.
const INTERVALS: u32 = 3;
/// Above this an interval is as good as this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// What isn't used of the allowance is saved for so long.
const SAVED: Duration = Duration::from_secs(4);

/// Waits for pings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watchdog {
    patience: Duration,
    heard: Instant,
}

/// So many requests a second, and what was saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// What one request costs.
    cost: Duration,
    /// At most [`SAVED`].
    saved: Duration,
    at: Instant,
}

impl Watchdog {
    /// By the first ping's interval, in milliseconds.
    pub(super) fn new(interval: Option<u64>, now: Instant) -> Self {
        let interval = interval.map_or(DEFAULT_INTERVAL, Duration::from_millis);
        Self {
            patience: interval.min(LONGEST_INTERVAL) * INTERVALS,
            heard: now,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn deadline(&self) -> Instant {
        self.heard + self.patience
    }
}

impl Allowance {
    pub(super) fn new(per_second: usize, now: Instant) -> Self {
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX).max(1);
        Self {
            cost: Duration::from_secs(1) / per_second,
            saved: SAVED,
            at: now,
        }
    }

    /// Whether one more may be made now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at);
        self.at = now;
        let saved = self.saved.saturating_add(since).min(SAVED);
        let left = saved.checked_sub(self.cost);
        self.saved = left.unwrap_or(saved);
        left.is_some()
    }
}

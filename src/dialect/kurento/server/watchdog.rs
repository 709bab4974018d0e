//! Whether a client that pings still does.

use std::time::{Duration, Instant};

/// The interval of a client whose first ping says none (kurento.md A1.14).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(20);
/// A client may be silent for so many.
const INTERVALS: u32 = 3;
/// Above this an interval is as good as this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Waits for pings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watchdog {
    patience: Duration,
    heard: Instant,
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

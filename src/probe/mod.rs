//! Coded test media, and the judge of what arrives.

pub mod judge;

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time since the Unix epoch, on a clock that only goes forward: it is set once in a process, and
/// then isn't changed by anyone who sets the system's.
#[must_use]
pub fn now() -> Duration {
    static START: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (start, unix) = START.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        (Instant::now(), unix.unwrap_or_default())
    });
    *unix + start.elapsed()
}

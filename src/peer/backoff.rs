//! How long to wait before trying again.

use std::time::Duration;

/// The longest first wait.
pub const FIRST: Duration = Duration::from_millis(300);
/// The longest wait at all.
pub const CAP: Duration = Duration::from_secs(7);

/// Exponential back-off with full jitter: before each try a random wait between nothing and a bound
/// that doubles from [`FIRST`] to [`CAP`]. It spreads the return of many peers after a server's
/// restart. It never gives up.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next try; `random` is uniform in `0.0..1.0`.
    pub fn next(&mut self, random: f64) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }

    /// A try succeeded: start over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [300, 600, 1200, 2400, 4800, 7000, 7000]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), FIRST / 2);
    }

    #[test]
    fn it_never_overflows() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(1.0), CAP);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
    }
}

//! Marks that survive compression: what test media say about themselves.
//!
//! Pictures carry blocks (see [`picture`]), sound carries tones (see [`sound`]). Both say which source
//! made them, a number that counts up, and when they left it. Pure but for [`now`]; who paints is
//! [`super::overlay`], who reads is the probe.

pub(crate) mod picture;
pub(crate) mod sound;

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

/// The time of which only `millis % modulus` is known and that is nearest to `near`.
pub(crate) fn unwrap_millis(millis: u64, modulus: u64, near: Duration) -> Duration {
    let now = u64::try_from(near.as_millis()).unwrap_or(u64::MAX);
    // How far it is back from now, as the shorter way round.
    let back = now.wrapping_sub(millis) % modulus;
    let time = match back > modulus / 2 {
        true => now.saturating_add(modulus - back),
        false => now.saturating_sub(back),
    };
    Duration::from_millis(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_found_again_from_its_end() {
        let near = Duration::from_millis(1_763_713_200_123);
        for modulus in [1 << 32, 1_638_400] {
            for apart in [-60_000_i64, -1, 0, 1, 60_000] {
                let time = near.as_millis() as u64;
                let time = time.checked_add_signed(apart).unwrap();
                assert_eq!(
                    unwrap_millis(time % modulus, modulus, near),
                    Duration::from_millis(time),
                    "{modulus} {apart}"
                );
            }
        }
    }
}

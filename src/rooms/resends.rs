//! How much is sent once more to one peer. str0m bounds that as well, as a share of what was sent; but it looks
//! at that share every 50 ms only, and until then sends whatever is asked for: one packet can ask for thousands.

use std::time::{Duration, Instant};

/// What counts for how much may be sent once more: this second, and the one before.
const SECOND: Duration = Duration::from_secs(1);
/// Packets that may be sent once more however little was sent.
const FREE: usize = 64;

/// What was sent to one peer.
#[derive(Debug, Default)]
pub(super) struct Resends {
    since: Option<Instant>,
    sent: usize,
    before: usize,
    resent: usize,
}

impl Resends {
    /// A packet was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.turn(now);
        self.sent += 1;
    }

    /// A packet was sent once more. False: that was one too many.
    pub(super) fn resent(&mut self, now: Instant) -> bool {
        self.turn(now);
        self.resent += 1;
        self.resent <= FREE + self.before + self.sent
    }

    fn turn(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now >= since + SECOND) {
            *self = Self {
                since: Some(now),
                before: self.sent,
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_may_go_once_more_and_what_is_over_comes_again_later() {
        let (mut resends, now) = (Resends::default(), Instant::now());
        for _ in 0..100 {
            resends.sent(now);
        }
        let times = |resends: &mut Resends, at: Instant| {
            (0..1_000).take_while(|_| resends.resent(at)).count()
        };
        assert_eq!(times(&mut resends, now), FREE + 100);
        assert_eq!(times(&mut resends, now + SECOND / 2), 0);
        // All of the last second may have been lost.
        assert_eq!(times(&mut resends, now + SECOND), FREE + 100);
        assert_eq!(times(&mut resends, now + 2 * SECOND), FREE);
    }
}

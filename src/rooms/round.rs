//! What one round with str0m sent of the packets that were queued for a subscriber.

use str0m::rtp::Ssrc;

/// Tells whether exactly the queued packets went out.
#[derive(Default)]
pub(super) struct Round {
    /// Whether there were any.
    any: bool,
    /// How many have not been sent.
    left: usize,
    /// Of the subscriber's audio and video.
    ssrcs: [Option<Ssrc>; 2],
    /// Whether something was sent again, of which more may be left.
    resent: bool,
}

impl Round {
    /// Nothing is sent yet of so many packets.
    pub(super) fn new(packets: usize, ssrcs: [Option<Ssrc>; 2]) -> Self {
        Self {
            any: packets > 0,
            left: packets,
            ssrcs,
            resent: false,
        }
    }

    /// A datagram is sent. Only media counts, not what tells about it (RFC 5761, section 4; RFC 7983).
    pub(super) fn sent(&mut self, datagram: &[u8]) {
        let [128..192, kind, _, _, _, _, _, _, rest @ ..] = datagram else {
            return;
        };
        let Some(ssrc) = rest.first_chunk().filter(|_| !(192..224).contains(kind)) else {
            return;
        };
        let ssrc = Ssrc::from(u32::from_be_bytes(*ssrc));
        match self.left.checked_sub(1) {
            Some(left) if self.ssrcs.contains(&Some(ssrc)) => self.left = left,
            _ => self.resent = true,
        }
    }

    /// Whether packets were queued, all have gone, and nothing else.
    pub(super) fn is_complete(&self) -> bool {
        self.any && self.left == 0 && !self.resent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x90, kind, 0, 1, 0, 0, 0, 2];
        packet.extend(ssrc.to_be_bytes());
        packet.push(0);
        packet
    }

    #[test]
    fn a_round_is_complete_when_all_queued_packets_and_no_others_went_out() {
        let ssrcs = [Some(Ssrc::from(1)), Some(Ssrc::from(2))];
        let mut round = Round::new(2, ssrcs);
        round.sent(&packet(96, 2));
        assert!(!round.is_complete());
        round.sent(&packet(200, 1));
        round.sent(&[22, 254, 253]);
        assert!(!round.is_complete());
        round.sent(&packet(96 | 0x80, 1));
        assert!(round.is_complete());
        round.sent(&packet(97, 3));
        assert!(!round.is_complete());
    }

    #[test]
    fn a_round_without_packets_is_never_complete() {
        let mut round = Round::new(0, [None; 2]);
        assert!(!round.is_complete());
        round.sent(&packet(96, 1));
        assert!(!round.is_complete());
    }
}

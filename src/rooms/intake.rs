//! How much of one peer's feedback is passed on to str0m, which decrypts and works on whatever it gets.

use std::time::{Duration, Instant};

/// Packets of feedback that one peer may send in a second; more are dropped. Of lost packets, and each
/// twentieth of a second, browsers tell once or twice.
const FEEDBACK: usize = 500;
const SECOND: Duration = Duration::from_secs(1);

/// A packet's beginning (RFC 3550, section 5.1) up to its source.
const HEADER: usize = 12;

/// What one peer has sent.
#[derive(Debug, Default)]
pub(super) struct Intake {
    since: Option<Instant>,
    taken: usize,
}

impl Intake {
    /// Whether a packet may be passed on: feedback up to a number in each second, and everything else.
    pub(super) fn take(&mut self, now: Instant, packet: &[u8]) -> bool {
        // RFC 7983, section 7, and RFC 5761, section 4.
        if !matches!(packet, [128..192, 192..224, ..]) {
            return true;
        }
        if self.since.is_none_or(|since| now >= since + SECOND) {
            (self.since, self.taken) = (Some(now), 0);
        }
        let may = self.taken < FEEDBACK;
        self.taken += usize::from(may);
        may
    }
}

/// The source of a packet of media.
pub(super) fn source(packet: &[u8]) -> Option<u32> {
    let (header, _) = packet.split_first_chunk::<HEADER>()?;
    let [first, second, .., a, b, c, d] = *header;
    let is_media = (128..192).contains(&first) && !(192..224).contains(&second);
    is_media.then(|| u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, source: u32) -> Vec<u8> {
        let mut packet = vec![0x80, kind, 0, 1, 0, 0, 0, 0];
        packet.extend(source.to_be_bytes());
        packet
    }

    #[test]
    fn feedback_is_taken_up_to_a_number_in_each_second() {
        let (mut intake, now) = (Intake::default(), Instant::now());
        for later in [now, now + SECOND] {
            for _ in 0..FEEDBACK {
                assert!(intake.take(later, &packet(201, 7)));
            }
            let soon = later + SECOND / 2;
            assert!(!intake.take(soon, &packet(201, 7)));
            // The rest goes on: media, a handshake, a check.
            assert!(intake.take(soon, &packet(96, 7)));
            assert!(intake.take(soon, &[22; 40]));
            assert!(intake.take(soon, &[0; 40]));
        }
    }

    #[test]
    fn what_is_not_media_has_no_source() {
        assert_eq!(source(&packet(96, 7)), Some(7));
        assert_eq!(source(&packet(0x80 | 111, 7)), Some(7));
        // RTCP, a check, a handshake, and a packet that is too short.
        assert_eq!(source(&packet(200, 7)), None);
        assert_eq!(source(&[0; 20]), None);
        assert_eq!(source(&[22; 20]), None);
        assert_eq!(source(&packet(96, 7)[..11]), None);
    }
}

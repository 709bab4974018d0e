//! What of one peer's packets is passed on to str0m: it remembers each source of media that it ever heard, and
//! works on whatever feedback it gets.

use std::time::{Duration, Instant};

/// Sources of media (SSRC) that one peer may ever use. Browsers have less than ten; who restarts its encoder
/// may take new ones for a long time.
const SOURCES: usize = 256;
/// Packets of feedback that one peer may send in a second; more are dropped. Of each lost packet and each
/// twentieth of a second browsers tell once or twice.
const FEEDBACK: usize = 500;
const SECOND: Duration = Duration::from_secs(1);

/// A packet's beginning (RFC 3550, section 5.1) up to its source.
const HEADER: usize = 12;

/// What one peer has sent.
#[derive(Debug)]
pub(super) struct Intake {
    sources: Vec<u32>,
    feedback: Allowance,
}

/// So many in so long a time; it begins anew after that.
#[derive(Debug)]
struct Allowance {
    most: usize,
    time: Duration,
    since: Option<Instant>,
    taken: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            feedback: Allowance::new(FEEDBACK, SECOND),
        }
    }
}

impl Intake {
    /// Whether a packet may be passed on. Media of sources that are known always may; a new one's only until
    /// there were too many. What is neither media nor feedback has other bounds.
    pub(super) fn take(&mut self, now: Instant, packet: &[u8]) -> bool {
        match packet {
            // RFC 7983, section 7, and RFC 5761, section 4.
            [128..192, 192..224, ..] => self.feedback.take(now),
            _ => source(packet).is_none_or(|source| self.knows(source)),
        }
    }

    fn knows(&mut self, source: u32) -> bool {
        let sources = &mut self.sources;
        match sources.iter().position(|it| *it == source) {
            Some(0) => {}
            // Those in use are found soon.
            Some(at) => sources.swap(at, at - 1),
            None if sources.len() == SOURCES => return false,
            None => sources.push(source),
        }
        true
    }
}

impl Allowance {
    const fn new(most: usize, time: Duration) -> Self {
        Self {
            most,
            time,
            since: None,
            taken: 0,
        }
    }

    /// One more. False: that is one too many.
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now >= since + self.time) {
            (self.since, self.taken) = (Some(now), 0);
        }
        let may = self.taken < self.most;
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
    fn new_sources_are_taken_up_to_a_number_and_known_ones_always() {
        let (mut intake, now) = (Intake::default(), Instant::now());
        let many = SOURCES as u32;
        for source in 0..many {
            assert!(intake.take(now, &packet(96, source)));
        }
        for round in 0..3 {
            assert!(!intake.take(now, &packet(96, many + round)));
            assert!((0..many).all(|source| intake.take(now, &packet(96, source))));
        }
        assert_eq!(intake.sources.len(), SOURCES);
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

//! The numbers that a peer gives to the packets of its transport
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), as far as str0m must not see them.
//!
//! str0m 0.24 counts how often they have come round. To 65535 after 0 it goes back below zero, to nearly 2^64,
//! and its next report tells of all that are missing in between, until there is no memory left. So a number
//! of the upper half is kept from it while its own may still be that far down. Which it believed is known by
//! what it passes on; others may have forged the rest.

/// As in `a=extmap`.
const URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Where str0m looks for it if the offer has nothing there.
const USUAL: u8 = 3;
/// From here on a number may be before 0.
const HALF: u16 = 0x8000;
/// Bytes of a packet before its sources (RFC 3550, section 5.1).
const HEAD: usize = 12;

/// What is known of one peer's numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// By which its packets name them.
    ids: Vec<u8>,
    /// Whether str0m may have one of the lower half.
    low: bool,
    /// The highest of these that it believed.
    highest: Option<u16>,
    /// Whether it believed one of the upper half. What comes then is never far enough down.
    past: bool,
}

impl Numbers {
    /// Before the first packet of a peer with this offer.
    pub(super) fn new(offer: &str) -> Self {
        let mut ids = Vec::new();
        let mut has_other = false;
        for line in offer.lines() {
            let Some((id, uri)) = line
                .strip_prefix("a=extmap:")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let id = id.split('/').next().and_then(|id| id.parse().ok());
            if uri.contains(URI) {
                ids.extend(id.filter(|id| !ids.contains(id)));
            } else {
                has_other |= id == Some(USUAL);
            }
        }
        if !has_other {
            ids.push(USUAL);
        }
        Self {
            ids,
            ..Self::default()
        }
    }

    /// Whether a packet may be passed on.
    pub(super) fn takes(&mut self, packet: &[u8]) -> bool {
        if self.past {
            return true;
        }
        let (mut takes, mut low) = (true, false);
        each(packet, |id, value| {
            let Some((number, _)) = value.split_first_chunk() else {
                return;
            };
            if self.ids.contains(&id) {
                let number = u16::from_be_bytes(*number);
                low |= number < HALF;
                takes &= self.may_come(number);
            }
        });
        self.low |= low && takes;
        takes
    }

    /// A packet with this number was believed.
    pub(super) fn came(&mut self, number: Option<u16>) {
        if let Some(number) = number {
            self.past |= number >= HALF;
            self.highest = self.highest.max(Some(number));
        }
    }

    fn may_come(&self, number: u16) -> bool {
        let near = |highest| number - highest < HALF;
        number < HALF || !self.low || self.highest.is_some_and(near)
    }
}

/// A packet's header extensions, each by its id (RFC 8285, section 4). Nothing of what is no media.
fn each(packet: &[u8], mut found: impl FnMut(u8, &[u8])) {
    let [first, second, ..] = *packet else {
        return;
    };
    let is_media = first >> 6 == 2 && !(64..96).contains(&(second & 0x7f));
    if !is_media || first & 0x10 == 0 {
        return;
    }
    let Some((&[form_high, form_low, high, low], rest)) = packet
        .get(HEAD + 4 * usize::from(first & 0x0f)..)
        .and_then(<[u8]>::split_first_chunk)
    else {
        return;
    };
    let form = u16::from_be_bytes([form_high, form_low]);
    let length = 4 * usize::from(u16::from_be_bytes([high, low]));
    let Some(mut rest) = rest.get(..length) else {
        return;
    };
    while let [first, after @ ..] = rest {
        let (id, length, after) = match (form, after) {
            _ if *first == 0 => {
                rest = after;
                continue;
            }
            (0xbede, _) if first >> 4 == 15 => return,
            (0xbede, _) => (first >> 4, usize::from(first & 0x0f) + 1, after),
            (0x1000..=0x100f, [length, after @ ..]) => (*first, usize::from(*length), after),
            _ => return,
        };
        let Some((value, after)) = after.split_at_checked(length) else {
            return;
        };
        found(id, value);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=extmap:3 urn:other\r\na=extmap:5/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

    fn packet(id: u8, number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([
            0xbe,
            0xde,
            0,
            2,
            0,
            (1 << 4) | 1,
            7,
            7,
            (id << 4) | 1,
            high,
            low,
            0,
        ]);
        packet
    }

    #[test]
    fn numbers_do_not_go_back_below_zero() {
        let mut numbers = Numbers::new(OFFER);
        assert!(numbers.takes(&packet(5, 0)));
        // It may not have been believed, or it was.
        assert!(!numbers.takes(&packet(5, 65_535)));
        numbers.came(Some(0));
        assert!(!numbers.takes(&packet(5, 65_535)));
        assert!(!numbers.takes(&packet(5, HALF)));
        // Something else has that id here, and this is no media.
        assert!(numbers.takes(&packet(3, 65_535)));
        let mut report = packet(5, 65_535);
        report[1] = 200;
        assert!(numbers.takes(&report));
    }

    #[test]
    fn numbers_go_round_as_often_as_they_like() {
        for first in [0, 1, 20_000, 32_767, 32_768, 65_530] {
            let mut numbers = Numbers::new(OFFER);
            for step in 0..200_000_u32 {
                let number = (first + step) as u16;
                assert!(numbers.takes(&packet(5, number)), "{first} {number}");
                numbers.came(Some(number));
            }
        }
    }

    #[test]
    fn an_extension_is_found_in_either_form_and_nothing_is_read_beyond_the_end() {
        let mut two = vec![0x91, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1];
        two.extend([0x10, 0x03, 0, 2, 9, 0, 5, 3, 0xff, 0xff, 1, 0]);
        for whole in [packet(5, 65_535), two] {
            let mut found = Vec::new();
            each(&whole, |id, value| found.push((id, value.to_vec())));
            let number = found.iter().find(|(id, _)| *id == 5);
            assert!(number.is_some_and(|(_, value)| value.starts_with(&[0xff, 0xff])));
            for end in 0..whole.len() {
                each(&whole[..end], |_, _| panic!("of a part"));
            }
        }
        let mut numbers = Numbers::new("");
        assert!(numbers.takes(&packet(3, 1)) && !numbers.takes(&packet(3, 65_000)));
    }
}

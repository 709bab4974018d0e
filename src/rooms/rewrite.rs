//! What a subscriber's packets are numbered: one unbroken stream, whatever it is made of.

use std::time::{Duration, Instant};

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// The number of the first packet. The roll-over counter must be 0 there, since nothing tells the
/// subscriber of it (RFC 3711, section 3.3.1); packets that come late find room below.
const FIRST: u64 = 512;
/// A switch between layers counts as at least this long: about one frame.
const FRAME: Duration = Duration::from_millis(15);

/// Where a packet goes in the subscriber's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The extended sequence number.
    pub(super) seq: u64,
    /// The RTP timestamp.
    pub(super) time: u32,
    /// VP8's picture id and TL0PICIDX (RFC 7741, section 4.2), where the packet has them and they
    /// must change.
    pub(super) picture: Option<Picture>,
}

/// VP8's counters in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    /// 15 bits.
    pub(super) id: Option<u16>,
    /// TL0PICIDX.
    pub(super) tl0: Option<u8>,
}

/// Numbers the packets of one stream to one subscriber, over switches between sources.
#[derive(Debug)]
pub(super) struct Rewriter {
    clock: u32,
    at: Option<At>,
    /// Whether the next packet counts as of a new source.
    is_cut: bool,
}

#[derive(Debug)]
struct At {
    /// The publisher's SSRC.
    source: u32,
    /// What is added to the source's numbers, wrapping.
    seq: u64,
    time: u32,
    id: u16,
    tl0: u8,
    /// Packets below come from before the switch.
    floor: u64,
    /// The highest packet that went out.
    last: Last,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    seq: u64,
    time: u32,
    id: u16,
    tl0: u8,
    when: Instant,
}

impl Place {
    /// How a packet with this descriptor must change.
    pub(super) fn patch(&self, vp8: Option<Vp8Descriptor>) -> Option<Vp8Patch> {
        let mut patch = vp8?.patch();
        let picture = self.picture?;
        if let Some(id) = picture.id {
            patch = patch.picture_id(id);
        }
        if let Some(tl0) = picture.tl0 {
            patch = patch.tl0_pic_idx(tl0);
        }
        patch.build().ok()
    }
}

impl Rewriter {
    /// `clock`: timestamp units in a second.
    pub(super) fn new(clock: u32) -> Self {
        Self {
            clock,
            at: None,
            is_cut: false,
        }
    }

    /// What was left out before the next packet, a keyframe's first, shall not look lost.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Places a packet. A new source begins with this packet, so it should be a keyframe's first.
    /// None: the packet is from before the switch to its source, and too late.
    pub(super) fn place(
        &mut self,
        now: Instant,
        source: u32,
        seq: u64,
        time: u32,
        vp8: Option<&Vp8Descriptor>,
    ) -> Option<Place> {
        let picture = vp8.map(|d| (d.picture_id(), d.tl0_pic_idx()));
        let is_cut = std::mem::take(&mut self.is_cut);
        if is_cut || self.at.as_ref().is_none_or(|at| at.source != source) {
            self.switch(now, source, seq, time, picture);
        }
        let at = self.at.as_mut()?;
        let out = seq.wrapping_add(at.seq);
        // The second half of the numbers is below zero.
        if out < at.floor || out > u64::MAX / 2 {
            return None;
        }
        let place = Place {
            seq: out,
            time: time.wrapping_add(at.time),
            picture: picture
                .filter(|_| at.id != 0 || at.tl0 != 0)
                .map(|(id, tl0)| Picture {
                    id: id.map(|id| id.wrapping_add(at.id) & 0x7fff),
                    tl0: tl0.map(|tl0| tl0.wrapping_add(at.tl0)),
                }),
        };
        if out >= at.last.seq {
            let (id, tl0) = picture.unwrap_or_default();
            at.last = Last {
                seq: out,
                time: place.time,
                id: id.unwrap_or(0).wrapping_add(at.id) & 0x7fff,
                tl0: tl0.unwrap_or(0).wrapping_add(at.tl0),
                when: now,
            };
        }
        Some(place)
    }

    fn switch(
        &mut self,
        now: Instant,
        source: u32,
        seq: u64,
        time: u32,
        picture: Option<(Option<u16>, Option<u8>)>,
    ) {
        let (id, tl0) = picture.unwrap_or_default();
        let (id, tl0) = (id.unwrap_or(0), tl0.unwrap_or(0));
        self.at = Some(match self.at.take() {
            None => At {
                source,
                seq: FIRST.wrapping_sub(seq),
                time: 0,
                id: 0,
                tl0: 0,
                floor: 1,
                last: Last {
                    seq: FIRST,
                    time,
                    id,
                    tl0,
                    when: now,
                },
            },
            Some(At { last, .. }) => {
                let gone = now.saturating_duration_since(last.when).max(FRAME);
                let units = (gone.as_secs_f64() * f64::from(self.clock)) as u64 as u32;
                At {
                    source,
                    seq: (last.seq + 1).wrapping_sub(seq),
                    time: last.time.wrapping_add(units).wrapping_sub(time),
                    id: last.id.wrapping_add(1).wrapping_sub(id),
                    tl0: last.tl0.wrapping_add(1).wrapping_sub(tl0),
                    floor: last.seq + 1,
                    last,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8(id: u16, tl0: u8) -> Vp8Descriptor {
        let [high, low] = id.to_be_bytes();
        Vp8Descriptor::parse(&[0x90, 0xe0, 0x80 | high, low, tl0, 0, 0]).unwrap()
    }

    #[test]
    fn a_stream_that_has_rolled_over_begins_with_counter_zero() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        let begin = 7 * 65_536 + 65_530;
        for n in 0..20 {
            let place = rewriter.place(now, 1, begin + n, 1000, None).unwrap();
            assert_eq!(place.seq, FIRST + n);
            assert_eq!(place.time, 1000);
        }
    }

    #[test]
    fn gaps_stay_gaps_and_late_packets_find_their_place() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        let mut seq = |n| rewriter.place(now, 1, n, 0, None).map(|p| p.seq);
        assert_eq!(seq(1000), Some(FIRST));
        assert_eq!(seq(1003), Some(FIRST + 3));
        assert_eq!(seq(1001), Some(FIRST + 1));
        assert_eq!(seq(999), Some(FIRST - 1));
        assert_eq!(seq(100), None);
    }

    #[test]
    fn what_was_left_out_before_a_cut_does_not_look_lost() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        rewriter.place(now, 1, 100, 9_000, None).unwrap();
        rewriter.cut();
        let later = now + Duration::from_secs(5);
        let place = rewriter.place(later, 1, 700, 459_000, None).unwrap();
        assert_eq!((place.seq, place.time), (FIRST + 1, 459_000));
        // A late one of before has no place any more.
        assert_eq!(rewriter.place(later, 1, 699, 459_000, None), None);
        let next = rewriter.place(later, 1, 701, 459_000, None).unwrap();
        assert_eq!(next.seq, FIRST + 2);
    }

    #[test]
    fn a_switch_goes_on_where_the_other_source_was() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000);
        let first = rewriter.place(now, 1, 40_000, 9_000, Some(&vp8(0x7fff, 255)));
        assert_eq!(first.unwrap().picture, None);
        let later = now + Duration::from_millis(100);
        let place = rewriter
            .place(later, 2, 5, 4_000_000_000, Some(&vp8(77, 3)))
            .unwrap();
        assert_eq!(place.seq, FIRST + 1);
        assert_eq!(place.time, 9_000 + 9_000);
        let picture = place.picture.unwrap();
        assert_eq!((picture.id, picture.tl0), (Some(0), Some(0)));
        let next = rewriter
            .place(later, 2, 6, 4_000_003_000, Some(&vp8(78, 4)))
            .unwrap();
        assert_eq!((next.seq, next.time), (FIRST + 2, 21_000));
        assert_eq!(next.picture.unwrap().id, Some(1));
        assert_eq!(rewriter.place(later, 2, 4, 0, None), None);
    }
}

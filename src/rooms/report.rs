//! How a connection does, as its peer's reports and ours say.

use std::time::Duration;

use str0m::media::Mid;
use str0m::net::Protocol;
use str0m::stats::{MediaEgressStats, MediaIngressStats, PeerStats};

/// The last second of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// The share of packets lost on the way, from 0 to 1: of the stream that lost most.
    pub loss: Option<f32>,
    /// How long a packet and its answer take together.
    pub rtt: Option<Duration>,
    /// How much packets' times on the way vary (RFC 3550, section 6.4.1): the largest.
    pub jitter: Option<Duration>,
    /// Requests to send something again, since the beginning.
    pub resend_requests: u64,
    /// Whether media goes over TCP; once it goes.
    pub tcp: Option<bool>,
}

/// More than that is none: str0m 0.24 tells of a little less than nothing as of all, where packets that
/// had been counted as lost came late. (RFC 3550, appendix A.3, wants 0 then.)
const ALL: f32 = 0.9;
/// A number of lost packets has 24 bits and a sign (RFC 3550, section 6.4.1).
const SIGN: u64 = 1 << 23;

/// Puts reports together.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: Report,
    next: Report,
    media: Vec<Media>,
}

/// What is known of one of the connection's media.
#[derive(Debug)]
struct Media {
    mid: Mid,
    clock: u32,
    /// Of the peer's last report: the highest number that it got, and how many it has lost.
    highest: u64,
    lost: u64,
}

impl Reports {
    /// Of media with these clock rates.
    pub(super) fn new(clocks: impl Iterator<Item = (Mid, u32)>) -> Self {
        let media = clocks.map(|(mid, clock)| Media {
            mid,
            clock,
            highest: 0,
            lost: 0,
        });
        Self {
            media: media.collect(),
            ..Self::default()
        }
    }

    /// What the last second was like.
    pub(super) fn last(&self) -> Report {
        self.last
    }

    /// A second begins: what follows are the numbers of its media.
    pub(super) fn begin(&mut self, peer: &PeerStats) {
        // ICE-lite measures nothing by its checks; only reports tell.
        self.last = std::mem::take(&mut self.next);
        self.next.rtt = peer.rtt;
        let pair = peer.selected_candidate_pair.as_ref();
        self.next.tcp = pair.map(|pair| pair.protocol != Protocol::Udp);
    }

    /// What the peer says of what it receives. Gives the share of packets lost since it said so before,
    /// from 0 to 1.
    pub(super) fn sent(&mut self, stats: &MediaEgressStats) -> Option<f32> {
        let media = self.media.iter_mut().find(|it| it.mid == stats.mid)?;
        let loss = stats
            .remote
            .as_ref()
            .and_then(|remote| media.loss(*remote.maximum_sequence_number, remote.packets_lost));
        let jitter = stats.remote.as_ref().map(|remote| remote.jitter);
        self.add(stats.mid, loss, stats.rtt, jitter, stats.nacks);
        loss
    }

    /// What we say of what it sends.
    pub(super) fn received(&mut self, stats: &MediaIngressStats) {
        let loss = stats.loss.map(|loss| if loss > ALL { 0.0 } else { loss });
        self.add(stats.mid, loss, stats.rtt, Some(stats.jitter), stats.nacks);
    }

    fn add(
        &mut self,
        mid: Mid,
        loss: Option<f32>,
        rtt: Option<Duration>,
        jitter: Option<u32>,
        nacks: u64,
    ) {
        let Some(media) = self.media.iter().find(|it| it.mid == mid) else {
            return;
        };
        let clock = f64::from(media.clock.max(1));
        let jitter = jitter.map(|units| Duration::from_secs_f64(f64::from(units) / clock));
        let next = &mut self.next;
        next.loss = next.loss.into_iter().chain(loss).reduce(f32::max);
        next.rtt = rtt.or(next.rtt);
        next.jitter = next.jitter.into_iter().chain(jitter).max();
        next.resend_requests += nacks;
    }
}

impl Media {
    /// The share that was lost since the last report: its own number is of an unknown time, and of the
    /// peer's making.
    fn loss(&mut self, highest: u64, lost: u64) -> Option<f32> {
        let before = std::mem::replace(&mut self.highest, highest);
        let lost_before = std::mem::replace(&mut self.lost, lost);
        let expected = highest.checked_sub(before).filter(|it| *it > 0)?;
        let lost = lost.wrapping_sub(lost_before) & (2 * SIGN - 1);
        // Late ones may make it less than before.
        let lost = if lost < SIGN { lost.min(expected) } else { 0 };
        // The first report counts from a number that nobody knows.
        (before > 0).then(|| lost as f32 / expected as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_since_the_last_report() {
        let mut media = Media {
            mid: Mid::from("0"),
            clock: 90_000,
            highest: 0,
            lost: 0,
        };
        let minus_one = 2 * SIGN - 1;
        for (highest, lost, share) in [
            (600, 5, None),
            (700, 10, Some(0.05)),
            (700, 10, None),
            // Two came late.
            (800, 8, Some(0.0)),
            (900, minus_one, Some(0.0)),
            (1000, 49, Some(0.5)),
            (1010, 5000, Some(1.0)),
        ] {
            assert_eq!(media.loss(highest, lost), share, "{highest}");
        }
    }
}

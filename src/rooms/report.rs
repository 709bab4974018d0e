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

/// Puts reports together.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: Report,
    next: Report,
    /// The clock rates of the connection's media.
    clocks: Vec<(Mid, u32)>,
}

impl Reports {
    /// Of media with these clock rates.
    pub(super) fn new(clocks: Vec<(Mid, u32)>) -> Self {
        Self {
            clocks,
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

    /// What the peer says of what it receives.
    pub(super) fn sent(&mut self, stats: &MediaEgressStats) {
        let jitter = stats.remote.as_ref().map(|remote| remote.jitter);
        self.add(stats.mid, stats.loss, stats.rtt, jitter, stats.nacks);
    }

    /// What we say of what it sends.
    pub(super) fn received(&mut self, stats: &MediaIngressStats) {
        let jitter = Some(stats.jitter);
        self.add(stats.mid, stats.loss, stats.rtt, jitter, stats.nacks);
    }

    fn add(
        &mut self,
        mid: Mid,
        loss: Option<f32>,
        rtt: Option<Duration>,
        jitter: Option<u32>,
        nacks: u64,
    ) {
        let Some(&(_, clock)) = self.clocks.iter().find(|(other, _)| *other == mid) else {
            return;
        };
        let jitter =
            jitter.map(|units| Duration::from_secs_f64(f64::from(units) / f64::from(clock.max(1))));
        let next = &mut self.next;
        next.loss = next.loss.into_iter().chain(loss).reduce(f32::max);
        next.rtt = rtt.or(next.rtt);
        next.jitter = next.jitter.into_iter().chain(jitter).max();
        next.resend_requests += nacks;
    }
}

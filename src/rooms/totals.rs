//! A media thread's numbers in sums: what its endpoints do now, and what all have done.

use std::ops::AddAssign;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::endpoint::Counts;
use super::trouble::Reach;
use super::{EndpointStats, Report, Role};

/// One media thread. Not older than a second while it has endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadStats {
    /// Processor time that it has taken.
    pub processor: Duration,
    /// What was done since the start, with endpoints that are gone.
    pub totals: Totals,
    /// Datagrams for the media port that are no endpoint's: of strangers, with a wrong password, or from
    /// more addresses than one peer may have.
    pub strays: u64,
    /// How far its publishers' connections have come.
    pub publishers: Stages,
    /// How far its subscribers' connections have come.
    pub subscribers: Stages,
    /// Subscribers whose video pauses, because their paths don't take it.
    pub paused: usize,
    /// Endpoints whose media goes over UDP.
    pub udp: usize,
    /// Endpoints whose media goes over TCP.
    pub tcp: usize,
}

/// Endpoints by how far their connections have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// Nothing that is any good has come from the peer.
    pub waiting: usize,
    /// Connectivity checks have.
    pub checking: usize,
    /// DTLS has begun.
    pub handshaking: usize,
    /// Media can flow.
    pub connected: usize,
}

/// What endpoints have done; never less than before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// RTP packets from peers.
    pub packets_in: u64,
    /// Bytes of their payloads.
    pub bytes_in: u64,
    /// RTP packets to peers, without retransmissions.
    pub packets_out: u64,
    /// Bytes of their payloads.
    pub bytes_out: u64,
    /// Packets that were left out because a peer's path didn't take them.
    pub left_out: u64,
    /// Keyframes that were asked of publishers.
    pub keyframe_requests: u64,
    /// Requests to send a packet again, of peers and to peers.
    pub resend_requests: u64,
}

impl ThreadStats {
    /// What follows, with these endpoints, and those that are gone. Called on the thread itself.
    pub(super) fn next(&self, endpoints: &[EndpointStats], past: Totals, strays: u64) -> Self {
        let mut next = Self {
            processor: processor_time(),
            strays,
            ..Self::default()
        };
        let mut totals = past;
        for each in endpoints {
            totals += Totals::of(each);
            match each.role {
                Role::Publisher => next.publishers.add(each.reach),
                Role::Subscriber { .. } => next.subscribers.add(each.reach),
            }
            next.paused += usize::from(each.paused);
            next.udp += usize::from(each.report.tcp == Some(false));
            next.tcp += usize::from(each.report.tcp == Some(true));
        }
        // What was dropped on a connection goes with it.
        next.totals = totals.at_least(self.totals);
        next
    }
}

impl Stages {
    fn add(&mut self, reach: Reach) {
        let of = match reach {
            Reach::Nothing | Reach::Refused(_) => &mut self.waiting,
            Reach::Checks(_) => &mut self.checking,
            Reach::Handshake(_) => &mut self.handshaking,
            Reach::Connected(_) => &mut self.connected,
        };
        *of += 1;
    }
}

impl Totals {
    /// Of one endpoint, and what was dropped on its connections.
    pub(super) fn new(counts: &Counts, dropped: u64, report: &Report) -> Self {
        Self {
            packets_in: counts.packets_in,
            bytes_in: counts.bytes_in,
            packets_out: counts.packets_out,
            bytes_out: counts.bytes_out,
            left_out: counts.left_out + dropped,
            keyframe_requests: counts.keyframe_requests,
            resend_requests: report.resend_requests,
        }
    }

    fn of(stats: &EndpointStats) -> Self {
        Self {
            packets_in: stats.packets_in,
            bytes_in: stats.bytes_in,
            packets_out: stats.packets_out,
            bytes_out: stats.bytes_out,
            left_out: stats.left_out,
            keyframe_requests: stats.keyframe_requests,
            resend_requests: stats.report.resend_requests,
        }
    }

    fn at_least(self, least: Self) -> Self {
        Self {
            packets_in: self.packets_in.max(least.packets_in),
            bytes_in: self.bytes_in.max(least.bytes_in),
            packets_out: self.packets_out.max(least.packets_out),
            bytes_out: self.bytes_out.max(least.bytes_out),
            left_out: self.left_out.max(least.left_out),
            keyframe_requests: self.keyframe_requests.max(least.keyframe_requests),
            resend_requests: self.resend_requests.max(least.resend_requests),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.left_out += other.left_out;
        self.keyframe_requests += other.keyframe_requests;
        self.resend_requests += other.resend_requests;
    }
}

/// Of the thread that asks.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::{EndpointKey, RoomKey};

    fn endpoint(packets_in: u64, left_out: u64, reach: Reach) -> EndpointStats {
        EndpointStats {
            endpoint: EndpointKey(1),
            room: RoomKey(1),
            role: Role::Publisher,
            reach,
            unconnected: None,
            report: Report {
                tcp: Some(true),
                ..Report::default()
            },
            paused: false,
            left_out,
            packets_in,
            bytes_in: 0,
            packets_out: 0,
            bytes_out: 0,
            keyframe_requests: 0,
            estimate: None,
        }
    }

    #[test]
    fn sums_never_fall_when_endpoints_go() {
        let at = "127.0.0.1:1".parse().unwrap();
        let endpoints = [
            endpoint(10, 5, Reach::Connected(at)),
            endpoint(1, 0, Reach::Nothing),
        ];
        let sums = ThreadStats::default().next(&endpoints, Totals::default(), 7);
        assert_eq!((sums.totals.packets_in, sums.totals.left_out), (11, 5));
        assert_eq!((sums.publishers.connected, sums.publishers.waiting), (1, 1));
        assert_eq!((sums.tcp, sums.udp), (2, 0));
        // One is gone, and what it left out with its connection isn't known any more.
        let past = Totals {
            packets_in: 12,
            ..Totals::default()
        };
        let sums = sums.next(&endpoints[1..], past, 8);
        assert_eq!(sums.strays, 8);
        assert_eq!((sums.totals.packets_in, sums.totals.left_out), (13, 5));
        assert_eq!(sums.publishers.connected, 0);
    }
}

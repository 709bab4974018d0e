//! What the plane is told at its start.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A video codec that a room may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// AV1.
    Av1,
    /// H.264.
    H264,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
}

/// How the plane runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Media threads; at least one is started.
    pub threads: usize,
    /// Where the sockets are bound. All addresses of IPv6 are those of IPv4 as well; on a machine
    /// without IPv6, all of IPv4. Peers on GStreamer never try a loopback address, not even on the same
    /// machine.
    pub bind: IpAddr,
    /// The first thread's UDP port; the others' follow. 0: the system chooses.
    pub port: u16,
    /// The addresses that peers are told. Empty: `bind`, or if that is unspecified, those of this
    /// machine's interfaces ([`crate::net::InterfaceRules`]).
    pub advertise: Vec<IpAddr>,
    /// STUN servers that are asked from each media socket by which address they see it. Peers are told
    /// that as well.
    pub stun: Vec<SocketAddr>,
    /// The listeners whose connections may be given to [`super::Plane::connect`]: peers are told that
    /// they can send media there over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Such connections at once.
    pub tcp_connections: usize,
    /// A room's video codecs, the first that its first publisher offers is taken.
    pub video: Vec<VideoCodec>,
    /// What a publisher may send as video, in bit/s. What it is told is more by [`Self::path`].
    pub max_bitrate: u64,
    /// Endpoints at once.
    pub endpoints: usize,
    /// How long an endpoint may take from the answer to its connection.
    pub connect: Duration,
}

impl VideoCodec {
    /// As in `a=rtpmap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Av1 => "AV1",
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
        }
    }
}

impl Config {
    /// What a publisher is told that the path takes, in bit/s: browsers divide it between video, sound,
    /// headers and retransmissions.
    #[must_use]
    pub fn path(&self) -> u64 {
        self.max_bitrate.saturating_mul(13) / 10
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port: 0,
            advertise: Vec::new(),
            stun: Vec::new(),
            tcp: Vec::new(),
            tcp_connections: 1_000,
            video: vec![
                VideoCodec::Vp8,
                VideoCodec::H264,
                VideoCodec::Vp9,
                VideoCodec::Av1,
            ],
            max_bitrate: 2_500_000,
            endpoints: 10_000,
            connect: Duration::from_secs(30),
        }
    }
}

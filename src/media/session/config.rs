//! What a session is started with, by the peers and the tests that start one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::events;
use super::receive::Receive;
use crate::config::IceServer;
use crate::media::codec::{Codec, Kind};
use crate::media::metrics::Metrics;
use crate::media::source::Source;
use crate::net::{InterfaceRules, PortRange};

/// How long received packets wait for late ones if nothing else is said.
pub const RECEIVE_LATENCY: Duration = Duration::from_millis(100);

/// What a session sends and takes.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// What the log calls the other side.
    pub name: String,
    /// STUN and TURN servers, in the browser's form.
    pub ice_servers: Vec<IceServer>,
    /// Use TURN only.
    pub relay_only: bool,
    /// Who checks the certificates of TURN servers over TLS; without, these are left out.
    pub turn_tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether media may go over TCP to the other side itself (RFC 6544), as servers take it.
    pub tcp: bool,
    /// Which of this machine's interfaces are used.
    pub interfaces: InterfaceRules,
    /// What the other side is told instead of this machine's own addresses of the same family; the ports
    /// stay as they are. Nothing is hidden if there are none.
    pub advertise: Vec<IpAddr>,
    /// Which UDP ports are used; any, if nothing is said.
    pub ports: Option<PortRange>,
    /// What we send.
    pub streams: Vec<StreamConfig>,
    /// What our first offer asks for without sending anything itself: one section for each kind of
    /// media, with all these codecs of it that can be taken apart here, the preferred one first.
    pub wanted: Vec<Codec>,
    /// Data channels that we make, by label.
    pub channels: Vec<String>,
    /// The protocol of the data channels that we make (RFC 8832 section 5.1); empty for none.
    pub channel_protocol: String,
    /// Whether our offers invite the other side's media as well, in the sections of our own streams.
    pub invite: bool,
    /// Whether our first offer puts all its sections on one transport. Old peers of GStreamer can't
    /// take that. An answer follows the other side's offer either way.
    pub bundle: bool,
    /// What becomes of received media.
    pub receive: Receive,
    /// How long received packets wait for late ones.
    pub receive_latency: Duration,
    /// Where the session is counted.
    pub metrics: Option<Metrics>,
    /// Events that wait for the session's owner. One more fails the session: a reliable channel with
    /// a hole would be worse, and it is the other side of this session alone that sends too fast.
    pub queue: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            ice_servers: Vec::new(),
            relay_only: false,
            turn_tls: None,
            tcp: false,
            interfaces: InterfaceRules::default(),
            advertise: Vec::new(),
            ports: None,
            streams: Vec::new(),
            wanted: Vec::new(),
            channels: Vec::new(),
            channel_protocol: String::new(),
            invite: true,
            bundle: true,
            receive: Receive::default(),
            receive_latency: RECEIVE_LATENCY,
            metrics: None,
            queue: events::QUEUE,
        }
    }
}

/// One stream that we send.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Where its media comes from.
    pub source: Arc<Source>,
    /// The id of its media stream, as the viewer sees it (`display_0`).
    pub stream_id: String,
    /// Video or audio.
    pub kind: Kind,
    /// The codecs to use, the preferred one first; empty means what the source prefers. An offer
    /// names the first only: webrtcbin 1.22 gives two codecs the same payload types.
    pub codecs: Vec<Codec>,
}

//! The forwarding plane: participants of rooms publish and receive media here, on str0m.
//!
//! Plain threads, each with one UDP socket; a room lives on one thread. Nothing is decoded. ICE-lite
//! (RFC 8445, section 2.5): peers' candidates aren't needed, since the plane answers their checks
//! wherever they come from. Where UDP is blocked, peers send media over TCP (RFC 6544), on connections
//! that the server's listeners accept and hand over ([`Plane::connect`]).
//! The first publisher of a room pins its video codec: the first of [`config::Config::video`] that it
//! offers. The pin ends when the room has no publisher left.
//!
//! [`Plane::command`] never waits. What comes of it arrives as [`Event`]s, on the media threads, so
//! the callback must not wait either.

mod addresses;
mod channels;
pub mod config;
mod connection;
mod demux;
mod endpoint;
mod forwarder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod intake;
mod keyframes;
mod layers;
mod mapping;
mod numbers;
mod outgoing;
mod report;
mod resends;
mod rewrite;
mod round;
mod sdp;
mod socket;
mod strain;
mod streams;
mod thread;
mod timers;
mod totals;
mod trouble;
mod video;

pub use channels::ChannelUse;
pub use config::Config;
pub use report::Report;
pub use totals::{Stages, ThreadStats, Totals};
pub use trouble::{Reach, Unconnected};

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::net::{Interface, InterfaceRules};
use connection::Common;
use forwarder::{Beginning, Forwarder, check};
use mapping::Mapping;
use socket::Socket;
use streams::{Connection, Place};
use thread::{Order, Thread};

/// Names an endpoint: one peer connection. Chosen by the caller, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(pub u64);

/// Names a room. Chosen by the caller, never used twice. Rooms are dealt to the threads by this
/// number in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey(pub u64);

/// What the plane is asked to do. Commands of one room are carried out in order.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Answer a publisher's offer, and take its media. [`Event::Answered`] or [`Event::Refused`] follows.
    Publish {
        /// Made if it isn't there.
        room: RoomKey,
        /// The new endpoint.
        endpoint: EndpointKey,
        /// SDP.
        offer: String,
        /// Send its own media back on the same connection; the offer must be `sendrecv`.
        loopback: bool,
        /// What its data channels are for.
        channels: ChannelUse,
    },
    /// Answer a subscriber's offer, and send it a publisher's media. [`Event::Answered`] or
    /// [`Event::Refused`] follows.
    Subscribe {
        /// The publisher's room.
        room: RoomKey,
        /// The new endpoint.
        endpoint: EndpointKey,
        /// Whose media.
        publisher: EndpointKey,
        /// SDP.
        offer: String,
    },
    /// Close an endpoint; with a publisher, also its subscribers. No event follows.
    Remove {
        /// The endpoint's room.
        room: RoomKey,
        /// Which; one that isn't there is ignored.
        endpoint: EndpointKey,
    },
    /// Keep what a publisher sends from its subscribers, those that come later too, or no longer. No
    /// event follows.
    Mute {
        /// The endpoint's room.
        room: RoomKey,
        /// Which; one that isn't there, or is no publisher, is ignored.
        endpoint: EndpointKey,
        /// Its sound.
        audio: bool,
        /// Its picture.
        video: bool,
    },
    /// Close all endpoints of a room. No event follows.
    CloseRoom {
        /// Which; one that isn't there is ignored.
        room: RoomKey,
    },
}

/// What happened. Called on a media thread.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The answer for [`Command::Publish`] or [`Command::Subscribe`]. It carries the candidates too.
    Answered {
        /// Which.
        endpoint: EndpointKey,
        /// SDP.
        sdp: String,
    },
    /// There is no answer, and no endpoint.
    Refused {
        /// Which.
        endpoint: EndpointKey,
        /// Why.
        why: MediaError,
    },
    /// A candidate of the plane, after [`Event::Answered`].
    Candidate {
        /// Whose.
        endpoint: EndpointKey,
        /// The offer's `mid`.
        mid: String,
        /// The index of its line.
        line: u16,
        /// As in `RTCIceCandidate.candidate`.
        candidate: String,
    },
    /// Media can flow: ICE and DTLS are up. Once per endpoint.
    Connected {
        /// Which.
        endpoint: EndpointKey,
        /// How long it took from the answer to the first good connectivity check.
        checks: Duration,
        /// How long it took from there.
        handshake: Duration,
    },
    /// The first packet of media came from this endpoint, or went to it. Once per endpoint.
    Flows {
        /// Which.
        endpoint: EndpointKey,
        /// How long after it was connected.
        after: Duration,
    },
    /// The endpoint is gone; with a publisher also its subscribers, of whom no event tells.
    Failed {
        /// Which.
        endpoint: EndpointKey,
        /// Why.
        why: Failure,
    },
    /// The endpoint was removed before it was connected, although it had time enough.
    GaveUp {
        /// Which.
        endpoint: EndpointKey,
        /// What was seen of it.
        why: Unconnected,
    },
}

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The offer can't be understood or can't be answered.
    #[error("the offer cannot be answered: {0}")]
    Sdp(String),
    /// The room's video codec is not among those offered.
    #[error(
        "the offer has no video codec of this room: the room takes {}, offered were {}",
        list(room),
        list(offered)
    )]
    NoCodec {
        /// What the room takes.
        room: Vec<String>,
        /// What was offered.
        offered: Vec<String>,
    },
    /// There is no such publisher (any more).
    #[error("the publisher is not there")]
    NoPublisher,
    /// The endpoint's key is in use.
    #[error("the endpoint is there already")]
    Exists,
    /// A limit is reached.
    #[error(
        "all {0} places for media endpoints are taken; raise `limits.media_endpoints` for more"
    )]
    Full(usize),
}

/// Why an endpoint failed after it was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection came about in time.
    #[error("no media connection: {0}")]
    NeverConnected(Unconnected),
    /// The connection was lost: no word from the peer any more.
    #[error("the media connection was lost")]
    Lost,
    /// The peer closed the connection.
    #[error("the peer closed the media connection")]
    Closed,
    /// DTLS or something above it went wrong.
    #[error("the media connection failed: {0}")]
    Protocol(String),
}

impl Failure {
    /// A word for metrics: of few values, none of which a peer can choose.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NeverConnected(why) => why.reach.reason(),
            Self::Lost => "lost",
            Self::Closed => "closed",
            Self::Protocol(_) => "protocol",
        }
    }
}

/// A thread's queue of commands is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media plane has too many commands waiting; try again")]
pub struct Busy;

/// Why a connection wasn't taken over; it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwanted {
    /// Its first frame is no connectivity check for an endpoint of this plane.
    #[error("its first packet is no connectivity check of a peer of this server")]
    Stranger,
    /// A limit is reached.
    #[error("all {0} places for media over TCP are taken; raise `limits.media_tcp_connections`")]
    Full(usize),
    /// The thread has too much to do.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Why the plane can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A UDP socket can't be had.
    #[error("cannot listen for media on UDP {address}: {source}; choose another --media-port")]
    Socket {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// There are not enough ports above the first.
    #[error("--media-port {0} leaves no port for each media thread; choose a lower one")]
    Ports(u16),
    /// An address that peers can't reach.
    #[error("{0} cannot be advertised for media: it must be an address of one machine")]
    Advertise(IpAddr),
    /// This machine's addresses can't be read, or there is none.
    #[error(transparent)]
    Interfaces(#[from] crate::net::InterfaceError),
    /// No certificate could be made.
    #[error("cannot make a certificate for media: OpenSSL has failed")]
    Certificate,
    /// A thread can't be had.
    #[error("cannot start a media thread: {0}")]
    Thread(std::io::Error),
}

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Gives media to the room.
    Publisher,
    /// Takes one publisher's media.
    Subscriber {
        /// Whose.
        publisher: EndpointKey,
    },
}

/// One endpoint's numbers since it began, not older than a second.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStats {
    /// Which.
    pub endpoint: EndpointKey,
    /// Its room.
    pub room: RoomKey,
    /// What it does.
    pub role: Role,
    /// How far its connection has come.
    pub reach: Reach,
    /// What there is to say of that while it isn't connected.
    pub unconnected: Option<Unconnected>,
    /// What its connection was like in the last second.
    pub report: Report,
    /// Whether its video pauses, because the path doesn't take it.
    pub paused: bool,
    /// Packets for the peer that were left out because its path didn't take them.
    pub left_out: u64,
    /// RTP packets from the peer.
    pub packets_in: u64,
    /// Bytes of their payloads.
    pub bytes_in: u64,
    /// RTP packets to the peer, without retransmissions.
    pub packets_out: u64,
    /// Bytes of their payloads.
    pub bytes_out: u64,
    /// Keyframes that were asked of the peer.
    pub keyframe_requests: u64,
    /// What the path to the peer takes, in bit/s; known for subscribers of simulcast publishers.
    pub estimate: Option<u64>,
}

/// The running plane. Dropping it stops its threads.
pub struct Plane {
    threads: Vec<Thread>,
    addresses: Vec<SocketAddr>,
    told: Vec<SocketAddr>,
    is_mapped: bool,
    streams: Arc<AtomicUsize>,
    most_streams: usize,
}

impl Plane {
    /// Binds the sockets and starts the threads. `on_event` is called on them: it must not wait.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: Config,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or(StartError::Certificate)?;
        let on_event: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(on_event);
        let taken = Arc::new(AtomicUsize::new(0));
        let (mut threads, mut told) = (Vec::new(), Vec::new());
        let mut is_mapped = true;
        for number in 0..config.threads.max(1) {
            let socket = Arc::new(bind(&config, number)?);
            let mut mapping = Mapping::new(config.stun.clone(), Instant::now());
            mapping.find(&socket);
            is_mapped &= !mapping.mapped().is_empty();
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
            let epoll = Arc::new(epoll.map_err(|e| StartError::Thread(e.into()))?);
            let common = Common {
                provider: Arc::clone(&provider),
                certificate: certificate.clone(),
            };
            let forwarder = Forwarder::new(Beginning {
                config: Arc::clone(&config),
                thread: number,
                common,
                socket: Arc::clone(&socket),
                ips: own_addresses(&config)?,
                mapping,
                epoll: Arc::clone(&epoll),
                on_event: Arc::clone(&on_event),
                taken: Arc::clone(&taken),
            });
            let forwarder = forwarder.map_err(StartError::Advertise)?;
            let addresses = forwarder.addresses();
            told.extend(addresses.udp().iter().chain(addresses.tcp()));
            let thread = Thread::start(format!("media-{number}"), socket, epoll, forwarder);
            threads.push(thread.map_err(StartError::Thread)?);
        }
        Ok(Self {
            addresses: threads.iter().map(Thread::address).collect(),
            threads,
            told,
            is_mapped,
            streams: Arc::default(),
            most_streams: config.tcp_connections,
        })
    }

    /// Hands a command to its room's thread, without waiting.
    ///
    /// # Errors
    /// [`Busy`]: the command was not taken.
    pub fn command(&self, command: Command) -> Result<(), Busy> {
        let n = command.room().0 % self.threads.len() as u64;
        self.threads[n as usize].order(Order::Command(command))
    }

    /// Names these addresses to new peers from now on.
    ///
    /// # Errors
    /// [`Busy`]: not all threads know.
    pub fn advertise(&self, ips: &[IpAddr]) -> Result<(), Busy> {
        let ips: Arc<[IpAddr]> = ips.into();
        self.threads
            .iter()
            .try_for_each(|thread| thread.order(Order::Advertise(Arc::clone(&ips))))
    }

    /// Hands over a connection that a peer made to send media (RFC 6544), and its first packet, without
    /// the frame around it (RFC 4571).
    ///
    /// # Errors
    /// Why it isn't taken; it is closed then.
    pub fn connect(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        first: Vec<u8>,
    ) -> Result<(), Unwanted> {
        let thread = check(&first).and_then(thread_of);
        let thread = thread.and_then(|number| self.threads.get(number));
        let thread = thread.ok_or(Unwanted::Stranger)?;
        let place = Place::take(&self.streams, self.most_streams);
        let connection = Connection {
            stream,
            peer,
            local,
            first,
            place: place.ok_or(Unwanted::Full(self.most_streams))?,
        };
        Ok(thread.order(Order::Connect(connection))?)
    }

    /// Whether a STUN server has answered each media socket.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.is_mapped
    }

    /// The addresses that peers were told at the start.
    #[must_use]
    pub fn told(&self) -> &[SocketAddr] {
        &self.told
    }

    /// The bound addresses, one per thread.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// All endpoints' numbers, each thread's about a second old.
    #[must_use]
    pub fn stats(&self) -> Vec<EndpointStats> {
        self.threads.iter().flat_map(Thread::stats).collect()
    }

    /// Each thread's numbers in sums, about a second old.
    #[must_use]
    pub fn thread_stats(&self) -> Vec<ThreadStats> {
        self.threads.iter().map(Thread::totals).collect()
    }
}

impl Command {
    fn room(&self) -> RoomKey {
        match self {
            Self::Publish { room, .. }
            | Self::Subscribe { room, .. }
            | Self::Remove { room, .. }
            | Self::Mute { room, .. }
            | Self::CloseRoom { room } => *room,
        }
    }
}

fn bind(config: &Config, n: usize) -> Result<Socket, StartError> {
    let port = match config.port {
        0 => Some(0),
        first => u16::try_from(n).ok().and_then(|n| first.checked_add(n)),
    };
    let Some(port) = port else {
        return Err(StartError::Ports(config.port));
    };
    let address = SocketAddr::new(config.bind, port);
    let bound = Socket::bind(address).or_else(|error| {
        // Machines without IPv6.
        match config.bind.is_unspecified() {
            true => Socket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
            false => Err(error),
        }
    });
    bound.map_err(|source| StartError::Socket { address, source })
}

/// What peers are told if nobody says what.
fn own_addresses(config: &Config) -> Result<Vec<IpAddr>, StartError> {
    Ok(match config.advertise.as_slice() {
        [] if config.bind.is_unspecified() => {
            let chosen = InterfaceRules::default().addresses()?;
            chosen.into_iter().map(|Interface { ip, .. }| ip).collect()
        }
        [] => vec![config.bind],
        some => some.to_vec(),
    })
}

/// A user name fragment by which the thread is found that its owner is on.
fn fragment_of(thread: usize, random: &str) -> String {
    format!("{thread}+{random}")
}

fn thread_of(fragment: &str) -> Option<usize> {
    fragment.split_once('+')?.0.parse().ok()
}

fn list(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}

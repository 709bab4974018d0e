//! One thread's endpoints, driven by hand.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use rustix::event::epoll;
use str0m::ice::{StunMessage, TransId};

use super::super::connection::Common;
use super::super::forwarder::{Beginning, Forwarder};
use super::super::mapping::Mapping;
use super::super::sdp::Offer;
use super::super::socket::Socket;
use super::super::{ChannelUse, Command, Config, EndpointKey, Event, RoomKey};
use super::crypto;

/// Participants may do everything with their data channels.
const BOTH_WAYS: ChannelUse = ChannelUse {
    says: true,
    hears: true,
};

/// Endpoints at once.
const ENDPOINTS: usize = 6;
/// Turns that the endpoints may take in one step.
const TURNS: usize = 1_000;
/// Where the thread is.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a thread begins with, but for its state. Made once: it takes long.
struct Shared {
    common: Common,
    config: Arc<Config>,
    socket: Arc<Socket>,
    epoll: Arc<OwnedFd>,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let provider = Arc::new(crypto::provider());
    let certificate = provider.dtls_provider.generate_certificate();
    let socket = Socket::bind(SocketAddr::new(LOCAL, 0)).unwrap_or_else(|error| panic!("{error}"));
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
    Shared {
        common: Common {
            provider,
            certificate: certificate.unwrap_or_else(|| panic!("OpenSSL has failed")),
        },
        config: Arc::new(Config {
            threads: 1,
            bind: LOCAL,
            advertise: vec![LOCAL],
            endpoints: ENDPOINTS,
            ..Config::default()
        }),
        socket: Arc::new(socket),
        epoll: Arc::new(epoll.unwrap_or_else(|error| panic!("{error}"))),
    }
});

/// One thread of the plane, without the thread.
pub struct Plane {
    forwarder: Forwarder,
    now: Instant,
    events: Arc<Mutex<Vec<Event>>>,
    taken: Arc<AtomicUsize>,
    /// Those that were answered.
    peers: BTreeMap<u64, Peer>,
}

/// What a peer knows once it is answered.
struct Peer {
    /// Our user name fragment and password, and its fragment.
    credentials: [String; 3],
    /// Of its certificate.
    fingerprint: [u8; crypto::FINGERPRINT],
    /// What we send.
    sources: Vec<u32>,
}

/// A packet of media.
#[derive(Debug, Clone, Copy)]
pub struct Rtp<'a> {
    /// Its payload type, with the marker as the highest bit.
    pub kind: u8,
    /// Its number.
    pub seq: u16,
    /// Its timestamp.
    pub time: u32,
    /// Its source.
    pub ssrc: u32,
    /// Header extensions: ids from 1 to 14 and up to 16 bytes (RFC 8285, section 4.2).
    pub extensions: &'a [(u8, &'a [u8])],
    /// What follows.
    pub payload: &'a [u8],
}

impl Plane {
    /// Without endpoints.
    ///
    /// # Panics
    /// If the machine has no sockets.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let Shared {
            common,
            config,
            socket,
            epoll,
        } = &*SHARED;
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let taken = Arc::new(AtomicUsize::new(0));
        let sink = Arc::clone(&events);
        let forwarder = Forwarder::new(Beginning {
            config: Arc::clone(config),
            thread: 0,
            common: Common {
                provider: Arc::clone(&common.provider),
                certificate: common.certificate.clone(),
            },
            socket: Arc::clone(socket),
            ips: vec![LOCAL],
            mapping: Mapping::new(Vec::new(), now),
            epoll: Arc::clone(epoll),
            on_event: Arc::new(move |event| {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }),
            taken: Arc::clone(&taken),
        });
        Self {
            forwarder: forwarder.unwrap_or_else(|ip| panic!("{ip}")),
            now,
            events,
            taken,
            peers: BTreeMap::new(),
        }
    }

    /// Publishes, and gives the answer if there is one.
    pub fn publish(&mut self, room: u8, key: u64, offer: &str, loopback: bool) -> Option<String> {
        let command = Command::Publish {
            room: RoomKey(room.into()),
            endpoint: EndpointKey(key),
            offer: offer.to_owned(),
            loopback,
            channels: BOTH_WAYS,
        };
        self.open(key, offer, command)
    }

    /// Subscribes, and gives the answer if there is one.
    pub fn subscribe(&mut self, room: u8, key: u64, publisher: u64, offer: &str) -> Option<String> {
        let command = Command::Subscribe {
            room: RoomKey(room.into()),
            endpoint: EndpointKey(key),
            publisher: EndpointKey(publisher),
            offer: offer.to_owned(),
        };
        self.open(key, offer, command)
    }

    /// Removes an endpoint.
    pub fn remove(&mut self, key: u64) {
        self.command(Command::Remove {
            room: RoomKey(0),
            endpoint: EndpointKey(key),
        });
    }

    /// Closes a room.
    pub fn close_room(&mut self, room: u8) {
        self.command(Command::CloseRoom {
            room: RoomKey(room.into()),
        });
    }

    /// A check for an endpoint comes from there, with its password or another.
    pub fn check(&mut self, key: u64, from: SocketAddr, is_right: bool, uses: bool) {
        let Some(Peer { credentials, .. }) = self.peers.get(&key) else {
            return;
        };
        let [ours, password, theirs] = credentials;
        let user = format!("{ours}:{theirs}");
        let check = StunMessage::binding_request(&user, TransId::new(), true, 1, 1, uses);
        let password: &[u8] = if is_right { password.as_bytes() } else { b"x" };
        let mut bytes = vec![0; 500];
        if let Ok(length) = check.to_bytes(Some(password), &mut bytes, sha1) {
            self.datagram(from, &bytes[..length]);
        }
    }

    /// An endpoint's peer at this address connects: its check, and its handshake.
    pub fn connect(&mut self, key: u64, from: SocketAddr) {
        self.check(key, from, true, true);
        if let Some(peer) = self.peers.get(&key) {
            let handshake = [&[crypto::HANDSHAKE][..], &peer.fingerprint].concat();
            self.datagram(from, &handshake);
        }
    }

    /// A packet of media comes from there.
    pub fn rtp(&mut self, from: SocketAddr, rtp: &Rtp<'_>) {
        let mut packet = vec![0x80, rtp.kind];
        packet.extend(rtp.seq.to_be_bytes());
        packet.extend(rtp.time.to_be_bytes());
        packet.extend(rtp.ssrc.to_be_bytes());
        let mut extensions = Vec::new();
        for (id, value) in rtp.extensions.iter().filter(|(_, it)| !it.is_empty()) {
            let length = value.len().min(16);
            extensions.push((id << 4) | (length - 1) as u8);
            extensions.extend(&value[..length]);
        }
        if !extensions.is_empty() {
            extensions.resize(extensions.len().next_multiple_of(4), 0);
            packet[0] |= 0x10;
            packet.extend([0xbe, 0xde, 0, (extensions.len() / 4) as u8]);
            packet.extend(extensions);
        }
        packet.extend(rtp.payload);
        packet.extend([0; crypto::TAG]);
        self.datagram(from, &packet);
    }

    /// A report or request of an endpoint's peer, about one of the sources that we send to it: its kind and
    /// what its head counts, and what follows the source (RFC 3550, section 6; RFC 4585, section 6).
    pub fn rtcp(&mut self, key: u64, from: SocketAddr, kind: (u8, u8), source: u8, body: &[u8]) {
        let sources = self.peers.get(&key).map(|it| &it.sources[..]);
        let sources = sources.unwrap_or_default();
        let source = sources.get(usize::from(source) % sources.len().max(1));
        let mut packet = vec![0x80 | (kind.1 & 0x1f), kind.0, 0, 0, 0, 0, 0, 1];
        packet.extend(source.copied().unwrap_or_default().to_be_bytes());
        packet.extend(body);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        packet.extend([0; crypto::TAG]);
        // Encrypted, the first one (RFC 3711, section 3.4).
        packet.extend([0x80, 0, 0, 0]);
        self.datagram(from, &packet);
    }

    /// Chunks of SCTP come from there.
    pub fn chunks(&mut self, from: SocketAddr, chunks: &[u8]) {
        self.datagram(from, &[&[crypto::CHUNKS][..], chunks].concat());
    }

    /// A message for a data channel comes from there (RFC 8831, section 8).
    pub fn message(&mut self, from: SocketAddr, stream: u8, protocol: u8, bytes: &[u8]) {
        self.datagram(
            from,
            &[&[crypto::MESSAGE, stream, protocol][..], bytes].concat(),
        );
    }

    /// The peer at this address closes.
    pub fn hang_up(&mut self, from: SocketAddr) {
        self.datagram(from, &[crypto::ALERT]);
    }

    /// What an endpoint sends is kept from its subscribers, or not.
    pub fn mute(&mut self, key: u64, audio: bool, video: bool) {
        self.command(Command::Mute {
            room: RoomKey(0),
            endpoint: EndpointKey(key),
            audio,
            video,
        });
    }

    /// A datagram comes from there.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.forwarder.datagram(self.now, from, None, bytes);
        self.settle();
    }

    /// Time passes.
    ///
    /// # Panics
    /// If the next time doesn't move on.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        let _ = self.forwarder.stats(self.now);
        let mut turns = 0;
        while self.forwarder.next().is_some_and(|at| at <= self.now) {
            self.forwarder.tend(self.now);
            self.settle();
            turns += 1;
            assert!(turns < TURNS, "there is always something to do");
        }
    }

    /// The end: nothing is left.
    ///
    /// # Panics
    /// If something is.
    pub fn close(mut self) {
        self.forwarder.close(self.now);
        self.settle();
        assert_eq!(self.taken.load(Ordering::Relaxed), 0);
        assert_eq!(self.forwarder.left(), 0, "something is left");
    }

    fn open(&mut self, key: u64, offer: &str, command: Command) -> Option<String> {
        self.lock().clear();
        self.command(command);
        let endpoint = EndpointKey(key);
        let outcomes: Vec<_> = self
            .lock()
            .drain(..)
            .filter_map(|event| match event {
                Event::Answered { endpoint: of, sdp } if of == endpoint => Some(Some(sdp)),
                Event::Refused { endpoint: of, why } if of == endpoint => {
                    let _ = why.to_string();
                    Some(None)
                }
                _ => None,
            })
            .collect();
        assert_eq!(outcomes.len(), 1, "each offer has one answer");
        let answer = outcomes.into_iter().next().flatten()?;
        check_answer(offer, &answer);
        let peer = Peer::new(offer, &answer);
        let [fragment, password, _] = &peer.credentials;
        assert!(!fragment.is_empty() && !password.is_empty(), "{answer}");
        self.peers.insert(key, peer);
        Some(answer)
    }

    fn command(&mut self, command: Command) {
        self.forwarder.command(self.now, command);
        self.settle();
    }

    fn settle(&mut self) {
        self.forwarder.settle(self.now);
        let taken = self.taken.load(Ordering::Relaxed);
        assert!(taken <= ENDPOINTS, "{taken} endpoints");
        // Beside answers there are failures and the like, a few for each endpoint.
        let mut events = self.lock();
        assert!(events.len() <= TURNS, "{} events", events.len());
        events.retain(|event| matches!(event, Event::Answered { .. } | Event::Refused { .. }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn new(offer: &str, answer: &str) -> Self {
        let find = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        let fingerprint = find(offer, "a=fingerprint:sha-256 ");
        let bytes = fingerprint.split(':').map(|it| u8::from_str_radix(it, 16));
        let bytes: Result<Vec<_>, _> = bytes.collect();
        let sources = answer.lines().filter_map(|it| it.strip_prefix("a=ssrc:"));
        Self {
            credentials: [
                find(answer, "a=ice-ufrag:"),
                find(answer, "a=ice-pwd:"),
                find(offer, "a=ice-ufrag:"),
            ],
            fingerprint: bytes.unwrap_or_default().try_into().unwrap_or_default(),
            sources: sources
                .filter_map(|it| it.split(' ').next()?.parse().ok())
                .collect(),
        }
    }
}

/// The answer has the offer's sections in their order (RFC 3264, section 6), and what is read of the
/// offer stays the same when it is read again.
fn check_answer(offer: &str, answer: &str) {
    let all = |text: &str, prefix: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines
            .map(|rest| rest.split(' ').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(all(offer, "m="), all(answer, "m="), "{answer}");
    assert_eq!(
        all(answer, "m=").len(),
        all(answer, "a=mid:").len(),
        "{answer}"
    );
    let texts = Offer::parse(offer).map(|it| it.text().to_owned());
    let again = texts
        .as_deref()
        .map(|it| Offer::parse(it).map(|it| it.text().to_owned()));
    assert_eq!(again.ok(), Some(texts.clone()));
}

fn sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &parts.concat());
    tag.as_ref().try_into().unwrap_or_default()
}

//! One thread's endpoints, driven by hand.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use rustix::event::epoll;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::ice::{StunMessage, TransId};

use super::super::connection::Common;
use super::super::forwarder::{Beginning, Forwarder};
use super::super::mapping::Mapping;
use super::super::sdp::Offer;
use super::super::socket::Socket;
use super::super::{ChannelUse, Command, Config, EndpointKey, Event, RoomKey};

/// Participants may do everything with their data channels.
const BOTH_WAYS: ChannelUse = ChannelUse {
    says: true,
    hears: true,
};

/// Endpoints at once.
const ENDPOINTS: usize = 6;
/// Turns that the endpoints may take in one step.
const TURNS: usize = 1_000;

/// Made once: it takes long.
static COMMON: LazyLock<(Arc<CryptoProvider>, DtlsCert)> = LazyLock::new(|| {
    let provider = Arc::new(str0m::crypto::from_feature_flags());
    let certificate = provider.dtls_provider.generate_certificate();
    let certificate = certificate.unwrap_or_else(|| panic!("OpenSSL has failed"));
    (provider, certificate)
});

/// One thread of the plane, without the thread.
pub struct Plane {
    forwarder: Forwarder,
    now: Instant,
    events: Arc<Mutex<Vec<Event>>>,
    taken: Arc<AtomicUsize>,
    /// Of those that were answered: our user name fragment and password, and the peer's fragment.
    keys: BTreeMap<u64, [String; 3]>,
}

impl Plane {
    /// Without endpoints.
    ///
    /// # Panics
    /// If the machine has no sockets.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let (provider, certificate) = &*COMMON;
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let config = Config {
            threads: 1,
            bind: ip,
            advertise: vec![ip],
            endpoints: ENDPOINTS,
            ..Config::default()
        };
        let socket = Socket::bind(SocketAddr::new(ip, 0)).unwrap_or_else(|error| panic!("{error}"));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        let epoll = epoll.unwrap_or_else(|error| panic!("{error}"));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let taken = Arc::new(AtomicUsize::new(0));
        let sink = Arc::clone(&events);
        let forwarder = Forwarder::new(Beginning {
            config: Arc::new(config),
            thread: 0,
            common: Common {
                provider: Arc::clone(provider),
                certificate: certificate.clone(),
            },
            socket: Arc::new(socket),
            ips: vec![ip],
            mapping: Mapping::new(Vec::new(), now),
            epoll: Arc::new(epoll),
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
            keys: BTreeMap::new(),
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
        let Some([ours, password, theirs]) = self.keys.get(&key) else {
            return;
        };
        let user = format!("{ours}:{theirs}");
        let check = StunMessage::binding_request(&user, TransId::new(), true, 1, 1, uses);
        let password: &[u8] = if is_right { password.as_bytes() } else { b"x" };
        let mut bytes = vec![0; 500];
        if let Ok(length) = check.to_bytes(Some(password), &mut bytes, sha1) {
            self.datagram(from, &bytes[..length]);
        }
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
        let find = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        let own = ["a=ice-ufrag:", "a=ice-pwd:"].map(|name| find(&answer, name));
        let [fragment, password] = own;
        assert!(!fragment.is_empty() && !password.is_empty(), "{answer}");
        let theirs = find(offer, "a=ice-ufrag:");
        self.keys.insert(key, [fragment, password, theirs]);
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

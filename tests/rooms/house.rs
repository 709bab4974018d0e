//! A running plane, and the commands that tests give it.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use str0m::media::Direction;
use switchboard::rooms::{
    ChannelUse, Command, Config, EndpointKey, Event, MediaError, Plane, RoomKey,
};

use crate::client::{Client, Codecs, Wish, until};

pub(crate) const ROOM: RoomKey = RoomKey(7);

pub(crate) struct House {
    pub(crate) plane: Arc<Plane>,
    pub(crate) events: Receiver<Event>,
    /// What the next publisher's data channels are for.
    pub(crate) channels: ChannelUse,
    next: u64,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        let (tell, events) = channel();
        let plane = Plane::start(config, move |event| {
            let _ = tell.send(event);
        })
        .unwrap();
        Self {
            plane: Arc::new(plane),
            events,
            channels: ChannelUse {
                says: true,
                hears: true,
            },
            next: 0,
        }
    }

    pub(crate) fn key(&mut self) -> EndpointKey {
        self.next += 1;
        EndpointKey(self.next)
    }

    /// One that takes media over TCP as well, at this address.
    pub(crate) fn with_tcp(config: Config) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((config.bind, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let house = Self::with(Config {
            tcp: vec![address],
            ..config
        });
        let plane = Arc::downgrade(&house.plane);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(plane) = plane.upgrade() else { return };
                hand_over(&plane, stream.unwrap());
            }
        });
        (house, address)
    }

    /// What comes of a publisher's offer.
    pub(crate) fn offer(
        &mut self,
        offer: &str,
        loopback: bool,
    ) -> (EndpointKey, Result<String, MediaError>) {
        let endpoint = self.key();
        let offer = offer.to_owned();
        self.plane
            .command(Command::Publish {
                room: ROOM,
                endpoint,
                offer,
                loopback,
                channels: self.channels,
            })
            .unwrap();
        (endpoint, self.outcome(endpoint))
    }

    /// What comes of a subscriber's offer.
    pub(crate) fn ask(
        &mut self,
        publisher: EndpointKey,
        offer: &str,
    ) -> (EndpointKey, Result<String, MediaError>) {
        let endpoint = self.key();
        let offer = offer.to_owned();
        self.plane
            .command(Command::Subscribe {
                room: ROOM,
                endpoint,
                publisher,
                offer,
            })
            .unwrap();
        (endpoint, self.outcome(endpoint))
    }

    fn outcome(&mut self, key: EndpointKey) -> Result<String, MediaError> {
        loop {
            match self.event() {
                Event::Answered { endpoint, sdp } if endpoint == key => return Ok(sdp),
                Event::Refused { endpoint, why } if endpoint == key => return Err(why),
                _ => {}
            }
        }
    }

    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    pub(crate) fn remove(&self, endpoint: EndpointKey) {
        let room = ROOM;
        self.plane
            .command(Command::Remove { room, endpoint })
            .unwrap();
    }

    /// Keeps a publisher's sound and picture from the others, or not.
    pub(crate) fn mute(&self, endpoint: EndpointKey, audio: bool, video: bool) {
        let room = ROOM;
        let command = Command::Mute {
            room,
            endpoint,
            audio,
            video,
        };
        self.plane.command(command).unwrap();
    }

    /// A connected publisher.
    pub(crate) fn publisher(&mut self, codecs: Codecs, wish: &Wish) -> (EndpointKey, Client) {
        let (mut client, offer) = Client::new(codecs, wish);
        let (key, answer) = self.offer(&offer, false);
        client.answer(&answer.unwrap());
        until("publisher connected", &mut [&mut client], |c| {
            c[0].connected
        });
        (key, client)
    }

    /// A connected subscriber.
    pub(crate) fn subscriber(
        &mut self,
        codecs: Codecs,
        publisher: EndpointKey,
    ) -> (EndpointKey, Client) {
        let (mut client, offer) = Client::new(codecs, &receiving());
        let (key, answer) = self.ask(publisher, &offer);
        client.answer(&answer.unwrap());
        until("subscriber connected", &mut [&mut client], |c| {
            c[0].connected
        });
        (key, client)
    }
}

/// Sends video until the subscriber has `count` packets of it.
pub(crate) fn stream(publisher: &mut Client, subscriber: &mut Client, first: u64, count: usize) {
    let (mut n, mut last) = (0, None);
    let mut answered = publisher.keyframes_wanted.len();
    until("video arrives", &mut [publisher, subscriber], |c| {
        if last.is_none_or(|at: Instant| at.elapsed() >= Duration::from_millis(5)) {
            last = Some(Instant::now());
            let wanted = c[0].keyframes_wanted.len();
            let keyframe = n == 0 || wanted > answered;
            answered = wanted;
            c[0].send_video(first + n, &vp8(n as u16, keyframe, 900));
            c[0].send_audio(first + n, b"opus");
            n += 1;
        }
        c[1].of(c[1].video).len() >= count
    });
}

/// What the server's listeners do.
fn hand_over(plane: &Plane, mut stream: TcpStream) {
    let (peer, local) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let mut head = [0; 2];
    let mut read = || {
        stream.read_exact(&mut head)?;
        let mut first = vec![0; usize::from(u16::from_be_bytes(head))];
        stream.read_exact(&mut first)?;
        std::io::Result::Ok(first)
    };
    if let Ok(first) = read() {
        // Who isn't taken is closed.
        let _ = plane.connect(stream, peer, local, first);
    }
}

/// One thread on the loopback address.
pub(crate) fn config() -> Config {
    Config {
        threads: 1,
        bind: Ipv4Addr::LOCALHOST.into(),
        ..Config::default()
    }
}

pub(crate) fn sending() -> Wish {
    Wish {
        audio: Some(Direction::SendOnly),
        video: Some(Direction::SendOnly),
        ..Wish::default()
    }
}

pub(crate) fn receiving() -> Wish {
    Wish {
        audio: Some(Direction::RecvOnly),
        video: Some(Direction::RecvOnly),
        ..Wish::default()
    }
}

/// A VP8 packet (RFC 7741) with its number in the picture id and the payload.
pub(crate) fn vp8(n: u16, key: bool, size: usize) -> Vec<u8> {
    let [high, low] = (n & 0x7fff).to_be_bytes();
    let mut payload = vec![0x90, 0xe0, 0x80 | high, low, n as u8, 0, u8::from(!key)];
    payload.extend_from_slice(&n.to_be_bytes());
    payload.resize(size.max(payload.len()), 0xaa);
    payload
}

/// The number in a packet of [`vp8`].
pub(crate) fn number(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[7], payload[8]])
}

//! Attacks on the media port and by participants: who has nothing to do with it goes on receiving.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};
use switchboard::rooms::{EndpointKey, EndpointStats};

use crate::client::{Client, Codecs, Wish, until};
use crate::house::{House, config, number, sending, stream, vp8};
use crate::say;

/// Packets of one flood: more than the system holds back for the plane.
const FLOOD: usize = 20_000;
/// What a flood may cost, in kB, with what other tests of this process take meanwhile.
pub(crate) const MEMORY: u64 = 250_000;

pub(crate) fn codecs() -> Codecs {
    Codecs::vp8(111, 96)
}

/// Two who have nothing to do with it.
pub(crate) struct Innocents {
    pub(crate) publisher: Client,
    pub(crate) subscriber: Client,
    next: u64,
}

impl Innocents {
    pub(crate) fn new(house: &mut House) -> Self {
        let (key, publisher) = house.publisher(codecs(), &sending());
        let (_, subscriber) = house.subscriber(codecs(), key);
        let mut innocents = Self {
            publisher,
            subscriber,
            next: 1,
        };
        innocents.stream();
        innocents
    }

    /// Media flows as if nothing were the matter: what gets lost is sent again.
    pub(crate) fn stream(&mut self) {
        self.send(100, |came| came == 100);
    }

    /// Media flows for as long as something lasts. What a busy machine loses meanwhile may stay lost.
    fn stream_while(&mut self, lasts: &dyn Fn() -> bool) {
        self.send(u64::MAX, |came| came >= 20 && !lasts());
        self.stream();
    }

    /// Sends so many packets until enough of them have come.
    fn send(&mut self, most: u64, mut done: impl FnMut(usize) -> bool) {
        self.subscriber.packets.clear();
        let first = self.next;
        let mut last = None;
        let mut both = [&mut self.publisher, &mut self.subscriber];
        let next = &mut self.next;
        until("video arrives", &mut both, |c| {
            let is_time = last.is_none_or(|at: Instant| at.elapsed() >= Duration::from_millis(5));
            if is_time && *next - first < most {
                last = Some(Instant::now());
                c[0].send_video(*next, &vp8(*next as u16, *next == first, 900));
                *next += 1;
            }
            // Without those that were sent before and come late.
            let packets = c[1].of(c[1].video).into_iter();
            let numbers = packets.map(|packet| number(&packet.payload));
            let came: HashSet<_> = numbers.filter(|it| u64::from(*it) >= first).collect();
            done(came.len())
        });
    }
}

/// Sends a flood from a thread of its own while the innocents go on; how much memory it took, in kB.
pub(crate) fn flood(what: &str, innocents: &mut Innocents, run: impl FnOnce() + Send) -> u64 {
    let (before, begun) = (memory(), Instant::now());
    let over = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ended = Arc::clone(&over);
        scope.spawn(move || {
            run();
            ended.store(true, Ordering::Relaxed);
        });
        innocents.stream_while(&|| !over.load(Ordering::Relaxed));
    });
    let (grown, took) = (memory().saturating_sub(before), begun.elapsed());
    say(&format!("{what}: {took:?}, {grown} kB"));
    assert!(grown < MEMORY, "{what}: {grown} kB");
    grown
}

/// Of this process, in kB; the plane is in it.
pub(crate) fn memory() -> u64 {
    crate::memory(std::process::id())
}

pub(crate) fn local() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

pub(crate) fn noise(state: &mut u64, length: usize) -> Vec<u8> {
    let mut byte = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as u8
    };
    (0..length).map(|_| byte()).collect()
}

/// A connectivity check.
fn check(user: &str, password: &str) -> Vec<u8> {
    let check = StunMessage::binding_request(user, TransId::new(), true, 1, 1, false);
    let mut bytes = vec![0; 500];
    let provider = str0m::crypto::from_feature_flags();
    let hmac = |key: &[u8], parts: &[&[u8]]| provider.sha1_hmac_provider.sha1_hmac(key, parts);
    let length = check.to_bytes(Some(password.as_bytes()), &mut bytes, hmac);
    bytes.truncate(length.unwrap());
    bytes
}

/// A value of a line of SDP.
pub(crate) fn value<'a>(sdp: &'a str, key: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(key)).unwrap()
}

pub(crate) fn stats(house: &House, of: EndpointKey) -> Option<EndpointStats> {
    house.plane.stats().into_iter().find(|it| it.endpoint == of)
}

/// What came to the media port and was nobody's.
pub(crate) fn strays(house: &House) -> u64 {
    let threads = house.plane.thread_stats();
    threads.iter().map(|thread| thread.strays).sum()
}

#[test]
fn floods_of_strangers_reach_nobody() {
    let mut house = House::new();
    let to = house.plane.addresses()[0];
    let mut innocents = Innocents::new(&mut house);
    let (_waiting, offer) = Client::new(codecs(), &sending());
    let (_, answer) = house.offer(&offer, false);
    let answer = answer.unwrap();
    let (ours, theirs) = (
        value(&answer, "a=ice-ufrag:"),
        value(&offer, "a=ice-ufrag:"),
    );
    let mut state = 0x9e37_79b9_7f4a_7c15;
    // Like checks, with whatever a parser may stumble over behind their head.
    let mut odd = |round: usize| {
        let mut packet = noise(&mut state, 20 + round % 70 * 4);
        let length = u16::try_from(packet.len() - 20).unwrap();
        packet[..2].copy_from_slice(&[0, 1]);
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        packet
    };
    let odd: Vec<_> = (0..500).map(&mut odd).collect();
    let names = [format!("nobody:{theirs}"), format!("0+nobody:{theirs}")];
    let unknown = names.iter().map(|name| check(name, "password")).collect();
    let wrong = vec![check(&format!("{ours}:{theirs}"), "not the password")];
    let mut media: Vec<_> = (0..500).map(|n| noise(&mut state, 12 + n * 2)).collect();
    for (n, packet) in media.iter_mut().enumerate() {
        packet[0] = 0x80;
        packet[1] = [96, 111, 200, 201, 205, 206][n % 6];
    }
    let sizes = [0, 1, 2, 3, 19, 20, 2_000, 9_000, 65_507];
    let sizes = sizes.map(|n| noise(&mut state, n)).to_vec();
    for (what, packets) in [
        ("odd checks", odd),
        ("checks for nobody", unknown),
        ("checks with a wrong password", wrong),
        ("media of strangers", media),
        ("tiny and oversize packets", sizes),
    ] {
        let packets: &[Vec<u8>] = &packets;
        flood(what, &mut innocents, || {
            // A port of its own for each few: a stranger may have all of them.
            let sockets: Vec<_> = (0..50).map(|_| local()).collect();
            for n in 0..FLOOD {
                let packet = &packets[n % packets.len()];
                let _ = sockets[n % sockets.len()].send_to(packet, to);
            }
        });
    }
    say(&format!("{} of {} were strays", strays(&house), 5 * FLOOD));
    until("counts", &mut [], |_| strays(&house) as usize > FLOOD);
}

#[test]
fn a_participant_has_only_so_many_addresses() {
    let mut house = House::new();
    let to = house.plane.addresses()[0];
    let mut innocents = Innocents::new(&mut house);
    let (mut client, offer) = Client::new(codecs(), &sending());
    let (_, answer) = house.offer(&offer, false);
    let answer = answer.unwrap();
    let ours = value(&answer, "a=ice-ufrag:").to_owned();
    let password = value(&answer, "a=ice-pwd:").to_owned();
    client.answer(&answer);
    until("connected", &mut [&mut client], |c| c[0].connected);
    let user = format!("{ours}:{}", value(&offer, "a=ice-ufrag:"));
    let mut answered = 0;
    flood("checks of a participant", &mut innocents, || {
        let sockets: Vec<_> = (0..500).map(|_| local()).collect();
        for _ in 0..FLOOD / 500 {
            for socket in &sockets {
                let _ = socket.send_to(&check(&user, &password), to);
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
            answered += usize::from(socket.recv(&mut [0; 500]).is_ok());
        }
    });
    say(&format!("{answered} of 500 addresses were answered"));
    assert!((1..=32).contains(&answered), "{answered}");
}

#[test]
fn connections_that_speak_no_frames_cost_their_owner_only() {
    let (mut house, to) = House::with_tcp(config());
    let mut innocents = Innocents::new(&mut house);
    let (mut client, offer) = Client::over_tcp(codecs(), &sending(), to);
    let (_, answer) = house.offer(&offer, false);
    let answer = answer.unwrap();
    let user = format!(
        "{}:{}",
        value(&answer, "a=ice-ufrag:"),
        value(&offer, "a=ice-ufrag:")
    );
    let password = value(&answer, "a=ice-pwd:").to_owned();
    client.answer(&answer);
    until("connected", &mut [&mut client], |c| c[0].connected);
    let frame = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let right = frame(&check(&user, &password));
    let wrong = frame(&check(&user, "not the password"));
    let over = |mut stream: TcpStream| {
        let patience = Duration::from_secs(20);
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 1_000];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still open");
                    return;
                }
            }
        }
    };
    let begun = |first: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(first).unwrap();
        stream
    };
    flood("connections", &mut innocents, || {
        // Of a second peer, which has no password.
        over(begun(&wrong));
        // Longer than any packet.
        over(begun(&[&right[..], &[0xff, 0xff, 0, 1, 2]].concat()));
        // Empty ones, and checks, one after the other.
        let mut busy = begun(&right);
        for _ in 0..2_000 {
            if busy.write_all(&[&[0, 0][..], &right].concat()).is_err() {
                break;
            }
            busy.set_nonblocking(true).unwrap();
            while matches!(busy.read(&mut [0; 1_000]), Ok(1..)) {}
            busy.set_nonblocking(false).unwrap();
        }
        // Never finished: nine of them, of which the plane keeps eight.
        let open: Vec<_> = (0..9)
            .map(|_| begun(&[&right[..], &[5, 0, 1, 2]].concat()))
            .collect();
        for stream in open.into_iter().take(1) {
            over(stream);
        }
    });
}

#[test]
fn resending_is_bounded_whatever_is_asked_for() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(codecs(), &sending());
    let (_, mut greedy) = house.subscriber(codecs(), key);
    stream(&mut publisher, &mut greedy, 1, 20);
    // It takes nothing that is large any more, and asks for all of it again and again.
    let received = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let mut seen = 0;
    greedy.lose = Box::new(move |bytes| {
        count.fetch_add(usize::from(bytes.len() > 500), Ordering::Relaxed);
        // One in ten, so that it knows of the others.
        seen += usize::from(bytes.len() > 500);
        bytes.len() > 500 && seen % 10 != 0
    });
    let (mut n, mut last) = (1_000, Instant::now());
    until(
        "a thousand packets",
        &mut [&mut publisher, &mut greedy],
        |c| {
            if last.elapsed() >= Duration::from_millis(3) {
                last = Instant::now();
                c[0].send_video(n, &vp8(n as u16, n == 1_000, 900));
                n += 1;
            }
            n == 2_000
        },
    );
    let received = received.load(Ordering::Relaxed);
    say(&format!(
        "{received} packets came of 1000 that were sent once"
    ));
    assert!(received < 3_000, "{received}");
}

#[test]
fn a_participant_that_sends_far_too_much_disturbs_no_other_room() {
    let mut house = House::new();
    let mut innocents = Innocents::new(&mut house);
    let (key, mut loud) = house.publisher(codecs(), &sending());
    let (_, mut listener) = house.subscriber(codecs(), key);
    stream(&mut loud, &mut listener, 1, 20);
    flood("far too much", &mut innocents, || {
        // 200 packets a second are usual.
        let (begun, mut n) = (Instant::now(), 1_000);
        while begun.elapsed() < Duration::from_secs(2) {
            for _ in 0..50 {
                loud.send_video(n, &vp8(n as u16, n % 500 == 0, 1_100));
                n += 1;
            }
            listener.turn(false);
            listener.packets.clear();
            std::thread::sleep(Duration::from_millis(2));
        }
        say(&format!("{} packets in 2 s", n - 1_000));
    });
    let heard = stats(&house, key).map(|it| (it.packets_in, it.keyframe_requests));
    say(&format!("packets in and keyframe requests: {heard:?}"));
}

#[test]
fn a_participant_of_a_thousand_sources_has_one_at_a_time() {
    let mut house = House::new();
    let mut innocents = Innocents::new(&mut house);
    let (key, mut many) = house.publisher(codecs(), &sending());
    let before = memory();
    let mid = many.video.unwrap();
    for n in 0..1_000_u32 {
        let mut api = many.rtc.direct_api();
        let old = api.stream_tx_by_mid(mid, None).unwrap().ssrc();
        api.remove_stream_tx(old);
        api.declare_stream_tx((0x1000 + n).into(), None, mid, None);
        many.send_video(1, &vp8(n as u16, false, 300));
        many.turn(false);
        if n % 50 == 0 {
            innocents.publisher.turn(false);
            innocents.subscriber.turn(false);
        }
    }
    innocents.stream();
    let grown = memory().saturating_sub(before);
    let heard = stats(&house, key).map(|it| (it.packets_in, it.keyframe_requests));
    say(&format!("a thousand sources: {grown} kB, {heard:?}"));
    assert!(grown < MEMORY);
    assert!(heard.is_some_and(|(_, asked)| asked < 100), "{heard:?}");
}

#[test]
fn a_flood_of_messages_is_dropped_where_it_does_not_fit() {
    let mut house = House::new();
    let mut innocents = Innocents::new(&mut house);
    let wish = Wish {
        channel: Some("chat"),
        ..sending()
    };
    let (_, mut one) = house.publisher(codecs(), &wish);
    let (_, mut two) = house.publisher(codecs(), &wish);
    until("channels open", &mut [&mut one, &mut two], |c| {
        c.iter().all(|c| !c.channels.is_empty())
    });
    let before = memory();
    let data = vec![7; 16_000];
    let (mut written, begun) = (0_usize, Instant::now());
    // The other one takes nothing meanwhile.
    until("three seconds of messages", &mut [&mut one], |c| {
        let id = c[0].channels[0].0;
        while c[0].rtc.channel(id).unwrap().write(true, &data).unwrap() {
            written += data.len();
        }
        c[0].turn(true);
        begun.elapsed() > Duration::from_secs(3)
    });
    innocents.stream();
    let grown = memory().saturating_sub(before);
    say(&format!("{written} bytes of messages: {grown} kB"));
    assert!(grown < MEMORY, "{grown} kB");
    // It goes on, once it takes something.
    let earlier = two.messages.len();
    until("more messages", &mut [&mut one, &mut two], |c| {
        c[1].messages.len() > earlier
    });
}

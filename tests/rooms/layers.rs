//! Simulcast: each subscriber gets the layer that its path takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::{Client, Codecs, Lose, Wish, until};
use crate::house::{House, receiving, sending, vp8};

/// Each layer's name, and the bytes of one of its 50 packets a second.
const LAYERS: [(&str, usize); 3] = [("h", 3 * 1_100), ("m", 900), ("l", 250)];

/// A publisher of three layers, whose frames tell their layer by their size.
struct Source {
    n: u64,
    seqs: [u64; 3],
    last: Instant,
}

impl Source {
    fn new() -> Self {
        Self {
            n: 0,
            seqs: [1; 3],
            last: Instant::now(),
        }
    }

    /// Sends what is due: keyframes where they were asked for.
    fn turn(&mut self, client: &mut Client) {
        let now = Instant::now();
        if now.duration_since(self.last) < Duration::from_millis(20) {
            return;
        }
        self.last = now;
        self.n += 1;
        let wanted: Vec<_> = client.keyframes_wanted.drain(..).map(|w| w.1).collect();
        for (layer, (rid, bytes)) in LAYERS.iter().enumerate() {
            let key = self.n == 1 || wanted.iter().any(|w| w.is_some_and(|w| &*w == *rid));
            let packets = bytes.div_ceil(1_100);
            for part in 0..packets {
                let mut payload = vp8(self.n as u16, key, bytes / packets);
                // Only a frame's first packet begins its partition.
                payload[0] = if part == 0 { 0x90 } else { 0x80 };
                payload[9] = layer as u8;
                client.send_layer(Some(rid), self.seqs[layer], &payload);
                self.seqs[layer] += 1;
            }
        }
    }
}

/// The layer of a packet.
fn layer(payload: &[u8]) -> u8 {
    payload[9]
}

/// Runs a publisher and its subscriber until the last packets are of a layer.
fn until_layer(what: &str, wanted: u8, source: &mut Source, clients: &mut [&mut Client]) {
    let begin = Instant::now();
    until(what, clients, |c| {
        source.turn(c[0]);
        let packets = &c[1].packets;
        begin.elapsed() > Duration::from_secs(1)
            && packets.len() > 20
            && packets
                .iter()
                .rev()
                .take(20)
                .all(|p| layer(&p.payload) == wanted)
    });
}

#[test]
fn a_subscriber_gets_the_best_layer_and_a_lower_one_when_its_path_is_squeezed() {
    let mut house = House::new();
    let wish = Wish {
        audio: None,
        rids: &["h", "m", "l"],
        ..sending()
    };
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &wish);
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(109, 120), key);
    let mut source = Source::new();
    until_layer(
        "the best layer",
        0,
        &mut source,
        &mut [&mut publisher, &mut subscriber],
    );
    subscriber.lose = bottleneck(70_000);
    let clients = &mut [&mut publisher, &mut subscriber];
    until("a lower layer", clients, |c| {
        source.turn(c[0]);
        let packets = &c[1].packets;
        packets
            .iter()
            .rev()
            .take(10)
            .all(|p| layer(&p.payload) != 0)
    });
    subscriber.lose = Box::new(|_| false);
    until_layer(
        "the best layer again",
        0,
        &mut source,
        &mut [&mut publisher, &mut subscriber],
    );
    continuous(&subscriber);
}

/// Whatever it was made of, the stream is one: numbers and pictures without gaps but where packets
/// were lost, and each switch begins with a keyframe.
fn continuous(subscriber: &Client) {
    let mut packets = subscriber.of(subscriber.video);
    packets.sort_by_key(|p| *p.seq_no);
    packets.dedup_by_key(|p| *p.seq_no);
    let mut switches = 0;
    for pair in packets.windows(2) {
        let step = *pair[1].seq_no - *pair[0].seq_no;
        let picture = |p: &[u8]| u16::from_be_bytes([p[2] & 0x7f, p[3]]);
        let pictures = picture(&pair[1].payload).wrapping_sub(picture(&pair[0].payload)) & 0x7fff;
        if step == 1 {
            assert!(pictures <= 1, "picture ids jump by {pictures}");
        }
        if layer(&pair[0].payload) != layer(&pair[1].payload) && step == 1 {
            switches += 1;
            assert_eq!(pair[1].payload[0], 0x90, "a switch within a frame");
        }
        assert!(
            pair[1]
                .header
                .timestamp
                .wrapping_sub(pair[0].header.timestamp)
                < 90_000 * 20
        );
    }
    assert!(switches >= 1, "it never switched");
}

/// A link of some bytes a second with a short queue: what has no room is lost.
fn bottleneck(rate: usize) -> Lose {
    let mut sent: VecDeque<(Instant, usize)> = VecDeque::new();
    Box::new(move |bytes| {
        let now = Instant::now();
        while sent
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > Duration::from_millis(200))
        {
            sent.pop_front();
        }
        let total: usize = sent.iter().map(|(_, len)| len).sum();
        let lost = total + bytes.len() > rate / 5;
        if !lost {
            sent.push_back((now, bytes.len()));
        }
        lost
    })
}

#[test]
fn a_subscriber_without_feedback_of_its_path_still_gets_a_layer() {
    let mut house = House::new();
    let wish = Wish {
        audio: None,
        rids: &["h", "m", "l"],
        ..sending()
    };
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &wish);
    let (mut subscriber, offer) = Client::new(Codecs::vp8(109, 120), &receiving());
    let offer = offer.replace("transport-wide-cc", "transport-wide-xx");
    subscriber.answer(&house.ask(key, &offer).1.unwrap());
    let mut source = Source::new();
    until("some layer", &mut [&mut publisher, &mut subscriber], |c| {
        source.turn(c[0]);
        c[1].packets.len() > 50
    });
}

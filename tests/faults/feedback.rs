//! What participants send within their own sessions: feedback that makes no sense, without end, and media of
//! no kind. It costs themselves at most.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use switchboard::rooms::{Config, EndpointKey};

use crate::client::{Client, Wish, until};
use crate::forge::Keys;
use crate::house::{House, receiving, sending, stream, vp8};
use crate::plane::{Innocents, codecs, flood, noise, stats, value};
use crate::say;

/// How long feedback comes, as fast as a thread can send it beside others.
const LASTS: Duration = Duration::from_secs(2);
/// Between a publisher's packets.
const PACE: Duration = Duration::from_millis(5);
/// A publisher is asked for a picture to begin with at most this often.
const PAUSE: Duration = Duration::from_millis(500);
/// Types of RTCP (RFC 3550, section 12.1; RFC 4585, section 6.1; RFC 3611): reports, descriptions, goodbyes,
/// words of applications, feedback on the transport and on the payload, and more reports.
const SENDER: u8 = 200;
const RECEIVER: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;
const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;
const EXTENDED: u8 = 207;
/// Sources that somebody sends from.
const SOURCES: u32 = 2_000;

/// A participant whose keys we have.
struct Party {
    key: EndpointKey,
    client: Client,
    keys: Keys,
    answer: String,
    to: SocketAddr,
}

impl Party {
    fn new(house: &mut House, publisher: Option<EndpointKey>) -> Self {
        let (keys, provider) = Keys::new();
        let wish = Wish {
            provider: Some(provider),
            ..publisher.map_or_else(sending, |_| receiving())
        };
        let (mut client, offer) = Client::new(codecs(), &wish);
        let (key, answer) = match publisher {
            Some(publisher) => house.ask(publisher, &offer),
            None => house.offer(&offer, false),
        };
        let answer = answer.unwrap();
        client.answer(&answer);
        until("connected", &mut [&mut client], |c| c[0].connected);
        Self {
            key,
            client,
            keys,
            answer,
            to: house.plane.addresses()[0],
        }
    }

    fn send(&self, packet: &[u8]) {
        // What the system has no room for is lost, as on the way.
        let _ = self.client.socket.send_to(packet, self.to);
    }
}

/// RTCP of one sender: its type, its format or count, and the words behind the sender's source.
fn rtcp(kind: u8, format: u8, words: &[u32]) -> Vec<u8> {
    let length = u16::try_from(words.len() + 1).unwrap().to_be_bytes();
    let sender = 7_u32.to_be_bytes();
    let mut packet = [&[0x80 | format, kind], &length[..], &sender].concat();
    packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    packet
}

/// What a subscriber is able to take (draft-alvestrand-rmcat-remb), in the form in which it is told.
fn able(exponent: u32, mantissa: u32, source: u32) -> Vec<u8> {
    let name = u32::from_be_bytes(*b"REMB");
    let rate = 1 << 24 | exponent << 18 | mantissa;
    rtcp(PAYLOAD, 15, &[0, name, rate, source])
}

/// Asks for packets again (RFC 4585, section 6.2.1): for these, and with each for the 16 behind it.
fn again(source: u32, numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    let wishes = numbers.map(|number| u32::from(number) << 16 | 0xffff);
    let words: Vec<u32> = std::iter::once(source).chain(wishes).collect();
    rtcp(TRANSPORT, 1, &words)
}

/// The first index of what we send: beyond those of the client itself.
const FIRST: u32 = 1 << 20;

/// Counts from now on what is large, as media is.
fn count_large(client: &mut Client) -> Arc<AtomicU64> {
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    client.lose = Box::new(move |bytes| {
        count.fetch_add(u64::from(bytes.len() > 500), Ordering::Relaxed);
        false
    });
    received
}

/// What came of a flood.
#[derive(Debug)]
struct Seen {
    /// How often the publisher was asked for a picture to begin with.
    asked: u64,
    /// Packets that it sent, and packets that the flooder got for them.
    sent: u64,
    received: u64,
    lasted: Duration,
    /// What the publisher was told before and afterwards that it may send.
    limits: [Option<u64>; 2],
    /// Whether the flooder is still served.
    is_there: bool,
}

/// One of two subscribers floods the plane with feedback: `make` makes the next packets of it, for a source,
/// about its number that is the latest. All others go on.
fn flooded(what: &str, mut make: impl FnMut(u32, u16) -> Vec<Vec<u8>> + Send) -> Seen {
    let mut house = House::new();
    let mut innocents = Innocents::new(&mut house);
    let (key, mut publisher) = house.publisher(codecs(), &sending());
    let (_, mut other) = house.subscriber(codecs(), key);
    let mut flooder = Party::new(&mut house, Some(key));
    stream(&mut publisher, &mut flooder.client, 1, 20);
    until(
        "a limit, and a report",
        &mut [&mut publisher, &mut flooder.client],
        |c| c[0].limit.is_some() && flooder.keys.are_known()[1],
    );
    let source = *flooder.client.of(flooder.client.video)[0].header.ssrc;
    let received = count_large(&mut flooder.client);
    let (mut sent, mut index, mut latest) = (1_000, FIRST, 0);
    let (asked, before) = (publisher.keyframes_wanted.len(), publisher.limit);
    let begun = Instant::now();
    flood(what, &mut innocents, || {
        let mut last = begun;
        while begun.elapsed() < LASTS {
            if last.elapsed() >= PACE {
                last = Instant::now();
                publisher.send_video(sent, &vp8(sent as u16, sent == 1_000, 900));
                sent += 1;
            }
            for plain in make(source, latest) {
                flooder.send(&flooder.keys.rtcp(index, &plain));
                index += 1;
            }
            for client in [&mut publisher, &mut other, &mut flooder.client] {
                client.turn(false);
            }
            if let Some(packet) = flooder.client.of(flooder.client.video).last() {
                latest = packet.header.sequence_number;
            }
            flooder.client.packets.clear();
        }
    });
    let lasted = begun.elapsed();
    let asked = publisher.keyframes_wanted.len() - asked;
    let seen = Seen {
        asked: asked as u64,
        sent: sent - 1_000,
        received: received.load(Ordering::Relaxed),
        lasted,
        limits: [before, publisher.limit],
        is_there: stats(&house, flooder.key).is_some(),
    };
    say(&format!(
        "{what}: {} packets of feedback: {seen:?}",
        index - FIRST
    ));
    // As if nothing were the matter.
    other.packets.clear();
    stream(&mut publisher, &mut other, sent, 20);
    assert!(stats(&house, key).is_some());
    seen
}

#[test]
fn absurd_wishes_of_a_subscriber_are_held_back_from_its_publisher() {
    let mut round = 0;
    let seen = flooded("absurd wishes", move |source, latest| {
        round += 1_u16;
        let everything = (0..31).map(|n| round.wrapping_mul(31).wrapping_add(n).wrapping_mul(17));
        let kept = (0..31).map(|n| latest.wrapping_sub(n * 17));
        let wishes = [
            able(0, 0, source),
            able(63, 0x3_ffff, source),
            // 2^63.
            able(46, 1 << 17, source),
            rtcp(PAYLOAD, 1, &[source]),
            rtcp(PAYLOAD, 4, &[0, source, u32::from(round) << 24]),
            again(source, kept),
            again(source, everything),
            again(0xdead, 0..31),
        ];
        // One by one, and in one packet.
        let all = wishes.concat();
        wishes.into_iter().chain([all]).collect()
    });
    let most = seen.lasted.as_millis() / PAUSE.as_millis() + 2;
    assert!(u128::from(seen.asked) <= most, "{} of {most}", seen.asked);
    assert!(seen.received < 3 * seen.sent + 500, "{}", seen.received);
    let told = Some(Config::default().path());
    let close = |it: Option<u64>| it.zip(told).is_some_and(|(a, b)| a.abs_diff(b) < b / 100);
    assert!(seen.limits.into_iter().all(close), "{:?}", seen.limits);
    assert!(seen.is_there);
}

#[test]
fn reports_that_make_no_sense_cost_at_most_who_sends_them() {
    const ALL: u32 = u32::MAX;
    let mut state = 0x1357_9bdf_2468_ace1;
    flooded("absurd reports", move |source, latest| {
        let mut odd = |kind: u8| {
            let mut packet = noise(&mut state, 12 + usize::from(latest % 30) * 4);
            (packet[0], packet[1]) = (0x80 | packet[0] & 0x3f, kind);
            packet
        };
        let mut lying = rtcp(RECEIVER, 31, &[source]);
        lying[2..4].fill(0xff);
        vec![
            rtcp(RECEIVER, 1, &[source, ALL, ALL, ALL, ALL, ALL]),
            rtcp(RECEIVER, 1, &[source, 0, 0, 0, 1, ALL]),
            rtcp(
                SENDER,
                1,
                &[ALL, ALL, ALL, ALL, ALL, source, ALL, 0, ALL, ALL, 1],
            ),
            rtcp(TRANSPORT, 15, &[source, 0xffff, ALL, 0x3fff_3fff]),
            rtcp(
                TRANSPORT,
                15,
                &[source, u32::from(latest) << 16 | 0xffff, 0, ALL, ALL, ALL],
            ),
            rtcp(
                EXTENDED,
                0,
                &[0x0400_0002, ALL, ALL, 0x0500_0003, source, ALL, ALL],
            ),
            rtcp(DESCRIPTION, 31, &[0x01ff_4141]),
            rtcp(APPLICATION, 15, &[ALL, ALL]),
            lying,
            odd(SENDER),
            odd(RECEIVER),
            odd(DESCRIPTION),
            odd(TRANSPORT),
            odd(PAYLOAD),
            odd(EXTENDED),
            odd(195),
            // In the end it says goodbye, again and again.
            rtcp(GOODBYE, 1, &[]),
        ]
    });
}

/// A packet of media up to its payload (RFC 3550, section 5.1), with extensions (RFC 8285) if there are any.
fn head(kind: u8, seq: u16, source: u32, extensions: &[u8]) -> Vec<u8> {
    let mut head = vec![0x80, kind];
    head.extend(seq.to_be_bytes());
    head.extend(0_u32.to_be_bytes());
    head.extend(source.to_be_bytes());
    if !extensions.is_empty() {
        head[0] |= 0x10;
        let words = extensions.len().div_ceil(4);
        head.extend([0xbe, 0xde]);
        head.extend(u16::try_from(words).unwrap().to_be_bytes());
        head.extend(extensions);
        head.resize(16 + words * 4, 0);
    }
    head
}

/// The extension that names the section that media belongs to (RFC 9143, section 15).
fn section(party: &Party) -> Vec<u8> {
    let mid = party.client.video.unwrap().to_string();
    let name = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let mut maps = party.answer.lines().filter(|line| line.ends_with(name));
    let id: Option<u8> = maps.next_back().and_then(|line| {
        let number = value(line, "a=extmap:").split(' ').next()?;
        number.parse().ok()
    });
    let length = u8::try_from(mid.len() - 1).unwrap();
    [&[id.unwrap() << 4 | length], mid.as_bytes()].concat()
}

#[test]
fn media_of_no_kind_and_of_countless_sources_costs_its_sender_only() {
    let mut house = House::new();
    let mut innocents = Innocents::new(&mut house);
    let mut party = Party::new(&mut house, None);
    let (_, mut listener) = house.subscriber(codecs(), party.key);
    stream(&mut party.client, &mut listener, 1, 20);
    until("keys", &mut [&mut party.client], |_| {
        party.keys.are_known()[0]
    });
    let (video, section) = (codecs().video[0].0, section(&party));
    flood("media of countless sources", &mut innocents, || {
        for n in 0..SOURCES {
            let head = head(video, n as u16, 0x5000_0000 + n, &section);
            party.send(&party.keys.rtp(&head, &vp8(n as u16, true, 300)));
            if n % 20 == 0 {
                party.client.turn(false);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut state = 0x0dd0_5eed_0dd0_5eed;
    flood("media of no kind", &mut innocents, || {
        for n in 0..2_000_u32 {
            let odd = noise(&mut state, 64);
            let seq = 2_000 + n as u16;
            let (source, some) = (0x5000_0000 + n % 50, usize::from(odd[0] % 40));
            let kinds = [
                head(odd[1] & 0x3f, seq, source, &section),
                head(video, seq, source, &odd[..some]),
                // Retransmissions, of which the payload's beginning is missing.
                head(video + 1, seq, source, &section),
                // Probes for the path.
                head(odd[2] & 0x3f | 0x40, seq, 0, &[]),
                head(0x80 | video, seq, source, &section),
            ];
            for mut head in kinds {
                head[0] |= odd[3] & 0x20;
                party.send(&party.keys.rtp(&head, &odd[..some % 5]));
            }
            let mut nothing = odd[..12 + some].to_vec();
            (nothing[0], nothing[1]) = (0x80 | nothing[0] & 0x3f, nothing[1] & 0xbf);
            party.send(&nothing);
            if n % 10 == 0 {
                party.client.turn(false);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let is_there = stats(&house, party.key).is_some();
    say(&format!("who sent all this is still there: {is_there}"));
    innocents.stream();
}

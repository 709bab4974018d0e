//! The forwarding plane once peers are connected, in plain text: whatever publishers send, subscribers report
//! and everyone says over data channels, it forwards or drops, and nothing of it stays.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::fuzzing::rooms::{Plane, Rtp};
use switchboard_fuzz::{OFFERS, spare_str0m};

/// Two publishers, and a subscriber of each.
const PEERS: u8 = 4;

#[derive(Debug, Arbitrary)]
struct Call<'a> {
    /// What they offer: one that sends each.
    offers: [u8; 2],
    loopback: bool,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// The next packet of a publisher's track, or one so many before or after that.
    Packet {
        who: u8,
        track: u8,
        skips: i8,
        time: u16,
        payload: &'a [u8],
    },
    /// So many with the same payload, so that there are rates and losses.
    Burst {
        who: u8,
        track: u8,
        count: u8,
        payload: &'a [u8],
    },
    /// Any packet of media.
    Rtp {
        who: u8,
        kind: u8,
        seq: u16,
        time: u32,
        ssrc: u32,
        extension: (u8, &'a [u8]),
        payload: &'a [u8],
    },
    Report {
        who: u8,
        kind: u8,
        source: u8,
        body: &'a [u8],
    },
    /// A channel is opened, or a message said there.
    Open {
        who: u8,
        stream: u8,
        label: &'a str,
    },
    Message {
        who: u8,
        stream: u8,
        protocol: u8,
        bytes: &'a [u8],
    },
    Chunks {
        who: u8,
        chunks: &'a [u8],
    },
    /// Anything, from anywhere.
    Datagram {
        who: u8,
        bytes: &'a [u8],
    },
    /// Each peer's network changes.
    Move {
        who: u8,
        to: u8,
    },
    HangUp {
        who: u8,
    },
    Remove {
        who: u8,
    },
    Mute {
        who: u8,
        audio: bool,
        video: bool,
    },
    Wait {
        milliseconds: u16,
    },
}

/// RTCP's packet types, with what their heads count or name: reports of sender and receiver, names, goodbye,
/// NACK, feedback by transport numbers, PLI, FIR, REMB, extended reports.
const REPORTS: [(u8, u8); 10] = [
    (200, 1),
    (201, 1),
    (202, 1),
    (203, 1),
    (205, 1),
    (205, 15),
    (206, 1),
    (206, 4),
    (206, 15),
    (207, 0),
];

/// What the offers name: payload type, source, and for simulcast the name of the encoding.
const TRACKS: [(u8, u32, &[u8]); 8] = [
    (111, 1000, b""),
    (96, 1001, b""),
    (97, 1002, b""),
    (96, 2001, b"h"),
    (96, 2002, b"m"),
    (96, 2003, b"l"),
    (97, 2004, b"h"),
    (96, 2_744_618_374, b""),
];

struct World {
    plane: Plane,
    addresses: [u8; PEERS as usize],
    /// The next number and timestamp of each track.
    next: [[(u16, u32); TRACKS.len()]; PEERS as usize],
}

fuzz_target!(init: spare_str0m(), |call: Call<'_>| {
    let mut plane = Plane::new(Instant::now());
    let sending = [OFFERS[0], OFFERS[2], OFFERS[3]];
    for (key, offer) in (0..).zip(call.offers) {
        let offer = sending[usize::from(offer) % sending.len()];
        plane.publish(0, key, offer, call.loopback);
        plane.subscribe(0, key + 2, key, OFFERS[1]);
    }
    let mut world = World {
        plane,
        addresses: [0, 1, 2, 3],
        next: Default::default(),
    };
    for who in 0..PEERS {
        world.plane.connect(who.into(), world.address(who));
    }
    for it in call.steps {
        world.step(it);
    }
    world.plane.wait(Duration::from_secs(120));
    world.plane.close();
});

impl World {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Packet {
                who,
                track,
                skips,
                time,
                payload,
            } => {
                let next = self.track(who, track);
                next.0 = next.0.wrapping_add_signed(skips.into());
                next.1 = next.1.wrapping_add(time.into());
                self.packet(who, track, payload);
            }
            Step::Burst {
                who,
                track,
                count,
                payload,
            } => {
                for _ in 0..count % 64 {
                    self.track(who, track).1 += 100;
                    self.packet(who, track, payload);
                    self.plane.wait(Duration::from_millis(5));
                }
            }
            Step::Rtp {
                who,
                kind,
                seq,
                time,
                ssrc,
                extension,
                payload,
            } => {
                let extensions = &[(extension.0 % 15, extension.1)];
                self.plane.rtp(
                    self.address(who),
                    &Rtp {
                        kind,
                        seq,
                        time,
                        ssrc,
                        extensions,
                        payload,
                    },
                );
            }
            Step::Report {
                who,
                kind,
                source,
                body,
            } => {
                let kind = REPORTS[usize::from(kind) % REPORTS.len()];
                self.plane
                    .rtcp((who % PEERS).into(), self.address(who), kind, source, body);
            }
            Step::Open { who, stream, label } => {
                // RFC 8832, section 5.1.
                let length = u16::try_from(label.len()).unwrap_or(u16::MAX).to_be_bytes();
                let open = [
                    &[3, 0, 0, 0, 0, 0, 0, 0],
                    &length[..],
                    &[0, 0],
                    label.as_bytes(),
                ];
                self.plane
                    .message(self.address(who), stream, 50, &open.concat());
            }
            Step::Message {
                who,
                stream,
                protocol,
                bytes,
            } => {
                self.plane
                    .message(self.address(who), stream, protocol, bytes);
            }
            Step::Chunks { who, chunks } => self.plane.chunks(self.address(who), chunks),
            Step::Datagram { who, bytes } => self.plane.datagram(self.address(who), bytes),
            Step::Move { who, to } => {
                self.addresses[usize::from(who % PEERS)] = to % 64;
                self.plane
                    .check((who % PEERS).into(), self.address(who), true, true);
            }
            Step::HangUp { who } => self.plane.hang_up(self.address(who)),
            Step::Remove { who } => self.plane.remove((who % PEERS).into()),
            Step::Mute { who, audio, video } => self.plane.mute((who % PEERS).into(), audio, video),
            Step::Wait { milliseconds } => {
                self.plane.wait(Duration::from_millis(milliseconds.into()))
            }
        }
    }

    fn packet(&mut self, who: u8, track: u8, payload: &[u8]) {
        let (kind, ssrc, encoding) = TRACKS[usize::from(track) % TRACKS.len()];
        let next = self.track(who, track);
        next.0 = next.0.wrapping_add(1);
        let (seq, time) = *next;
        // What the offers call the section and the encoding, and number by the transport.
        let extensions: &[(u8, &[u8])] = &[(3, &seq.to_be_bytes()), (4, b"1"), (10, encoding)];
        let named = if encoding.is_empty() { 1 } else { 3 };
        self.plane.rtp(
            self.address(who),
            &Rtp {
                kind,
                seq,
                time,
                ssrc,
                extensions: &extensions[..named],
                payload,
            },
        );
    }

    fn track(&mut self, who: u8, track: u8) -> &mut (u16, u32) {
        &mut self.next[usize::from(who % PEERS)][usize::from(track) % TRACKS.len()]
    }

    /// Somewhere on this machine where nobody listens.
    fn address(&self, who: u8) -> SocketAddr {
        let nth = self.addresses[usize::from(who % PEERS)];
        SocketAddr::from((Ipv4Addr::new(127, 1, 2, nth), 9))
    }
}

//! The path of packets through the forwarding plane: any datagrams, from anywhere, for endpoints that
//! come and go, and each piece on the way by itself.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::fuzzing::rooms::{Packets, Plane};
use switchboard_fuzz::{OFFERS, spare_str0m};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Packet {
        layer: u8,
        seq: u16,
        time: u32,
        payload: &'a [u8],
    },
    Far {
        layer: u8,
        seq: u64,
        payload: &'a [u8],
    },
    Cut,
    Wait {
        milliseconds: u16,
        estimate: u32,
        settles: bool,
    },
    Overload,
    Add {
        fragment: u8,
    },
    Learn {
        nth: u8,
        from: u8,
        is_right: bool,
    },
    Remove {
        nth: u8,
    },
    Datagram {
        from: u8,
        bytes: &'a [u8],
    },
    Stream {
        bytes: &'a [u8],
        cut: u16,
    },
    Live(Live<'a>),
}

/// With a real plane.
#[derive(Debug, Arbitrary)]
enum Live<'a> {
    Publish {
        room: bool,
        offer: u8,
        loopback: bool,
    },
    Subscribe {
        room: bool,
        publisher: u8,
        offer: u8,
    },
    Check {
        key: u8,
        from: u8,
        is_right: bool,
        uses: bool,
    },
    Datagram {
        from: u8,
        bytes: &'a [u8],
    },
    Remove {
        key: u8,
    },
    CloseRoom {
        room: bool,
    },
    Wait {
        milliseconds: u16,
    },
}

fuzz_target!(init: spare_str0m(), |steps: Vec<Step<'_>>| {
    let now = Instant::now();
    let mut packets = Packets::new(now);
    let mut plane: Option<(Plane, u64)> = None;
    for step in steps {
        match step {
            Step::Packet { layer, seq, time, payload } => packets.packet(layer, seq.into(), time, payload),
            // As far as a number of 48 bits goes (RFC 3711, section 3.3.1).
            Step::Far { layer, seq, payload } => packets.packet(layer, seq >> 16, 0, payload),
            Step::Cut => packets.cut(),
            Step::Wait { milliseconds, estimate, settles } => packets.wait(milliseconds, estimate, settles),
            Step::Overload => packets.overload(),
            Step::Add { fragment } => packets.add(&format!("0+{}", fragment % 4)),
            Step::Learn { nth, from, is_right } => packets.learn(nth, address(from), is_right),
            Step::Remove { nth } => packets.remove(nth),
            Step::Datagram { from, bytes } => packets.datagram(address(from), bytes),
            Step::Stream { bytes, cut } => packets.stream(bytes, cut),
            Step::Live(step) => {
                let (plane, keys) = plane.get_or_insert_with(|| (Plane::new(now), 0));
                live(plane, keys, step);
            }
        }
    }
    if let Some((mut plane, _)) = plane {
        plane.wait(Duration::from_secs(120));
        plane.close();
    }
});

fn live(plane: &mut Plane, keys: &mut u64, step: Live<'_>) {
    let offer = |nth: u8| OFFERS[usize::from(nth) % OFFERS.len()];
    match step {
        Live::Publish {
            room,
            offer: nth,
            loopback,
        } => {
            *keys += 1;
            plane.publish(room.into(), *keys, offer(nth), loopback);
        }
        Live::Subscribe {
            room,
            publisher,
            offer: nth,
        } => {
            *keys += 1;
            plane.subscribe(room.into(), *keys, publisher.into(), offer(nth));
        }
        Live::Check {
            key,
            from,
            is_right,
            uses,
        } => plane.check(key.into(), address(from), is_right, uses),
        Live::Datagram { from, bytes } => plane.datagram(address(from), bytes),
        Live::Remove { key } => plane.remove(key.into()),
        Live::CloseRoom { room } => plane.close_room(room.into()),
        Live::Wait { milliseconds } => plane.wait(Duration::from_millis(milliseconds.into())),
    }
}

/// Somewhere on this machine where nobody listens.
fn address(nth: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 1, 2, nth % 64), 9))
}

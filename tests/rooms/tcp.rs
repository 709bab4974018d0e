//! Media over TCP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use switchboard::rooms::{Config, EndpointKey, EndpointStats, Reach};

use crate::client::{Client, Codecs, until};

use crate::house::{House, config, receiving, sending, stream, vp8};

fn subscriber(house: &mut House, publisher: EndpointKey, to: SocketAddr) -> (EndpointKey, Client) {
    let (mut client, offer) = Client::over_tcp(Codecs::vp8(111, 96), &receiving(), to);
    let (key, answer) = house.ask(publisher, &offer);
    client.answer(&answer.unwrap());
    until("connected over TCP", &mut [&mut client], |c| c[0].connected);
    (key, client)
}

fn stats(house: &House, of: EndpointKey) -> Option<EndpointStats> {
    house.plane.stats().into_iter().find(|it| it.endpoint == of)
}

#[test]
fn media_goes_over_tcp_in_both_directions_beside_udp() {
    let (mut house, to) = House::with_tcp(config());
    let (mut publisher, offer) = Client::over_tcp(Codecs::vp8(111, 96), &sending(), to);
    let (key, answer) = house.offer(&offer, false);
    let answer = answer.unwrap();
    let passive = format!(" {} {} typ host tcptype passive", to.ip(), to.port());
    assert!(answer.contains(&passive), "{answer}");
    publisher.answer(&answer);
    until("connected", &mut [&mut publisher], |c| c[0].connected);
    let (_, mut by_udp) = house.subscriber(Codecs::vp8(111, 96), key);
    stream(&mut publisher, &mut by_udp, 1, 100);
    let (by_tcp, mut subscriber) = subscriber(&mut house, key, to);
    stream(&mut publisher, &mut subscriber, 1_000, 100);
    let own = subscriber.stream.as_ref().unwrap().0.local_addr().unwrap();
    until("numbers", &mut [&mut subscriber], |_| {
        stats(&house, by_tcp)
            .is_some_and(|it| it.report.tcp == Some(true) && it.reach == Reach::Connected(own))
    });
}

#[test]
fn a_peer_over_tcp_that_reads_nothing_loses_packets_and_delays_nobody() {
    let (mut house, to) = House::with_tcp(config());
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut swift) = house.subscriber(Codecs::vp8(111, 96), key);
    let (slow, mut client) = subscriber(&mut house, key, to);
    stream(&mut publisher, &mut client, 1, 20);
    let (mut n, mut latest, begin) = (1_000, Duration::ZERO, Instant::now());
    until(
        "packets are left out",
        &mut [&mut publisher, &mut swift],
        |c| {
            for _ in 0..20 {
                c[0].send_video(n, &vp8(n as u16, n == 1_000, 1_100));
                n += 1;
            }
            c[1].turn(false);
            if let Some(last) = c[1].packets.last() {
                latest = latest.max(last.timestamp.elapsed());
            }
            c[1].packets.clear();
            stats(&house, slow).is_some_and(|it| it.left_out > 100)
        },
    );
    assert!(begin.elapsed() > Duration::from_millis(100));
    assert!(latest < Duration::from_secs(5), "{latest:?}");
    // It goes on with what is new then.
    stream(&mut publisher, &mut client, n + 1_000, 50);
}

#[test]
fn connections_of_strangers_are_closed() {
    let (mut house, to) = House::with_tcp(config());
    let (_, publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    // A check as the plane would take it, but for nobody that is here.
    let check = |fragment: &str| {
        use str0m::ice::{StunMessage, TransId};
        let user = format!("{fragment}:them");
        let check = StunMessage::binding_request(&user, TransId::new(), true, 1, 1, false);
        let mut bytes = vec![0; 500];
        let length = check
            .to_bytes(Some(b"password"), &mut bytes, |_, _| [0; 20])
            .unwrap();
        bytes.truncate(length);
        bytes
    };
    for first in [
        b"not a check".to_vec(),
        check("nobody"),
        check("0+nobody"),
        check("999+nobody"),
    ] {
        let mut stream = TcpStream::connect(to).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let length = u16::try_from(first.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &first].concat()).unwrap();
        assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    drop(publisher);
}

#[test]
fn connections_are_limited() {
    let (mut house, to) = House::with_tcp(Config {
        tcp_connections: 1,
        ..config()
    });
    let (key, _publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (one, client) = subscriber(&mut house, key, to);
    let (mut other, offer) = Client::over_tcp(Codecs::vp8(111, 96), &receiving(), to);
    other.answer(&house.ask(key, &offer).1.unwrap());
    until("closed", &mut [&mut other], |c| {
        let (stream, _) = c[0].stream.as_mut().unwrap();
        matches!(stream.peek(&mut [0]), Ok(0))
            || stream
                .peek(&mut [0])
                .is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
    });
    // A place is free again when its owner leaves.
    drop(client);
    house.remove(one);
    let mut tries = 0;
    until("a free place", &mut [], |_| {
        tries += 1;
        let (mut third, offer) = Client::over_tcp(Codecs::vp8(111, 96), &receiving(), to);
        third.answer(&house.ask(key, &offer).1.unwrap());
        let begin = Instant::now();
        while !third.connected && begin.elapsed() < Duration::from_secs(1) {
            third.turn(false);
        }
        third.connected
    });
}

//! DTLS handshakes that somebody else meddles with: with a ClientHello from elsewhere, and with packets that
//! bear the peer's own address, as who can write any address as a packet's source sends them.

use std::collections::HashMap;
use std::time::Duration;

use switchboard::rooms::{Config, EndpointKey, Event, Failure, Reach};

use crate::client::{Client, until};
use crate::house::{House, config, sending, stream};
use crate::plane::{Innocents, codecs, local, stats, strays};
use crate::say;

/// How long an endpoint has for its connection, where that is waited for.
const CONNECT: Duration = Duration::from_secs(6);
/// The first byte of a handshake's packets (RFC 7983, section 7).
const HANDSHAKE: u8 = 22;
/// Where a record's number is (RFC 6347, section 4.1).
const NUMBER: std::ops::Range<usize> = 5..11;

/// The first flight of a DTLS handshake, as a client of ours sends it.
fn client_hello(house: &mut House) -> Vec<u8> {
    let (mut client, offer) = Client::new(codecs(), &sending());
    client.tap = Some(Vec::new());
    let (key, answer) = house.offer(&offer, false);
    client.answer(&answer.unwrap());
    until("connected", &mut [&mut client], |c| c[0].connected);
    house.remove(key);
    let sent = client.tap.unwrap();
    let mut sent = sent.into_iter();
    sent.find(|packet| is_handshake(packet)).unwrap()
}

#[test]
fn a_client_hello_from_elsewhere_takes_no_session_over() {
    let mut house = House::new();
    let to = house.plane.addresses()[0];
    let hello = client_hello(&mut house);
    let stranger = local();
    stranger.set_nonblocking(true).unwrap();
    for _ in 0..5 {
        let (mut client, offer) = Client::new(codecs(), &sending());
        let (key, answer) = house.offer(&offer, false);
        stranger.send_to(&hello, to).unwrap();
        client.answer(&answer.unwrap());
        // Beside each of its packets, all through ICE and DTLS.
        until("connected", &mut [&mut client], |c| {
            stranger.send_to(&hello, to).unwrap();
            c[0].connected
        });
        let own = client.address();
        until("numbers", &mut [&mut client], |_| {
            stats(&house, key).is_some_and(|it| it.reach == Reach::Connected(own))
        });
        let (_, mut subscriber) = house.subscriber(codecs(), key);
        stream(&mut client, &mut subscriber, 1, 20);
    }
    // The thread's numbers are a second old.
    until("counts", &mut [], |_| strays(&house) > 5);
    // Nobody answers it, so it is no way to send others packets either.
    assert!(stranger.recv(&mut [0; 100]).is_err());
}

/// The same hello as a record of another number: each is taken once, and those far behind the last one not
/// at all (RFC 6347, section 4.1.2.6).
fn numbered(hello: &[u8], number: u64) -> Vec<u8> {
    let mut hello = hello.to_vec();
    hello[NUMBER].copy_from_slice(&number.to_be_bytes()[2..]);
    hello
}

fn is_handshake(packet: &[u8]) -> bool {
    packet.first() == Some(&HANDSHAKE)
}

/// Whether a client has begun its own handshake.
fn has_begun(client: &Client) -> bool {
    let mut sent = client.tap.iter().flatten();
    sent.any(|packet| is_handshake(packet))
}

#[test]
fn a_client_hello_in_the_peer_s_name_amid_its_handshake_is_left_out() {
    let mut house = House::new();
    let to = house.plane.addresses()[0];
    let hello = client_hello(&mut house);
    // As it is, and as the next records to come.
    for number in [0, 1, 40] {
        let hello = numbered(&hello, number);
        let (mut client, offer) = Client::new(codecs(), &sending());
        client.tap = Some(Vec::new());
        let (key, answer) = house.offer(&offer, false);
        client.answer(&answer.unwrap());
        let mut foreign = 0;
        until("connected", &mut [&mut client], |c| {
            if has_begun(c[0]) {
                c[0].socket.send_to(&hello, to).unwrap();
                foreign += 1;
            }
            c[0].connected
        });
        say(&format!(
            "{foreign} hellos of number {number} amid a handshake"
        ));
        let (_, mut subscriber) = house.subscriber(codecs(), key);
        stream(&mut client, &mut subscriber, 1, 20);
    }
}

/// A participant that is about to connect, whose connection may break.
fn beginning(house: &mut House) -> (EndpointKey, Client) {
    let (mut client, offer) = Client::new(codecs(), &sending());
    (client.tap, client.may_break) = (Some(Vec::new()), true);
    let (key, answer) = house.offer(&offer, false);
    client.answer(&answer.unwrap());
    (key, client)
}

/// It came up, and media flows; or it failed, and the reason is told.
fn came_of(
    what: &str,
    house: &mut House,
    (key, mut client): (EndpointKey, Client),
    failed: Option<&Failure>,
) {
    let Some(why) = failed else {
        say(&format!("a handshake that was {what} came up"));
        let (_, mut subscriber) = house.subscriber(codecs(), key);
        return stream(&mut client, &mut subscriber, 1, 20);
    };
    say(&format!("a handshake that was {what} failed: {why}"));
    let is_told = match why {
        Failure::NeverConnected(why) => matches!(why.reach, Reach::Handshake(_)),
        Failure::Protocol(_) => true,
        _ => false,
    };
    assert!(is_told, "{why:?}");
}

#[test]
fn a_handshake_that_is_meddled_with_in_the_peer_s_name_comes_up_or_fails_in_time_with_a_reason() {
    let mut house = House::with(Config {
        connect: CONNECT,
        ..config()
    });
    let to = house.plane.addresses()[0];
    let mut innocents = Innocents::new(&mut house);
    let hello = client_hello(&mut house);
    let last = numbered(&hello, (1 << 48) - 1);
    // One is preceded by a stranger's hello, which is answered in its place, so that it can't come up. Among
    // the records of the other is one of the last number of all, behind which others may come too late.
    let ((early, mut preceded), (late, mut overtaken)) =
        (beginning(&mut house), beginning(&mut house));
    let mut failed = HashMap::new();
    until(
        "both failed, or came up in spite of it",
        &mut [
            &mut preceded,
            &mut overtaken,
            &mut innocents.publisher,
            &mut innocents.subscriber,
        ],
        |c| {
            if !has_begun(c[0]) {
                c[0].socket.send_to(&hello, to).unwrap();
            }
            if has_begun(c[1]) && !c[1].connected {
                c[1].socket.send_to(&last, to).unwrap();
            }
            while let Ok(event) = house.events.try_recv() {
                if let Event::Failed { endpoint, why } = event {
                    failed.insert(endpoint, why);
                }
            }
            let is_over = |at: usize, key| c[at].connected || failed.contains_key(&key);
            is_over(0, early) && is_over(1, late)
        },
    );
    for (what, key, client) in [
        ("preceded", early, preceded),
        ("overtaken", late, overtaken),
    ] {
        came_of(what, &mut house, (key, client), failed.get(&key));
    }
    innocents.stream();
    // Once it is left alone, it comes through.
    let (key, mut again) = house.publisher(codecs(), &sending());
    let (_, mut subscriber) = house.subscriber(codecs(), key);
    stream(&mut again, &mut subscriber, 1, 20);
}

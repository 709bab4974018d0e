//! gst.md A.3: registering.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::{Peer, close};
use crate::common::{PATIENCE, Server, frame, raw_ws, read_frame, wait_until};

#[tokio::test]
async fn any_one_word_is_an_id_and_blanks_before_it_do_not_count() {
    let server = Server::start(&[]).await;
    let long = "é".repeat(5_000);
    for hello in [
        "HELLO bob",
        "  HELLO alice",
        "HELLO \t  carol",
        "HELLO session",
        "HELLO ERROR",
        "HELLO ünï→😀",
        "HELLO 564322",
        &format!("HELLO {long}"),
    ] {
        let mut peer = Peer::connect(&server).await;
        peer.gets(hello, "HELLO").await;
        peer.hears_nothing_when_idle().await;
        let id = hello.split_whitespace().nth(1).unwrap();
        let mut caller = Peer::hello(&server, &format!("caller-of-{}", id.len())).await;
        caller.gets(&format!("SESSION {id}"), "SESSION_OK").await;
    }
}

#[tokio::test]
async fn a_wrong_first_frame_is_closed_with_1002_and_its_reason() {
    let server = Server::configured("[limits]\nid_bytes = 100", &[]).await;
    let long = format!("HELLO {}", "x".repeat(101));
    for (first, reason) in [
        ("HELLO a b", "invalid peer uid"),
        ("HELLO a ", "invalid peer uid"),
        ("HELLO a\n", "invalid peer uid"),
        ("HELLO a\u{a0}b", "invalid peer uid"),
        ("HELLO", "invalid peer uid"),
        ("HELLO ", "invalid peer uid"),
        (&long, "invalid peer uid"),
        ("hello a", "invalid protocol"),
        ("SESSION a", "invalid protocol"),
        ("word", "invalid protocol"),
        ("", "invalid protocol"),
    ] {
        let mut peer = Peer::connect(&server).await;
        peer.say(first).await;
        assert_eq!(
            peer.is_closed_next().await,
            close(1002, reason),
            "{first:?}"
        );
    }
    let mut peer = Peer::connect(&server).await;
    peer.say_binary(b"HELLO a").await;
    assert_eq!(peer.is_closed_next().await, close(1002, "invalid protocol"));
}

#[tokio::test]
async fn a_second_hello_is_ignored() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::hello(&server, "a").await;
    peer.say("HELLO b").await;
    peer.say("HELLO a").await;
    peer.hears_nothing_when_idle().await;
    peer.gets("SESSION b", "ERROR peer 'b' not found").await;
}

#[tokio::test]
async fn a_live_holder_keeps_its_id_and_notices_nothing() {
    let server = Server::configured("[limits]\nprobe = 15", &[]).await;
    let mut holder = Peer::hello(&server, "x").await;
    // Longer than a holder counts as just heard, so that it is really asked.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let refused = async {
        let mut other = Peer::connect(&server).await;
        other.say("HELLO x").await;
        other.is_closed_next().await
    };
    tokio::select! {
        closed = refused => assert_eq!(closed, close(1002, "invalid peer uid")),
        // Its library answers pings while it reads.
        frame = holder.next() => panic!("{frame:?}"),
    }
    holder.hears_nothing_when_idle().await;
}

#[tokio::test]
async fn the_id_of_a_dead_holder_is_free_after_a_probe_and_its_partner_and_room_hear() {
    let server = Server::configured("[limits]\nprobe = 0.3\nping_after = 100", &[]).await;
    let mut dead = raw_ws(&server, "/").await;
    dead.write_all(&frame(0x81, b"HELLO x")).await.unwrap();
    read_frame(&mut dead).await;
    let mut partner = Peer::hello(&server, "partner").await;
    partner.gets("SESSION x", "SESSION_OK").await;
    // As real clients do: again and again. The first tries may come while the holder was just heard.
    wait_until(PATIENCE, async || {
        let mut again = Peer::connect(&server).await;
        again.say("HELLO x").await;
        again.next().await.is_text()
    })
    .await;
    assert_eq!(partner.is_closed_next().await, close(1000, ""));
}

#[tokio::test]
async fn an_id_is_free_as_soon_as_its_holder_closes() {
    let server = Server::start(&[]).await;
    for round in 0..20 {
        let peer = Peer::hello(&server, "x").await;
        // The new registration isn't touched by the old connection's end (gst.md A.5, race).
        if round % 2 == 0 {
            peer.close().await;
        } else {
            peer.reset();
            wait_until(PATIENCE, async || {
                server.get("/api/endpoints").await.json()["endpoints"] == serde_json::json!([])
            })
            .await;
        }
    }
    let mut last = Peer::hello(&server, "x").await;
    last.hears_nothing_when_idle().await;
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = Server::configured("[limits]\nendpoints = 1", &[]).await;
    let _first = Peer::hello(&server, "a").await;
    let mut second = Peer::connect(&server).await;
    second.say("HELLO b").await;
    assert_eq!(second.is_closed_next().await, close(1013, "too many peers"));
}

#[tokio::test]
async fn a_device_and_a_peer_may_have_one_name() {
    let server = Server::start(&[]).await;
    let mut device = server.device("x").await;
    let mut caller = Peer::hello(&server, "caller").await;
    caller.gets("SESSION x", "ERROR peer 'x' not found").await;
    let _peer = Peer::hello(&server, "x").await;
    let mut viewer = server.viewer("x").await;
    viewer.forward(&serde_json::json!(1)).await;
    let message = serde_json::json!({"message_type": "client_msg", "client_id": 1, "payload": 1});
    device.expect(message).await;
}

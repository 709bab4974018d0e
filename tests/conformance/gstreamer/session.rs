//! gst.md A.4, A.5 and A.7: sessions, and what an idle peer may say.

use async_tungstenite::tungstenite::Message;

use super::{Peer, close};
use crate::common::{PATIENCE, Server, wait_until};

#[tokio::test]
async fn the_caller_hears_session_ok_and_the_callee_only_what_the_caller_says() {
    let server = Server::start(&[]).await;
    let (mut one, mut other) = Peer::pair(&server, "one", "other").await;
    one.say("first").await;
    other.hears("first").await;
    other.say("second").await;
    one.hears("second").await;
}

#[tokio::test]
async fn an_unknown_callee_is_quoted_as_python_quotes_and_one_may_try_again() {
    let server = Server::start(&[]).await;
    let mut caller = Peer::hello(&server, "caller").await;
    for (said, shown) in [
        ("SESSION bob", "'bob'"),
        ("SESSION    bob", "'bob'"),
        ("SESSION a b", "'a b'"),
        ("SESSION a ", "'a '"),
        ("SESSION it's", r#""it's""#),
        (r#"SESSION it's "it""#, r#"'it\'s "it"'"#),
        (r"SESSION a\b", r"'a\\b'"),
        ("SESSION a\tb\u{1}\u{a0}", r"'a\tb\x01\xa0'"),
        ("SESSION ünï→😀", "'ünï→😀'"),
        ("SESSION =", "'='"),
    ] {
        caller
            .gets(said, &format!("ERROR peer {shown} not found"))
            .await;
    }
    let long = "x".repeat(5_000);
    caller
        .gets(
            &format!("SESSION {long}"),
            &format!("ERROR peer '{long}' not found"),
        )
        .await;
    let _bob = Peer::hello(&server, "bob").await;
    caller.gets("SESSION bob", "SESSION_OK").await;
}

#[tokio::test]
async fn a_callee_in_a_session_or_a_room_is_busy() {
    let server = Server::start(&[]).await;
    let (_one, _other) = Peer::pair(&server, "one", "other").await;
    let mut member = Peer::first_in(&server, "it's", "r").await;
    let mut caller = Peer::hello(&server, "caller").await;
    caller.gets("SESSION one", "ERROR peer 'one' busy").await;
    caller
        .gets("SESSION other", "ERROR peer 'other' busy")
        .await;
    caller
        .gets("SESSION it's", "ERROR peer \"it's\" busy")
        .await;
    member.hears_nothing_in_room().await;
}

#[tokio::test]
async fn a_peer_that_calls_itself_hears_itself() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::hello(&server, "me").await;
    peer.gets("SESSION me", "SESSION_OK").await;
    for text in ["a", "SESSION me", ""] {
        peer.gets(text, text).await;
    }
    peer.close().await;
    Peer::hello(&server, "me").await;
}

#[tokio::test]
async fn of_crossing_calls_the_first_wins_and_the_second_is_data() {
    let server = Server::start(&[]).await;
    for round in 0..20 {
        let (one, other) = (format!("a{round}"), format!("b{round}"));
        let mut a = Peer::hello(&server, &one).await;
        let mut b = Peer::hello(&server, &other).await;
        let (call_b, call_a) = (format!("SESSION {other}"), format!("SESSION {one}"));
        tokio::join!(a.say(&call_b), b.say(&call_a));
        tokio::join!(a.say("from a"), b.say("from b"));
        let first = a.line().await;
        if first == "SESSION_OK" {
            a.hears(&call_a).await;
            a.hears("from b").await;
            b.hears("from a").await;
        } else {
            assert_eq!(first, "from b");
            b.hears("SESSION_OK").await;
            b.hears(&call_b).await;
            b.hears("from a").await;
        }
    }
}

#[tokio::test]
async fn every_frame_is_relayed_byte_for_byte_whatever_it_looks_like() {
    let server = Server::start(&[]).await;
    let (mut one, mut other) = Peer::pair(&server, "one", "other").await;
    for text in [
        "SESSION one",
        "SESSION",
        "ROOM r",
        "ROOM_PEER_MSG a b",
        "ROOM_PEER_LIST",
        "HELLO",
        "HELLO x",
        "ERROR peer 'x' not found",
        "",
        " ",
        "{\"sdp\" :  {\"type\":\"offer\", \"sdp\":\"v=0\\r\\n\"}}",
        "{\"ice\": {\"candidate\": \"\", \"sdpMLineIndex\": \"0\"}}",
        "ünï\u{0}→😀\r\n",
    ] {
        one.say(text).await;
        other.hears(text).await;
        other.say(text).await;
        one.hears(text).await;
    }
    for bytes in [&b"SESSION one"[..], b"", &[0, 255, 128, 10]] {
        one.say_binary(bytes).await;
        assert_eq!(other.next().await, Message::binary(bytes.to_vec()));
        other.say_binary(bytes).await;
        assert_eq!(one.next().await, Message::binary(bytes.to_vec()));
    }
}

#[tokio::test]
async fn frames_keep_their_order_in_both_directions() {
    let server = Server::start(&[]).await;
    let (mut one, mut other) = Peer::pair(&server, "one", "other").await;
    for n in 0..300 {
        one.say(&n.to_string()).await;
        other.say_binary(n.to_string().as_bytes()).await;
    }
    for n in 0..300 {
        other.hears(&n.to_string()).await;
        assert_eq!(
            one.next().await,
            Message::binary(n.to_string().into_bytes())
        );
    }
}

#[tokio::test]
async fn a_frame_just_before_the_end_arrives_and_then_the_close() {
    let server = Server::start(&[]).await;
    for round in 0..20 {
        let (one, mut other) =
            Peer::pair(&server, &format!("a{round}"), &format!("b{round}")).await;
        let mut one = one;
        one.say("the last word").await;
        if round % 2 == 0 {
            one.close().await;
        } else {
            drop(one);
        }
        other.hears("the last word").await;
        assert_eq!(other.is_closed_next().await, close(1000, ""));
    }
}

#[tokio::test]
async fn however_one_end_goes_the_other_is_closed_with_1000_and_both_ids_are_free() {
    let server = Server::start(&[]).await;
    for (round, callee_goes) in [(0, false), (1, true), (2, false), (3, true)] {
        let (one, other) = Peer::pair(&server, "one", "other").await;
        let (goes, mut stays) = if callee_goes {
            (other, one)
        } else {
            (one, other)
        };
        if round < 2 {
            goes.close().await;
        } else {
            goes.reset();
        }
        assert_eq!(stays.is_closed_next().await, close(1000, ""));
        // At once: neither waits for the other's closing handshake.
        let _again = Peer::pair(&server, "one", "other").await;
        drop(_again);
        wait_until(PATIENCE, async || {
            server.get("/api/endpoints").await.json()["endpoints"] == serde_json::json!([])
        })
        .await;
    }
}

#[tokio::test]
async fn a_peer_may_come_back_before_its_old_connection_is_closed() {
    let server = Server::start(&[]).await;
    let (one, other) = Peer::pair(&server, "one", "other").await;
    one.close().await;
    // The old connection of `other` has its close to read, and hasn't answered.
    let mut again = Peer::hello(&server, "other").await;
    drop(other);
    server
        .wait_for_metric(
            "switchboard_websockets{dialect=\"gstreamer\",role=\"peer\"}",
            1.0,
        )
        .await;
    again.hears_nothing_when_idle().await;
}

#[tokio::test]
async fn bare_and_wrong_commands_are_answered_and_noise_is_not() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::hello(&server, "me").await;
    for said in [
        "SESSION",
        "SESSION ",
        "SESSIONX me",
        "ROOM",
        "ROOM   ",
        "ROOM_PEER_LIST",
        "ROOM_PEER_MSG",
        "ROOM_PEER_MSG r",
        "ROOM_FOO r",
    ] {
        peer.say(said).await;
        let line = peer.line().await;
        assert!(line.starts_with("ERROR invalid "), "{said}: {line}");
    }
    peer.gets("ROOM_PEER_MSG x y", "ERROR invalid room id 'x y'")
        .await;
    peer.say_binary(b"SESSION me").await;
    assert!(peer.line().await.starts_with("ERROR invalid "));
    for noise in [
        "session me",
        "OFFER_REQUEST",
        "{\"a\": 1}",
        "",
        "HELLO me",
        " SESSION me",
    ] {
        peer.say(noise).await;
    }
    peer.hears_nothing_when_idle().await;
}

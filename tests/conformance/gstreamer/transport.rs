//! gst.md A.1 and A.2: paths, HTTP, keepalive.

use async_tungstenite::tungstenite::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Peer, close};
use crate::common::{PATIENCE, Server, frame, raw_ws, read_frame, wait_until};

const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

#[tokio::test]
async fn known_paths_upgrade_with_or_without_slash_and_query_and_no_other_does() {
    let server = Server::configured("[gstreamer]\npaths = [\"/a/b\"]", &[]).await;
    for (n, path) in [
        "/",
        "/?x=1",
        "/ws",
        "/ws/",
        "/ws?a=b&c",
        "/signalling",
        "/signalling/",
        "/signalling/?x",
        "/signaling",
        "/signaling/",
        "/a/b",
        "/a/b/?q",
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = Peer(server.ws(path).await);
        peer.gets(&format!("HELLO {n}"), "HELLO").await;
    }
    for path in [
        "/wss",
        "/a",
        "/a/b/c",
        "/WS",
        "//",
        "/ws//",
        "/signalling/x",
    ] {
        let refused = server.try_ws(path, &[]).await.err().unwrap().to_string();
        assert!(refused.contains("404"), "{path}: {refused}");
    }
}

#[tokio::test]
async fn no_origin_is_refused_and_no_subprotocol_selected() {
    let server = Server::start(&[]).await;
    for origin in ["http://127.0.0.1:18070", "file://", "null"] {
        let mut peer = Peer(server.try_ws("/", &[("Origin", origin)]).await.unwrap());
        peer.gets(&format!("HELLO {origin}"), "HELLO").await;
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a, webrtc-operator\r\n";
    let mut tcp = server.tcp().await;
    let request = format!("GET /ws HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, tcp.read_u8()).await.unwrap();
        head.push(byte.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
}

#[tokio::test]
async fn pages_and_health_are_not_in_the_way() {
    let server = Server::start(&[]).await;
    let page = server.get("/").await;
    assert!(
        page.status == 200 && page.head.contains("text/html"),
        "{page:?}"
    );
    let health = server.get("/health").await;
    assert_eq!((health.status, health.body.as_str()), (200, "OK\n"));
    assert!(
        health.head.contains("content-type: text/plain"),
        "{health:?}"
    );
    for path in ["/ws", "/signalling/"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 426, "{path}: {answer:?}");
        assert!(answer.head.contains("upgrade: websocket"), "{answer:?}");
    }
    assert_eq!(server.get("/nowhere").await.status, 404);
}

#[tokio::test]
async fn who_says_nothing_is_closed_with_1008() {
    let server = Server::configured("[limits]\nfirst_message = 0.3", &[]).await;
    let mut silent = Peer::connect(&server).await;
    assert_eq!(silent.is_closed_next().await.0, 1008);
}

#[tokio::test]
async fn one_mebibyte_passes_and_a_byte_more_ends_the_sender_with_1009_and_its_partner_at_once() {
    let server = Server::start(&[]).await;
    let (mut one, mut other) = Peer::pair(&server, "one", "other").await;
    let most = "x".repeat(1 << 20);
    one.say(&most).await;
    assert_eq!(other.line().await.len(), most.len());
    other.say_binary(most.as_bytes()).await;
    assert_eq!(one.next().await.len(), most.len());
    one.0.send(Message::text(most + "x")).await;
    // The partner doesn't wait for the sender to read its own close.
    assert_eq!(other.is_closed_next().await, close(1000, ""));
    assert_eq!(one.is_closed_next().await.0, 1009);
}

#[tokio::test]
async fn who_answers_no_ping_is_closed_with_1011_registered_or_not() {
    let limits = "[limits]\nping_after = 0.3\nping_timeout = 0.5";
    let server = Server::configured(limits, &[]).await;
    for registered in [false, true] {
        let mut dead = raw_ws(&server, "/").await;
        if registered {
            dead.write_all(&frame(0x81, b"HELLO dead")).await.unwrap();
            assert_eq!(read_frame(&mut dead).await, (0x81, b"HELLO".to_vec()));
        }
        assert_eq!(read_frame(&mut dead).await.0, PING);
        let (first, payload) = read_frame(&mut dead).await;
        assert_eq!((first, &payload[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    }
    // Its id is free.
    Peer::hello(&server, "dead").await;
}

#[tokio::test]
async fn a_partner_of_the_dead_is_closed_with_1000_and_a_room_hears() {
    let limits = "[limits]\nping_after = 0.3\nping_timeout = 1";
    let server = Server::configured(limits, &[]).await;
    let mut dead = raw_ws(&server, "/").await;
    dead.write_all(&frame(0x81, b"HELLO dead")).await.unwrap();
    read_frame(&mut dead).await;
    let mut caller = Peer::hello(&server, "caller").await;
    caller.gets("SESSION dead", "SESSION_OK").await;
    assert_eq!(caller.is_closed_next().await, close(1000, ""));

    let mut dead = raw_ws(&server, "/").await;
    dead.write_all(&frame(0x81, b"HELLO dead")).await.unwrap();
    dead.write_all(&frame(0x81, b"ROOM r")).await.unwrap();
    let mut member = Peer::hello(&server, "member").await;
    member.say("ROOM r").await;
    if member.line().await == "ROOM_OK " {
        member.hears("ROOM_PEER_JOINED dead").await;
    }
    member.hears("ROOM_PEER_LEFT dead").await;
    member.hears_nothing_in_room().await;
}

#[tokio::test]
async fn the_admin_api_shows_peers_and_rooms_but_devices_are_only_devices() {
    let server = Server::start(&[]).await;
    let _device = server.device("x").await;
    let _idle = Peer::hello(&server, "x").await;
    let _pair = Peer::pair(&server, "one", "other").await;
    let _alone = Peer::first_in(&server, "member", "r").await;
    let shown = server.get("/api/endpoints").await.json();
    let endpoints: Vec<_> = shown["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["dialect"].as_str(),
                it["kind"].as_str(),
                it["id"].as_str(),
                it["state"].as_str(),
            )
        })
        .collect();
    let peer = |id, state| (Some("gstreamer"), Some("peer"), Some(id), Some(state));
    assert_eq!(
        endpoints,
        [
            (Some("cuttlefish"), Some("device"), Some("x"), None),
            peer("member", "room"),
            peer("one", "session"),
            peer("other", "session"),
            peer("x", "idle"),
        ]
    );
    let room = serde_json::json!({"dialect": "gstreamer", "kind": "mesh", "id": "r", "members": ["member"]});
    assert_eq!(shown["rooms"], serde_json::json!([room]));
    assert_eq!(
        server.get("/devices").await.json(),
        serde_json::json!(["x"])
    );
    assert!((server.metric("switchboard_rooms").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn who_goes_is_no_longer_shown() {
    let server = Server::start(&[]).await;
    let member = Peer::first_in(&server, "member", "r").await;
    let (one, _other) = Peer::pair(&server, "one", "other").await;
    member.close().await;
    one.reset();
    wait_until(PATIENCE, async || {
        let shown = server.get("/api/endpoints").await.json();
        shown == serde_json::json!({"endpoints": [], "rooms": []})
    })
    .await;
}

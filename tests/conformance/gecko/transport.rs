//! gecko.md A1: endpoints, frames, keepalive.

use async_tungstenite::tungstenite::Message;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::common::{PATIENCE, frame, raw_ws, read_frame, wait_until};

const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

#[tokio::test]
async fn a_gecko_connects_to_worker_and_a_client_to_the_root() {
    let server = Server::start(&[]).await;
    for (n, path) in ["/worker", "/worker/", "/worker?x=1", "/worker/?x"]
        .into_iter()
        .enumerate()
    {
        let id = format!("gecko{n}");
        let mut gecko = server.ws(path).await;
        gecko.send_json(&gecko_hello(&id)).await;
        for root in ["/", "/?x=1"] {
            let mut client = server.ws(root).await;
            client.send_json(&client_hello(&id)).await;
            let worker = demanded(&mut gecko).await;
            answer(&mut gecko, &mut client, &worker).await;
        }
        goodbye(gecko).await;
        // It is awaited, but new accounts don't go there.
    }
    for path in ["/foo", "/worker/x", "/workers"] {
        let refused = server.try_ws(path, &[]).await.err().unwrap().to_string();
        assert!(refused.contains("404"), "{path}: {refused}");
    }
}

#[tokio::test]
async fn the_first_frame_at_the_root_tells_a_client_from_a_gstreamer_peer() {
    let server = Server::start(&[]).await;
    let mut peer = server.ws("/").await;
    peer.send_text("HELLO peer").await;
    assert_eq!(peer.recv_text().await, "HELLO");
    let mut client = server.ws("/").await;
    client.send_text(" \r\n\t{}").await;
    assert_eq!(error(&mut client).await.0, 404);
    let mut other = server.ws("/").await;
    other.send_text("[1]").await;
    assert_eq!(
        is_closed_next(&mut other).await,
        (1002, "invalid protocol".to_owned())
    );
    // Only the root has two dialects.
    let mut peer = server.ws("/ws").await;
    peer.send_text("{}").await;
    assert_eq!(is_closed_next(&mut peer).await.0, 1002);
}

#[tokio::test]
async fn metrics_know_which_dialect_a_connection_turned_out_to_speak() {
    let server = Server::start(&[]).await;
    let (_gecko, _client, _) = pair(&server).await;
    let mut peer = server.ws("/").await;
    peer.send_text("HELLO peer").await;
    assert_eq!(peer.recv_text().await, "HELLO");
    for labels in [
        "dialect=\"gecko\",role=\"gecko\"",
        "dialect=\"gecko\",role=\"client\"",
        "dialect=\"gstreamer\",role=\"peer\"",
    ] {
        let name = format!("switchboard_websockets{{{labels}}}");
        server.wait_for_metric(&name, 1.0).await;
    }
}

#[tokio::test]
async fn binary_frames_with_json_are_as_good_as_text() {
    let server = Server::start(&[]).await;
    let binary = |value: &Value| Message::binary(value.to_string());
    let mut gecko = server.ws("/worker").await;
    gecko.send(binary(&gecko_hello("g"))).await;
    is_told_nothing(&mut gecko).await;
    let mut client = server.ws("/").await;
    client.send(binary(&client_hello("anna"))).await;
    let worker = demanded(&mut gecko).await;
    client.send(binary(&client_ice(1))).await;
    gecko.expect(ice("client-candidate", &worker, 1)).await;
    gecko.send(binary(&created(&worker))).await;
    client.expect(worker_hello(&worker)).await;
    gecko.send(binary(&connected(&worker))).await;
    client.expect(connected(&worker)).await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
}

#[tokio::test]
async fn one_mebibyte_passes_and_a_byte_more_closes_with_1009() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut hello = client_hello("anna");
    let rest = hello.to_string().len() - OFFER.len();
    // The escapes of the offer are part of its length.
    hello["webrtcOffer"] = "x".repeat((1 << 20) - rest + 4).into();
    let missing = (1 << 20) - hello.to_string().len();
    hello["webrtcOffer"] = "x"
        .repeat(hello["webrtcOffer"].as_str().unwrap().len() + missing)
        .into();
    let mut client = server.ws("/").await;
    client.send_json(&hello).await;
    assert_eq!(gecko.recv_json().await["webrtcOffer"], hello["webrtcOffer"]);
    let mut client = server.ws("/").await;
    client.send_text(&(hello.to_string() + " ")).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn who_says_nothing_is_closed_with_1008() {
    let server = Server::configured("[limits]\nfirst_message = 0.3", &[]).await;
    for path in ["/", "/worker"] {
        let mut silent = server.ws(path).await;
        assert_eq!(is_closed_next(&mut silent).await.0, 1008, "{path}");
    }
}

#[tokio::test]
async fn who_answers_no_ping_is_closed_with_1011() {
    let limits = "[limits]\nping_after = 2\nping_timeout = 0.5\ngecko_grace = 0.2";
    let server = Server::configured(limits, &[]).await;
    let mut dead = Vec::new();
    for (path, hello) in [
        ("/worker", gecko_hello("dead")),
        ("/", client_hello("anna")),
    ] {
        let mut socket = raw_ws(&server, path).await;
        let hello = frame(0x81, hello.to_string().as_bytes());
        socket.write_all(&hello).await.unwrap();
        if path == "/worker" {
            server.wait_for_metric("switchboard_endpoints", 1.0).await;
        }
        dead.push(socket);
    }
    for mut socket in dead {
        loop {
            let (first, payload) = read_frame(&mut socket).await;
            if first == CLOSE {
                assert_eq!(payload[..2], 1011_u16.to_be_bytes());
                break;
            }
            assert!(first == PING || first == 0x81, "{first:x}");
        }
    }
    nothing_stays(&server).await;
}

#[tokio::test]
async fn the_admin_api_shows_geckos_their_sessions_and_capacity() {
    let server = Server::start(&[]).await;
    let mut hello = gecko_hello("big");
    hello["capacity"] = 8.into();
    let mut big = gecko_saying(&server, &hello).await;
    let client = client(&server, "anna").await;
    demanded(&mut big).await;
    let _plain = gecko(&server, "plain").await;
    let _device = server.device("big").await;
    let shown = server.get("/api/endpoints").await.json();
    let mut endpoints = shown["endpoints"].clone();
    for endpoint in endpoints.as_array_mut().unwrap() {
        assert!(endpoint["registered_seconds_ago"].is_f64(), "{endpoint}");
        let endpoint = endpoint.as_object_mut().unwrap();
        endpoint.remove("registered_seconds_ago");
        assert!(endpoint.remove("connection").is_some());
    }
    assert_eq!(
        endpoints.as_array().unwrap()[1..],
        [
            json!({"dialect": "gecko", "kind": "gecko", "id": "big", "calls": 1, "capacity": 8, "info": null}),
            json!({"dialect": "gecko", "kind": "gecko", "id": "plain", "calls": 0, "info": null}),
        ]
    );
    goodbye(client).await;
    server
        .wait_for_metric("switchboard_gecko_sessions", 0.0)
        .await;
    let shown = server.get("/api/endpoints").await.json();
    assert_eq!(shown["endpoints"][1]["calls"], 0);
}

#[tokio::test]
async fn a_token_is_never_told_to_a_gecko_or_logged() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let _client = client(&server, "anna").await;
    let demand = gecko.recv_json().await;
    assert!(!demand.to_string().contains("token-of-anna"), "{demand}");
    assert_eq!(demand["userId"].as_str().unwrap().len(), 64);
    assert!(!server.log().contains("token-of-anna"));
}

#[tokio::test]
async fn the_heartbeat_says_whether_a_gecko_is_here() {
    let server = Server::start(&[]).await;
    let heartbeat = async || {
        let answer = server.get("/__heartbeat__").await;
        assert_eq!(answer.status, 200);
        answer.json()["gecko-cluster"].clone()
    };
    assert_eq!(heartbeat().await, false);
    let gecko = gecko(&server, "gecko").await;
    assert_eq!(heartbeat().await, true);
    goodbye(gecko).await;
    wait_until(PATIENCE, async || heartbeat().await == false).await;
}

//! kurento.md A1: the JSON-RPC layer.

use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;

use super::*;

/// What is answered to a frame.
async fn answered(server: &Server, frame: &str) -> Value {
    let mut client = server.ws("/room").await;
    client.send_text(frame).await;
    client.recv_json().await
}

#[tokio::test]
async fn a1_1_room_is_a_websocket_for_every_origin() {
    let server = Server::start(&[]).await;
    for path in ["/room", "/room/", "/room?x=1"] {
        let headers = [("Origin", "https://elsewhere.example")];
        assert!(server.try_ws(path, &headers).await.is_ok(), "{path}");
    }
    assert_eq!(server.get("/room").await.status, 404);
    let mut peer = Peer::connect(&server).await;
    let message = "x".repeat(1_000_000);
    let (code, _) = peer
        .error(
            "sendMessage",
            json!({ "message": message, "userMessage": "u", "roomMessage": "r" }),
        )
        .await;
    assert_eq!(code, 102);
}

#[tokio::test]
async fn a1_2_ids_are_whole_numbers() {
    let server = Server::start(&[]).await;
    for (id, expected) in [("0", json!(0)), ("\"7\"", json!(7)), ("1.5", json!(1))] {
        let frame = format!(r#"{{"id":{id},"method":"connect"}}"#);
        let reply = answered(&server, &frame).await;
        assert_eq!(reply["id"], expected, "{reply}");
        assert_eq!(reply["result"]["value"], "OK");
    }
    for id in ["null", "\"x\"", "[]"] {
        let frame = format!(r#"{{"id":{id},"method":"connect"}}"#);
        let reply = answered(&server, &frame).await;
        assert_eq!(
            (&reply["id"], &reply["error"]["code"]),
            (&Value::Null, &json!(-32600)),
            "{reply}"
        );
    }
    let reply = answered(
        &server,
        r#"{"method":"joinRoom","params":{"room":"r","user":"u"}}"#,
    )
    .await;
    assert!(
        reply.get("id").is_none() && reply["error"]["code"] == -32600,
        "{reply}"
    );
    assert_eq!(rooms_of(&server).await, json!([]));
}

#[tokio::test]
async fn a1_4_results_are_objects_with_the_sessions_id() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    let joined = peer
        .ask("joinRoom", json!({ "room": "r", "user": "u" }))
        .await;
    let id = joined["result"]["sessionId"].clone();
    assert!(is_session_id(id.as_str().unwrap()), "{joined}");
    assert_eq!(
        joined,
        json!({ "id": 1, "result": { "value": [], "sessionId": id }, "jsonrpc": "2.0" })
    );
    let done = peer.ask("onIceCandidate", candidate("u")).await;
    assert_eq!(
        done,
        json!({ "id": 2, "result": { "sessionId": id }, "jsonrpc": "2.0" })
    );
}

#[tokio::test]
async fn a1_5_errors_have_a_code_a_message_and_the_sessions_id() {
    let server = Server::start(&[]).await;
    let (_first, _) = Peer::join(&server, "r", "x").await;
    let mut peer = Peer::connect(&server).await;
    let reply = peer
        .ask("joinRoom", json!({ "room": "r", "user": "x" }))
        .await;
    let id = reply["error"]["sessionId"].as_str().unwrap();
    assert!(is_session_id(id), "{reply}");
    let error =
        json!({ "code": 104, "message": "User 'x' already exists in room 'r'", "sessionId": id });
    assert_eq!(reply, json!({ "id": 1, "error": error, "jsonrpc": "2.0" }));
}

#[tokio::test]
async fn a1_6_a_parameter_that_is_missing_is_named() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    let cases = [
        ("joinRoom", json!({ "room": "r" }), "user"),
        ("joinRoom", json!({ "user": "u" }), "room"),
        ("publishVideo", json!({}), "sdpOffer"),
        (
            "receiveVideoFrom",
            json!({ "sender": "b_webcam" }),
            "sdpOffer",
        ),
        ("unsubscribeFromVideo", Value::Null, "sender"),
        (
            "onIceCandidate",
            json!({ "endpointName": "u", "candidate": "", "sdpMid": "0" }),
            "sdpMLineIndex",
        ),
        (
            "sendMessage",
            json!({ "message": "m", "userMessage": "u" }),
            "roomMessage",
        ),
    ];
    for (method, params, missing) in cases {
        let reply = peer.ask(method, params).await;
        let text = format!("java.lang.RuntimeException:Request element '{missing}' is missing");
        let error = json!({ "code": -1, "message": text });
        assert_eq!(reply["error"], error, "{method}");
    }
    for (method, params) in [
        ("joinRoom", json!({ "room": {}, "user": "u" })),
        ("joinRoom", json!([])),
    ] {
        assert_eq!(peer.code(method, params).await, -1);
    }
}

#[tokio::test]
async fn a1_7_what_is_not_understood_is_answered() {
    let server = Server::start(&[]).await;
    for (frame, id, code) in [
        ("{", Value::Null, -32700),
        ("", Value::Null, -32700),
        ("[]", Value::Null, -32600),
        ("7", Value::Null, -32600),
        (r#"{"id":3}"#, json!(3), -32600),
        (r#"{"id":3,"method":"dance"}"#, json!(3), -32601),
        (r#"{"id":3,"method":"poll"}"#, json!(3), -32601),
    ] {
        let reply = answered(&server, frame).await;
        assert_eq!(
            (&reply["id"], &reply["error"]["code"]),
            (&id, &json!(code)),
            "{frame}: {reply}"
        );
        assert_eq!(reply["jsonrpc"], "2.0");
    }
    let mut client = server.ws("/room").await;
    client.send(Message::binary(vec![0xff])).await;
    assert_eq!(client.recv_json().await["error"]["code"], -32700);
    client
        .send(Message::binary(br#"{"id":1,"method":"ping"}"#.to_vec()))
        .await;
    assert_eq!(client.recv_json().await["result"]["value"], "pong");
}

#[tokio::test]
async fn a1_9_answers_keep_the_order_of_their_requests() {
    let server = Server::start(&[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "u").await;
    let publish = json!({ "sdpOffer": offers::publisher() });
    let mut ids = vec![peer.send("publishVideo", publish).await];
    for _ in 0..20 {
        ids.push(peer.send("onIceCandidate", candidate("u")).await);
    }
    ids.push(peer.send("unpublishVideo", json!({})).await);
    ids.push(peer.send("unpublishVideo", json!({})).await);
    for id in &ids {
        let reply = peer.reply().await;
        assert_eq!(reply["id"], *id, "{reply}");
        let is_last = id == ids.last().unwrap();
        assert_eq!(reply.get("error").is_some(), is_last, "{reply}");
    }
}

#[tokio::test]
async fn a1_13_pings_are_answered_without_a_session() {
    let server = Server::start(&[]).await;
    let mut client = server.ws("/room").await;
    client
        .send_text(r#"{"jsonrpc":"2.0","method":"ping","params":{"interval":3000},"id":0}"#)
        .await;
    client
        .expect(json!({ "id": 0, "result": { "value": "pong" }, "jsonrpc": "2.0" }))
        .await;
    client
        .send_text(r#"{"jsonrpc":"2.0","method":"ping","id":1}"#)
        .await;
    client
        .expect(json!({ "id": 1, "result": { "value": "pong" }, "jsonrpc": "2.0" }))
        .await;
    client
        .send_text(r#"{"method":"ping","id":2,"params":{"sessionId":"s"}}"#)
        .await;
    client
        .expect(
            json!({ "id": 2, "result": { "value": "pong", "sessionId": "s" }, "jsonrpc": "2.0" }),
        )
        .await;
}

#[tokio::test]
async fn a1_14_who_pings_and_stops_is_closed() {
    let server = Server::configured(SOON, &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let pinging = peers.remove(0);
    let mut pinging = pinging;
    assert_eq!(
        pinging.ask("ping", json!({ "interval": 100 })).await["result"]["value"],
        "pong"
    );
    let (code, reason) = pinging.closed().await;
    assert_eq!(code, 1000);
    assert!(reason.contains("ping"), "{reason}");
    peers[0]
        .expect("participantLeft", json!({ "name": "a" }))
        .await;
}

#[tokio::test]
async fn who_asks_too_fast_waits_and_is_answered() {
    let server = Server::configured("[limits]\nkurento_requests = 20", &[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    let start = Instant::now();
    // The twenty of the first second are free, and the join was one of them.
    for n in 0..49 {
        let of = if n % 2 == 0 { "a" } else { "b" };
        peer.send("onIceCandidate", candidate(of)).await;
    }
    for _ in 0..49 {
        assert!(peer.reply().await["result"].is_object());
    }
    assert!(start.elapsed() > Duration::from_secs(1));
    assert!(server.metric("switchboard_held_back_total").await >= 1.0);
}

#[tokio::test]
async fn a_page_may_ask_for_a_whole_room_at_once() {
    // As much as waits at most, several times over: nothing is refused, and nobody is closed.
    let server =
        Server::configured("[limits]\nqueue_messages = 100\nqueue_bytes = 50_000", &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(peers[1].send("receiveVideoFrom", receive("a")).await);
        for _ in 0..4 {
            ids.push(peers[1].send("onIceCandidate", candidate("a")).await);
        }
        let sender = json!({ "sender": "a_webcam" });
        ids.push(peers[1].send("unsubscribeFromVideo", sender).await);
    }
    for id in ids {
        let reply = peers[1].reply().await;
        assert!(reply["id"] == id && reply["result"].is_object(), "{reply}");
    }
}

#[tokio::test]
async fn metrics_count_rooms_and_requests() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1].receive("a").await;
    peers[1]
        .code("joinRoom", json!({ "room": "r", "user": "b" }))
        .await;
    for (name, value) in [
        ("switchboard_forwarding_rooms", 1.0),
        ("switchboard_participants", 2.0),
        ("switchboard_publishers", 1.0),
        ("switchboard_subscriptions", 1.0),
        (
            "switchboard_websockets{dialect=\"kurento\",role=\"participant\"}",
            2.0,
        ),
        (
            "switchboard_requests_total{dialect=\"kurento\",method=\"joinRoom\",outcome=\"ok\"}",
            2.0,
        ),
        (
            "switchboard_requests_total{dialect=\"kurento\",method=\"joinRoom\",outcome=\"name_taken\"}",
            1.0,
        ),
        ("switchboard_causes_total{cause=\"name_taken\"}", 1.0),
    ] {
        server.wait_for_metric(name, value).await;
    }
}

//! What log lines carry, and what they never do.

use serde_json::{Value, json};

use crate::common::process::log::leak;
use crate::common::{PATIENCE, Server, wait_until};

/// The lines of a log in JSON.
fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    // The last one may not be whole yet.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let parsed = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    whole.lines().map(parsed).collect()
}

/// The span of the connection in the line with this message, once it is there.
async fn logged(server: &Server, message: &str) -> Value {
    let mut found = Value::Null;
    wait_until(PATIENCE, async || {
        let of = |line: &Value| line["fields"]["message"] == message;
        let line = lines(server).into_iter().find(of);
        found = line.unwrap_or_default()["span"].take();
        !found.is_null()
    })
    .await;
    assert_eq!(found["name"], "connection", "{found}");
    found
}

#[tokio::test]
async fn every_line_about_a_connection_says_which_and_whose() {
    let server = Server::start(&["--log-format", "json"]).await;
    let mut device = server.device("phone").await;
    let registered = logged(&server, "endpoint registered").await;
    for (field, value) in [
        ("dialect", "cuttlefish"),
        ("role", "device"),
        ("endpoint", "phone"),
    ] {
        assert_eq!(registered[field], value, "{registered}");
    }
    let mut viewer = server.viewer("phone").await;
    let opened = logged(&server, "call opened").await;
    assert_eq!(opened["role"], "client", "{opened}");
    assert_eq!(
        (&opened["call"], &opened["endpoint"]),
        (&json!(1), &json!("phone"))
    );
    assert_ne!(opened["id"], registered["id"]);
    viewer.send_text("no JSON").await;
    let refused = logged(&server, "refused").await;
    assert_eq!(refused["id"], opened["id"]);
    device.socket.close(None).await.unwrap();
    let left = logged(&server, "endpoint left").await;
    assert_eq!(left["id"], registered["id"]);
    logged(&server, "WebSocket closed").await;
    // What was said of TCP before has the same number.
    let upgrade = logged(&server, "upgrade to WebSocket").await;
    assert_eq!(upgrade["id"], registered["id"]);
    assert!(upgrade["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    for line in lines(&server) {
        let target = line["target"].as_str().unwrap();
        if target == "switchboard::server::connection" {
            assert!(line["span"]["id"].is_u64(), "{line}");
        }
    }
}

#[tokio::test]
async fn a_participants_lines_name_its_room() {
    let server = Server::start(&["--log-format", "json"]).await;
    let mut one = server.ws("/room").await;
    let params = json!({"room": "r", "user": "anna"});
    one.send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params}))
        .await;
    let joined = logged(&server, "participant joined").await;
    assert_eq!(
        (&joined["room"], &joined["user"]),
        (&json!("r"), &json!("anna"))
    );
    assert_eq!(joined["dialect"], "kurento");
    one.socket.close(None).await.unwrap();
    let closed = logged(&server, "WebSocket closed").await;
    assert_eq!(closed, joined);
}

#[tokio::test]
async fn a_connection_is_named_in_text_whatever_the_level() {
    let server = Server::start(&["--log", "info"]).await;
    let mut peer = server.ws("/ws").await;
    peer.send_text("HELLO 7").await;
    assert_eq!(peer.recv_text().await, "HELLO");
    let span = "connection{id=";
    wait_until(PATIENCE, async || server.log().contains(span)).await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains(span)).unwrap();
    for part in [
        "dialect=\"gstreamer\" role=\"peer\"",
        "endpoint=\"7\"",
        "endpoint registered",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn secrets_in_a_log_are_found() {
    let time = "2026-11-21T12:00:00.000000Z";
    let secrets = ["long-enough".to_owned()];
    for text in [
        "DEBUG switchboard::x: candidate:1 1 udp 1 1.2.3.4 9 typ host ufrag abcd",
        " INFO switchboard::x: a=fingerprint:sha-256 00:11",
        " WARN switchboard::x: url=/register_device?token=x",
        "DEBUG switchboard::x: eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.abc",
        "DEBUG switchboard::x: server turn://1%3Ame:pass@127.0.0.1:3478",
        "DEBUG switchboard::x: turn:me:pass@127.0.0.1",
        "DEBUG switchboard::x: it is long-enough",
    ] {
        let log = format!("{time} TRACE switchboard::x: m=video\n{time} {text}\n");
        assert!(leak(&log, &secrets).is_some(), "{log}");
        let log = format!("{{\"level\":\"DEBUG\",\"message\":{text:?}}}");
        assert!(leak(&log, &secrets).is_some(), "{log}");
    }
    for text in [
        "TRACE switchboard::x: v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd",
        "DEBUG switchboard::x: listening url=http://127.0.0.1:8080/",
        " INFO switchboard::x: another password than the server's",
    ] {
        let log = format!("{time} {text}\n");
        assert_eq!(leak(&log, &secrets), None);
    }
}

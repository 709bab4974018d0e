//! The Cuttlefish dialect. Each module is a section of cuttlefish.md, whose rows name the tests; where
//! the C++ server has a text for an error, it is that text.

mod client;
mod config;
mod crossing;
mod device;
mod flow;
mod http;
mod keepalive;
mod many;
mod numbers;
mod polling;
mod relay;
mod transport;
mod waiting;

use std::collections::BTreeMap;

use async_tungstenite::tungstenite::Message;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::common::{Client, Server};

/// What both sides are answered alike when a frame is no message (A2): frame, error.
const NO_MESSAGES: &[(&str, &str)] = &[
    ("", "Received Invalid JSON"),
    ("{", "Received Invalid JSON"),
    ("nonsense", "Received Invalid JSON"),
    ("{'message_type':'forward'}", "Received Invalid JSON"),
    (r#"{"message_type":"bogus"} x"#, "Received Invalid JSON"),
    (r#"{"message_type":"bogus"}{}"#, "Received Invalid JSON"),
    ("{}", "Invalid message format: '{}'"),
    (
        r#"{"message_type":7}"#,
        r#"Invalid message format: '{"message_type":7}'"#,
    ),
    (
        r#"{"message_type":null,"x":"\n"}"#,
        r#"Invalid message format: '{"message_type":null,"x":"\n"}'"#,
    ),
    ("[]", "Invalid message format: '[]'"),
    (
        r#"[{"message_type":"bogus"}]"#,
        r#"Invalid message format: '[{"message_type":"bogus"}]'"#,
    ),
    ("7", "Invalid message format: '7'"),
    ("\"a\\\"b\\n\"", "Invalid message format: '\"a\\\"b\\n\"'"),
    ("null", "Invalid message format: 'null'"),
    ("true", "Invalid message format: 'true'"),
];

/// The answer is this error, and the connection stays.
async fn refused_but_open(client: &mut Client, error: &str) {
    client.expect(json!({ "error": error })).await;
    client.send_text(r#"{"message_type":"still there?"}"#).await;
    client
        .expect(json!({"error": "Unknown message type: still there?"}))
        .await;
}

/// The answer is this error, and nothing but the close follows.
async fn refused(client: &mut Client, error: &str) {
    client.expect(json!({ "error": error })).await;
    ends(client).await;
}

/// Nothing but a close with 1000 and no reason comes.
async fn ends(client: &mut Client) {
    loop {
        match client.next().await {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, ""));
                break;
            }
            other => panic!("no close: {other:?}"),
        }
    }
    while let Some(Ok(_)) = client.next().await {}
}

/// Nothing has come until now: what comes next is the answer to a question.
async fn nothing_came(client: &mut Client) {
    client.send_text(r#"{"message_type":"anything?"}"#).await;
    client
        .expect(json!({"error": "Unknown message type: anything?"}))
        .await;
}

/// A field's text, exactly as it was sent.
fn field(message: &str, name: &str) -> String {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(message).unwrap();
    fields[name].get().to_owned()
}

/// Sends a client's `connect`.
async fn connect(client: &mut Client, id: &str) {
    client
        .send_json(&json!({"message_type": "connect", "device_id": id}))
        .await;
}

/// A device that registered with this JSON for its `device_info`.
async fn device_with_info(server: &Server, id: &str, info: &str) -> Client {
    let mut device = server.ws("/register_device").await;
    let id = json!(id);
    device
        .send_text(&format!(
            r#"{{"message_type":"register","device_id":{id},"device_info":{info}}}"#
        ))
        .await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    device
}

fn client_msg(client: u32, payload: &Value) -> Value {
    json!({"message_type": "client_msg", "client_id": client, "payload": payload})
}

fn device_msg(payload: &Value) -> Value {
    json!({"message_type": "device_msg", "payload": payload})
}

fn client_disconnected(client: u32) -> Value {
    json!({"message_type": "client_disconnected", "client_id": client})
}

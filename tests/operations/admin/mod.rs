//! The admin API, with clients of every dialect.

mod deeds;
mod description;
mod lists;

use serde_json::{Value, json};

use crate::common::{Client, Server};
use description::Description;

/// A server with admin tokens, and everybody's.
const TOKENS: &str = r#"
tokens = [
  { token = "boss", user = "olga", grants = [{ role = "admin" }] },
  { token = "camera", user = "camera", grants = [{ role = "device" }] },
  { token = "viewer", user = "anna", grants = [{ role = "client" }] },
]
"#;

/// What the operator says, who is nobody where no tokens are asked for.
async fn asks(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = server.request(method, path, "", body).await;
    Description::read().check(method, path, &answer);
    (answer.status, answer.json())
}

/// An answer to a question that must be answered.
async fn get(server: &Server, path: &str) -> Value {
    let (status, answer) = asks(server, "GET", path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What is done by a deed that must be possible.
async fn does(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = asks(server, method, path, body).await;
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

fn closed(number: u64) -> Value {
    json!({ "closed": number })
}

/// A GStreamer peer that is registered.
async fn peer(server: &Server, id: &str) -> Client {
    let mut peer = server.ws("/").await;
    peer.send_text(&format!("HELLO {id}")).await;
    assert_eq!(peer.recv_text().await, "HELLO");
    peer
}

/// Two of them in a session; the first one called.
async fn pair(server: &Server, caller: &str, callee: &str) -> (Client, Client) {
    let (mut one, other) = (peer(server, caller).await, peer(server, callee).await);
    one.send_text(&format!("SESSION {callee}")).await;
    assert_eq!(one.recv_text().await, "SESSION_OK");
    (one, other)
}

/// A gecko, and a client of it with a worker's id.
async fn gecko(server: &Server) -> (Client, Client, String) {
    let mut gecko = server.ws("/worker").await;
    gecko
        .send_json(&json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g", "capabilities": ["worker-closed"]}))
        .await;
    // A registration is answered by nothing, a mistake is.
    gecko.send_json(&json!({"messageType": "question"})).await;
    assert_eq!(gecko.recv_json().await["errno"], 400);
    let mut client = server.ws("/").await;
    client
        .send_json(&json!({
            "messageType": "hello", "action": "client-hello", "authorization": "Bearer anna",
            "source": "https://example.org/worker.js", "webrtcOffer": "v=0\r\n",
        }))
        .await;
    let demand = gecko.recv_json().await;
    let worker = demand["workerId"].as_str().unwrap().to_owned();
    (gecko, client, worker)
}

/// A participant of a Kurento room.
async fn participant(server: &Server, room: &str, user: &str) -> Client {
    let mut participant = server.ws("/room").await;
    ask(
        &mut participant,
        "joinRoom",
        json!({"room": room, "user": user}),
    )
    .await;
    participant
}

/// The answer to a participant's request; events before it are left out.
async fn ask(participant: &mut Client, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    participant.send_json(&request).await;
    loop {
        let message = participant.recv_json().await;
        if message["id"] == 7 {
            assert!(message.get("error").is_none(), "{message}");
            return message["result"].clone();
        }
    }
}

/// The next event of this name; others are left out.
async fn event(participant: &mut Client, name: &str) -> Value {
    loop {
        let message = participant.recv_json().await;
        if message["method"] == name {
            return message["params"].clone();
        }
    }
}

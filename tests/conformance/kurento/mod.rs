//! Kurento rooms: kurento.md A1 to A7, with the decisions, and the scenarios of its section C.

mod events;
mod methods;
mod offers;
mod rest;
mod scenarios;
mod sessions;
mod situations;
mod transport;

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::common::{Client, Server};

/// Short times, where a test waits for their end.
const SOON: &str = "[limits]\nkurento_resume = 0.5";

/// A client that asks, and keeps the events that come before the answers.
struct Peer {
    client: Client,
    last_id: i64,
    events: VecDeque<Value>,
}

impl Peer {
    async fn connect(server: &Server) -> Self {
        Self {
            client: server.ws("/room").await,
            last_id: 0,
            events: VecDeque::new(),
        }
    }

    /// A participant, and whom it finds.
    async fn join(server: &Server, room: &str, user: &str) -> (Self, Value) {
        let mut peer = Self::connect(server).await;
        let result = peer
            .ok("joinRoom", json!({ "room": room, "user": user }))
            .await;
        (peer, result["value"].clone())
    }

    /// A room of participants that have heard of each other.
    async fn room(server: &Server, room: &str, users: &[&str]) -> Vec<Self> {
        let mut peers: Vec<Self> = Vec::new();
        for user in users {
            let (peer, _) = Self::join(server, room, user).await;
            for before in &mut peers {
                before
                    .expect("participantJoined", json!({ "id": user }))
                    .await;
            }
            peers.push(peer);
        }
        peers
    }

    async fn send(&mut self, method: &str, params: Value) -> i64 {
        self.last_id += 1;
        let request = json!({
            "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params,
        });
        self.client.send_json(&request).await;
        self.last_id
    }

    /// The whole next answer.
    async fn reply(&mut self) -> Value {
        loop {
            let message = self.client.recv_json().await;
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            if message.get("method").is_none() {
                return message;
            }
            self.keep(message);
        }
    }

    fn keep(&mut self, event: Value) {
        assert!(event.get("id").is_none(), "{event}");
        assert!(event["params"].get("sessionId").is_none(), "{event}");
        self.events.push_back(event);
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let reply = self.reply().await;
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    /// The result, which has the session's id.
    async fn ok(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.ask(method, params).await;
        let result = reply["result"].take();
        let id = result["sessionId"].as_str();
        assert!(id.is_some_and(is_session_id), "{method}: {reply} {result}");
        result
    }

    /// The code and the text of an error.
    async fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let reply = self.ask(method, params).await;
        let error = &reply["error"];
        let code = error["code"].as_i64();
        let text = error["message"].as_str().unwrap_or_default();
        (
            code.unwrap_or_else(|| panic!("{method}: {reply}")),
            text.to_owned(),
        )
    }

    async fn code(&mut self, method: &str, params: Value) -> i64 {
        self.error(method, params).await.0
    }

    async fn next_event(&mut self) -> Value {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        let event = self.client.recv_json().await;
        assert_eq!(event["jsonrpc"], "2.0", "{event}");
        self.keep(event.clone());
        self.events.pop_back().unwrap_or(event)
    }

    /// The next event, but for candidates.
    async fn expect(&mut self, method: &str, params: Value) {
        let mut event = self.next_event().await;
        while event["method"] == "iceCandidate" {
            event = self.next_event().await;
        }
        let expected = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        assert_eq!(event, expected);
    }

    /// Whatever came before this is all that came.
    async fn expect_nothing(&mut self) {
        self.ok("connect", json!({})).await;
        self.events
            .retain(|event| event["method"] != "iceCandidate");
        assert_eq!(self.events, [Value::Null; 0]);
    }

    async fn publish(&mut self) -> String {
        let offer = offers::publisher();
        let result = self
            .ok(
                "publishVideo",
                json!({ "sdpOffer": offer, "doLoopback": false }),
            )
            .await;
        answer_of(&result)
    }

    async fn receive(&mut self, from: &str) -> String {
        let result = self.ok("receiveVideoFrom", receive(from)).await;
        answer_of(&result)
    }

    async fn closed(mut self) -> (u16, String) {
        self.client.closed().await
    }
}

fn receive(from: &str) -> Value {
    json!({ "sender": format!("{from}_webcam"), "sdpOffer": offers::subscriber() })
}

fn answer_of(result: &Value) -> String {
    let answer = result["sdpAnswer"].as_str().unwrap_or_default();
    assert!(answer.starts_with("v=0\r\n"), "{result}");
    answer.to_owned()
}

/// 26 digits of base 32 (A1.10).
fn is_session_id(id: &str) -> bool {
    id.len() == 26
        && id
            .chars()
            .all(|digit| digit.is_digit(32) && !digit.is_ascii_uppercase())
}

fn webcam() -> Value {
    json!([{ "id": "webcam" }])
}

fn candidate(of: &str) -> Value {
    json!({
        "endpointName": of, "sdpMid": "0", "sdpMLineIndex": 0,
        "candidate": "candidate:1 1 udp 2122260223 192.0.2.1 48156 typ host generation 0",
    })
}

async fn rooms_of(server: &Server) -> Value {
    server.get("/getAllRooms").await.json()
}

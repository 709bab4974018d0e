//! Connections that talk, two by two, each pair in one of the four dialects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::common::{Client, Server};
use super::samples::Waits;

/// How often a pair says something, and has an answer.
const PACE: Duration = Duration::from_millis(500);
/// Bytes beside the envelope: about those of a candidate.
const SAID: usize = 200;

/// Starts so many pairs, a quarter in each dialect, which talk until the program ends. Those that end
/// before, because one was thrown out or heard nothing for long, are counted.
pub(crate) async fn start(
    server: &Arc<Server>,
    pairs: usize,
    waits: &Waits,
    lost: &Arc<AtomicU64>,
) {
    for number in 0..pairs {
        let (server, waits) = (Arc::clone(server), waits.clone());
        let pair = Pair::open(&server, number).await;
        let talk = tokio::spawn(async move {
            // Evenly spread.
            tokio::time::sleep(PACE.mul_f64(number as f64 / pairs as f64)).await;
            let mut ticks = tokio::time::interval(PACE);
            let mut pair = pair;
            loop {
                ticks.tick().await;
                let begun = Instant::now();
                pair.round(&server).await;
                waits.note(begun.elapsed());
            }
        });
        let lost = Arc::clone(lost);
        tokio::spawn(async move {
            let _: Result<(), _> = talk.await;
            lost.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// Two that talk: who begins, and who answers.
enum Pair {
    GStreamer(Client, Client),
    Cuttlefish(Client, Client),
    Kurento(Client, Client, String),
    /// Geckos answer by themselves whoever comes, and each client comes for one answer.
    Gecko(String),
}

impl Pair {
    async fn open(server: &Server, number: usize) -> Self {
        match number % 4 {
            0 => {
                let other = hello(server, &format!("b{number}")).await;
                let mut one = hello(server, &format!("a{number}")).await;
                one.send_text(&format!("SESSION b{number}")).await;
                assert_eq!(one.recv_text().await, "SESSION_OK");
                Self::GStreamer(one, other)
            }
            1 => {
                let id = format!("busy{number}");
                let device = server.device(&id).await;
                Self::Cuttlefish(server.viewer(&id).await, device)
            }
            2 => {
                let room = format!("busy{number}");
                let one = participant(server, &room, "a").await;
                Self::Kurento(one, participant(server, &room, "b").await, room)
            }
            _ => {
                let mut gecko = server.ws("/worker").await;
                let id = format!("busy{number}");
                let hello =
                    json!({"messageType": "hello", "action": "worker-hello", "geckoId": id});
                gecko.send_json(&hello).await;
                tokio::spawn(serve(gecko));
                Self::Gecko(id)
            }
        }
    }

    /// One says something, and the other one answers.
    async fn round(&mut self, server: &Server) {
        let said = "x".repeat(SAID);
        let payload = json!({ "said": said });
        match self {
            Self::GStreamer(one, other) => {
                one.send_text(&said).await;
                assert_eq!(other.recv_text().await, said);
                other.send_text(&said).await;
                assert_eq!(one.recv_text().await, said);
            }
            Self::Cuttlefish(one, other) => {
                one.forward(&payload).await;
                assert_eq!(other.recv_json().await["payload"], payload);
                other.forward_to(1, &payload).await;
                assert_eq!(one.recv_json().await["payload"], payload);
            }
            Self::Kurento(one, other, room) => {
                let say =
                    |user: &str| json!({"roomMessage": room, "userMessage": user, "message": said});
                tell(one, other, say("a")).await;
                tell(other, one, say("b")).await;
            }
            Self::Gecko(account) => demand(server, account, &said).await,
        }
    }
}

/// A participant says something to its room, and the other one hears it.
async fn tell(from: &mut Client, to: &mut Client, said: Value) {
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": "sendMessage", "params": said});
    from.send_json(&request).await;
    event(from, |it| it["id"] == 7).await;
    event(to, |it| it["params"]["user"] == said["userMessage"]).await;
}

/// A client asks for a worker, and a gecko answers.
async fn demand(server: &Server, account: &str, said: &str) {
    let mut client = server.ws("/").await;
    let hello = json!({
        "messageType": "hello", "action": "client-hello", "authorization": format!("Bearer {account}"),
        "source": "https://example.org/worker.js", "webrtcOffer": said,
    });
    client.send_json(&hello).await;
    let answer = event(&mut client, |it| it["messageType"] == "hello").await;
    let connected = json!({"messageType": "connected", "workerId": answer["workerId"]});
    client.send_json(&connected).await;
    let _ = client.socket.close(None).await;
}

/// A gecko that makes every worker that it is asked for.
async fn serve(mut gecko: Client) {
    while let Some(Ok(message)) = gecko.socket.next().await {
        let demand: Value = match &message {
            Message::Text(text) => serde_json::from_str(text).unwrap(),
            _ => continue,
        };
        if demand["messageType"] != "new-worker" {
            continue;
        }
        let worker = &demand["workerId"];
        let created =
            json!({"messageType": "worker-created", "workerId": worker, "webrtcAnswer": "v=0"});
        gecko.send_json(&created).await;
        let connected = json!({"messageType": "connected", "workerId": worker});
        gecko.send_json(&connected).await;
    }
    panic!("a gecko was thrown out");
}

async fn hello(server: &Server, id: &str) -> Client {
    let mut peer = server.ws("/").await;
    peer.send(Message::text(format!("HELLO {id}"))).await;
    assert_eq!(peer.recv_text().await, "HELLO");
    peer
}

async fn participant(server: &Server, room: &str, user: &str) -> Client {
    let mut client = server.ws("/room").await;
    let params = json!({"room": room, "user": user});
    let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params});
    client.send_json(&join).await;
    event(&mut client, |it| it["id"] == 1).await;
    client
}

/// The next message that is wanted; others are passed over.
async fn event(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = client.recv_json().await;
        if wanted(&message) {
            return message;
        }
    }
}

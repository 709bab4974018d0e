//! Geckos and their clients: gecko.md A1 to A7, with the decisions.

mod accounts;
mod affinity;
mod answers;
mod demands;
mod disappearing;
mod errors;
mod legacy;
mod many;
mod scripts;
mod transport;

use async_tungstenite::tungstenite::Message;
use serde_json::{Value, json};

use crate::common::{Client, Server};

const OFFER: &str = "v=0\r\na=ice-ufrag:clnt\r\n";
const ANSWER: &str = "v=0\r\na=ice-ufrag:gcko\r\n";

/// A gecko that is registered. There is no answer to that, so this asks for one to its mistake.
async fn gecko(server: &Server, id: &str) -> Client {
    gecko_saying(server, &gecko_hello(id)).await
}

async fn gecko_saying(server: &Server, hello: &Value) -> Client {
    let mut gecko = server.ws("/worker").await;
    gecko.send_json(hello).await;
    is_told_nothing(&mut gecko).await;
    gecko
}

fn gecko_hello(id: &str) -> Value {
    json!({"messageType": "hello", "action": "worker-hello", "geckoId": id})
}

/// The next frame to a gecko is the answer to a question that is asked now.
async fn is_told_nothing(gecko: &mut Client) {
    gecko.send_json(&json!({"messageType": "question"})).await;
    let reason = r#"Wrong message from Gecko: {"messageType":"question"}"#;
    gecko.expect(worker_error(None, 400, reason)).await;
}

/// A client that has said hello, with a token of its own.
async fn client(server: &Server, account: &str) -> Client {
    let mut client = server.ws("/").await;
    client.send_json(&client_hello(account)).await;
    client
}

fn client_hello(account: &str) -> Value {
    json!({
        "messageType": "hello",
        "action": "client-hello",
        "authorization": format!("Bearer token-of-{account}"),
        "source": "https://example.org/worker.js",
        "webrtcOffer": OFFER,
    })
}

/// A gecko's next frame is a demand: its worker's id.
async fn demanded(gecko: &mut Client) -> String {
    let demand = gecko.recv_json().await;
    assert_eq!(demand["messageType"], "new-worker", "{demand}");
    demand["workerId"].as_str().unwrap().to_owned()
}

/// A client, and the gecko that has its demand.
async fn pair(server: &Server) -> (Client, Client, String) {
    let mut gecko = gecko(server, "gecko").await;
    let client = client(server, "anna").await;
    let worker = demanded(&mut gecko).await;
    (gecko, client, worker)
}

/// The gecko answers, and the client hears it.
async fn answer(gecko: &mut Client, client: &mut Client, worker: &str) {
    gecko.send_json(&created(worker)).await;
    client.expect(worker_hello(worker)).await;
}

fn created(worker: &str) -> Value {
    json!({"messageType": "worker-created", "workerId": worker, "webrtcAnswer": ANSWER})
}

fn worker_hello(worker: &str) -> Value {
    json!({"messageType": "hello", "action": "worker-hello", "workerId": worker, "webrtcAnswer": ANSWER})
}

fn connected(worker: &str) -> Value {
    json!({"messageType": "connected", "workerId": worker})
}

fn candidate(n: u32) -> Value {
    json!({"candidate": format!("candidate:{n} 1 UDP 2122187007 192.0.2.1 9 typ host"), "sdpMid": "", "sdpMLineIndex": 0})
}

/// A candidate as a client sends it.
fn client_ice(n: u32) -> Value {
    json!({"messageType": "ice", "action": "client-candidate", "candidate": candidate(n)})
}

/// A candidate as it should come, and as a gecko sends it.
fn ice(action: &str, worker: &str, n: u32) -> Value {
    json!({"messageType": "ice", "action": action, "workerId": worker, "candidate": candidate(n)})
}

fn worker_error(worker: Option<&str>, errno: u16, reason: &str) -> Value {
    json!({"messageType": "worker-error", "workerId": worker, "errno": errno, "reason": reason})
}

/// The next frame is an error: its number, its worker and its reason.
async fn error(client: &mut Client) -> (i64, Option<String>, String) {
    let error = client.recv_json().await;
    assert_eq!(error["messageType"], "worker-error", "{error}");
    (
        error["errno"].as_i64().unwrap(),
        error["workerId"].as_str().map(str::to_owned),
        error["reason"].as_str().unwrap().to_owned(),
    )
}

/// The connection is closed next, without any other frame.
async fn is_closed_next(client: &mut Client) -> (u16, String) {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                let close = (frame.code.into(), frame.reason.to_string());
                while let Some(Ok(_)) = client.next().await {}
                return close;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("no close: {other:?}"),
        }
    }
}

fn close(code: u16) -> (u16, String) {
    (code, String::new())
}

/// The end of a TCP connection, without a goodbye and with a reset.
fn reset(client: Client) {
    let tcp = client.socket.into_inner().into_inner();
    tcp.set_zero_linger().unwrap();
}

/// The end of a connection with a closing handshake.
async fn goodbye(mut client: Client) {
    let _ = client.socket.close(None).await;
    while let Some(Ok(_)) = client.next().await {}
}

/// Nothing of sessions and geckos is left.
async fn nothing_stays(server: &Server) {
    for metric in ["endpoints", "gecko_sessions", "geckos_away"] {
        server
            .wait_for_metric(&format!("switchboard_{metric}"), 0.0)
            .await;
    }
    for role in ["gecko", "client"] {
        let open = format!("switchboard_websockets{{dialect=\"gecko\",role=\"{role}\"}}");
        server.wait_for_metric(&open, 0.0).await;
    }
}

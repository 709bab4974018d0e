//! What a token allows, in each dialect's own words.

use serde_json::{Value, json};

use crate::common::{Client, Server};
use crate::server;

async fn registered(server: &Server, id: &str) -> Client {
    let mut device = server.ws("/register_device?token=camera").await;
    device.register(id).await;
    device
}

#[tokio::test]
async fn a_cuttlefish_device_registers_as_what_it_may_be() {
    let (server, _directory) = server().await;
    let mut good = registered(&server, "cam-1").await;
    assert_eq!(good.recv_json().await["message_type"], "config");
    let mut bad = registered(&server, "phone").await;
    bad.expect(json!({"error": "The token does not allow the device id 'phone'"}))
        .await;
    assert_eq!(bad.closed().await.0, 1000);
}

#[tokio::test]
async fn a_cuttlefish_client_calls_whom_it_may() {
    let (server, _directory) = server().await;
    let mut devices = [
        registered(&server, "cam-1").await,
        registered(&server, "cam-2").await,
    ];
    for device in &mut devices {
        assert_eq!(device.recv_json().await["message_type"], "config");
    }
    let connect = async |id: &str| {
        let mut viewer = server.ws("/connect_client?token=viewer").await;
        let connect = json!({"message_type": "connect", "device_id": id});
        viewer.send_json(&connect).await;
        assert_eq!(viewer.recv_json().await["message_type"], "config");
        viewer.recv_json().await
    };
    assert_eq!(connect("cam-1").await["message_type"], "device_info");
    let refused = json!({"error": "The token does not allow to call 'cam-2'"});
    assert_eq!(connect("cam-2").await, refused);

    for (device, status) in [("cam-1", 200), ("cam-2", 403)] {
        let asked = json!({"device_id": device});
        let polled = server.post("/polled_connections?token=viewer", &asked);
        assert_eq!(polled.await.status, status, "{device}");
    }
}

#[tokio::test]
async fn a_gstreamer_peer_is_who_it_may_be_and_calls_and_joins_where_it_may() {
    let (server, _directory) = server().await;
    let hello = async |id: &str| {
        let mut peer = server.ws("/ws?token=peer").await;
        peer.send_text(&format!("HELLO {id}")).await;
        peer
    };
    assert_eq!(hello("three").await.closed().await.0, 1008);
    let mut one = hello("one").await;
    assert_eq!(one.recv_text().await, "HELLO");
    let mut two = hello("two").await;
    assert_eq!(two.recv_text().await, "HELLO");
    two.send_text("SESSION one").await;
    assert_eq!(
        two.recv_text().await,
        "ERROR the token does not allow to call 'one'"
    );
    two.send_text("ROOM closed").await;
    assert_eq!(
        two.recv_text().await,
        "ERROR the token does not allow to join 'closed'"
    );
    one.send_text("SESSION two").await;
    assert_eq!(one.recv_text().await, "SESSION_OK");
    // In a session every frame is the partner's, whatever it says.
    two.send_text("ROOM closed").await;
    assert_eq!(one.recv_text().await, "ROOM closed");
}

#[tokio::test]
async fn geckos_and_their_clients_need_their_own_tokens() {
    let (server, _directory) = server().await;
    let mut gecko = server.ws("/worker?token=gecko").await;
    gecko
        .send_json(&json!({"messageType": "hello", "action": "worker-hello", "geckoId": "other"}))
        .await;
    let error = gecko.recv_json().await.to_string();
    assert!(
        error.contains("the token does not allow the geckoId other"),
        "{error}"
    );
    let mut peer = server.ws("/?token=peer").await;
    peer.send_json(&json!({
        "messageType": "hello", "action": "client-hello", "authorization": "Bearer x",
        "source": "https://example.org/worker.js", "webrtcOffer": "v=0",
    }))
    .await;
    let error = peer.recv_json().await.to_string();
    assert!(error.contains("does not allow"), "{error}");
}

/// A participant that has asked one thing after the other, and the last answer.
async fn asks(server: &Server, token: &str, requests: &[(&str, Value)]) -> Value {
    let mut client = server.ws(&format!("/room?token={token}")).await;
    let mut last = Value::Null;
    for (id, (method, params)) in requests.iter().enumerate() {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        client.send_json(&request).await;
        last = client.recv_json().await;
        assert_eq!(last["id"], id, "{last}");
    }
    last
}

#[tokio::test]
async fn a_participant_enters_publishes_and_receives_as_it_may() {
    let (server, _directory) = server().await;
    let join = |room: &str, user: &str| ("joinRoom", json!({"room": room, "user": user}));
    let refused = |answer: &Value, what: &str| {
        let error = &answer["error"];
        assert_eq!(error["code"], 101, "{answer}");
        let text = format!("The token does not allow to {what}");
        assert_eq!(error["message"], *text, "{answer}");
    };
    let answer = asks(&server, "speaker", &[join("hall", "x")]).await;
    refused(&answer, "join room \"hall\" as \"x\"");
    let answer = asks(&server, "listener", &[join("lab", "mouth")]).await;
    refused(&answer, "join room \"lab\" as \"mouth\"");
    let offer = (
        "publishVideo",
        json!({"sdpOffer": "v=0", "doLoopback": false}),
    );
    let answer = asks(&server, "listener", &[join("lab", "ear"), offer]).await;
    refused(&answer, "publish");
    let receive = (
        "receiveVideoFrom",
        json!({"sender": "x_webcam", "sdpOffer": "v=0"}),
    );
    let answer = asks(&server, "mute", &[join("lab", "m"), receive]).await;
    refused(&answer, "receive");
    let answer = asks(&server, "speaker", &[join("lab", "s")]).await;
    assert!(answer["result"].is_object(), "{answer}");
}

//! What a token allows, in each dialect's own words.

use serde_json::{Value, json};

use crate::common::{Client, Server};
use crate::{TOKENS, server};

async fn registered(server: &Server, id: &str) -> Client {
    let mut device = server.ws("/register_device?token=camera").await;
    device.register(id).await;
    device
}

#[tokio::test]
async fn a_cuttlefish_device_registers_as_what_it_may_be() {
    let server = server().await;
    let mut good = registered(&server, "cam-1").await;
    assert_eq!(good.recv_json().await["message_type"], "config");
    let mut bad = registered(&server, "phone").await;
    bad.expect(json!({"error": "The token does not allow the device id 'phone'"}))
        .await;
    assert_eq!(bad.closed().await.0, 1000);
}

#[tokio::test]
async fn a_cuttlefish_client_calls_whom_it_may() {
    let server = server().await;
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
async fn a_polled_connection_is_for_the_user_who_opened_it() {
    let server = server().await;
    let mut device = registered(&server, "cam-1").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let asked = json!({"device_id": "cam-1"});
    let opened = server.post("/polled_connections?token=viewer", &asked);
    let id = opened.await.json()["connection_id"].clone();
    let messages = format!("/polled_connections/{}/messages", id.as_str().unwrap());
    let forward = format!("/polled_connections/{}/:forward", id.as_str().unwrap());
    let hello = json!({"connection_id": id, "payload": {"from": "anybody"}});
    for (token, of_new, of_old) in [("watcher", 404, 401), ("viewer", 200, 200)] {
        let asked = server.get(&format!("{messages}?token={token}")).await;
        assert_eq!(asked.status, of_new, "{token}");
        for (path, status) in [(&*forward, of_new), ("/forward", of_old)] {
            let told = server.post(&format!("{path}?token={token}"), &hello).await;
            assert_eq!(told.status, status, "{token} {path}: {told:?}");
        }
    }
    for _ in 0..2 {
        let told = device.recv_json().await;
        assert_eq!(told["payload"], json!({"from": "anybody"}), "{told}");
    }
    drop(device);
}

/// A device, registered with these capabilities.
async fn capable(server: &Server, id: &str, capabilities: &[&str]) -> Client {
    let mut device = server.ws("/register_device?token=camera").await;
    let register = json!({"message_type": "register", "device_id": id, "device_info": {}, "capabilities": capabilities});
    device.send_json(&register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    device
}

#[tokio::test]
async fn a_device_is_told_who_may_only_view_if_it_holds_them_to_that() {
    let server = server().await;
    let mut guarded = capable(&server, "cam-1", &["view-only"]).await;
    let _old = capable(&server, "cam-2", &[]).await;
    for (token, access) in [("viewer", json!(null)), ("watcher", json!("view"))] {
        let mut client = server.ws(&format!("/connect_client?token={token}")).await;
        let connect = json!({"message_type": "connect", "device_id": "cam-1"});
        client.send_json(&connect).await;
        assert_eq!(client.recv_json().await["message_type"], "config");
        assert_eq!(client.recv_json().await["message_type"], "device_info");
        client.forward(&json!({"type": "request-offer"})).await;
        let told = guarded.recv_json().await;
        assert_eq!(told["message_type"], "client_msg");
        assert_eq!(told["payload"], json!({"type": "request-offer"}));
        assert_eq!(told["access"], access, "{token}");
        drop(client);
        assert_eq!(
            guarded.recv_json().await["message_type"],
            "client_disconnected"
        );
    }
    let mut client = server.ws("/connect_client?token=watcher").await;
    let connect = json!({"message_type": "connect", "device_id": "cam-2"});
    client.send_json(&connect).await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    let error = client.recv_json().await["error"].to_string();
    assert!(error.contains("allows to view only"), "{error}");
    assert!(error.contains("cuttlefish.unguarded_devices"), "{error}");
    assert_eq!(client.closed().await.0, 1000);

    for (path, id) in [
        ("/connect", "connection_id"),
        ("/polled_connections", "connection_id"),
    ] {
        let path = format!("{path}?token=watcher");
        let refused = server.post(&path, &json!({"device_id": "cam-2"})).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let taken = server.post(&path, &json!({"device_id": "cam-1"})).await;
        assert!(taken.json()[id].is_string(), "{taken:?}");
    }
    let metrics = server.get("/metrics?token=admin").await.body;
    assert!(
        metrics.contains("switchboard_causes_total{cause=\"unguarded\"} 3\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_operator_may_let_viewers_call_devices_that_do_not_hold_them() {
    let server = Server::guarded(TOKENS, "[cuttlefish]\nunguarded_devices = true").await;
    let _old = capable(&server, "cam-2", &[]).await;
    let mut client = server.ws("/connect_client?token=watcher").await;
    let connect = json!({"message_type": "connect", "device_id": "cam-2"});
    client.send_json(&connect).await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    assert_eq!(client.recv_json().await["message_type"], "device_info");
}

#[tokio::test]
async fn who_may_only_view_gets_a_geckos_pipelines_and_no_workers() {
    let server = server().await;
    let mut gecko = server.ws("/worker?token=gecko").await;
    let hello = json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g"});
    gecko.send_json(&hello).await;
    let demand = async |source: &str| {
        let mut client = server.ws("/?token=watcher").await;
        client
            .send_json(&json!({
                "messageType": "hello", "action": "client-hello", "authorization": "Bearer x",
                "source": source, "webrtcOffer": "v=0",
            }))
            .await;
        client
    };
    let mut refused = demand("https://example.org/worker.js").await;
    let error = refused.recv_json().await;
    assert_eq!(error["errno"], 102, "{error}");
    let reason = error["reason"].to_string();
    assert!(reason.contains("pipeline:NAME"), "{error}");
    let _client = demand("pipeline:test").await;
    let told = gecko.recv_json().await;
    assert_eq!(told["source"], "pipeline:test", "{told}");
}

#[tokio::test]
async fn a_gstreamer_peer_is_who_it_may_be_and_calls_and_joins_where_it_may() {
    let server = server().await;
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
    let server = server().await;
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
    let server = server().await;
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

#[tokio::test]
async fn what_a_participant_may_do_depends_on_its_room() {
    let server = server().await;
    // Each time another name: who is gone is awaited back for a while.
    let join = |room: &str, user: &str| ("joinRoom", json!({"room": room, "user": user}));
    let publish = || {
        (
            "publishVideo",
            json!({"sdpOffer": "v=0", "doLoopback": false}),
        )
    };
    let say = |room: &str, user: &str| {
        let message = json!({"message": "hello", "userMessage": user, "roomMessage": room});
        ("sendMessage", message)
    };
    let refused = |answer: &Value, what: &str| {
        let text = format!("The token does not allow to {what}");
        assert_eq!(answer["error"]["message"], *text, "{answer}");
    };
    let answer = asks(&server, "guest", &[join("lab", "a"), publish()]).await;
    refused(&answer, "publish");
    let answer = asks(&server, "guest", &[join("lab", "b"), say("lab", "b")]).await;
    refused(&answer, "send messages");
    // No SDP, and no matter of rights.
    let answer = asks(&server, "guest", &[join("hall", "c"), publish()]).await;
    assert_ne!(answer["error"]["code"], 101, "{answer}");
    let answer = asks(&server, "guest", &[join("hall", "d"), say("hall", "d")]).await;
    assert!(answer["error"].is_null(), "{answer}");
}

#[tokio::test]
async fn a_session_goes_on_by_a_token_for_its_place_only() {
    let server = server().await;
    let join = json!({"jsonrpc": "2.0", "id": 0, "method": "joinRoom", "params": {"room": "lab", "user": "s"}});
    let mut speaker = server.ws("/room?token=speaker").await;
    speaker.send_json(&join).await;
    let session = speaker.recv_json().await["result"]["sessionId"].clone();
    assert!(session.is_string());
    let named = |method: &'static str| (method, json!({ "sessionId": session }));
    // For another name, and for the same with less to do.
    for token in ["listener", "guest"] {
        for method in ["connect", "leaveRoom"] {
            let answer = asks(&server, token, &[named(method)]).await;
            assert_eq!(answer["error"]["code"], 101, "{token} {method}: {answer}");
        }
    }
    let answer = asks(&server, "speaker", &[named("connect")]).await;
    assert!(answer["error"].is_null(), "{answer}");
}

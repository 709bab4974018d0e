//! The flow that the protocol's document describes, message by message.

use serde_json::json;

use super::{client_disconnected, client_msg, connect, device_msg, nothing_came};
use crate::common::Server;

#[tokio::test]
async fn the_documents_typical_flow() {
    let server = Server::start(&["--ice-server", "stun:stun.example.org:3478"]).await;
    let config = json!({
        "message_type": "config",
        "ice_servers": [{"urls": ["stun:stun.example.org:3478"]}],
    });
    let info =
        json!({"hardware": {"CPUs": "2"}, "custom_control_panel_buttons": [], "touchpads": []});

    let mut device = server.ws("/register_device").await;
    let register = json!({"message_type": "register", "device_id": "cvd-1", "device_info": info});
    device.send_json(&register).await;
    device.expect(config.clone()).await;
    nothing_came(&mut device).await;

    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "cvd-1").await;
    client.expect(config.clone()).await;
    client
        .expect(json!({"message_type": "device_info", "device_info": info}))
        .await;
    // The device learns of a client by its first message only.
    nothing_came(&mut device).await;

    let request = json!({"type": "request-offer", "ice_servers": config["ice_servers"]});
    client.forward(&request).await;
    device.expect(client_msg(1, &request)).await;
    let offer = json!({"type": "offer", "sdp": "v=0\r\n"});
    device.forward_to(1, &offer).await;
    client.expect(device_msg(&offer)).await;
    let answer = json!({"type": "answer", "sdp": "v=0\r\n"});
    client.forward(&answer).await;
    device.expect(client_msg(1, &answer)).await;
    let candidate =
        json!({"type": "ice-candidate", "mid": "0", "mLineIndex": 0, "candidate": "candidate:…"});
    device.forward_to(1, &candidate).await;
    client.expect(device_msg(&candidate)).await;
    nothing_came(&mut device).await;
    nothing_came(&mut client).await;

    client.socket.close(None).await.unwrap();
    device.expect(client_disconnected(1)).await;
}

#[tokio::test]
async fn the_documents_alternative_flow() {
    let server = Server::start(&["--wait-for-device"]).await;
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "cvd-1").await;
    client
        .expect(json!({"message_type": "config", "ice_servers": []}))
        .await;
    nothing_came(&mut client).await;

    let mut device = server.device("cvd-1").await;
    client
        .expect(json!({"message_type": "device_info", "device_info": {"hardware": {}}}))
        .await;
    nothing_came(&mut device).await;
    client.forward(&json!({"type": "request-offer"})).await;
    device
        .expect(client_msg(1, &json!({"type": "request-offer"})))
        .await;
    device.forward_to(1, &json!({"type": "offer"})).await;
    client.expect(device_msg(&json!({"type": "offer"}))).await;
}

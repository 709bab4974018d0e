//! A3: the client's side, `/connect_client`.

use async_tungstenite::tungstenite::Message;
use serde_json::json;

use super::{
    NO_MESSAGES, client_disconnected, client_msg, connect, device_msg, nothing_came, refused,
    refused_but_open,
};
use crate::common::Server;

#[tokio::test]
async fn config_comes_before_device_info_and_nothing_else_comes() {
    let server = Server::start(&[]).await;
    let _device = server.device("d").await;
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "d").await;
    client
        .expect(json!({"message_type": "config", "ice_servers": []}))
        .await;
    let info = json!({"message_type": "device_info", "device_info": {"hardware": {}}});
    client.expect(info).await;
    nothing_came(&mut client).await;
}

#[tokio::test]
async fn an_unknown_device_is_an_error_after_config() {
    let server = Server::start(&[]).await;
    let long = "ä".repeat(10_000);
    for id in ["nope", "no\"pe", "no\npe\\", "", "\u{0}", &long] {
        let mut client = server.ws("/connect_client").await;
        connect(&mut client, id).await;
        if id.is_empty() {
            refused(&mut client, "Invalid connection request: Missing device id").await;
            continue;
        }
        assert_eq!(client.recv_json().await["message_type"], "config");
        if id == long {
            // Not all of a stranger's text comes back.
            let error = client.recv_json().await["error"].to_string();
            assert!(error.contains("Device not found: 'ää") && error.len() < 1_000);
            super::ends(&mut client).await;
            continue;
        }
        refused(
            &mut client,
            &format!("Connection failed: Device not found: '{id}'"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_device_that_has_left_is_unknown() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    device.socket.close(None).await.unwrap();
    while let Some(Ok(_)) = device.next().await {}
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "d").await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    refused(&mut client, "Connection failed: Device not found: 'd'").await;
}

#[tokio::test]
async fn connect_without_a_usable_id_is_an_error_without_config() {
    let server = Server::start(&[]).await;
    for id in [
        "",
        r#","device_id":7"#,
        r#","device_id":null"#,
        r#","device_id":{}"#,
    ] {
        let mut client = server.ws("/connect_client").await;
        client
            .send_text(&format!(r#"{{"message_type":"connect"{id}}}"#))
            .await;
        refused(&mut client, "Invalid connection request: Missing device id").await;
    }
}

#[tokio::test]
async fn a_second_connect_ends_the_call() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let _other = server.device("e").await;
    for (number, second) in [(1, "d"), (2, "e"), (3, "absent")] {
        let mut client = server.viewer("d").await;
        connect(&mut client, second).await;
        let error = "Attempt to connect to multiple devices over same websocket";
        refused(&mut client, error).await;
        device.expect(client_disconnected(number)).await;
    }
}

#[tokio::test]
async fn forward_before_connect_is_refused() {
    let server = Server::start(&[]).await;
    let mut client = server.ws("/connect_client").await;
    client.forward(&json!(1)).await;
    refused(
        &mut client,
        "Forward failed: No device associated to client",
    )
    .await;
}

#[tokio::test]
async fn forward_without_a_payload_is_refused_and_null_is_a_payload() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    client.forward(&json!(null)).await;
    device.expect(client_msg(1, &json!(null))).await;
    device.forward_to(1, &json!(null)).await;
    client.expect(device_msg(&json!(null))).await;
    client.send_json(&json!({"message_type": "forward"})).await;
    refused(&mut client, "Forward failed: No payload present in message").await;
    device.expect(client_disconnected(1)).await;
}

#[tokio::test]
async fn unknown_types_are_answered_and_the_client_stays() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.ws("/connect_client").await;
    let rows = [
        ("bogus", "Unknown message type: bogus"),
        ("", "Unknown message type: "),
        ("b\"\n\\", "Unknown message type: b\"\n\\"),
        // The other side's.
        ("register", "Unknown message type: register"),
        ("device_msg", "Unknown message type: device_msg"),
    ];
    for (kind, error) in rows {
        let message = json!({"message_type": kind, "device_id": "d", "payload": 1});
        client.send_json(&message).await;
        refused_but_open(&mut client, error).await;
    }
    connect(&mut client, "d").await;
    for kind in ["config", "device_info"] {
        assert_eq!(client.recv_json().await["message_type"], kind);
    }
    for (kind, error) in rows {
        client
            .send_json(&json!({"message_type": kind, "payload": 1}))
            .await;
        refused_but_open(&mut client, error).await;
    }
    client.forward(&json!("works")).await;
    device.expect(client_msg(1, &json!("works"))).await;
}

#[tokio::test]
async fn clients_hear_at_once_that_their_device_left_however_it_left() {
    let server = Server::start(&[]).await;
    for how in ["close frame", "lost connection", "mistake"] {
        let mut device = server.device("d").await;
        let mut clients = [server.viewer("d").await, server.viewer("d").await];
        match how {
            "close frame" => device.socket.close(None).await.unwrap(),
            "mistake" => device.send_text("{").await,
            _ => drop(device),
        }
        for client in &mut clients {
            refused(client, "Device disconnected").await;
        }
    }
}

#[tokio::test]
async fn the_device_hears_at_once_that_a_client_left_however_it_left() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut stays = server.viewer("d").await;
    for (number, how) in [
        (2, "close frame"),
        (3, "lost connection"),
        (4, "mistake"),
        (5, "spoke before"),
    ] {
        let mut client = server.viewer("d").await;
        match how {
            "close frame" => client.socket.close(None).await.unwrap(),
            "mistake" => client.send_text("{").await,
            "spoke before" => {
                client.forward(&json!(1)).await;
                device.expect(client_msg(number, &json!(1))).await;
                drop(client);
            }
            _ => drop(client),
        }
        device.expect(client_disconnected(number)).await;
    }
    nothing_came(&mut device).await;
    nothing_came(&mut stays).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    for (number, (text, error)) in (1..).zip(NO_MESSAGES) {
        let mut fresh = server.ws("/connect_client").await;
        fresh.send_text(text).await;
        refused(&mut fresh, error).await;
        let mut connected = server.viewer("d").await;
        connected.send_text(text).await;
        refused(&mut connected, error).await;
        device.expect(client_disconnected(number)).await;
    }
}

#[tokio::test]
async fn binary_and_empty_frames_are_refused() {
    let server = Server::start(&[]).await;
    let _device = server.device("d").await;
    for bytes in [
        &b""[..],
        br#"{"message_type":"forward","payload":1}"#,
        b"\xff\x00",
    ] {
        let mut client = server.viewer("d").await;
        client.send(Message::binary(bytes.to_vec())).await;
        refused(&mut client, "Received a binary message").await;
    }
    let mut client = server.viewer("d").await;
    client.send(Message::text("")).await;
    refused(&mut client, "Received Invalid JSON").await;
}

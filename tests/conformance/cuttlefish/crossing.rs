//! Messages that cross on their way.

use async_tungstenite::tungstenite::Message;
use serde_json::json;

use super::{client_disconnected, client_msg, connect, device_msg, ends, nothing_came};
use crate::common::Server;

#[tokio::test]
async fn a_device_that_leaves_while_its_client_forwards() {
    let server = Server::start(&[]).await;
    for _ in 0..10 {
        let device = server.device("d").await;
        let mut client = server.viewer("d").await;
        for n in 0..10 {
            client.forward(&json!(n)).await;
        }
        drop(device);
        // These may find the call gone, or the connection.
        for n in 0..10 {
            let forward = json!({"message_type": "forward", "payload": n});
            let _ = client.socket.send(Message::text(forward.to_string())).await;
        }
        client.expect(json!({"error": "Device disconnected"})).await;
        ends(&mut client).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_device_forwards() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    for number in 1..=10 {
        let mut client = server.viewer("d").await;
        for n in 0..10 {
            device.forward_to(number, &json!(n)).await;
        }
        client.socket.close(None).await.unwrap();
        for n in 0..10 {
            device.forward_to(number, &json!(n)).await;
        }
        drop(client);
        // Once because it left, and once for each message that came too late; never an error.
        device.send_text(r#"{"message_type":"end of round"}"#).await;
        let mut heard = 0;
        loop {
            let message = device.recv_json().await;
            if message["error"] == "Unknown message type: end of round" {
                break;
            }
            assert_eq!(message, client_disconnected(number));
            heard += 1;
        }
        if heard == 0 {
            device.expect(client_disconnected(number)).await;
        }
        server
            .wait_for_metric(
                "switchboard_websockets{dialect=\"cuttlefish\",role=\"client\"}",
                0.0,
            )
            .await;
        device.send_text(r#"{"message_type":"end of round"}"#).await;
        while device.recv_json().await != json!({"error": "Unknown message type: end of round"}) {}
    }
}

#[tokio::test]
async fn what_a_device_said_before_it_left_arrives_before_the_end() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    for n in 0..200 {
        device.forward_to(1, &json!(n)).await;
    }
    device.socket.close(None).await.unwrap();
    for n in 0..200 {
        client.expect(device_msg(&json!(n))).await;
    }
    client.expect(json!({"error": "Device disconnected"})).await;
    ends(&mut client).await;
}

#[tokio::test]
async fn what_a_client_said_before_it_left_arrives_before_the_end() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    for n in 0..200 {
        client.forward(&json!(n)).await;
    }
    client.send_text("mistake").await;
    for n in 0..200 {
        device.expect(client_msg(1, &json!(n))).await;
    }
    device.expect(client_disconnected(1)).await;
    nothing_came(&mut device).await;
}

#[tokio::test]
async fn what_follows_a_mistake_is_not_obeyed() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    for text in ["mistake", r#"{"message_type":"forward","payload":1}"#] {
        client.send_text(text).await;
    }
    super::refused(&mut client, "Received Invalid JSON").await;
    device.expect(client_disconnected(1)).await;

    let mut other = server.ws("/register_device").await;
    other.send_text("mistake").await;
    other.register("e").await;
    super::refused(&mut other, "Received Invalid JSON").await;
    assert_eq!(server.get("/devices").await.json(), json!(["d"]));
    nothing_came(&mut device).await;
}

#[tokio::test]
async fn nobody_has_to_wait_for_answers() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    device.register("d").await;
    device.forward_to(7, &json!(0)).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    device
        .expect(json!({"error": "Forward failed: Unknown client 7"}))
        .await;

    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "d").await;
    client.forward(&json!(1)).await;
    client.forward(&json!(2)).await;
    for n in 1..=2 {
        device.expect(client_msg(1, &json!(n))).await;
    }
    for kind in ["config", "device_info"] {
        assert_eq!(client.recv_json().await["message_type"], kind);
    }
    nothing_came(&mut client).await;
}

#[tokio::test]
async fn a_device_that_comes_back_while_its_old_connection_goes_gets_its_id() {
    let server = Server::start(&[]).await;
    let mut old = server.device("d").await;
    for round in 0..200 {
        let mut new = server.ws("/register_device").await;
        if round % 2 == 0 {
            old.socket.close(None).await.unwrap();
        } else {
            drop(old);
        }
        new.register("d").await;
        let answer = new.recv_json().await;
        assert_eq!(answer["message_type"], "config", "round {round}: {answer}");
        old = new;
    }
}

//! A4: how clients are numbered.

use serde_json::{Value, json};

use super::client_msg;
use crate::common::{Client, Server};

/// The number by which the device knows a client.
async fn number_of(client: &mut Client, device: &mut Client) -> Value {
    client.forward(&json!("who am I?")).await;
    let message = device.recv_json().await;
    assert_eq!(message["message_type"], "client_msg");
    message["client_id"].clone()
}

#[tokio::test]
async fn numbers_start_at_1_for_each_device_and_are_not_reused() {
    let server = Server::start(&[]).await;
    let mut device = server.device("a").await;
    for expected in 1..=3 {
        let mut client = server.viewer("a").await;
        assert_eq!(number_of(&mut client, &mut device).await, expected);
        client.socket.close(None).await.unwrap();
        device.expect(super::client_disconnected(expected)).await;
    }
    let mut other = server.device("b").await;
    let mut client = server.viewer("b").await;
    assert_eq!(number_of(&mut client, &mut other).await, 1);
}

#[tokio::test]
async fn numbers_go_on_when_a_device_registers_again() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut first = server.viewer("d").await;
    assert_eq!(number_of(&mut first, &mut device).await, 1);
    device.socket.close(None).await.unwrap();
    first.closed().await;

    let mut device = server.device("d").await;
    let mut second = server.viewer("d").await;
    assert_eq!(number_of(&mut second, &mut device).await, 2);
    // The device may still hold the state of its earlier clients.
    device.forward_to(1, &json!("late")).await;
    device.expect(super::client_disconnected(1)).await;
}

#[tokio::test]
async fn a_client_that_was_refused_takes_no_number() {
    let server = Server::start(&[]).await;
    let mut refused = server.ws("/connect_client").await;
    super::connect(&mut refused, "d").await;
    refused.closed().await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    assert_eq!(number_of(&mut client, &mut device).await, 1);
}

#[tokio::test]
async fn websockets_of_both_kinds_and_polling_clients_share_the_numbers() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut first = server.viewer("d").await;
    let body = json!({"device_id": "d"});
    let old = server.post("/connect", &body).await.json();
    let new = server.post("/polled_connections", &body).await.json();
    let mut bare = server.ws("/devices/d/connect").await;
    assert_eq!(
        bare.recv_json().await,
        json!({"device_info": {"hardware": {}}})
    );

    assert_eq!(number_of(&mut first, &mut device).await, 1);
    let forward = json!({"connection_id": old["connection_id"], "payload": "old"});
    assert_eq!(server.post("/forward", &forward).await.status, 200);
    device.expect(client_msg(2, &json!("old"))).await;
    let id = new["connection_id"].as_str().unwrap();
    let path = format!("/polled_connections/{id}/:forward");
    let forward = json!({"payload": "new"});
    assert_eq!(server.post(&path, &forward).await.status, 200);
    device.expect(client_msg(3, &json!("new"))).await;
    bare.send_json(&json!({"n": 4})).await;
    device.expect(client_msg(4, &json!({"n": 4}))).await;
}

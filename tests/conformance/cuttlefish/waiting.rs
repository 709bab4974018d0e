//! `--wait-for-device`: clients that came before their device (the document's last paragraph).

use serde_json::json;

use super::{client_msg, connect, device_msg, ends, nothing_came, refused};
use crate::common::{Client, Server};

async fn waiting(server: &Server, id: &str) -> Client {
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, id).await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    nothing_came(&mut client).await;
    client
}

#[tokio::test]
async fn waiting_clients_are_connected_in_their_order_and_only_to_their_device() {
    let server = Server::start(&["--wait-for-device"]).await;
    let mut first = waiting(&server, "d").await;
    let mut second = waiting(&server, "d").await;
    let mut other = waiting(&server, "another").await;

    let mut device = server.device("d").await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.recv_json().await["message_type"], "device_info");
    }
    second.forward(&json!("second")).await;
    device.expect(client_msg(2, &json!("second"))).await;
    first.forward(&json!("first")).await;
    device.expect(client_msg(1, &json!("first"))).await;
    device.forward_to(2, &json!("to second")).await;
    second.expect(device_msg(&json!("to second"))).await;
    nothing_came(&mut first).await;
    nothing_came(&mut other).await;
}

#[tokio::test]
async fn a_client_that_gave_up_waiting_is_never_connected() {
    let server = Server::start(&["--wait-for-device"]).await;
    let mut gone = waiting(&server, "d").await;
    let mut stays = waiting(&server, "d").await;
    gone.socket.close(None).await.unwrap();
    server
        .wait_for_metric("switchboard_waiting_calls", 1.0)
        .await;
    let mut device = server.device("d").await;
    assert_eq!(stays.recv_json().await["message_type"], "device_info");
    stays.forward(&json!(1)).await;
    device.expect(client_msg(1, &json!(1))).await;
}

#[tokio::test]
async fn waiting_is_for_absent_devices_only_and_not_for_ones_that_leave() {
    let server = Server::start(&["--wait-for-device"]).await;
    let device = server.device("d").await;
    let mut client = server.viewer("d").await;
    drop(device);
    client.expect(json!({"error": "Device disconnected"})).await;
    ends(&mut client).await;
}

#[tokio::test]
async fn a_waiting_client_can_neither_forward_nor_connect_again() {
    let server = Server::start(&["--wait-for-device"]).await;
    let mut client = waiting(&server, "d").await;
    client.forward(&json!(1)).await;
    refused(
        &mut client,
        "Forward failed: No device associated to client",
    )
    .await;

    let mut client = waiting(&server, "d").await;
    connect(&mut client, "e").await;
    let error = "Attempt to connect to multiple devices over same websocket";
    refused(&mut client, error).await;
}

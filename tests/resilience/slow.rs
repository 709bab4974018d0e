//! Who takes its messages too slowly loses its own connection, and delays nobody.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::common::{Client, Server, frame, raw_ws, read_frame};

const LIMITS: &str = "[limits]\nqueue_messages = 50\nqueue_bytes = 200_000\nwrite = 1.0";

#[tokio::test]
async fn a_slow_reader_is_closed_with_1013_its_partner_is_told_and_others_go_on() {
    let server = Server::configured(LIMITS, &[]).await;
    let mut device = server.device("d").await;
    let mut stuck = server.viewer("d").await;
    let mut other = server.viewer("d").await;

    let big = json!({"pad": "x".repeat(100_000)});
    let told = json!({"message_type": "client_disconnected", "client_id": 1});
    let mut sent = 0;
    loop {
        assert!(sent < 1_000, "the queue is bounded");
        sent += 1;
        device.forward_to(1, &big).await;
        // Another call goes on at the same time: its answer comes, whatever waits for the stuck one.
        other.forward(&json!({"n": sent})).await;
        let mut message = device.recv_json().await;
        let mut is_told = false;
        // Once when it is thrown out, and again for each message to it that comes too late.
        while message == told {
            is_told = true;
            message = device.recv_json().await;
        }
        let echoed = json!({"message_type": "client_msg", "client_id": 2, "payload": {"n": sent}});
        assert_eq!(message, echoed);
        device.forward_to(2, &json!({"n": sent})).await;
        other
            .expect(json!({"message_type": "device_msg", "payload": {"n": sent}}))
            .await;
        if is_told {
            break;
        }
    }
    let overflows = server.metric("switchboard_queue_overflows_total").await;
    assert!(overflows >= 1.0);
    // It reads again, in time: what was on its way, then the reason.
    assert_eq!(stuck.closed().await.0, 1013);
}

/// A queue that a few messages fill, for a device that takes its time.
const SMALL_QUEUE: &str = "[limits]\nqueue_messages = 50\nqueue_bytes = 200_000\n\
    write = 60\ndevice_ping_after = 60";
const FLOODING: &str = "switchboard_flooding_callers_total";

/// What a device gets until this client has left: what the other ones say.
async fn said_until_gone(device: &mut Client, gone: u32) -> Vec<Value> {
    let left = json!({"message_type": "client_disconnected", "client_id": gone});
    let mut others = Vec::new();
    loop {
        let message = device.recv_json().await;
        if message == left {
            return others;
        }
        assert_eq!(message["message_type"], "client_msg");
        if message["client_id"] != gone {
            others.push(message["payload"].clone());
        }
    }
}

/// The device is there, and its first client's call goes on.
async fn goes_on(server: &Server, device: &mut Client, quiet: &mut Client) {
    assert_eq!(server.get("/devices").await.json(), json!(["d"]));
    quiet.forward(&json!("after")).await;
    device
        .expect(json!({"message_type": "client_msg", "client_id": 1, "payload": "after"}))
        .await;
    device.forward_to(1, &json!("well")).await;
    quiet
        .expect(json!({"message_type": "device_msg", "payload": "well"}))
        .await;
    let overflows = server.metric("switchboard_queue_overflows_total").await;
    assert_eq!(overflows, 0.0);
}

#[tokio::test]
async fn who_floods_a_slow_device_that_others_call_is_closed_and_the_device_stays() {
    let server = Server::configured(SMALL_QUEUE, &[]).await;
    let mut device = server.device("d").await;
    let mut quiet = server.viewer("d").await;
    let mut flooder = server.viewer("d").await;
    quiet.forward(&json!("before")).await;
    let big = json!({"pad": "x".repeat(100_000)});
    while server.metric(FLOODING).await < 1.0 {
        flooder.forward(&big).await;
    }
    quiet.forward(&json!("meanwhile")).await;
    let (code, reason) = flooder.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1013, "more than the other side takes")
    );
    let mut said = said_until_gone(&mut device, 2).await;
    while said.len() < 2 {
        said.push(device.recv_json().await["payload"].clone());
    }
    assert_eq!(said, [json!("before"), json!("meanwhile")]);
    goes_on(&server, &mut device, &mut quiet).await;
    assert_eq!(server.metric(FLOODING).await, 1.0);
}

#[tokio::test]
async fn who_leaves_after_a_flood_closes_nobody_and_a_poller_is_ended_too() {
    let server = Server::configured(SMALL_QUEUE, &[]).await;
    let mut device = server.device("d").await;
    let mut quiet = server.viewer("d").await;
    let call = json!({"device_id": "d"});
    let poller = server.post("/connect", &call).await.json();
    let pad = "x".repeat(100_000);
    let flood = json!({"connection_id": poller["connection_id"], "payload": pad});
    while server.post("/forward", &flood).await.status == 200 {}
    assert_eq!(server.metric(FLOODING).await, 1.0);
    let gone = server.post("/poll_messages", &flood).await;
    assert_eq!((gone.status, &gone.json()["type"]), (401, &json!("error")));

    // Another one fills the queue to the brim, in which stands that the poller left, and leaves, too:
    // there is no room to tell of that.
    let mut flooder = server.viewer("d").await;
    let queued = "switchboard_relayed_messages_total{direction=\"to_endpoint\"}";
    let before = server.metric(queued).await;
    for _ in 0..49 {
        flooder.forward(&json!(0)).await;
    }
    server.wait_for_metric(queued, before + 49.0).await;
    drop(flooder);
    let clients = "switchboard_websockets{dialect=\"cuttlefish\",role=\"client\"}";
    server.wait_for_metric(clients, 1.0).await;
    for gone in [2, 3] {
        assert!(said_until_gone(&mut device, gone).await.is_empty());
    }
    goes_on(&server, &mut device, &mut quiet).await;
    assert_eq!(
        server.metric(FLOODING).await,
        1.0,
        "who has left isn't closed"
    );
}

#[tokio::test]
async fn a_reader_that_never_reads_again_is_cut_off() {
    let server = Server::configured(LIMITS, &[]).await;
    let mut device = server.device("d").await;
    let _stuck = server.viewer("d").await;
    let clients = "switchboard_websockets{dialect=\"cuttlefish\",role=\"client\"}";
    server.wait_for_metric(clients, 1.0).await;

    let big = json!({"pad": "x".repeat(100_000)});
    while server.metric("switchboard_queue_overflows_total").await < 1.0 {
        device.forward_to(1, &big).await;
    }
    server.wait_for_metric(clients, 0.0).await;
}

#[tokio::test]
async fn who_asks_without_reading_the_answers_is_cut_off() {
    let server = Server::configured(LIMITS, &[]).await;
    let mut flood = raw_ws(&server, "/connect_client").await;
    let name = "x".repeat(100);
    let unknown = frame(0x81, format!(r#"{{"message_type":"{name}"}}"#).as_bytes());
    // Ends by a failure to write, when the server has hung up.
    let batch = unknown.repeat(1_000);
    while flood.write_all(&batch).await.is_ok() {}
    assert!(server.metric("switchboard_queue_overflows_total").await >= 1.0);
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn two_that_write_before_they_read_do_not_block_each_other() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    let big = json!({"pad": "x".repeat(50_000)});
    for _ in 0..15 {
        device.forward_to(1, &big).await;
        viewer.forward(&big).await;
    }
    for _ in 0..15 {
        assert_eq!(device.recv_json().await["payload"], big);
        assert_eq!(viewer.recv_json().await["payload"], big);
    }
}

#[tokio::test]
async fn messages_keep_their_order() {
    let server = Server::start(&[]).await;
    let mut tcp = raw_ws(&server, "/register_device").await;
    tcp.write_all(&frame(
        0x81,
        br#"{"message_type":"register","device_id":"d"}"#,
    ))
    .await
    .unwrap();
    read_frame(&mut tcp).await;
    let mut viewer = server.viewer("d").await;
    // One write with many frames, so that the server batches them.
    let burst: Vec<u8> = (0..500)
        .flat_map(|n| {
            let text = format!(r#"{{"message_type":"forward","client_id":1,"payload":{n}}}"#);
            frame(0x81, text.as_bytes())
        })
        .collect();
    tcp.write_all(&burst).await.unwrap();
    for n in 0..500 {
        viewer
            .expect(json!({"message_type": "device_msg", "payload": n}))
            .await;
    }
}

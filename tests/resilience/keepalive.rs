//! Who lives, and who doesn't.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::common::{PATIENCE, Server, frame, raw_ws, read_frame, wait_until};

const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;
const REGISTER: &[u8] = br#"{"message_type":"register","device_id":"d"}"#;

#[tokio::test]
async fn a_device_that_answers_no_ping_is_closed_with_1011_and_its_clients_hear() {
    let limits = "[limits]\ndevice_ping_after = 0.3\ndevice_ping_timeout = 1.5";
    let server = Server::configured(limits, &[]).await;
    let mut dead = raw_ws(&server, "/register_device").await;
    dead.write_all(&frame(0x81, REGISTER)).await.unwrap();
    read_frame(&mut dead).await;
    let mut viewer = server.viewer("d").await;

    assert_eq!(read_frame(&mut dead).await, (PING, vec![]));
    let (first, payload) = read_frame(&mut dead).await;
    assert_eq!((first, &payload[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    viewer.expect(json!({"error": "Device disconnected"})).await;
    assert_eq!(viewer.closed().await.0, 1000);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_with_1011_and_its_device_hears() {
    let server = Server::configured("[limits]\nping_after = 0.3\nping_timeout = 0.5", &[]).await;
    let mut device = server.device("d").await;
    let mut dead = raw_ws(&server, "/devices/d/connect").await;
    let mut seen = Vec::new();
    while seen.last() != Some(&CLOSE) {
        seen.push(read_frame(&mut dead).await.0);
    }
    assert!(seen.contains(&PING), "{seen:?}");
    device
        .expect(json!({"message_type": "client_disconnected", "client_id": 1}))
        .await;
}

#[tokio::test]
async fn whoever_answers_pings_stays() {
    let limits = "[limits]\ndevice_ping_after = 0.05\ndevice_ping_timeout = 20";
    let server = Server::configured(limits, &[]).await;
    let mut tcp = raw_ws(&server, "/register_device").await;
    tcp.write_all(&frame(0x81, REGISTER)).await.unwrap();
    read_frame(&mut tcp).await;
    for _ in 0..5 {
        assert_eq!(read_frame(&mut tcp).await, (PING, vec![]));
        tcp.write_all(&frame(0x8A, b"")).await.unwrap();
    }
}

#[tokio::test]
async fn the_id_of_a_dead_holder_is_free_after_a_probe() {
    let server = Server::configured("[limits]\nprobe = 0.5\ndevice_ping_after = 100", &[]).await;
    let mut dead = raw_ws(&server, "/register_device").await;
    dead.write_all(&frame(0x81, REGISTER)).await.unwrap();
    read_frame(&mut dead).await;

    // As real devices do: again and again. The first tries may come while the holder was just heard.
    wait_until(PATIENCE, async || {
        let mut device = server.ws("/register_device").await;
        device.register("d").await;
        device.recv_json().await["message_type"] == "config"
    })
    .await;
    let mut last = read_frame(&mut dead).await;
    while last.0 == PING {
        last = read_frame(&mut dead).await;
    }
    assert_eq!((last.0, &last.1[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_live_holder_keeps_its_id() {
    let server = Server::configured("[limits]\nprobe = 10\ndevice_ping_after = 100", &[]).await;
    let mut holder = server.device("d").await;
    let refused = async {
        let mut other = server.ws("/register_device").await;
        // Longer than a holder counts as just heard, so that it is really asked.
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        other.register("d").await;
        let error = other.recv_json().await;
        assert!(
            error["error"].as_str().unwrap().contains("taken"),
            "{error}"
        );
        assert_eq!(other.closed().await.0, 1000);
    };
    // The holder's library answers pings while it reads.
    tokio::select! {
        () = refused => {}
        message = holder.recv_json() => panic!("{message}"),
    }
    let _viewer = server.viewer("d").await;
}

#[tokio::test]
async fn a_ping_is_answered() {
    let server = Server::start(&[]).await;
    let mut tcp = raw_ws(&server, "/connect_client").await;
    tcp.write_all(&frame(0x89, b"abc")).await.unwrap();
    assert_eq!(read_frame(&mut tcp).await, (0x8A, b"abc".to_vec()));
}

//! A1 to A3: payloads arrive as they were sent.

use async_tungstenite::tungstenite::Message;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{client_msg, device_msg, field, nothing_came};
use crate::common::{Client, Server, frame, raw_ws, read_frame};

/// Payloads that a server would spoil by reading and printing them.
const PAYLOADS: &[&str] = &[
    "null",
    "true",
    "\"\"",
    "0",
    "-0",
    "1.0",
    "1E+2",
    "1e400",
    "12345678901234567890",
    "123456789012345678901234567890.123456789",
    "{ }",
    "[\t1 ,\n 2\r\n]",
    r#"{"a":1,"a":2,"a":{"a":3,"a":4}}"#,
    r#""\u0041\/\"\\\b\f\n\r\t\ud83d\ude00\u0000""#,
    r#""\ud800 alone""#,
    "\"ä € \u{1F600} \u{2028}\u{7f}\"",
    r#"{"z":1,"b":2,"a":3,"":4,"payload":5,"client_id":6}"#,
    r#"{"message_type":"register","device_id":"d","device_info":{}}"#,
    r#"{"message_type":"client_disconnected","client_id":1}"#,
    r#"{"error":"no"}"#,
    r#""{\"message_type\":\"forward\"}""#,
    r#"{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}"#,
];

/// Sends a payload each way, and looks at what arrives.
async fn relayed_verbatim(device: &mut Client, client: &mut Client, payload: &str) {
    client
        .send_text(&format!(
            "{{\"payload\": {payload}\n,\"message_type\":\"forward\"}}"
        ))
        .await;
    let message = device.recv_text().await;
    assert_eq!(field(&message, "message_type"), "\"client_msg\"");
    assert_eq!(field(&message, "client_id"), "1");
    assert!(field(&message, "payload") == payload, "{payload:.100}");
    device
        .send_text(&format!(
            r#"{{"message_type":"forward","payload":{payload} ,"client_id":1}}"#
        ))
        .await;
    let message = client.recv_text().await;
    assert_eq!(field(&message, "message_type"), "\"device_msg\"");
    assert!(field(&message, "payload") == payload, "{payload:.100}");
}

#[tokio::test]
async fn payloads_are_relayed_verbatim_both_ways() {
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    for payload in PAYLOADS {
        relayed_verbatim(&mut device, &mut client, payload).await;
    }
    nothing_came(&mut device).await;
    nothing_came(&mut client).await;
    assert_eq!(server.get("/devices").await.json(), json!(["d"]));
}

#[tokio::test]
async fn deep_payloads_are_relayed_verbatim_both_ways() {
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    for depth in [127, 128, 500, 100_000] {
        let arrays = "[".repeat(depth) + &"]".repeat(depth);
        relayed_verbatim(&mut device, &mut client, &arrays).await;
        let objects = r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        relayed_verbatim(&mut device, &mut client, &objects).await;
    }
}

#[tokio::test]
async fn large_payloads_are_relayed_verbatim_both_ways() {
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    for (piece, times) in [("x", 65_536), ("ä€\\n", 128_570), ("0123456789", 100_000)] {
        let payload = format!("\"{}\"", piece.repeat(times));
        relayed_verbatim(&mut device, &mut client, &payload).await;
    }
}

#[tokio::test]
async fn many_large_payloads_in_a_row_reach_a_client_that_reads() {
    const COUNT: usize = 30;
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    let pad = "x".repeat(900_000);
    let message = |n: usize| {
        let payload = format!("[{n},\"{pad}\"]");
        format!(r#"{{"message_type":"forward","client_id":1,"payload":{payload}}}"#)
    };
    let send = async |side: &mut Client| {
        for n in 0..COUNT {
            side.send_text(&message(n)).await;
        }
    };
    let receive = async |side: &mut Client| {
        for n in 0..COUNT {
            let text = side.recv_text().await;
            assert!(
                field(&text, "payload").starts_with(&format!("[{n},")),
                "{n}"
            );
            assert!(text.len() > pad.len());
        }
    };
    tokio::join!(send(&mut device), receive(&mut client));
    tokio::join!(send(&mut client), receive(&mut device));
}

#[tokio::test]
async fn fragmented_messages_are_put_together() {
    let server = Server::start(&[]).await;
    let mut client = raw_ws(&server, "/connect_client").await;
    let mut device = server.device("d").await;
    // Cut within a word, within a character, and with pings and empty fragments in between.
    let connect = br#"{"message_type":"connect","device_id":"d"}"#;
    client.write_all(&frame(0x01, &connect[..9])).await.unwrap();
    client.write_all(&frame(0x89, b"between")).await.unwrap();
    client.write_all(&frame(0x00, b"")).await.unwrap();
    client.write_all(&frame(0x80, &connect[9..])).await.unwrap();
    assert_eq!(read_frame(&mut client).await, (0x8A, b"between".to_vec()));
    for _ in ["config", "device_info"] {
        assert_eq!(read_frame(&mut client).await.0, 0x81);
    }
    let payload = format!("\"{}\"", "€".repeat(300_000));
    let forward = format!(r#"{{"message_type":"forward","payload":{payload}}}"#);
    let mut pieces = forward.as_bytes().chunks(100_000).peekable();
    let mut first_byte = 0x01;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { 0x80 } else { 0 };
        client
            .write_all(&frame(first_byte | last, piece))
            .await
            .unwrap();
        first_byte = 0x00;
    }
    assert!(field(&device.recv_text().await, "payload") == payload);
}

#[tokio::test]
async fn of_a_repeated_field_the_last_one_counts() {
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    client
        .send_text(r#"{"message_type":"connect","payload":1,"message_type":"forward","payload":2}"#)
        .await;
    device.expect(client_msg(1, &json!(2))).await;
    device
        .send_text(r#"{"client_id":9,"message_type":"forward","payload":3,"client_id":1}"#)
        .await;
    client.expect(device_msg(&json!(3))).await;
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    const COUNT: usize = 20_000;
    let server = Server::start(&[]).await;
    let (mut device, mut client) = (server.device("d").await, server.viewer("d").await);
    let send = async |side: &mut Client| {
        for n in 0..COUNT {
            let text = format!(r#"{{"message_type":"forward","client_id":1,"payload":{n}}}"#);
            side.send(Message::text(text)).await;
        }
    };
    let receive = async |side: &mut Client| {
        for n in 0..COUNT {
            assert_eq!(field(&side.recv_text().await, "payload"), n.to_string());
        }
    };
    tokio::join!(send(&mut device), receive(&mut client));
    tokio::join!(send(&mut client), receive(&mut device));
}

#[tokio::test]
async fn a_burst_reaches_a_client_that_reads_although_both_share_one_core() {
    const COUNT: usize = 5_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("switchboard.toml");
    // Far less than the burst.
    std::fs::write(&file, "[limits]\nqueue_messages = 256").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .env("TOKIO_WORKER_THREADS", "1");
    let server = Server::spawn(command, Some(directory), 1).await;
    let mut device = raw_ws(&server, "/register_device").await;
    let register = br#"{"message_type":"register","device_id":"d","device_info":{}}"#;
    device.write_all(&frame(0x81, register)).await.unwrap();
    read_frame(&mut device).await;
    let mut client = server.viewer("d").await;
    let burst: Vec<u8> = (0..COUNT)
        .flat_map(|n| {
            let text = format!(r#"{{"message_type":"forward","client_id":1,"payload":{n}}}"#);
            frame(0x81, text.as_bytes())
        })
        .collect();
    let receive = async {
        for n in 0..COUNT {
            client.expect(device_msg(&json!(n))).await;
        }
    };
    let (written, ()) = tokio::join!(device.write_all(&burst), receive);
    written.unwrap();
}

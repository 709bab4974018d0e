//! Who stops reading loses its own connection; nobody else notices.

use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::{Peer, close};
use crate::common::{Server, frame, raw_ws, read_frame};

const LIMITS: &str = "[limits]\nqueue_messages = 200\nqueue_bytes = 100_000\nwrite = 2.0";

#[tokio::test]
async fn a_partner_that_stops_reading_is_dropped_and_the_sender_is_closed_with_1000() {
    let server = Server::configured(LIMITS, &[]).await;
    let mut stuck = raw_ws(&server, "/").await;
    stuck.write_all(&frame(0x81, b"HELLO stuck")).await.unwrap();
    read_frame(&mut stuck).await;
    let mut sender = Peer::hello(&server, "sender").await;
    sender.gets("SESSION stuck", "SESSION_OK").await;
    let big = Message::text("x".repeat(50_000));
    let mut sent = 0;
    let closed = loop {
        assert!(sent < 2_000, "the queue is bounded");
        sent += 1;
        sender.0.send(big.clone()).await;
        if let Some(end) = sender.0.socket.next().now_or_never() {
            break end;
        }
    };
    match closed {
        Some(Ok(Message::Close(Some(frame)))) => {
            assert_eq!(
                (frame.code.into(), frame.reason.to_string()),
                close(1000, "")
            );
        }
        other => panic!("no close: {other:?}"),
    }
    let mut again = Peer::hello(&server, "stuck").await;
    again.hears_nothing_when_idle().await;
}

#[tokio::test]
async fn a_member_that_stops_reading_leaves_the_room_and_delays_nobody() {
    let server = Server::configured(LIMITS, &[]).await;
    let mut stuck = raw_ws(&server, "/").await;
    stuck.write_all(&frame(0x81, b"HELLO stuck")).await.unwrap();
    stuck.write_all(&frame(0x81, b"ROOM r")).await.unwrap();
    read_frame(&mut stuck).await;
    read_frame(&mut stuck).await;
    let mut a = Peer::hello(&server, "a").await;
    a.gets("ROOM r", "ROOM_OK stuck").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a stuck").await;
    a.hears("ROOM_PEER_JOINED b").await;

    let to_stuck = format!("ROOM_PEER_MSG stuck {}", "x".repeat(50_000));
    let mut worst = Duration::ZERO;
    for sent in 0.. {
        assert!(sent < 2_000, "the queue is bounded");
        a.say(&to_stuck).await;
        let start = Instant::now();
        a.say(&format!("ROOM_PEER_MSG b {sent}")).await;
        let mut line = b.line().await;
        let is_told = line == "ROOM_PEER_LEFT stuck";
        if is_told {
            line = b.line().await;
        }
        assert_eq!(line, format!("ROOM_PEER_MSG a {sent}"));
        worst = worst.max(start.elapsed());
        if is_told {
            break;
        }
    }
    // Far less than the stuck one may take; a busy machine adds its own.
    assert!(worst < Duration::from_secs(5), "{worst:?}");
    a.hears("ROOM_PEER_LEFT stuck").await;
    a.say(&to_stuck).await;
    a.hears_nothing_in_room().await;
    b.hears_nothing_in_room().await;
}

#[tokio::test]
async fn many_small_messages_to_who_does_not_read_take_little_memory() {
    let server = Server::start(&[]).await;
    let mut stuck = raw_ws(&server, "/").await;
    stuck.write_all(&frame(0x81, b"HELLO stuck")).await.unwrap();
    read_frame(&mut stuck).await;
    let mut sender = Peer::hello(&server, "sender").await;
    sender.gets("SESSION stuck", "SESSION_OK").await;
    let before = resident(server.process());
    let mut most = before;
    let message = Message::text("x".repeat(400));
    let mut sent = 0;
    while sender.0.socket.next().now_or_never().is_none() {
        assert!(sent < 1_000_000, "the queue is bounded");
        sent += 1;
        sender.0.send(message.clone()).await;
        if sent % 100 == 0 {
            most = most.max(resident(server.process()));
        }
    }
    let grown = most - before;
    assert!(grown < 4 << 20, "grown by {grown} bytes");
}

/// Bytes of memory that a process has.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<usize>().unwrap() * 1024
}

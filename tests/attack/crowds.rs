//! Very many at once: who say nothing, who are too many for one address or for the descriptors, and who
//! are gone all at once.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::common::{PATIENCE, frame, wait_until};
use crate::scene::{LEFT_BEHIND, Scene, at_most};
use crate::wire::{Way, handshake, open, reset, rest, say, tcp_from, upgrade};

/// Connections that are opened at the same time.
const AT_ONCE: usize = 200;
/// How long a crowd may take to be served here, on a machine that does much else.
const CROWD_PATIENCE: Duration = Duration::from_secs(120);

/// Opens many connections, from many addresses: each has no more ports than a crowd may want.
async fn crowd(scene: &Scene, count: usize) -> Vec<TcpStream> {
    let opening = (0..count).map(async |number| {
        let address = u8::try_from(number % 200 + 1).unwrap();
        tcp_from(address, &scene.server).await.unwrap()
    });
    stream::iter(opening)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

#[tokio::test]
async fn ten_thousand_that_say_nothing_are_all_closed_and_harm_nobody() {
    let mut scene = Scene::set("handshake = 4\nfirst_message = 4", "").await;
    let count = at_most(10_000);
    let mut first = 0;
    for number in 0..2 {
        scene.watch_memory();
        let mut silent = crowd(&scene, count).await;
        // A third of them say what makes a WebSocket, and no more.
        for tcp in silent.iter_mut().step_by(3) {
            // Its time may be over already.
            let _ = tcp.write_all(upgrade("/", "").as_bytes()).await;
        }
        scene.innocents_go_on().await;
        let closing = silent.iter_mut().map(async |tcp| {
            // A reset is as good as an end.
            let mut came = Vec::new();
            let _ = tcp.read_to_end(&mut came).await;
        });
        let closing = stream::iter(closing).buffer_unordered(count).count();
        let closed = tokio::time::timeout(CROWD_PATIENCE, closing).await;
        assert_eq!(closed, Ok(count));
        let each = scene.grown_by() / count as u64;
        // Measured: 5 KiB.
        assert!(each < 20 * 1024, "{each} bytes each");
        drop(silent);
        // Pieces of such a crowd's memory stay with the allocator, but the next crowd gets along with
        // them.
        scene.is_calm_within(64 << 20).await;
        match number {
            0 => first = scene.grown_by(),
            _ => assert!(scene.grown_by() < first + LEFT_BEHIND / 2),
        }
    }
}

#[tokio::test]
async fn an_address_gets_what_it_may_and_others_go_on() {
    // The innocent pair and this test's own questions are of another address.
    let mut scene = Scene::set("address_connections = 20\nhandshake = 3", "").await;
    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(tcp_from(7, &scene.server).await.unwrap());
    }
    let refused = "switchboard_address_refusals_total";
    scene.server.wait_for_metric(refused, 480.0).await;
    assert!(scene.usage().descriptors < 100);
    for tcp in &mut crowd {
        rest(tcp).await;
    }
    drop(crowd);
    scene.is_calm_again().await;
}

#[tokio::test]
async fn without_descriptors_it_accepts_again_as_soon_as_there_are_some() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 120; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_switchboard"));
    let mut scene = Scene::arranged("handshake = 3", "", command).await;
    let mut silent = Vec::new();
    for number in 0..300_u32 {
        let way = if number % 2 == 0 {
            Way::Plain
        } else {
            Way::Tls
        };
        silent.push(way.tcp(&scene.server).await);
    }
    wait_until(PATIENCE, async || {
        scene.server.log().contains("cannot accept connections")
    })
    .await;
    scene.innocents_go_on().await;
    // Those that were accepted are closed in time, and others get their places.
    for tcp in &mut silent {
        rest(tcp).await;
    }
    assert_eq!(scene.server.get("/health").await.body, "OK\n");
    let mut tls = handshake(Way::Tls.tcp(&scene.server).await).await.unwrap();
    open(&mut tls, "/connect_client").await;
    drop((silent, tls));
    assert!(scene.server.log().matches("cannot accept").count() < 20);
    scene.is_calm_again().await;
}

#[tokio::test]
async fn two_thousand_that_vanish_at_once_leave_nothing_behind() {
    let mut scene = Scene::set("", "").await;
    let count = at_most(2_000);
    let open = (0..count).map(async |number| member(&scene, number).await);
    let members: Vec<_> = stream::iter(open).buffer_unordered(50).collect().await;
    // All in rooms of a hundred, devices, or participants: each that goes is told to others.
    assert_eq!(members.len(), count);
    scene.watch_memory();
    for tcp in members {
        reset(tcp);
    }
    scene.innocents_go_on().await;
    for name in ["switchboard_rooms", "switchboard_kurento_sessions"] {
        wait_until(CROWD_PATIENCE, async || {
            scene.server.metric(name).await == 0.0
        })
        .await;
    }
    let endpoints = "switchboard_endpoints";
    wait_until(CROWD_PATIENCE, async || {
        scene.server.metric(endpoints).await == 1.0
    })
    .await;
    scene.is_calm_within(48 << 20).await;
}

/// One of many: in turn a member of a GStreamer room, a participant of a Kurento room, and a device.
async fn member(scene: &Scene, number: usize) -> TcpStream {
    let address = u8::try_from(number % 200 + 1).unwrap();
    let mut tcp = tcp_from(address, &scene.server).await.unwrap();
    let room = number / 300;
    let (path, said, last) = match number % 3 {
        0 => ("/", vec![format!("HELLO p{number}"), format!("ROOM r{room}")], "ROOM_OK"),
        1 => (
            "/room",
            vec![json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": {"room": format!("r{room}"), "user": format!("u{number}")}}).to_string()],
            "\"id\":1",
        ),
        _ => (
            "/register_device",
            vec![json!({"message_type": "register", "device_id": format!("d{number}")}).to_string()],
            "config",
        ),
    };
    open(&mut tcp, path).await;
    for text in said {
        say(&mut tcp, &frame(0x81, text.as_bytes())).await;
    }
    let mut came = Vec::new();
    while !String::from_utf8_lossy(&came).contains(last) {
        let mut more = [0; 4096];
        let reading = tcp.read(&mut more);
        let read = tokio::time::timeout(CROWD_PATIENCE, reading)
            .await
            .expect("an answer in time")
            .unwrap();
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&came));
        came.extend(&more[..read]);
    }
    tcp
}

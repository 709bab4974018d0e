//! Viewers that send a device what no viewer sends: it ends their session or leaves it out, and the
//! others go on seeing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::{Client, Server, wait_until};
use crate::process::{PATIENCE, Process};
use crate::watcher::Watcher;
use crate::{SMALL, memory, say};

/// What a flood may leave behind, in kB.
const MEMORY: u64 = 60_000;

async fn device(server: &Server) -> Process {
    let url = format!("ws://{}", server.address());
    // As operators have it: each message of a flood has a line of its own at debug.
    let log = ["--log", "info"];
    let device = ["device", &url, "--id", "it", "--pipeline", SMALL];
    let device = Process::start(&[&log[..], &device[..]].concat());
    device.logged("registered").await;
    device
}

/// This one still sees.
async fn goes_on(watcher: &mut Watcher) {
    let frames = watcher.eyes.frames();
    watcher
        .until("more pictures", |seen| {
            seen.pictures.values().any(|it| it.frames > frames + 10)
        })
        .await;
}

/// A viewer with an offer.
async fn offered(server: &Server) -> (Client, String) {
    let mut viewer = server.viewer("it").await;
    viewer.forward(&json!({"type": "request-offer"})).await;
    loop {
        let message = viewer.recv_json().await;
        if let Some(sdp) = message["payload"]["sdp"].as_str() {
            return (viewer, sdp.to_owned());
        }
    }
}

/// Waits until the device tells this viewer of an error.
async fn told(viewer: &mut Client) -> String {
    let error = async {
        loop {
            let message = viewer.recv_json().await;
            if let Some(error) = message["payload"]["error"].as_str() {
                return error.to_owned();
            }
        }
    };
    timeout(PATIENCE, error).await.expect("an error in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_a_negotiation_costs_its_sender_only() {
    let server = Server::start(&[]).await;
    let device = device(&server).await;
    let mut watcher = Watcher::start(server.address(), "it", &[]).await;
    let before = memory(device.id());
    let lines = |line: &str| line.repeat(100);
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let (_, offer) = offered(&server).await;
    let answer = offer
        .replace("actpass", "active")
        .replace("sendonly", "recvonly");
    let nonsense = [
        json!({"type": "answer", "sdp": ""}),
        json!({"type": "answer", "sdp": head}),
        json!({"type": "answer", "sdp": answer.repeat(20)}),
        json!({"type": "answer", "sdp": format!("{head}{}", lines("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"))}),
        json!({"type": "answer", "sdp": "a=".repeat(100_000)}),
        json!({"type": "offer", "sdp": offer.replacen("m=video", "m=audio", 1)}),
        json!({"type": "offer", "sdp": format!("{offer}{}", lines("m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"))}),
        json!({"type": "answer"}),
        json!(null),
    ];
    for message in nonsense {
        let (mut viewer, _) = offered(&server).await;
        viewer.forward(&message).await;
        let error = told(&mut viewer).await;
        let kind = message["type"].as_str().unwrap_or_default();
        say(&format!(
            "{kind} of {} bytes: {error}",
            message.to_string().len()
        ));
    }
    // Candidates, of which none leads anywhere.
    let (mut viewer, _) = offered(&server).await;
    let candidate = |n: u32| {
        let text = format!(
            "candidate:{n} 1 udp 1 192.0.2.{} {} typ host",
            n % 250,
            1024 + n % 60_000
        );
        json!({"type": "ice-candidate", "candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}})
    };
    for n in 0..5_000 {
        viewer.forward(&candidate(n)).await;
        viewer.forward(&json!(n)).await;
    }
    goes_on(&mut watcher).await;
    let mut late = Watcher::start(server.address(), "it", &[]).await;
    goes_on(&mut late).await;
    let grown = memory(device.id()).saturating_sub(before);
    let lines = device.log().lines().count();
    say(&format!("nonsense: {grown} kB, {lines} lines of log"));
    assert!(
        grown < MEMORY && lines < 200,
        "{grown} kB: {}",
        device.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_a_data_channel_leaves_the_others_their_pictures() {
    let server = Server::start(&[]).await;
    let device = device(&server).await;
    let mut watcher = Watcher::start(server.address(), "it", &[]).await;
    let channels = ["input-channel", "bluetooth-channel"];
    let mut flooder = Watcher::start(server.address(), "it", &channels).await;
    flooder.opened("input-channel").await;
    let before = memory(device.id());
    let mut sent = 0;
    let large = Value::String("x".repeat(60_000)).to_string();
    // As much as goes: the flooder's own session makes it wait.
    let flood = async {
        loop {
            for text in ["", "{}", "no json", &large] {
                flooder.text("input-channel", text).await;
                flooder.text("bluetooth-channel", text).await;
                sent += 2;
            }
        }
    };
    let _: Result<std::convert::Infallible, _> = timeout(Duration::from_secs(3), flood).await;
    goes_on(&mut watcher).await;
    let grown = memory(device.id()).saturating_sub(before);
    let lines = device.log().lines().count();
    say(&format!(
        "{sent} messages: {grown} kB, {lines} lines of log"
    ));
    assert!(
        grown < MEMORY && lines < 200,
        "{grown} kB: {}",
        device.log()
    );
    // It leaves, or is put out because it sends more than is taken; then its session is gone.
    drop(flooder);
    wait_until(3 * PATIENCE, async || {
        let log = device.log();
        log.contains("viewer left") || log.contains("session ended")
    })
    .await;
}

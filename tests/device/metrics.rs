//! What a device tells Prometheus while it plays.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::process::PATIENCE;
use crate::watcher::Watcher;
use crate::{device, server};

/// Asks once, as a scraper does.
async fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text
}

/// The value of a line; 0 if it isn't there.
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_counts_its_sessions_frames_and_their_age() {
    let (_server, address) = server("127.0.0.1:0").await;
    let device = device(&address, &["--metrics", "0"]).await;
    device.logged("metrics at http://").await;
    let log = device.log();
    let place = log.split("metrics at http://").nth(1).unwrap();
    let place = place.split("/metrics").next().unwrap();
    let watcher = Watcher::start(&address, "it", &[]).await;
    let frames = "switchboard_peer_sent_frames_total{kind=\"video\"}";
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let text = scrape(place).await;
        if value(&text, frames) > 0.0 {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(200)).await;
    };
    for name in [
        "switchboard_peer_sessions",
        "switchboard_peer_sessions_connected_total",
        "switchboard_peer_phase_seconds_count{phase=\"checks\"}",
        "switchboard_peer_phase_seconds_count{phase=\"dtls\"}",
        "switchboard_peer_phase_seconds_count{phase=\"first_sent\"}",
        "switchboard_peer_receive_latency_seconds",
    ] {
        assert!(value(&text, name) > 0.0, "{name} in {text}");
    }
    let aged = value(
        &text,
        "switchboard_peer_frame_age_seconds_count{kind=\"video\"}",
    );
    assert!(aged >= value(&text, frames), "{text}");
    drop(watcher);
    while value(&scrape(place).await, "switchboard_peer_sessions") > 0.0 {
        assert!(Instant::now() < deadline, "the session is still counted");
        sleep(Duration::from_millis(100)).await;
    }
}

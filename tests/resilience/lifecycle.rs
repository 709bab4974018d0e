//! Start and end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::{PATIENCE, Server, raw_ws, wait_until};

#[tokio::test]
async fn sigterm_closes_sockets_with_1001_and_ends_with_success() {
    let mut server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    let mut stream = server.tcp().await;
    stream
        .write_all(b"GET /api/endpoints/stream HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();

    let begun = Instant::now();
    let (status, at_device, at_viewer) =
        tokio::join!(server.terminate(), device.closed(), viewer.closed());
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((at_device.0, at_viewer.0), (1001, 1001));
}

/// Asks the server to end, and waits until it drains.
async fn drain(server: &Server) {
    server.ask_to_end();
    wait_until(PATIENCE, async || server.get("/ready").await.status == 503).await;
}

#[tokio::test]
async fn a_drain_lets_a_call_end_and_takes_nobody_new() {
    let mut server = Server::start(&["--drain", "60"]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    drain(&server).await;

    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let refused = server.request("GET", "/connect_client", upgrade, "").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    let asked = json!({"device_id": "d"});
    let polling = server.post("/polled_connections", &asked).await;
    assert_eq!(polling.status, 503);
    assert_eq!(server.get("/health").await.body, "OK\n");
    viewer.forward(&json!({"still": "here"})).await;
    let heard = device.recv_json().await;
    assert_eq!(heard["payload"]["still"], "here", "{heard}");

    drop(viewer);
    let (status, at_device) = tokio::join!(server.ended(), device.closed());
    assert!(status.success(), "{status}");
    assert_eq!(at_device.0, 1001);
}

#[tokio::test]
async fn a_drain_ends_in_time_or_at_the_second_signal() {
    for (seconds, again) in [("0.2", false), ("60", true)] {
        let mut server = Server::start(&["--drain", seconds]).await;
        let mut device = server.device("d").await;
        let mut viewer = server.viewer("d").await;
        if again {
            drain(&server).await;
        }
        let begun = Instant::now();
        let (status, at_device, at_viewer) =
            tokio::join!(server.terminate(), device.closed(), viewer.closed());
        assert!(status.success(), "{status}");
        assert_eq!((at_device.0, at_viewer.0), (1001, 1001));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_client_that_ignores_the_goodbye_does_not_hold_the_server() {
    let mut server = Server::configured("[limits]\nshutdown = 0.5", &[]).await;
    let _deaf = raw_ws(&server, "/connect_client").await;
    let _half = server.tcp().await;
    let begun = Instant::now();
    assert!(server.terminate().await.success());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Server::start(&[]).await;
    let (status, text) = fails(&["--listen", server.address()]).await;
    assert_eq!(status, Some(2), "{text}");
    assert!(
        text.contains(server.address()) && text.contains("in use"),
        "{text}"
    );
}

#[tokio::test]
async fn missing_assets_are_named() {
    let (status, text) = fails(&["--listen", "127.0.0.1:0", "--assets", "/does/not/exist"]).await;
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("/does/not/exist"), "{text}");
}

#[tokio::test]
async fn the_next_server_takes_the_port_at_once() {
    let mut first = Server::start(&[]).await;
    let address = first.address().to_owned();
    let _device = first.device("d").await;
    first.terminate().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", &address]);
    let second = Server::spawn(command, None, 1).await;
    assert_eq!(second.get("/devices").await.json(), json!([]));
}

/// Runs a server that can't start: its exit code, and what it says.
pub(crate) async fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .arg("serve")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .expect("an end in time")
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

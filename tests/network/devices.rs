//! A device and its viewer.

use switchboard::config::IceServer;
use switchboard::peer::ice::Ice;

use crate::lab::Host;
use crate::process::Process;
use crate::scenes::{PUBLIC, SMALL, Town, serve};
use crate::watcher::Watcher;

const STUN: &str = "stun:203.0.113.1";
/// Set in a process that is a viewer.
const VIEWER: &str = "SWITCHBOARD_TEST_VIEWER";

/// The tests' own viewer, as a process on a host: this program again, with one test.
fn viewer(host: &Host) -> Process {
    let mut command = host.command(std::env::current_exe().unwrap());
    command.args(["--exact", "devices::one_process_is_a_viewer", "--nocapture"]);
    command.env(VIEWER, format!("{PUBLIC}:8080"));
    Process::spawn(command.into())
}

#[allow(clippy::print_stderr, reason = "its log is read")]
#[tokio::test(flavor = "multi_thread")]
async fn one_process_is_a_viewer() {
    // By itself it is none, and has nothing to show.
    let Ok(server) = std::env::var(VIEWER) else {
        return;
    };
    let ice = Ice::new(vec![IceServer::bare(STUN)], false);
    let mut watcher = Watcher::begin(&server, "camera", ice, &[]).await;
    watcher.sees().await;
    let (ours, theirs) = watcher.path().await;
    eprintln!("sees it from {ours} to {theirs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_behind_a_nat_is_seen_from_behind_another_one() {
    let Some(town) = Town::new() else { return };
    let _turn = town.turn().await;
    let _server = serve(&town.internet, PUBLIC, None).await;
    let url = format!("ws://{PUBLIC}:8080");
    let common = ["device", &url, "--id", "camera", "--ice-server", STUN];
    let [first, second] = &town.homes;
    let device = first
        .host
        .switchboard(&[&common[..], &["--pipeline", SMALL]].concat());
    device.logged("registered").await;
    let mut viewer = viewer(&second.host);
    assert_eq!(viewer.exit().await.code(), Some(0));
    let log = viewer.log();
    assert!(log.contains("sees it from "), "{log}");
    assert!(!log.contains("relay") && !log.contains("to host"), "{log}");
}

//! The built `switchboard room` in rooms of the built server: what is seen and heard.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/badlink.rs"]
mod badlink;
#[path = "../common/file.rs"]
mod file;
#[path = "../common/peers.rs"]
mod peers;
#[path = "../common/process.rs"]
mod process;

mod bottleneck;
mod losses;
mod media;
mod proxy;

use process::Process;

/// A small picture, because several are encoded and sent at once.
const SMALL: &str = "test width=160 height=120 fps=10 wave=sine";

/// Starts `switchboard room` in one room.
fn start(server: &str, user: &str, arguments: &[&str]) -> Process {
    let url = format!("ws://{server}");
    let common = ["room", &url, "--user", user, "--room", "r"];
    Process::start(&[&common, arguments].concat())
}

/// The same, and waits until it is in the room.
async fn join(server: &str, user: &str, arguments: &[&str]) -> Process {
    let participant = start(server, user, arguments);
    participant.logged("joined the room").await;
    participant
}

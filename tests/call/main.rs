//! The built `switchboard call` and `switchboard mesh` at the built server.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/file.rs"]
mod file;
#[path = "../common/peers.rs"]
mod peers;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/turn.rs"]
mod turn;
#[path = "../common/viewer.rs"]
mod viewer;

mod calls;
mod guest;
mod recordings;
mod relay;
mod rooms;

use peers::server;
use process::Process;

/// Starts `switchboard call`.
fn call(server: &str, arguments: &[&str]) -> Process {
    let url = format!("ws://{server}");
    Process::start(&[&["call", &url], arguments].concat())
}

/// Starts `switchboard mesh` in one room.
async fn member(server: &str, id: &str, arguments: &[&str]) -> Process {
    let url = format!("ws://{server}");
    let common = ["mesh", &url, "--id", id, "--room", "r"];
    let member = Process::start(&[&common, arguments].concat());
    member.logged("joined the room").await;
    member
}

//! The built `switchboard call` and `switchboard mesh` at the built server.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/process.rs"]
mod process;
#[path = "../common/turn.rs"]
mod turn;
#[path = "../common/viewer.rs"]
mod viewer;

mod calls;
mod file;
mod guest;
mod recordings;
mod relay;
mod rooms;

use serde_json::Value;

use process::Process;

/// Starts a server on an address and says where it listens.
async fn server(address: &str) -> (Process, String) {
    let mut server = Process::start(&["serve", "--listen", address]);
    let address = server
        .line("address", |line| {
            let address = line.strip_prefix("listening on http://")?;
            Some(address.trim_end_matches('/').to_owned())
        })
        .await;
    (server, address)
}

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

/// The next line of results with this key; its value, and the peer that it is about.
async fn result(process: &mut Process, key: &str) -> (Value, String) {
    process
        .line(key, |line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let peer = line["peer"].as_str().unwrap_or_default().to_owned();
            Some((line.get(key)?.clone(), peer))
        })
        .await
}

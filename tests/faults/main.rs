//! What breaks while people look: processes that are killed, full disks, attacks on media, clocks that
//! jump, and a system that has nothing left. The others' pictures go on, and nothing stays behind.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[allow(dead_code, reason = "the plane's own tests use the rest")]
#[path = "../rooms/client.rs"]
mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/file.rs"]
mod file;
#[allow(dead_code, reason = "the plane's own tests use the rest")]
#[path = "../rooms/house.rs"]
mod house;
#[path = "../gecko/page.rs"]
mod page;
#[path = "../common/peers.rs"]
mod peers;
#[path = "../common/viewer.rs"]
mod viewer;
#[path = "../common/watcher.rs"]
mod watcher;

mod clocks;
mod disk;
mod feedback;
mod floods;
mod forge;
mod gate;
mod handshakes;
mod kills;
mod nonsense;
mod plane;
mod scarce;

use common::process;

/// A small picture, because several are encoded and sent at once.
const SMALL: &str = "test width=160 height=120 fps=10 wave=sine";

/// Tells a number or a reason, whatever becomes of the test.
fn say(text: &str) {
    use std::io::Write as _;
    // Not by a macro, whose output is kept back unless the test fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How much memory a process has, in kB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse().unwrap()
}

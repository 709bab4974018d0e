//! Real peers and servers in networks of the tests' own: NATs, firewalls, TURN, IPv6, broken links.
//!
//! Where neither root nor user namespaces are to be had, each test says that it is skipped.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/lab.rs"]
mod lab;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/turn.rs"]
mod turn;

#[path = "../common/viewer.rs"]
mod viewer;
#[path = "../common/watcher.rs"]
mod watcher;

mod addresses;
mod devices;
mod outages;
mod rooms;
mod scenes;
mod ways;

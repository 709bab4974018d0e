//! The server under attack. Each test has an innocent pair beside the attacker, which must go on all
//! the time, and afterwards the server must have given back what the attack cost it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/lab.rs"]
mod lab;

use common::process;

mod crowds;
mod floods;
mod frames;
mod http;
mod logs;
mod rotation;
mod scene;
mod slow;
mod wire;

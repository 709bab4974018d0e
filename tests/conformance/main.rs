//! The published protocols, row by row: the built binary against real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

#[path = "../common/mod.rs"]
mod common;
mod cuttlefish;
mod gecko;
mod gstreamer;
mod ice;
mod kurento;

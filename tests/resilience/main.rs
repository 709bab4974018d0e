//! The server under clients that are wrong, slow, silent, many or gone.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

#[path = "../common/mod.rs"]
mod common;

mod http;
mod keepalive;
mod lifecycle;
mod limits;
mod polling;
mod service;
mod slow;
mod tls;

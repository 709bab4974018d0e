//! The server under clients that are wrong, slow, silent, many or gone.

#[path = "../common/mod.rs"]
mod common;

mod http;
mod keepalive;
mod lifecycle;
mod limits;
mod polling;
mod slow;
mod tls;

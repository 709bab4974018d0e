//! What operators see of the built binary, and do with it.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

mod admin;
#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod logs;
mod metrics;
mod top;

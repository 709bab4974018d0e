//! The forwarding plane, with peers on str0m over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[cfg(feature = "peer")]
#[path = "../common/viewer.rs"]
mod viewer;

#[allow(dead_code, reason = "the browser's own tests use the rest")]
#[path = "../browser/driver.rs"]
mod driver;

#[path = "../common/badlink.rs"]
mod badlink;
mod camera;
mod chromium;
mod client;
mod house;

mod forwarding;
mod layers;
mod links;
mod muting;
mod negotiation;
mod tcp;
#[cfg(feature = "peer")]
mod webrtcbin;

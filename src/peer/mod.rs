//! Peers: a dialect's client × media, with reconnection.

pub mod backoff;
pub mod call;
mod conversation;
pub mod device;
mod events;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gecko;
pub mod ice;
pub mod link;
pub mod mesh;
pub mod metrics;
pub mod observe;
pub mod page;
pub mod participant;
pub mod reception;
pub mod viewer;
mod watching;

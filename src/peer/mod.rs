//! Peers: a dialect's client × media, with reconnection.

pub mod backoff;
pub mod device;
pub mod link;

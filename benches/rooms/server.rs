//! What is measured of a server, in the words of both dialects.

use std::time::{Duration, Instant};

use super::endpoint::{Endpoint, Load};
use super::process::Process;

/// A server in a process of its own.
pub(crate) trait Server: Sized {
    const NAME: &str;

    type Member: Member;

    async fn start() -> Self;

    fn process(&self) -> &Process;

    async fn join(&self, room: usize, user: usize) -> Self::Member;
}

/// Somebody in a room.
pub(crate) trait Member {
    async fn publish(&mut self, load: Load) -> Endpoint;

    async fn receive(&mut self, publisher: usize) -> Receiving;
}

/// A subscription whose endpoint has still to be connected.
pub(crate) struct Receiving {
    pub(crate) endpoint: Endpoint,
    pub(crate) asked: Instant,
    /// How long the server took to describe its end.
    pub(crate) answered: Duration,
}

//! By which address others see a media socket: asked of STUN servers, from that very socket, and asked
//! again so that a NAT on the way keeps the mapping.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::debug;

use super::socket::{Inbox, Socket};
use crate::net;

/// When a server that hasn't answered is asked again at the start, and how long that goes on.
const ASK_AGAIN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the servers are asked later: NATs forget what is silent after 30 s and more (RFC 4787,
/// section 4.3, asks for two minutes, and many don't listen).
const KEEP: Duration = Duration::from_secs(20);

/// One socket's mappings.
#[derive(Debug)]
pub(super) struct Mapping {
    servers: Vec<SocketAddr>,
    request: Vec<u8>,
    next: Instant,
    /// One for each family.
    mapped: Vec<SocketAddr>,
}

impl Mapping {
    /// Of nothing yet; with `servers` to ask.
    pub(super) fn new(servers: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            servers,
            request: net::request(),
            next: now,
            mapped: Vec::new(),
        }
    }

    /// Asks, and waits for the first answer, two seconds at most.
    pub(super) fn find(&mut self, socket: &Socket) {
        if self.servers.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut inbox = Inbox::new();
        while self.mapped.is_empty() && Instant::now() < deadline {
            self.ask(Instant::now(), socket);
            let again = Instant::now() + ASK_AGAIN;
            while self.mapped.is_empty() && Instant::now() < again {
                wait(socket, again);
                inbox.receive(socket, |from, _, bytes| {
                    self.answer(from, bytes);
                });
            }
        }
    }

    /// What others see.
    pub(super) fn mapped(&self) -> &[SocketAddr] {
        &self.mapped
    }

    /// When to ask again, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.servers.is_empty()).then_some(self.next)
    }

    /// Asks.
    pub(super) fn ask(&mut self, now: Instant, socket: &Socket) {
        self.next = now + KEEP;
        for server in &self.servers {
            socket.send(*server, &self.request);
        }
    }

    /// Takes a datagram, if it is an answer. True: others see another address than before.
    pub(super) fn answer(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        // A success response to a binding request (RFC 8489, section 5).
        if !bytes.starts_with(&[1, 1]) || !self.servers.contains(&from) {
            return false;
        }
        let Some(seen) = net::answer(&self.request, bytes) else {
            return false;
        };
        if self.mapped.contains(&seen) {
            return false;
        }
        self.mapped.retain(|it| it.is_ipv4() != seen.is_ipv4());
        self.mapped.push(seen);
        true
    }
}

fn wait(socket: &Socket, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).ok();
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    if let Err(error) = poll(&mut fds, timeout.as_ref()) {
        debug!(%error, "waiting for a STUN server was cut short");
    }
}

//! One thread's endpoints: who is there, whose datagram it is, and what each one's turn is.

mod media;
mod opening;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;
use str0m::Input;
use str0m::ice::StunMessage;
use str0m::net::{Protocol, Receive};
use tracing::debug;

use super::config::Config;
use super::connection::Common;
use super::demux::Demux;
use super::endpoint::{Endpoint, Happened};
use super::sdp::Payload;
use super::socket::Outbox;
use super::timers::Timers;
use super::{Command, EndpointKey, EndpointStats, Event, Failure, Role, RoomKey};

/// How long a peer may be silent once its checks have stopped. Browsers check every few seconds;
/// GStreamer stops, but goes on with reports.
const SILENCE: Duration = Duration::from_secs(15);

/// One thread's endpoints.
pub(super) struct Forwarder {
    config: Arc<Config>,
    common: Common,
    /// What peers know this thread's socket as.
    advertised: Vec<SocketAddr>,
    on_event: Arc<dyn Fn(Event) + Send + Sync>,
    /// Endpoints of the whole plane.
    taken: Arc<AtomicUsize>,
    endpoints: Slab<Endpoint>,
    keys: HashMap<EndpointKey, usize>,
    rooms: HashMap<RoomKey, Room>,
    demux: Demux,
    timers: Timers,
    outbox: Outbox,
    /// Slots with something to send.
    dirty: Vec<usize>,
    happened: Vec<Happened>,
}

/// A room, while it has publishers.
#[derive(Default)]
struct Room {
    publishers: Vec<usize>,
    /// The video codec, since the first publisher with video.
    pinned: Option<Payload>,
}

impl Forwarder {
    /// Without endpoints. `advertised`: what peers know the outbox's socket as.
    pub(super) fn new(
        config: Arc<Config>,
        common: Common,
        advertised: Vec<SocketAddr>,
        on_event: Arc<dyn Fn(Event) + Send + Sync>,
        taken: Arc<AtomicUsize>,
        outbox: Outbox,
    ) -> Self {
        Self {
            config,
            common,
            advertised,
            on_event,
            taken,
            endpoints: Slab::new(),
            keys: HashMap::new(),
            rooms: HashMap::new(),
            demux: Demux::default(),
            timers: Timers::default(),
            outbox,
            dirty: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// Carries out a command.
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Publish {
                room,
                endpoint,
                offer,
                loopback,
            } => {
                let answer = self.publish(now, room, endpoint, &offer, loopback);
                self.answer(endpoint, answer);
            }
            Command::Subscribe {
                room,
                endpoint,
                publisher,
                offer,
            } => {
                let answer = self.subscribe(now, room, endpoint, publisher, &offer);
                self.answer(endpoint, answer);
            }
            Command::Remove { endpoint, .. } => {
                if let Some(&slot) = self.keys.get(&endpoint) {
                    self.remove(now, slot);
                }
            }
            Command::CloseRoom { room } => {
                if let Some(room) = self.rooms.get(&room) {
                    for slot in room.publishers.clone() {
                        self.remove(now, slot);
                    }
                }
            }
        }
    }

    /// Takes a datagram from the network. `local`: the address of this machine that it came to.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
    ) {
        let Some(destination) = self.destination(source, local) else {
            return;
        };
        // Checks go by their user name, since a path may be new, or have changed hands.
        let fragment = check(bytes);
        let slot = match &fragment {
            Some(fragment) => self.demux.by_fragment(fragment),
            None => self.demux.by_address(source),
        };
        let Some(endpoint) = slot.and_then(|slot| self.endpoints.get_mut(slot)) else {
            return;
        };
        let Some(slot) = slot else { return };
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) else {
            return;
        };
        let input = Input::Receive(now, receive);
        if fragment.is_some() {
            if !endpoint.accepts(&input) {
                return;
            }
            let new = Demux::is_new(&endpoint.held, source);
            if new && !self.demux.learn(&mut endpoint.held, slot, source) {
                return;
            }
            endpoint.local = local.filter(|_| self.config.bind.is_unspecified());
        }
        endpoint.heard = now;
        match endpoint.take(input) {
            Ok(()) => self.drive(now, slot),
            Err(why) => self.fail(now, slot, why),
        }
    }

    /// When [`Self::tend`] must be called.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due by now.
    pub(super) fn tend(&mut self, now: Instant) {
        // What becomes due meanwhile waits for the next turn, so that this one ends.
        for _ in 0..self.endpoints.len() {
            let Some(slot) = self.timers.due(now) else {
                break;
            };
            let Some(endpoint) = self.endpoints.get_mut(slot) else {
                continue;
            };
            if !endpoint.connected && now >= endpoint.born + self.config.connect {
                let why = Failure::NeverConnected(self.config.connect.as_secs());
                self.fail(now, slot, why);
                continue;
            }
            if endpoint.ice_down && now >= endpoint.heard + SILENCE {
                self.fail(now, slot, Failure::Lost);
                continue;
            }
            self.tend_publisher(now, slot);
            self.wake(now, slot);
        }
    }

    /// Sends what all this has led to. Each endpoint is drained once, whatever was queued for it.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(slot) = self.dirty.pop() {
            if self.endpoints.get(slot).is_some_and(|e| e.dirty) {
                self.wake(now, slot);
            }
        }
        self.outbox.flush();
    }

    /// Closes all endpoints.
    pub(super) fn close(&mut self, now: Instant) {
        let slots: Vec<_> = self.endpoints.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.remove(now, slot);
        }
        self.outbox.flush();
    }

    /// All endpoints' numbers.
    pub(super) fn stats(&self) -> Vec<EndpointStats> {
        let stats = |(_, endpoint): (usize, &Endpoint)| {
            let publisher = |slot: usize| self.endpoints.get(slot).map(|e| e.key);
            let counts = endpoint.counts;
            EndpointStats {
                endpoint: endpoint.key,
                room: endpoint.room,
                role: match (&endpoint.incoming, &endpoint.outgoing) {
                    (None, Some(outgoing)) => Role::Subscriber {
                        publisher: publisher(outgoing.publisher).unwrap_or(endpoint.key),
                    },
                    _ => Role::Publisher,
                },
                connected: endpoint.connected,
                packets_in: counts.packets_in,
                bytes_in: counts.bytes_in,
                packets_out: counts.packets_out,
                bytes_out: counts.bytes_out,
                keyframe_requests: counts.keyframe_requests,
                estimate: endpoint.outgoing.as_ref().and_then(|o| o.estimate),
            }
        };
        self.endpoints.iter().map(stats).collect()
    }

    fn wake(&mut self, now: Instant, slot: usize) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        match endpoint.take(Input::Timeout(now)) {
            Ok(()) => self.drive(now, slot),
            Err(why) => self.fail(now, slot, why),
        }
    }

    fn drive(&mut self, now: Instant, slot: usize) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        let mut happened = std::mem::take(&mut self.happened);
        let (outbox, local) = (&mut self.outbox, endpoint.local);
        let driven = endpoint.drive(
            now,
            |t| outbox.send(local, t.destination, &t.contents),
            &mut happened,
        );
        let due = endpoint.due(now, self.config.connect, SILENCE);
        self.timers.set(slot, due);
        for what in happened.drain(..) {
            self.happened(now, slot, what);
        }
        self.happened = happened;
        if let Err(why) = driven {
            self.fail(now, slot, why);
        }
    }

    /// Changes an endpoint, and has it drained if it then has something to send.
    fn touch(&mut self, slot: usize, change: impl FnOnce(&mut Endpoint)) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        let before = endpoint.dirty;
        change(endpoint);
        if endpoint.dirty && !before {
            self.dirty.push(slot);
        }
    }

    fn fail(&mut self, now: Instant, slot: usize, why: Failure) {
        if let Some(endpoint) = self.endpoints.get(slot) {
            let key = endpoint.key;
            debug!(endpoint = key.0, %why, "a media endpoint failed");
            self.remove(now, slot);
            (self.on_event)(Event::Failed { endpoint: key, why });
        }
    }

    /// Closes an endpoint; with a publisher its subscribers.
    fn remove(&mut self, now: Instant, slot: usize) {
        let Some(mut endpoint) = self.endpoints.try_remove(slot) else {
            return;
        };
        self.keys.remove(&endpoint.key);
        self.demux.remove(&endpoint.held);
        self.timers.clear(slot);
        self.taken.fetch_sub(1, Ordering::Relaxed);
        endpoint.close();
        let (outbox, local) = (&mut self.outbox, endpoint.local);
        // It is gone whatever comes of its goodbye.
        let _ = endpoint.drive(
            now,
            |t| outbox.send(local, t.destination, &t.contents),
            &mut Vec::new(),
        );
        if let Some(outgoing) = &endpoint.outgoing {
            let publisher = self.endpoints.get_mut(outgoing.publisher);
            if let Some(incoming) = publisher.and_then(|p| p.incoming.as_mut()) {
                incoming.subscribers.retain(|&other| other != slot);
            }
        }
        if let Some(incoming) = endpoint.incoming {
            if let Some(room) = self.rooms.get_mut(&endpoint.room) {
                room.publishers.retain(|&other| other != slot);
                if room.publishers.is_empty() {
                    self.rooms.remove(&endpoint.room);
                }
            }
            for subscriber in incoming.subscribers {
                if subscriber != slot {
                    self.remove(now, subscriber);
                }
            }
        }
    }

    /// What the peer knows the address as that a datagram came to.
    fn destination(&self, source: SocketAddr, local: Option<IpAddr>) -> Option<SocketAddr> {
        let family = |a: &&SocketAddr| a.is_ipv4() == source.is_ipv4();
        let exact = self.advertised.iter().find(|a| Some(a.ip()) == local);
        exact
            .or_else(|| self.advertised.iter().find(family))
            .copied()
    }
}

/// Our user name fragment in a connectivity check (RFC 8445, section 7.2.2), if that is what it is.
fn check(bytes: &[u8]) -> Option<String> {
    if bytes.len() < 20 || bytes[0] > 1 {
        return None;
    }
    let message = StunMessage::parse(bytes).ok()?;
    if !message.is_binding_request() {
        return None;
    }
    let (ours, _) = message.split_username()?;
    Some(ours.to_owned())
}

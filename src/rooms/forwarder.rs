//! One thread's endpoints: who is there, whose datagram it is, and what each one's turn is.

mod arrivals;
mod media;
mod mute;
mod opening;

pub(super) use arrivals::check;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;
use str0m::Input;
use str0m::net::{Protocol, Transmit};
use tracing::{debug, info};

use super::addresses::Addresses;
use super::config::Config;
use super::connection::Common;
use super::demux::Demux;
use super::endpoint::{Endpoint, Happened, Muted};
use super::mapping::Mapping;
use super::sdp::Payload;
use super::socket::{Outbox, Socket};
use super::streams::Streams;
use super::timers::Timers;
use super::totals::Totals;
use super::{Command, EndpointKey, EndpointStats, Event, Failure, Role, RoomKey};

/// How long a peer may be silent once its checks have stopped. Browsers check every few seconds;
/// GStreamer stops, but goes on with reports.
const SILENCE: Duration = Duration::from_secs(15);

/// Who leaves sooner without being connected didn't wait for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What connects at all does so in fewer seconds; before that there is nothing to explain.
const USUAL_SECONDS: u64 = 3;

/// One thread's endpoints.
pub(super) struct Forwarder {
    config: Arc<Config>,
    /// The number of this thread among all: users' fragments begin with it.
    thread: usize,
    common: Common,
    socket: Arc<Socket>,
    /// What new peers are told.
    addresses: Arc<Addresses>,
    ips: Vec<IpAddr>,
    mapping: Mapping,
    on_event: Arc<dyn Fn(Event) + Send + Sync>,
    /// Endpoints of the whole plane.
    taken: Arc<AtomicUsize>,
    endpoints: Slab<Endpoint>,
    keys: HashMap<EndpointKey, usize>,
    rooms: HashMap<RoomKey, Room>,
    demux: Demux,
    timers: Timers,
    outbox: Outbox,
    streams: Streams,
    /// A frame of one of them.
    frame: Vec<u8>,
    /// Slots with something to send.
    dirty: Vec<usize>,
    happened: Vec<Happened>,
    /// Of endpoints that are gone.
    past: Totals,
    /// Datagrams that were no endpoint's.
    strays: u64,
}

/// A room, while it has publishers.
#[derive(Default)]
struct Room {
    publishers: Vec<usize>,
    /// The video codec, since the first publisher with video.
    pinned: Option<Payload>,
}

/// What a thread begins with.
pub(super) struct Beginning {
    pub(super) config: Arc<Config>,
    pub(super) thread: usize,
    pub(super) common: Common,
    pub(super) socket: Arc<Socket>,
    pub(super) ips: Vec<IpAddr>,
    pub(super) mapping: Mapping,
    pub(super) epoll: Arc<OwnedFd>,
    pub(super) on_event: Arc<dyn Fn(Event) + Send + Sync>,
    pub(super) taken: Arc<AtomicUsize>,
}

impl Forwarder {
    /// Without endpoints.
    ///
    /// # Errors
    /// An address that isn't one of one machine.
    pub(super) fn new(beginning: Beginning) -> Result<Self, IpAddr> {
        let Beginning {
            config,
            thread,
            common,
            socket,
            ips,
            mapping,
            epoll,
            on_event,
            taken,
        } = beginning;
        let addresses = Addresses::new(&ips, socket.address(), mapping.mapped(), &config.tcp)?;
        Ok(Self {
            config,
            thread,
            common,
            outbox: Outbox::new(Arc::clone(&socket)),
            socket,
            addresses: Arc::new(addresses),
            ips,
            mapping,
            on_event,
            taken,
            endpoints: Slab::new(),
            keys: HashMap::new(),
            rooms: HashMap::new(),
            demux: Demux::default(),
            timers: Timers::default(),
            streams: Streams::new(epoll),
            frame: Vec::new(),
            dirty: Vec::new(),
            happened: Vec::new(),
            past: Totals::default(),
            strays: 0,
        })
    }

    /// What new peers are told.
    pub(super) fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses)
    }

    /// Names these addresses to new peers.
    pub(super) fn advertise(&mut self, ips: &[IpAddr]) {
        self.ips = ips.to_vec();
        self.tell_addresses();
    }

    fn tell_addresses(&mut self) {
        let (bound, mapped) = (self.socket.address(), self.mapping.mapped());
        match Addresses::new(&self.ips, bound, mapped, &self.config.tcp) {
            Ok(addresses) => {
                info!(udp = ?addresses.udp(), tcp = ?addresses.tcp(), "media has new addresses");
                self.addresses = Arc::new(addresses);
            }
            Err(ip) => info!(%ip, "media keeps its addresses: this is none of one machine"),
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
                channels,
            } => {
                let answer = self.publish(now, room, endpoint, &offer, loopback);
                if let Some(slot) = self.keys.get(&endpoint).filter(|_| answer.is_ok())
                    && let Some(endpoint) = self.endpoints.get_mut(*slot)
                {
                    endpoint.channels.permitted = channels;
                }
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
                    self.gave_up(now, slot);
                    self.remove(now, slot);
                }
            }
            Command::Mute {
                endpoint,
                audio,
                video,
                ..
            } => self.mute(now, endpoint, Muted { audio, video }),
            Command::CloseRoom { room } => {
                if let Some(room) = self.rooms.get(&room) {
                    for slot in room.publishers.clone() {
                        self.remove(now, slot);
                    }
                }
            }
        }
    }

    /// When [`Self::tend`] must be called.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers
            .next()
            .into_iter()
            .chain(self.mapping.due())
            .min()
    }

    /// Does what is due by now.
    pub(super) fn tend(&mut self, now: Instant) {
        if self.mapping.due().is_some_and(|due| now >= due) {
            self.mapping.ask(now, &self.socket);
        }
        // What becomes due meanwhile waits for the next turn, so that this one ends.
        for _ in 0..self.endpoints.len() {
            let Some(slot) = self.timers.due(now) else {
                break;
            };
            let Some(endpoint) = self.endpoints.get_mut(slot) else {
                continue;
            };
            if now >= endpoint.born + self.config.connect
                && let Some(why) = endpoint.unconnected(now)
            {
                self.fail(now, slot, Failure::NeverConnected(why));
                continue;
            }
            if endpoint.ice_down && now >= endpoint.heard + SILENCE {
                self.fail(now, slot, Failure::Lost);
                continue;
            }
            self.tend_publisher(now, slot);
            self.tend_subscriber(now, slot);
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
    pub(super) fn stats(&self, now: Instant) -> Vec<EndpointStats> {
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
                reach: endpoint.reach,
                unconnected: endpoint
                    .unconnected(now)
                    .filter(|it| it.seconds >= USUAL_SECONDS),
                report: endpoint.reports.last(),
                paused: endpoint
                    .outgoing
                    .as_ref()
                    .is_some_and(|o| !o.strain.is_open()),
                left_out: counts.left_out + self.streams.dropped(&endpoint.streams),
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

    /// What endpoints did that are gone.
    pub(super) fn past(&self) -> Totals {
        self.past
    }

    /// Datagrams that were no endpoint's.
    pub(super) fn strays(&self) -> u64 {
        self.strays
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
        let (outbox, streams, local) = (&mut self.outbox, &mut self.streams, endpoint.local);
        let driven = endpoint.drive(
            now,
            |packet| send(now, local, outbox, streams, packet),
            &mut happened,
        );
        let due = endpoint.due(now, self.config.connect, SILENCE);
        if let Some(after) = endpoint.beginning.news.take() {
            let endpoint = endpoint.key;
            (self.on_event)(Event::Flows { endpoint, after });
        }
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
            debug!(media = key.0, %why, "a media endpoint failed");
            self.remove(now, slot);
            (self.on_event)(Event::Failed { endpoint: key, why });
        }
    }

    /// Tells of an endpoint that leaves before it is connected, after time enough.
    fn gave_up(&self, now: Instant, slot: usize) {
        let endpoint = self.endpoints.get(slot);
        let patient = endpoint.filter(|e| now >= e.born + PATIENCE);
        if let Some((endpoint, why)) = patient.and_then(|e| Some((e.key, e.unconnected(now)?))) {
            (self.on_event)(Event::GaveUp { endpoint, why });
        }
    }

    /// Closes an endpoint; with a publisher its subscribers.
    fn remove(&mut self, now: Instant, slot: usize) {
        let Some(mut endpoint) = self.endpoints.try_remove(slot) else {
            return;
        };
        self.past += Totals::new(
            &endpoint.counts,
            self.streams.dropped(&endpoint.streams),
            &endpoint.reports.last(),
        );
        self.keys.remove(&endpoint.key);
        self.demux.remove(&endpoint.held);
        self.timers.clear(slot);
        self.taken.fetch_sub(1, Ordering::Relaxed);
        endpoint.close();
        let (outbox, streams, local) = (&mut self.outbox, &mut self.streams, endpoint.local);
        // It is gone whatever comes of its goodbye.
        let _ = endpoint.drive(
            now,
            |packet| send(now, local, outbox, streams, packet),
            &mut Vec::new(),
        );
        for stream in endpoint.streams {
            self.streams.remove(stream);
        }
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
}

#[cfg(feature = "fuzzing")]
impl Forwarder {
    /// How many entries there are.
    pub(super) fn left(&self) -> usize {
        let of_endpoints = self.endpoints.len() + self.keys.len() + self.demux.entries();
        of_endpoints + self.rooms.len() + usize::from(self.timers.next().is_some())
    }
}

/// Sends what an endpoint has to say, by the way that it chose.
fn send(
    now: Instant,
    local: Option<IpAddr>,
    outbox: &mut Outbox,
    streams: &mut Streams,
    packet: &Transmit,
) {
    match packet.proto {
        Protocol::Udp => outbox.send(local, packet.destination, &packet.contents),
        _ => streams.send(now, packet.destination, &packet.contents),
    }
}

//! A bad network path: a UDP relay between two ICE agents, with delay, jitter, loss in bursts and a
//! bottleneck.
//!
//! It stands between two sides, A and B, and has a socket in the name of each: what B sends to A's
//! socket goes on to A, out of B's socket, and the other way round. [`BadLink::candidate`] and
//! [`BadLink::text`] put the relay's address into what one side says about itself, so that the other
//! side finds no other way. The way of each direction has conditions of its own, which can change at
//! any time:
//!
//! ```text
//! packet ─► queue (bytes) ─► bottleneck (bit/s) ─► loss ─► delay + jitter ─► packet
//! ```
//!
//! Packets keep their order if nothing else is said. Chance is seeded.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Packets on their way in one direction at most; more are dropped.
const PACKETS: usize = 20_000;
/// Packets that are taken from a socket before others are sent again.
const BATCH: usize = 64;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

/// What happens to packets in one direction. The default is a perfect path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub delay: Duration,
    /// Each packet takes up to so much longer, evenly spread.
    pub jitter: Duration,
    /// The share of packets that are lost, of 1.
    pub loss: f64,
    /// How many packets in a row a loss takes, on average; at least 1.
    pub burst: f64,
    /// Bits per second, with 28 bytes of IP and UDP headers for each packet; `None` for any number.
    pub rate: Option<u64>,
    /// Bytes that wait before the bottleneck; what comes on top is dropped.
    pub queue: usize,
    /// Jitter may let one packet overtake another.
    pub reorder: bool,
    /// Only STUN gets through: a way can be found, but nothing goes over it.
    pub checks_only: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: 1.0,
            rate: None,
            queue: 64 * 1024,
            reorder: false,
            checks_only: false,
        }
    }
}

/// How one direction is and was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that wait before the bottleneck, with headers.
    pub queued: usize,
    /// How long the last of them will wait, at the present rate.
    pub queued_time: Duration,
    /// The longest that it was since the last call.
    pub longest_queue: Duration,
    /// Packets that were sent on.
    pub forwarded: u64,
    /// Their bytes, with headers.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets for which the queue had no room.
    pub overflown: u64,
    /// Packets for which the other side's address wasn't known yet.
    pub homeless: u64,
}

/// The relay. Ends when dropped.
pub struct BadLink {
    shared: Arc<Shared>,
    /// A's and B's: the one that the other side knows them by.
    addresses: [SocketAddr; 2],
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: OwnedFd,
}

struct State {
    /// From A to B, and from B to A.
    ways: [Way; 2],
    /// Where A and B really are.
    homes: [Home; 2],
    over: bool,
}

#[derive(Clone, Copy, Default)]
struct Home {
    address: Option<SocketAddr>,
    /// From a candidate, and no guess by what came.
    told: bool,
}

impl BadLink {
    /// A relay with the same conditions in both directions. It has an address of this machine that
    /// isn't the loopback one if there is any: libnice doesn't go from others to that.
    pub fn start(seed: u64, conditions: Conditions) -> Self {
        let address = own_address();
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let addresses = [0, 1].map(|at| sockets[at].local_addr().unwrap());
        let way = |salt| Way::new(conditions, seed ^ salt, Instant::now());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ways: [way(0), way(0x5555_5555)],
                homes: [Home::default(); 2],
                over: false,
            }),
            wake: eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
        });
        let thread = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.run(&sockets))
        };
        Self {
            shared,
            addresses,
            thread: Some(thread),
        }
    }

    /// The address by which the other side knows this one.
    pub fn address(&self, of: Side) -> SocketAddr {
        self.addresses[of as usize]
    }

    /// Says where a side is, if no candidate does.
    pub fn home(&self, of: Side, address: SocketAddr) {
        self.shared.lock().homes[of as usize] = Home {
            address: Some(address),
            told: true,
        };
    }

    /// Other conditions for what this side sends, from now on; what is on its way keeps its delay.
    pub fn set(&self, from: Side, conditions: Conditions) {
        let mut state = self.shared.lock();
        let way = &mut state.ways[from as usize];
        way.advance(Instant::now());
        way.conditions = conditions;
        way.hurry();
        drop(state);
        self.shared.wake();
    }

    /// Changes the conditions for what this side sends.
    pub fn change(&self, from: Side, change: impl FnOnce(&mut Conditions)) {
        let mut conditions = self.shared.lock().ways[from as usize].conditions;
        change(&mut conditions);
        self.set(from, conditions);
    }

    /// How it goes with what this side sends.
    pub fn traffic(&self, from: Side) -> Traffic {
        let mut state = self.shared.lock();
        let way = &mut state.ways[from as usize];
        way.advance(Instant::now());
        let mut traffic = way.traffic;
        traffic.queued = way.queued;
        traffic.queued_time = way.wait();
        traffic.longest_queue = std::mem::take(&mut way.longest).max(traffic.queued_time);
        traffic
    }

    /// A side's candidate line as the other side shall see it: with the relay's address; `None` if it
    /// would lead around the relay. Of a side's host addresses the first one is used. A `.local` name
    /// is believed, and the address behind it learnt from the packets that come.
    pub fn candidate(&self, of: Side, line: &str) -> Option<String> {
        let mut fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let kind = fields.iter().position(|field| field == "typ")? + 1;
        let is_udp = fields.get(2)?.eq_ignore_ascii_case("udp");
        if !is_udp || fields.get(kind)? != "host" {
            return None;
        }
        let port = fields.get(5)?.parse().ok()?;
        let mut state = self.shared.lock();
        let home = &mut state.homes[of as usize];
        if !fields[4].ends_with(".local") {
            let address = SocketAddr::new(fields[4].parse::<IpAddr>().ok()?, port);
            if !address.is_ipv4() || home.told && home.address != Some(address) {
                return None;
            }
            *home = Home {
                address: Some(address),
                told: true,
            };
        }
        let address = self.address(of);
        fields[4] = address.ip().to_string();
        fields[5] = address.port().to_string();
        Some(fields.join(" "))
    }

    /// Any text of a side, a session description or a JSON message, with all its candidates as the
    /// other side shall see them. Those that would lead around the relay lead nowhere instead.
    pub fn text(&self, of: Side, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("candidate:") {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(['"', '\\', '\r', '\n']).unwrap_or(rest.len());
            let line = &rest[..end];
            match self.candidate(of, line) {
                Some(line) => out.push_str(&line),
                None if line.contains(" typ ") => nowhere(&mut out, line),
                None => out.push_str(line),
            }
            rest = &rest[end..];
        }
        out + rest
    }
}

fn own_address() -> IpAddr {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut all = all.iter().map(if_addrs::Interface::ip);
    all.find(|ip| ip.is_ipv4() && !ip.is_loopback())
        .unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// The candidate on a port where nobody answers.
fn nowhere(out: &mut String, line: &str) {
    let foundation = line.split(' ').next().unwrap_or_default();
    let component = line.split(' ').nth(1).unwrap_or_default();
    write!(out, "{foundation} {component} udp 1 127.0.0.1 9 typ host").unwrap();
}

impl Drop for BadLink {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|bad| bad.into_inner())
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Carries packets until it is over.
    fn run(&self, sockets: &[UdpSocket; 2]) {
        let mut buffer = vec![0; 65_536];
        loop {
            for (from, socket) in [Side::B, Side::A].into_iter().zip(sockets) {
                self.take(from, socket, &mut buffer);
            }
            let Some(due) = self.give(sockets) else {
                return;
            };
            let wait = due.map(|due| {
                let wait = due.saturating_duration_since(Instant::now());
                Timespec {
                    tv_sec: wait.as_secs().try_into().unwrap(),
                    tv_nsec: wait.subsec_nanos().into(),
                }
            });
            let mut ready = [
                PollFd::new(&sockets[0], PollFlags::IN),
                PollFd::new(&sockets[1], PollFlags::IN),
                PollFd::new(&self.wake, PollFlags::IN),
            ];
            let _ = poll(&mut ready, wait.as_ref());
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    /// Takes what a side has sent.
    fn take(&self, from: Side, socket: &UdpSocket, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let (length, source) = match socket.recv_from(buffer) {
                Ok(received) => received,
                // The answer to a packet that reached nobody.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            let mut state = self.lock();
            let home = &mut state.homes[from as usize];
            if !home.told {
                home.address = Some(source);
            }
            state.ways[from as usize].push(Instant::now(), &buffer[..length]);
        }
    }

    /// Sends what is due; when the next will be. `None` if it is over.
    fn give(&self, sockets: &[UdpSocket; 2]) -> Option<Option<Instant>> {
        let mut state = self.lock();
        if state.over {
            return None;
        }
        let State { ways, homes, .. } = &mut *state;
        let now = Instant::now();
        for (at, way) in ways.iter_mut().enumerate() {
            // What A sent goes out of A's socket, to B.
            let (socket, to) = (&sockets[at], homes[1 - at].address);
            for packet in way.due(now) {
                match to {
                    Some(to) => {
                        way.traffic.forwarded += 1;
                        way.traffic.bytes += packet.len() as u64 + HEADERS as u64;
                        let _ = socket.send_to(&packet, to);
                    }
                    None => way.traffic.homeless += 1,
                }
            }
        }
        Some(ways.iter().filter_map(Way::next).min())
    }
}

/// Bytes of IP and UDP headers.
const HEADERS: usize = 28;

/// One direction.
struct Way {
    conditions: Conditions,
    chance: Chance,
    /// In a burst of losses.
    losing: bool,
    /// Before the bottleneck; the first is on its way through it.
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// Bits of the first that aren't through yet, at this time.
    left: f64,
    at: Instant,
    /// After the bottleneck, in their order.
    flying: VecDeque<(Instant, Vec<u8>)>,
    longest: Duration,
    traffic: Traffic,
}

impl Way {
    fn new(conditions: Conditions, seed: u64, now: Instant) -> Self {
        Self {
            conditions,
            chance: Chance(seed),
            losing: false,
            queue: VecDeque::new(),
            queued: 0,
            left: 0.0,
            at: now,
            flying: VecDeque::new(),
            longest: Duration::ZERO,
            traffic: Traffic::default(),
        }
    }

    fn push(&mut self, now: Instant, packet: &[u8]) {
        self.advance(now);
        let size = packet.len() + HEADERS;
        let waits = self.conditions.rate.is_some();
        let full = waits && self.queued + size > self.conditions.queue;
        if full || self.queue.len() + self.flying.len() >= PACKETS {
            self.traffic.overflown += 1;
            return;
        }
        if self.queue.is_empty() {
            (self.left, self.at) = (bits(size), now);
        }
        self.queue.push_back(packet.to_vec());
        self.queued += size;
        self.longest = self.longest.max(self.wait());
        self.hurry();
    }

    /// Without a bottleneck nothing waits.
    fn hurry(&mut self) {
        if self.conditions.rate.is_none() {
            while let Some(packet) = self.queue.pop_front() {
                self.through(self.at, packet);
            }
        }
    }

    /// Lets through the bottleneck what gets through it until now.
    fn advance(&mut self, now: Instant) {
        while let Some(end) = self.end_of_first()
            && end <= now
            && let Some(packet) = self.queue.pop_front()
        {
            self.at = end;
            self.left = self
                .queue
                .front()
                .map_or(0.0, |next| bits(next.len() + HEADERS));
            self.through(end, packet);
        }
        if let Some(rate) = self.conditions.rate {
            self.left -= now.saturating_duration_since(self.at).as_secs_f64() * to_f64(rate);
        }
        self.at = now.max(self.at);
    }

    fn end_of_first(&self) -> Option<Instant> {
        let rate = to_f64(self.conditions.rate?.max(1));
        self.queue.front()?;
        Some(self.at + Duration::from_secs_f64(self.left.max(0.0) / rate))
    }

    /// A packet is through the bottleneck: it is lost, or arrives after the delay.
    fn through(&mut self, at: Instant, packet: Vec<u8>) {
        self.queued -= packet.len() + HEADERS;
        // RFC 7983 section 7 tells STUN by the first byte.
        let is_check = packet.first().is_some_and(|first| *first < 4);
        if self.loses() || self.conditions.checks_only && !is_check {
            self.traffic.lost += 1;
            return;
        }
        let jitter = self.conditions.jitter.mul_f64(self.chance.next());
        let arrival = at + self.conditions.delay + jitter;
        if self.conditions.reorder {
            let place = self.flying.partition_point(|(other, _)| *other <= arrival);
            return self.flying.insert(place, (arrival, packet));
        }
        let last = self.flying.back().map_or(arrival, |(last, _)| *last);
        self.flying.push_back((arrival.max(last), packet));
    }

    /// Gilbert's model: in a burst all is lost, outside of one nothing.
    fn loses(&mut self) -> bool {
        let Conditions { loss, burst, .. } = self.conditions;
        if loss >= 1.0 {
            return true;
        }
        let burst = burst.max(1.0);
        let turn = match self.losing {
            true => 1.0 / burst,
            false => loss / (burst * (1.0 - loss).max(f64::EPSILON)),
        };
        if self.chance.next() < turn {
            self.losing = !self.losing;
        }
        self.losing && loss > 0.0
    }

    /// What arrives until now.
    fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.advance(now);
        let count = self.flying.iter().take_while(|(at, _)| *at <= now).count();
        self.flying
            .drain(..count)
            .map(|(_, packet)| packet)
            .collect()
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let arrival = self.flying.front().map(|(at, _)| *at);
        [arrival, self.end_of_first()].into_iter().flatten().min()
    }

    /// How long a packet would wait that came now.
    fn wait(&self) -> Duration {
        let Some(rate) = self.conditions.rate else {
            return Duration::ZERO;
        };
        let first = self.queue.front().map_or(0, |first| first.len() + HEADERS);
        let bits = self.left.max(0.0) + bits(self.queued - first);
        match self.queue.is_empty() {
            true => Duration::ZERO,
            false => Duration::from_secs_f64(bits / to_f64(rate.max(1))),
        }
    }
}

/// Numbers between 0 and 1 (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        to_f64((z ^ (z >> 31)) >> 11) / to_f64(1 << 53)
    }
}

fn bits(bytes: usize) -> f64 {
    to_f64(bytes as u64) * 8.0
}

#[allow(clippy::cast_precision_loss, reason = "small enough")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

//! A media thread: waits for its sockets, its orders and its timers, and does one batch of each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use tracing::{debug, error};

use super::forwarder::Forwarder;
use super::socket::{Inbox, Socket};
use super::streams::Connection;
use super::totals::ThreadStats;
use super::{Busy, Command, EndpointStats};

/// Orders that wait for one thread; one more is refused.
const ORDERS: usize = 4096;
/// Orders in one turn, each of which may answer an offer: more would delay the media.
const ORDERS_PER_TURN: usize = 4;
/// Batches of datagrams in one turn.
const BATCHES_PER_TURN: usize = 4;
/// Sockets of which a turn hears at once that they are ready; the others have the next turn.
const READY: usize = 64;
/// The UDP socket and the wake-up call, among the numbers of connections.
const SOCKET: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
/// How often the numbers for others are made.
const STATS: Duration = Duration::from_secs(1);

/// The outside's hold on a thread. Dropping it stops the thread.
pub(super) struct Thread {
    address: SocketAddr,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// What a thread is told.
pub(super) enum Order {
    /// To carry this out.
    Command(Command),
    /// To name these addresses from now on.
    Advertise(Arc<[IpAddr]>),
    /// To take this connection over.
    Connect(Connection),
}

struct Shared {
    wake: OwnedFd,
    stop: AtomicBool,
    stats: Mutex<Stats>,
}

/// What a thread tells of itself.
#[derive(Default)]
struct Stats {
    endpoints: Vec<EndpointStats>,
    sums: ThreadStats,
}

impl Thread {
    /// Starts a thread on a socket.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        name: String,
        socket: Arc<Socket>,
        epoll: Arc<OwnedFd>,
        forwarder: Forwarder,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            stats: Mutex::default(),
        });
        for (fd, number) in [(socket.as_fd(), SOCKET), (shared.wake.as_fd(), WAKE)] {
            epoll::add(&*epoll, fd, EventData::new_u64(number), EventFlags::IN)?;
        }
        let (orders, waiting) = sync_channel(ORDERS);
        let address = socket.address();
        let worker = Worker {
            socket,
            inbox: Inbox::new(),
            epoll,
            forwarder,
            waiting,
            shared: Arc::clone(&shared),
        };
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run())?;
        Ok(Self {
            address,
            orders,
            shared,
            handle: Some(handle),
        })
    }

    /// The socket's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands over an order.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) fn order(&self, order: Order) -> Result<(), Busy> {
        self.orders.try_send(order).map_err(|_| Busy)?;
        self.shared.wake();
        Ok(())
    }

    /// Its endpoints' numbers.
    pub(super) fn stats(&self) -> Vec<EndpointStats> {
        self.shared.stats().endpoints.clone()
    }

    /// The sums of these, and what was before.
    pub(super) fn totals(&self) -> ThreadStats {
        self.shared.stats().sums
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake();
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            error!("a media thread has panicked");
        }
    }
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It fails only if the counter is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

struct Worker {
    socket: Arc<Socket>,
    inbox: Inbox,
    epoll: Arc<OwnedFd>,
    forwarder: Forwarder,
    waiting: Receiver<Order>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        let mut next_stats = Instant::now();
        let mut shown = 0;
        let mut sums = ThreadStats::default();
        let mut more = false;
        let mut ready = Vec::with_capacity(READY);
        while !self.shared.stop.load(Ordering::Relaxed) {
            if !more {
                // Without endpoints the numbers stay as they are, once they show that.
                let busy = shown > 0 || self.forwarder.next().is_some();
                self.wait(busy.then_some(next_stats), &mut ready);
            } else if self.forwarder.has_streams() {
                // No wait, but they have their turn.
                self.wait(Some(Instant::now()), &mut ready);
            }
            more = self.carry_out(Instant::now());
            more |= self.receive();
            more |= self.receive_streams(&mut ready);
            let now = Instant::now();
            self.forwarder.tend(now);
            self.forwarder.settle(now);
            if now >= next_stats {
                next_stats = now + STATS;
                let endpoints = self.forwarder.stats(now);
                shown = endpoints.len();
                let (past, strays) = (self.forwarder.past(), self.forwarder.strays());
                sums = sums.next(&endpoints, past, strays);
                *self.shared.stats() = Stats { endpoints, sums };
            }
        }
        self.forwarder.close(Instant::now());
    }

    /// Carries out some of the orders that wait. False: there were none.
    fn carry_out(&mut self, now: Instant) -> bool {
        let mut some = false;
        for order in self.waiting.try_iter().take(ORDERS_PER_TURN) {
            match order {
                Order::Command(command) => self.forwarder.command(now, command),
                Order::Advertise(ips) => self.forwarder.advertise(&ips),
                Order::Connect(connection) => self.forwarder.connect(now, connection),
            }
            some = true;
        }
        some
    }

    /// Takes some of what waits on connections. True: there may be more.
    fn receive_streams(&mut self, ready: &mut Vec<epoll::Event>) -> bool {
        let full = ready.len() == READY;
        if ready.is_empty() {
            return false;
        }
        let now = Instant::now();
        for event in ready.drain(..) {
            let number = event.data.u64();
            if number < WAKE {
                self.forwarder.stream(now, number as usize, event.flags);
            }
        }
        self.forwarder.settle(now);
        full
    }

    /// Takes some of the datagrams that wait, and sends what they lead to. True: there may be more.
    fn receive(&mut self) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            let now = Instant::now();
            let forwarder = &mut self.forwarder;
            let more = self.inbox.receive(&self.socket, |source, local, bytes| {
                forwarder.datagram(now, source, local, bytes);
            });
            self.forwarder.settle(now);
            if !more {
                return false;
            }
        }
        true
    }

    /// Waits for something to do: `ready` is what then is, and for what.
    fn wait(&self, next_stats: Option<Instant>, ready: &mut Vec<epoll::Event>) {
        let until = self.forwarder.next().into_iter().chain(next_stats).min();
        let now = Instant::now();
        let timeout = until.map(|until| until.saturating_duration_since(now));
        // Far times come as such; a day is as good.
        let timeout = timeout.map(|t| t.min(Duration::from_secs(86_400)));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        ready.clear();
        let room = rustix::buffer::spare_capacity(ready);
        if let Err(error) = epoll::wait(&*self.epoll, room, timeout.as_ref()) {
            // Interrupted: the turn finds nothing and comes back here.
            debug!(%error, "waiting for media was cut short");
        }
        if ready.iter().any(|event| event.data.u64() == WAKE) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
    }
}

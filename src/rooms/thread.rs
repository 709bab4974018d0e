//! A media thread: waits for its socket, its commands and its timers, and does one batch of each.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::{debug, error};

use super::forwarder::Forwarder;
use super::socket::{Inbox, Socket};
use super::{Busy, Command, EndpointStats};

/// Commands that wait for one thread; one more is refused.
const COMMANDS: usize = 4096;
/// Commands in one turn, each of which may answer an offer: more would delay the media.
const COMMANDS_PER_TURN: usize = 4;
/// Batches of datagrams in one turn.
const BATCHES_PER_TURN: usize = 4;
/// How often the numbers for others are made.
const STATS: Duration = Duration::from_secs(1);

/// The outside's hold on a thread. Dropping it stops the thread.
pub(super) struct Thread {
    address: SocketAddr,
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    wake: OwnedFd,
    stop: AtomicBool,
    stats: Mutex<Vec<EndpointStats>>,
}

impl Thread {
    /// Starts a thread on a socket.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        name: String,
        socket: Arc<Socket>,
        forwarder: Forwarder,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            stats: Mutex::default(),
        });
        let (commands, waiting) = sync_channel(COMMANDS);
        let address = socket.address();
        let worker = Worker {
            socket,
            inbox: Inbox::new(),
            forwarder,
            waiting,
            shared: Arc::clone(&shared),
        };
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run())?;
        Ok(Self {
            address,
            commands,
            shared,
            handle: Some(handle),
        })
    }

    /// The socket's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands over a command.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) fn command(&self, command: Command) -> Result<(), Busy> {
        self.commands.try_send(command).map_err(|_| Busy)?;
        self.shared.wake();
        Ok(())
    }

    /// Its endpoints' numbers.
    pub(super) fn stats(&self) -> Vec<EndpointStats> {
        self.shared.stats().clone()
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
    fn stats(&self) -> MutexGuard<'_, Vec<EndpointStats>> {
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
    forwarder: Forwarder,
    waiting: Receiver<Command>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        let mut next_stats = Instant::now();
        let mut shown = 0;
        let mut more = false;
        while !self.shared.stop.load(Ordering::Relaxed) {
            if !more {
                // Without endpoints the numbers stay as they are, once they show that.
                let busy = shown > 0 || self.forwarder.next().is_some();
                self.wait(busy.then_some(next_stats));
            }
            more = self.carry_out(Instant::now());
            more |= self.receive();
            let now = Instant::now();
            self.forwarder.tend(now);
            self.forwarder.settle(now);
            if now >= next_stats {
                next_stats = now + STATS;
                let stats = self.forwarder.stats();
                shown = stats.len();
                *self.shared.stats() = stats;
            }
        }
        self.forwarder.close(Instant::now());
    }

    /// Carries out some of the commands that wait. False: there were none.
    fn carry_out(&mut self, now: Instant) -> bool {
        let mut some = false;
        for command in self.waiting.try_iter().take(COMMANDS_PER_TURN) {
            self.forwarder.command(now, command);
            some = true;
        }
        some
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

    /// Waits for something to do.
    fn wait(&self, next_stats: Option<Instant>) {
        let until = self.forwarder.next().into_iter().chain(next_stats).min();
        let now = Instant::now();
        let timeout = until.map(|until| until.saturating_duration_since(now));
        // Far times come as such; a day is as good.
        let timeout = timeout.map(|t| t.min(Duration::from_secs(86_400)));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut fds = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.shared.wake.as_fd(), PollFlags::IN),
        ];
        if let Err(error) = poll(&mut fds, timeout.as_ref()) {
            // Interrupted: the turn finds nothing and comes back here.
            debug!(%error, "waiting for media was cut short");
        }
        if fds[1].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
    }
}

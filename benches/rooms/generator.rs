//! The thread on which all endpoints live, each with a socket of its own, as clients have.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;
use tokio::sync::oneshot;

use super::endpoint::Endpoint;
use super::notes::Notes;

/// How long packets may take that were sent at the end of a window.
const LATE: Duration = Duration::from_secs(1);
/// The thread looks after what is due at least this often.
const IDLE: Duration = Duration::from_millis(10);
/// Stands for the stream that wakes the thread; the others are endpoints' places.
const WAKE: u64 = u64::MAX;

enum Command {
    Add(Box<Endpoint>),
    Measure(Range<Instant>, oneshot::Sender<Notes>),
}

/// Its thread ends when it is dropped.
pub(crate) struct Generator {
    commands: mpsc::Sender<Command>,
    waker: UnixStream,
}

impl Generator {
    pub(crate) fn start() -> Self {
        let (commands, receiver) = mpsc::channel();
        let (waker, woken) = UnixStream::pair().unwrap();
        woken.set_nonblocking(true).unwrap();
        std::thread::spawn(move || Thread::new(receiver, woken).run());
        Self { commands, waker }
    }

    /// Takes an endpoint whose offer is answered; gives when it is connected.
    pub(crate) async fn add(&self, mut endpoint: Endpoint) -> Instant {
        let connected = endpoint.connected();
        self.tell(Command::Add(Box::new(endpoint)));
        let limit = Duration::from_secs(20);
        let connected = tokio::time::timeout(limit, connected).await;
        connected.expect("not connected after 20 s").unwrap()
    }

    /// Gives what is noted of packets sent in a window that is still to come.
    pub(crate) async fn measure(&self, window: Range<Instant>) -> Notes {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Measure(window, sender));
        receiver.await.unwrap()
    }

    fn tell(&self, command: Command) {
        self.commands.send(command).unwrap();
        (&self.waker).write_all(&[0]).unwrap();
    }
}

struct Thread {
    commands: mpsc::Receiver<Command>,
    woken: UnixStream,
    epoll: OwnedFd,
    endpoints: Vec<Endpoint>,
    notes: Notes,
    measuring: Option<(Range<Instant>, oneshot::Sender<Notes>)>,
    /// How long this thread had run when the window began.
    ran: Option<Duration>,
}

impl Thread {
    fn new(commands: mpsc::Receiver<Command>, woken: UnixStream) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let data = epoll::EventData::new_u64(WAKE);
        epoll::add(&epoll, &woken, data, epoll::EventFlags::IN).unwrap();
        Self {
            commands,
            woken,
            epoll,
            endpoints: Vec::new(),
            notes: Notes::default(),
            measuring: None,
            ran: None,
        }
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            let due = self.endpoints.iter().map(|it| it.due).min();
            let wait = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
            let wait = Timespec::try_from(wait.min(IDLE)).unwrap();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll: {error}"),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => {
                        if self.woken.read(&mut [0; 64]).is_ok_and(|read| read == 0) {
                            return;
                        }
                    }
                    place => self.endpoints[place as usize].receive(&mut self.notes),
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            let now = Instant::now();
            for endpoint in self.endpoints.iter_mut().filter(|it| it.due <= now) {
                endpoint.wake(now, &mut self.notes);
            }
            self.measure(now);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(endpoint) => {
                let data = epoll::EventData::new_u64(self.endpoints.len() as u64);
                let flags = epoll::EventFlags::IN;
                epoll::add(&self.epoll, endpoint.socket(), data, flags).unwrap();
                self.endpoints.push(*endpoint);
            }
            Command::Measure(window, sender) => {
                self.notes = Notes::of(window.clone());
                self.measuring = Some((window, sender));
                self.ran = None;
            }
        }
    }

    fn measure(&mut self, now: Instant) {
        let Some((window, _)) = &self.measuring else {
            return;
        };
        if now < window.start {
            return;
        }
        let began = *self.ran.get_or_insert_with(ran);
        if now >= window.end && self.notes.busy.is_zero() {
            self.notes.busy = ran() - began;
        }
        if now >= window.end + LATE
            && let Some((_, sender)) = self.measuring.take()
        {
            // Who asked may be gone.
            let _ = sender.send(std::mem::take(&mut self.notes));
        }
    }
}

/// How long this thread has run until now.
fn ran() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

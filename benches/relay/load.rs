//! Messages between pairs, at a pace or as fast as they come back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::MEASURE;
use super::client::{RECEIVED, message};
use super::report::percentiles;
use super::server::Server;

#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// So many messages a second over all pairs, evenly, in both directions.
    Paced { per_second: u32 },
    /// Each message that arrives is sent back; so many are on their way in each pair.
    Closed { in_flight: usize },
}

pub(crate) struct Measured {
    /// Seconds of the server's CPU time.
    pub(crate) cpu_per_message: f64,
    /// Messages a second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Of one processor.
    pub(crate) cpu: f64,
}

/// What all connections note.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) waits: RefCell<Vec<Duration>>,
    received: Cell<u64>,
    is_over: Cell<bool>,
}

/// One end of a pair.
pub(crate) struct End {
    tcp: TcpStream,
    /// When what is on its way to the other end was sent.
    sent: Rc<RefCell<VecDeque<Instant>>>,
    /// When what is on its way to this end was sent.
    coming: Rc<RefCell<VecDeque<Instant>>>,
    notes: Rc<Notes>,
}

pub(crate) async fn run(
    server: &Server,
    pairs: Vec<(TcpStream, TcpStream)>,
    load: Load,
) -> Measured {
    let notes = Rc::new(Notes::default());
    let ends = ends(pairs, &notes);
    let back = matches!(load, Load::Closed { .. });
    for end in &ends {
        tokio::task::spawn_local(receive(Rc::clone(end), back));
    }
    match load {
        Load::Paced { per_second } => {
            tokio::task::spawn_local(pace(ends.clone(), per_second));
        }
        Load::Closed { in_flight } => {
            for end in ends.iter().step_by(2) {
                for _ in 0..in_flight {
                    end.send(1).await;
                }
            }
        }
    }
    tokio::time::sleep(MEASURE / 3).await;
    notes.waits.take();
    let (cpu, received, start) = (server.cpu(), notes.received.get(), Instant::now());
    tokio::time::sleep(MEASURE).await;
    let cpu = (server.cpu() - cpu).as_secs_f64();
    let (messages, elapsed) = (
        notes.received.get() - received,
        start.elapsed().as_secs_f64(),
    );
    notes.is_over.set(true);
    let (p50, p99) = percentiles(notes.waits.take());
    Measured {
        cpu_per_message: cpu / messages as f64,
        rate: messages as f64 / elapsed,
        p50,
        p99,
        cpu: cpu / elapsed,
    }
}

/// Both ends of each pair, one after the other.
pub(crate) fn ends(pairs: Vec<(TcpStream, TcpStream)>, notes: &Rc<Notes>) -> Vec<Rc<End>> {
    let mut ends = Vec::new();
    for (one, other) in pairs {
        let lines = [Rc::default(), Rc::default()];
        for (tcp, sent, coming) in [(one, 0, 1), (other, 1, 0)] {
            ends.push(Rc::new(End {
                tcp,
                sent: Rc::clone(&lines[sent]),
                coming: Rc::clone(&lines[coming]),
                notes: Rc::clone(notes),
            }));
        }
    }
    ends
}

/// Sends evenly, from each end in turn, until it is over.
pub(crate) async fn pace(ends: Vec<Rc<End>>, per_second: u32) {
    let start = Instant::now();
    for n in 0.. {
        let due = start + Duration::from_secs(1) * n / per_second;
        // A timer is too coarse.
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        let end = &ends[n as usize % ends.len()];
        if end.notes.is_over.get() {
            return;
        }
        end.send(1).await;
    }
}

/// Counts what arrives, and sends as much back.
pub(crate) async fn receive(end: Rc<End>, back: bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    while !end.notes.is_over.get() {
        if end.tcp.readable().await.is_err() {
            return;
        }
        bytes += match end.tcp.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => return,
        };
        let whole = bytes / RECEIVED;
        bytes %= RECEIVED;
        let now = Instant::now();
        {
            let mut waits = end.notes.waits.borrow_mut();
            let mut coming = end.coming.borrow_mut();
            for _ in 0..whole {
                waits.push(now - coming.pop_front().unwrap());
            }
        }
        end.notes
            .received
            .set(end.notes.received.get() + whole as u64);
        if back && whole > 0 {
            end.send(whole).await;
        }
    }
}

impl End {
    async fn send(&self, count: usize) {
        let frames = message().repeat(count);
        let now = Instant::now();
        self.sent
            .borrow_mut()
            .extend(std::iter::repeat_n(now, count));
        let mut rest = &frames[..];
        while !rest.is_empty() {
            match self.tcp.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if self.tcp.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl Notes {
    pub(crate) fn end(&self) {
        self.is_over.set(true);
    }
}

//! Many connections, idle ones, and one that is stuck.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{self, hello, message};
use super::load::{self, Notes};
use super::report::{self, percentiles, target};
use super::server::Server;

/// How many register at once.
const AT_ONCE: usize = 2_000;
/// How many are idle.
const IDLE: usize = 10_000;
/// How many are idle over TLS.
const IDLE_SECURELY: usize = 2_000;
/// Messages a second between the others while one is stuck.
const PACE: u32 = 5_000;

/// Connections that all register at the same time.
pub(crate) async fn at_once() {
    let server = Rc::new(Server::ours(&[]));
    println!("\n{AT_ONCE} connections that register at once");
    report::case("2,000 register at once");
    let start = Instant::now();
    let (peers, refused) = register(&server, 0..AT_ONCE).await;
    let taken = start.elapsed().as_secs_f64();
    target("all registered after", taken, "s", taken <= 0.3, "≤ 0.3");
    target("refused", refused as f64, "", refused == 0, "0");
    println!(
        "    of which the server ran {:.3} s",
        server.cpu().as_secs_f64()
    );
    drop(peers);
}

/// Connections that are registered and silent.
pub(crate) async fn idle() {
    let server = Rc::new(Server::ours(&[]));
    println!("\n{IDLE} idle connections");
    report::case("10,000 idle connections");
    let before = server.memory();
    let mut peers = Vec::new();
    for first in (0..IDLE).step_by(500) {
        peers.extend(register(&server, first..first + 500).await.0);
    }
    let each = (server.memory() - before) as f64 / peers.len() as f64 / 1024.0;
    target("memory each", each, "KiB", each <= 10.0, "≤ 10");
    // Let go what registering left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cpu, start) = (server.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let percent = (server.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    target("CPU, without pings", percent, "%", percent <= 1.0, "≤ 1");
    let (cpu, start) = (server.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let percent = (server.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!("    CPU over the next 12 s, in which each is pinged once: {percent:.2} %");
}

/// The same over TLS: what each costs in memory.
pub(crate) async fn idle_securely() {
    let files = tempfile::tempdir().unwrap();
    let (server, tls) = Server::secure(files.path());
    println!("\n{IDLE_SECURELY} idle connections over TLS");
    report::case("2,000 idle connections over TLS");
    let before = server.memory();
    let mut peers = Vec::new();
    for id in 0..IDLE_SECURELY {
        let peer = client::secure_hello(&server, &tls, &format!("p{id}")).await;
        peers.push(peer.unwrap());
    }
    let each = (server.memory() - before) as f64 / peers.len() as f64 / 1024.0;
    target("memory each", each, "KiB", each <= 30.0, "≤ 30");
}

/// One receiver that stops reading, while others talk.
pub(crate) async fn stuck() {
    let server = Server::ours(&[]);
    println!("\none receiver that stops reading");
    report::case("one receiver stops reading");
    let mut pairs = client::pairs(&server, super::PAIRS + 1).await;
    let (sender, stuck) = pairs.pop().unwrap();
    let notes = Rc::new(Notes::default());
    let ends = load::ends(pairs, &notes);
    for end in &ends {
        tokio::task::spawn_local(load::receive(Rc::clone(end), false));
    }
    tokio::task::spawn_local(load::pace(ends, PACE));
    tokio::time::sleep(Duration::from_secs(2)).await;
    notes.waits.take();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (p50, p99) = percentiles(notes.waits.take());
    println!("    others before: p50 {p50:?}, p99 {p99:?}");

    let before = server.memory();
    let most = flood(&server, &sender).await;
    let grown = most.saturating_sub(before) as f64 / f64::from(1 << 20);
    target("memory grows by", grown, "MiB", grown <= 1.0, "≤ 1");
    let (p50, p99) = percentiles(notes.waits.take());
    println!("    others meanwhile: p50 {p50:?}, p99 {p99:?}");
    notes.end();
    drop(stuck);
}

/// Sends until the server has closed the sender, and gives the most memory that the server had.
async fn flood(server: &Server, sender: &TcpStream) -> u64 {
    let frame = message();
    let (mut most, mut rest) = (0, &frame[..]);
    let mut pause = tokio::time::interval(Duration::from_micros(100));
    for sent in 0_u32.. {
        if sent % 16 == 0 {
            most = most.max(server.memory());
            pause.tick().await;
        }
        let mut closed = [0; 16];
        if sender.try_read(&mut closed).is_ok() {
            break;
        }
        match sender.try_write(rest) {
            Ok(written) if written == rest.len() => rest = &frame[..],
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    most.max(server.memory())
}

async fn register(server: &Rc<Server>, ids: std::ops::Range<usize>) -> (Vec<TcpStream>, usize) {
    let count = ids.len();
    let mut opening = JoinSet::new();
    for id in ids {
        let server = Rc::clone(server);
        opening.spawn_local(async move { hello(&server, &format!("p{id}")).await.ok() });
    }
    let peers: Vec<_> = opening.join_all().await.into_iter().flatten().collect();
    let refused = count - peers.len();
    (peers, refused)
}

//! What tokens, limits and metrics cost a message.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use switchboard::hub::{Command, Grants, Payload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::load::Load;
use super::report::{self, OURS, figure, target};
use super::server::{ADMIN, PEER_GRANTS, Server};

// The server's own.
#[allow(
    unused_imports,
    dead_code,
    reason = "its tests, which import things, don't run here, and requests aren't measured"
)]
#[path = "../../src/server/pace.rs"]
mod pace;

/// Under which load both servers stand: a message that comes is sent back at once, so that none of the
/// server's time goes into waiting.
const LOAD: Load = Load::Closed { in_flight: 1 };
/// How often each is measured; the median counts.
const ROUNDS: usize = 5;
/// How often the guarded one's metrics are read.
const SCRAPE: Duration = Duration::from_secs(1);
/// How often a message's guards are run by themselves.
const TIMES: u32 = 5_000_000;
/// What all of it may add to the CPU time per message.
const MOST_PERCENT: f64 = 10.0;

/// A server as it is by default beside one that asks for tokens, has tighter limits, and is read by
/// Prometheus. Limits count, and metrics are counted, in both, because they can't be turned off: what
/// they cost is measured by themselves.
pub(crate) async fn compare() {
    report::case("tokens, limits and metrics");
    println!("\ntokens, limits and metrics, in a closed loop");
    let (mut open, mut guarded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        open.push(cpu_per_message(Server::ours(&[])).await);
        guarded.push(cpu_per_message(Server::guarded()).await);
    }
    let (open, guarded) = (median(open), median(guarded));
    println!(
        "    CPU per message: {:.2} µs by default, {:.2} µs with tokens and metrics read",
        open * 1e6,
        guarded * 1e6
    );
    let own = by_themselves();
    let (base, whole) = (open - own, guarded.max(open));
    let percent = (whole - base) / base * 100.0;
    println!(
        "    of which limits and metrics by themselves: {:.3} µs",
        own * 1e6
    );
    for (name, value) in [
        ("CPU per message, guarded", guarded),
        ("guards by themselves", own),
    ] {
        figure(OURS, name, value * 1e6, "µs");
    }
    target(
        "tokens, limits and metrics together",
        percent,
        "%",
        percent <= MOST_PERCENT,
        "≤ 10",
    );
}

async fn cpu_per_message(server: Server) -> f64 {
    let server = Rc::new(server);
    let scraping = tokio::task::spawn_local(scrape(Rc::clone(&server)));
    let pairs = super::client::pairs(&server, super::PAIRS).await;
    let measured = super::load::run(&server, pairs, LOAD).await;
    scraping.abort();
    measured.cpu_per_message
}

/// Reads the metrics as Prometheus does, only more often; of a server without tokens never.
async fn scrape(server: Rc<Server>) {
    if server.token.is_none() {
        return;
    }
    let request = format!("GET /metrics?token={ADMIN} HTTP/1.0\r\n\r\n");
    loop {
        tokio::time::sleep(SCRAPE).await;
        let mut tcp = TcpStream::connect(&server.address).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.unwrap();
        assert!(
            text.contains("switchboard_relayed_messages_total"),
            "{text}"
        );
    }
}

/// Seconds for what guards and counts one message of one connection: its rate, its address's, its
/// token's grants, and two counters.
fn by_themselves() -> f64 {
    let grants = Grants::new(serde_json::from_str(PEER_GRANTS).unwrap());
    let rate = pace::Rate::new(100_000_000, 1_000_000_000_000);
    let mut own = pace::Pace::new(Instant::now());
    let shared = Mutex::new(own);
    let (messages, bytes) = (Counter::<u64>::default(), Counter::<u64>::default());
    let frame = Payload::from("x".repeat(super::client::PAYLOAD));
    let start = Instant::now();
    for _ in 0..TIMES {
        let mine = own.note(rate, frame.len(), start);
        let of_all = shared.lock().unwrap().note(rate, frame.len(), start);
        let command = Command::ToPartner {
            frame: frame.clone(),
            otherwise: None,
        };
        let _ = black_box((mine.max(of_all), grants.check(command, |_| None)));
        messages.inc();
        bytes.inc_by(frame.len() as u64);
    }
    start.elapsed().as_secs_f64() / f64::from(TIMES)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! A long load, which must leave everything flat: `./dev load [MINUTES]`.
//!
//! Ten thousand connections that are idle and answer pings, and a thousand that talk, in all four
//! dialects. The server is pinned to no processor: this is about what grows, not about speed. It fails
//! if memory, threads or descriptors grow by the rule of [`switchboard::probe::resources`], if anybody
//! is thrown out, or if the talk takes longer at the end than at the beginning.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "load/busy.rs"]
mod busy;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "load/idle.rs"]
mod idle;
#[path = "common/report.rs"]
mod report;
#[path = "load/samples.rs"]
mod samples;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use switchboard::probe::resources::growth;

use common::process::is_alive;
use common::{PATIENCE, Server, wait_until};
use report::{Machine, milliseconds, quantile, target};
use samples::{Recorder, Waits};

/// Wanted connections that are idle, and that talk.
const IDLE: usize = 10_000;
const BUSY: usize = 1_000;
/// Descriptors that this program and the server need beside.
const BESIDE: usize = 500;
/// How long without a number of minutes.
const MINUTES: f64 = 10.0;
/// At the end the slowest hundredth may take twice as long as at first, and this much more: other
/// programs come and go.
const LATER: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let minutes = std::env::args().find_map(|it| it.parse().ok());
    let length = Duration::from_secs_f64(minutes.unwrap_or(MINUTES) * 60.0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let passed = runtime.block_on(load(length));
    // Not waiting for thousands of tasks.
    runtime.shutdown_background();
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn load(length: Duration) -> bool {
    let machine = Machine::this().describe();
    println!("{machine}");
    let (idle, busy) = counts();
    let server = Arc::new(Server::start(&[]).await);
    let lost = Arc::new(AtomicU64::new(0));
    let waits = Waits::default();
    println!("opening {idle} idle connections");
    idle::open(&server, idle, &lost).await;
    println!("opening {busy} busy connections");
    busy::start(&server, busy / 2, &waits, &lost).await;
    println!("measuring for {:.1} minutes", length.as_secs_f64() / 60.0);
    let mut recorder = Recorder::new(server.process());
    let start = Instant::now();
    while start.elapsed() < length {
        tokio::time::sleep(Duration::from_secs(1)).await;
        recorder.sample(&waits);
    }
    let connections = server.metric("switchboard_connections").await;
    let lost = lost.load(Ordering::Relaxed);
    end(&server).await;
    let case = format!(
        "{idle} idle and {busy} busy, {:.1} min",
        length.as_secs_f64() / 60.0
    );
    report::case(&case);
    let passed = judge(&mut recorder, (idle + busy) as f64, connections, lost);
    let text = [
        format!(
            "switchboard {}: {case} ({} connections and pairs lost)",
            env!("CARGO_PKG_VERSION"),
            lost
        ),
        machine,
    ];
    let svg = recorder.figure(&text).unwrap();
    std::fs::write("docs/load.svg", svg).unwrap();
    report::write("load");
    println!("written: docs/load.svg, target/bench/load.json");
    passed
}

/// The tasks that talk hold the server, so that nothing else would end it.
async fn end(server: &Server) {
    let process = server.process();
    server.ask_to_end();
    wait_until(PATIENCE, async || !is_alive(process)).await;
}

/// How many connections this machine allows: each takes a descriptor here, and one there.
fn counts() -> (usize, usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let allowed = limit
        .maximum
        .map_or(usize::MAX, |it| usize::try_from(it).unwrap());
    let room = allowed.saturating_sub(BESIDE);
    if room >= IDLE + BUSY {
        return (IDLE, BUSY);
    }
    let busy = (room / 11).max(8);
    println!(
        "the limit of open files is {allowed}: {} idle and {busy} busy connections instead of {IDLE} and {BUSY}; \
         for all, run: ulimit -n {}",
        room - busy,
        IDLE + BUSY + BESIDE
    );
    (room - busy, busy)
}

/// Prints and keeps what was measured; whether all is as it should be.
fn judge(recorder: &mut Recorder, wanted: f64, connections: f64, lost: u64) -> bool {
    let mut passed = true;
    let mut check = |name: &str, found: f64, unit: &str, met: bool, wanted: &str| {
        passed &= met;
        target(name, found, unit, met, wanted);
    };
    let grown = growth(&recorder.samples);
    if grown.is_empty() {
        println!("    too short to judge what grows: that takes 5 minutes");
    }
    for it in grown {
        let name = format!("{} at the end, {:.0} at first", it.what, it.before);
        check(
            &name,
            it.after,
            it.unit,
            it.flat,
            &format!("≤ {:.0}", it.limit),
        );
    }
    check(
        "idle connections and pairs lost",
        lost as f64,
        "",
        lost == 0,
        "0",
    );
    // Clients of geckos come and go.
    let fewest = wanted - (BUSY / 8) as f64;
    let bound = format!("≥ {fewest:.0}");
    check(
        "connections at the end",
        connections,
        "",
        connections >= fewest,
        &bound,
    );
    let all = &mut recorder.waits;
    let fifth = all.len() / 5;
    let mut first = all[..fifth].to_vec();
    let mut last = all[all.len() - fifth..].to_vec();
    let (first, last) = (quantile(&mut first, 0.99), quantile(&mut last, 0.99));
    let most = first * 2 + LATER;
    let bound = format!("≤ {:.1}", milliseconds(most));
    let name = format!(
        "p99 of the last fifth, {:.1} of the first",
        milliseconds(first)
    );
    check(&name, milliseconds(last), "ms", last <= most, &bound);
    tell(all);
    passed
}

/// Prints and keeps how long the rounds took.
fn tell(all: &mut [Duration]) {
    let rounds = all.len() as f64;
    report::figure(report::OURS, "rounds", rounds, "");
    println!("    {rounds} rounds, each to the other end and back");
    for (name, share) in [
        ("p50", 0.5),
        ("p90", 0.9),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("max", 1.0),
    ] {
        let found = milliseconds(quantile(all, share));
        report::figure(report::OURS, name, found, "ms");
        println!("    {name}: {found:.2} ms");
    }
}

//! What a worker costs, without WebRTC: `cargo bench --bench workers`, about half a minute.
//!
//! Printed: the processor time of a worker's process up to its script's first statement, and how long
//! that took; the memory of each of 200 workers at once; and how many messages go to a worker and
//! back in a second, through its pipe. Nothing fails here; the tests do that.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "common/report.rs"]
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use switchboard::worker::{
    Event, Events, LoadError, Loader, Message, Options, Request, Response, Script, ScriptKind,
    Worker,
};

use report::{Machine, OURS, figure, milliseconds};

/// Workers that are started one after the other.
const STARTS: usize = 50;
/// Workers at once.
const CROWD: usize = 200;
/// Messages on their way to the worker and back at once.
const WINDOW: u32 = 64;
/// How long each kind of message is measured.
const MEASURE: Duration = Duration::from_secs(3);

const ECHO: &str = "onmessage = (event) => postMessage(event.data);";

/// Nothing is loaded here.
struct Nothing;

impl Loader for Nothing {
    fn load(&self, _: Request) -> BoxFuture<'_, Result<Response, LoadError>> {
        Box::pin(async { Err(LoadError("nothing is loaded here".to_owned())) })
    }
}

fn main() {
    println!("{}", Machine::this().describe());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        starts().await;
        crowd().await;
        for (name, message) in [
            (
                "16 bytes of JSON",
                Message::Text("{\"number\":123456}".to_owned()),
            ),
            (
                "16 KiB of JSON",
                Message::Text(format!("\"{}\"", "x".repeat(16 * 1024))),
            ),
            ("16 bytes", Message::Binary(Bytes::from_static(&[7; 16]))),
            ("16 KiB", Message::Binary(vec![7; 16 * 1024].into())),
        ] {
            echo(name, message).await;
        }
    });
    report::write("workers");
}

async fn start(text: &str) -> (Worker, Events) {
    let script = Script {
        url: "https://example.org/worker.js".to_owned(),
        text: text.to_owned(),
        kind: ScriptKind::Classic,
    };
    let mut options = Options::new(script, Arc::new(Nothing));
    options.program = env!("CARGO_BIN_EXE_switchboard").into();
    Worker::start(options).await.unwrap()
}

/// Fork to first statement.
async fn starts() {
    let mut cpu = Vec::new();
    let mut wall = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let (worker, mut events) = start("postMessage(0);").await;
        events.recv().await.unwrap();
        wall.push(begun.elapsed());
        cpu.push(used(worker.process_id().unwrap()));
        worker.stop().await;
    }
    println!(
        "fork to first statement    processor {:.1?} median, {:.1?} worst; waiting {:.1?} median",
        median(&mut cpu),
        cpu.last().unwrap(),
        median(&mut wall),
    );
    report::case("fork to first statement");
    figure(
        OURS,
        "processor, median",
        milliseconds(median(&mut cpu)),
        "ms",
    );
    figure(
        OURS,
        "waiting, median",
        milliseconds(median(&mut wall)),
        "ms",
    );
}

/// Many at once.
async fn crowd() {
    let begun = Instant::now();
    let workers = futures_util::future::join_all((0..CROWD).map(|_| start(ECHO))).await;
    let took = begun.elapsed();
    let (mut resident, mut own) = (Vec::new(), Vec::new());
    for (worker, _) in &workers {
        let rollup = format!("/proc/{}/smaps_rollup", worker.process_id().unwrap());
        let rollup = std::fs::read_to_string(rollup).unwrap();
        resident.push(kibibytes(&rollup, "Rss:"));
        own.push(kibibytes(&rollup, "Pss:"));
    }
    println!(
        "{CROWD} workers at once        started in {took:.1?}; each {} KiB resident, {} KiB with its share of what is shared",
        median(&mut resident),
        median(&mut own),
    );
    report::case("200 workers at once");
    figure(OURS, "started in", took.as_secs_f64(), "s");
    figure(
        OURS,
        "memory each, with its share",
        median(&mut own) as f64,
        "KiB",
    );
}

async fn echo(name: &str, message: Message) {
    let (worker, mut events) = start(ECHO).await;
    let process = worker.process_id().unwrap();
    let mut rounds = Vec::new();
    for _ in 0..1000 {
        let begun = Instant::now();
        worker.post(message.clone()).await.unwrap();
        events.recv().await.unwrap();
        rounds.push(begun.elapsed());
    }
    let (begun, before) = (Instant::now(), used(process));
    let mut count = 0;
    for _ in 0..WINDOW {
        worker.post(message.clone()).await.unwrap();
    }
    while begun.elapsed() < MEASURE {
        let Some(Event::Message(_)) = events.recv().await else {
            panic!("the worker ended");
        };
        count += 1;
        worker.post(message.clone()).await.unwrap();
    }
    let cpu = used(process) - before;
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    report::case(&format!("echo of {name}"));
    figure(OURS, "a second", rate, "");
    figure(
        OURS,
        "round trip, median",
        milliseconds(median(&mut rounds)),
        "ms",
    );
    println!(
        "echo of {name:18} {rate:6.0} a second, {:6.0} for a second of the worker's processor; round trip {:.0?} median",
        f64::from(count) / cpu.as_secs_f64(),
        median(&mut rounds),
    );
}

/// How long a process has run.
fn used(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    let first = text.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(first.unwrap())
}

fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The middle one; the values are sorted then.
fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort();
    values[values.len() / 2]
}

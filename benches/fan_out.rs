//! What one more viewer costs: `cargo bench --bench fan_out`, about two minutes.
//!
//! The device runs in this process and the viewers in a child process, so that the numbers are the
//! device's alone. Printed: CPU time with 0, 1, 2, 5, 10 and 20 viewers of one 640×480 VP8 stream;
//! then file descriptors, threads and memory while 200 viewers come and go, and how long each waited
//! from the start of its session to its first packet. Nothing fails here; the tests do that.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "common/report.rs"]
mod report;

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use std::sync::Arc;
use switchboard::media::{
    Codec, Kind, PipelineFile, Session, SessionConfig, SessionEvent, SessionEvents, Source,
    SourceOptions, StreamConfig,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use report::{Machine, OURS, figure, milliseconds, quantile};

/// The argument that makes this program the viewers.
const VIEWERS: &str = "--viewers";
/// How long each number of viewers is measured.
const MEASURE: Duration = Duration::from_secs(6);
/// How many viewers come and go.
const CHURN: usize = 200;

fn main() {
    switchboard::media::init().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::args().any(|argument| argument == VIEWERS) {
        runtime.block_on(viewers());
    } else {
        println!("{}", Machine::this().describe());
        runtime.block_on(device());
        report::write("fan_out");
    }
}

async fn device() {
    let file = PipelineFile::find("test", &[]).unwrap();
    let source = Source::open(file, SourceOptions::default()).await.unwrap();
    let mut others = Others::start();
    let idle = cpu(MEASURE).await;
    println!("viewers   CPU of one core   for each further viewer");
    println!("{:7}   {:13.1} %", 0, idle * 100.0);
    let mut sessions = Vec::new();
    let mut first = 0.0;
    for viewers in [1, 2, 5, 10, 20] {
        while sessions.len() < viewers {
            let (call, wait) = others.call(&source).await;
            if sessions.is_empty() {
                println!("        (session start to first packet from idle: {wait:?})");
            }
            sessions.push(call);
        }
        let used = cpu(MEASURE).await;
        report::case(&format!("{viewers} viewers"));
        figure(OURS, "CPU of one core", used * 100.0, "%");
        if viewers == 1 {
            first = used;
            println!("{viewers:7}   {:13.1} %", used * 100.0);
        } else {
            let each = (used - first) / (viewers - 1) as f64;
            println!(
                "{viewers:7}   {:13.1} %   {:20.2} %",
                used * 100.0,
                each * 100.0
            );
            figure(OURS, "CPU of each further viewer", each * 100.0, "%");
        }
    }
    // One stays, as in real life; the others go.
    for session in sessions.split_off(1) {
        others.close(session).await;
    }
    churn(&source, &mut others).await;
    others.child.kill().await.unwrap();
}

async fn churn(source: &Arc<Source>, others: &mut Others) {
    println!("\n    joins   descriptors   threads   memory");
    let mut waits = Vec::new();
    for viewer in 0..=CHURN {
        if [0, 1, 10, 20, 50, 100, 150, CHURN].contains(&viewer) {
            // Sessions end on threads of their own; give the last one the time to.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let count = |path: &str| std::fs::read_dir(path).unwrap().count();
            let (fds, threads) = (count("/proc/self/fd"), count("/proc/self/task"));
            println!(
                "{viewer:9}   {fds:11}   {threads:7}   {:3.1} MB",
                resident()
            );
        }
        if viewer < CHURN {
            let (session, wait) = others.call(source).await;
            waits.push(wait);
            others.close(session).await;
        }
    }
    let [median, p95, worst] = [0.5, 0.95, 1.0].map(|share| quantile(&mut waits, share));
    println!(
        "\nsession start to first packet with a running encoder: median {median:?}, p95 {p95:?}, worst {worst:?}"
    );
    report::case("session start to first packet, encoder running");
    figure(OURS, "median", milliseconds(median), "ms");
    figure(OURS, "p95", milliseconds(p95), "ms");
}

/// The viewers' process, seen from the device.
struct Others {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    next: u64,
}

/// One call, seen from the device.
struct Call {
    id: u64,
    session: Session,
    _events: SessionEvents,
}

impl Others {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(VIEWERS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            to,
            from,
            next: 0,
        }
    }

    async fn say(&mut self, message: &Value) {
        self.to
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
    }

    /// Calls one viewer, and waits until it has its first packet.
    async fn call(&mut self, source: &Arc<Source>) -> (Call, Duration) {
        let start = Instant::now();
        self.next += 1;
        let id = self.next;
        let stream = StreamConfig {
            source: source.clone(),
            stream_id: "display_0".to_owned(),
            kind: Kind::Video,
            codecs: vec![Codec::Vp8],
        };
        let config = SessionConfig {
            streams: vec![stream],
            ..SessionConfig::default()
        };
        let (mut session, mut events) = Session::start(config).await.unwrap();
        let offer = session.offer().await.unwrap();
        self.say(&json!({ "id": id, "offer": offer })).await;
        loop {
            tokio::select! {
                event = events.recv() => match event.unwrap() {
                    SessionEvent::Candidate { mline_index, candidate, .. } => {
                        self.say(&json!({ "id": id, "mline": mline_index, "candidate": candidate })).await;
                    }
                    SessionEvent::Failed { why } => panic!("{why}"),
                    _ => {}
                },
                line = self.from.next_line() => {
                    let message: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
                    if message["id"] != id {
                        continue;
                    }
                    match message["answer"].as_str() {
                        Some(answer) => session.accept_answer(answer).await.unwrap(),
                        None => return (Call { id, session, _events: events }, start.elapsed()),
                    }
                }
            }
        }
    }

    async fn close(&mut self, call: Call) {
        self.say(&json!({ "id": call.id, "close": true })).await;
        call.session.close().await;
    }
}

/// The other process: answers every offer and drains what comes.
async fn viewers() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut calls: HashMap<u64, mpsc::Sender<Value>> = HashMap::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let message: Value = serde_json::from_str(&line).unwrap();
        let id = message["id"].as_u64().unwrap();
        let call = calls.entry(id).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(256);
            tokio::spawn(viewer(id, receiver));
            sender
        });
        let closes = message["close"] == true;
        call.send(message).await.unwrap();
        if closes {
            calls.remove(&id);
        }
    }
}

async fn viewer(id: u64, mut messages: mpsc::Receiver<Value>) {
    // Without a jitter buffer, which would hold the first packet back.
    let config = SessionConfig {
        receive_latency: Duration::ZERO,
        ..SessionConfig::default()
    };
    let (mut session, mut events) = Session::start(config).await.unwrap();
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { break };
                if let Some(offer) = message["offer"].as_str() {
                    let answer = session.answer(offer).await.unwrap();
                    println!("{}", json!({ "id": id, "answer": answer }));
                } else if let Some(candidate) = message["candidate"].as_str() {
                    let mline = u32::try_from(message["mline"].as_u64().unwrap()).unwrap();
                    session.add_candidate(mline, None, candidate);
                } else {
                    break;
                }
            }
            event = events.recv() => match event {
                Some(SessionEvent::Track { .. }) => println!("{}", json!({ "id": id, "sees": true })),
                Some(_) => {}
                None => break,
            }
        }
    }
    session.close().await;
}

/// The share of one core that this process uses over a time.
async fn cpu(time: Duration) -> f64 {
    let (start, before) = (Instant::now(), cpu_time());
    tokio::time::sleep(time).await;
    (cpu_time() - before) / start.elapsed().as_secs_f64()
}

/// Seconds of CPU time that this process has used, all threads, user and system.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may contain anything: fields 14 and 15 in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

/// Resident memory in megabytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

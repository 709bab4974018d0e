//! What forwarding a room's media costs: `./dev bench rooms`, about five minutes; see
//! docs/rooms-performance.md.
//!
//! The server is pinned to one processor and this program, which is all clients, to the others.
//! Beside it, in the same run and under the same load, stands Janus as Debian has it. A packet that
//! was sent carries the time, so that what arrives tells how long it took, this program's own queue
//! included. Nothing fails here; the tests do that. CPU time is the process's own, user and system,
//! of all its threads. Arguments choose cases and servers: `./dev bench rooms 100 janus`.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "rooms/endpoint.rs"]
mod endpoint;
#[path = "rooms/generator.rs"]
mod generator;
#[path = "rooms/janus.rs"]
mod janus;
#[path = "rooms/notes.rs"]
mod notes;
#[path = "common/process.rs"]
mod process;
#[path = "common/report.rs"]
mod report;
#[path = "rooms/server.rs"]
mod server;
#[path = "rooms/socket.rs"]
mod socket;
#[path = "rooms/switchboard.rs"]
mod switchboard;

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use endpoint::Load;
use generator::Generator;
use janus::Janus;
use report::{Machine, milliseconds, percentiles, target};
use server::{Member as _, Server};
use switchboard::Switchboard;

const WARM_UP: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(10);
/// 1 Mbit/s.
const FULL: Load = Load {
    video_per_second: 100,
    audio_per_second: 50,
};
/// What one processor can send and receive for 1,000 endpoints.
const THIN: Load = Load {
    video_per_second: 20,
    audio_per_second: 10,
};

/// Who is there. Everybody receives every publisher but itself.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    rooms: usize,
    /// In each room.
    publishers: usize,
    /// In each room, beside the publishers.
    listeners: usize,
    load: Load,
}

const CASES: [Case; 6] = [
    Case::one_to("1", 1),
    Case::one_to("10", 10),
    Case::one_to("50", 50),
    Case::one_to("100", 100),
    Case::one_to("200", 200),
    Case {
        name: "mesh",
        rooms: 10,
        publishers: 10,
        listeners: 0,
        load: THIN,
    },
];

/// What is wanted of our server, and with how many subscribers if it matters.
const MOST_TIMES_JANUS: f64 = 0.5;
const MOST_P99: (&str, Duration) = ("100", Duration::from_millis(20));
const MOST_JOIN: Duration = Duration::from_millis(20);
const MOST_MEMORY: f64 = 0.5;

struct Measured {
    /// Seconds of the server's CPU time for each packet that arrived.
    cpu_per_packet: f64,
    /// Of one processor.
    cpu: f64,
    delivered: f64,
    p50: Duration,
    p99: Duration,
    answered: Duration,
    connected: Duration,
    /// Bytes.
    memory: u64,
    memory_each: f64,
    threads: u64,
    /// Of one processor, this program's.
    generator: f64,
    failures: u64,
}

fn main() {
    process::raise_descriptor_limit();
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let servers = [Janus::NAME, Switchboard::NAME];
    let takes = |name: &str, names: &[&str]| {
        let mut among = chosen
            .iter()
            .filter(|it| names.contains(&it.as_str()))
            .peekable();
        among.peek().is_none() || among.any(|it| it == name)
    };
    println!("{}", Machine::this().describe());
    process::leave_first_processor();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        print_head();
        for case in CASES
            .iter()
            .filter(|it| takes(it.name, &CASES.map(|it| it.name)))
        {
            println!("{}", case.describe());
            report::case(&case.describe());
            let mut theirs = None;
            if takes(Janus::NAME, &servers) && Janus::is_there() {
                theirs = Some(measure::<Janus>(case).await);
            }
            if takes(Switchboard::NAME, &servers) {
                let ours = measure::<Switchboard>(case).await;
                judge(case, &ours, theirs.as_ref());
            }
        }
    });
    report::write("rooms");
}

async fn measure<S: Server>(case: &Case) -> Measured {
    let server = S::start().await;
    let generator = Generator::start();
    let rooms = join_all((0..case.rooms).map(|room| fill(case, &server, &generator, room))).await;
    let before = server.process().memory();
    let joins = rooms
        .into_iter()
        .map(|members| subscribe::<S>(case, members, &generator));
    let joins = join_all(joins).await.concat();

    let start = Instant::now() + WARM_UP;
    let end = start + MEASURE;
    let cpu = async {
        tokio::time::sleep_until(start.into()).await;
        let cpu = server.process().cpu();
        tokio::time::sleep_until(end.into()).await;
        (server.process().cpu() - cpu).as_secs_f64()
    };
    let (notes, cpu) = tokio::join!(generator.measure(start..end), cpu);

    let memory = server.process().memory();
    let each = case.listeners + case.publishers - 1;
    let (p50, p99) = percentiles(notes.waits.clone());
    let measured = Measured {
        cpu_per_packet: cpu / notes.waits.len() as f64,
        cpu: cpu / MEASURE.as_secs_f64(),
        delivered: notes.waits.len() as f64 / (notes.sent * each as u64) as f64,
        p50,
        p99,
        answered: percentiles(joins.iter().map(|it| it.0).collect()).0,
        connected: percentiles(joins.iter().map(|it| it.1).collect()).0,
        memory,
        memory_each: memory.saturating_sub(before) as f64 / joins.len() as f64,
        threads: server.process().status("Threads:"),
        generator: notes.busy.as_secs_f64() / MEASURE.as_secs_f64(),
        failures: notes.failures,
    };
    print_row(S::NAME, &measured);
    measured
}

/// Lets everybody into a room, and the publishers publish.
async fn fill<S: Server>(
    case: &Case,
    server: &S,
    generator: &Generator,
    room: usize,
) -> Vec<S::Member> {
    let mut members = Vec::new();
    for user in 0..case.publishers + case.listeners {
        let mut member = server.join(room, user).await;
        if user < case.publishers {
            let endpoint = member.publish(case.load).await;
            generator.add(endpoint).await;
        }
        members.push(member);
    }
    members
}

/// Lets everybody receive every other publisher, one after the other. Gives how long each took to be
/// answered, and to be connected.
async fn subscribe<S: Server>(
    case: &Case,
    mut members: Vec<S::Member>,
    generator: &Generator,
) -> Vec<(Duration, Duration)> {
    let mut joins = Vec::new();
    for (user, member) in members.iter_mut().enumerate() {
        for publisher in (0..case.publishers).filter(|&it| it != user) {
            let receiving = member.receive(publisher).await;
            let connected = generator.add(receiving.endpoint).await;
            joins.push((receiving.answered, connected - receiving.asked));
        }
    }
    joins
}

impl Case {
    const fn one_to(name: &'static str, listeners: usize) -> Self {
        Self {
            name,
            rooms: 1,
            publishers: 1,
            listeners,
            load: FULL,
        }
    }

    fn describe(&self) -> String {
        let Load {
            video_per_second: video,
            audio_per_second: audio,
        } = self.load;
        match self.rooms {
            1 => format!("1 publisher, {} subscribers", self.listeners),
            rooms => format!(
                "{rooms} rooms of {} who all publish {video} + {audio} packets a second",
                self.publishers
            ),
        }
    }
}

fn print_head() {
    println!(
        "\n{} video packets of 1,200 bytes and {} audio packets of 100 bytes a second\n\n\
         {:13} {:>10} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7} {:>9}",
        FULL.video_per_second,
        FULL.audio_per_second,
        "",
        "CPU/packet",
        "CPU",
        "delivered",
        "p50",
        "p99",
        "answer",
        "connected",
        "memory",
        "each",
        "threads",
        "generator"
    );
}

fn print_row(name: &str, it: &Measured) {
    println!(
        "  {name:11} {:7.1} µs {:5.1} % {:7.2} % {:6.2} ms {:6.2} ms {:6.1} ms {:6.1} ms {:5.1} MB {:5.2} MB {:7} {:7.1} %",
        it.cpu_per_packet * 1e6,
        it.cpu * 100.0,
        it.delivered * 100.0,
        milliseconds(it.p50),
        milliseconds(it.p99),
        milliseconds(it.answered),
        milliseconds(it.connected),
        it.memory as f64 / 1e6,
        it.memory_each / 1e6,
        it.threads,
        it.generator * 100.0,
    );
    for (figure, value, unit) in [
        ("CPU per packet", it.cpu_per_packet * 1e6, "µs"),
        ("latency, p50", milliseconds(it.p50), "ms"),
        ("latency, p99", milliseconds(it.p99), "ms"),
        ("join, connected", milliseconds(it.connected), "ms"),
        ("memory of a subscriber", it.memory_each / 1e6, "MB"),
    ] {
        report::figure(name, figure, value, unit);
    }
    if it.failures > 0 {
        println!("    failures of the generator: {}", it.failures);
    }
}

/// Says which targets are met.
fn judge(case: &Case, ours: &Measured, theirs: Option<&Measured>) {
    if let Some(theirs) = theirs {
        let times = ours.cpu_per_packet / theirs.cpu_per_packet;
        target(
            "CPU per packet",
            times,
            "× Janus's",
            times <= MOST_TIMES_JANUS,
            "≤ 0.5",
        );
    }
    let delivered = ours.delivered * 100.0;
    target("delivered", delivered, "%", delivered >= 100.0, "100");
    if case.name == MOST_P99.0 {
        let met = ours.p99 <= MOST_P99.1;
        target("p99", milliseconds(ours.p99), "ms", met, "≤ 20");
    }
    if case.rooms == 1 {
        let met = ours.answered <= MOST_JOIN;
        target(
            "join, median",
            milliseconds(ours.answered),
            "ms",
            met,
            "≤ 20",
        );
        let each = ours.memory_each / 1e6;
        target("memory each", each, "MB", each <= MOST_MEMORY, "≤ 0.5");
    }
}

//! What relaying costs: `./dev bench relay`, about three minutes.
//!
//! The server is pinned to one processor and this program to the others. Beside it, in the same run
//! and under the same load, stands the floor: a bare relay between pairs over the same WebSocket
//! library, which does nothing else; and if `SWITCHBOARD_REFERENCE` has the command of another server of
//! GStreamer's dialect, with `{port}` in it, that one, too. Nothing fails here; the tests do that. CPU time is the process's
//! own, user and system, of all its threads.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "relay/client.rs"]
mod client;
#[path = "relay/crowd.rs"]
mod crowd;
#[path = "relay/floor.rs"]
mod floor;
#[path = "relay/guards.rs"]
mod guards;
#[path = "relay/load.rs"]
mod load;
#[path = "common/process.rs"]
mod process;
#[path = "common/report.rs"]
mod report;
#[path = "relay/server.rs"]
mod server;

use std::time::Duration;

use load::{Load, Measured};
use report::{Machine, OURS, milliseconds, target};
use server::Server;

/// The argument that makes this program the floor.
const FLOOR: &str = "--floor";
const PAIRS: usize = 100;
/// How long each load is measured, after as long a third for warming up.
const MEASURE: Duration = Duration::from_secs(4);
/// Our CPU time per message may be this many times the floor's.
const MOST_TIMES_FLOOR: f64 = 1.5;

/// A load and what is wanted of our server under it.
struct Case {
    name: &'static str,
    load: Load,
    rate: Option<f64>,
    p50: Option<Duration>,
    p99: Option<Duration>,
}

const CASES: [Case; 4] = [
    Case {
        name: "5,000 a second",
        load: Load::Paced { per_second: 5_000 },
        rate: None,
        p50: None,
        p99: None,
    },
    Case {
        name: "20,000 a second",
        load: Load::Paced { per_second: 20_000 },
        rate: None,
        p50: Some(Duration::from_micros(200)),
        p99: Some(Duration::from_millis(1)),
    },
    Case {
        name: "closed loop",
        load: Load::Closed { in_flight: 1 },
        rate: Some(80_000.0),
        p50: None,
        p99: None,
    },
    Case {
        name: "16 in flight",
        load: Load::Closed { in_flight: 16 },
        rate: Some(250_000.0),
        p50: None,
        p99: None,
    },
];

fn main() {
    process::raise_descriptor_limit();
    if std::env::args().any(|argument| argument == FLOOR) {
        floor::run();
        return;
    }
    let only = std::env::args().nth(1).filter(|it| !it.starts_with('-'));
    println!("{}", Machine::this().describe());
    process::leave_first_processor();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        if only.as_deref().is_none_or(|only| only == "loads") {
            loads().await;
        }
        if only.as_deref().is_none_or(|only| only == "guards") {
            guards::compare().await;
        }
        if only.as_deref().is_none_or(|only| only == "crowd") {
            crowd::at_once().await;
            crowd::idle().await;
            crowd::idle_securely().await;
            crowd::stuck().await;
        }
    });
    report::write("relay");
}

async fn loads() {
    println!(
        "\n{} bytes a message, {PAIRS} pairs, one processor\n\n{:16} {:>9} {:>11} {:>10} {:>9} {:>9}",
        client::PAYLOAD,
        "",
        "CPU/msg",
        "msgs/s",
        "p50",
        "p99",
        "CPU"
    );
    for case in &CASES {
        report::case(case.name);
        println!("{}", case.name);
        let floor = measure(Server::floor(), case.load).await;
        print_row("bare relay", &floor);
        if let Some(reference) = Server::reference().await {
            print_row("reference", &measure(reference, case.load).await);
        }
        let ours = measure(Server::ours(&[]), case.load).await;
        print_row(OURS, &ours);
        let times = ours.cpu_per_message / floor.cpu_per_message;
        target(
            "CPU per message",
            times,
            "× the floor",
            times <= MOST_TIMES_FLOOR,
            "≤ 1.5",
        );
        if let Some(rate) = case.rate {
            let wanted = format!("≥ {rate}");
            target(
                "messages a second",
                ours.rate,
                "",
                ours.rate >= rate,
                &wanted,
            );
        }
        for (name, found, most) in [("p50", ours.p50, case.p50), ("p99", ours.p99, case.p99)] {
            if let Some(most) = most {
                let wanted = format!("≤ {most:?}");
                target(name, milliseconds(found), "ms", found <= most, &wanted);
            }
        }
    }
}

async fn measure(server: Server, load: Load) -> Measured {
    let pairs = client::pairs(&server, PAIRS).await;
    load::run(&server, pairs, load).await
}

fn print_row(name: &str, it: &Measured) {
    let (p50, p99) = (milliseconds(it.p50), milliseconds(it.p99));
    println!(
        "  {name:14} {:6.2} µs {:11.0} {p50:7.3} ms {p99:6.3} ms {:7.1} %",
        it.cpu_per_message * 1e6,
        it.rate,
        it.cpu * 100.0,
    );
    report::figure(name, "CPU per message", it.cpu_per_message * 1e6, "µs");
    report::figure(name, "messages a second", it.rate, "");
    report::figure(name, "latency, p50", p50, "ms");
    report::figure(name, "latency, p99", p99, "ms");
}

//! What a worker on a gecko costs its page: `cargo bench --bench gecko`, about half a minute.
//!
//! Through a real server and a real `switchboard gecko`, with webrtcbin as the page on the same
//! machine. Printed: from the demand to the open data channel; a round trip; how many messages go to
//! the worker and back in a second, and what each of them costs the page, the gecko and the worker.
//! On a busy machine only that last line means something. Nothing fails here; the tests do that.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/gecko/page.rs"]
mod page;
#[path = "common/report.rs"]
mod report;
#[path = "../tests/common/viewer.rs"]
mod viewer;

use std::time::{Duration, Instant};

use common::{Server, process, wait_until};
use page::{Page, channel};
use process::{PATIENCE, Process};
use report::{Machine, OURS, figure, milliseconds, quantile};

/// Workers that are started one after the other.
const STARTS: usize = 30;
/// Round trips.
const ROUNDS: usize = 1000;
/// Messages on their way to the worker and back at once.
const WINDOW: u32 = 256;
/// How long the echo is measured.
const MEASURE: Duration = Duration::from_secs(5);
/// A small message.
const MESSAGE: &str = r#"{"number":12345}"#;
/// The worker. It logs nothing, unlike the sample.
const ECHO: &str = "onmessage = (event) => postMessage(event.data);";

fn main() {
    println!("{}", Machine::this().describe());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let assets = tempfile::tempdir().unwrap();
        std::fs::write(assets.path().join("echo.js"), ECHO).unwrap();
        let server = Server::start(&["--assets", assets.path().to_str().unwrap()]).await;
        let url = format!("ws://{}", server.address());
        let gecko = Process::start(&["gecko", &url, "--id", "bench"]);
        wait_until(PATIENCE, async || {
            server.get("/api/endpoints").await.body.contains("bench")
        })
        .await;
        let echo = format!("http://{}/echo.js", server.address());
        starts(&server, &echo).await;
        let mut page = Page::open(server.address(), &echo, channel()).await;
        page.connected().await;
        round_trips(&mut page).await;
        throughput(&mut page, gecko.id()).await;
    });
    report::write("gecko");
}

async fn starts(server: &Server, echo: &str) {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut page = Page::offered(server.address(), channel()).await;
        let begun = Instant::now();
        page.demand(echo).await;
        page.answered().await;
        page.opened().await;
        times.push(begun.elapsed());
        page.close().await;
    }
    let (median, p95) = spread(&mut times);
    println!("demand to open channel    {median:.0?} median, {p95:.0?} p95");
    report::case("demand to open channel");
    keep(median, p95);
}

async fn round_trips(page: &mut Page) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        page.session.send_text("worker", MESSAGE).unwrap();
        page.text("worker").await;
        times.push(begun.elapsed());
    }
    let (median, p95) = spread(&mut times);
    println!("round trip                {median:.0?} median, {p95:.0?} p95");
    report::case("round trip");
    keep(median, p95);
}

async fn throughput(page: &mut Page, gecko: u32) {
    let processes = [std::process::id(), gecko, worker(gecko)];
    let mut count = 0;
    for _ in 0..WINDOW {
        page.session.send_text("worker", MESSAGE).unwrap();
    }
    let (begun, before) = (Instant::now(), processes.map(used));
    while begun.elapsed() < MEASURE {
        page.text("worker").await;
        page.session.send_text("worker", MESSAGE).unwrap();
        count += 1;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    println!("echo of 16 bytes          {rate:.0} a second");
    report::case("echo of 16 bytes");
    figure(OURS, "a second", rate, "");
    let after = processes.map(used);
    let [page, gecko, worker] = [0, 1, 2].map(|it| (after[it] - before[it]) / count);
    println!(
        "  processor for each      {page:.1?} of the page, {gecko:.1?} of the gecko, {worker:.1?} of the worker"
    );
}

/// The only worker's process.
fn worker(gecko: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{gecko}/task")).unwrap();
    let mut children = tasks.map(|task| {
        let path = task.unwrap().path().join("children");
        std::fs::read_to_string(path).unwrap_or_default()
    });
    let id = children.find_map(|ids| ids.split_whitespace().next()?.parse().ok());
    id.unwrap()
}

/// The processor's time that a process has used, with all of its threads.
fn used(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may be anything: user and system time are the 12th and the 13th.
    let (_, fields) = text.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.map(|it| it.parse::<u64>().unwrap()).sum();
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
}

/// The median, and what only one of twenty is above.
fn spread(times: &mut [Duration]) -> (Duration, Duration) {
    (quantile(times, 0.5), quantile(times, 0.95))
}

fn keep(median: Duration, p95: Duration) {
    figure(OURS, "median", milliseconds(median), "ms");
    figure(OURS, "p95", milliseconds(p95), "ms");
}

//! How long a viewer waits: from the opened WebSocket to the first decoded frame, and from a frame's
//! capture to the screen. Real server, real device, real Chromium, all on this machine.
//!
//! `cargo bench --bench first_frame -- [--runs N]`. It prints what it measured beside the targets and
//! judges nothing: a loaded machine isn't a slow program.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/browser/driver.rs"]
mod driver;
#[path = "../tests/common/log.rs"]
mod log;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/browser/program.rs"]
mod program;
#[path = "common/report.rs"]
mod report;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use driver::{Browser, Screen};
use program::Program;
use report::{Machine, OURS, figure, milliseconds, quantile};

/// Calls in each state of the device.
const RUNS: usize = 30;
/// Frames whose age is read.
const FRAMES: usize = 600;
/// How long the device keeps its encoder after the last viewer (its `--linger`).
const LINGER: f64 = 0.2;
/// How long after that a device certainly is idle.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Reads the clock that `pipelines/test-clock.toml` describes from every frame that is shown, and
/// gives the frames' ages in milliseconds.
const AGES: &str = "
return (async (wanted) => {
  const video = document.querySelector('.screen video');
  const canvas = new OffscreenCanvas(24 * 16, 16);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const ages = [];
  while (ages.length < wanted) {
    await new Promise((shown) => video.requestVideoFrameCallback(shown));
    const now = Math.round(performance.timeOrigin + performance.now());
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 8, 24 * 16, 1);
    let clock = 0;
    for (let bit = 0; bit < 24; bit += 1) clock = clock * 2 + (data[(bit * 16 + 8) * 4] > 127 ? 1 : 0);
    ages.push(((now % 2 ** 24) - clock + 2 ** 24) % 2 ** 24);
  }
  return ages;
})(...arguments);
";

#[tokio::main]
async fn main() {
    let runs = runs();
    let (_server, url) = Program::listen("serve").await;
    let linger = LINGER.to_string();
    let _device = Program::device(
        &url,
        "clock",
        &["--pipeline", "test-clock", "--linger", &linger],
    );
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-device=clock]')")
        .await;
    // The first call in a new browser pays for the browser's own start.
    let first = call(&browser).await;

    let idle = calls_while_idle(&browser, runs).await;
    let running = calls_while_running(&browser, &url, runs).await;
    call(&browser).await;
    let ages = browser.run(AGES, vec![json!(FRAMES)]).await;
    let ages = ages
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(Value::as_f64);

    tell(&[
        ("first call of a new browser", vec![first], "–"),
        (
            "first frame, device idle before",
            idle,
            "median ≤ 300, p95 ≤ 500",
        ),
        ("first frame, encoder running", running, "median ≤ 200"),
        (
            "capture → screen, 640×480, 30 fps",
            ages.collect(),
            "median ≤ 40",
        ),
    ]);
}

/// Nobody watches before each call: the device has stopped its source and its encoder.
async fn calls_while_idle(browser: &Browser, runs: usize) -> Vec<f64> {
    let mut taken = Vec::new();
    for _ in 0..runs {
        leave(browser).await;
        sleep(SETTLE).await;
        taken.push(call(browser).await);
    }
    leave(browser).await;
    taken
}

/// Another window watches all the time. It is closed afterwards.
async fn calls_while_running(browser: &Browser, url: &str, runs: usize) -> Vec<f64> {
    let client = browser.client();
    let window = client.window().await.expect("a window");
    let other = client.new_window(false).await.expect("a window").handle;
    client
        .switch_to_window(other.clone())
        .await
        .expect("it is there");
    browser.open(&format!("{url}#device=clock")).await;
    browser
        .until("window.switchboard?.stats()?.firstFrameMs")
        .await;

    client
        .switch_to_window(window.clone())
        .await
        .expect("it is there");
    let mut taken = Vec::new();
    for _ in 0..runs {
        taken.push(call(browser).await);
        leave(browser).await;
    }

    client.switch_to_window(other).await.expect("it is there");
    client.close_window().await.expect("it closes");
    client.switch_to_window(window).await.expect("it is there");
    taken
}

/// `--runs N`. Cargo adds a flag of its own, which means nothing here.
fn runs() -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--runs");
    match arguments.nth(1) {
        Some(number) => number.parse().expect("--runs takes a whole number"),
        None => RUNS,
    }
}

/// Plays the device, and gives the milliseconds from the open WebSocket to the first frame.
async fn call(browser: &Browser) -> f64 {
    browser.run("location.hash = '#device=clock'", vec![]).await;
    let taken = browser
        .until("window.switchboard.stats()?.firstFrameMs")
        .await;
    taken.as_f64().expect("milliseconds")
}

/// Leaves the device, so that the next call is a new one.
async fn leave(browser: &Browser) {
    browser.run("location.hash = '#'", vec![]).await;
    browser.until("window.switchboard.stats() === null").await;
}

fn tell(rows: &[(&str, Vec<f64>, &str)]) {
    println!(
        "\n{}\n\n{:36} {:>5} {:>9} {:>9} {:>9}  target (ms)",
        Machine::this().describe(),
        "milliseconds",
        "n",
        "median",
        "p95",
        "max"
    );
    for (name, values, target) in rows {
        let seconds = values.iter().map(|ms| Duration::from_secs_f64(ms / 1e3));
        let mut sorted: Vec<_> = seconds.collect();
        let [median, p95, max] =
            [0.5, 0.95, 1.0].map(|share| milliseconds(quantile(&mut sorted, share)));
        println!(
            "{name:36} {:>5} {median:>9.0} {p95:>9.0} {max:>9.0}  {target}",
            sorted.len(),
        );
        report::case(name);
        figure(OURS, "median", median, "ms");
        figure(OURS, "p95", p95, "ms");
    }
    report::write("first_frame");
}

//! More than anybody takes: it costs bounded memory, that worker at most, and no other one anything.

use std::time::Duration;

use switchboard::media::ChannelError;
use tokio::time::{sleep, timeout};

use super::page::{Page, channel};
use super::scripts::{echo, no_children};
use super::site::Site;
use super::{PATIENCE, Process, Server, gecko, server};

/// A long message.
const LONG: usize = 60_000;
/// Memory that a gecko may take for one flood, in bytes. What one worker's queues hold is a fraction of
/// it; the rest is allocators of many threads.
const FLOODED: u64 = 64 * 1024 * 1024;

/// A gecko that has a script, and an echo on it that works.
async fn with_other(script: &str) -> (Server, Process, Page, String) {
    let site = Site::scripts(&[("/w.js", script)]).await;
    let server = server().await;
    let own = format!("http://{}", server.address());
    let origins = ["--allow-origin", &site.origin, "--allow-origin", &own];
    let gecko = gecko(&server, &origins).await;
    let mut other = Page::open(server.address(), &echo(&server), channel()).await;
    assert_eq!(other.json().await, "hello from the echo worker");
    (server, gecko, other, site.url("/w.js"))
}

async fn echoes(page: &mut Page) {
    page.session.send_text("worker", "1").unwrap();
    assert_eq!(page.json().await, 1);
}

/// The most memory that a process has had, in bytes.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_floods_a_slow_worker_loses_that_worker_and_nothing_else() {
    let slow = "onmessage = () => { const until = performance.now() + 200; while (performance.now() < until); };";
    let (server, gecko, mut other, url) = with_other(slow).await;
    let flooding = Page::open(server.address(), &url, channel()).await;
    let before = peak(&gecko);
    let message = format!("\"{}\"", "x".repeat(LONG));
    let flood = async {
        loop {
            match flooding.session.send_text("worker", &message) {
                Ok(()) => tokio::task::yield_now().await,
                Err(ChannelError::Full { .. }) => sleep(Duration::from_millis(1)).await,
                Err(_) => break,
            }
        }
    };
    let over = timeout(PATIENCE * 2, flood).await;
    over.expect("the worker's end");
    gecko.logged("worker ended").await;
    assert!(peak(&gecko) - before < FLOODED, "{}", peak(&gecko) - before);
    echoes(&mut other).await;
    flooding.close().await;
    other.close().await;
    no_children(&gecko).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_floods_its_page_waits_for_it_and_the_others_do_not() {
    const MESSAGES: usize = 1000;
    let flood = "const long = 'x'.repeat(60000); onmessage = () => \
        { const flood = () => { for (let n = 0; n < 20; n++) postMessage(long); setTimeout(flood); }; flood(); };";
    let (server, gecko, mut other, url) = with_other(flood).await;
    let mut flooded = Page::open(server.address(), &url, channel()).await;
    let before = peak(&gecko);
    flooded.session.send_text("worker", "1").unwrap();
    for number in 0..MESSAGES {
        let length = flooded.text("worker").await.len();
        assert_eq!(length, LONG + 2);
        if number % 100 == 0 {
            echoes(&mut other).await;
        }
    }
    assert!(peak(&gecko) - before < FLOODED, "{}", peak(&gecko) - before);
    flooded.close().await;
    echoes(&mut other).await;
    other.close().await;
    no_children(&gecko).await;
}

//! One of the three disappears: the other two are told, and nothing stays behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::page::{Page, channel};
use super::process::is_alive;
use super::scripts::no_children;
use super::site::{self, Site};
use super::{PATIENCE, Process, Server, gecko, registered, server, wait_until};

/// A gecko and a page whose worker runs and answers.
async fn three() -> (Server, Process, Page) {
    let server = server().await;
    let gecko = gecko(&server, &[]).await;
    let echo = format!("http://{}/console/workers/echo.js", server.address());
    let mut page = Page::open(server.address(), &echo, channel()).await;
    page.connected().await;
    assert_eq!(page.json().await, "hello from the echo worker");
    (server, gecko, page)
}

async fn no_sessions(server: &Server) {
    server
        .wait_for_metric("switchboard_gecko_sessions", 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_worker() {
    let (server, gecko, page) = three().await;
    assert_eq!(gecko.children().len(), 1);
    let left = Instant::now();
    page.close().await;
    gecko.logged("worker ended").await;
    no_children(&gecko).await;
    assert!(left.elapsed() < Duration::from_secs(5));
    no_sessions(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_ends_the_start() {
    let site = Site::start([("/slow.js", site::Page::Silent)]).await;
    let server = server().await;
    let gecko = gecko(&server, &["--allow-origin", &site.origin]).await;
    let page = Page::start(server.address(), &site.url("/slow.js"), channel()).await;
    server
        .wait_for_metric("switchboard_gecko_sessions", 1.0)
        .await;
    drop(page);
    gecko.logged("client-gone").await;
    no_children(&gecko).await;
    no_sessions(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_it_is_connected_ends_the_worker() {
    let server = server().await;
    let gecko = gecko(&server, &[]).await;
    let echo = format!("http://{}/console/workers/echo.js", server.address());
    // Never takes the answer.
    let offer = {
        let mut page = Page::start(server.address(), &echo, channel()).await;
        page.answered().await;
        page.link = None;
        page
    };
    gecko.logged("client-gone").await;
    no_children(&gecko).await;
    no_sessions(&server).await;
    drop(offer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_that_is_killed_takes_its_workers_along() {
    let (server, mut gecko, _page) = three().await;
    let workers = gecko.children();
    assert_eq!(workers.len(), 1);
    gecko.end(Signal::KILL).await;
    wait_until(PATIENCE, async || !workers.iter().any(|id| is_alive(*id))).await;
    server.wait_for_metric("switchboard_endpoints", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_that_stops_says_goodbye() {
    let (_server, mut gecko, mut page) = three().await;
    let workers = gecko.children();
    let status = gecko.end(Signal::TERM).await;
    assert_eq!(status.code(), Some(0));
    assert!(!workers.iter().any(|id| is_alive(*id)));
    page.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_that_is_killed_before_its_answer_costs_the_client_an_error() {
    let site = Site::start([("/slow.js", site::Page::Silent)]).await;
    let server = Server::configured("[limits]\ngecko_grace = 0.7", &[]).await;
    let mut gecko = gecko(&server, &["--allow-origin", &site.origin]).await;
    let mut page = Page::start(server.address(), &site.url("/slow.js"), channel()).await;
    server
        .wait_for_metric("switchboard_gecko_sessions", 1.0)
        .await;
    gecko.end(Signal::KILL).await;
    let (errno, _) = page.refused().await;
    assert!(matches!(errno, 302 | 303), "{errno}");
    no_sessions(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_while_the_server_is_away_and_new_ones_come_when_it_is_back() {
    let (mut server, gecko, mut page) = three().await;
    let address = server.address().to_owned();
    server.terminate().await;
    gecko.logged("no signaling").await;
    page.session.send_text("worker", "\"still here\"").unwrap();
    assert_eq!(page.json().await, "still here");

    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", &address]);
    let server = Server::spawn(command, None, 1).await;
    registered(&server).await;
    let echo = format!("http://{address}/console/workers/echo.js");
    let mut second = Page::open(&address, &echo, channel()).await;
    assert_eq!(second.json().await, "hello from the echo worker");
    page.session.send_text("worker", "1").unwrap();
    assert_eq!(page.json().await, 1);
    assert_eq!(gecko.children().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_whose_id_is_taken_over_ends_and_says_why() {
    let server = server().await;
    let mut first = gecko(&server, &[]).await;
    let second = gecko(&server, &[]).await;
    assert_eq!(first.exit().await.code(), Some(1));
    first.logged("give each its own --id").await;
    drop(second);
}

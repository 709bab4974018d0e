//! The built `switchboard gecko` at the built server, with a page of webrtcbin's own.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod disappearing;
mod media;
mod page;
mod scripts;
mod site;
#[path = "../common/viewer.rs"]
mod viewer;

use common::{Server, process, wait_until};
use process::{PATIENCE, Process};

/// Starts a server.
async fn server() -> Server {
    Server::start(&[]).await
}

/// Starts a gecko and waits until the server has it.
async fn gecko(server: &Server, arguments: &[&str]) -> Process {
    let url = format!("ws://{}", server.address());
    let gecko = Process::start(&[&["gecko", &url, "--id", "it"], arguments].concat());
    registered(server).await;
    gecko
}

/// Waits until the server has a gecko.
async fn registered(server: &Server) {
    wait_until(PATIENCE, async || {
        server.get("/api/endpoints").await.body.contains("\"it\"")
    })
    .await;
}

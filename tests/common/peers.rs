//! A server, and peers that print what they receive as lines of JSON.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::collections::HashMap;

use serde_json::Value;
use tokio::time::Instant;

use crate::process::{PATIENCE, Process};

/// Starts a server on an address and says where it listens.
pub(crate) async fn server(address: &str) -> (Process, String) {
    let mut server = Process::start(&["serve", "--listen", address]);
    let address = server.listening().await;
    (server, address)
}

/// The next line of results with this key; its value, and the peer that it is about.
pub(crate) async fn result(process: &mut Process, key: &str) -> (Value, String) {
    process
        .line(key, |line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let peer = line["peer"].as_str().unwrap_or_default().to_owned();
            Some((line.get(key)?.clone(), peer))
        })
        .await
}

/// Waits until this one counted pictures and sound of every one of these since now.
pub(crate) async fn receives(process: &mut Process, from: &[&str]) {
    let mut left: HashMap<&str, u32> = from.iter().map(|&id| (id, 2)).collect();
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "nothing from {left:?}");
        let (count, peer) = result(process, "count").await;
        let enough = count["video"]["frames"].as_u64() > Some(3)
            && count["audio"]["frames"].as_u64() > Some(10);
        if enough && let Some(times) = left.get_mut(peer.as_str()) {
            *times -= 1;
            if *times == 0 {
                left.remove(peer.as_str());
            }
        }
    }
}

//! Calls and rooms through a real TURN server, of which the signaling server tells.

use serde_json::Value;

use crate::turn::{SECRET, Turn, server};
use crate::{call, member};

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_a_call_and_of_a_room_find_the_relay_by_themselves() {
    let turn = Turn::start().await;
    let (_server, address) = server(&turn.url("udp"), SECRET).await;
    let relay = ["--ice-policy", "relay", "--receive", "count"];
    let callee = call(&address, &[&relay[..], &["--id", "7"]].concat());
    callee.logged("registered").await;
    let mut caller = call(
        &address,
        &[&relay[..], &["--id", "8", "--peer", "7"]].concat(),
    );
    let _first = member(&address, "1", &relay).await;
    let mut second = member(&address, "2", &relay).await;
    for peer in [&mut caller, &mut second] {
        peer.line("a second with pictures", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let frames = line["count"]["video"]["frames"].as_u64()?;
            (frames > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_turn_server_a_call_over_relays_only_says_what_to_add() {
    let (_server, address) = crate::server("127.0.0.1:0").await;
    let callee = call(&address, &["--id", "7", "--ice-policy", "relay"]);
    callee.logged("registered").await;
    let mut caller = call(&address, &["--peer", "7", "--ice-policy", "relay"]);
    assert_eq!(caller.exit().await.code(), Some(1));
    let log = caller.log();
    assert!(
        log.contains("no TURN server is named; add one with --ice-server"),
        "{log}"
    );
}

//! By which ways peers find each other.

use crate::process::Process;
use crate::scenes::{Call, Pair, Town};
use crate::turn::{SECRET, configuration};

const RELAY: [&str; 2] = ["--ice-policy", "relay"];

#[tokio::test(flavor = "multi_thread")]
async fn on_one_cable_media_goes_directly() {
    let Some(Pair { one, two }) = Pair::new(&["10.0.0.1/24"], &["10.0.0.2/24"]) else {
        return;
    };
    let mut call = Call::start([&one, &one, &two], "10.0.0.1", None, &[], &[]).await;
    call.flows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_two_nats_stun_is_enough() {
    let Some(town) = Town::new() else { return };
    let _turn = town.turn().await;
    let stun = ["--ice-server", "stun:203.0.113.1"];
    let mut call = town.call(None, &stun, &stun).await;
    call.flows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_carry_media_over_udp_tcp_and_tls() {
    let Some(town) = Town::new() else { return };
    let mut turn = town.turn().await;
    let ca = turn.certificate();
    for way in ["udp", "tcp", "tls"] {
        let config = configuration(&turn.url(way), SECRET);
        let relay = [&RELAY[..], &["--ca", ca.to_str().unwrap()]].concat();
        let mut call = town.call(Some(config.path()), &relay, &relay).await;
        call.flows().await;
        allocated(&mut turn.process).await;
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_a_relay_over_tcp_takes_over() {
    let Some(town) = Town::new() else { return };
    town.homes[1].router.nft(
        "table ip firewall {
            chain pass { type filter hook forward priority -10; meta l4proto udp drop; }
        }",
    );
    let turn = town.turn().await;
    let urls = format!("{}\", \"{}", turn.url("udp"), turn.url("tcp"));
    let config = configuration(&urls, SECRET);
    let mut call = town.call(Some(config.path()), &[], &[]).await;
    call.flows().await;
}

async fn allocated(turn: &mut Process) {
    // Both of them.
    for _ in 0..2 {
        turn.line("allocation", |line| {
            line.contains("ALLOCATE processed, success").then_some(())
        })
        .await;
    }
}

//! Many at once: gst.md A.6's ghosts, and registrations in a crowd.

use std::sync::Arc;

use futures_util::future::join_all;

use super::Peer;
use crate::common::{PATIENCE, Server, wait_until};

/// Connections that register at once; as many as a machine's usual limits of open files allow.
const CROWD: usize = 2_000;

#[tokio::test]
async fn members_that_vanish_together_leave_no_ghost_and_every_goodbye_arrives() {
    let server = Server::start(&[]).await;
    for round in 0..20 {
        let room = format!("ROOM r{round}");
        let mut members = Vec::new();
        for n in 0..6 {
            let mut member = Peer::hello(&server, &format!("m{n}")).await;
            member.say(&room).await;
            assert!(member.line().await.starts_with("ROOM_OK "));
            members.push(member);
        }
        let mut stays = members.swap_remove(0);
        for n in 1..6 {
            stays.hears(&format!("ROOM_PEER_JOINED m{n}")).await;
        }
        for (n, member) in members.into_iter().enumerate() {
            if (n + round) % 2 == 0 {
                member.reset();
            } else {
                drop(member);
            }
        }
        let mut left = Vec::new();
        for _ in 1..6 {
            left.push(stays.line().await);
        }
        left.sort();
        let expected: Vec<_> = (1..6).map(|n| format!("ROOM_PEER_LEFT m{n}")).collect();
        assert_eq!(left, expected);
        stays.gets("ROOM_PEER_LIST", "ROOM_PEER_LIST ").await;
        stays.close().await;
    }
    wait_until(PATIENCE, async || {
        let shown = server.get("/api/endpoints").await.json();
        shown == serde_json::json!({"endpoints": [], "rooms": []})
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_registers_at_once_is_registered_to_the_last() {
    raise_descriptor_limit();
    let server = Arc::new(Server::start(&[]).await);
    let crowd = (0..CROWD).map(|n| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { Peer::hello(&server, &format!("p{n}")).await })
    });
    let mut peers = Vec::new();
    for peer in join_all(crowd).await {
        peers.push(peer.unwrap());
    }
    let endpoints = server.metric("switchboard_endpoints").await;
    assert!(
        (endpoints - CROWD as f64).abs() < f64::EPSILON,
        "{endpoints}"
    );
    assert!(server.metric("switchboard_connections_refused_total").await < 1.0);
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

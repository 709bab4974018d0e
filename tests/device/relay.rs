//! Media through a real TURN server, coturn, with credentials that the signaling server minted.

use std::path::PathBuf;

use switchboard::peer::ice::Ice;
use switchboard::peer::link::{Dialer, ServerUrl, Trust};

use crate::turn::{SECRET, Turn, server};
use crate::watcher::Watcher;

/// How a viewer finds its way through TURN only, by what the server tells it.
fn relay_only(server: &str, ca: PathBuf) -> Ice {
    let url = ServerUrl::new(&format!("ws://{server}"), "/").unwrap();
    let trust = Trust {
        ca: Some(ca),
        ..Trust::default()
    };
    let dialer = Dialer::new(url, &trust).unwrap();
    Ice::new(Vec::new(), true).trusting(&dialer)
}

#[tokio::test(flavor = "multi_thread")]
async fn video_comes_through_a_relay_over_udp_tcp_and_tls() {
    let mut turn = Turn::start().await;
    for way in ["udp", "tcp", "tls"] {
        let (_server, address) = server(&turn.url(way), SECRET).await;
        let ca = turn.certificate();
        let relay = ["--ice-policy", "relay", "--ca", ca.to_str().unwrap()];
        let device = crate::device(&address, &relay).await;
        let ice = relay_only(&address, ca.clone());
        let mut watcher = Watcher::begin(&address, "it", ice, &[]).await;
        watcher.sees().await;
        let path = ("relay".to_owned(), "relay".to_owned());
        assert_eq!(watcher.path().await, path, "{way}");
        // Both of them have got a relay from it.
        for _ in 0..2 {
            turn.process
                .line("allocation", |line| {
                    line.contains("ALLOCATE processed, success").then_some(())
                })
                .await;
        }
        drop((watcher, device));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_said_to_be_why_no_media_comes() {
    let turn = Turn::start().await;
    for way in ["udp", "tls"] {
        let (_server, address) = server(&turn.url(way), "south").await;
        let ca = turn.certificate();
        let relay = ["--ice-policy", "relay", "--ca", ca.to_str().unwrap()];
        let device = crate::device(&address, &relay).await;
        let _watcher = Watcher::begin(&address, "it", Ice::new(Vec::new(), false), &[]).await;
        device
            .logged(
                "no TURN server gave a relay address: none answers, or none takes the credentials",
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_server_whose_certificate_is_unknown_is_not_used() {
    let turn = Turn::start().await;
    let (_server, address) = server(&turn.url("tls"), SECRET).await;
    let device = crate::device(&address, &["--ice-policy", "relay"]).await;
    let _watcher = Watcher::begin(&address, "it", Ice::new(Vec::new(), false), &[]).await;
    device.logged("no TLS connection to a TURN server").await;
    device.logged("no TURN server gave a relay address").await;
    assert!(device.log().contains("UnknownIssuer"), "{}", device.log());
}

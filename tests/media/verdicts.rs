//! Every way in which media may not come has a sentence of its own.

use std::sync::Arc;

use switchboard::media::{Codec, Metrics, Reason, Session, SessionConfig, SessionEvent, Verdict};
use switchboard::net::InterfaceRules;

use crate::badlink::{BadLink, Conditions, Side};
use crate::pair::{DEADLINE, Pair};
use crate::{grey, video};

/// The last thing that a side was told about trouble.
fn trouble(told: &[SessionEvent]) -> Option<&Verdict> {
    told.iter().rev().find_map(|event| match event {
        SessionEvent::Trouble { verdict } => Some(&**verdict),
        _ => None,
    })
}

/// A pair that offered and answered, and what the device says after a while.
async fn told(mut pair: Pair) -> Verdict {
    pair.device_offers().await;
    pair.until("the device's verdict", |pair| {
        trouble(&pair.told_device).is_some()
    })
    .await;
    let verdict = trouble(&pair.told_device).unwrap().clone();
    pair.close().await;
    verdict
}

async fn pair() -> Pair {
    let source = grey(100).await;
    Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await
}

/// A pair on the loopback interface whose packets go by way of a bad link.
pub(crate) async fn pair_on(link: &Arc<BadLink>) -> Pair {
    let source = grey(100).await;
    let loopback = SessionConfig {
        interfaces: InterfaceRules {
            allow: vec!["lo".parse().unwrap()],
            ..InterfaceRules::default()
        },
        ..SessionConfig::default()
    };
    let device = SessionConfig {
        interfaces: loopback.interfaces.clone(),
        ..video(&source, Codec::Vp8)
    };
    let mut pair = Pair::start(device, loopback).await;
    pair.paths = [Side::A, Side::B].map(|side| -> crate::pair::Path {
        let link = link.clone();
        Box::new(move |candidate| link.candidate(side, candidate))
    });
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_that_never_arrive_are_missed() {
    let mut pair = pair().await;
    pair.paths = [(); 2].map(|()| -> crate::pair::Path { Box::new(|_| None) });
    let verdict = told(pair).await;
    assert_eq!(verdict.reason, Reason::NoRemoteAddress, "{verdict}");
    assert!(
        verdict.tried[0].starts_with("our addresses: "),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_answers_is_listed_as_tried() {
    let mut pair = pair().await;
    let dead = "candidate:1 1 UDP 2015363327 192.0.2.7 9 typ host";
    pair.paths = [Box::new(|_| None), Box::new(|_| Some(dead.to_owned()))];
    let verdict = told(pair).await;
    // Which of the two depends on whether this machine has a public address.
    let expected = [
        Reason::PrivateAddresses,
        Reason::ContainerAddresses,
        Reason::Unanswered,
    ];
    assert!(expected.contains(&verdict.reason), "{verdict}");
    assert!(verdict.what.contains("answered no check"), "{verdict}");
    assert!(
        verdict
            .tried
            .iter()
            .all(|pair| pair.ends_with("→ 192.0.2.7:9")),
        "{verdict:?}"
    );
    assert!(verdict.advice.contains("TURN"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn families_that_do_not_meet_are_named() {
    let mut pair = pair().await;
    let other = "candidate:1 1 UDP 2015363327 fe80::7 9 typ host";
    pair.paths = [Box::new(|_| None), Box::new(|_| Some(other.to_owned()))];
    let verdict = told(pair).await;
    assert_eq!(verdict.reason, Reason::AddressFamilies, "{verdict}");
    let has = "it has link-local IPv6 only";
    assert!(verdict.what.ends_with(has), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_relays_without_a_turn_server_end_the_session_at_once() {
    let source = grey(100).await;
    let metrics = Metrics::default();
    let config = SessionConfig {
        relay_only: true,
        metrics: Some(metrics.clone()),
        ..video(&source, Codec::Vp8)
    };
    let (mut session, mut events) = Session::start(config).await.unwrap();
    session.offer().await.unwrap();
    let failed = async {
        let mut verdict = None;
        while let Some(event) = events.recv().await {
            match event {
                SessionEvent::Trouble { verdict: it } => verdict = Some(it),
                SessionEvent::Failed { why } => return (verdict.unwrap(), why),
                _ => {}
            }
        }
        panic!("no reason")
    };
    let (verdict, why) = tokio::time::timeout(DEADLINE, failed).await.unwrap();
    assert_eq!(verdict.reason, Reason::NoTurnServer, "{verdict}");
    assert_eq!(why, verdict.to_string());
    session.close().await;
    let text = metrics.text();
    let line = "switchboard_peer_failures_total{reason=\"no_turn_server\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_pass_without_keys_are_told_from_those_that_do_not() {
    let conditions = Conditions {
        checks_only: true,
        ..Conditions::default()
    };
    let link = Arc::new(BadLink::start(1, conditions));
    let verdict = told(pair_on(&link).await).await;
    assert_eq!(verdict.reason, Reason::Dtls, "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promised_media_that_does_not_come_is_missed() {
    let source = grey(100).await;
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    pair.device.play(None).unwrap();
    pair.device_offers().await;
    pair.until("the viewer's verdict", |pair| {
        trouble(&pair.told_viewer).is_some()
    })
    .await;
    let verdict = trouble(&pair.told_viewer).unwrap();
    assert_eq!(verdict.reason, Reason::NoMedia, "{verdict}");
    assert!(
        verdict
            .what
            .contains("it sends video, but not one packet of it came"),
        "{verdict}"
    );
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_is_said_to_be_silent() {
    let link = Arc::new(BadLink::start(1, Conditions::default()));
    let mut pair = pair_on(&link).await;
    pair.device_offers().await;
    pair.until("pictures", |pair| {
        pair.eyes.seen().pictures.values().any(|it| it.frames > 3)
    })
    .await;
    let phases = pair.viewer.stats().await.unwrap().phases;
    assert!(phases.first_frame >= phases.first_packet, "{phases:?}");
    assert!(
        phases.signaling.is_some() && phases.checks.is_some() && phases.dtls.is_some(),
        "{phases:?}"
    );
    for side in [Side::A, Side::B] {
        link.change(side, |conditions| conditions.loss = 1.0);
    }
    pair.until("the viewer's verdict", |pair| {
        trouble(&pair.told_viewer).is_some()
    })
    .await;
    let verdict = trouble(&pair.told_viewer).unwrap();
    assert_eq!(verdict.reason, Reason::Silent, "{verdict}");
    assert!(verdict.what.contains(" → "), "{verdict}");
    pair.close().await;
}

//! For the targets of `fuzz/`: what the other side of a session, and the servers between, may say.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::Told;
use super::verdict::{Facts, Stage, judge};
use super::{Offered, SessionConfig, check, ice, sdp};
use crate::config::IceServer;
use crate::media::{Codec, Kind};

/// Descriptions of two sides: an offer and its answer, if the second is one.
///
/// # Panics
/// If they are rewritten into something else.
pub fn descriptions(offer: &str, answer: &str) {
    let known = check::layout(offer);
    if let Ok(offered) = Offered::read(offer) {
        let _ = offered.is_in(&[Codec::Vp8, Codec::Opus]);
        assert!(check::offer(offer, &known).is_ok(), "it contradicts itself");
        let _ = check::answer(answer, &known);
    }
    let sections = sdp::sections(offer);
    let directions: Vec<_> = sections.iter().map(|it| it.direction).collect();
    // These are for descriptions of our own.
    let _ = (
        sdp::with_retransmissions(offer),
        sdp::with_feedback(answer, offer),
    );
    let role = sdp::role(answer);
    let rewritten = [
        role.map(|role| sdp::with_role(offer, role.other())),
        Some(sdp::with_open_role(offer)),
        Some(sdp::both_ways(offer, &[0, 2])),
        Some(sdp::answering(offer, &directions)),
    ];
    for text in rewritten.into_iter().flatten() {
        let again = check::layout(&text);
        assert_eq!(again, known, "its sections have changed");
    }
}

/// Candidates of both sides, as they are told, and why none of them works.
pub fn candidates(ours: &[&str], theirs: &[&str], advertised: &[IpAddr], flags: u8) {
    let told = Told::new(&SessionConfig {
        advertise: advertised.to_vec(),
        ..SessionConfig::default()
    });
    for candidate in ours {
        assert!(!told.candidates(candidate).is_empty());
        let _ = told.description(format!("v=0\r\na={candidate}\r\n"));
    }
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let stages = [
        Stage::Signaling,
        Stage::Checks,
        Stage::Dtls,
        Stage::Connected,
        Stage::Lost,
    ];
    let lines = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
    for stage in stages {
        let verdict = judge(&Facts {
            stage,
            lasted: Duration::from_secs(flags.into()),
            local: lines(ours),
            remote: lines(theirs),
            heard: flag(0),
            revealed: usize::from(flag(1)),
            has_turn: flag(2),
            relay_only: flag(3),
            no_relay: flag(4),
            path: None,
            packets: u64::from(flag(5)),
            missing: flag(6).then_some(Kind::Video),
            has_packets: flag(5),
            silent: flag(7).then_some(Duration::from_secs(1)),
        });
        assert!(!verdict.what.is_empty() && !verdict.advice.is_empty());
    }
}

/// An ICE server, as libnice is told of it.
///
/// # Panics
/// If what is written isn't one word.
pub fn ice_server(url: &str, name: &str, password: &str) {
    let server = IceServer {
        username: Some(name.to_owned()),
        credential: Some(password.to_owned()),
        ..IceServer::bare(url)
    };
    let _ = ice::convert(url, &server);
}

//! What facts mean.

use std::time::Duration;

use super::super::certificate::Certificate;
use super::super::machine::{self, Machine};
use super::super::pair::Pair;
use super::super::server::{Distrust, Http, Refusal, Server, Socket, Tls, Told};
use super::super::stun::{Asked, Outcome, Stun};
use super::super::turn::{Failure, Over, Relayed, Try, Way};
use super::super::{Addresses, Facts};
use super::*;
use crate::dialect::Dialect;
use crate::media::{
    Codec, Element, ElementState, EncoderInfo, EncoderKind, EncoderState, Inventory, Need,
};
use crate::net::{Interface, InterfaceRules};
use crate::peer::link::ServerUrl;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// A machine on which everything works, and nobody outside was asked.
fn well() -> Facts {
    let element = |name, need| Element {
        name,
        need,
        state: ElementState::Works,
    };
    let encoder = |codec, element| EncoderInfo {
        codec,
        element,
        kind: EncoderKind::Software,
        state: EncoderState::Works,
    };
    let inventory = Inventory {
        version: "1.22.0".to_owned(),
        elements: vec![
            element("nicesrc", Need::Core),
            element("v4l2src", Need::Part("cameras")),
        ],
    };
    let encoders = [
        encoder(Codec::Vp8, "vp8enc"),
        encoder(Codec::H264, "x264enc"),
        encoder(Codec::Vp9, "vp9enc"),
        encoder(Codec::Av1, "av1enc"),
        encoder(Codec::Opus, "opusenc"),
    ];
    Facts {
        machine: Machine {
            gstreamer: Ok(inventory),
            encoders: Ok(encoders.to_vec()),
            descriptors: (1024, 1_048_576),
            pair: Pair::Connected(Duration::from_millis(150)),
        },
        addresses: addresses(&[("lo", "127.0.0.1"), ("eth0", "192.168.1.5")]),
        stun: Some(Stun {
            asked: vec![seen("stun.example:3478", "203.0.113.7:4000")],
        }),
        turn: Vec::new(),
        server: None,
        now: NOW,
    }
}

fn addresses(interfaces: &[(&str, &str)]) -> Addresses {
    let interface = |&(name, ip): &(&str, &str)| Interface {
        name: name.to_owned(),
        ip: ip.parse().unwrap(),
    };
    let all: Vec<_> = interfaces.iter().map(interface).collect();
    let chosen = InterfaceRules::default().choose(&all);
    Addresses {
        chosen: chosen.map_err(|error| error.to_string()),
        all: Ok(all),
        advertised: Default::default(),
    }
}

fn seen(server: &str, address: &str) -> Asked {
    Asked {
        server: server.to_owned(),
        outcome: Outcome::Seen(address.parse().unwrap()),
    }
}

fn tried(over: Over, is_named: bool, outcome: Result<(), Failure>) -> Try {
    Try {
        way: Way {
            host: "turn.example".to_owned(),
            port: 3478,
            over,
            is_named,
        },
        expires: None,
        outcome: outcome.map(|()| Relayed {
            address: "203.0.113.1:50000".parse().unwrap(),
            took: Duration::from_millis(20),
        }),
    }
}

fn unauthorized() -> Failure {
    Failure::Refused {
        code: 401,
        reason: "Unauthorized".to_owned(),
    }
}

fn server() -> Server {
    Server {
        url: ServerUrl::new("wss://example.org", "/").unwrap(),
        port: Ok(Duration::from_millis(3)),
        tls: Some(Tls {
            certificate: Some(certificate(NOW + 80 * DAY)),
            trusted: Ok(()),
        }),
        http: Ok(Http {
            status: http::StatusCode::OK,
            clock_ahead: Some(1),
            proxy: None,
        }),
        told: Told::Servers(vec![crate::config::IceServer::bare("turn:turn.example")]),
        sockets: vec![
            socket(Dialect::Cuttlefish, "/register_device", Ok(())),
            socket(Dialect::GStreamer, "/", Ok(())),
        ],
    }
}

fn certificate(until: i64) -> Certificate {
    Certificate {
        names: vec!["example.org".to_owned()],
        from: NOW - 10 * DAY,
        until,
        last_day: "2026-11-20".to_owned(),
    }
}

fn socket(dialect: Dialect, path: &str, outcome: Result<(), Refusal>) -> Socket {
    Socket {
        dialect: Some(dialect),
        path: path.to_owned(),
        outcome,
    }
}

/// The findings of these facts that aren't ok, each with its level.
#[track_caller]
fn bad(facts: &Facts) -> Vec<Finding> {
    let all = findings(facts);
    for finding in &all {
        let is_ok = finding.level == Level::Ok;
        assert_eq!(finding.why.is_none(), is_ok, "{finding:?}");
        assert_eq!(finding.fix.is_none(), is_ok, "{finding:?}");
    }
    all.into_iter().filter(|it| it.level != Level::Ok).collect()
}

/// The only finding that isn't ok.
#[track_caller]
fn only(facts: &Facts) -> Finding {
    let mut bad = bad(facts);
    assert_eq!(bad.len(), 1, "{bad:?}");
    bad.remove(0)
}

#[track_caller]
fn says(finding: &Finding, level: Level, what: &str, command: &str) {
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.what.contains(what), "{finding:?}");
    let said = finding.command.as_deref().unwrap_or_default();
    assert!(said.contains(command), "{finding:?}");
}

#[test]
fn where_everything_works_nothing_is_found() {
    let facts = Facts {
        server: Some(server()),
        ..well()
    };
    assert_eq!(bad(&facts), []);
}

#[test]
fn a_missing_element_is_a_problem_if_every_call_needs_it() {
    let mut facts = well();
    let inventory = facts.machine.gstreamer.as_mut().unwrap();
    inventory.elements[0].state = ElementState::Missing;
    says(&only(&facts), Level::Problem, "lacks nicesrc", "");
    let inventory = facts.machine.gstreamer.as_mut().unwrap();
    inventory.elements[0].state = ElementState::Works;
    inventory.elements[1].state = ElementState::Missing;
    let finding = only(&facts);
    says(&finding, Level::Warning, "lacks v4l2src", "");
    assert!(finding.why.unwrap().contains("cameras"));
    let inventory = facts.machine.gstreamer.as_mut().unwrap();
    let file = Some("/lib/x.so".to_owned());
    inventory.elements[1].state = ElementState::Broken { file };
    says(
        &only(&facts),
        Level::Warning,
        "/lib/x.so",
        "gst-inspect-1.0 v4l2src",
    );
}

#[test]
fn a_gstreamer_that_is_slow_is_not_one_that_is_broken() {
    let mut facts = well();
    facts.machine.gstreamer = Err(machine::Failure::Slow(9));
    facts.machine.pair = Pair::Untried;
    says(&only(&facts), Level::Problem, "not ready", "doctor");
    facts.machine.gstreamer = Err(machine::Failure::Broken("no libgstreamer".to_owned()));
    says(&only(&facts), Level::Problem, "no libgstreamer", "");
}

#[test]
fn a_codec_without_encoder_is_a_warning_and_no_codec_for_video_a_problem() {
    let mut facts = well();
    let encoders = facts.machine.encoders.as_mut().unwrap();
    let why = "no device".to_owned();
    encoders[1].state = EncoderState::Failed { why };
    let bad_ones = bad(&facts);
    assert_eq!(bad_ones.len(), 2, "{bad_ones:?}");
    assert!(bad_ones.iter().all(|it| it.level == Level::Warning));
    assert!(bad_ones[0].what.contains("no encoder for H264"));
    assert!(bad_ones[1].what.contains("x264enc") && bad_ones[1].what.contains("no device"));
    let encoders = facts.machine.encoders.as_mut().unwrap();
    for encoder in &mut encoders[..4] {
        encoder.state = EncoderState::Missing { package: None };
    }
    let bad_ones = bad(&facts);
    let problems = bad_ones.iter().filter(|it| it.level == Level::Problem);
    assert_eq!(problems.count(), 1, "{bad_ones:?}");
}

#[test]
fn few_descriptors_are_a_warning() {
    let mut facts = well();
    facts.machine.descriptors = (256, 524_288);
    says(&only(&facts), Level::Warning, "only 256", "ulimit -n 65536");
}

#[test]
fn a_machine_without_network_has_no_address_but_its_loopback() {
    let facts = Facts {
        addresses: addresses(&[("lo", "127.0.0.1")]),
        ..well()
    };
    says(
        &only(&facts),
        Level::Problem,
        "no address but its loopback",
        "ip address",
    );
    let facts = Facts {
        addresses: addresses(&[("lo", "127.0.0.1"), ("docker0", "172.17.0.1")]),
        ..well()
    };
    says(
        &only(&facts),
        Level::Problem,
        "only bridges of containers",
        "ip",
    );
}

#[test]
fn a_nat_that_gives_each_destination_another_address_needs_a_relay() {
    let mut facts = well();
    let stun = facts.stun.as_mut().unwrap();
    stun.asked
        .push(seen("other.example:3478", "203.0.113.7:4001"));
    says(&only(&facts), Level::Warning, "endpoint-dependent", "turn:");
    facts.turn.push(tried(Over::Udp, true, Ok(())));
    assert_eq!(bad(&facts), []);
}

#[test]
fn a_silent_stun_server_is_a_problem_unless_a_relay_works() {
    let mut facts = well();
    let silent = Asked {
        server: "stun.example:3478".to_owned(),
        outcome: Outcome::Silent,
    };
    facts.stun.as_mut().unwrap().asked = vec![silent];
    says(&only(&facts), Level::Problem, "doesn't answer", "turns:");
    facts.turn.push(tried(Over::Tls, true, Ok(())));
    assert_eq!(only(&facts).level, Level::Warning);
    facts.stun = None;
    says(
        &only(&facts),
        Level::Warning,
        "nobody was asked",
        "--ice-server",
    );
}

#[test]
fn a_relay_that_refuses_says_whether_the_password_is_wrong_or_old() {
    let mut facts = well();
    facts.turn.push(tried(Over::Udp, true, Err(unauthorized())));
    let finding = only(&facts);
    says(&finding, Level::Problem, "401", "user=USER:PASSWORD");
    assert!(finding.fix.unwrap().contains("wrong"));
    facts.turn[0].expires = Some(NOW + 100);
    says(&only(&facts), Level::Problem, "401", "static-auth-secret");
    facts.turn[0].expires = Some(NOW - 100);
    says(&only(&facts), Level::Problem, "401", "timedatectl");
    for (failure, command) in [
        (Failure::Silent, "coturn"),
        (
            Failure::NoCredential,
            "turn:USER:PASSWORD@turn.example:3478",
        ),
        (
            Failure::Refused {
                code: 486,
                reason: String::new(),
            },
            "user-quota",
        ),
        (
            Failure::Refused {
                code: 508,
                reason: String::new(),
            },
            "min-port",
        ),
    ] {
        facts.turn[0].outcome = Err(failure);
        says(
            &only(&facts),
            Level::Problem,
            "turn.example:3478 over UDP",
            command,
        );
    }
}

#[test]
fn what_works_instead_of_a_relay_is_its_cure() {
    let mut facts = well();
    facts
        .turn
        .push(tried(Over::Udp, true, Err(Failure::Silent)));
    facts
        .turn
        .push(tried(Over::Tls, false, Err(Failure::Silent)));
    facts.turn.push(tried(Over::Tcp, false, Ok(())));
    let cure = "--ice-server turn:USER:PASSWORD@turn.example:3478?transport=tcp";
    says(&only(&facts), Level::Warning, "over UDP", cure);
}

#[test]
fn each_fault_of_a_certificate_has_its_own_cure() {
    for (distrust, what, command) in [
        (
            Distrust::Expired,
            "expired: it was good until 2026-11-20",
            "certbot renew",
        ),
        (Distrust::Early, "not good yet", "timedatectl"),
        (
            Distrust::OtherName,
            "it is for example.org",
            "wss://example.org:443",
        ),
        (Distrust::Unknown, "signed by nobody", "--ca FILE"),
        (
            Distrust::NoTls("x".to_owned()),
            "no TLS",
            "ws://example.org:443",
        ),
    ] {
        let mut server = server();
        server.tls.as_mut().unwrap().trusted = Err(distrust);
        let facts = Facts {
            server: Some(server),
            ..well()
        };
        says(&only(&facts), Level::Problem, what, command);
    }
    let until = |until| {
        let mut server = server();
        server.tls.as_mut().unwrap().certificate = Some(certificate(until));
        only(&Facts {
            server: Some(server),
            ..well()
        })
    };
    says(&until(NOW + 3 * DAY), Level::Warning, "3 days", "certbot");
    // Who trusts anyone hears of it, too.
    says(&until(NOW - DAY), Level::Problem, "expired", "certbot");
}

#[test]
fn a_server_that_cannot_be_used_says_why() {
    let with = |change: &dyn Fn(&mut Server)| {
        let mut server = server();
        change(&mut server);
        only(&Facts {
            server: Some(server),
            ..well()
        })
    };
    let finding = with(&|it| it.port = Err("refused".to_owned()));
    says(
        &finding,
        Level::Problem,
        "example.org:443 can't be reached",
        "serve --listen",
    );
    let finding = with(&|it| it.told = Told::Unauthorized);
    says(&finding, Level::Problem, "tokens only", "--token");
    let finding = with(&|it| it.told = Told::Servers(Vec::new()));
    says(&finding, Level::Warning, "no ICE servers", "[ice]");
    let finding = with(&|it| it.http.as_mut().unwrap().clock_ahead = Some(-3600));
    says(&finding, Level::Problem, "3600 s behind", "timedatectl");
    let finding = with(&|it| it.sockets[0].outcome = Err(Refusal::Status(404)));
    says(
        &finding,
        Level::Warning,
        "Cuttlefish at /register_device: HTTP 404",
        "location",
    );
    let finding = with(&|it| {
        it.sockets = vec![socket(Dialect::Kurento, "/room", Err(Refusal::Status(400)))];
    });
    says(
        &finding,
        Level::Problem,
        "HTTP 400",
        "proxy_set_header Upgrade",
    );
}

#[test]
fn a_report_keeps_its_words_as_json() {
    let facts = Facts {
        addresses: addresses(&[("lo", "127.0.0.1")]),
        ..well()
    };
    let finding = only(&facts);
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(
        (&json["topic"], &json["level"]),
        (&"addresses".into(), &"problem".into())
    );
    assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
}

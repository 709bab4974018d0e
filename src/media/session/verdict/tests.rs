use super::*;

fn host(ip: &str, port: u16) -> String {
    format!("candidate:1 1 UDP 2015363327 {ip} {port} typ host")
}

fn checks(local: &[String], remote: &[String]) -> Facts {
    Facts {
        stage: Stage::Checks,
        lasted: Duration::from_secs(8),
        local: local.to_vec(),
        remote: remote.to_vec(),
        ..Facts::default()
    }
}

fn reason(facts: &Facts) -> Reason {
    judge(facts).reason
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|it| it.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn a_side_without_addresses_is_named() {
    let ours = [host("192.0.2.1", 1)];
    assert_eq!(reason(&checks(&[], &ours)), Reason::NoLocalAddress);
    assert_eq!(reason(&checks(&ours, &[])), Reason::NoRemoteAddress);
    let tcp = "candidate:1 1 TCP 1 192.0.2.9 9 typ host tcptype active".to_owned();
    assert_eq!(reason(&checks(&ours, &[tcp])), Reason::TcpOnly);
}

#[test]
fn a_browser_that_hides_is_told_from_one_whose_checks_come() {
    let hidden = "candidate:1 1 udp 1 6f1c.local 50000 typ host".to_owned();
    let facts = checks(&[host("172.17.0.2", 1)], &[hidden]);
    let verdict = judge(&facts);
    assert_eq!(verdict.reason, Reason::HiddenAddresses);
    assert!(verdict.what.contains("172.17.0.2:1"), "{verdict}");
    assert!(verdict.advice.contains("--advertise"), "{verdict}");
    let heard = Facts {
        heard: true,
        revealed: 1,
        ..facts
    };
    assert_ne!(reason(&heard), Reason::HiddenAddresses);
}

#[test]
fn relays_alone_need_a_turn_server() {
    let facts = Facts {
        relay_only: true,
        ..checks(&[host("192.0.2.1", 1)], &[host("192.0.2.2", 1)])
    };
    assert_eq!(reason(&facts), Reason::NoTurnServer);
    let asked = Facts {
        has_turn: true,
        ..facts
    };
    assert_eq!(reason(&asked), Reason::NoRelay);
}

#[test]
fn ipv4_and_ipv6_do_not_meet() {
    let verdict = judge(&checks(
        &[host("192.0.2.1", 1)],
        &[host("2001:db8::2", 2), host("fe80::2", 3)],
    ));
    assert_eq!(verdict.reason, Reason::AddressFamilies);
    assert!(verdict.what.contains("we have IPv4 only, it has IPv6 only"));
    assert_eq!(
        verdict.tried,
        [
            "our addresses: 192.0.2.1:1",
            "the other side's addresses: [2001:db8::2]:2, [fe80::2]:3"
        ]
    );
}

#[test]
fn addresses_that_nobody_reaches_are_named_with_their_side() {
    let cases = [
        ("172.17.0.2", "192.0.2.1", Reason::ContainerAddresses, "our"),
        ("192.0.2.1", "172.18.0.3", Reason::ContainerAddresses, "its"),
        ("127.0.0.1", "192.0.2.1", Reason::LoopbackAddresses, "our"),
        ("192.168.1.4", "10.0.0.4", Reason::PrivateAddresses, "our"),
        ("192.0.2.1", "192.168.1.4", Reason::PrivateAddresses, "its"),
    ];
    for (local, remote, expected, whose) in cases {
        let verdict = judge(&checks(&[host(local, 1)], &[host(remote, 2)]));
        assert_eq!(verdict.reason, expected, "{local} {remote}: {verdict}");
        let only = format!("{whose} only addresses");
        assert!(verdict.what.contains(&only), "{local} {remote}: {verdict}");
        assert_eq!(verdict.tried, [format!("{local}:1 → {remote}:2")]);
    }
}

#[test]
fn what_was_heard_and_relayed_decides_between_the_rest() {
    let facts = checks(&[host("192.168.1.4", 1)], &[host("192.168.1.5", 2)]);
    assert_eq!(reason(&facts), Reason::Unanswered);
    let heard = Facts {
        heard: true,
        ..facts.clone()
    };
    assert_eq!(reason(&heard), Reason::OneWay);
    let relay = "candidate:3 1 UDP 5 192.0.2.7 3 typ relay raddr 0.0.0.0 rport 0".to_owned();
    let relayed = checks(&[relay], &facts.remote);
    assert_eq!(reason(&relayed), Reason::RelayUnanswered);
}

#[test]
fn many_pairs_are_counted_but_not_all_listed() {
    let some = |from: u16| -> Vec<_> { (0..4).map(|i| host("192.0.2.1", from + i)).collect() };
    let verdict = judge(&checks(&some(1), &some(10)));
    assert!(verdict.what.contains("any of 16 pairs"), "{verdict}");
    assert_eq!(verdict.tried.len(), MOST_PAIRS + 1);
    assert_eq!(verdict.tried[MOST_PAIRS], "and 8 pairs more");
}

#[test]
fn later_stages_have_their_own_sentences() {
    let at = |stage, packets| Facts {
        stage,
        packets,
        has_packets: packets > 0,
        missing: Some(Kind::Video),
        path: Some("host → relay".to_owned()),
        lasted: Duration::from_secs(5),
        ..Facts::default()
    };
    let cases = [
        (at(Stage::Signaling, 0), Reason::NoAnswer),
        (at(Stage::Dtls, 0), Reason::Dtls),
        (at(Stage::Connected, 0), Reason::NoMedia),
        (at(Stage::Connected, 7), Reason::UnusableMedia),
        (
            Facts {
                silent: Some(Duration::from_secs(5)),
                ..at(Stage::Connected, 7)
            },
            Reason::Silent,
        ),
        (at(Stage::Lost, 7), Reason::Lost),
    ];
    let mut said = std::collections::HashSet::new();
    for (facts, expected) in cases {
        let verdict = judge(&facts);
        assert_eq!(verdict.reason, expected);
        assert!(verdict.what.contains("5 s"), "{verdict}");
        assert!(said.insert(verdict.what));
    }
}

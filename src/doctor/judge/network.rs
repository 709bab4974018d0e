//! Addresses, how the outside sees this machine, and relays.

use std::net::{IpAddr, SocketAddr};

use super::super::Addresses;
use super::super::stun::{Asked, Outcome, Stun};
use super::super::turn::{Failure, Over, Relayed, Try, Way};
use super::{Finding, Topic};
use crate::net::{Advertised, Interface, is_private};

/// What a peer has and tells.
pub(super) fn addresses(addresses: &Addresses) -> Vec<Finding> {
    let (all, chosen) = match (&addresses.all, &addresses.chosen) {
        (Ok(all), Ok(chosen)) => (all, chosen),
        (Err(why), _) | (_, Err(why)) => {
            return vec![
                Finding::problem(Topic::Addresses, why)
                    .because(
                        "media has no way out of this machine",
                        "name an interface that is there with --interface, or none",
                    )
                    .by("ip address"),
            ];
        }
    };
    let mut findings = Vec::new();
    let texts: Vec<_> = chosen.iter().map(Interface::to_string).collect();
    if chosen.iter().all(|it| it.ip.is_loopback()) {
        findings.push(
            Finding::problem(
                Topic::Addresses,
                "this machine has no address but its loopback",
            )
            .because(
                "nobody else reaches it, and it reaches nobody",
                "connect it to a network; a container needs one, too (not `--network none`)",
            )
            .by("ip address; ip route"),
        );
    } else if chosen.iter().all(|it| it.is_of_containers()) {
        let text = format!(
            "only bridges of containers have addresses: {}",
            texts.join(", ")
        );
        findings.push(
            Finding::problem(Topic::Addresses, text)
                .because(
                    "nobody outside of this machine reaches those",
                    "connect the machine itself to a network",
                )
                .by("ip address; ip route"),
        );
    } else {
        let text = format!("media uses {}", texts.join(", "));
        findings.push(Finding::ok(Topic::Addresses, text));
    }
    findings.extend(left_out(all, chosen));
    findings.extend(advertised(&addresses.advertised));
    findings
}

/// What is told instead of the machine's own addresses.
fn advertised(advertised: &Advertised) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !advertised.addresses.is_empty() {
        let texts: Vec<_> = advertised
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        let text = format!("told instead of its own: {}", texts.join(", "));
        findings.push(Finding::ok(Topic::Addresses, text));
    }
    findings.extend(advertised.failed.iter().map(|error| {
        Finding::problem(Topic::Addresses, error.to_string())
            .because(
                "the other side is told this machine's own addresses only",
                "write the public address itself",
            )
            .by("--advertise ADDRESS")
    }));
    findings
}

/// What media doesn't use, so that nobody wonders.
fn left_out(all: &[Interface], chosen: &[Interface]) -> Option<Finding> {
    let bridges: Vec<_> = all
        .iter()
        .filter(|it| it.is_of_containers() && !it.is_link_local() && !chosen.contains(it))
        .map(Interface::to_string)
        .collect();
    let text = format!("bridges of containers are left out: {}", bridges.join(", "));
    (!bridges.is_empty()).then(|| Finding::ok(Topic::Addresses, text))
}

/// How the outside sees this machine. What doesn't answer and is a relay is told of as a relay.
pub(super) fn stun(stun: Option<&Stun>, own: &[Interface], relays: &[Try]) -> Vec<Finding> {
    let has_relay = relays.iter().any(|it| it.outcome.is_ok());
    let is_broken_relay = |server: &str| {
        let ways = relays
            .iter()
            .filter(|it| it.outcome.is_err())
            .map(|it| &it.way);
        let mut named = ways.filter(|way| way.is_named);
        named.any(|way| server == format!("{}:{}", way.host, way.port))
    };
    let Some(stun) = stun else {
        return vec![
            Finding::warning(
                Topic::Stun,
                "nobody was asked how this machine looks from outside",
            )
            .because(
                "beyond this network peers need STUN, and most often TURN; none is named here",
                "give the signaling server's URL, if it names some, or name them",
            )
            .by("switchboard doctor --ice-server stun:HOST --ice-server turn:USER:PASSWORD@HOST"),
        ];
    };
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for Asked { server, outcome } in &stun.asked {
        match outcome {
            Outcome::Seen(address) => seen.push((server.as_str(), *address)),
            _ if is_broken_relay(server) => {}
            failed => findings.push(unanswered(server, failed, has_relay)),
        }
    }
    for is_ipv4 in [true, false] {
        let family: Vec<_> = seen
            .iter()
            .filter(|it| it.1.is_ipv4() == is_ipv4)
            .copied()
            .collect();
        findings.extend(mapping(&family, own, has_relay));
    }
    findings
}

fn unanswered(server: &str, outcome: &Outcome, has_relay: bool) -> Finding {
    let why = match outcome {
        Outcome::Nameless(why) => format!("{server} can't be asked: {why}"),
        Outcome::Unreachable(why) => format!("{server} can't be reached over UDP: {why}"),
        Outcome::Silent | Outcome::Seen(_) => format!("{server} doesn't answer over UDP"),
    };
    let (finding, fix) = match (outcome, has_relay) {
        (Outcome::Nameless(_), _) => (
            Finding::problem(Topic::Stun, why),
            "is the name right, and does this machine have a network and a name server?",
        ),
        // Media has a way then, though a longer one.
        (_, true) => (
            Finding::warning(Topic::Stun, why),
            "let UDP out through the firewall; until then media goes through the relay below",
        ),
        (_, false) => (
            Finding::problem(Topic::Stun, why),
            "is the server running? Let UDP out through the firewall, or name a TURN server over TCP or TLS",
        ),
    };
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let finding = finding.because(
        "a peer behind a NAT doesn't learn the address by which others reach it",
        fix,
    );
    match outcome {
        Outcome::Nameless(_) => finding.by(format!("getent hosts {host}")),
        _ => finding.by("--ice-server 'turns:USER:PASSWORD@HOST:443?transport=tcp'"),
    }
}

/// What kind of NAT there is (RFC 4787 section 4.1): what several servers see of one socket.
fn mapping(seen: &[(&str, SocketAddr)], own: &[Interface], has_relay: bool) -> Option<Finding> {
    let (_, first) = seen.first()?;
    let is_own = |ip: IpAddr| own.iter().any(|it| it.ip == ip);
    if let Some((server, other)) = seen.iter().find(|(_, it)| it != first) {
        let text = format!(
            "the NAT gives each destination another address: {first} for {}, {other} for {server} \
             (endpoint-dependent mapping)",
            seen[0].0
        );
        return Some(match has_relay {
            true => Finding::ok(Topic::Stun, format!("{text}; the relay below helps")),
            false => Finding::warning(Topic::Stun, text)
                .because(
                    "peers behind such a NAT reach others only through a TURN server",
                    "name a TURN server, here and in the signaling server's [ice] section",
                )
                .by("--ice-server turn:USER:PASSWORD@HOST"),
        });
    }
    let text = match (is_own(first.ip()), is_private(first.ip()), seen.len()) {
        (true, ..) => format!("no NAT: others see {first}, which is this machine's own address"),
        (_, true, _) => {
            format!("others in its private network see {first}; nobody further out was asked")
        }
        (_, _, 1) => format!(
            "others see {first}, by a NAT; whether it is the same for everyone says a second STUN server"
        ),
        (..) => {
            format!("everyone sees {first} (endpoint-independent mapping): direct connections work")
        }
    };
    Some(Finding::ok(Topic::Stun, text))
}

/// Each relay.
pub(super) fn turn(tries: &[Try], now: i64) -> Vec<Finding> {
    tries
        .iter()
        .filter_map(|it| match &it.outcome {
            Ok(relayed) => Some(relays(&it.way, relayed)),
            // It was only a guess that it is there.
            Err(_) if !it.way.is_named => None,
            Err(failure) => Some(doesnt_relay(it, failure, tries, now)),
        })
        .collect()
}

fn relays(way: &Way, relayed: &Relayed) -> Finding {
    let more = match way.is_named {
        true => String::new(),
        false => format!("; not named yet: {}", url(way)),
    };
    Finding::ok(
        Topic::Turn,
        format!(
            "{} relays, from {}, and back within {:.1} ms{more}",
            place(way),
            relayed.address,
            relayed.took.as_secs_f64() * 1000.0
        ),
    )
}

fn doesnt_relay(tried: &Try, failure: &Failure, all: &[Try], now: i64) -> Finding {
    let way = &tried.way;
    let text = format!("{}: {failure}", place(way));
    let instead = all
        .iter()
        .find(|it| it.way.host == way.host && it.outcome.is_ok());
    let why = match instead {
        Some(other) => format!("it relays over {} only", over(other.way.over)),
        None => "peers that can't reach each other directly don't connect".to_owned(),
    };
    let (fix, command) = cure(tried, failure, instead, now);
    let level = match instead {
        Some(_) => Finding::warning,
        None => Finding::problem,
    };
    level(Topic::Turn, text)
        .because(why, fix)
        .by_if_any(command)
}

/// What to do, and the line that does it.
fn cure(
    tried: &Try,
    failure: &Failure,
    instead: Option<&Try>,
    now: i64,
) -> (String, Option<String>) {
    let way = &tried.way;
    let Way { host, port, .. } = way;
    let (fix, command) = match failure {
        Failure::NoCredential => (
            "write the user name and the password into its URL".to_owned(),
            Some(format!("--ice-server {}", url(way).replace("turn:", "turn:USER:PASSWORD@"))),
        ),
        Failure::Nameless(_) => (
            "is the name right, and does this machine have a network and a name server?".to_owned(),
            Some(format!("getent hosts {host}")),
        ),
        Failure::Tls(_) => (
            "renew its certificate, or trust the one that signed it with --ca FILE".to_owned(),
            Some(format!("openssl s_client -connect {host}:{port} </dev/null")),
        ),
        Failure::Unreachable(_) | Failure::Silent => (
            format!(
                "is it running there, and do the firewalls of both ends let {} port {port} through?",
                if way.over == Over::Udp { "UDP" } else { "TCP" }
            ),
            Some("systemctl status coturn   # where it should run".to_owned()),
        ),
        Failure::Refused { code, .. } => refused(*code, tried, now),
        Failure::Stuck { .. } => (
            "let the relay's own ports (UDP 49152 to 65535) through its firewall; if it has a private address \
             behind a public one, tell it so".to_owned(),
            Some("external-ip=PUBLIC/PRIVATE   # turnserver.conf".to_owned()),
        ),
    };
    match instead {
        Some(other) if !other.way.is_named => (
            format!("{fix} Or name the way that works"),
            Some(format!(
                "--ice-server {}",
                url(&other.way).replacen(':', ":USER:PASSWORD@", 1)
            )),
        ),
        _ => (fix, command),
    }
}

/// RFC 8656 section 19, RFC 8489 section 14.8.
fn refused(code: u16, tried: &Try, now: i64) -> (String, Option<String>) {
    let secret =
        "static-auth-secret=…   # turnserver.conf; ice.secret in the signaling server's file";
    match (code, tried.expires) {
        (401 | 441, Some(until)) if until < now => (
            format!(
                "the password's time was over {} s ago: take a new one, and set the clocks of the servers",
                now - until
            ),
            Some("timedatectl set-ntp true".to_owned()),
        ),
        (401 | 441, Some(_)) => (
            "the user name or the password is wrong: the TURN server and who made the password must have the \
             same secret, and the same time".to_owned(),
            Some(secret.to_owned()),
        ),
        (401 | 441, None) => (
            "the user name or the password is wrong: write those that the TURN server has".to_owned(),
            Some("user=USER:PASSWORD   # turnserver.conf, with lt-cred-mech".to_owned()),
        ),
        (486, _) => (
            "this user has too many relayed addresses: wait until old ones end, or allow more".to_owned(),
            Some("user-quota=0   # turnserver.conf".to_owned()),
        ),
        (508, _) => (
            "it has no ports left: give it more".to_owned(),
            Some("min-port=49152   # and max-port=65535, in turnserver.conf".to_owned()),
        ),
        (403, _) => (
            "its rules forbid it: look at what it allows and denies".to_owned(),
            Some("allowed-peer-ip=…   # or without denied-peer-ip, in turnserver.conf".to_owned()),
        ),
        _ => (
            "look into the TURN server's log".to_owned(),
            Some("journalctl -u coturn".to_owned()),
        ),
    }
}

fn place(way: &Way) -> String {
    format!("{}:{} over {}", way.host, way.port, over(way.over))
}

const fn over(over: Over) -> &'static str {
    match over {
        Over::Udp => "UDP",
        Over::Tcp => "TCP",
        Over::Tls => "TLS",
    }
}

/// As one names it, without its password.
fn url(way: &Way) -> String {
    let host = match way.host.contains(':') {
        true => format!("[{}]", way.host),
        false => way.host.clone(),
    };
    let port = way.port;
    match way.over {
        Over::Udp => format!("turn:{host}:{port}"),
        Over::Tcp => format!("turn:{host}:{port}?transport=tcp"),
        Over::Tls => format!("turns:{host}:{port}?transport=tcp"),
    }
}

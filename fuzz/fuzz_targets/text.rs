//! What people and strangers write, each kind by itself: what is printed is read again as the same, and
//! nobody is believed who shouldn't be.

#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::config::{IceServer, IceUrl, Limits, Proxies, Scope, stun_servers};
use switchboard::dialect::negotiation::ice_servers;
use switchboard::fuzzing::{config, server};
use switchboard::hub::{Grant, SessionId};
use switchboard::net::{Advertise, Interface, InterfaceName, InterfaceRules, PortRange};

#[derive(Debug, Arbitrary)]
enum Text<'a> {
    Configuration(&'a str),
    Limit {
        key: &'a str,
        value: i64,
        float: f64,
    },
    IceUrl(&'a str),
    IceServers(&'a str),
    Advertise(&'a str),
    Interface {
        rule: &'a str,
        deny: &'a str,
        name: &'a str,
        ip: IpAddr,
    },
    Ports(&'a str),
    Proxies {
        peer: SocketAddr,
        trusted: [&'a str; 2],
        lines: [&'a str; 2],
    },
    Token {
        target: &'a str,
        authorization: &'a str,
        protocols: &'a str,
    },
    DevicePath(&'a str),
    Authority(&'a [u8]),
    TokenFile(&'a str),
    Forged(&'a str),
    Signed(&'a str),
    Grants(&'a str),
    Session(&'a str),
    Scope {
        scope: &'a str,
        had: &'a str,
    },
}

fuzz_target!(|text: Text<'_>| {
    match text {
        Text::Configuration(text) => {
            if let Err(error) = config::file(text) {
                assert!(!error.to_string().is_empty());
            }
        }
        Text::Limit { key, value, float } => limit(key, value, float),
        Text::IceUrl(url) => ice_url(url),
        Text::IceServers(text) => {
            let value = serde_json::from_str(text).unwrap_or_default();
            let _ = stun_servers(&ice_servers(&value));
        }
        Text::Advertise(text) => drop(Advertise::from_str(text)),
        Text::Interface {
            rule,
            deny,
            name,
            ip,
        } => interface(rule, deny, name, ip),
        Text::Ports(text) => {
            if let Ok(ports) = text.parse::<PortRange>() {
                assert!(0 < ports.min && ports.min <= ports.max);
                assert_eq!(ports.to_string().parse().as_ref(), Ok(&ports));
            }
        }
        Text::Proxies {
            peer,
            trusted,
            lines,
        } => {
            let _ = Proxies::parse(lines[0], &trusted);
            server::forwarded(peer, &trusted, &lines);
        }
        Text::Token {
            target,
            authorization,
            protocols,
        } => {
            drop(server::token(target, authorization, protocols));
        }
        Text::DevicePath(target) => server::device_path(target),
        Text::Authority(answer) => server::authority(answer),
        Text::TokenFile(text) => server::token_file(text),
        Text::Forged(token) => server::forged(token),
        Text::Signed(claims) => server::signed(claims),
        Text::Grants(text) => {
            if let Ok(grants) = serde_json::from_str::<Vec<Grant>>(text) {
                let again = serde_json::to_string(&grants).expect("grants are JSON");
                assert_eq!(
                    serde_json::from_str::<Vec<Grant>>(&again).ok(),
                    Some(grants)
                );
            }
        }
        Text::Session(text) => {
            if let Some(id) = SessionId::parse(text) {
                assert_eq!(SessionId::parse(&id.to_string()), Some(id));
                assert!(id.to_string().eq_ignore_ascii_case(text));
            }
        }
        Text::Scope { scope, had } => {
            if let Ok(scope) = Scope::parse(scope) {
                assert_eq!(Scope::parse(scope.as_str()).as_ref(), Ok(&scope));
                assert!(scope.is_covered_by(scope.as_str()));
                let _ = scope.is_covered_by(had);
            }
        }
    }
});

fn limit(key: &str, value: i64, float: f64) {
    // Alone each key is as likely as the other texts.
    let mut limits = Limits::default();
    for (value, is_float) in [
        (toml::Value::Integer(value), false),
        (toml::Value::Float(float), true),
    ] {
        if let Err(error) = limits.set(key, &value) {
            assert!(!error.is_empty(), "{is_float}");
        }
    }
}

fn ice_url(url: &str) {
    let strict = IceUrl::parse(url);
    let lenient = IceUrl::parse_leniently(url);
    assert!(
        strict.is_err() || strict == lenient,
        "{strict:?} {lenient:?}"
    );
    let servers = [IceServer::bare(url)];
    assert!(stun_servers(&servers).len() <= 1);
}

fn interface(rule: &str, deny: &str, name: &str, ip: IpAddr) {
    let rules = InterfaceRules {
        allow: InterfaceName::from_str(rule).into_iter().collect(),
        deny: InterfaceName::from_str(deny).into_iter().collect(),
    };
    let all = [Interface {
        name: name.to_owned(),
        ip,
    }];
    let is_denied = rules.deny.iter().any(|it| it.matches(name));
    if let Ok(chosen) = rules.choose(&all) {
        assert!(!is_denied && chosen == all);
    }
}

//! Candidates as a verdict sees them: an address, and where it can be reached from.

use std::net::{IpAddr, Ipv4Addr};

/// A candidate (RFC 8839 section 5.1), without what a verdict doesn't need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `None` for a name.
    ip: Option<IpAddr>,
    port: u16,
    is_tcp: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    /// `srflx` and `prflx`: seen from outside of a NAT.
    Reflexive,
    Relay,
}

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// From the machine itself.
    Loopback,
    /// From the machine that runs the containers.
    Container,
    /// From its own network.
    Private,
    /// From everywhere.
    Public,
}

impl Address {
    /// Reads a candidate line, from `candidate:` on; `None` if it is none, or RTCP's.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("candidate:")?.split_whitespace();
        let (_foundation, component) = (words.next()?, words.next()?);
        let (transport, _priority) = (words.next()?, words.next()?);
        let (host, port) = (words.next()?, words.next()?);
        let (typ, kind) = (words.next()?, words.next()?);
        if component != "1" || typ != "typ" {
            return None;
        }
        let ip = host.parse().ok();
        if ip.is_none() && !host.ends_with(".local") {
            return None;
        }
        Some(Self {
            ip,
            port: port.parse().ok()?,
            is_tcp: transport.eq_ignore_ascii_case("tcp"),
            kind: match kind {
                "host" => Kind::Host,
                "relay" => Kind::Relay,
                _ => Kind::Reflexive,
            },
        })
    }

    pub(super) fn is_relay(&self) -> bool {
        self.kind == Kind::Relay
    }

    /// Whether it is a name that means something in its own network only.
    pub(super) const fn is_hidden(&self) -> bool {
        self.ip.is_none() && !self.is_tcp
    }

    pub(super) const fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    pub(super) const fn is_usable(&self) -> bool {
        self.ip.is_some() && !self.is_tcp
    }

    /// Whether a packet can go from one to the other at all.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (Some(IpAddr::V4(_)), Some(IpAddr::V4(_))) => true,
            (Some(IpAddr::V6(ours)), Some(IpAddr::V6(theirs))) => {
                ours.is_unicast_link_local() == theirs.is_unicast_link_local()
            }
            _ => false,
        }
    }

    pub(super) fn place(&self) -> Place {
        let Some(ip) = self.ip else {
            return Place::Private;
        };
        if self.is_relay() || self.kind == Kind::Reflexive {
            return Place::Public;
        }
        match ip {
            ip if ip.is_loopback() => Place::Loopback,
            IpAddr::V4(ip) if is_container(ip) => Place::Container,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => {
                Place::Private
            }
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Place::Private,
            _ => Place::Public,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port)?,
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port)?,
            None => write!(f, "a hidden address")?,
        }
        match self.kind {
            Kind::Host => Ok(()),
            Kind::Reflexive => write!(f, " (through NAT)"),
            Kind::Relay => write!(f, " (relay)"),
        }
    }
}

/// The families of some addresses, in words. Almost every machine has an IPv6 address for its own link.
pub(super) fn families(addresses: &[Address]) -> &'static str {
    let has =
        |test: fn(&IpAddr) -> bool| addresses.iter().filter_map(|it| it.ip.as_ref()).any(test);
    let is_wide = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if !ip.is_unicast_link_local());
    match (has(IpAddr::is_ipv4), has(is_wide)) {
        (false, false) if has(IpAddr::is_ipv6) => "link-local IPv6 only",
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4 only",
        (false, true) => "IPv6 only",
        (false, false) => "no address",
    }
}

/// Whether two sides seem to be in one network: the first three bytes of an IPv4 address, or the
/// first eight of an IPv6 one, are the same. The masks aren't known.
pub(super) fn share_network(ours: &[Address], theirs: &[Address]) -> bool {
    ours.iter().filter_map(|it| it.ip).any(|ours| {
        theirs
            .iter()
            .filter_map(|it| it.ip)
            .any(|theirs| match (ours, theirs) {
                (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
                (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8],
                _ => false,
            })
    })
}

/// Docker's default pool for bridges, 172.17.0.0 to 172.31.255.255, and Podman's 10.88.0.0/16.
fn is_container(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [172, second, ..] => (17..=31).contains(&second),
        [10, 88, ..] => true,
        _ => false,
    }
}

/// Behind a provider's NAT (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [100, second, ..] if (64..=127).contains(&second))
}

//! This machine's addresses: which of its interfaces carry media, and what the other side is told
//! instead of them. For peers and for the forwarding plane, with the same words.

mod advertise;
#[cfg(feature = "peer")]
pub mod mdns;
#[cfg(test)]
mod tests;

pub use advertise::{Advertise, AdvertiseError, Advertised};
#[cfg(any(feature = "server", feature = "peer"))]
pub(crate) use advertise::{answer, request};

use std::fmt;
use std::io;
use std::net::IpAddr;
#[cfg(feature = "server")]
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// Addresses that are used at once; more are left out. ICE tries each with each of the other side.
const ADDRESSES: usize = 16;

/// How the bridges and virtual links of containers and virtual machines are called. Nobody outside
/// of this machine reaches them, and on every machine with Docker they have the same addresses.
const CONTAINERS: [&str; 14] = [
    "br-", "cali", "cilium", "cni", "docker", "flannel", "kube-", "lxc", "lxd", "podman", "tunl",
    "veth", "virbr", "vnet",
];

/// Where this machine itself reaches what listens on an address.
#[cfg(feature = "server")]
pub(crate) fn from_here(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Which interfaces carry media.
///
/// Without a list: all, but bridges of containers, link-local addresses and the loopback; if there
/// is nothing else, bridges and link-local addresses; if there is nothing at all, the loopback. What a
/// list names is used, whatever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceRules {
    /// `--interface`: only these, if there are any.
    pub allow: Vec<InterfaceName>,
    /// `--no-interface`: not these, even if they are allowed.
    pub deny: Vec<InterfaceName>,
}

/// The name of an interface, or how several names begin, with a `*` at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InterfaceName(String);

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// As in `ip link`.
    pub name: String,
    /// One of its addresses; one with two is in the list twice.
    pub ip: IpAddr,
}

/// A range of UDP ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub min: u16,
    /// The last.
    pub max: u16,
}

/// Why there is no address to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// The system doesn't tell.
    #[error("this machine's addresses can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The rules leave none.
    #[error(
        "--interface and --no-interface leave none of this machine's interfaces: it has {}",
        listed(.0)
    )]
    NoneLeft(Vec<Interface>),
}

impl InterfaceRules {
    /// Whether the user said nothing.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// The addresses to use now: reads the system's.
    ///
    /// # Errors
    /// If they can't be read, or the rules leave none.
    pub fn addresses(&self) -> Result<Vec<Interface>, InterfaceError> {
        self.choose(&interfaces()?)
    }

    /// The addresses to use of these, `ADDRESSES` at most.
    ///
    /// # Errors
    /// If the rules leave none.
    pub fn choose(&self, all: &[Interface]) -> Result<Vec<Interface>, InterfaceError> {
        let mut left: Vec<_> = all.iter().filter(|it| self.permits(it)).collect();
        if self.allow.is_empty() {
            // Lower is better; all of the best rank are used.
            let best = left.iter().map(|it| it.rank()).min();
            left.retain(|it| Some(it.rank()) == best);
        } else if left.iter().any(|it| !it.is_link_local()) {
            left.retain(|it| !it.is_link_local());
        }
        if left.is_empty() {
            return Err(InterfaceError::NoneLeft(all.to_vec()));
        }
        if left.len() > ADDRESSES {
            let (used, all) = (ADDRESSES, left.len());
            tracing::warn!(used, all, "too many addresses; choose with --interface");
        }
        Ok(left.into_iter().take(ADDRESSES).cloned().collect())
    }

    fn permits(&self, interface: &Interface) -> bool {
        let is_in = |list: &[InterfaceName]| list.iter().any(|it| it.matches(&interface.name));
        (self.allow.is_empty() || is_in(&self.allow)) && !is_in(&self.deny)
    }
}

impl InterfaceName {
    /// Whether it means this interface.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

impl FromStr for InterfaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        let is_odd = |c: char| c.is_whitespace() || matches!(c, '/' | '*');
        if text.is_empty() || beginning.contains(is_odd) {
            return Err(format!(
                "\"{text}\" is no interface: write a name of `ip link`, with * for the rest of it, as in eth0 or wl*"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(min, max)| {
            let (min, max) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
            (0 < min && min <= max).then_some(Self { min, max })
        });
        ends.ok_or_else(|| format!("\"{text}\": write two ports as MIN-MAX, as in 50000-50100"))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Interface {
    /// Whether it is a bridge or a link of containers or virtual machines, by its name.
    #[must_use]
    pub fn is_of_containers(&self) -> bool {
        CONTAINERS
            .iter()
            .any(|beginning| self.name.starts_with(beginning))
    }

    /// Whether the address means something on its own link only (RFC 3927, RFC 4291 section 2.5.6).
    #[must_use]
    pub const fn is_link_local(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    fn rank(&self) -> u8 {
        match () {
            () if self.ip.is_loopback() => 2,
            () if self.is_of_containers() || self.is_link_local() => 1,
            () => 0,
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.ip)
    }
}

/// The addresses of this machine's interfaces that are up and have a link.
///
/// # Errors
/// If the system doesn't tell.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let all = if_addrs::get_if_addrs()?;
    let up = all.into_iter().filter(if_addrs::Interface::is_oper_up);
    Ok(up
        .map(|it| Interface {
            ip: it.ip(),
            name: it.name,
        })
        .collect())
}

/// Whether an address means nothing outside of a network or a machine: private, shared by a provider's
/// customers (RFC 6598), link-local, or the loopback.
#[must_use]
pub const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

fn listed(interfaces: &[Interface]) -> String {
    let each: Vec<_> = interfaces.iter().map(Interface::to_string).collect();
    match each.is_empty() {
        true => "none".to_owned(),
        false => each.join(", "),
    }
}

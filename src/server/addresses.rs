//! Who sends from where, and how much of everything one address may have.
//!
//! The address is that of the connection, or what a trusted proxy says in a header. One network of
//! an IPv6 host (64 bits) counts as one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::header::HeaderMap;

use super::pace::{Pace, Rate};
use crate::config::{Config, Proxies};

/// Every address that has a connection, with what it uses.
#[derive(Debug)]
pub(super) struct Addresses {
    used: Mutex<HashMap<IpAddr, Entry>>,
    connections: usize,
    rate: Rate,
    proxies: Option<Proxies>,
}

#[derive(Debug)]
struct Entry {
    connections: usize,
    shared: Arc<Mutex<Pace>>,
}

/// A connection's place among those of its address. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    pace: Arc<Mutex<Pace>>,
    of: Arc<Addresses>,
}

impl Addresses {
    pub(super) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            used: Mutex::default(),
            connections: limits.address_connections,
            rate: Rate::new(
                limits.address_messages_per_second,
                limits.address_bytes_per_second,
            ),
            proxies: config.proxies.clone(),
        }
    }

    /// Whether requests of this connection say themselves where they come from.
    pub(super) fn is_proxy(&self, peer: SocketAddr) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|it| it.trusts(peer.ip().to_canonical()))
    }

    /// Where a request comes from: the last address in the header that is no trusted proxy's.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let direct = peer.ip().to_canonical();
        let Some(proxies) = self.proxies.as_ref().filter(|it| it.trusts(direct)) else {
            return direct;
        };
        let lines = headers.get_all(&proxies.header).iter();
        let named: Vec<&str> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .collect();
        let mut client = direct;
        for name in named.into_iter().rev() {
            let Some(address) = address(name.trim()) else {
                break;
            };
            client = address;
            if !proxies.trusts(address) {
                break;
            }
        }
        client
    }

    /// A place for one more connection; `None` if the address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut used = self.lock();
        let entry = used.entry(address).or_insert_with(|| Entry {
            connections: 0,
            shared: Arc::new(Mutex::new(Pace::new(Instant::now()))),
        });
        if entry.connections >= self.connections {
            return None;
        }
        entry.connections += 1;
        Some(Place {
            address,
            pace: Arc::clone(&entry.shared),
            of: Arc::clone(self),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Entry>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes a message, as [`Pace::note`] does, for all connections of the address together.
    pub(super) fn note(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.note(self.of.rate, bytes, now)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut used = self.of.lock();
        if let Some(entry) = used.get_mut(&self.address) {
            entry.connections -= 1;
            if entry.connections == 0 {
                used.remove(&self.address);
            }
        }
    }
}

/// An address as proxies write it: alone, with a port, in brackets, or as RFC 7239's `for=…`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text
        .split(';')
        .find_map(|part| part.trim().strip_prefix("for="))
        .unwrap_or(text)
        .trim_matches('"');
    let alone = text.trim_start_matches('[').trim_end_matches(']').parse();
    let found = alone.or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    found.ok().map(|address: IpAddr| address.to_canonical())
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind_a_proxy() -> Addresses {
        let config = Config {
            proxies: Some(Proxies::parse("x-forwarded-for", &["10.0.0.0/8", "::1"]).unwrap()),
            ..Config::default()
        };
        Addresses::new(&config)
    }

    fn client(peer: &str, header: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", header.parse().unwrap());
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        behind_a_proxy().client(peer, &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(client("10.1.2.3", "198.51.100.7"), "198.51.100.7");
        assert_eq!(client("::1", "2001:db8::7"), "2001:db8::7");
        assert_eq!(client("::ffff:10.1.2.3", "198.51.100.7:80"), "198.51.100.7");
    }

    #[test]
    fn what_a_client_says_of_itself_is_not_believed() {
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.0.0.1", "for=\"[2001:db8::1]:4711\";proto=https"),
            "2001:db8::1"
        );
        assert_eq!(client("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "1.1.1.1, unknown"), "10.0.0.1");
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let mut config = Config::default();
        config.limits.address_connections = 2;
        let addresses = Arc::new(Addresses::new(&config));
        let enter = |address: &str| addresses.enter(address.parse().unwrap());
        let first = enter("2001:db8::1");
        let second = enter("2001:db8::2");
        assert!(first.is_some() && second.is_some());
        assert!(enter("2001:db8::3").is_none(), "the same network");
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(enter("2001:db8::3").is_some());
        drop(second);
        assert!(addresses.lock().is_empty());
    }
}

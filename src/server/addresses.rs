//! Who sends from where, and how much of everything one address may have.
//!
//! The address is that of the connection, or what a trusted proxy says in a header. One network of
//! an IPv6 host (64 bits) counts as one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderMap;

use super::pace::{Pace, Rate};
use crate::config::{Config, Proxies};

/// Addresses that are known before the unused ones are looked for.
const MANY: usize = 1_000;

/// Every address that has a connection, or has sent lately, with what it uses.
#[derive(Debug)]
pub(super) struct Addresses {
    used: Mutex<Table>,
    /// Of one address.
    connections: usize,
    rate: Rate,
    proxies: Option<Proxies>,
}

#[derive(Debug)]
struct Table {
    entries: HashMap<IpAddr, Entry>,
    /// With so many entries, unused ones are removed.
    swept_at: usize,
    /// So many entries at most, but for those that have connections: they aren't more than these.
    most: usize,
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
            used: Mutex::new(Table {
                entries: HashMap::new(),
                swept_at: MANY,
                most: MANY + 2 * limits.connections,
            }),
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
        let entry = used.entry(address, Instant::now());
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

    /// Notes a request of an address that has no connection of its own, as [`Place::request`] does.
    pub(super) fn request(
        &self,
        address: IpAddr,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut used = self.lock();
        let pace = Arc::clone(&used.entry(network(address), now).shared);
        drop(used);
        request(&pace, self.rate, bytes, now)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What is known of an address; nothing yet, if it is new.
    fn entry(&mut self, address: IpAddr, now: Instant) -> &mut Entry {
        if self.entries.len() >= self.swept_at && !self.entries.contains_key(&address) {
            self.sweep(now);
        }
        self.entries.entry(address).or_insert_with(|| Entry {
            connections: 0,
            shared: Arc::new(Mutex::new(Pace::new(now))),
        })
    }

    /// Removes addresses that use nothing; and if most do that have no connections, all of these.
    fn sweep(&mut self, now: Instant) {
        self.entries.retain(|_, entry| !entry.is_unused(now));
        if self.entries.len() >= self.most {
            self.entries.retain(|_, entry| entry.connections > 0);
        }
        // Not before as many have come again, so that each address is looked at twice at most.
        self.swept_at = (2 * self.entries.len()).clamp(MANY, self.most);
    }
}

impl Entry {
    fn is_unused(&self, now: Instant) -> bool {
        self.connections == 0 && lock(&self.shared).is_unused(now)
    }
}

impl Place {
    /// Notes a message, as [`Pace::note`] does, for all connections of the address together.
    pub(super) fn note(&self, bytes: usize, now: Instant) -> Option<Instant> {
        lock(&self.pace).note(self.of.rate, bytes, now)
    }

    /// Notes a request for the address as one more message, unless too much was noted before: then
    /// says how long to wait.
    pub(super) fn request(&self, bytes: usize, now: Instant) -> Result<(), Duration> {
        request(&self.pace, self.of.rate, bytes, now)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut used = self.of.lock();
        if let Some(entry) = used.entries.get_mut(&self.address) {
            entry.connections -= 1;
            // Who has sent too much isn't forgiven for coming again.
            if entry.is_unused(Instant::now()) {
                used.entries.remove(&self.address);
            }
        }
    }
}

fn request(pace: &Mutex<Pace>, rate: Rate, bytes: usize, now: Instant) -> Result<(), Duration> {
    let mut pace = lock(pace);
    match pace.held_until(now) {
        Some(until) => Err(until - now),
        None => {
            pace.note(rate, bytes, now);
            Ok(())
        }
    }
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(addresses.lock().entries.is_empty());
    }

    #[test]
    fn a_request_that_comes_too_soon_is_told_when_to_come_again() {
        let mut config = Config::default();
        config.limits.address_messages_per_second = 2;
        config.limits.address_bytes_per_second = 1_000;
        let addresses = Arc::new(Addresses::new(&config));
        let ask = |address: &str, bytes, now| {
            let address = address.parse().unwrap();
            addresses.request(address, bytes, now)
        };
        let now = Instant::now();
        assert_eq!(ask("192.0.2.1", 0, now), Ok(()));
        let place = addresses.enter("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(place.request(0, now), Ok(()));
        assert_eq!(ask("192.0.2.1", 2_000, now), Ok(()), "its size counts");
        let seconds = Duration::from_secs;
        assert_eq!(place.request(0, now), Err(seconds(2)));
        assert_eq!(ask("192.0.2.1", 0, now), Err(seconds(2)), "refusals don't");
        assert_eq!(ask("192.0.2.2", 0, now), Ok(()));
        drop(place);
        assert_eq!(ask("192.0.2.1", 0, now + seconds(1)), Err(seconds(1)));
        assert_eq!(ask("192.0.2.1", 0, now + seconds(2)), Ok(()));
    }

    #[test]
    fn addresses_that_use_nothing_are_forgotten() {
        let mut config = Config::default();
        config.limits.connections = 10;
        config.limits.address_messages_per_second = 1;
        let addresses = Arc::new(Addresses::new(&config));
        let start = Instant::now();
        let _place = addresses.enter("2001:db8::".parse().unwrap()).unwrap();
        let known = || addresses.lock().entries.len();
        let come = |number: u128, now| {
            let address = IpAddr::V6(Ipv6Addr::from_bits(number << 64));
            assert_eq!(addresses.request(address, 0, now), Ok(()));
        };
        (1..=10_000).for_each(|number| come(number, start));
        assert!(known() <= MANY + 20, "{}", known());
        (1..=2_000).for_each(|number| come(number, start + Duration::from_secs(60)));
        assert!(known() <= MANY + 20, "{}", known());
        let place = addresses.enter("2001:db8::".parse().unwrap()).unwrap();
        assert_eq!(addresses.lock().entries[&place.address].connections, 2);
    }
}

//! Whose a datagram is, among the endpoints of one socket.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Addresses that one peer may ever use: each is remembered, here and in its ICE agent.
const ADDRESSES_PER_ENDPOINT: usize = 32;

/// Finds the endpoint of a datagram: by our ICE user name fragment for a check (RFC 8445, section 7.3),
/// by its address for the rest.
#[derive(Debug, Default)]
pub(super) struct Demux {
    fragments: HashMap<String, usize>,
    addresses: HashMap<SocketAddr, usize>,
}

/// What one endpoint holds here.
#[derive(Debug, Default)]
pub(super) struct Held {
    fragment: String,
    addresses: Vec<SocketAddr>,
}

impl Demux {
    /// Makes an endpoint known. None: the fragment is taken.
    pub(super) fn add(&mut self, fragment: &str, endpoint: usize) -> Option<Held> {
        if self.fragments.contains_key(fragment) {
            return None;
        }
        self.fragments.insert(fragment.to_owned(), endpoint);
        Some(Held {
            fragment: fragment.to_owned(),
            addresses: Vec::new(),
        })
    }

    /// Forgets an endpoint.
    pub(super) fn remove(&mut self, held: &Held) {
        let endpoint = self.fragments.remove(&held.fragment);
        for address in &held.addresses {
            if self.addresses.get(address) == endpoint.as_ref() {
                self.addresses.remove(address);
            }
        }
    }

    /// The endpoint with this user name fragment.
    pub(super) fn by_fragment(&self, fragment: &str) -> Option<usize> {
        self.fragments.get(fragment).copied()
    }

    /// The endpoint that was authenticated at this address.
    pub(super) fn by_address(&self, address: SocketAddr) -> Option<usize> {
        self.addresses.get(&address).copied()
    }

    /// Whether a check from this address would need [`Self::learn`].
    pub(super) fn is_new(held: &Held, address: SocketAddr) -> bool {
        !held.addresses.contains(&address)
    }

    /// Notes that one more address is used, of a connection that has only one endpoint. False: it
    /// must be dropped, the endpoint has used too many addresses.
    pub(super) fn count(held: &mut Held, address: SocketAddr) -> bool {
        if held.addresses.len() >= ADDRESSES_PER_ENDPOINT {
            return false;
        }
        held.addresses.push(address);
        true
    }

    /// Notes the address of a check that was authenticated as `endpoint`'s. An address that another
    /// endpoint has stays with that one: checks carry no proof of their source, so otherwise any
    /// participant could take away another's packets. False: the check must be dropped, the endpoint
    /// has used too many addresses.
    pub(super) fn learn(&mut self, held: &mut Held, endpoint: usize, address: SocketAddr) -> bool {
        if !Self::count(held, address) {
            return false;
        }
        self.addresses.entry(address).or_insert(endpoint);
        true
    }
}

#[cfg(feature = "fuzzing")]
impl Demux {
    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.fragments.len() + self.addresses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn an_address_stays_with_the_endpoint_that_had_it_first() {
        let mut demux = Demux::default();
        let mut one = demux.add("one", 1).unwrap();
        let mut two = demux.add("two", 2).unwrap();
        assert!(demux.learn(&mut one, 1, address(1)));
        assert!(demux.learn(&mut two, 2, address(1)));
        assert_eq!(demux.by_address(address(1)), Some(1));
        demux.remove(&two);
        assert_eq!(demux.by_address(address(1)), Some(1));
        demux.remove(&one);
        assert_eq!(demux.by_address(address(1)), None);
        assert_eq!(demux.by_fragment("one"), None);
    }

    #[test]
    fn an_endpoint_has_a_bounded_number_of_addresses() {
        let mut demux = Demux::default();
        let mut held = demux.add("one", 1).unwrap();
        for port in 0..ADDRESSES_PER_ENDPOINT as u16 {
            assert!(demux.learn(&mut held, 1, address(port)));
        }
        assert!(!demux.learn(&mut held, 1, address(9_999)));
        assert_eq!(demux.by_address(address(9_999)), None);
    }

    #[test]
    fn a_fragment_is_used_once() {
        let mut demux = Demux::default();
        assert!(demux.add("one", 1).is_some());
        assert!(demux.add("one", 2).is_none());
        assert_eq!(demux.by_fragment("one"), Some(1));
    }
}

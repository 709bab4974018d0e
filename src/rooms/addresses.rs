//! What peers are told of one media socket, and which of that a packet came to.

use std::net::{IpAddr, SocketAddr};

use str0m::Candidate;
use str0m::net::TcpType;

/// The most addresses that a peer is told: each costs it a check.
const MOST: usize = 32;

/// The addresses of one media thread, as its peers know them.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    candidates: Vec<Candidate>,
}

impl Addresses {
    /// Of a socket that is bound to `bound`: it is known by these addresses with its own port, and as
    /// `mapped`, which somebody outside sees. `tcp` are the listeners for media over TCP; one on all
    /// addresses is known by the same ones. A loopback listener is told only where all is loopback:
    /// others would find themselves there.
    ///
    /// # Errors
    /// The address that isn't one of one machine.
    pub(super) fn new(
        ips: &[IpAddr],
        bound: SocketAddr,
        mapped: &[SocketAddr],
        tcp: &[SocketAddr],
    ) -> Result<Self, IpAddr> {
        let ips = ips.iter().copied().filter(|ip| takes(bound.ip(), *ip));
        let own = ips.map(|ip| SocketAddr::new(ip, bound.port()));
        let udp = unique(own.chain(mapped.iter().copied()));
        let is_local = udp.iter().all(|it| it.ip().is_loopback());
        let listeners = tcp.iter().flat_map(|listener| {
            let everywhere = listener.ip().is_unspecified();
            let known = udp.iter().map(SocketAddr::ip);
            let known = known.filter(move |ip| everywhere && takes(listener.ip(), *ip));
            let alone = (!everywhere).then_some(listener.ip());
            let all = known.chain(alone);
            all.map(|ip| SocketAddr::new(ip, listener.port()))
        });
        let tcp = unique(listeners.filter(|it| is_local || !it.ip().is_loopback()));
        let host =
            |address: &SocketAddr| Candidate::host(*address, "udp").map_err(|_| address.ip());
        let passive = |address: &SocketAddr| {
            let candidate = Candidate::builder().tcp().host(*address);
            let candidate = candidate.tcptype(TcpType::Passive).build();
            candidate.map_err(|_| address.ip())
        };
        let candidates = udp.iter().map(host).chain(tcp.iter().map(passive));
        Ok(Self {
            candidates: candidates.take(MOST).collect::<Result<_, _>>()?,
            udp,
            tcp,
        })
    }

    /// For the answers.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Those for UDP.
    pub(super) fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Those for TCP.
    pub(super) fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// What a peer knows the address as that its datagram came to, which is `local` if the system said.
    pub(super) fn datagrams(&self, from: SocketAddr, local: Option<IpAddr>) -> Option<SocketAddr> {
        let exact = self.udp.iter().find(|it| Some(it.ip()) == local);
        exact.or_else(|| of_family(&self.udp, from)).copied()
    }

    /// What a peer knows the address as that it has connected to.
    pub(super) fn streams(&self, local: SocketAddr) -> Option<SocketAddr> {
        let exact = self.tcp.iter().find(|it| **it == local);
        let port = |it: &&SocketAddr| it.port() == local.port() && it.is_ipv4() == local.is_ipv4();
        exact
            .or_else(|| self.tcp.iter().find(port))
            .or_else(|| of_family(&self.tcp, local))
            .copied()
    }
}

/// Whether packets to `ip` come to a socket that is bound to `bound`. One on all IPv6 addresses takes
/// IPv4 as well.
fn takes(bound: IpAddr, ip: IpAddr) -> bool {
    bound.is_ipv6() || ip.is_ipv4()
}

fn of_family(all: &[SocketAddr], like: SocketAddr) -> Option<&SocketAddr> {
    all.iter().find(|it| it.is_ipv4() == like.is_ipv4())
}

fn unique(all: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::new();
    for address in all {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ips: &[&str], bound: &str, mapped: &[&str], tcp: &[&str]) -> Addresses {
        let ips: Vec<_> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let all = |list: &[&str]| {
            list.iter()
                .map(|it| it.parse().unwrap())
                .collect::<Vec<_>>()
        };
        Addresses::new(&ips, bound.parse().unwrap(), &all(mapped), &all(tcp)).unwrap()
    }

    fn text(all: &[SocketAddr]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_address_is_told_for_udp_and_for_the_listeners_on_all_addresses() {
        let addresses = of(
            &["192.0.2.1", "2001:db8::1"],
            "[::]:5000",
            &["203.0.113.9:61000"],
            &["[::]:443", "192.0.2.7:8443", "127.0.0.1:8080"],
        );
        let udp = ["192.0.2.1:5000", "[2001:db8::1]:5000", "203.0.113.9:61000"];
        assert_eq!(text(addresses.udp()), udp);
        let tcp = [
            "192.0.2.1:443",
            "[2001:db8::1]:443",
            "203.0.113.9:443",
            "192.0.2.7:8443",
        ];
        assert_eq!(text(addresses.tcp()), tcp);
        let lines: Vec<_> = addresses
            .candidates()
            .iter()
            .map(Candidate::to_sdp_string)
            .collect();
        assert_eq!(lines.len(), 7);
        assert!(
            lines[0].contains(" udp ") && !lines[0].contains("tcptype"),
            "{lines:?}"
        );
        assert!(
            lines[3].ends_with(" 192.0.2.1 443 typ host tcptype passive"),
            "{lines:?}"
        );
        // TCP is for where UDP is blocked.
        let priority = |n: usize| addresses.candidates()[n].prio();
        assert!(priority(2) > priority(3));
    }

    #[test]
    fn a_socket_of_ipv4_is_not_told_by_addresses_of_ipv6() {
        let addresses = of(
            &["2001:db8::1", "192.0.2.1"],
            "0.0.0.0:5000",
            &[],
            &["0.0.0.0:80"],
        );
        assert_eq!(text(addresses.udp()), ["192.0.2.1:5000"]);
        assert_eq!(text(addresses.tcp()), ["192.0.2.1:80"]);
    }

    #[test]
    fn loopback_is_told_when_it_is_all_there_is() {
        let addresses = of(&["127.0.0.1"], "0.0.0.0:5000", &[], &["127.0.0.1:80"]);
        assert_eq!(text(addresses.tcp()), ["127.0.0.1:80"]);
    }

    #[test]
    fn a_packet_came_to_the_address_that_it_was_sent_to_or_else_to_one_of_its_family() {
        let addresses = of(
            &["192.0.2.1", "192.0.2.2", "2001:db8::1"],
            "[::]:5000",
            &[],
            &["[::]:443", "[::]:8443"],
        );
        let from = "198.51.100.1:9".parse().unwrap();
        let to = |local: Option<&str>| {
            let local = local.map(|it| it.parse().unwrap());
            addresses.datagrams(from, local).unwrap().to_string()
        };
        assert_eq!(to(Some("192.0.2.2")), "192.0.2.2:5000");
        // Behind a NAT the own address isn't what peers were told.
        assert_eq!(to(Some("10.0.0.1")), "192.0.2.1:5000");
        assert_eq!(to(None), "192.0.2.1:5000");
        let stream = |local: &str| {
            addresses
                .streams(local.parse().unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(stream("192.0.2.2:8443"), "192.0.2.2:8443");
        assert_eq!(stream("10.0.0.1:8443"), "192.0.2.1:8443");
        assert_eq!(stream("[fd00::1]:80"), "[2001:db8::1]:443");
    }

    #[test]
    fn an_address_of_no_machine_is_refused() {
        let all = "0.0.0.0".parse().unwrap();
        let refused = Addresses::new(&[all], "0.0.0.0:1".parse().unwrap(), &[], &[]);
        assert_eq!(refused.unwrap_err(), all);
    }
}

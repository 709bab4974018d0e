//! This machine's addresses in a session: which ones libnice uses, and what the other side is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use gst::prelude::*;
use gstreamer as gst;

use super::SessionConfig;
use crate::media::MediaError;
use crate::net::{Interface, PortRange};

/// Tells the ICE agent which addresses and ports to use, before it gathers. Blocks for some
/// milliseconds.
pub(super) fn configure(webrtc: &gst::Element, config: &SessionConfig) -> Result<(), MediaError> {
    let chosen = config.interfaces.addresses();
    let chosen = chosen.map_err(|error| MediaError::Address(error.to_string()))?;
    let Some(agent) = webrtc.property::<Option<gst::glib::Object>>("ice-agent") else {
        return Ok(());
    };
    for interface in &chosen {
        // The first one takes the place of all that libnice would find by itself.
        if !agent.emit_by_name::<bool>("add-local-ip-address", &[&with_zone(interface)]) {
            tracing::warn!(%interface, "GStreamer doesn't take this address");
        }
    }
    if let Some(ports) = config.ports {
        for interface in &chosen {
            is_free(interface, ports)?;
        }
        agent.set_property("min-rtp-port", u32::from(ports.min));
        agent.set_property("max-rtp-port", u32::from(ports.max));
    }
    Ok(())
}

/// What the other side is told instead of this machine's own addresses.
#[derive(Debug, Clone)]
pub(super) struct Told(Vec<IpAddr>);

impl Told {
    pub(super) fn new(config: &SessionConfig) -> Self {
        Self(config.advertise.clone())
    }

    /// The candidates to tell for one of ours, in its form (RFC 8839 section 5.1). Only an address of
    /// this machine itself is replaced: others name it from outside already.
    pub(super) fn candidates(&self, candidate: &str) -> Vec<String> {
        let mut words: Vec<_> = candidate.split(' ').collect();
        let own = words.get(4).and_then(|word| word.parse::<IpAddr>().ok());
        let is_host = words.windows(2).any(|pair| pair == ["typ", "host"]);
        let Some(own) = own.filter(|_| is_host) else {
            return vec![candidate.to_owned()];
        };
        let family = |ip: &&IpAddr| ip.is_ipv4() == own.is_ipv4();
        let told: Vec<_> = self
            .0
            .iter()
            .filter(family)
            .map(IpAddr::to_string)
            .collect();
        let mut all = Vec::with_capacity(told.len());
        for ip in &told {
            words[4] = ip;
            all.push(words.join(" "));
        }
        match all.is_empty() {
            true => vec![candidate.to_owned()],
            false => all,
        }
    }

    /// A description of ours with the candidates to tell.
    pub(super) fn description(&self, sdp: String) -> String {
        if self.0.is_empty() || !sdp.contains("a=candidate:") {
            return sdp;
        }
        let lines = sdp.lines().flat_map(|line| match line.strip_prefix("a=") {
            Some(candidate) if candidate.starts_with("candidate:") => {
                let told = self.candidates(candidate).into_iter();
                told.map(|it| format!("a={it}\r\n")).collect()
            }
            _ => vec![format!("{line}\r\n")],
        });
        lines.collect()
    }
}

/// A link-local address of IPv6 means nothing without its link (RFC 4007 section 11).
fn with_zone(Interface { name, ip }: &Interface) -> String {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => format!("{ip}%{name}"),
        _ => ip.to_string(),
    }
}

/// libnice only says that it gathers nothing when it finds no port; this says why.
fn is_free(interface: &Interface, ports: PortRange) -> Result<(), MediaError> {
    // A link-local address can't be bound to without its zone; its ports are as free as any.
    let ip = match interface.ip {
        IpAddr::V6(_) if interface.is_link_local() => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V4(_) if interface.is_link_local() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ip => ip,
    };
    match (ports.min..=ports.max).any(|port| UdpSocket::bind((ip, port)).is_ok()) {
        true => Ok(()),
        false => Err(MediaError::NoFreePort { ip, ports }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:1 1 UDP 2015363327 10.0.0.5 50001 typ host";
    const V6: &str = "candidate:2 1 UDP 2015363583 2001:db8::5 50002 typ host";
    const RELAY: &str =
        "candidate:3 1 UDP 33562367 192.0.2.3 49152 typ relay raddr 10.0.0.5 rport 50001";

    fn told(ips: &[&str]) -> Told {
        Told(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    #[test]
    fn own_addresses_of_the_family_are_told_as_the_advertised_ones_with_their_ports() {
        let told = told(&["203.0.113.1", "203.0.113.2"]);
        let expected = ["203.0.113.1", "203.0.113.2"].map(|ip| HOST.replace("10.0.0.5", ip));
        assert_eq!(told.candidates(HOST), expected);
        for same in [V6, RELAY, "candidate:x", ""] {
            assert_eq!(told.candidates(same), [same]);
        }
    }

    #[test]
    fn candidates_in_a_description_are_told_in_the_same_way() {
        let sdp = format!("v=0\r\na={HOST}\r\na={RELAY}\r\na=mid:0\r\n");
        let expected = format!(
            "v=0\r\na={}\r\na={RELAY}\r\na=mid:0\r\n",
            HOST.replace("10.0.0.5", "203.0.113.1")
        );
        assert_eq!(told(&["203.0.113.1"]).description(sdp.clone()), expected);
        assert_eq!(told(&[]).description(sdp.clone()), sdp);
    }

    #[test]
    fn a_range_of_ports_that_is_used_up_is_said_to_be() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let taken = UdpSocket::bind((ip, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let name = "lo".to_owned();
        let ports = PortRange {
            min: port,
            max: port,
        };
        let error = is_free(&Interface { name, ip }, ports).unwrap_err();
        let said = format!("no UDP port from {port}-{port} is free on 127.0.0.1");
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}

//! Why media doesn't come: how far a connection has come, and what to do about it.

use std::fmt;
use std::net::SocketAddr;

use super::addresses::Addresses;
use crate::net;

/// How far a connection has come, and with whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nothing has come from the peer.
    #[default]
    Nothing,
    /// Connectivity checks came, with another password than ours.
    Refused(SocketAddr),
    /// Connectivity checks came and were answered, and nothing else came (RFC 8445).
    Checks(SocketAddr),
    /// The DTLS handshake began.
    Handshake(SocketAddr),
    /// Media can flow.
    Connected(SocketAddr),
}

/// An endpoint that wasn't connected in time. Displays as what was seen of it, and what to configure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconnected {
    /// How long it had, in seconds.
    pub seconds: u64,
    /// How far it came.
    pub reach: Reach,
    /// Where it was told to send over UDP.
    pub udp: Vec<SocketAddr>,
    /// Where it was told to connect to over TCP.
    pub tcp: Vec<SocketAddr>,
}

impl Reach {
    /// A word for metrics: of few values, none of which a peer can choose.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Nothing => "no_packets",
            Self::Refused(_) => "wrong_password",
            Self::Checks(_) => "no_handshake",
            Self::Handshake(_) => "handshake_unfinished",
            Self::Connected(_) => "lost",
        }
    }

    /// Where the peer is, if anything came from it.
    #[must_use]
    pub const fn peer(self) -> Option<SocketAddr> {
        match self {
            Self::Nothing => None,
            Self::Refused(from)
            | Self::Checks(from)
            | Self::Handshake(from)
            | Self::Connected(from) => Some(from),
        }
    }

    /// A check came, whose password is right or wrong.
    pub(super) fn checked(&mut self, from: SocketAddr, is_right: bool) {
        match self {
            Self::Nothing | Self::Refused(_) if !is_right => *self = Self::Refused(from),
            Self::Nothing | Self::Refused(_) | Self::Checks(_) if is_right => {
                *self = Self::Checks(from);
            }
            // Later the peer may be reached by another way.
            Self::Connected(at) if is_right => *at = from,
            _ => {}
        }
    }

    /// Something else came from where checks had come from.
    pub(super) fn received(&mut self, from: SocketAddr, packet: &[u8]) {
        // DTLS, by its first byte (RFC 7983, section 7).
        let is_handshake = packet.first().is_some_and(|it| (20..64).contains(it));
        if is_handshake && matches!(self, Self::Checks(_)) {
            *self = Self::Handshake(from);
        }
    }

    /// ICE and DTLS are up.
    pub(super) fn connected(&mut self) {
        if let Some(from) = self.peer() {
            *self = Self::Connected(from);
        }
    }
}

impl Unconnected {
    /// Of an endpoint that was told these addresses.
    pub(super) fn new(seconds: u64, reach: Reach, told: &Addresses) -> Self {
        Self {
            seconds,
            reach,
            udp: told.udp().to_vec(),
            tcp: told.tcp().to_vec(),
        }
    }

    fn advice(&self) -> &'static str {
        let all = self.udp.iter().chain(&self.tcp);
        if all.map(SocketAddr::ip).all(net::is_private) {
            "nobody outside of this network can reach these; name the address that participants reach \
             with --advertise (media.advertise in the configuration file)"
        } else {
            "let these ports through each firewall, or name another address with --advertise"
        }
    }
}

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, udp, .. } = self;
        match self.reach {
            Reach::Nothing => {
                write!(
                    f,
                    "no packets reached the server within {seconds} s at {} (UDP)",
                    List(udp)
                )?;
                if !self.tcp.is_empty() {
                    write!(f, " or {} (TCP)", List(&self.tcp))?;
                }
                write!(f, ": {}", self.advice())
            }
            Reach::Refused(from) => write!(
                f,
                "the connectivity checks from {from} have another password than the server's answer: does \
                 the page mix up two connections?"
            ),
            Reach::Checks(from) => write!(
                f,
                "connectivity checks from {from} were answered, but no DTLS handshake began within \
                 {seconds} s: the server's answers don't get there; let UDP from the server's port through \
                 each firewall"
            ),
            Reach::Handshake(from) => write!(
                f,
                "the DTLS handshake with {from} began and didn't end within {seconds} s: large packets are \
                 lost on the way, or the certificate isn't the one that was signaled; look at the MTU of \
                 tunnels on the way"
            ),
            Reach::Connected(from) => write!(f, "the connection with {from} was lost"),
        }
    }
}

struct List<'a>(&'a [SocketAddr]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: [u8; 4] = [0, 1, 0, 0];
    const HELLO: [u8; 4] = [22, 254, 255, 0];

    #[test]
    fn a_connection_goes_as_far_as_what_came() {
        let from = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut reach = Reach::default();
        reach.received(from(1), &HELLO);
        assert_eq!(reach, Reach::Nothing);
        reach.checked(from(1), false);
        assert_eq!(reach, Reach::Refused(from(1)));
        reach.checked(from(2), true);
        reach.checked(from(1), false);
        reach.received(from(2), &CHECK);
        assert_eq!(reach, Reach::Checks(from(2)));
        reach.received(from(2), &HELLO);
        reach.checked(from(3), true);
        assert_eq!(reach, Reach::Handshake(from(2)));
        reach.connected();
        reach.checked(from(3), true);
        assert_eq!(reach, Reach::Connected(from(3)));
    }

    #[test]
    fn who_was_not_reached_is_told_what_to_configure() {
        let said = |udp: &str| {
            let unconnected = Unconnected {
                seconds: 30,
                reach: Reach::Nothing,
                udp: vec![udp.parse().unwrap()],
                tcp: Vec::new(),
            };
            unconnected.to_string()
        };
        let private = said("172.17.0.2:40000");
        assert!(private.contains("172.17.0.2:40000 (UDP)"), "{private}");
        assert!(private.contains("name the address that participants reach with --advertise"));
        let public = said("203.0.113.1:40000");
        assert!(public.contains("firewall"), "{public}");
    }
}

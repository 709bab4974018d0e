//! What the other side is told instead of this machine's own addresses: behind a NAT that passes
//! ports on as they are (a cloud's, a container's, a router with port forwarding), nobody outside
//! knows those.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use stun_proto::types::attribute::XorMappedAddress;
use stun_proto::types::message::{BINDING, Message, MessageWriteVec};
use stun_proto::types::prelude::MessageWrite as _;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// How long a name or a STUN server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// When a STUN server that doesn't answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// STUN servers that are asked at once; more are left out.
const ASKED: usize = 4;
/// Bytes in a STUN answer.
const DATAGRAM: usize = 1500;

/// One address to tell, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Advertise {
    /// This one.
    Ip(IpAddr),
    /// Those that this name has at the time.
    Name(String),
    /// That by which a STUN server sees this machine: `stun`.
    Stun,
}

/// The addresses to tell.
#[derive(Debug, Default)]
pub struct Advertised {
    /// In the user's order, each once.
    pub addresses: Vec<IpAddr>,
    /// Where there is none.
    pub failed: Vec<AdvertiseError>,
}

/// Why there is no address to tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvertiseError {
    /// A name without an address.
    #[error("--advertise {name}: {why}; is it the public name of this machine or of its router?")]
    Name {
        /// The name.
        name: String,
        /// What the system says.
        why: io::Error,
    },
    /// Nobody to ask.
    #[error(
        "--advertise stun: no STUN server is named; add one, as in --ice-server stun:stun.example.org"
    )]
    NoStun,
    /// Nobody answers.
    #[error(
        "--advertise stun: no answer from {} within {} s; is UDP blocked? Write the address itself",
        .0.join(", "),
        PATIENCE.as_secs()
    )]
    Unanswered(Vec<String>),
}

impl Advertise {
    /// What all of these come to now. These servers, by name and port, are asked for [`Self::Stun`]
    /// ([`crate::config::stun_servers`]). Each takes two seconds at most.
    pub async fn resolve(all: &[Self], servers: &[(String, u16)]) -> Advertised {
        let mut advertised = Advertised::default();
        for one in all {
            let found = match one {
                Self::Ip(ip) => Ok(vec![*ip]),
                Self::Name(name) => look_up(name).await,
                Self::Stun => mapped(servers).await,
            };
            match found {
                Ok(found) => advertised.add(found),
                Err(error) => advertised.failed.push(error),
            }
        }
        advertised
    }
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("stun") {
            return Ok(Self::Stun);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return match ip.is_unspecified() || ip.is_multicast() {
                true => Err(format!("{ip} is not an address of one machine")),
                false => Ok(Self::Ip(ip)),
            };
        }
        let is_odd = |c: char| !(c.is_alphanumeric() || "-_.".contains(c));
        // A name's last part is never a number: that is a mistyped address.
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
        if text.is_empty() || text.contains(is_odd) || last.bytes().all(|it| it.is_ascii_digit()) {
            return Err(format!(
                "\"{text}\": write an IP address, a host name, or stun"
            ));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl TryFrom<String> for Advertise {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Advertised {
    fn add(&mut self, found: Vec<IpAddr>) {
        for ip in found {
            if !self.addresses.contains(&ip) && self.addresses.len() < super::ADDRESSES {
                self.addresses.push(ip);
            }
        }
    }
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, AdvertiseError> {
    let found = match timeout(PATIENCE, lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|it| it.ip().to_canonical()).collect::<Vec<_>>()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    found.map_err(|why| AdvertiseError::Name {
        name: name.to_owned(),
        why,
    })
}

/// By which addresses the first of these servers that answers sees this machine: one of each family.
async fn mapped(servers: &[(String, u16)]) -> Result<Vec<IpAddr>, AdvertiseError> {
    let asked = &servers[..servers.len().min(ASKED)];
    if asked.is_empty() {
        return Err(AdvertiseError::NoStun);
    }
    let (v4, v6) = tokio::join!(
        timeout(PATIENCE, first(asked, Ipv4Addr::UNSPECIFIED.into())),
        timeout(PATIENCE, first(asked, Ipv6Addr::UNSPECIFIED.into())),
    );
    let found: Vec<_> = [v4, v6].into_iter().filter_map(|it| it.ok()?).collect();
    match found.is_empty() {
        true => Err(AdvertiseError::Unanswered(
            asked
                .iter()
                .map(|(host, port)| format!("{host}:{port}"))
                .collect(),
        )),
        false => Ok(found),
    }
}

/// What the first server says that answers over this family; `None` if the family can't be used.
async fn first(servers: &[(String, u16)], from: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((from, 0)).await.ok()?;
    let mut addresses = Vec::new();
    for server in servers {
        // One that can't be found is as one that doesn't answer.
        if let Ok(found) = lookup_host((server.0.as_str(), server.1)).await {
            addresses.extend(found.filter(|it| it.is_ipv4() == from.is_ipv4()).take(1));
        }
    }
    if addresses.is_empty() {
        return None;
    }
    ask(&socket, &addresses)
        .await
        .ok()
        .map(|mapped| mapped.ip())
}

/// Asks STUN servers, again and again, by which address they see this socket (RFC 8489 section 3);
/// the first answer counts.
async fn ask(socket: &UdpSocket, servers: &[SocketAddr]) -> io::Result<SocketAddr> {
    let request = request();
    let mut buffer = [0; DATAGRAM];
    loop {
        let mut sent: io::Result<usize> = Err(io::ErrorKind::AddrNotAvailable.into());
        for server in servers {
            sent = socket.send_to(&request, server).await.or(sent);
        }
        sent?;
        let answered = async {
            loop {
                let received = socket.recv_from(&mut buffer).await;
                // A port that is closed is told as an error of the socket.
                let Ok((length, from)) = received else {
                    continue;
                };
                let is_theirs = servers.contains(&from);
                if let Some(mapped) = is_theirs
                    .then(|| answer(&request, &buffer[..length]))
                    .flatten()
                {
                    return mapped;
                }
            }
        };
        if let Ok(mapped) = timeout(ASK_AGAIN, answered).await {
            return Ok(mapped);
        }
    }
}

/// Asks a STUN server by which address it sees the socket that this comes from (RFC 8489 section 3).
pub(crate) fn request() -> Vec<u8> {
    Message::builder_request(BINDING, MessageWriteVec::new()).finish()
}

/// What an answer to this request says.
pub(crate) fn answer(request: &[u8], answer: &[u8]) -> Option<SocketAddr> {
    let request = Message::from_bytes(request).ok()?;
    let answer = Message::from_bytes(answer).ok()?;
    if !answer.is_response() || answer.transaction_id() != request.transaction_id() {
        return None;
    }
    let mapped = answer.attribute::<XorMappedAddress>().ok()?;
    Some(mapped.addr(answer.transaction_id()))
}

#[cfg(test)]
mod tests {
    use stun_proto::types::prelude::MessageWriteExt as _;

    use super::*;

    /// A STUN server on the loopback that answers the second request with this address.
    async fn stun_server(sees: SocketAddr) -> (String, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = ("127.0.0.1".to_owned(), socket.local_addr().unwrap().port());
        tokio::spawn(async move {
            let mut buffer = [0; DATAGRAM];
            socket.recv_from(&mut buffer).await.unwrap();
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let request = Message::from_bytes(&buffer[..length]).unwrap();
            let mut answer = Message::builder_success(&request, MessageWriteVec::new());
            let sees = XorMappedAddress::new(sees, request.transaction_id());
            answer.add_attribute(&sees).unwrap();
            socket.send_to(b"noise", from).await.unwrap();
            socket.send_to(&answer.finish(), from).await.unwrap();
        });
        server
    }

    #[test]
    fn an_address_a_name_or_stun_can_be_told() {
        let parse = |text: &str| text.parse::<Advertise>();
        assert_eq!(parse("stun"), Ok(Advertise::Stun));
        let ip = "2001:db8::1".parse().unwrap();
        assert_eq!(parse("2001:db8::1"), Ok(Advertise::Ip(ip)));
        let name = "my-host.example.org".to_owned();
        assert_eq!(parse("my-host.example.org"), Ok(Advertise::Name(name)));
        for wrong in [
            "",
            "0.0.0.0",
            "10.0.0",
            "10.0.0.256",
            "a b",
            "http://x",
            "x:80",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn stun_tells_the_address_even_if_the_first_request_is_lost() {
        let server = stun_server("203.0.113.7:4000".parse().unwrap()).await;
        let all = ["192.0.2.1", "stun", "localhost", "192.0.2.1"].map(|it| it.parse().unwrap());
        let advertised = Advertise::resolve(&all, &[server]).await;
        let expected = [[192, 0, 2, 1], [203, 0, 113, 7]].map(IpAddr::from);
        assert_eq!(advertised.addresses[..2], expected);
        assert!(advertised.addresses[2..].iter().all(IpAddr::is_loopback));
        assert!(advertised.failed.is_empty(), "{:?}", advertised.failed);
    }

    #[tokio::test]
    async fn what_has_no_address_is_said_and_takes_two_seconds_at_most() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = ("127.0.0.1".to_owned(), silent.local_addr().unwrap().port());
        for (wanted, servers, why) in [
            ("stun", vec![], "no STUN server is named"),
            ("stun", vec![server], "no answer from 127.0.0.1:"),
            ("nobody.invalid", vec![], "--advertise nobody.invalid: "),
        ] {
            let wanted = [wanted.parse().unwrap()];
            let resolved = Advertise::resolve(&wanted, &servers);
            let advertised = timeout(10 * PATIENCE, resolved).await.unwrap();
            assert!(advertised.addresses.is_empty());
            let said = advertised.failed[0].to_string();
            assert!(
                said.starts_with("--advertise") && said.contains(why),
                "{said}"
            );
        }
    }
}

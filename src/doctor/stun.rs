//! How the outside sees this machine, and whether everyone there sees the same (RFC 5780 section 4.3): one
//! socket asks several STUN servers, and several addresses of one that has them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use stun_proto::types::attribute::AttributeType;
use stun_proto::types::message::Message;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{IceServer, stun_servers};
use crate::net::{answer, request};

/// How long the servers, and then their other addresses, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// When those are asked again that haven't answered.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Servers that are asked; more are left out.
const SERVERS: usize = 6;
/// Bytes in an answer.
const DATAGRAM: usize = 1500;
/// RFC 5780 section 7.4, and the name that it had before (RFC 3489).
const OTHER_ADDRESSES: [AttributeType; 2] =
    [AttributeType::new(0x802c), AttributeType::new(0x0005)];

/// What was learnt.
pub(super) struct Stun {
    /// In the order in which they were asked, each by its name and port.
    pub(super) asked: Vec<Asked>,
}

/// One server.
pub(super) struct Asked {
    pub(super) server: String,
    pub(super) outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It sees the socket at this address.
    Seen(SocketAddr),
    /// Its name isn't known.
    Nameless(String),
    /// No answer.
    Silent,
    /// The system has no way there.
    Unreachable(String),
}

/// Asks all of them; `None` if there are none.
pub(super) async fn ask(servers: &[IceServer]) -> Option<Stun> {
    let servers = stun_servers(servers);
    if servers.is_empty() {
        return None;
    }
    let mut asked = Vec::new();
    let mut places = Vec::new();
    let servers = servers.into_iter().take(SERVERS);
    for (server, found) in join_all(servers.map(look_up)).await {
        match found {
            Ok(address) => places.push((server, address)),
            Err(why) => asked.push(Asked {
                server,
                outcome: Outcome::Nameless(why),
            }),
        }
    }
    for from in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let same = |it: &&(String, SocketAddr)| it.1.is_ipv4() == IpAddr::is_ipv4(&from);
        let family: Vec<_> = places.iter().filter(same).cloned().collect();
        if !family.is_empty() {
            asked.extend(over(from, family).await);
        }
    }
    Some(Stun { asked })
}

/// An address of a server, with its name and port. Most machines have IPv4 to the outside.
async fn look_up((host, port): (String, u16)) -> (String, Result<SocketAddr, String>) {
    let found = match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(Ok(found)) => {
            let all: Vec<_> = found.collect();
            let best = all.iter().find(|it| it.is_ipv4()).or(all.first());
            best.copied()
                .ok_or_else(|| "its name has no address".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("looking up its name took too long".to_owned()),
    };
    (format!("{host}:{port}"), found)
}

/// From one socket.
async fn over(from: IpAddr, servers: Vec<(String, SocketAddr)>) -> Vec<Asked> {
    let socket = match UdpSocket::bind((from, 0)).await {
        Ok(socket) => socket,
        Err(error) => {
            let outcome = |(server, _)| Asked {
                server,
                outcome: Outcome::Unreachable(error.to_string()),
            };
            return servers.into_iter().map(outcome).collect();
        }
    };
    let (mut asked, other) = round(&socket, servers).await;
    if let Some(other) = other {
        // Whoever has another address may be wrong about it: then it is as if there were none.
        let (more, _) = round(&socket, vec![(other.to_string(), other)]).await;
        let answers = more
            .into_iter()
            .filter(|it| matches!(it.outcome, Outcome::Seen(_)));
        asked.extend(answers);
    }
    asked
}

/// Asks all at once, again and again, until all have answered or time is over. The second is another
/// address of one of them.
async fn round(
    socket: &UdpSocket,
    servers: Vec<(String, SocketAddr)>,
) -> (Vec<Asked>, Option<SocketAddr>) {
    let end = Instant::now() + PATIENCE;
    let requests: Vec<_> = servers.iter().map(|_| request()).collect();
    let mut outcomes = BTreeMap::new();
    let mut other = None;
    let mut buffer = [0; DATAGRAM];
    while Instant::now() < end && seen(&outcomes) < servers.len() {
        for (n, (_, address)) in servers.iter().enumerate() {
            if !matches!(outcomes.get(&n), Some(Outcome::Seen(_)))
                && let Err(error) = socket.send_to(&requests[n], address).await
            {
                outcomes.insert(n, Outcome::Unreachable(error.to_string()));
            }
        }
        let again = end.min(Instant::now() + ASK_AGAIN);
        while seen(&outcomes) < servers.len() {
            let Ok(received) = timeout_at(again, receive(socket, &mut buffer)).await else {
                break;
            };
            let bytes = &buffer[..received];
            for (n, request) in requests.iter().enumerate() {
                if let Some(mapped) = answer(request, bytes) {
                    outcomes.insert(n, Outcome::Seen(canonical(mapped)));
                    other = other.or_else(|| other_address(bytes));
                }
            }
        }
    }
    let asked = servers.into_iter().enumerate();
    let asked = asked.map(|(n, (server, _))| Asked {
        server,
        outcome: outcomes.remove(&n).unwrap_or(Outcome::Silent),
    });
    (asked.collect(), other)
}

/// A port that is closed is told as an error of the socket; somebody else may answer still.
async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> usize {
    loop {
        let received: io::Result<_> = socket.recv_from(buffer).await;
        if let Ok((length, _)) = received {
            return length;
        }
    }
}

fn seen(outcomes: &BTreeMap<usize, Outcome>) -> usize {
    let seen = |it: &&Outcome| matches!(it, Outcome::Seen(_));
    outcomes.values().filter(seen).count()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The other address at which a server answers (RFC 5780 section 7.4). In the form of MAPPED-ADDRESS
/// (RFC 8489 section 14.1): a zero, the family, the port, the address.
pub(super) fn other_address(bytes: &[u8]) -> Option<SocketAddr> {
    let message = Message::from_bytes(bytes).ok()?;
    let mut attributes = OTHER_ADDRESSES.iter();
    let attribute = attributes.find_map(|kind| message.raw_attribute(*kind))?;
    let (head, address) = attribute.value.split_first_chunk::<4>()?;
    let ip = match head[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([head[2], head[3]])))
}

#[cfg(test)]
mod tests {
    use stun_proto::types::attribute::{RawAttribute, XorMappedAddress};
    use stun_proto::types::message::MessageWriteVec;
    use stun_proto::types::prelude::{MessageWrite as _, MessageWriteExt as _};

    use super::*;

    /// A STUN server on the loopback that sees everyone at this address, and names another one of its own.
    async fn server(sees: SocketAddr, other: Option<SocketAddr>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; DATAGRAM];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let request = Message::from_bytes(&buffer[..length]).unwrap();
                let mut answer = Message::builder_success(&request, MessageWriteVec::new());
                let sees = XorMappedAddress::new(sees, request.transaction_id());
                answer.add_attribute(&sees).unwrap();
                let mut value = vec![0, 1];
                if let Some(SocketAddr::V4(other)) = other {
                    value.extend(other.port().to_be_bytes());
                    value.extend(other.ip().octets());
                    answer
                        .add_attribute(&RawAttribute::new(OTHER_ADDRESSES[0], &value))
                        .unwrap();
                }
                socket.send_to(&answer.finish(), from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn servers_and_their_other_addresses_are_asked_from_one_socket() {
        let (seen, elsewhere) = (
            "203.0.113.7:4000".parse().unwrap(),
            "203.0.113.7:4001".parse().unwrap(),
        );
        let other = server(elsewhere, None).await;
        let first = server(seen, Some(other)).await;
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().unwrap();
        let urls = [first, silent].map(|it| IceServer::bare(format!("stun:{it}")));
        let stun = ask(&urls).await.unwrap();
        let outcomes: Vec<_> = stun.asked.iter().map(|it| it.outcome.clone()).collect();
        let expected = [
            Outcome::Seen(seen),
            Outcome::Silent,
            Outcome::Seen(elsewhere),
        ];
        assert_eq!(outcomes, expected);
        assert_eq!(stun.asked[2].server, other.to_string());
    }

    #[tokio::test]
    async fn without_servers_nobody_is_asked() {
        assert!(ask(&[]).await.is_none());
    }
}

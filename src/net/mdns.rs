//! The addresses behind the names that browsers put in the place of theirs (`….local`), asked of the
//! local network by multicast DNS (RFC 6762).
//!
//! Not the system's resolver: most systems know no multicast DNS, ask the internet for such a name, and
//! block for seconds until nobody answers. Chromium answers to the whole group only, whoever asks, and so
//! the question goes out from the group's own port, which all who listen share.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Interface;

/// How long an answer may take; a connection needs none.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// When the question is asked once more.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Where questions and answers go (RFC 6762 section 3).
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// Bytes in an answer (RFC 6762 section 17).
const DATAGRAM: usize = 9000;

/// Whether this is a name that a browser made up for a candidate: one word and `.local`
/// (draft-ietf-mmusic-mdns-ice-candidates, section 3.2.1).
#[must_use]
pub fn is_name(host: &str) -> bool {
    let word = host.strip_suffix(".local");
    word.is_some_and(|word| {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&word.len()) && word.bytes().all(is_usual)
    })
}

/// Asks the networks of these interfaces who has a name. `None` if nobody says so within [`PATIENCE`].
pub async fn resolve(name: &str, interfaces: &[Interface]) -> Option<IpAddr> {
    let asked = timeout(PATIENCE, ask(name, interfaces)).await;
    match asked {
        Ok(Ok(ip)) => Some(ip),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the local network can't be asked for names");
            None
        }
        Err(_) => None,
    }
}

async fn ask(name: &str, interfaces: &[Interface]) -> io::Result<IpAddr> {
    let own: Vec<_> = interfaces
        .iter()
        .filter_map(|interface| match interface.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
        .collect();
    let socket = member(&own)?;
    let questions = [question(name, TYPE::A)?, question(name, TYPE::AAAA)?];
    let mut buffer = vec![0; DATAGRAM];
    loop {
        for ip in &own {
            SockRef::from(&socket).set_multicast_if_v4(ip)?;
            for question in &questions {
                socket.send_to(question, GROUP).await?;
            }
        }
        let answered = async {
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await?;
                if let Some(ip) = answer(name, &buffer[..length], from) {
                    return Ok(ip);
                }
            }
        };
        if let Ok(answered) = timeout(ASK_AGAIN, answered).await {
            return answered;
        }
    }
}

/// A socket that hears what is said to the group on the networks of these addresses.
fn member(own: &[Ipv4Addr]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.1)).into())?;
    for ip in own {
        socket.join_multicast_v4(&GROUP.0, ip)?;
    }
    UdpSocket::from_std(socket.into())
}

/// Chromium takes no message with two questions.
fn question(name: &str, kind: TYPE) -> io::Result<Vec<u8>> {
    let name = Name::new(name).map_err(io::Error::other)?;
    let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    let mut packet = Packet::new_query(0);
    packet
        .questions
        .push(Question::new(name, kind, class, false));
    packet.build_bytes_vec().map_err(io::Error::other)
}

/// The address that an answer gives for a name. Only from the group's port: so it was somebody who may
/// answer (RFC 6762 section 11).
pub(crate) fn answer(name: &str, datagram: &[u8], from: SocketAddr) -> Option<IpAddr> {
    if from.port() != GROUP.1 {
        return None;
    }
    let packet = Packet::parse(datagram).ok()?;
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let records = packet.answers.iter();
    let own = records.filter(|record| record.name.to_string().eq_ignore_ascii_case(name));
    own.filter_map(|record| match &record.rdata {
        RData::A(it) => Some(Ipv4Addr::from(it.address).into()),
        RData::AAAA(it) => Some(std::net::Ipv6Addr::from(it.address).into()),
        _ => None,
    })
    .find(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    use super::*;

    const NAME: &str = "d05ea7aa-4d7b-4f19-ae53-66d16f55fcf7.local";
    const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 5353);

    fn says(name: &str, ip: Ipv4Addr) -> Vec<u8> {
        let mut packet = Packet::new_reply(0);
        let name = Name::new(name).unwrap();
        let address = RData::A(A { address: ip.into() });
        let record = ResourceRecord::new(name, CLASS::IN, 120, address);
        packet.answers.push(record);
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn a_browsers_names_are_one_word() {
        assert!(is_name(NAME));
        for other in [
            "",
            ".local",
            "a.b.local",
            "a b.local",
            "example.org",
            "local",
            "a.local.",
        ] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn only_an_answer_for_the_name_from_the_groups_port_counts() {
        let ip = Ipv4Addr::new(192, 0, 2, 7);
        let said = says(&NAME.to_uppercase().replace("LOCAL", "local"), ip);
        assert_eq!(answer(NAME, &said, FROM), Some(ip.into()));
        let other = SocketAddr::new(FROM.ip(), 9);
        assert_eq!(answer(NAME, &said, other), None);
        assert_eq!(answer(NAME, &says("other.local", ip), FROM), None);
        assert_eq!(answer(NAME, &says(NAME, Ipv4Addr::UNSPECIFIED), FROM), None);
        assert_eq!(answer(NAME, &question(NAME, TYPE::A).unwrap(), FROM), None);
        for end in 0..said.len() {
            assert_eq!(answer(NAME, &said[..end], FROM), None);
        }
    }

    #[tokio::test]
    async fn what_nobody_answers_is_given_up_in_time() {
        let interfaces = super::super::interfaces().unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(
            resolve("nobody-has-this-name.local", &interfaces).await,
            None
        );
        assert!(started.elapsed() < 20 * PATIENCE);
    }
}

//! Relays: an allocation, and a packet from one allocation to another of the same server, which shows that
//! it relays without anything else having to let packets through.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use stun_proto::Instant as StunInstant;
use stun_proto::agent::Transmit;
use stun_proto::types::TransportType;
use stun_proto::types::attribute::ErrorCode;
use stun_proto::types::message::{Message, MessageClass, TransactionId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use turn_client_proto::api::{TurnClientApi as _, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::client::TurnClient;
use turn_client_proto::prelude::DelayedTransmitBuild as _;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;
use turn_client_proto::udp::TurnClientUdp;

use crate::config::{IceKind, IceServer, IceUrl, Transport};
use crate::peer::link::distrust;

/// How long one way may take altogether.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a relayed packet is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(400);
/// How long the client lets us wait without asking it again.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Ways that are tried; more are left out.
const WAYS: usize = 12;
/// Bytes in a datagram.
const DATAGRAM: usize = 2048;
/// What is relayed.
const PACKET: &[u8] = b"switchboard doctor";
/// The usual port of TURN over TLS (RFC 8656 section 18.6).
const TLS_PORT: u16 = 5349;

/// What carries packets to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Udp,
    Tcp,
    Tls,
}

/// One way to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) over: Over,
    /// Whether somebody named it; otherwise it might be there as well.
    pub(super) is_named: bool,
}

/// What came of one way.
pub(super) struct Try {
    pub(super) way: Way,
    /// Until when the credential is good, if its user name says so (seconds since 1970).
    pub(super) expires: Option<i64>,
    pub(super) outcome: Result<Relayed, Failure>,
}

/// It relays.
pub(super) struct Relayed {
    /// Where it let us be reached.
    pub(super) address: SocketAddr,
    /// From us through two relays back to us.
    pub(super) took: Duration,
}

/// It doesn't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// There is no credential for it.
    #[error("no user name and password for it")]
    NoCredential,
    /// Its name isn't known.
    #[error("its name can't be looked up: {0}")]
    Nameless(String),
    /// Nobody is there.
    #[error("nobody is there: {0}")]
    Unreachable(String),
    /// No TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// A STUN error (RFC 8656 section 19, RFC 8489 section 14.8).
    #[error("it refuses with {code} {reason}")]
    Refused { code: u16, reason: String },
    /// There is an address, but nothing comes through.
    #[error("it gave the address {address}, but doesn't relay: {why}")]
    Stuck { address: SocketAddr, why: String },
}

/// Tries every way to every relay.
pub(super) async fn try_all(servers: &[IceServer], tls: &Arc<ClientConfig>) -> Vec<Try> {
    let tries = ways(servers).into_iter().map(|(way, server)| async move {
        let name = server.username.as_deref().unwrap_or_default();
        Try {
            expires: expiry(name),
            outcome: attempt(&way, server, tls).await,
            way,
        }
    });
    join_all(tries).await
}

/// The ways that are named, and then those that might be there as well.
fn ways(servers: &[IceServer]) -> Vec<(Way, &IceServer)> {
    let mut ways: Vec<(Way, &IceServer)> = Vec::new();
    for server in servers {
        for url in &server.urls {
            let Ok(url) = IceUrl::parse_leniently(url) else {
                continue;
            };
            let over = match (url.tls, url.transport) {
                // No peer of ours speaks DTLS to a relay.
                (true, Some(Transport::Udp)) => continue,
                (true, _) => Over::Tls,
                (false, Some(Transport::Tcp)) => Over::Tcp,
                (false, _) => Over::Udp,
            };
            let way = Way {
                host: url.host,
                port: url.port,
                over,
                is_named: true,
            };
            if url.kind == IceKind::Turn && !ways.iter().any(|(known, _)| *known == way) {
                ways.push((way, server));
            }
        }
    }
    for (way, server) in ways.clone() {
        let others = [
            (Over::Udp, way.port),
            (Over::Tcp, way.port),
            (Over::Tls, TLS_PORT),
        ];
        for (over, port) in others {
            let is_known =
                |(known, _): &(Way, &IceServer)| known.host == way.host && known.over == over;
            if way.over != Over::Tls && !ways.iter().any(is_known) {
                let host = way.host.clone();
                let way = Way {
                    host,
                    port,
                    over,
                    is_named: false,
                };
                ways.push((way, server));
            }
        }
    }
    ways.truncate(WAYS);
    ways
}

/// A minted user name begins with the time until which it is good (draft-uberti-behave-turn-rest-00).
fn expiry(username: &str) -> Option<i64> {
    let (time, _) = username.split_once(':')?;
    time.parse().ok().filter(|time| *time > 1_000_000_000)
}

async fn attempt(
    way: &Way,
    server: &IceServer,
    tls: &Arc<ClientConfig>,
) -> Result<Relayed, Failure> {
    let (Some(name), Some(password)) = (&server.username, &server.credential) else {
        return Err(Failure::NoCredential);
    };
    let credentials = TurnCredentials::new(name, password);
    // The client logs each of its steps, and some with what is secret.
    let relayed = relay(way, &credentials, tls).with_subscriber(NoSubscriber::default());
    timeout(PATIENCE, relayed)
        .await
        .unwrap_or(Err(Failure::Silent))
}

/// Sends a packet from one relayed address to another.
async fn relay(
    way: &Way,
    credentials: &TurnCredentials,
    tls: &Arc<ClientConfig>,
) -> Result<Relayed, Failure> {
    let found = lookup_host((way.host.as_str(), way.port)).await;
    let found: Vec<_> = found
        .map_err(|error| Failure::Nameless(error.to_string()))?
        .collect();
    let address = found.iter().find(|it| it.is_ipv4()).or(found.first());
    let address =
        *address.ok_or_else(|| Failure::Nameless("its name has no address".to_owned()))?;
    let mut one = Relay::open(way, address, credentials, tls).await?;
    let here = one.allocate().await?;
    let stuck = |failure: Failure| Failure::Stuck {
        address: here,
        why: failure.to_string(),
    };
    // What goes wrong from now on isn't the password.
    let through = async {
        let mut two = Relay::open(way, address, credentials, tls).await?;
        let there = two.allocate().await?;
        one.permit(there).await?;
        two.permit(here).await?;
        let took = pass(&mut one, &mut two, there).await;
        two.finish().await;
        took
    };
    let took = timeout(PATIENCE / 2, through).await;
    one.finish().await;
    let took = took.unwrap_or(Err(Failure::Silent)).map_err(stuck)?;
    Ok(Relayed {
        address: here,
        took,
    })
}

/// A packet from one to the other, sent again until it comes; how long the one that came took.
async fn pass(one: &mut Relay, two: &mut Relay, there: SocketAddr) -> Result<Duration, Failure> {
    loop {
        let sent = Instant::now();
        one.send(there, PACKET).await?;
        match timeout(SEND_AGAIN, two.data()).await {
            Ok(Ok(())) => return Ok(sent.elapsed()),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {}
        }
    }
}

/// One allocation: the client's state, and what carries its packets.
struct Relay {
    client: TurnClient,
    wire: Wire,
    /// When the client's time began.
    base: Instant,
    local: SocketAddr,
    remote: SocketAddr,
    /// The request at which the server asked for the password.
    asked: Option<TransactionId>,
}

enum Wire {
    Udp(UdpSocket),
    Stream {
        stream: Box<dyn Stream>,
        /// What has come of the next message.
        buffer: Vec<u8>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Happened {
    Event(TurnEvent),
    Data(Vec<u8>),
}

impl Relay {
    async fn open(
        way: &Way,
        remote: SocketAddr,
        credentials: &TurnCredentials,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self, Failure> {
        let config = TurnConfig::new(credentials.clone());
        let unreachable = |error: io::Error| Failure::Unreachable(error.to_string());
        let (wire, local) = match way.over {
            Over::Udp => udp(remote).await.map_err(unreachable)?,
            Over::Tcp | Over::Tls => {
                let tcp = TcpStream::connect(remote).await.map_err(unreachable)?;
                let local = tcp.local_addr().map_err(unreachable)?;
                let stream: Box<dyn Stream> = match way.over {
                    Over::Tls => Box::new(secure(&way.host, tcp, tls).await?),
                    _ => Box::new(tcp),
                };
                let buffer = Vec::new();
                (Wire::Stream { stream, buffer }, local)
            }
        };
        let client = match &wire {
            Wire::Udp(_) => TurnClientUdp::allocate(local, remote, config).into(),
            Wire::Stream { .. } => TurnClientTcp::allocate(local, remote, config).into(),
        };
        Ok(Self {
            client,
            wire,
            base: Instant::now(),
            local,
            remote,
            asked: None,
        })
    }

    fn now(&self) -> StunInstant {
        StunInstant::from_std(self.base)
    }

    /// An address of the server at which we can be reached.
    async fn allocate(&mut self) -> Result<SocketAddr, Failure> {
        loop {
            match self.next().await? {
                Happened::Event(TurnEvent::AllocationCreated(_, address)) => return Ok(address),
                Happened::Event(TurnEvent::AllocationCreateFailed(_)) => {
                    return Err(Failure::Silent);
                }
                _ => {}
            }
        }
    }

    /// Lets packets from this address through.
    async fn permit(&mut self, peer: SocketAddr) -> Result<(), Failure> {
        let now = self.now();
        let permission = self
            .client
            .create_permission(TransportType::Udp, peer.ip(), now);
        permission.map_err(|error| Failure::Unreachable(error.to_string()))?;
        loop {
            match self.next().await? {
                Happened::Event(TurnEvent::PermissionCreated(..)) => return Ok(()),
                Happened::Event(TurnEvent::PermissionCreateFailed(..)) => {
                    return Err(Failure::Silent);
                }
                _ => {}
            }
        }
    }

    async fn send(&mut self, to: SocketAddr, packet: &[u8]) -> Result<(), Failure> {
        let now = self.now();
        let sent = self.client.send_to(TransportType::Udp, to, packet, now);
        let sent = sent.map_err(|error| Failure::Unreachable(error.to_string()))?;
        match sent {
            Some(message) => self.wire.send(&message.data.build()).await,
            None => Ok(()),
        }
    }

    /// Waits until the packet comes.
    async fn data(&mut self) -> Result<(), Failure> {
        loop {
            if let Happened::Data(data) = self.next().await?
                && data == PACKET
            {
                return Ok(());
            }
        }
    }

    /// Gives the address back, so that who may have so many of them has it again at once.
    async fn finish(mut self) {
        let now = self.now();
        // The server forgets it by itself, after a while.
        if self.client.delete(now).is_ok() {
            let _ = timeout(SEND_AGAIN, self.flush()).await;
        }
    }

    /// Sends what is to be sent.
    async fn flush(&mut self) -> Result<(), Failure> {
        let now = self.now();
        while let Some(message) = self.client.poll_transmit(now) {
            self.wire.send(&message.data).await?;
        }
        Ok(())
    }

    /// What the client tells next. Cancel-safe.
    async fn next(&mut self) -> Result<Happened, Failure> {
        loop {
            let now = self.now();
            let poll = self.client.poll(now);
            self.flush().await?;
            if let Some(event) = self.client.poll_event() {
                return Ok(Happened::Event(event));
            }
            if let Some(data) = self.client.poll_recv(now) {
                return Ok(Happened::Data(data.data().to_vec()));
            }
            let wait = match poll {
                TurnPollRet::WaitUntil(at) => at.saturating_duration_since(now),
                TurnPollRet::Closed => return Err(Failure::Silent),
                TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } => {
                    LONGEST_WAIT
                }
            };
            tokio::select! {
                received = self.wire.receive() => if let Some(data) = self.take(received?)? {
                    return Ok(Happened::Data(data));
                },
                () = sleep(wait.clamp(Duration::from_millis(2), LONGEST_WAIT)) => {}
            }
        }
    }

    /// Gives the client a message; what another peer sent, if it is that.
    ///
    /// What refuses a request is told here: the client waits on, because it doesn't believe an answer that
    /// isn't signed with the password, and a server that doesn't know the password can't sign.
    fn take(&mut self, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, Failure> {
        if let Ok(message) = Message::from_bytes(&bytes)
            && message.has_class(MessageClass::Error)
            && let Ok(error) = message.attribute::<ErrorCode>()
        {
            let request = message.transaction_id();
            let is_question = match error.code() {
                // The first one asks for the password (RFC 8489 section 9.2.4).
                ErrorCode::UNAUTHORIZED => *self.asked.get_or_insert(request) == request,
                code => code == ErrorCode::STALE_NONCE,
            };
            if !is_question {
                return Err(Failure::Refused {
                    code: error.code(),
                    reason: error.reason().to_owned(),
                });
            }
        }
        let (now, transport) = (self.now(), self.client.transport());
        let transmit = Transmit::new(bytes, transport, self.remote, self.local);
        Ok(match self.client.recv(transmit, now) {
            TurnRecvRet::PeerData(data) => Some(data.data().to_vec()),
            _ => None,
        })
    }
}

impl Wire {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = match self {
            Self::Udp(socket) => socket.send(bytes).await.map(drop),
            Self::Stream { stream, .. } => {
                async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                .await
            }
        };
        sent.map_err(|error| Failure::Unreachable(error.to_string()))
    }

    /// The next whole message. Cancel-safe.
    async fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let received = match self {
            Self::Udp(socket) => {
                let mut bytes = vec![0; DATAGRAM];
                socket.recv(&mut bytes).await.map(|length| {
                    bytes.truncate(length);
                    bytes
                })
            }
            Self::Stream { stream, buffer } => loop {
                if let Some(length) = message_length(buffer).filter(|it| *it <= buffer.len()) {
                    let rest = buffer.split_off(length);
                    break Ok(std::mem::replace(buffer, rest));
                }
                match stream.read_buf(buffer).await {
                    Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            },
        };
        received.map_err(|error| Failure::Unreachable(error.to_string()))
    }
}

/// How long the message is that begins so: STUN (RFC 8489 section 5), or channel data, filled up to four
/// bytes (RFC 8656 section 12.5). At most 64 KiB.
pub(super) fn message_length(bytes: &[u8]) -> Option<usize> {
    let [kind, _, high, low, ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    match kind & 0xc0 {
        0 => Some(20 + length),
        _ => Some(4 + length.next_multiple_of(4)),
    }
}

async fn udp(remote: SocketAddr) -> io::Result<(Wire, SocketAddr)> {
    let any = if remote.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    // So that the system tells of a closed port.
    socket.connect(remote).await?;
    let local = socket.local_addr()?;
    Ok((Wire::Udp(socket), local))
}

async fn secure(
    host: &str,
    tcp: TcpStream,
    tls: &Arc<ClientConfig>,
) -> Result<impl Stream + use<>, Failure> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| Failure::Tls(error.to_string()))?;
    let secured = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
    secured.map_err(|error| match distrust(&error) {
        Some(why) => Failure::Tls(format!("its certificate is not trusted: {why}")),
        None => Failure::Tls(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str]) -> IceServer {
        IceServer {
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            ..IceServer::bare("")
        }
    }

    #[test]
    fn named_ways_come_first_and_others_are_guessed_once() {
        let servers = [
            server(&["turn:a", "stun:s", "turns:a:443"]),
            server(&["turn:b:9?transport=tcp", "turns:c?transport=udp", "turn:a"]),
        ];
        let ways = ways(&servers);
        let told =
            |(way, _): &(Way, &IceServer)| (way.host.clone(), way.port, way.over, way.is_named);
        let expected = [
            ("a", 3478, Over::Udp, true),
            ("a", 443, Over::Tls, true),
            ("b", 9, Over::Tcp, true),
            ("a", 3478, Over::Tcp, false),
            ("b", 9, Over::Udp, false),
            ("b", 5349, Over::Tls, false),
        ];
        let expected =
            expected.map(|(host, port, over, named)| (host.to_owned(), port, over, named));
        assert_eq!(ways.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_minted_name_says_when_it_expires() {
        assert_eq!(expiry("1700000000:me"), Some(1_700_000_000));
        assert_eq!(expiry("me"), None);
        assert_eq!(expiry("17:me"), None);
    }

    #[test]
    fn a_stream_is_cut_into_messages() {
        assert_eq!(message_length(&[0, 1, 0]), None);
        assert_eq!(message_length(&[0, 1, 0, 8, 9]), Some(28));
        assert_eq!(message_length(&[0x40, 0, 0, 5]), Some(12));
    }
}

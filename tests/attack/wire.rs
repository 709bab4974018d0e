//! Connections whose every byte is the attacker's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::{PATIENCE, Server};

/// A connection, by whichever listener.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The ways in.
pub(crate) const WAYS: [Way; 2] = [Way::Plain, Way::Tls];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Tls,
}

impl Way {
    pub(crate) async fn connect(self, server: &Server) -> Box<dyn Stream> {
        self.try_connect(server).await.unwrap()
    }

    pub(crate) async fn try_connect(self, server: &Server) -> std::io::Result<Box<dyn Stream>> {
        let tcp = self.tcp(server).await;
        Ok(match self {
            Self::Plain => Box::new(tcp),
            Self::Tls => Box::new(handshake(tcp).await?),
        })
    }

    /// A TCP connection to the listener, with nothing said on it.
    pub(crate) async fn tcp(self, server: &Server) -> TcpStream {
        TcpStream::connect(&server.addresses[self as usize])
            .await
            .unwrap()
    }
}

/// A TLS connection. Certificates are not what is tested.
pub(crate) async fn tls(server: &Server) -> TlsStream<TcpStream> {
    let tcp = Way::Tls.tcp(server).await;
    handshake(tcp).await.unwrap()
}

pub(crate) async fn handshake(tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    timeout(PATIENCE, connecting).await.expect("TLS in time")
}

/// A TCP connection from another address of the loopback: each has ports of its own.
pub(crate) async fn tcp_from(number: u8, server: &Server) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Without this the system would choose a port before it knows the other end, and run out of them.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0)))?;
    socket.connect(server.address().parse().unwrap()).await
}

/// A WebSocket's upgrade, with more header lines.
pub(crate) fn upgrade(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{lines}\r\n"
    )
}

/// Makes a WebSocket of a connection, and gives the answer's head.
pub(crate) async fn open(stream: &mut (impl Stream + ?Sized), path: &str) -> String {
    say(stream, upgrade(path, "").as_bytes()).await;
    let head = head(stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    head
}

/// An answer's head.
pub(crate) async fn head(stream: &mut (impl Stream + ?Sized)) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("an answer in time");
    String::from_utf8(head).unwrap()
}

/// Writes everything.
pub(crate) async fn say(stream: &mut (impl Stream + ?Sized), bytes: &[u8]) {
    let saying = async {
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
    };
    timeout(PATIENCE, saying).await.expect("taken in time");
}

/// Reads until the server has closed the connection, and gives what came.
pub(crate) async fn rest(stream: &mut (impl Stream + ?Sized)) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("closed in time");
    rest
}

/// The code of the close frame at the end of what came.
pub(crate) fn close_code(bytes: &[u8]) -> Option<u16> {
    let at = bytes
        .windows(2)
        .rposition(|it| it[0] == 0x88 && it[1] >= 2)?;
    Some(u16::from_be_bytes([
        *bytes.get(at + 2)?,
        *bytes.get(at + 3)?,
    ]))
}

/// Writes the same again and again until the server hangs up, or for so long; gives the bytes written.
pub(crate) async fn flood(
    stream: &mut (impl Stream + ?Sized),
    bytes: &[u8],
    patience: Duration,
) -> u64 {
    let mut written = 0;
    let writing = async {
        while let Ok(more @ 1..) = stream.write(&bytes[written as usize % bytes.len()..]).await {
            written += more as u64;
        }
    };
    let _ = timeout(patience, writing).await;
    written
}

/// Ends a connection by a reset.
pub(crate) fn reset(tcp: TcpStream) {
    tcp.set_zero_linger().unwrap();
    drop(tcp);
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

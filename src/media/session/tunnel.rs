//! TURN over TLS, which libnice 0.1 doesn't speak: it takes `turns:` for plain TCP. So the session
//! opens a port on this machine, and what libnice sends there in plain TURN over TCP goes on through
//! TLS, with the certificate checked.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{IceKind, IceServer, IceUrl, Transport};

/// How long name look-up, TCP and TLS to a TURN server may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections through one tunnel at once; libnice makes one for each address of this machine. More
/// are closed at once.
const CONNECTIONS: usize = 16;

/// Puts tunnels in place of TURN servers over TLS. They end with `tasks`.
pub(super) async fn open(
    servers: &[IceServer],
    tls: Option<&Arc<ClientConfig>>,
    tasks: &mut JoinSet<()>,
) -> Vec<IceServer> {
    let mut opened = Vec::with_capacity(servers.len());
    for server in servers {
        let mut urls = Vec::with_capacity(server.urls.len());
        for url in &server.urls {
            match (wanted(url), tls) {
                (Some(far), Some(tls)) => {
                    urls.extend(tunnels(url, &far, tls, tasks).await);
                }
                _ => urls.push(url.clone()),
            }
        }
        if !urls.is_empty() {
            opened.push(IceServer {
                urls,
                ..server.clone()
            });
        }
    }
    opened
}

/// A TURN server over TLS. Over DTLS (`transport=udp`) nothing helps.
fn wanted(url: &str) -> Option<IceUrl> {
    let url = IceUrl::parse_leniently(url).ok()?;
    let is_wanted = url.kind == IceKind::Turn && url.tls && url.transport != Some(Transport::Udp);
    is_wanted.then_some(url)
}

/// The URLs of the near ends.
async fn tunnels(
    url: &str,
    far: &IceUrl,
    tls: &Arc<ClientConfig>,
    tasks: &mut JoinSet<()>,
) -> Vec<String> {
    let mut urls = Vec::new();
    for near in near_ends() {
        let tunnel = Tunnel {
            url: url.to_owned(),
            far: far.clone(),
            tls: TlsConnector::from(Arc::clone(tls)),
        };
        let bound = async {
            let listener = TcpListener::bind(near).await?;
            Ok::<_, io::Error>((listener.local_addr()?, listener))
        };
        match bound.await {
            Ok((near, listener)) => {
                tasks.spawn(tunnel.run(listener));
                urls.push(format!("turn:{near}?transport=tcp"));
            }
            Err(error) => tracing::warn!(url, %error, "no tunnel to a TURN server"),
        }
    }
    urls
}

/// libnice connects from each of this machine's addresses, to an address of the same family.
fn near_ends() -> Vec<SocketAddr> {
    let mut ends = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    // Asks for a route, and sends nothing: the address is one of documentation (RFC 5737).
    let route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)));
    if route.is_err() {
        ends.push(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    }
    ends
}

struct Tunnel {
    url: String,
    far: IceUrl,
    tls: TlsConnector,
}

impl Tunnel {
    async fn run(self, listener: TcpListener) {
        let tunnel = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((near, _)) if connections.len() < CONNECTIONS => {
                        connections.spawn(Arc::clone(&tunnel).carry(near));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(url = tunnel.url, %error, "the tunnel to a TURN server ends");
                        return;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Carries one connection until either end closes it.
    async fn carry(self: Arc<Self>, mut near: TcpStream) {
        let connected = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut far = match connected {
            Ok(far) => far,
            Err(error) => {
                tracing::warn!(
                    url = self.url,
                    %error,
                    "no TLS connection to a TURN server; a certificate that the system doesn't know is named with --ca"
                );
                return;
            }
        };
        // An end like any other: the session is over, or the server is.
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }

    async fn connect(&self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let IceUrl { host, port, .. } = &self.far;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let tcp = TcpStream::connect((host.as_str(), *port)).await?;
        tcp.set_nodelay(true)?;
        self.tls.connect(name, tcp).await
    }
}

//! The signaling server: its port, its certificate, its HTTP, and a WebSocket in each dialect through
//! whatever stands in between.
//!
//! Nothing here disturbs it: no endpoint registers but a GStreamer peer of a random id, which says goodbye at
//! once; a device's and a gecko's connections say nothing; a participant pings without joining.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;
use crate::config::IceServer;
use crate::dialect::Dialect;
use crate::dialect::negotiation;
use crate::peer::link::{Dialer, LinkError, ServerUrl, Trust, client_config, distrust};
use crate::peer::{call, device, gecko, ice, participant};

/// How long TCP may take, and TLS, and an answer by HTTP.
const STEP: Duration = Duration::from_secs(3);
/// How long a WebSocket may take to its first answer.
const HELLO: Duration = Duration::from_secs(4);
/// Bytes in an answer by HTTP.
const MOST_BYTES: usize = 64 * 1024;
/// ICE servers that are taken of a server.
const MOST_SERVERS: usize = 16;

/// What was seen of it.
pub(super) struct Server {
    pub(super) url: ServerUrl,
    /// How long TCP took, or why there is none.
    pub(super) port: Result<Duration, String>,
    pub(super) tls: Option<Tls>,
    pub(super) http: Result<Http, String>,
    pub(super) told: Told,
    /// Empty if there is no way to it at all.
    pub(super) sockets: Vec<Socket>,
}

/// Its TLS.
pub(super) struct Tls {
    pub(super) certificate: Option<Certificate>,
    /// Whether the certificate is trusted, or another reason why there is no TLS.
    pub(super) trusted: Result<(), Distrust>,
}

/// Why there is no TLS with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Distrust {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    Early,
    /// It is for other names.
    OtherName,
    /// Nobody whom we trust has signed it.
    Unknown,
    /// It is wrong in another way.
    Wrong(String),
    /// Something else than the certificate.
    NoTls(String),
}

/// Its HTTP.
pub(super) struct Http {
    pub(super) status: StatusCode,
    /// By how many seconds this machine's clock is ahead of the server's.
    pub(super) clock_ahead: Option<i64>,
    /// What stands in between, as far as it says so.
    pub(super) proxy: Option<String>,
}

/// What it says of ICE servers.
pub(super) enum Told {
    /// These.
    Servers(Vec<IceServer>),
    /// It wants a token, or another one.
    Unauthorized,
    /// It knows no such thing.
    Unknown,
    /// It didn't say.
    Silent,
}

/// One WebSocket.
pub(super) struct Socket {
    /// Whose; `None` for the path that the user gave.
    pub(super) dialect: Option<Dialect>,
    pub(super) path: String,
    pub(super) outcome: Result<(), Refusal>,
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// HTTP instead.
    Status(u16),
    /// It was closed at once.
    Closed { code: u16, reason: String },
    /// It is open, but nothing comes.
    Silent,
    /// It is open, but speaks another language.
    Strange,
    /// Another failure.
    Broken(String),
}

/// Asks a server for its ICE servers.
pub(super) async fn ice_servers(dialer: &Dialer) -> Told {
    let Ok(Ok(answer)) = timeout(STEP, dialer.get(ice::PATH, MOST_BYTES)).await else {
        return Told::Silent;
    };
    match answer.status {
        StatusCode::OK => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => {
                let mut servers = negotiation::ice_servers(&body["iceServers"]);
                servers.truncate(MOST_SERVERS);
                Told::Servers(servers)
            }
            Err(_) => Told::Unknown,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Told::Unauthorized,
        _ => Told::Unknown,
    }
}

/// Looks at a server that said this of ICE servers.
pub(super) async fn look(dialer: &Dialer, told: Told) -> Server {
    let url = dialer.url().clone();
    let port = port(&url).await;
    let mut server = Server {
        url,
        port,
        tls: None,
        http: Err(String::new()),
        told,
        sockets: Vec::new(),
    };
    if server.port.is_err() {
        return server;
    }
    if server.url.is_tls() {
        let tls = tls(dialer).await;
        let is_trusted = tls.trusted.is_ok();
        server.tls = Some(tls);
        if !is_trusted {
            return server;
        }
    }
    (server.http, server.sockets) = tokio::join!(http(dialer), sockets(dialer));
    server
}

async fn port(url: &ServerUrl) -> Result<Duration, String> {
    let started = Instant::now();
    match timeout(STEP, TcpStream::connect((url.host(), url.port()))).await {
        Ok(Ok(_)) => Ok(started.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", STEP.as_secs())),
    }
}

/// Once to see the certificate whatever it is, and once as peers connect.
async fn tls(dialer: &Dialer) -> Tls {
    let anyone = Trust {
        anyone: true,
        ..Trust::default()
    };
    let seen = async {
        let config = client_config(&anyone).ok()?;
        handshake(dialer.url(), Arc::new(config)).await.ok()?
    };
    let (certificate, trusted) = tokio::join!(seen, handshake(dialer.url(), dialer.tls()));
    Tls {
        certificate,
        trusted: trusted.map(drop),
    }
}

async fn handshake(
    url: &ServerUrl,
    config: Arc<ClientConfig>,
) -> Result<Option<Certificate>, Distrust> {
    let broken = |error: &dyn std::fmt::Display| Distrust::NoTls(error.to_string());
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| broken(&error))?;
    let connect = async {
        let tcp = TcpStream::connect((url.host(), url.port())).await?;
        TlsConnector::from(config).connect(name, tcp).await
    };
    let Ok(connected) = timeout(STEP, connect).await else {
        return Err(broken(&format_args!(
            "no answer within {} s",
            STEP.as_secs()
        )));
    };
    let tls = connected.map_err(|error| match distrust(&error) {
        Some(why) => sort(&why),
        None => broken(&error),
    })?;
    let chain = tls.get_ref().1.peer_certificates();
    let own = chain.and_then(|chain| chain.first());
    Ok(own.and_then(|own| Certificate::read(own)))
}

fn sort(why: &CertificateError) -> Distrust {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Distrust::Early
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Distrust::OtherName
        }
        CertificateError::UnknownIssuer => Distrust::Unknown,
        other => Distrust::Wrong(other.to_string()),
    }
}

async fn http(dialer: &Dialer) -> Result<Http, String> {
    let started = Instant::now();
    let answer = match timeout(STEP, dialer.get("/health", MOST_BYTES)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", STEP.as_secs())),
    };
    let date = answer.headers.get("date").and_then(|it| it.to_str().ok());
    let date = date.and_then(|it| httpdate::parse_http_date(it).ok());
    let clock_ahead = date.and_then(|date| {
        let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        // The server wrote it somewhere on the way.
        let middle = i64::try_from(started.elapsed().as_secs() / 2).ok()?;
        Some(super::now() - middle - i64::try_from(date.as_secs()).ok()?)
    });
    Ok(Http {
        status: answer.status,
        clock_ahead,
        proxy: proxy(&answer.headers),
    })
}

/// Our server adds none of these.
fn proxy(headers: &HeaderMap) -> Option<String> {
    let named = ["via", "server"].iter().find_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(value.chars().take(60).collect())
    });
    named.filter(|it: &String| !it.is_empty())
}

/// A WebSocket of each dialect, or at the path that the user gave.
async fn sockets(dialer: &Dialer) -> Vec<Socket> {
    let own = dialer.url().path();
    let ways: Vec<(Option<Dialect>, String)> = if own == "/" {
        let ways = [
            (Dialect::Cuttlefish, device::PATH),
            (Dialect::GStreamer, call::PATH),
            (Dialect::Gecko, gecko::PATH),
            (Dialect::Kurento, participant::PATH),
        ];
        ways.map(|(dialect, path)| (Some(dialect), path.to_owned()))
            .into()
    } else {
        vec![(None, own.to_owned())]
    };
    let tries = ways.into_iter().map(|(dialect, path)| async move {
        let tried = timeout(HELLO, hello(dialer, dialect, &path)).await;
        Socket {
            dialect,
            outcome: tried.unwrap_or(Err(Refusal::Silent)),
            // What follows the path may be a secret.
            path: path.split('?').next().unwrap_or_default().to_owned(),
        }
    });
    join_all(tries).await
}

/// Opens it, and says what can be said without doing anything.
async fn hello(dialer: &Dialer, dialect: Option<Dialect>, path: &str) -> Result<(), Refusal> {
    let dialer = dialer.at(path);
    let dialer = dialer.map_err(|error| Refusal::Broken(error.to_string()))?;
    let mut link = dialer.dial().await?;
    let (question, answer) = match dialect {
        Some(Dialect::GStreamer) => (format!("HELLO {}", fastrand::u32(1 << 30..)), "HELLO"),
        Some(Dialect::Kurento) => {
            let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"interval":5000}}"#;
            (ping.to_owned(), "{")
        }
        // What these say first registers them.
        Some(Dialect::Cuttlefish | Dialect::Gecko) | None => {
            link.close().await;
            return Ok(());
        }
    };
    link.send(question).await?;
    let said = link.receive().await?;
    let understood = said.as_str().starts_with(answer);
    link.close().await;
    match understood {
        true => Ok(()),
        false => Err(Refusal::Strange),
    }
}

impl From<LinkError> for Refusal {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(status, _) => Self::Status(status.as_u16()),
            LinkError::Closed { code, reason } => Self::Closed { code, reason },
            LinkError::Timeout(_) => Self::Silent,
            other => Self::Broken(other.to_string()),
        }
    }
}

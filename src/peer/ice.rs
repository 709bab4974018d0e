//! How a peer's media finds its way: which ICE servers help, and whether all ways will do. And what all
//! its sessions have in common besides.
//!
//! The user names servers by flags. Cuttlefish's and the geckos' servers tell more in their own
//! messages; for the dialects that have no word for them, Switchboard answers `GET /ice-servers`.
//! Other servers know no such thing, and then there are none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::link::Dialer;
use crate::config::{IceServer, stun_servers};
use crate::dialect::negotiation::ice_servers;
use crate::media::{Metrics, RECEIVE_LATENCY, SessionConfig};
use crate::net::{Advertise, InterfaceRules, PortRange};

/// Where a server tells its ICE servers.
pub const PATH: &str = "/ice-servers";

/// How long a server may take to tell its ICE servers; then there are none. A peer asks when it
/// registers, and so a call seldom waits for this.
const PATIENCE: Duration = Duration::from_secs(1);
/// When a server that didn't answer is asked again, if it is needed then.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Bytes in such an answer.
const MOST_BYTES: usize = 64 * 1024;
/// ICE servers for one session; more are left out.
const MOST_SERVERS: usize = 16;

/// What a peer knows of ICE servers, and which ways it takes.
pub struct Ice {
    own: Vec<IceServer>,
    relay_only: bool,
    network: Network,
    tls: Option<Arc<ClientConfig>>,
    server: Option<Server>,
    latency: Duration,
    metrics: Option<Metrics>,
}

/// This machine's part in the way.
#[derive(Debug, Default)]
pub struct Network {
    /// Which interfaces are used.
    pub interfaces: InterfaceRules,
    /// What the other side is told instead of their addresses; looked up for each session.
    pub advertise: Vec<Advertise>,
    /// Which UDP ports are used; any, if nothing is said.
    pub ports: Option<PortRange>,
}

/// The server that is asked.
struct Server {
    dialer: Dialer,
    /// What it said last; a place of its own for each question, so that many ask it once.
    found: Mutex<Arc<OnceCell<Found>>>,
}

/// What a server said.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    servers: Vec<IceServer>,
    /// When to ask again.
    until: Option<Instant>,
}

impl Ice {
    /// The user's own ICE servers, and whether only TURN servers may carry media.
    #[must_use]
    pub fn new(own: Vec<IceServer>, relay_only: bool) -> Self {
        Self {
            own,
            relay_only,
            network: Network::default(),
            tls: None,
            server: None,
            latency: RECEIVE_LATENCY,
            metrics: None,
        }
    }

    /// Lets received packets wait this long for late ones.
    #[must_use]
    pub const fn waiting(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Counts all sessions here.
    #[must_use]
    pub fn counting(mut self, metrics: Option<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Where sessions are counted, if they are.
    #[must_use]
    pub const fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Uses this machine's network so.
    #[must_use]
    pub fn through(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Trusts TURN servers over TLS as it does the signaling server. Without this they are left out.
    #[must_use]
    pub fn trusting(mut self, dialer: &Dialer) -> Self {
        self.tls = Some(dialer.tls());
        self
    }

    /// Asks the signaling server for more.
    #[must_use]
    pub fn asking(mut self, dialer: &Dialer) -> Self {
        self.server = Some(Server {
            dialer: dialer.clone(),
            found: Mutex::default(),
        });
        self
    }

    /// Forgets what the server said, and asks it anew: at each connection to it.
    pub(super) fn renew(self: &Arc<Self>) {
        if let Some(server) = &self.server {
            server.forget();
            let this = Arc::clone(self);
            // Ends by itself in time.
            tokio::spawn(async move { this.asked().await });
        }
    }

    /// For a new session: the ways to the other side. `told` are lists of ICE servers that came with
    /// the dialect's own messages, the newest first. May wait a second for the server, and two for each
    /// address to advertise that must be found first.
    pub async fn session(&self, told: &[&[IceServer]]) -> SessionConfig {
        let asked = self.asked().await;
        let lists = [&self.own[..]].into_iter().chain(told.iter().copied());
        let ice_servers = merge(lists.chain([&asked[..]]));
        let Network {
            interfaces,
            advertise,
            ports,
        } = &self.network;
        let advertised = Advertise::resolve(advertise, &stun_servers(&ice_servers)).await;
        for error in &advertised.failed {
            tracing::warn!("{error}");
        }
        SessionConfig {
            ice_servers,
            relay_only: self.relay_only,
            turn_tls: self.tls.clone(),
            receive_latency: self.latency,
            metrics: self.metrics.clone(),
            interfaces: interfaces.clone(),
            advertise: advertised.addresses,
            ports: *ports,
            ..SessionConfig::default()
        }
    }

    /// What the server says; nothing if it doesn't say it in time.
    async fn asked(&self) -> Vec<IceServer> {
        match &self.server {
            Some(server) => server.servers().await,
            None => Vec::new(),
        }
    }
}

impl Server {
    fn forget(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    async fn servers(&self) -> Vec<IceServer> {
        let place = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let until = found.get().and_then(|found| found.until);
            if until.is_some_and(|at| at <= Instant::now()) {
                *found = Arc::default();
            }
            Arc::clone(&found)
        };
        place.get_or_init(|| self.ask()).await.servers.clone()
    }

    async fn ask(&self) -> Found {
        let answer = timeout(PATIENCE, self.dialer.get(PATH, MOST_BYTES)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            failed => {
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it takes too long".to_owned(),
                };
                tracing::debug!(why, "the server tells no ICE servers");
                return Found {
                    servers: Vec::new(),
                    until: Some(Instant::now() + ASK_AGAIN),
                };
            }
        };
        match answer.status {
            StatusCode::OK => return Found::read(&answer.body),
            StatusCode::UNAUTHORIZED => {
                tracing::warn!("the server tells its ICE servers to tokens only; add --token");
            }
            // Another program's server. Nothing is missing there.
            status => tracing::debug!(%status, "the server tells no ICE servers"),
        }
        Found::default()
    }
}

impl Found {
    /// Reads the body of an answer; nothing for what isn't one.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        // A session may begin at the very end of this time, and needs its credentials then.
        let ttl = answer["ttl"].as_u64().map(|ttl| ttl.min(86_400) / 2);
        Self {
            servers: ice_servers(&answer["iceServers"]),
            until: ttl.map(|ttl| Instant::now() + Duration::from_secs(ttl)),
        }
    }
}

/// One list of several: the first one's entry counts for each URL, and so do its credentials.
fn merge<'a>(lists: impl Iterator<Item = &'a [IceServer]>) -> Vec<IceServer> {
    let mut all: Vec<IceServer> = Vec::new();
    for server in lists.flatten() {
        let is_known = |url| all.iter().any(|known| known.urls.contains(url));
        if !server.urls.iter().all(is_known) && all.len() < MOST_SERVERS {
            all.push(server.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::link::{ServerUrl, Trust};
    use super::*;
    use crate::config::Secret;

    fn turn(url: &str, credential: &str) -> IceServer {
        IceServer {
            urls: vec![url.to_owned()],
            username: Some("u".to_owned()),
            credential: Some(credential.to_owned()),
        }
    }

    #[test]
    fn the_first_credential_for_a_url_counts_and_a_session_has_so_many_servers() {
        let (fresh, old) = (
            [turn("turn:a", "new")],
            [turn("turn:a", "old"), turn("turn:b", "b")],
        );
        assert_eq!(
            merge([&fresh[..], &old[..]].into_iter()),
            [turn("turn:a", "new"), turn("turn:b", "b")]
        );
        let many: Vec<_> = (0..100).map(|n| turn(&format!("turn:{n}"), "")).collect();
        assert_eq!(merge([&many[..]].into_iter()).len(), MOST_SERVERS);
    }

    #[test]
    fn what_expires_is_asked_for_again_after_half_its_time() {
        let body = br#"{"iceServers":[{"urls":["stun:s"]}],"ttl":600}"#;
        let found = Found::read(body);
        assert_eq!(found.servers, [IceServer::bare("stun:s")]);
        assert!(found.until.unwrap() <= Instant::now() + Duration::from_secs(300));
        assert!(Found::read(br#"{"iceServers":[]}"#).until.is_none());
        assert!(Found::read(b"<html>").servers.is_empty());
    }

    /// What a peer gets from a server that answers every request with these bytes, or never.
    async fn from_server(answer: Option<&'static str>) -> Vec<IceServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/any?x", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") {
                asked.push(char::from(tcp.read_u8().await.unwrap()));
            }
            assert!(
                asked.starts_with("GET /ice-servers HTTP/1.1\r\n"),
                "{asked}"
            );
            assert!(asked.contains("authorization: Bearer t\r\n"), "{asked}");
            match answer {
                Some(answer) => tcp.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let url = ServerUrl::new(&url, "/").unwrap();
        let dialer = Dialer::new(url, &Trust::default()).unwrap();
        let dialer = dialer.with_token(&Secret::new("t")).unwrap();
        let ice = Ice::new(Vec::new(), false).asking(&dialer);
        ice.session(&[]).await.ice_servers
    }

    #[tokio::test]
    async fn a_server_that_has_none_or_never_says_is_no_obstacle() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"iceServers\":[{\"urls\":[\"stun:s\"]}]}    ";
        assert_eq!(from_server(Some(good)).await, [IceServer::bare("stun:s")]);
        for bad in [
            Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Some("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>"),
            Some("HTTP/1.1 426 Upgrade Required\r\n\r\n"),
            Some("HELLO\r\n"),
            Some(""),
            None,
        ] {
            let started = Instant::now();
            assert!(from_server(bad).await.is_empty(), "{bad:?}");
            assert!(started.elapsed() < 5 * PATIENCE, "{bad:?}");
        }
    }
}

//! A peer's connection to a signaling server: one WebSocket, kept alive, over TLS where the URL says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::client_async_tls_with_connector_and_config;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use async_tungstenite::tungstenite::http::uri::InvalidUri;
use async_tungstenite::tungstenite::http::{Method, StatusCode, Uri};
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use bytes::Bytes;
use futures_util::StreamExt;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::config::Secret;
use crate::web::{self, Answer, Ask, Web, WebError};

/// How long name look-up, TCP, TLS and the upgrade may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which the server is pinged.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Silence after which the server counts as gone.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// How long one write, or the closing handshake, may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of what a server says that opens no WebSocket.
const SAID: usize = 300;
/// The largest message taken from a server.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Whom to trust when the URL asks for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A PEM file of certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Take any certificate.
    pub anyone: bool,
    /// Who this peer is, to a server that asks for it: PEM files of a certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A server's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Uri);

/// An open connection.
pub struct Link {
    socket: WebSocketStream<async_tungstenite::tokio::ConnectStream>,
    heard: Instant,
    pinged: bool,
}

/// Opens connections to one server.
#[derive(Clone)]
pub struct Dialer {
    url: ServerUrl,
    tls: Arc<rustls::ClientConfig>,
    /// `Authorization`, if the server wants one.
    authorization: Option<HeaderValue>,
}

/// What is wrong with a server's URL or with the trusted certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialerError {
    /// Not a URL for us.
    #[error("\"{0}\" is no server's URL; write ws://HOST:PORT or wss://HOST:PORT")]
    Url(String),
    /// The token can't be sent.
    #[error("the token has characters that an HTTP header cannot have")]
    Token,
    /// The file of trusted certificates is no good.
    #[error("cannot use {} as trusted certificates: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The files of the own certificate are no good.
    #[error("cannot use {} and {} as this peer's certificate and key: {why}", .certificate.display(), .key.display())]
    Identity {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
}

/// Why a connection could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Nobody answers there.
    #[error("cannot connect to {host}:{port}: {why}")]
    Connect {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        why: std::io::Error,
    },
    /// Something answers, and opens no WebSocket; with what it says, or what to look at.
    #[error("the server answers {0} to the WebSocket request: {1}")]
    Refused(StatusCode, String),
    /// Its certificate isn't trusted.
    #[error(
        "the certificate of {host} is not trusted: {why}; name the file of the certificate that \
         signed it with --ca, or take any with --insecure"
    )]
    Untrusted {
        /// The host.
        host: String,
        /// What is wrong with it.
        why: rustls::CertificateError,
    },
    /// The connection or its TLS broke.
    #[error("{0}")]
    Broken(#[source] Box<tungstenite::Error>),
    /// The server said goodbye.
    #[error("the server closed the connection ({code}{}{reason})", if reason.is_empty() { "" } else { " " })]
    Closed {
        /// RFC 6455 section 7.4.
        code: u16,
        /// What it said.
        reason: String,
    },
    /// The deadline passed.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl ServerUrl {
    /// Takes `ws://`, `wss://`, `http://` or `https://` with a host; a URL without a path gets `path`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn new(text: &str, path: &str) -> Result<Self, DialerError> {
        let wrong = || DialerError::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let scheme = match uri.scheme_str() {
            Some("ws" | "http") => "ws",
            Some("wss" | "https") => "wss",
            _ => return Err(wrong()),
        };
        let authority = uri
            .authority()
            .filter(|a| !a.host().is_empty())
            .ok_or_else(wrong)?;
        let path = match uri.path_and_query() {
            Some(given) if given.as_str() != "/" => given.as_str(),
            _ => path,
        };
        format!("{scheme}://{authority}{path}")
            .parse()
            .map(Self)
            .map_err(|_| wrong())
    }

    /// The server's origin: its scheme as a browser writes it, its host and its port.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!(
            "{scheme}://{}:{}",
            self.0.host().unwrap_or_default(),
            self.port()
        )
    }

    /// Whether it is over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("wss")
    }

    /// The path and the query, from the first slash on.
    pub(crate) fn path(&self) -> &str {
        self.0.path_and_query().map_or("/", |path| path.as_str())
    }

    /// A name or an address, without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port, the scheme's own if the URL says none.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.is_tls() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }
}

/// For people and logs: without what may be secret, a user's password and the query with its token.
impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |it| it.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
        write!(f, "{scheme}://{host}{}", self.0.path())
    }
}

impl Dialer {
    /// Prepares connections to a server.
    ///
    /// # Errors
    /// If the trusted certificates can't be read.
    pub fn new(url: ServerUrl, trust: &Trust) -> Result<Self, DialerError> {
        Ok(Self {
            url,
            tls: Arc::new(client_config(trust)?),
            authorization: None,
        })
    }

    /// Shows the server a token (RFC 6750 section 2.1) with each connection.
    ///
    /// # Errors
    /// If it has characters that no header can have.
    pub fn with_token(mut self, token: &Secret) -> Result<Self, DialerError> {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| DialerError::Token)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// The same server at another path.
    pub(crate) fn at(&self, path: &str) -> Result<Self, DialerError> {
        let url = format!("{}{path}", self.url.origin());
        Ok(Self {
            url: ServerUrl::new(&url, path)?,
            ..self.clone()
        })
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If there is none within 10 s.
    pub async fn dial(&self) -> Result<Link, LinkError> {
        match timeout(CONNECT_TIMEOUT, self.dial_slowly()).await {
            Ok(result) => result,
            Err(_) => Err(LinkError::Timeout(CONNECT_TIMEOUT)),
        }
    }

    /// How the server's certificate is checked.
    #[must_use]
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// Asks the same server for something else by HTTP: a path, with the token if there is one. Takes
    /// so many bytes. Whoever asks sets the deadline.
    pub(crate) async fn get(&self, path: &str, most_bytes: usize) -> Result<Answer, WebError> {
        let broken = |error: InvalidUri| WebError::Broken {
            host: self.url.host().to_owned(),
            why: error.to_string(),
        };
        let url = format!("{}{path}", self.url.origin());
        let url: Uri = url.parse().map_err(broken)?;
        let authorization = self.authorization.clone();
        let ask = Ask {
            method: Method::GET,
            url: &url,
            headers: authorization
                .map(|value| (AUTHORIZATION, value))
                .into_iter()
                .collect(),
            body: Bytes::new(),
        };
        let web = Web::new((*self.tls).clone(), most_bytes);
        web.send(ask, |_| Ok(())).await
    }

    async fn dial_slowly(&self) -> Result<Link, LinkError> {
        let (host, port) = (self.url.host(), self.url.port());
        let connect = |why| LinkError::Connect {
            host: host.to_owned(),
            port,
            why,
        };
        let stream = TcpStream::connect((host, port)).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let mut request = self
            .url
            .0
            .clone()
            .into_client_request()
            .map_err(LinkError::from)?;
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let (socket, _) = client_async_tls_with_connector_and_config(
            request,
            stream,
            Some(TlsConnector::from(self.tls())),
            Some(config),
        )
        .await
        .map_err(|error| match error {
            tungstenite::Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let why = advice(response.status(), body, self.url.0.path());
                LinkError::Refused(response.status(), why)
            }
            tungstenite::Error::Io(error) => match distrust(&error) {
                Some(why) => LinkError::Untrusted {
                    host: host.to_owned(),
                    why,
                },
                None => tungstenite::Error::Io(error).into(),
            },
            error => error.into(),
        })?;
        Ok(Link {
            socket,
            heard: Instant::now(),
            pinged: false,
        })
    }
}

/// Why a server opens no WebSocket, and what to do: in its own words, if it is ours.
fn advice(status: StatusCode, body: &[u8], path: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    let said = serde_json::from_slice::<Said>(body).ok();
    let said = said.map(|it| it.error.chars().take(SAID).collect::<String>());
    match (said, status) {
        (Some(said), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            format!("{said}; name a token with --token")
        }
        (Some(said), _) => said,
        (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            format!("name a token for {path} with --token")
        }
        (None, _) => format!("is {path} the right path?"),
    }
}

impl Link {
    /// Sends a text frame.
    ///
    /// # Errors
    /// If the connection is gone or takes nothing for 10 s.
    pub async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), LinkError> {
        self.write(Message::Text(text.into())).await
    }

    /// The next text frame. Cancel-safe. Pings a silent server, and gives it up after 20 s.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn receive(&mut self) -> Result<Utf8Bytes, LinkError> {
        loop {
            let silence = self.heard.elapsed();
            if silence >= DEAD_AFTER {
                return Err(LinkError::Timeout(DEAD_AFTER));
            }
            let patience =
                if self.pinged { DEAD_AFTER } else { PING_AFTER }.saturating_sub(silence);
            let Ok(message) = timeout(patience, self.socket.next()).await else {
                if !self.pinged {
                    self.pinged = true;
                    self.write(Message::Ping(Vec::new().into())).await?;
                }
                continue;
            };
            (self.heard, self.pinged) = (Instant::now(), false);
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(closed(None)),
            }
        }
    }

    /// Says goodbye. What was sent before still arrives.
    pub async fn close(mut self) {
        let goodbye = async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // A server that doesn't answer the goodbye is left behind.
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }

    async fn write(&mut self, message: Message) -> Result<(), LinkError> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(result) => result.map_err(LinkError::from),
            Err(_) => Err(LinkError::Timeout(WRITE_TIMEOUT)),
        }
    }
}

impl From<tungstenite::Error> for LinkError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// What is wrong with the server's certificate, if that is what broke the connection.
pub(crate) fn distrust(error: &std::io::Error) -> Option<rustls::CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(why) => Some(why.clone()),
        _ => None,
    }
}

fn closed(frame: Option<CloseFrame>) -> LinkError {
    // RFC 6455 section 7.1.5: 1006 stands for a connection that ended without a goodbye.
    let (code, reason) = frame.map_or((1006, String::new()), |frame| {
        (frame.code.into(), frame.reason.to_string())
    });
    LinkError::Closed { code, reason }
}

/// TLS for a client that trusts the system's certificates and more.
///
/// # Errors
/// If the certificates to trust can't be read.
pub fn client_config(trust: &Trust) -> Result<rustls::ClientConfig, DialerError> {
    let mut roots = web::system_roots();
    if let Some(path) = &trust.ca {
        let wrong = |why: String| DialerError::Ca {
            path: path.clone(),
            why,
        };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(error.to_string()))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
    }
    let mut config = web::trusting(roots).map_err(|error| DialerError::Ca {
        path: PathBuf::new(),
        why: error.to_string(),
    })?;
    if trust.anyone {
        web::trust_anyone(&mut config);
    }
    if let Some((certificate, key)) = &trust.identity {
        let wrong = |why: String| DialerError::Identity {
            certificate: certificate.clone(),
            key: key.clone(),
            why,
        };
        let provider = Arc::clone(config.crypto_provider());
        let own = identity(certificate, key, &provider).map_err(wrong)?;
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
    }
    Ok(config)
}

fn identity(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| error.to_string())?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_get_the_dialects_path_unless_they_have_their_own() {
        let url = |text: &str| ServerUrl::new(text, "/register_device").map(|url| url.to_string());
        assert_eq!(url("ws://host:1").unwrap(), "ws://host:1/register_device");
        assert_eq!(url("https://host/").unwrap(), "wss://host/register_device");
        assert_eq!(
            url("wss://me:hidden@[::1]:8443/x?token=y").unwrap(),
            "wss://[::1]:8443/x"
        );
        for wrong in ["host:1", "ftp://host", "ws://", "pattern=ball", ""] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
        let url = ServerUrl::new("wss://[::1]", "/").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 443));
        assert_eq!(url.origin(), "https://[::1]:443");
    }
}

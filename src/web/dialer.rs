//! One server and how to talk to it: its URL, whom to trust there, what to show it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::uri::InvalidUri;
use http::{Method, Uri};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{Answer, Ask, Web, WebError};
use crate::config::Secret;

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

    /// As a WebSocket is asked for.
    #[cfg(feature = "peer")]
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("wss")
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        let address = self.host().parse::<IpAddr>();
        address.map_or(self.host() == "localhost", |it| it.is_loopback())
    }

    /// The path and the query, from the first slash on.
    #[cfg(feature = "peer")]
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
    #[cfg(feature = "peer")]
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

    /// How the server's certificate is checked.
    #[cfg(feature = "peer")]
    #[must_use]
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// What is shown to the server, if it wants something.
    #[cfg(feature = "peer")]
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Asks the same server for something else by HTTP, as `ask` does.
    #[cfg(feature = "peer")]
    pub(crate) async fn get(&self, path: &str, most_bytes: usize) -> Result<Answer, WebError> {
        self.ask(Method::GET, path, None, most_bytes).await
    }

    /// Asks the same server for something else by HTTP: a path, with the token if there is one, and with
    /// JSON if there is some. Takes so many bytes. Whoever asks sets the deadline.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        json: Option<Bytes>,
        most_bytes: usize,
    ) -> Result<Answer, WebError> {
        let broken = |error: InvalidUri| WebError::Broken {
            host: self.url.host().to_owned(),
            why: error.to_string(),
        };
        let url = format!("{}{path}", self.url.origin());
        let url: Uri = url.parse().map_err(broken)?;
        let mut headers = HeaderMap::new();
        headers.extend(self.authorization.clone().map(|it| (AUTHORIZATION, it)));
        if json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let ask = Ask {
            method,
            url: &url,
            headers,
            body: json.unwrap_or_default(),
        };
        let web = Web::new((*self.tls).clone(), most_bytes);
        web.send(ask, |_| Ok(())).await
    }
}

/// TLS for a client that trusts the system's certificates and more.
///
/// # Errors
/// If the certificates to trust can't be read.
pub fn client_config(trust: &Trust) -> Result<rustls::ClientConfig, DialerError> {
    let mut roots = super::system_roots();
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
    let mut config = super::trusting(roots).map_err(|error| DialerError::Ca {
        path: PathBuf::new(),
        why: error.to_string(),
    })?;
    if trust.anyone {
        super::trust_anyone(&mut config);
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
        for (text, is_here) in [
            ("ws://localhost:1", true),
            ("ws://127.0.0.2", true),
            ("ws://[::1]", true),
            ("ws://192.0.2.1", false),
            ("ws://localhost.example.org", false),
        ] {
            assert_eq!(
                ServerUrl::new(text, "/").unwrap().is_here(),
                is_here,
                "{text}"
            );
        }
    }
}

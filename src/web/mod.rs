//! A small HTTP client: one request per connection, no redirects, so many bytes, and no address that
//! its caller doesn't want.
//!
//! For authorities, whose verdicts are remembered, worker scripts, which are loaded once, and a server's
//! own pages: too few requests to keep connections for them. TLS sessions are resumed.

pub mod dialer;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum WebError {
    /// No connection, or one that broke.
    #[error("cannot talk to {host}: {why}")]
    Broken {
        /// The host and port.
        host: String,
        /// The system's or TLS's reason.
        why: String,
    },
    /// The server's certificate is none that is trusted.
    #[error("the certificate of {host} is not trusted: {why}")]
    Untrusted {
        /// The host and port.
        host: String,
        /// What is wrong with it.
        why: rustls::CertificateError,
    },
    /// An answer that is too long.
    #[error("its answer has more than {0} bytes")]
    TooLong(usize),
}

/// An HTTP client.
pub(crate) struct Web {
    tls: TlsConnector,
    /// Bytes in an answer.
    most: usize,
}

/// What to ask a server.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// With a scheme and a host.
    pub(crate) url: &'a Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    #[cfg_attr(
        not(feature = "peer"),
        allow(dead_code, reason = "authorities say everything in the body")
    )]
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Web {
    /// Takes answers of at most so many bytes from whom the configuration trusts.
    pub(crate) fn new(config: ClientConfig, most: usize) -> Self {
        Self {
            tls: TlsConnector::from(Arc::new(config)),
            most,
        }
    }

    /// Asks one of the host's addresses that `allows` accepts, which is the very one that it is
    /// connected to: what a name stands for may change between two look-ups.
    pub(crate) async fn send(
        &self,
        ask: Ask<'_>,
        allows: impl Fn(SocketAddr) -> Result<(), String>,
    ) -> Result<Answer, WebError> {
        let is_tls = ask.url.scheme_str() == Some("https");
        let host = ask.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = ask.url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let broken = |why: String| WebError::Broken {
            host: format!("{host}:{port}"),
            why,
        };
        let name = ServerName::try_from(host.to_owned());
        let request = request(&ask).map_err(|error| broken(error.to_string()))?;
        let tcp = connect(host, port, allows).await.map_err(broken)?;
        if !is_tls {
            return self.exchange(tcp, request, broken).await;
        }
        let name = name.map_err(|error| broken(error.to_string()))?;
        let tls = self.tls.connect(name, tcp).await;
        let tls = tls.map_err(|error| match distrust(&error) {
            Some(why) => WebError::Untrusted {
                host: format!("{host}:{port}"),
                why,
            },
            None => broken(error.to_string()),
        })?;
        self.exchange(tls, request, broken).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        request: Request<Full<Bytes>>,
        broken: impl Fn(String) -> WebError,
    ) -> Result<Answer, WebError> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| broken(error.to_string()))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.most).collect().await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    WebError::TooLong(self.most)
                } else {
                    broken(error.to_string())
                }
            })?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        // The connection moves the bytes, and may end before the answer has been taken from it.
        match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }
}

/// Trusts these and nobody else.
pub(crate) fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Takes any certificate: as the user asked, or because nothing depends on who answers.
pub(crate) fn trust_anyone(config: &mut ClientConfig) {
    let provider = Arc::clone(config.crypto_provider());
    let anyone = Arc::new(anyone::Anyone(provider));
    config.dangerous().set_certificate_verifier(anyone);
}

/// Whom the system trusts.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A system without certificates is fine as long as no server needs one.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// What is wrong with the server's certificate, if that is what broke the connection.
pub(crate) fn distrust(error: &std::io::Error) -> Option<rustls::CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(why) => Some(why.clone()),
        _ => None,
    }
}

fn request(ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    const AGENT: &str = concat!("switchboard/", env!("CARGO_PKG_VERSION"));
    let authority = ask.url.authority().map_or("", |authority| {
        let authority = authority.as_str();
        // A name and a password in a URL are not the server's to see.
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    });
    let path = ask.url.path_and_query().map_or("/", |path| path.as_str());
    let own: [(HeaderName, HeaderValue); 2] = [
        (HOST, HeaderValue::from_str(authority)?),
        (USER_AGENT, HeaderValue::from_static(AGENT)),
    ];
    let mut request = Request::builder()
        .method(&ask.method)
        .uri(path)
        .body(Full::new(ask.body.clone()))?;
    request.headers_mut().extend(ask.headers.clone());
    request.headers_mut().extend(own);
    Ok(request)
}

/// Connects to the first of a host's addresses that is allowed and answers.
async fn connect(
    host: &str,
    port: u16,
    allows: impl Fn(SocketAddr) -> Result<(), String>,
) -> Result<TcpStream, String> {
    let addresses = lookup_host((host, port)).await;
    let mut failure = "its name has no address".to_owned();
    for address in addresses.map_err(|error| error.to_string())? {
        if let Err(why) = allows(address) {
            failure = why;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error.to_string(),
        }
    }
    Err(failure)
}

/// Takes any certificate; signatures are still checked.
mod anyone {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Anyone(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(
                message,
                certificate,
                signature,
                &self.0.signature_verification_algorithms,
            )
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                certificate,
                signature,
                &self.0.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

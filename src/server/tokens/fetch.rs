//! A small HTTP client for authorities: one request per connection, no redirects, so many bytes.
//!
//! Verdicts are remembered, so that requests are too few to keep connections for them; TLS sessions
//! are resumed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why an authority gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// No connection, or one that broke.
    #[error("cannot talk to {host}: {why}")]
    Broken {
        /// The host and port.
        host: String,
        /// The system's or TLS's reason.
        why: String,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// An answer that is neither yes nor no.
    #[error("it answered with the status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// An answer that is too long.
    #[error("its answer has more than {0} bytes")]
    TooLong(usize),
    /// An answer that can't be understood.
    #[error("its answer can't be understood: {0}")]
    Nonsense(String),
}

/// An HTTP client.
pub(super) struct Web {
    tls: TlsConnector,
    /// Bytes in an answer.
    most: usize,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Web {
    /// Trusts whom the system trusts.
    pub(super) fn new(most: usize) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        // A system without certificates is fine as long as no server needs one.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::trusting(roots, most)
    }

    fn trusting(roots: RootCertStore, most: usize) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            most,
        })
    }

    pub(super) async fn get(&self, url: &Uri) -> Result<Answer, Unreachable> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    pub(super) async fn post(
        &self,
        url: &Uri,
        content_type: &'static str,
        authorization: Option<&HeaderValue>,
        body: String,
    ) -> Result<Answer, Unreachable> {
        let content_type = HeaderValue::from_static(content_type);
        let mut headers = vec![(CONTENT_TYPE, &content_type)];
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        self.send(Method::POST, url, &headers, body.into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: &[(hyper::header::HeaderName, &HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, Unreachable> {
        let is_tls = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let broken = |why: String| Unreachable::Broken {
            host: format!("{host}:{port}"),
            why,
        };
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(
                USER_AGENT,
                concat!("switchboard/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| broken(error.to_string()))?;

        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.map_err(|error| broken(error.to_string()))?;
        if !is_tls {
            return self.exchange(tcp, request, broken).await;
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| broken(error.to_string()))?;
        let tls = self.tls.connect(name, tcp).await;
        let tls = tls.map_err(|error| broken(error.to_string()))?;
        self.exchange(tls, request, broken).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        request: Request<Full<Bytes>>,
        broken: impl Fn(String) -> Unreachable,
    ) -> Result<Answer, Unreachable> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| broken(error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.most)
                .collect()
                .await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Unreachable::TooLong(self.most)
                } else {
                    broken(error.to_string())
                }
            })?;
            Ok(Answer {
                status,
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

impl Answer {
    /// The body of a status 200; anything else is neither yes nor no.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Unreachable> {
        if self.status != StatusCode::OK {
            return Err(Unreachable::Status(self.status.as_u16()));
        }
        // What serde says of a wrong value may show the value.
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind = match error.classify() {
                serde_json::error::Category::Data => "a field is missing or of a wrong type",
                _ => "no JSON",
            };
            Unreachable::Nonsense(kind.to_owned())
        })
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; check client_id and client_secret under [accounts.introspection]",
        404 => "; check the URL under [accounts]",
        300..=399 => "; it redirects, which is not followed: use the final URL",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    #[tokio::test]
    async fn only_a_trusted_server_is_told_anything() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url: Uri = format!("https://localhost:{port}/x").parse().unwrap();
        let server = tokio::spawn(async move {
            let mut told = String::new();
            for _ in 0..2 {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    continue;
                };
                while !told.ends_with("\r\n\r\n") {
                    told.push(char::from(tls.read_u8().await.unwrap()));
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue";
                tls.write_all(answer).await.unwrap();
                tls.shutdown().await.unwrap();
            }
            told
        });

        let stranger = Web::trusting(RootCertStore::empty(), 100).unwrap();
        let refused = stranger.get(&url).await;
        assert!(matches!(refused, Err(Unreachable::Broken { .. })));

        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let friend = Web::trusting(roots, 100).unwrap();
        assert!(friend.get(&url).await.unwrap().json::<bool>().unwrap());
        let told = server.await.unwrap();
        assert!(told.starts_with("GET /x HTTP/1.1\r\n"), "{told}");
        assert!(
            told.contains(&format!("host: localhost:{port}\r\n")),
            "{told}"
        );
    }
}

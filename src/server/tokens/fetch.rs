//! How authorities are asked: see [`crate::web`].

use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use rustls::RootCertStore;

use crate::web::{self, Ask, WebError};

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

/// An HTTP client that speaks JSON.
pub(super) struct Web(web::Web);

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Web {
    /// Trusts whom the system trusts.
    pub(super) fn new(most: usize) -> Result<Self, rustls::Error> {
        Self::trusting(web::system_roots(), most)
    }

    fn trusting(roots: RootCertStore, most: usize) -> Result<Self, rustls::Error> {
        Ok(Self(web::Web::new(web::trusting(roots)?, most)))
    }

    pub(super) async fn get(&self, url: &Uri) -> Result<Answer, Unreachable> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await
    }

    pub(super) async fn post(
        &self,
        url: &Uri,
        content_type: &'static str,
        authorization: Option<&HeaderValue>,
        body: String,
    ) -> Result<Answer, Unreachable> {
        let content_type = (CONTENT_TYPE, HeaderValue::from_static(content_type));
        let authorization = authorization.map(|value| (AUTHORIZATION, value.clone()));
        let headers = [content_type].into_iter().chain(authorization).collect();
        self.send(Method::POST, url, headers, body.into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Unreachable> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let ask = Ask {
            method,
            url,
            headers,
            body,
        };
        // The operator chose the authority, wherever it is.
        let answer = self.0.send(ask, |_| Ok(())).await?;
        Ok(Answer {
            status: answer.status,
            body: answer.body,
        })
    }
}

impl From<WebError> for Unreachable {
    fn from(error: WebError) -> Self {
        match error {
            WebError::Broken { host, why } => Self::Broken { host, why },
            WebError::Untrusted { host, why } => Self::Broken {
                host,
                why: format!("its certificate is not trusted: {why}"),
            },
            WebError::TooLong(most) => Self::TooLong(most),
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
    use std::sync::Arc;

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

//! A peer's connection to a signaling server: one WebSocket, kept alive, over TLS where the URL says so.

use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::client_async_tls_with_connector_and_config;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::StatusCode;
use async_tungstenite::tungstenite::http::header::AUTHORIZATION;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

pub use crate::web::dialer::{Dialer, DialerError, ServerUrl, Trust, client_config};
pub(crate) use crate::web::distrust;

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

/// An open connection.
pub struct Link {
    socket: WebSocketStream<async_tungstenite::tokio::ConnectStream>,
    heard: Instant,
    pinged: bool,
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

impl Dialer {
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

    async fn dial_slowly(&self) -> Result<Link, LinkError> {
        let (host, port) = (self.url().host(), self.url().port());
        let connect = |why| LinkError::Connect {
            host: host.to_owned(),
            port,
            why,
        };
        let stream = TcpStream::connect((host, port)).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let request = self.url().uri().clone().into_client_request();
        let mut request = request.map_err(LinkError::from)?;
        if let Some(authorization) = self.authorization() {
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
                let why = advice(response.status(), body, self.url().uri().path());
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
pub(super) fn advice(status: StatusCode, body: &[u8], path: &str) -> String {
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

fn closed(frame: Option<CloseFrame>) -> LinkError {
    // RFC 6455 section 7.1.5: 1006 stands for a connection that ended without a goodbye.
    let (code, reason) = frame.map_or((1006, String::new()), |frame| {
        (frame.code.into(), frame.reason.to_string())
    });
    LinkError::Closed { code, reason }
}

//! From an HTTP request to a WebSocket (RFC 6455 section 4.2).

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::upgrade::OnUpgrade;
use hyper::{StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::{debug, error_span};

use super::addresses::Place;
use super::auth::{Pass, SUBPROTOCOL};
use super::listener::{Origin, Slot};
use super::stream::Stream;
use super::switch::Member;
use super::{App, connection, http};
use crate::dialect::Session;
use crate::hub::ConnectionId;

/// Base64 of 16 bytes.
const KEY_LENGTH: usize = 24;

/// What is hinted to an address that has as many connections as it may.
const RETRY: Duration = Duration::from_secs(10);

/// Headers that a proxy adds.
const OF_PROXIES: [&str; 4] = ["x-forwarded-for", "x-real-ip", "forwarded", "via"];

/// Who upgrades.
pub(super) struct Guest {
    /// The connection's number.
    pub(super) id: ConnectionId,
    pub(super) member: Member,
    /// What its token says, where tokens are asked for.
    pub(super) pass: Option<Arc<Pass>>,
    pub(super) places: Places,
}

/// What a WebSocket has taken, and gives back when it goes.
pub(super) struct Places {
    /// Its place among those of its address, if it came by a proxy. Boxed, because most have none.
    own: Option<Box<Place>>,
    /// Its connection's.
    slot: Arc<Slot>,
}

impl Places {
    /// Notes a message for all connections of its address; if that was too fast, until when to take
    /// no more.
    pub(super) fn note(&self, bytes: usize, now: std::time::Instant) -> Option<std::time::Instant> {
        let place = self.own.as_deref().or(self.slot.place.as_ref())?;
        place.note(bytes, now)
    }
}

/// Whether the client wants a WebSocket.
pub(super) fn is_wanted(request: &Request) -> bool {
    names(request.headers(), &CONNECTION, "upgrade")
        && names(request.headers(), &UPGRADE, "websocket")
}

/// Answers the upgrade, and lets the session talk on the upgraded connection.
pub(super) fn accept(app: Arc<App>, mut request: Request, session: Box<dyn Session>) -> Response {
    if !is_wanted(&request) {
        let path = request.uri().path();
        let text = format!("{path} is a WebSocket; connect with ws:// or wss://");
        return http::error(StatusCode::NOT_FOUND, &text);
    }
    if let Some(refusal) = app.refuses_newcomers() {
        return refusal;
    }
    let accept = match accepted(&request) {
        Ok(accept) => accept,
        Err(refusal) => return *refusal,
    };
    let headers = request.headers();
    let subprotocol = subprotocol(&*session, headers);
    let by_proxy = OF_PROXIES.iter().any(|&name| headers.contains_key(name));
    let indirect = by_proxy || is_of_page(headers);
    let Some(origin) = request.extensions().get::<Origin>().cloned() else {
        return http::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this needs a TCP connection",
        );
    };
    let client = app.addresses.client(origin.peer, headers);
    let place = match origin.slot.place {
        Some(_) => None,
        None => match app.addresses.enter(client) {
            Some(place) => Some(place),
            None => return too_many(&app),
        },
    };
    let member = Member {
        dialect: session.dialect(),
        role: session.role(),
        peer: client,
        indirect: indirect || app.addresses.is_proxy(origin.peer),
        secure: origin.secure,
        files_port: None,
    };
    origin
        .span()
        .in_scope(|| debug!(path = request.uri().path(), "upgrade to WebSocket"));
    let guest = Guest {
        id: origin.number,
        member,
        pass: request.extensions().get::<Arc<Pass>>().cloned(),
        places: Places {
            own: place.map(Box::new),
            slot: origin.slot,
        },
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(talk(upgraded, session, guest, app));
    switching_protocols(accept, subprotocol)
}

/// What answers the client's key, if the request is one for a WebSocket of this version.
fn accepted(request: &Request) -> Result<HeaderValue, Box<Response>> {
    if request.version() < Version::HTTP_11 {
        let text = "a WebSocket needs HTTP/1.1 (RFC 6455, section 4.1); this request came by HTTP/1.0, as \
            nginx passes requests on without proxy_http_version 1.1";
        return Err(http::error(StatusCode::BAD_REQUEST, text).into());
    }
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(other_version().into());
    }
    let accept = headers.get(SEC_WEBSOCKET_KEY).and_then(accept_key);
    accept.ok_or_else(|| http::error(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is no key").into())
}

/// Whether a web page connects. A page can keep its browser from sending neither of the two; original
/// devices send an origin as well (libwebsockets makes one of the server's address), but no agent.
fn is_of_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(USER_AGENT)
}

async fn talk(upgraded: OnUpgrade, session: Box<dyn Session>, guest: Guest, app: Arc<App>) {
    // Boxed and gone before the conversation, whose task would keep room for it.
    let taken = Box::pin(take(upgraded, app.config.limits.handshake)).await;
    match taken {
        Ok((stream, read_ahead)) => {
            connection::run(stream, read_ahead, session, guest, app).await;
        }
        Err(error) => {
            let id = guest.id.0;
            error_span!("connection", id, peer = %guest.member.peer)
                .in_scope(|| debug!(error, "upgrade to WebSocket failed"));
        }
    }
}

/// The socket itself, without what HTTP wrapped around it, and what was read from it already.
async fn take(upgraded: OnUpgrade, patience: Duration) -> Result<(Stream, Bytes), String> {
    let upgraded = timeout(patience, upgraded)
        .await
        .map_err(|_| "timeout".to_owned())?
        .map_err(|error| error.to_string())?;
    let parts = upgraded
        .downcast::<TokioIo<Stream>>()
        .map_err(|_| "an unknown stream".to_owned())?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// The subprotocol that is taken of those that are offered.
fn subprotocol(session: &dyn Session, headers: &HeaderMap) -> Option<&'static str> {
    let own = session.dialect().subprotocol();
    own.into_iter()
        .chain([SUBPROTOCOL])
        .find(|known| names(headers, &SEC_WEBSOCKET_PROTOCOL, known))
}

fn other_version() -> Response {
    let text = "this server speaks version 13 of WebSocket only";
    let mut response = http::error(StatusCode::UPGRADE_REQUIRED, text);
    let version = HeaderValue::from_static("13");
    let headers = response.headers_mut();
    headers.insert(SEC_WEBSOCKET_VERSION, version);
    response
}

/// To one more WebSocket of an address that has as many as it may.
fn too_many(app: &App) -> Response {
    app.metrics.address_refusals.inc();
    let text = "this address has as many connections as it may have; close others first";
    http::come_again(StatusCode::TOO_MANY_REQUESTS, text, RETRY)
}

fn switching_protocols(accept: HeaderValue, subprotocol: Option<&'static str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    response
}

fn accept_key(key: &HeaderValue) -> Option<HeaderValue> {
    let key = key.as_bytes().trim_ascii();
    let is_key = key.len() == KEY_LENGTH && key.ends_with(b"==");
    is_key
        .then(|| HeaderValue::try_from(derive_accept_key(key)).ok())
        .flatten()
}

/// Whether a header with a comma-separated list names a token, in whatever case.
fn names(headers: &HeaderMap, header: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(header).iter();
    let mut tokens = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

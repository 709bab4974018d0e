//! Kurento's rooms: the WebSocket at `/room`, and the REST endpoints (kurento.md A1, A6).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::{App, http, upgrade};
use crate::dialect::kurento::errors::Fault;
use crate::dialect::kurento::server::ClientSession;
pub(super) use crate::dialect::kurento::server::Settings;
use crate::hub::{Denied, Visitor};

/// Whom a query names.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    room: Option<String>,
}

/// `/room`, with or without a slash and a query.
pub(super) async fn room(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(random) = http::random() else {
        return http::no_randomness();
    };
    let own = Visitor(u128::from_be_bytes(random));
    let session = ClientSession::new(Arc::clone(&app.kurento), own, Instant::now());
    upgrade::accept(app, request, Box::new(session))
}

/// `/getAllRooms`: the names, by any verb.
pub(super) async fn all_rooms(State(app): State<Arc<App>>) -> Response {
    let rooms = app.switch.forwarding_rooms();
    let names: Vec<_> = rooms.iter().map(|(name, _)| &**name).collect();
    json_value(&json!(names))
}

/// `/getUpdateSpeakerInterval`: milliseconds.
pub(super) async fn update_speaker_interval(State(app): State<Arc<App>>) -> Response {
    json_value(&json!(app.config.kurento.update_speaker_interval))
}

/// `/getThresholdSpeaker`: decibels.
pub(super) async fn threshold_speaker(State(app): State<Arc<App>>) -> Response {
    json_value(&json!(app.config.kurento.threshold_speaker))
}

/// `/getClientConfig`, as the reference's demo has it.
pub(super) async fn client_config(State(app): State<Arc<App>>) -> Response {
    let config = &app.config.kurento;
    json_value(&json!({
        "loopbackRemote": config.loopback_remote,
        "loopbackAndLocal": config.loopback_and_local,
        "filterRequestParam": config.filter_request_param,
    }))
}

/// `/close?room=…`
pub(super) async fn close(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    match asked.room {
        Some(room) => closed(&app, &headers, &room, StatusCode::OK),
        None => http::error(
            StatusCode::BAD_REQUEST,
            "name the room, as in /close?room=ROOM",
        ),
    }
}

/// `POST` or `DELETE /api/rooms/{room}`: everyone in it is told that it was closed.
pub(super) async fn close_room(
    State(app): State<Arc<App>>,
    Path(room): Path<String>,
    headers: HeaderMap,
) -> Response {
    closed(&app, &headers, &room, StatusCode::NO_CONTENT)
}

/// `POST` or `DELETE /api/rooms/{room}/participants/{user}`: the user is put out of the room.
pub(super) async fn evict(
    State(app): State<Arc<App>>,
    Path((room, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if is_foreign(&headers) {
        return foreign();
    }
    if app.switch.evict(&room, &user) {
        info!(room, user, "participant evicted");
        return StatusCode::NO_CONTENT.into_response();
    }
    let (room, user) = (room.into(), user.into());
    fault(&Fault::Denied(&Denied::NoSuchUser { room, user }))
}

fn closed(app: &App, headers: &HeaderMap, room: &str, done: StatusCode) -> Response {
    if is_foreign(headers) {
        return foreign();
    }
    if app.switch.close_room(room) {
        info!(room, "room closed");
        return done.into_response();
    }
    fault(&Fault::NoSuchRoom { room })
}

fn fault(fault: &Fault<'_>) -> Response {
    let status = StatusCode::from_u16(fault.row().http);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    http::error(status, &fault.text())
}

/// Whether a browser asks for a page of another server: that page's user may reach this server, but
/// doesn't know what the page does.
fn is_foreign(headers: &HeaderMap) -> bool {
    let is_cross_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_other = headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok().and_then(|it| it.parse::<Uri>().ok());
        let authority = origin.as_ref().and_then(Uri::authority);
        authority.map(|it| it.as_str()) != host
    });
    is_cross_site || is_other
}

fn foreign() -> Response {
    http::error(
        StatusCode::FORBIDDEN,
        "a page of another server asks for this; use a page of this server, or no browser",
    )
}

fn json_value(value: &Value) -> Response {
    http::json_text(StatusCode::OK, value.to_string())
}

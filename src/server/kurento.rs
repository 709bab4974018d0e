//! Kurento's rooms: the WebSocket at `/room`, and the REST endpoints (kurento.md A1, A6).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Allowed;
use super::{App, admin, http, upgrade};
use crate::dialect::kurento::server::ClientSession;
pub(super) use crate::dialect::kurento::server::Settings;
use crate::hub::Visitor;

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

/// `/getAllRooms`: the names, by any verb. A token shows the rooms that it is for.
pub(super) async fn all_rooms(State(app): State<Arc<App>>, Allowed(grants): Allowed) -> Response {
    let rooms = app.switch.forwarding_rooms();
    let names = rooms.iter().map(|(name, _)| &**name);
    let names: Vec<_> = names.filter(|name| grants.knows_room(name)).collect();
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
    deed: admin::Deed,
) -> Response {
    match asked.room {
        // The reference answers without a body.
        Some(room) => match admin::close_room(&app, &deed, &room) {
            done if done.status().is_success() => StatusCode::OK.into_response(),
            fault => fault,
        },
        None => http::error(
            StatusCode::BAD_REQUEST,
            "name the room, as in /close?room=ROOM",
        ),
    }
}

fn json_value(value: &Value) -> Response {
    http::json_text(StatusCode::OK, value.to_string())
}

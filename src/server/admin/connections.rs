//! Who is connected.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::super::App;
use super::super::auth::Pass;
use super::super::switch::ConnectionView;
use super::pages::{Asked, AskedPage, Misasked};
use super::{Deed, Reason, json, no_such, seconds};
use crate::dialect::Dialect;
use crate::hub::{ConnectionId, EndpointId};

/// Whom to show.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    dialect: Option<String>,
    /// Under which id.
    endpoint: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    connections: Vec<Shown<'a>>,
    /// On all pages.
    total: usize,
}

/// A connection.
#[derive(Serialize)]
struct Shown<'a> {
    id: u64,
    dialect: &'static str,
    role: &'static str,
    address: String,
    /// Whether it came by TLS.
    secure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    connected_seconds_ago: f64,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    queued_messages: usize,
    queued_bytes: usize,
}

/// `GET /api/connections`
pub(super) async fn all(
    State(app): State<Arc<App>>,
    Asked(wanted): Asked<Wanted>,
    Asked(page): Asked<AskedPage>,
) -> Response {
    let page = match page.page::<u64>(&app) {
        Ok(page) => page,
        Err(wrong) => return wrong.into_response(),
    };
    let spoken = match wanted.dialect.as_deref().map(dialect_named) {
        Some(None) => return Misasked::Dialect.into_response(),
        spoken => spoken.flatten(),
    };
    let all = app.switch.connection_ids(|dialect, endpoint| {
        let has_id = |id: &String| endpoint.is_some_and(|it| it.as_str() == id);
        spoken.is_none_or(|it| it == dialect) && wanted.endpoint.as_ref().is_none_or(has_id)
    });
    let (ids, total) = page.of(all);
    let views = app.switch.connections(&ids);
    let connections = views.iter().map(Shown::new).collect();
    json(&Answer { connections, total })
}

/// `DELETE /api/connections/{id}`
pub(super) async fn close(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let reason = match Reason::of(&app, request).await {
        Ok(reason) => reason,
        Err(wrong) => return wrong,
    };
    let connection = id.parse().map(ConnectionId);
    match connection.is_ok_and(|id| app.switch.kick(id, reason)) {
        true => deed.done(&app, "close_connection", &id, 1),
        false => no_such("connection"),
    }
}

fn dialect_named(name: &str) -> Option<Dialect> {
    Dialect::ALL.into_iter().find(|it| it.name() == name)
}

impl<'a> Shown<'a> {
    fn new(view: &'a ConnectionView) -> Self {
        let usage = view.usage();
        Self {
            id: view.id.0,
            dialect: view.member.dialect_name(),
            role: view.member.role,
            address: view.member.peer.to_string(),
            secure: view.member.secure,
            user: view.pass.as_deref().map(Pass::user),
            endpoint: view.endpoint.as_ref().map(EndpointId::as_str),
            connected_seconds_ago: seconds(view.since.elapsed()),
            messages_in: usage.traffic.messages_in,
            messages_out: usage.traffic.messages_out,
            bytes_in: usage.traffic.bytes_in,
            bytes_out: usage.traffic.bytes_out,
            queued_messages: usage.queued.messages,
            queued_bytes: usage.queued.bytes,
        }
    }
}

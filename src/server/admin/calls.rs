//! Who talks with whom: Cuttlefish's calls, GStreamer's pairs, and geckos' sessions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::super::App;
use super::super::auth::Pass;
use super::super::switch::CallView;
use super::pages::{Asked, AskedPage};
use super::{Deed, dialect_of, json, no_such, seconds};
use crate::hub::CallId;

#[derive(Serialize)]
struct Answer<'a> {
    calls: Vec<Shown<'a>>,
    /// On all pages.
    total: usize,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    dialect: &'static str,
    endpoint: &'a str,
    /// Whose connection that is; none while a gecko is awaited back.
    endpoint_connection: Option<u64>,
    /// The caller's connection.
    caller: u64,
    /// The caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    opened_seconds_ago: f64,
    messages_to_endpoint: u64,
    messages_to_caller: u64,
}

/// `GET /api/calls`
pub(super) async fn all(State(app): State<Arc<App>>, Asked(page): Asked<AskedPage>) -> Response {
    let page = match page.page::<CallId>(&app) {
        Ok(page) => page,
        Err(wrong) => return wrong.into_response(),
    };
    let (ids, total) = page.of(app.switch.call_ids());
    let views = app.switch.calls(&ids);
    let calls = views.iter().map(Shown::new).collect();
    json(&Answer { calls, total })
}

/// `DELETE /api/calls/{id}`
pub(super) async fn end(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path(id): Path<String>,
) -> Response {
    match id.parse::<CallId>().is_ok_and(|id| app.switch.end_call(id)) {
        true => deed.done(&app, "end_call", &id, 1),
        false => no_such("call"),
    }
}

impl<'a> Shown<'a> {
    fn new(view: &'a CallView) -> Self {
        let call = &view.call;
        Self {
            id: call.id.to_string(),
            dialect: dialect_of(call.endpoint.space()).name(),
            endpoint: call.endpoint.as_str(),
            endpoint_connection: call.endpoint_connection.map(|it| it.0),
            caller: call.caller.0,
            user: view.pass.as_deref().map(Pass::user),
            opened_seconds_ago: seconds(call.since.elapsed()),
            messages_to_endpoint: call.to_endpoint,
            messages_to_caller: call.to_caller,
        }
    }
}

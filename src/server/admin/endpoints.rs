//! Who is registered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::super::auth::Pass;
use super::super::switch::EndpointView;
use super::super::{App, http};
use super::{Deed, Reason, json, namespace_of, no_such, rooms, seconds};
use crate::hub::{EndpointId, Namespace, Place};

/// Changes that follow one another faster than this are told as one.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a snapshot that are sent at once.
const PIECE: usize = 32 * 1024;
/// A stream without events says this often that it is there: proxies end silent ones.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Snapshot<'a> {
    endpoints: Vec<Shown<'a>>,
    rooms: Vec<rooms::Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    dialect: &'static str,
    kind: &'static str,
    id: &'a str,
    connection: u64,
    calls: usize,
    /// Of geckos that said so: how many workers they set up at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<usize>,
    /// Of those that have a partner or a room: where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    registered_seconds_ago: f64,
    info: Option<&'a RawValue>,
}

/// `GET /api/endpoints`
pub(super) async fn all(State(app): State<Arc<App>>) -> Response {
    http::json_text(StatusCode::OK, snapshot(&app))
}

/// `GET /api/endpoints/stream`: the same as Server-Sent Events, at once and after each change.
/// It ends with the token that it was asked for by.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    pass: Option<Extension<Arc<Pass>>>,
) -> Response {
    let Some(place) = app.snapshots.place() else {
        let text = "as many follow the endpoints as may ([limits] event_streams); end another stream first";
        return http::error(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let changes = app.switch.changes();
    let follower = Follower {
        app,
        pass: pass.map(|Extension(pass)| pass),
        changes,
        is_new: true,
        rest: Bytes::new(),
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async move {
        let bytes = follower.next().await?;
        Some((Ok::<_, Infallible>(bytes), follower))
    }));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

/// Who reads a stream of events.
struct Follower {
    app: Arc<App>,
    /// By what it may.
    pass: Option<Arc<Pass>>,
    changes: watch::Receiver<()>,
    is_new: bool,
    /// What isn't told yet of the last event.
    rest: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of an event, or a comment if there is none for a long time; `None` when there can't
    /// be any more.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(more) = piece(&mut self.rest) {
            return Some(more);
        }
        if !std::mem::take(&mut self.is_new) {
            let changed = tokio::select! {
                changed = timeout(KEEP_ALIVE, self.changes.changed()) => changed,
                () = self.app.stopped() => return None,
                () = self.app.ended(self.pass.as_deref()) => return None,
            };
            match changed {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Bytes::from_static(b":\n\n")),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.changes.mark_unchanged();
        self.rest = self.app.snapshots.event(|| snapshot(&self.app));
        piece(&mut self.rest)
    }
}

/// The next piece of what is to be sent: each is copied for each that reads, and the whole isn't.
fn piece(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.len().min(PIECE);
    (length > 0).then(|| rest.split_to(length))
}

/// `GET /api/endpoints/{dialect}/{id}`
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path((dialect, id)): Path<(String, String)>,
) -> Response {
    match find(&app, &dialect, &id) {
        Some(endpoint) => json(&Shown::new(&endpoint)),
        None => no_such("endpoint"),
    }
}

/// `DELETE /api/endpoints/{dialect}/{id}`: its connection is closed.
pub(super) async fn close(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path((dialect, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let reason = match Reason::of(&app, request).await {
        Ok(reason) => reason,
        Err(wrong) => return wrong,
    };
    let found = find(&app, &dialect, &id);
    match found.is_some_and(|endpoint| app.switch.kick(endpoint.connection, reason)) {
        true => deed.done(&app, "close_endpoint", &id, 1),
        false => no_such("endpoint"),
    }
}

fn find(app: &App, dialect: &str, id: &str) -> Option<EndpointView> {
    let id = EndpointId::new(namespace_of(dialect)?, id)?;
    app.switch.endpoint(&id)
}

fn snapshot(app: &App) -> String {
    let (endpoints, mesh) = app.switch.everything();
    let forwarding = app.switch.forwarding_rooms();
    let snapshot = Snapshot {
        endpoints: endpoints.iter().map(Shown::new).collect(),
        // A snapshot changes only with who is here.
        rooms: rooms::without_numbers(&mesh, &forwarding),
    };
    // Only text, numbers and checked JSON: printing them can't fail.
    serde_json::to_string(&snapshot).unwrap_or_default()
}

impl<'a> Shown<'a> {
    fn new(endpoint: &'a EndpointView) -> Self {
        Self {
            dialect: endpoint.member.dialect_name(),
            kind: endpoint.member.role,
            id: endpoint.id.as_str(),
            connection: endpoint.connection.0,
            calls: endpoint.calls,
            capacity: endpoint.capacity,
            state: match endpoint.id.space() {
                Namespace::Device | Namespace::Gecko => None,
                Namespace::Peer => Some(match endpoint.place {
                    Place::Idle => "idle",
                    Place::Pair => "session",
                    Place::Room => "room",
                }),
            },
            registered_seconds_ago: seconds(endpoint.registered_for),
            info: endpoint
                .info
                .as_ref()
                .and_then(|info| serde_json::from_str(info.as_str()).ok()),
        }
    }
}

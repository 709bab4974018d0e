//! For operators: health, metrics, and who is registered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::drain::Phase;
use super::switch::{EndpointView, RoomView};
use super::{App, http, metrics};
use crate::dialect::Dialect;
use crate::hub::{EndpointId, MediaEnd, MemberView, Namespace, Place};
use crate::rooms::{EndpointStats, Reach};

/// Changes that follow one another faster than this are told as one.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a snapshot that are sent at once.
const PIECE: usize = 32 * 1024;
/// A stream without events says this often that it is there: proxies end silent ones.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /health`: the process answers.
pub(super) async fn health() -> &'static str {
    "OK"
}

/// `GET /ready`: the server takes new connections.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.phase() {
        Phase::Serving => "ready".into_response(),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response(),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting down").into_response(),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(app.switch.counts());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// `GET /api/endpoints`
pub(super) async fn endpoints(State(app): State<Arc<App>>) -> Response {
    let mut rest = app.snapshots.json(|| snapshot(&app));
    let pieces = std::iter::from_fn(move || piece(&mut rest).map(Ok::<_, Infallible>));
    http::json_text(StatusCode::OK, Body::from_stream(stream::iter(pieces)))
}

/// `GET /api/endpoints/stream`: the same as Server-Sent Events, at once and after each change.
pub(super) async fn endpoint_stream(State(app): State<Arc<App>>) -> Response {
    let Some(place) = app.snapshots.place() else {
        let text = "as many follow the endpoints as may ([limits] event_streams); end another stream first";
        return http::error(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let changes = app.switch.changes();
    let follower = Follower {
        app,
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

/// `GET /api/rooms`: the rooms of both kinds.
pub(super) async fn rooms(State(app): State<Arc<App>>) -> Response {
    let (_, mesh) = app.switch.everything();
    let forwarding = app.switch.forwarding_rooms();
    let stats = stats(&app);
    let text = serde_json::to_string(&shown_rooms(&mesh, &forwarding, &stats));
    http::json_text(StatusCode::OK, text.unwrap_or_default())
}

/// The media connections' numbers, by their names.
fn stats(app: &App) -> HashMap<MediaEnd, EndpointStats> {
    let stats = app.media.stats().into_iter();
    stats.map(|it| (MediaEnd(it.endpoint.0), it)).collect()
}

fn snapshot(app: &App) -> String {
    let (endpoints, mesh) = app.switch.everything();
    let forwarding = app.switch.forwarding_rooms();
    let snapshot = Snapshot {
        endpoints: endpoints.iter().map(Shown::new).collect(),
        // The numbers change all the time, and a snapshot only with who is here.
        rooms: shown_rooms(&mesh, &forwarding, &HashMap::new()),
    };
    // Only text, numbers and checked JSON: printing them can't fail.
    serde_json::to_string(&snapshot).unwrap_or_default()
}

fn shown_rooms<'a>(
    mesh: &'a [RoomView],
    forwarding: &'a [(Arc<str>, Vec<MemberView>)],
    stats: &HashMap<MediaEnd, EndpointStats>,
) -> Vec<ShownRoom<'a>> {
    let forwarding = forwarding.iter().map(|it| ShownRoom::forwarding(it, stats));
    mesh.iter().map(ShownRoom::mesh).chain(forwarding).collect()
}

#[derive(Serialize)]
struct Snapshot<'a> {
    endpoints: Vec<Shown<'a>>,
    rooms: Vec<ShownRoom<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    dialect: &'static str,
    kind: &'static str,
    id: &'a str,
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

#[derive(Serialize)]
struct ShownRoom<'a> {
    dialect: &'static str,
    /// "mesh": its members send to each other; "forwarding": this server sends to them.
    kind: &'static str,
    id: &'a str,
    members: Vec<&'a str>,
    /// Of forwarding rooms: more about each member.
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<Vec<ShownParticipant<'a>>>,
}

#[derive(Serialize)]
struct ShownParticipant<'a> {
    user: &'a str,
    publishing: bool,
    /// Whom it receives.
    receives: Vec<&'a str>,
    /// Whether its connection is lost, and it is awaited back.
    away: bool,
    /// Its media connections: the one that it publishes on, and one for each that it receives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    media: Vec<ShownMedia<'a>>,
}

/// A media connection, seen from the server. What isn't known is left out.
#[derive(Serialize)]
struct ShownMedia<'a> {
    /// Whom it receives there; without, it publishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    /// "connected" or "connecting".
    state: &'static str,
    /// Why it isn't connected yet, and what to configure.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    /// Packets that were left out because the path didn't take them.
    left_out: u64,
    /// Whether video pauses for that reason.
    paused: bool,
    keyframe_requests: u64,
    resend_requests: u64,
    /// The share of packets that was lost in the last second, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<f64>,
    /// What the path takes, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<u64>,
}

impl<'a> ShownMedia<'a> {
    fn new(of: Option<&'a str>, stats: &EndpointStats) -> Self {
        let ms = |it: Duration| (it.as_secs_f64() * 10_000.0).round() / 10.0;
        Self {
            of,
            state: match stats.reach {
                Reach::Connected(_) => "connected",
                _ => "connecting",
            },
            why: stats.unconnected.as_ref().map(ToString::to_string),
            peer: stats.reach.peer(),
            transport: (stats.report.tcp).map(|tcp| if tcp { "tcp" } else { "udp" }),
            packets_in: stats.packets_in,
            bytes_in: stats.bytes_in,
            packets_out: stats.packets_out,
            bytes_out: stats.bytes_out,
            left_out: stats.left_out,
            paused: stats.paused,
            keyframe_requests: stats.keyframe_requests,
            resend_requests: stats.report.resend_requests,
            loss: stats.report.loss,
            rtt_ms: stats.report.rtt.map(ms),
            jitter_ms: stats.report.jitter.map(ms),
            estimate: stats.estimate,
        }
    }
}

impl<'a> ShownRoom<'a> {
    fn mesh(room: &'a RoomView) -> Self {
        let dialect = match room.id.space() {
            Namespace::Device => Dialect::Cuttlefish,
            Namespace::Peer => Dialect::GStreamer,
            Namespace::Gecko => Dialect::Gecko,
        };
        Self {
            dialect: dialect.name(),
            kind: "mesh",
            id: room.id.as_str(),
            members: room.members.iter().map(EndpointId::as_str).collect(),
            participants: None,
        }
    }

    fn forwarding(
        (name, members): &'a (Arc<str>, Vec<MemberView>),
        stats: &HashMap<MediaEnd, EndpointStats>,
    ) -> Self {
        let media = |(of, end): &'a (Option<Arc<str>>, MediaEnd)| {
            Some(ShownMedia::new(of.as_deref(), stats.get(end)?))
        };
        let shown = |member: &'a MemberView| ShownParticipant {
            user: &member.user,
            publishing: member.publishing,
            receives: member.receives.iter().map(|user| &**user).collect(),
            away: member.away,
            media: member.ends.iter().filter_map(media).collect(),
        };
        Self {
            dialect: Dialect::Kurento.name(),
            kind: "forwarding",
            id: name,
            members: members.iter().map(|member| &*member.user).collect(),
            participants: Some(members.iter().map(shown).collect()),
        }
    }
}

impl<'a> Shown<'a> {
    fn new(endpoint: &'a EndpointView) -> Self {
        // Tenths are enough, and don't change the text of a snapshot for nothing.
        let seconds = (endpoint.registered_for.as_secs_f64() * 10.0).round() / 10.0;
        Self {
            dialect: endpoint.member.dialect_name(),
            kind: endpoint.member.role,
            id: endpoint.id.as_str(),
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
            registered_seconds_ago: seconds,
            info: endpoint
                .info
                .as_ref()
                .and_then(|info| serde_json::from_str(info.as_str()).ok()),
        }
    }
}

//! Rooms of both kinds: whose members send to each other, and whose media this server forwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use hyper::StatusCode;
use serde::Serialize;

use super::super::switch::RoomView;
use super::super::{App, http};
use super::{Deed, deeds, dialect_of, json};
use crate::dialect::Dialect;
use crate::dialect::kurento::errors::Fault;
use crate::hub::{Denied, EndpointId, MediaEnd, MemberView, MuteChange, Muted};
use crate::rooms::{EndpointStats, Reach};

/// The media connections' numbers, by their names.
type Stats = HashMap<MediaEnd, EndpointStats>;

#[derive(Serialize)]
pub(super) struct Shown<'a> {
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
    /// None while its connection is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    publishing: bool,
    /// What of it the others don't get.
    muted: Muted,
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

/// `GET /api/rooms`: the rooms of both kinds.
pub(super) async fn all(State(app): State<Arc<App>>) -> Response {
    let (_, mesh) = app.switch.everything();
    let forwarding = app.switch.forwarding_rooms();
    json(&shown(&mesh, &forwarding, &stats(&app)))
}

/// `GET /api/rooms/{room}`: one whose media this server forwards.
pub(super) async fn one(State(app): State<Arc<App>>, Path(room): Path<String>) -> Response {
    match app.switch.forwarding_room(&room) {
        Some(members) => json(&Shown::forwarding(&room, &members, &stats(&app))),
        None => fault(&Fault::NoSuchRoom { room: &room }),
    }
}

/// `DELETE` or `POST /api/rooms/{room}`: everyone in it is told that it was closed.
pub(super) async fn close(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path(room): Path<String>,
) -> Response {
    close_room(&app, &deed, &room)
}

/// Closes a room whose media this server forwards.
pub(in crate::server) fn close_room(app: &App, deed: &Deed, room: &str) -> Response {
    match app.switch.close_room(room) {
        Some(closed) => deed.done(app, "close_room", room, closed),
        None => fault(&Fault::NoSuchRoom { room }),
    }
}

/// `DELETE` or `POST /api/rooms/{room}/participants/{user}`: the user is put out of the room.
pub(super) async fn evict(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path((room, user)): Path<(String, String)>,
) -> Response {
    match app.switch.evict(&room, &user) {
        true => deed.done(&app, "evict", &format!("{user} in {room}"), 1),
        false => no_such_user(room, user),
    }
}

/// `PUT /api/rooms/{room}/participants/{user}/mute`: what the user publishes is kept from the others,
/// or no longer.
pub(super) async fn mute(
    State(app): State<Arc<App>>,
    deed: Deed,
    Path((room, user)): Path<(String, String)>,
    request: Request,
) -> Response {
    let change = match deeds::body::<MuteChange>(&app, request).await {
        Ok(Some(change)) => change,
        Ok(None) => {
            let text = "say what to mute, as in {\"audio\": true, \"video\": false}";
            return http::error(StatusCode::BAD_REQUEST, text);
        }
        Err(wrong) => return wrong,
    };
    match app.switch.mute(&room, &user, change) {
        Some(muted) => {
            deed.note(&app, "mute", &format!("{user} in {room}"));
            json(&muted)
        }
        None => no_such_user(room, user),
    }
}

/// Without numbers: they change all the time.
pub(super) fn without_numbers<'a>(
    mesh: &'a [RoomView],
    forwarding: &'a [(Arc<str>, Vec<MemberView>)],
) -> Vec<Shown<'a>> {
    shown(mesh, forwarding, &Stats::new())
}

fn shown<'a>(
    mesh: &'a [RoomView],
    forwarding: &'a [(Arc<str>, Vec<MemberView>)],
    stats: &Stats,
) -> Vec<Shown<'a>> {
    let forwarding = forwarding
        .iter()
        .map(|(name, members)| Shown::forwarding(name, members, stats));
    mesh.iter().map(Shown::mesh).chain(forwarding).collect()
}

fn stats(app: &App) -> Stats {
    let stats = app.media.stats().into_iter();
    stats.map(|it| (MediaEnd(it.endpoint.0), it)).collect()
}

fn no_such_user(room: String, user: String) -> Response {
    let (room, user) = (room.into(), user.into());
    fault(&Fault::Denied(&Denied::NoSuchUser { room, user }))
}

/// In the words that the room's clients would get.
fn fault(fault: &Fault<'_>) -> Response {
    let status = StatusCode::from_u16(fault.row().http);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    http::error(status, &fault.text())
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

impl<'a> Shown<'a> {
    fn mesh(room: &'a RoomView) -> Self {
        Self {
            dialect: dialect_of(room.id.space()).name(),
            kind: "mesh",
            id: room.id.as_str(),
            members: room.members.iter().map(EndpointId::as_str).collect(),
            participants: None,
        }
    }

    fn forwarding(name: &'a str, members: &'a [MemberView], stats: &Stats) -> Self {
        let media = |(of, end): &'a (Option<Arc<str>>, MediaEnd)| {
            Some(ShownMedia::new(of.as_deref(), stats.get(end)?))
        };
        let shown = |member: &'a MemberView| ShownParticipant {
            user: &member.user,
            connection: member.connection.map(|it| it.0),
            publishing: member.publishing,
            muted: member.muted,
            receives: member.receives.iter().map(|user| &**user).collect(),
            away: member.connection.is_none(),
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

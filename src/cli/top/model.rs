//! What `switchboard top` shows: looks at a server, the rates between two of them, and tables of text.
//! Pure: times come with the looks.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::table::{Cell, Column, Order, Row, Table, Target, number, text};
use super::units::{bitrate, bytes, clean, milliseconds, percent, span, whole};

/// From this share on, the use of a limit is told.
const TELL_LIMIT: f64 = 0.5;

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum View {
    /// Who is registered.
    Endpoints,
    /// Who talks to whom.
    Calls,
    /// Who is in which room, and their media.
    Rooms,
    /// Every connection.
    Connections,
}

/// What the server told at one time, as it told it.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// When, in seconds since any one time.
    pub(super) at: f64,
    /// `GET /api/server`.
    pub(super) server: Server,
    /// The lists that were asked for.
    pub(super) lists: HashMap<View, Vec<Map<String, Value>>>,
}

/// `GET /api/server`. What a server doesn't tell counts as nothing.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Server {
    version: String,
    started: Value,
    uptime_seconds: f64,
    phase: String,
    counts: Numbers,
    totals: Numbers,
    memory_bytes: f64,
    open_files: f64,
    threads: f64,
    cpu_seconds: f64,
    limits: Numbers,
}

/// Numbers by name.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
struct Numbers(HashMap<String, Value>);

/// The present look and the one before.
#[derive(Debug, Default)]
pub(super) struct Model {
    before: Option<Look>,
    now: Look,
}

impl View {
    pub(super) const ALL: [Self; 4] =
        [Self::Endpoints, Self::Calls, Self::Rooms, Self::Connections];

    /// As the API calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Calls => "calls",
            Self::Rooms => "rooms",
            Self::Connections => "connections",
        }
    }

    /// Its columns.
    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Endpoints => &[
                ("ENDPOINT", false),
                ("DIALECT", false),
                ("KIND", false),
                ("STATE", false),
                ("CALLS", true),
                ("FOR", true),
                ("CONNECTION", true),
            ],
            Self::Calls => &[
                ("ENDPOINT", false),
                ("CALLER", false),
                ("USER", false),
                ("DIALECT", false),
                ("FOR", true),
                ("TO ENDPOINT", true),
                ("TO CALLER", true),
            ],
            Self::Rooms => &[
                ("ROOM", false),
                ("USER", false),
                ("MEDIA", false),
                ("STATE", false),
                ("BITRATE", true),
                ("LOSS", true),
                ("RTT", true),
                ("JITTER", true),
                ("NOTE", false),
            ],
            Self::Connections => &[
                ("CONNECTION", true),
                ("ADDRESS", false),
                ("DIALECT", false),
                ("ROLE", false),
                ("USER", false),
                ("ENDPOINT", false),
                ("FOR", true),
                ("IN", true),
                ("OUT", true),
                ("QUEUED", true),
            ],
        }
    }
}

impl Numbers {
    /// Zero if it isn't told.
    fn get(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or_default()
    }
}

impl Model {
    /// Takes a new look.
    pub(super) fn take(&mut self, look: Look) {
        let before = std::mem::replace(&mut self.now, look);
        // A server that was started anew counts from zero.
        let same = before.server.started == self.now.server.started && before.at > 0.0;
        self.before = same.then_some(before);
    }

    /// The lines above the tables.
    pub(super) fn head(&self, url: &str) -> Vec<String> {
        let Server { counts, totals, .. } = &self.now.server;
        let server = &self.now.server;
        let count = |name| whole(counts.get(name));
        let rate = |name| self.total_rate(name);
        let per_second = |name| rate(name).map_or_else(none, |it| format!("{}/s", whole(it)));
        let bits = |name| rate(name).map_or_else(none, |it| bitrate(it * 8.0));
        let cpu = self.rate(server.cpu_seconds, |it| Some(it.server.cpu_seconds));
        let mut lines = vec![
            format!(
                "Switchboard {} at {}: {}, up {}",
                clean(&server.version),
                clean(url),
                clean(&server.phase),
                span(server.uptime_seconds)
            ),
            format!(
                "{} connections ({} WebSockets, {} polling), {} endpoints, {} calls, {} rooms with {} in them, {} send",
                count("connections"),
                count("websockets"),
                count("polling_clients"),
                count("endpoints"),
                count("calls"),
                count("rooms"),
                count("participants"),
                count("publishers"),
            ),
            format!(
                "messages {} ({}/s), media in {} ({}), out {} ({})",
                per_second("messages"),
                rate("bytes").map_or_else(none, bytes),
                bits("media_bytes_in"),
                per_second("media_packets_in"),
                bits("media_bytes_out"),
                per_second("media_packets_out"),
            ),
            format!(
                "processor {} of a core, memory {}, {} open files, {} threads, {} refused, {} too slow",
                cpu.map_or_else(none, percent),
                bytes(server.memory_bytes),
                whole(server.open_files),
                whole(server.threads),
                whole(totals.get("refusals")),
                whole(totals.get("queue_overflows")),
            ),
        ];
        lines.extend(self.limits());
        lines
    }

    /// The limits of which much is used, in one line; none if there is none.
    fn limits(&self) -> Option<String> {
        let Server { counts, limits, .. } = &self.now.server;
        let near = limits.0.iter().filter_map(|(name, most)| {
            let used = counts.0.get(name)?.as_f64()?;
            let share = used / most.as_f64().filter(|most| *most > 0.0)?;
            (share >= TELL_LIMIT).then(|| format!("{} {}", clean(name), percent(share)))
        });
        let mut near: Vec<_> = near.collect();
        near.sort();
        (!near.is_empty()).then(|| format!("limits used: {}", near.join(", ")))
    }

    /// How many there are of what a table lists.
    pub(super) fn count(&self, view: View) -> String {
        whole(self.now.server.counts.get(view.name()))
    }

    /// A table in an order.
    pub(super) fn table(&self, view: View, order: Order) -> Table {
        let list = self.now.lists.get(&view).map_or(&[][..], Vec::as_slice);
        let rows: Vec<Row> = match view {
            View::Endpoints => list.iter().map(endpoint_row).collect(),
            View::Calls => list.iter().map(call_row).collect(),
            View::Rooms => list.iter().flat_map(|room| self.room_rows(room)).collect(),
            View::Connections => list.iter().map(|it| self.connection_row(it)).collect(),
        };
        Table::new(view.columns(), rows, order)
    }

    /// Everything as one object.
    pub(super) fn json(&self) -> Value {
        let mut all = json!({
            "server": self.now.server,
            "rates": {
                "cpu": self.rate(self.now.server.cpu_seconds, |it| Some(it.server.cpu_seconds)),
            },
        });
        for name in self.now.server.totals.0.keys() {
            all["rates"][name] = json!(self.total_rate(name));
        }
        for (view, list) in &self.now.lists {
            all[view.name()] = json!(list);
        }
        all
    }

    /// How fast one of the server's totals grows.
    fn total_rate(&self, name: &str) -> Option<f64> {
        let now = self.now.server.totals.get(name);
        self.rate(now, |before| Some(before.server.totals.get(name)))
    }

    /// How fast something grows, per second.
    fn rate(&self, now: f64, then: impl Fn(&Look) -> Option<f64>) -> Option<f64> {
        let before = self.before.as_ref()?;
        let seconds = self.now.at - before.at;
        let grown = now - then(before)?;
        (seconds > 0.0).then(|| grown.max(0.0) / seconds)
    }

    fn connection_row(&self, it: &Map<String, Value>) -> Row {
        let id = text(it, "id");
        let before = |look: &Look| {
            let list = look.lists.get(&View::Connections)?;
            list.iter().find(|other| text(other, "id") == id).cloned()
        };
        let before = self.before.as_ref().and_then(before);
        let rate = |name| {
            let then = |_: &Look| number(before.as_ref()?, name);
            let rate = self.rate(number(it, name)?, then);
            Some(Cell::number(rate?, |rate| format!("{}/s", bytes(rate))))
        };
        let secure = it.get("secure").is_some_and(|it| it == true);
        let tls = if secure { " TLS" } else { "" };
        let endpoint = text(it, "endpoint");
        Row {
            cells: vec![
                number(it, "id").map_or_else(|| id.clone().into(), |n| Cell::number(n, whole)),
                (text(it, "address") + tls).into(),
                text(it, "dialect").into(),
                text(it, "role").into(),
                text(it, "user").into(),
                endpoint.clone().into(),
                Cell::of(it, "connected_seconds_ago", span),
                rate("bytes_in").unwrap_or(Cell::Nothing),
                rate("bytes_out").unwrap_or(Cell::Nothing),
                Cell::of(it, "queued_bytes", bytes),
            ],
            target: Some(Target::new(
                match &*endpoint {
                    "" => format!("connection {id}"),
                    endpoint => format!("{endpoint} (connection {id})"),
                },
                &["connections", &id],
            )),
        }
    }

    fn room_rows(&self, room: &Map<String, Value>) -> Vec<Row> {
        let name = text(room, "id");
        let Some(Value::Array(participants)) = room.get("participants") else {
            let members = room.get("members").and_then(Value::as_array);
            let members = members.into_iter().flatten().filter_map(Value::as_str);
            return members.map(|user| mesh_row(&name, user)).collect();
        };
        let before = self.before.as_ref().and_then(|look| {
            let rooms = look.lists.get(&View::Rooms)?;
            let same = |other: &&Map<String, Value>| {
                text(other, "id") == name && other.get("kind") == room.get("kind")
            };
            rooms.iter().find(same)
        });
        let participants = participants.iter().filter_map(Value::as_object);
        participants
            .flat_map(|it| {
                let before = before.and_then(|room| same_user(room, it));
                self.participant_rows(&name, it, before)
            })
            .collect()
    }

    fn participant_rows(
        &self,
        room: &str,
        participant: &Map<String, Value>,
        before: Option<&Map<String, Value>>,
    ) -> Vec<Row> {
        let user = text(participant, "user");
        let target = Target::new(
            format!("{user} (room {room})"),
            &["rooms", room, "participants", &user],
        );
        let away = participant.get("away").is_some_and(|it| it == true);
        let row = |media: Option<&Map<String, Value>>, bitrate: Option<f64>| {
            let cell = |name, print: fn(f64) -> String| {
                media.map_or(Cell::Nothing, |it| Cell::of(it, name, print))
            };
            let state = media.map(|it| text(it, "state")).unwrap_or_default();
            Row {
                cells: vec![
                    room.to_owned().into(),
                    user.clone().into(),
                    media.map_or_else(|| "none".to_owned(), media_name).into(),
                    if away { "away".to_owned() } else { state }.into(),
                    bitrate.map_or(Cell::Nothing, |it| Cell::number(it * 8.0, self::bitrate)),
                    cell("loss", percent),
                    cell("rtt_ms", milliseconds),
                    cell("jitter_ms", milliseconds),
                    note(participant, media).into(),
                ],
                target: Some(target.clone()),
            }
        };
        let media: Vec<_> = media_of(participant).collect();
        if media.is_empty() {
            return vec![row(None, None)];
        }
        let rows = media.into_iter().map(|it| {
            let of = it.get("of");
            let counter = if of.is_none() {
                "bytes_in"
            } else {
                "bytes_out"
            };
            let earlier = before.and_then(|it| media_of(it).find(|media| media.get("of") == of));
            let then = |_: &Look| number(earlier?, counter);
            let rate = number(it, counter).and_then(|now| self.rate(now, then));
            row(Some(it), rate)
        });
        rows.collect()
    }
}

fn endpoint_row(it: &Map<String, Value>) -> Row {
    let (dialect, id) = (text(it, "dialect"), text(it, "id"));
    Row {
        target: Some(Target::new(id.clone(), &["endpoints", &dialect, &id])),
        cells: vec![
            id.into(),
            dialect.into(),
            text(it, "kind").into(),
            text(it, "state").into(),
            Cell::of(it, "calls", whole),
            Cell::of(it, "registered_seconds_ago", span),
            Cell::of(it, "connection", whole),
        ],
    }
}

fn call_row(it: &Map<String, Value>) -> Row {
    let endpoint = text(it, "endpoint");
    Row {
        target: Some(Target::new(
            format!("the call to {endpoint}"),
            &["calls", &text(it, "id")],
        )),
        cells: vec![
            endpoint.into(),
            text(it, "caller").into(),
            text(it, "user").into(),
            text(it, "dialect").into(),
            Cell::of(it, "opened_seconds_ago", span),
            Cell::of(it, "messages_to_endpoint", whole),
            Cell::of(it, "messages_to_caller", whole),
        ],
    }
}

/// The members of such a room send to each other: they are put out as endpoints.
fn mesh_row(room: &str, user: &str) -> Row {
    let mut cells = vec![
        room.to_owned().into(),
        user.to_owned().into(),
        "to each other".to_owned().into(),
    ];
    cells.resize_with(View::Rooms.columns().len(), || Cell::Nothing);
    Row {
        cells,
        target: None,
    }
}

fn same_user<'a>(
    room: &'a Map<String, Value>,
    participant: &Map<String, Value>,
) -> Option<&'a Map<String, Value>> {
    let others = room.get("participants")?.as_array()?.iter();
    let mut others = others.filter_map(Value::as_object);
    others.find(|other| other.get("user") == participant.get("user"))
}

fn media_of(participant: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let media = participant.get("media").and_then(Value::as_array);
    media.into_iter().flatten().filter_map(Value::as_object)
}

fn media_name(media: &Map<String, Value>) -> String {
    match &*text(media, "of") {
        "" => "sends".to_owned(),
        user => format!("gets {user}"),
    }
}

fn note(participant: &Map<String, Value>, media: Option<&Map<String, Value>>) -> String {
    let mut notes = Vec::new();
    let of = media.and_then(|it| it.get("of"));
    for (kind, word) in [("audio", "sound muted"), ("video", "picture muted")] {
        let muted = participant.get("muted").and_then(|it| it.get(kind));
        if of.is_none() && muted.is_some_and(|it| it == true) {
            notes.push(word.to_owned());
        }
    }
    if let Some(media) = media {
        notes.extend(Some(text(media, "why")).filter(|why| !why.is_empty()));
        if media.get("paused").is_some_and(|it| it == true) {
            notes.push("picture paused: the path does not take it".to_owned());
        }
    }
    notes.join("; ")
}

/// What stands for what isn't known.
fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests;

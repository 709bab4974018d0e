//! What `switchboard top` shows: looks at a server, the rates between two of them, and tables of text.
//! Pure: times come with the looks.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthChar;

/// The widest that a column's text may be; the last column has what is left.
const WIDEST: usize = 36;
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
struct Numbers(HashMap<String, Value>);

/// The present look and the one before.
#[derive(Debug, Default)]
pub(super) struct Model {
    before: Option<Look>,
    now: Look,
}

/// How a table is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Which column.
    pub(super) column: usize,
    /// Whether the greatest comes first.
    pub(super) down: bool,
}

/// A table, ready to be printed.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    columns: &'static [Column],
    pub(super) rows: Vec<Row>,
}

/// A column's name, and whether it holds numbers, which are set to the right.
type Column = (&'static str, bool);

/// One row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    cells: Vec<Cell>,
    /// What `k` puts out.
    pub(super) target: Option<Target>,
}

/// What can be put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// In words.
    pub(super) name: String,
    /// What to DELETE.
    pub(super) path: String,
}

/// One field: as people read it, and as it is compared.
#[derive(Debug, PartialEq)]
enum Cell {
    Text(String),
    Number(f64, String),
    Nothing,
}

impl View {
    pub(super) const ALL: [Self; 4] = [
        Self::Endpoints,
        Self::Calls,
        Self::Rooms,
        Self::Connections,
    ];

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
        let Server {
            counts,
            totals,
            limits,
            ..
        } = &self.now.server;
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
        let mut near: Vec<_> = (limits.0.iter())
            .filter_map(|(name, most)| {
                let used = counts.0.get(name)?.as_f64()?;
                let share = used / most.as_f64().filter(|most| *most > 0.0)?;
                (share >= TELL_LIMIT).then(|| format!("{} {}", clean(name), percent(share)))
            })
            .collect();
        near.sort();
        if !near.is_empty() {
            lines.push(format!("limits used: {}", near.join(", ")));
        }
        lines
    }

    /// How many there are of what a table lists.
    pub(super) fn count(&self, view: View) -> String {
        whole(self.now.server.counts.get(view.name()))
    }

    /// A table in an order.
    pub(super) fn table(&self, view: View, order: Order) -> Table {
        let list = self.now.lists.get(&view).map_or(&[][..], Vec::as_slice);
        let mut rows: Vec<Row> = match view {
            View::Endpoints => list.iter().map(endpoint_row).collect(),
            View::Calls => list.iter().map(call_row).collect(),
            View::Rooms => list.iter().flat_map(|room| self.room_rows(room)).collect(),
            View::Connections => list.iter().map(|it| self.connection_row(it)).collect(),
        };
        rows.sort_by(|a, b| {
            let (a, b) = (a.cells.get(order.column), b.cells.get(order.column));
            compare(a, b, order.down)
        });
        Table {
            columns: view.columns(),
            rows,
        }
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
            let counter = if of.is_none() { "bytes_in" } else { "bytes_out" };
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

/// A field as text; numbers are printed, and what isn't there is empty.
fn text(from: &Map<String, Value>, name: &str) -> String {
    match from.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn number(from: &Map<String, Value>, name: &str) -> Option<f64> {
    from.get(name)?.as_f64()
}

impl Target {
    fn new(name: String, parts: &[&str]) -> Self {
        let mut path = "/api".to_owned();
        for part in parts {
            path.push('/');
            for byte in part.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                        path.push(char::from(byte));
                    }
                    // Writing to a text doesn't fail. A dot, too: a part may be "..".
                    _ => drop(write!(path, "%{byte:02X}")),
                }
            }
        }
        Self {
            name: clean(&name),
            path,
        }
    }
}

impl Cell {
    fn of(from: &Map<String, Value>, name: &str, print: fn(f64) -> String) -> Self {
        number(from, name).map_or(Self::Nothing, |it| Self::number(it, print))
    }

    fn number(number: f64, print: impl Fn(f64) -> String) -> Self {
        Self::Number(number, print(number))
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(_, text) => text,
            Self::Nothing => "-",
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        match &*text {
            "" => Self::Nothing,
            text => Self::Text(clean(text)),
        }
    }
}

/// Nothing comes last in either order.
fn compare(a: Option<&Cell>, b: Option<&Cell>, down: bool) -> Ordering {
    let order = match (a, b) {
        (Some(Cell::Text(a)), Some(Cell::Text(b))) => a.cmp(b),
        (Some(Cell::Number(a, _)), Some(Cell::Number(b, _))) => a.total_cmp(b),
        (a, b) => {
            let is_nothing = |it: Option<&Cell>| matches!(it, None | Some(Cell::Nothing));
            return is_nothing(a).cmp(&is_nothing(b));
        }
    };
    if down { order.reverse() } else { order }
}

impl Table {
    /// The heads and the rows as lines, in columns; nothing is longer than `width`.
    pub(super) fn lines(&self, order: Option<Order>, width: usize) -> (String, Vec<String>) {
        let heads: Vec<String> = (self.columns.iter().enumerate())
            .map(|(at, (name, _))| match order {
                Some(Order { column, down }) if column == at => {
                    format!("{name}{}", if down { "↓" } else { "↑" })
                }
                _ => (*name).to_owned(),
            })
            .collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| columns(head)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(&row.cells) {
                *widest = columns(cell.text()).min(WIDEST).max(*widest);
            }
        }
        let heads = self.line(heads.iter().map(String::as_str), &widths, width);
        let rows = self.rows.iter();
        let rows = rows.map(|row| self.line(row.cells.iter().map(Cell::text), &widths, width));
        (heads, rows.collect())
    }

    fn line<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        widths: &[usize],
        width: usize,
    ) -> String {
        let mut line = String::new();
        let last = widths.len().saturating_sub(1);
        for (at, ((text, wide), (_, is_number))) in texts.zip(widths).zip(self.columns).enumerate()
        {
            if at == last && !is_number {
                line.push_str(text);
                break;
            }
            let text = cut(text, *wide);
            let pad = " ".repeat(wide.saturating_sub(columns(&text)));
            let (left, right) = if *is_number { (&*pad, "") } else { ("", &*pad) };
            line.extend([left, &text, right, "  "]);
        }
        cut(line.trim_end(), width)
    }
}

/// How many columns of a terminal a text takes.
fn columns(text: &str) -> usize {
    text.chars().map(|it| it.width().unwrap_or(0)).sum()
}

/// The beginning of a text that has this many columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |it: &char| {
        let wide = it.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(if fits { wide } else { left });
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Without what would steer a terminal, or turn its text around: names come from the network.
pub(super) fn clean(text: &str) -> String {
    let steers = |it: char| {
        it.is_control() || matches!(it, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(steers, "\u{fffd}")
}

fn none() -> String {
    "-".to_owned()
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{:.0} s", s.floor()),
        s if s < 3_600.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 86_400.0 => format!("{:.0} h", (s / 3_600.0).floor()),
        s => format!("{:.0} d", (s / 86_400.0).floor()),
    }
}

fn bytes(number: f64) -> String {
    scaled(number, &["B", "kB", "MB", "GB", "TB"])
}

fn bitrate(bits_per_second: f64) -> String {
    scaled(bits_per_second, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

fn scaled(number: f64, units: &[&str]) -> String {
    let mut left = number;
    let mut at = 0;
    while left >= 999.5 && at + 1 < units.len() {
        left /= 1000.0;
        at += 1;
    }
    let decimals = usize::from(at > 0 && left < 9.95);
    format!("{left:.decimals$} {}", units.get(at).unwrap_or(&""))
}

fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    let decimals = usize::from(hundredths > 0.0 && hundredths < 9.95);
    format!("{hundredths:.decimals$} %")
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests;

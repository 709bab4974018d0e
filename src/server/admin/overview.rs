//! The server as a whole.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::super::App;
use super::{json, seconds};
use crate::config::Limits;
use crate::rooms;
use crate::vitals::Vitals;

/// When a server began.
#[derive(Debug)]
pub(in crate::server) struct Begun {
    /// RFC 3339, in UTC.
    at: String,
    since: Instant,
}

#[derive(Serialize)]
struct Answer<'a> {
    version: &'static str,
    started: &'a str,
    uptime_seconds: f64,
    phase: &'static str,
    counts: ShownCounts,
    totals: Totals,
    memory_bytes: u64,
    open_files: u64,
    threads: u64,
    cpu_seconds: f64,
    limits: &'a Limits,
}

/// How many there are now.
#[derive(Serialize)]
struct ShownCounts {
    connections: i64,
    websockets: usize,
    endpoints: usize,
    calls: usize,
    rooms: usize,
    participants: usize,
    publishers: usize,
    subscriptions: usize,
    polling_clients: i64,
    media_endpoints: usize,
}

/// How much there was since the start.
#[derive(Serialize)]
struct Totals {
    messages: u64,
    bytes: u64,
    media_packets_in: u64,
    media_bytes_in: u64,
    media_packets_out: u64,
    media_bytes_out: u64,
    refusals: u64,
    queue_overflows: u64,
}

impl Begun {
    pub(in crate::server) fn now() -> Self {
        let mut at = String::new();
        // Writing to a string can't fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut at));
        Self {
            at,
            since: Instant::now(),
        }
    }
}

/// `GET /api/server`
pub(super) async fn server(State(app): State<Arc<App>>) -> Response {
    // To count descriptors may take milliseconds.
    let vitals = tokio::task::spawn_blocking(Vitals::read).await;
    let vitals = vitals.ok().flatten().unwrap_or_default();
    json(&Answer {
        version: env!("CARGO_PKG_VERSION"),
        started: &app.begun.at,
        uptime_seconds: seconds(app.begun.since.elapsed()),
        phase: app.phase().name(),
        counts: counts(&app),
        totals: totals(&app),
        memory_bytes: vitals.memory,
        open_files: vitals.descriptors,
        threads: vitals.threads,
        cpu_seconds: vitals.processor_seconds,
        limits: &app.config.limits,
    })
}

fn counts(app: &App) -> ShownCounts {
    let counts = app.switch.counts();
    let polling_clients = app.metrics.polling_clients.get();
    let connected = app.switch.connection_count();
    ShownCounts {
        connections: app.metrics.connections.get(),
        websockets: connected.saturating_sub(usize::try_from(polling_clients).unwrap_or(0)),
        endpoints: counts.endpoints,
        calls: counts.calls + counts.sessions,
        rooms: counts.rooms + counts.forwarding_rooms,
        participants: counts.participants,
        publishers: counts.publishers,
        subscriptions: counts.subscriptions,
        polling_clients,
        media_endpoints: app.media.thread_stats().iter().map(endpoints).sum(),
    }
}

fn endpoints(of: &rooms::ThreadStats) -> usize {
    let stages = [of.publishers, of.subscribers];
    let each = stages.map(|it| it.waiting + it.checking + it.handshaking + it.connected);
    each.iter().sum()
}

fn totals(app: &App) -> Totals {
    let (messages, bytes) = app.metrics.relayed_in_all();
    let threads = app.media.thread_stats();
    let media = |number: fn(&rooms::Totals) -> u64| -> u64 {
        threads.iter().map(|thread| number(&thread.totals)).sum()
    };
    Totals {
        messages,
        bytes,
        media_packets_in: media(|it| it.packets_in),
        media_bytes_in: media(|it| it.bytes_in),
        media_packets_out: media(|it| it.packets_out),
        media_bytes_out: media(|it| it.bytes_out),
        refusals: app.metrics.refusals.get(),
        queue_overflows: app.metrics.queue_overflows.get(),
    }
}

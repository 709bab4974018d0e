//! What the server counts, for `/metrics`.

mod now;
mod setup;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub(super) use now::Now;
pub(super) use setup::{Beginning, Phase};

use super::tokens::Meters;
use crate::dialect::Dialect;
use crate::vitals::Process;

/// The type of the text that [`Metrics::text`] gives.
pub(super) use crate::vitals::CONTENT_TYPE;

/// Every role of WebSockets.
const ROLES: [(Dialect, &str); 6] = [
    (Dialect::Cuttlefish, "device"),
    (Dialect::Cuttlefish, "client"),
    (Dialect::GStreamer, "peer"),
    (Dialect::Gecko, "gecko"),
    (Dialect::Gecko, "client"),
    (Dialect::Kurento, "participant"),
];
/// Causes that dashboards ask for before they occur: limits, and what operators must hear of.
const CAUSES: [&str; 18] = [
    "address_too_fast",
    "authority_unavailable",
    "body_too_large",
    "calls_full",
    "congested",
    "draining",
    "endpoints_full",
    "forbidden",
    "forbidden_id",
    "media_full",
    "no_authorization",
    "publishers_full",
    "room_full",
    "rooms_full",
    "sessions_full",
    "token_refused",
    "token_revoked",
    "too_many_candidates",
];
/// The same of codes by which WebSockets are closed.
const CLOSES: [(&str, u16); 8] = [
    ("peer", 1000),
    ("peer", 1006),
    ("server", 1001),
    ("server", 1002),
    ("server", 1008),
    ("server", 1009),
    ("server", 1011),
    ("server", 1013),
];
/// Why media connections fail: the words of [`Failure::reason`](crate::rooms::Failure::reason).
const FAILURES: [&str; 6] = [
    "handshake_unfinished",
    "lost",
    "no_handshake",
    "no_packets",
    "protocol",
    "wrong_password",
];

/// Every counter and gauge. Labels take few values only, none of which a client can choose.
pub(super) struct Metrics {
    process: Process,
    setup: setup::Setup,
    /// When the certificate ends that new connections are shown, in seconds since 1970; 0 without one.
    tls_expiry: Gauge,
    pub(super) connections_accepted: Counter,
    pub(super) connections_refused: Counter,
    pub(super) connections: Gauge,
    pub(super) accept_errors: Counter,
    pub(super) address_refusals: Counter,
    pub(super) held_back: Counter,
    pub(super) tls_handshake_failures: Counter,
    pub(super) tls_reloads: Counter,
    pub(super) tls_reload_failures: Counter,
    pub(super) queue_overflows: Counter,
    pub(super) flooding_callers: Counter,
    /// Of all causes together.
    pub(super) refusals: Counter,
    admin_deeds: Family<Deed, Counter>,
    pub(super) polling_clients: Gauge,
    pub(super) polling_dropped: Counter,
    pub(super) tokens: Meters,
    websockets: Family<Kind, Gauge>,
    websocket_closes: Family<Close, Counter>,
    relayed_messages: Family<Direction, Counter>,
    relayed_bytes: Family<Direction, Counter>,
    // Of each receiver, so that no message has to look for its own.
    relayed: [Relayed; Receiver::ALL.len()],
    causes: Family<Cause, Counter>,
    requests: Family<Handled, Counter>,
    http_requests: Family<Request, Counter>,
    media_failures: Family<Reason, Counter>,
    /// Connections that were given to the media plane, and those that it didn't want.
    pub(super) media_tcp_connections: Counter,
    pub(super) media_tcp_refused: Counter,
    pub(super) reached: Reached,
}

/// How often limits were met that have no counter of their own.
#[derive(Default)]
pub(super) struct Reached {
    pub(super) device_file_bytes: Counter,
    pub(super) scripts: Counter,
    pub(super) scripts_bytes: Counter,
    pub(super) tokens_revoked: Counter,
}

/// Who gets a relayed message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Receiver {
    Endpoint,
    Caller,
    Partner,
    Member,
    Gecko,
    GeckoClient,
}

/// The counters of one kind of receiver.
#[derive(Default)]
struct Relayed {
    messages: Counter,
    bytes: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    dialect: &'static str,
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Close {
    by: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    dialect: &'static str,
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Deed {
    deed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: &'static str,
}

impl Receiver {
    const ALL: [Self; 6] = [
        Self::Endpoint,
        Self::Caller,
        Self::Partner,
        Self::Member,
        Self::Gecko,
        Self::GeckoClient,
    ];

    const fn direction(self) -> &'static str {
        match self {
            Self::Endpoint => "to_endpoint",
            Self::Caller => "to_caller",
            Self::Partner => "to_partner",
            Self::Member => "to_member",
            Self::Gecko => "to_gecko",
            Self::GeckoClient => "to_gecko_client",
        }
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let relayed_messages = Family::default();
        let relayed_bytes = Family::default();
        let relayed = Receiver::ALL.map(|receiver| {
            let labels = Direction {
                direction: receiver.direction(),
            };
            Relayed {
                messages: relayed_messages.get_or_create_owned(&labels),
                bytes: relayed_bytes.get_or_create_owned(&labels),
            }
        });
        let metrics = Self {
            process: Process::begin(),
            setup: setup::Setup::default(),
            tls_expiry: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            connections: Gauge::default(),
            accept_errors: Counter::default(),
            address_refusals: Counter::default(),
            held_back: Counter::default(),
            tls_handshake_failures: Counter::default(),
            tls_reloads: Counter::default(),
            tls_reload_failures: Counter::default(),
            queue_overflows: Counter::default(),
            flooding_callers: Counter::default(),
            polling_clients: Gauge::default(),
            polling_dropped: Counter::default(),
            tokens: Meters::default(),
            websockets: Family::default(),
            websocket_closes: Family::default(),
            relayed_messages,
            relayed_bytes,
            relayed,
            causes: Family::default(),
            requests: Family::default(),
            http_requests: Family::default(),
            media_failures: Family::default(),
            media_tcp_connections: Counter::default(),
            media_tcp_refused: Counter::default(),
            reached: Reached::default(),
            refusals: Counter::default(),
            admin_deeds: Family::default(),
        };
        metrics.show_zeros();
        metrics
    }

    /// What hasn't happened yet is there with 0, so that dashboards and alerts find it.
    fn show_zeros(&self) {
        for (dialect, role) in ROLES {
            self.websockets(dialect.name(), role);
        }
        for cause in CAUSES {
            self.causes.get_or_create_owned(&Cause { cause });
        }
        for (by, code) in CLOSES {
            self.websocket_closes
                .get_or_create_owned(&Close { by, code });
        }
        for reason in FAILURES {
            self.media_failures.get_or_create_owned(&Reason { reason });
        }
        self.requests.get_or_create_owned(&Handled {
            dialect: Dialect::Kurento.name(),
            method: "joinRoom",
            outcome: "ok",
        });
        self.http_requests.get_or_create_owned(&Request {
            route: "/metrics".to_owned(),
            status: "2xx",
        });
    }

    /// The open WebSockets of a role.
    pub(super) fn websockets(&self, dialect: &'static str, role: &'static str) -> Gauge {
        self.websockets.get_or_create_owned(&Kind { dialect, role })
    }

    /// A WebSocket was closed by the server or by the other side, with this code; 1006 when the
    /// connection was lost without one.
    pub(super) fn websocket_closed(&self, by: &'static str, code: u16) {
        // The peer chooses its code: those that RFC 6455 doesn't name are one.
        let code = if (1000..=1015).contains(&code) {
            code
        } else {
            0
        };
        self.websocket_closes
            .get_or_create(&Close { by, code })
            .inc();
    }

    /// A message went through the hub.
    pub(super) fn relayed(&self, to: Receiver, bytes: usize) {
        let counters = &self.relayed[to as usize];
        counters.messages.inc();
        counters.bytes.inc_by(bytes as u64);
    }

    /// Messages and bytes that went through the hub, to receivers of all kinds.
    pub(super) fn relayed_in_all(&self) -> (u64, u64) {
        self.relayed.iter().fold((0, 0), |(messages, bytes), to| {
            (messages + to.messages.get(), bytes + to.bytes.get())
        })
    }

    /// An operator has done something to somebody.
    pub(super) fn deed(&self, deed: &'static str) {
        self.admin_deeds.get_or_create(&Deed { deed }).inc();
    }

    /// A phase on the way to media is over.
    pub(super) fn set_up(&self, dialect: Dialect, phase: Phase, took: Duration) {
        self.setup.observe(dialect, phase, took);
    }

    /// New connections are shown a certificate that ends then.
    pub(super) fn certificate_ends(&self, at: Option<SystemTime>) {
        let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let seconds = since.unwrap_or_default().as_secs();
        self.tls_expiry
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Something was refused.
    pub(super) fn refused(&self, cause: &'static str) {
        self.refusals.inc();
        self.causes.get_or_create(&Cause { cause }).inc();
    }

    /// A request of a dialect that has answers was answered: with "ok", or a cause.
    pub(super) fn handled(
        &self,
        dialect: &'static str,
        method: &'static str,
        outcome: &'static str,
    ) {
        let labels = Handled {
            dialect,
            method,
            outcome,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// A media endpoint of a room failed, or was given up before it was connected.
    pub(super) fn media_failed(&self, reason: &'static str) {
        self.media_failures.get_or_create(&Reason { reason }).inc();
    }

    /// A request was answered.
    pub(super) fn http_request(&self, route: String, status: u16) {
        let status = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.http_requests
            .get_or_create(&Request { route, status })
            .inc();
    }

    /// Everything in the OpenMetrics text format.
    pub(super) fn text(&self, now: &Now) -> String {
        let mut registry = Registry::with_prefix("switchboard");
        self.register(&mut registry);
        now.register(&mut registry);
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.process.encode(&mut out, "switchboard");
        let _ = text::encode(&mut out, &registry);
        out
    }

    fn register(&self, to: &mut Registry) {
        macro_rules! register {
            ($($name:ident: $help:literal,)+) => {
                $( to.register(stringify!($name), $help, self.$name.clone()); )+
            };
        }
        register! {
            connections: "Open TCP connections",
            connections_accepted: "TCP connections that were accepted",
            connections_refused: "TCP connections that were closed at once, because the limit is reached",
            accept_errors: "Failures to accept a TCP connection",
            address_refusals: "Connections that were refused, because their address has as many as it may",
            held_back: "Times that a WebSocket was not read for a while, because it or its address sent too fast",
            tls_handshake_failures: "TLS handshakes that failed or took too long",
            tls_reloads: "Certificates that were taken over while the server ran",
            tls_reload_failures: "Changes of the certificate's files that could not be used",
            websockets: "Open WebSockets",
            websocket_closes: "WebSockets that were closed, by whom and with which code (1006: without one, 0: another)",
            polling_clients: "Polling clients",
            polling_dropped: "Messages for polling clients that newer ones pushed out",
            relayed_messages: "Messages relayed, by kind of receiver",
            queue_overflows: "Connections that were closed because they took their messages too slowly",
            flooding_callers: "Callers that were closed, because they sent a device that others talk with more than it takes",
            admin_deeds: "Deeds of operators by the admin API",
            causes: "Refusals by cause",
            requests: "Requests answered on WebSockets, by method and by what came of them",
            http_requests: "HTTP requests answered",
            media_failures: "Media connections of rooms that failed, by how far they came",
            media_tcp_connections: "TCP connections that carry media, or did",
            media_tcp_refused: "TCP connections that began like media and were closed: for no peer of this server, or too many",
        }
        to.register_with_unit(
            "relayed",
            "Bytes relayed, by kind of receiver",
            Unit::Bytes,
            self.relayed_bytes.clone(),
        );
        to.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the certificate ends that new connections are shown, since 1970; 0 without one",
            Unit::Seconds,
            self.tls_expiry.clone(),
        );
        self.setup.register(to);
        self.tokens.register(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Counts;

    #[test]
    fn the_text_is_openmetrics() {
        let metrics = Metrics::new();
        metrics.relayed(Receiver::Caller, 12);
        metrics.websocket_closed("peer", 4999);
        metrics.http_request("/devices".to_owned(), 404);
        let text = metrics.text(&Now {
            counts: Counts {
                endpoints: 3,
                ..Counts::default()
            },
            phase: crate::server::drain::Phase::Draining,
            media: Vec::new(),
            limits: vec![("rooms", 7)],
            reached: vec![("scripts", 3)],
        });
        for line in [
            "switchboard_relayed_bytes_total{direction=\"to_caller\"} 12",
            "switchboard_websocket_closes_total{by=\"peer\",code=\"0\"} 1",
            "switchboard_http_requests_total{route=\"/devices\",status=\"4xx\"} 1",
            "switchboard_endpoints 3",
            "switchboard_phase{phase=\"draining\"} 1",
            "switchboard_phase{phase=\"serving\"} 0",
            "switchboard_limit{name=\"rooms\"} 7",
            "switchboard_limit_reached_total{name=\"scripts\"} 3",
            "switchboard_setup_seconds_count{dialect=\"kurento\",phase=\"dtls\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

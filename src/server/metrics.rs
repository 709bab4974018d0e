//! What the server counts, for `/metrics`.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::tokens::Meters;
use crate::hub::Counts;

/// The type of the text that [`Metrics::text`] gives.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every counter and gauge. Labels take few values only, none of which a client can choose.
#[derive(Default)]
pub(super) struct Metrics {
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
    /// Of all causes together.
    pub(super) refusals: Counter,
    admin_deeds: Family<Deed, Counter>,
    pub(super) polling_clients: Gauge,
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
        let mut metrics = Self::default();
        metrics.relayed = Receiver::ALL.map(|receiver| {
            let labels = Direction {
                direction: receiver.direction(),
            };
            Relayed {
                messages: metrics.relayed_messages.get_or_create_owned(&labels),
                bytes: metrics.relayed_bytes.get_or_create_owned(&labels),
            }
        });
        metrics
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
    pub(super) fn text(&self, counts: Counts) -> String {
        let mut registry = Registry::with_prefix("switchboard");
        self.register(&mut registry);
        registry.register_collector(Box::new(HubCounts(counts)));
        let mut out = String::new();
        // Writing to a string cannot fail.
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
            relayed_messages: "Messages relayed, by kind of receiver",
            queue_overflows: "Connections that were closed because they took their messages too slowly",
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
        self.tokens.register(to);
    }
}

/// What the hub counts itself, read at each scrape.
#[derive(Debug)]
struct HubCounts(Counts);

impl Collector for HubCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("endpoints", "Registered endpoints", self.0.endpoints),
            ("calls", "Open calls and pairs", self.0.calls),
            ("rooms", "Rooms with a member", self.0.rooms),
            (
                "geckos_away",
                "Geckos that are gone and awaited back",
                self.0.endpoints_away,
            ),
            (
                "gecko_sessions",
                "Sessions of geckos that aren't connected yet",
                self.0.sessions,
            ),
            (
                "forwarding_rooms",
                "Rooms whose media this server forwards",
                self.0.forwarding_rooms,
            ),
            (
                "participants",
                "Participants of these rooms",
                self.0.participants,
            ),
            ("publishers", "Participants that publish", self.0.publishers),
            (
                "subscriptions",
                "Participants that receive another, each counted by whom it receives",
                self.0.subscriptions,
            ),
            (
                "kurento_sessions",
                "Sessions of Kurento's participants, in a room or not",
                self.0.visitors,
            ),
            (
                "waiting_calls",
                "Callers that wait for an absent endpoint",
                self.0.waiting_calls,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(
                name,
                help,
                None,
                prometheus_client::metrics::MetricType::Gauge,
            )?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_openmetrics() {
        let metrics = Metrics::new();
        metrics.relayed(Receiver::Caller, 12);
        metrics.websocket_closed("peer", 4999);
        metrics.http_request("/devices".to_owned(), 404);
        let text = metrics.text(Counts {
            endpoints: 3,
            ..Counts::default()
        });
        for line in [
            "switchboard_relayed_bytes_total{direction=\"to_caller\"} 12",
            "switchboard_websocket_closes_total{by=\"peer\",code=\"0\"} 1",
            "switchboard_http_requests_total{route=\"/devices\",status=\"4xx\"} 1",
            "switchboard_endpoints 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

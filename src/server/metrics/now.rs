//! What isn't counted but looked at, at each scrape.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::super::App;
use super::super::drain::Phase;
use crate::hub::Counts;
use crate::rooms::{Stages, ThreadStats};

/// A label's value, and the endpoints of a thread that it stands for.
type Role = (&'static str, fn(&ThreadStats) -> Stages);
/// A label's value, and the endpoints among those.
type Stage = (&'static str, fn(Stages) -> usize);

/// How everything is at one moment.
#[derive(Debug)]
pub(in crate::server) struct Now {
    pub(super) counts: Counts,
    pub(super) phase: Phase,
    pub(super) media: Vec<ThreadStats>,
    pub(super) limits: Vec<(&'static str, usize)>,
    /// How often those were met that have no counter of their own.
    pub(super) reached: Vec<(&'static str, u64)>,
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

impl Now {
    /// Takes the switch's lock for as long as the hub needs to count, and no other that anybody
    /// waits for.
    pub(in crate::server) fn of(app: &App) -> Self {
        Self {
            counts: app.switch.counts(),
            phase: app.phase(),
            media: app.media.thread_stats(),
            limits: app.config.limits.counts(),
            reached: reached(app),
        }
    }

    /// Adds everything to a registry that is used once.
    pub(super) fn register(&self, to: &mut Registry) {
        self.hub(to);
        self.server(to);
        self.media_now(to);
        self.media_done(to);
        self.media_threads(to);
    }

    fn hub(&self, to: &mut Registry) {
        let counts = &self.counts;
        macro_rules! gauges {
            ($($name:literal: $value:expr, $help:literal;)+) => {
                $( to.register($name, $help, ConstGauge::new($value)); )+
            };
        }
        gauges! {
            "endpoints": counts.endpoints, "Registered endpoints";
            "calls": counts.calls, "Open calls and pairs";
            "waiting_calls": counts.waiting_calls, "Callers that wait for an absent endpoint";
            "rooms": counts.rooms, "Rooms with a member";
            "geckos_away": counts.endpoints_away, "Geckos that are gone and awaited back";
            "gecko_sessions": counts.sessions, "Sessions of geckos that aren't connected yet";
            "kurento_sessions": counts.visitors, "Sessions of Kurento's participants, in a room or not";
            "forwarding_rooms": counts.forwarding_rooms, "Rooms whose media this server forwards";
            "participants": counts.participants, "Participants of these rooms";
            "publishers": counts.publishers, "Participants that publish";
            "subscriptions": counts.subscriptions, "Participants that receive another, each counted by whom it receives";
        }
    }

    fn server(&self, to: &mut Registry) {
        let phases = gauges([
            ([("phase", "serving")], self.phase == Phase::Serving),
            ([("phase", "draining")], self.phase == Phase::Draining),
            ([("phase", "stopping")], self.phase == Phase::Stopping),
        ]);
        let help = "How far the server is from its end: 1 for the phase that it is in";
        to.register("phase", help, phases);
        let limits = self.limits.iter();
        let limits = gauges(limits.map(|&(name, value)| ([("name", name)], value)));
        let help = "What is taken at most, by the key of the limit";
        to.register("limit", help, limits);
        let reached = self.reached.iter();
        let reached = counters(reached.map(|&(name, times)| ([("name", name)], times)));
        let help =
            "Times that something was cut off, forgotten or given up for a limit, by its key";
        to.register("limit_reached", help, reached);
    }

    fn media_now(&self, to: &mut Registry) {
        let roles: [Role; 2] = [
            ("publisher", |it| it.publishers),
            ("subscriber", |it| it.subscribers),
        ];
        let states: [Stage; 4] = [
            ("waiting", |it| it.waiting),
            ("checking", |it| it.checking),
            ("handshaking", |it| it.handshaking),
            ("connected", |it| it.connected),
        ];
        let each = roles.into_iter().flat_map(|(role, of)| {
            states.map(|(state, in_state)| {
                let labels = [("role", role), ("state", state)];
                (labels, self.sum(|it| in_state(of(it)) as u64))
            })
        });
        let help = "Media connections of rooms, by what they are for and how far they have come";
        to.register("media_endpoints", help, gauges(each));
        let transports = gauges([
            ([("transport", "udp")], self.sum(|it| it.udp as u64)),
            ([("transport", "tcp")], self.sum(|it| it.tcp as u64)),
        ]);
        let help = "Media connections of rooms that carry media, by what carries it";
        to.register("media_transports", help, transports);
        let paused = ConstGauge::new(self.sum(|it| it.paused as u64));
        let help = "Subscribers whose video pauses, because their paths don't take it";
        to.register("media_paused", help, paused);
    }

    fn media_done(&self, to: &mut Registry) {
        let packets = counters([
            ([("direction", "in")], self.sum(|it| it.totals.packets_in)),
            ([("direction", "out")], self.sum(|it| it.totals.packets_out)),
        ]);
        let help =
            "RTP packets of rooms, from publishers and to subscribers, without those sent again";
        to.register("media_packets", help, packets);
        let bytes = counters([
            ([("direction", "in")], self.sum(|it| it.totals.bytes_in)),
            ([("direction", "out")], self.sum(|it| it.totals.bytes_out)),
        ]);
        let help = "Payload of these packets";
        to.register_with_unit("media_payload", help, Unit::Bytes, bytes);
        macro_rules! counters {
            ($($name:literal: $of:expr, $help:literal;)+) => {
                $( to.register($name, $help, ConstCounter::new(self.sum($of))); )+
            };
        }
        counters! {
            "media_left_out_packets": |it| it.totals.left_out,
                "RTP packets that were left out because a subscriber's path didn't take them";
            "media_strays": |it| it.strays,
                "Datagrams for the media ports that are no participant's, or not any more: a flood of them is an attack";
            "media_keyframe_requests": |it| it.totals.keyframe_requests,
                "Keyframes that were asked of publishers";
            "media_resend_requests": |it| it.totals.resend_requests,
                "Requests to send packets again, of subscribers and to publishers";
        }
    }

    fn media_threads(&self, to: &mut Registry) {
        let family = Family::<[(&'static str, usize); 1], Counter<f64, AtomicU64>>::default();
        for (number, thread) in self.media.iter().enumerate() {
            let counter = family.get_or_create_owned(&[("thread", number)]);
            counter.inc_by(thread.processor.as_secs_f64());
        }
        let help = "Processor time of each thread that forwards media";
        to.register_with_unit("media_thread_cpu", help, Unit::Seconds, family);
    }

    fn sum(&self, of: impl Fn(&ThreadStats) -> u64) -> u64 {
        self.media.iter().map(of).sum()
    }
}

fn reached(app: &App) -> Vec<(&'static str, u64)> {
    let (edge, hub) = (&app.metrics.reached, app.switch.reached());
    vec![
        ("device_file_bytes", edge.device_file_bytes.get()),
        ("gecko_accounts", hub.accounts),
        ("media_farewell", hub.farewells),
        ("remembered_endpoints", hub.remembered_endpoints),
        ("scripts", edge.scripts.get()),
        ("scripts_bytes", edge.scripts_bytes.get()),
        ("tokens_revoked", edge.tokens_revoked.get()),
    ]
}

fn gauges<const N: usize, V: TryInto<i64>>(
    values: impl IntoIterator<Item = (Labels<N>, V)>,
) -> Family<Labels<N>, Gauge> {
    let family = Family::default();
    for (labels, value) in values {
        let gauge: Gauge = family.get_or_create_owned(&labels);
        gauge.set(value.try_into().unwrap_or(i64::MAX));
    }
    family
}

fn counters<const N: usize>(
    values: impl IntoIterator<Item = (Labels<N>, u64)>,
) -> Family<Labels<N>, Counter> {
    let family = Family::default();
    for (labels, value) in values {
        let counter: Counter = family.get_or_create_owned(&labels);
        counter.inc_by(value);
    }
    family
}

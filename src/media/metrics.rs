//! What the sessions of this process count, for Prometheus. Labels take few values only, none of which
//! the other side can choose.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::session::{PHASES, Reason as Cause};
use super::{Codec, Kind};
use crate::vitals::{CONTENT_TYPE, Process, TIMES};

/// The encoders that run. They belong to the process's sources, whoever watches them.
static ENCODERS: LazyLock<Family<Encoding, Gauge>> = LazyLock::new(Family::default);

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters and gauges of all sessions that have them in their configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    process: Process,
    registry: Registry,
    instruments: Instruments,
}

/// The instruments, for the session's own modules.
#[derive(Debug, Clone)]
pub(super) struct Instruments {
    pub(super) sessions: Gauge,
    pub(super) sessions_started: Counter,
    pub(super) sessions_connected: Counter,
    failures: Family<Reason, Counter>,
    troubles: Family<Reason, Counter>,
    controls_refused: Family<Channel, Counter>,
    phases: Times<Phase>,
    frame_age: Times<Media>,
    round_trip: Times<Media>,
    jitter: Times<Media>,
    sent: [Family<Media, Counter>; 3],
    pub(super) retransmitted: Counter,
    pub(super) received_bytes: Counter,
    lost_by_others: Family<Media, Counter>,
    received: [Family<Media, Counter>; 4],
    pub(super) estimate: Gauge,
    pub(super) target: Gauge,
    receive_latency: Gauge<f64, std::sync::atomic::AtomicU64>,
}

/// What is counted of one kind of media that is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// By the other side's reports.
    pub(super) lost: u64,
}

/// What is counted of one kind of media that is received.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    /// That left the jitter buffer in time.
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) duplicate: u64,
}

/// One session's part of a sum; it is taken back with the session.
#[derive(Debug)]
pub(super) struct Share {
    sum: Gauge,
    value: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    channel: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Media {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Encoding {
    codec: &'static str,
    encoder: String,
}

/// Counts an encoder until the share is dropped. There are as many kinds as the table of encoders and
/// the pipeline files have.
pub(super) fn encoder_runs(codec: Codec, encoder: &str) -> Share {
    let gauge = ENCODERS.get_or_create_owned(&Encoding {
        codec: codec.name(),
        encoder: encoder.to_owned(),
    });
    Share::one(&gauge)
}

impl Default for Metrics {
    fn default() -> Self {
        let instruments = Instruments::new();
        let mut registry = Registry::with_prefix("switchboard_peer");
        instruments.register(&mut registry);
        Self(Arc::new(Inner {
            process: Process::begin(),
            registry,
            instruments,
        }))
    }
}

impl Metrics {
    /// The type of [`Self::text`].
    pub const CONTENT_TYPE: &str = CONTENT_TYPE;

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string can't fail.
        let _ = self.0.process.encode(&mut out, "switchboard_peer");
        let _ = text::encode(&mut out, &self.0.registry);
        out
    }

    /// Tells how long received packets wait for late ones.
    pub fn set_receive_latency(&self, latency: Duration) {
        let gauge = &self.0.instruments.receive_latency;
        gauge.set(latency.as_secs_f64());
    }

    /// A message on this kind of data channel wasn't taken, because its sender may only view.
    pub fn control_refused(&self, channel: &'static str) {
        let family = &self.0.instruments.controls_refused;
        family.get_or_create(&Channel { channel }).inc();
    }

    pub(super) fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }
}

impl Instruments {
    fn new() -> Self {
        let times: fn() -> Histogram = || Histogram::new(TIMES);
        let this = Self {
            sessions: Gauge::default(),
            sessions_started: Counter::default(),
            sessions_connected: Counter::default(),
            failures: Family::default(),
            troubles: Family::default(),
            controls_refused: Family::default(),
            phases: Family::new_with_constructor(times),
            frame_age: Family::new_with_constructor(times),
            round_trip: Family::new_with_constructor(times),
            jitter: Family::new_with_constructor(times),
            sent: Default::default(),
            retransmitted: Counter::default(),
            received_bytes: Counter::default(),
            lost_by_others: Family::default(),
            received: Default::default(),
            estimate: Gauge::default(),
            target: Gauge::default(),
            receive_latency: Gauge::default(),
        };
        this.show_zeros();
        this
    }

    /// What hasn't happened yet is there with 0, so that dashboards and alerts find it.
    fn show_zeros(&self) {
        for reason in Cause::ALL.map(Cause::name) {
            self.failures.get_or_create_owned(&Reason { reason });
            self.troubles.get_or_create_owned(&Reason { reason });
        }
        for phase in PHASES {
            self.phases.get_or_create_owned(&Phase { phase });
        }
        for kind in [Kind::Audio, Kind::Video] {
            let media = Media::of(kind);
            for times in [&self.frame_age, &self.round_trip, &self.jitter] {
                times.get_or_create_owned(&media);
            }
            let counts = self.sent.iter().chain(&self.received);
            for count in counts.chain([&self.lost_by_others]) {
                count.get_or_create_owned(&media);
            }
        }
    }

    /// A session never connected, or was lost.
    pub(super) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&Reason { reason }).inc();
    }

    /// Something takes suspiciously long.
    pub(super) fn troubled(&self, reason: &'static str) {
        self.troubles.get_or_create(&Reason { reason }).inc();
    }

    /// A phase of a session's beginning is over.
    pub(super) fn phase(&self, phase: &'static str, took: Duration) {
        let phase = self.phases.get_or_create_owned(&Phase { phase });
        phase.observe(took.as_secs_f64());
    }

    /// Where the ages of frames go.
    pub(super) fn frame_age(&self, kind: Kind) -> Histogram {
        self.frame_age.get_or_create_owned(&Media::of(kind))
    }

    /// What was sent since the last time, and how it goes now.
    pub(super) fn sent(&self, kind: Kind, sent: Sent, round_trip: f64) {
        let media = Media::of(kind);
        let counts = [sent.frames, sent.packets, sent.bytes];
        for (family, count) in self.sent.iter().zip(counts) {
            family.get_or_create(&media).inc_by(count);
        }
        self.lost_by_others.get_or_create(&media).inc_by(sent.lost);
        // There is none before the first report.
        if round_trip > 0.0 {
            self.round_trip.get_or_create(&media).observe(round_trip);
        }
    }

    /// What was received since the last time, and how it goes now.
    pub(super) fn received(&self, kind: Kind, received: Received, jitter: Duration) {
        let media = Media::of(kind);
        let Received {
            packets,
            lost,
            late,
            duplicate,
        } = received;
        for (family, count) in self.received.iter().zip([packets, lost, late, duplicate]) {
            family.get_or_create(&media).inc_by(count);
        }
        if packets > 0 {
            let jitter_of = self.jitter.get_or_create_owned(&media);
            jitter_of.observe(jitter.as_secs_f64());
        }
    }

    fn register(&self, to: &mut Registry) {
        macro_rules! register {
            ($($name:literal: $what:expr, $help:literal;)+) => {
                $( to.register($name, $help, $what.clone()); )+
            };
        }
        register! {
            "sessions": self.sessions, "Media sessions that are open";
            "sessions_started": self.sessions_started, "Media sessions that were begun";
            "sessions_connected": self.sessions_connected, "Media sessions that connected";
            "failures": self.failures, "Media sessions that never connected or were lost, by reason";
            "troubles": self.troubles, "Warnings that media doesn't come, by reason";
            "controls_refused": self.controls_refused, "Messages that weren't taken from viewers that may only view, by channel";
            "sent_frames": self.sent[0], "Frames sent";
            "sent_packets": self.sent[1], "RTP packets sent, without retransmissions";
            "retransmitted_packets": self.retransmitted, "RTP packets sent once more";
            "encoders": *ENCODERS, "Encoders that run, by codec and element";
            "lost_packets": self.lost_by_others, "RTP packets of ours that others miss, by their reports";
            "received_packets": self.received[0], "RTP packets that left a jitter buffer in time";
            "received_lost_packets": self.received[1], "RTP packets that never came, or not in time";
            "received_late_packets": self.received[2], "RTP packets that came after their time and were dropped";
            "received_duplicate_packets": self.received[3], "RTP packets that came more than once";
            "estimate_bits_per_second": self.estimate, "What the networks take: the sum over all sessions";
            "target_bits_per_second": self.target, "What the encoders aim at: the sum over all streams of all sessions";
        }
        let help = "RTP payload sent";
        to.register_with_unit("sent", help, Unit::Bytes, self.sent[2].clone());
        let help = "Received, with RTP headers";
        to.register_with_unit("received", help, Unit::Bytes, self.received_bytes.clone());
        macro_rules! seconds {
            ($($name:literal: $what:expr, $help:literal;)+) => {
                $( to.register_with_unit($name, $help, Unit::Seconds, $what.clone()); )+
            };
        }
        seconds! {
            "phase": self.phases, "How long each phase of a session's beginning took";
            "frame_age": self.frame_age, "How old frames are when they leave, from their capture";
            "round_trip": self.round_trip, "Round-trip times that others report, sampled";
            "jitter": self.jitter, "Mean deviation of packets' arrival, sampled";
            "receive_latency": self.receive_latency, "How long received packets wait for late ones";
        }
    }
}

impl Media {
    const fn of(kind: Kind) -> Self {
        Self { kind: kind.name() }
    }
}

impl Share {
    pub(super) fn new(sum: &Gauge) -> Self {
        Self {
            sum: sum.clone(),
            value: 0,
        }
    }

    /// Counts for one.
    pub(super) fn one(sum: &Gauge) -> Self {
        let mut share = Self::new(sum);
        share.set(1);
        share
    }

    pub(super) fn set(&mut self, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.sum.inc_by(value.saturating_sub(self.value));
        self.value = value;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.sum.dec_by(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_its_share_of_a_sum_back() {
        let metrics = Metrics::default();
        let sum = &metrics.instruments().estimate;
        let (mut one, mut two) = (Share::new(sum), Share::new(sum));
        one.set(1_000_000);
        two.set(500_000);
        one.set(300_000);
        assert_eq!(sum.get(), 800_000);
        drop(one);
        assert_eq!(sum.get(), 500_000);
        drop(two);
        assert_eq!(sum.get(), 0);
    }

    #[test]
    fn the_text_names_reasons_and_phases() {
        let metrics = Metrics::default();
        metrics.instruments().failed("dtls");
        let phase = Duration::from_millis(30);
        metrics.instruments().phase("checks", phase);
        let text = metrics.text();
        for line in [
            "switchboard_peer_failures_total{reason=\"dtls\"} 1",
            "switchboard_peer_phase_seconds_bucket{le=\"0.05\",phase=\"checks\"} 1",
            "switchboard_peer_sessions 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

//! What a probe found, as `--json` writes it. Times of day are seconds since the Unix epoch; every other
//! figure has its unit in its name.

use serde::Serialize;

use super::judge::{Finding, Percentiles, Report, Thresholds};

/// The version of this format; it grows when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// [`VERSION`].
    pub version: u32,
    /// The program and its version.
    pub program: String,
    /// Whether all scenarios passed.
    pub passed: bool,
    /// Each scenario, in the order of their running.
    pub outcomes: Vec<Outcome>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Its name: the suite's, or the scenario's own.
    pub name: String,
    /// `device`, `room`, `call`, `mesh` or `gecko`.
    pub scenario: &'static str,
    /// What it was asked to do, in words.
    pub description: String,
    /// The server's URL.
    pub server: String,
    /// When it began.
    pub started: f64,
    /// How long it took, with connecting.
    pub seconds: f64,
    /// Whether nothing was wrong.
    pub passed: bool,
    /// What was wrong, the most telling first.
    pub failures: Vec<Failure>,
    /// What the media was judged by.
    pub thresholds: Thresholds,
    /// What each receiving end got, from each of its partners.
    pub connections: Vec<Report>,
    /// What was sent, by each session of the sending ends.
    pub sent: Vec<SentReport>,
    /// How each minute was; empty for less than a minute.
    pub minutes: Vec<Minute>,
    /// Who came and left meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// How many receiving ends the server held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// The worker's echo over the data channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
    /// What this process used.
    pub resources: Resources,
}

/// Something that was wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// Which end, or which stream.
    pub place: String,
    /// What happened.
    pub reason: String,
    /// What to look at.
    pub advice: String,
    /// The measured figure that wasn't good enough, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Box<Finding>>,
}

/// What one session sent, by the other side's reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SentReport {
    /// Who sent, and to whom if that is known.
    pub name: String,
    /// The codec, as in SDP.
    pub codec: String,
    /// Packets sent.
    pub packets: u64,
    /// Bits per second, without packet headers, since the connection.
    pub bitrate: f64,
    /// Packets that the other side missed, by its last report.
    pub lost: i64,
    /// Packets that it asked for again.
    pub nacks: u64,
    /// Whole pictures that it asked for.
    pub picture_requests: u64,
    /// The round-trip time at its last report, in milliseconds; 0 before the first.
    pub round_trip_ms: f64,
}

/// One minute of a soak: of all streams, the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Minute {
    /// The first one is 1.
    pub minute: u32,
    /// Connections that are up.
    pub connected: usize,
    /// The lowest frame rate, per second.
    pub frame_rate: f64,
    /// The highest median of the latency, in milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// The highest 95th percentile of the latency, in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// The longest freeze, in milliseconds.
    pub longest_freeze_ms: f64,
    /// All lost pictures.
    pub lost: u64,
    /// All bits per second.
    pub bitrate: f64,
}

/// Ends that came, waited for their first picture, and left.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Churn {
    /// How many came.
    pub joins: u32,
    /// How many of them saw a picture, and left.
    pub seen: u32,
    /// From the request to the first picture, in milliseconds, of each that saw one.
    pub first_frame_ms: Vec<f64>,
}

/// How many receiving ends are too many.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ramp {
    /// The most that were served within the thresholds.
    pub held: u32,
    /// Whether that is all that was asked for: the limit is higher.
    pub all: bool,
    /// What broke first; empty if nothing did.
    pub limit: String,
    /// Each number of ends that was tried.
    pub levels: Vec<Level>,
}

/// A number of receiving ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// So many.
    pub receivers: u32,
    /// Those of them that got media.
    pub served: u32,
    /// The lowest frame rate of those that are judged, per second.
    pub frame_rate: f64,
    /// The highest 95th percentile of the latency of those that are judged, in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// How busy this machine was meanwhile, of 100. Near 100 the limit may be this machine's own.
    pub machine_percent: Option<f64>,
    /// Whether it was good enough.
    pub passed: bool,
}

/// Messages that a worker sent back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Echo {
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back.
    pub returned: u64,
    /// How long they took there and back, in milliseconds.
    pub round_trip: Option<Percentiles>,
}

/// What this process used: with both ends, and with the server where the probe started it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Resources {
    /// The time between samples, in seconds.
    pub step_seconds: f64,
    /// One after the other, from the start of the media on; empty where the system doesn't tell.
    pub samples: Vec<Usage>,
    /// Whether it stayed flat, by the rule of [`super::resources`]; empty for less than 5 minutes.
    pub growth: Vec<Growth>,
}

/// What this process used at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Seconds since the media's start.
    pub at: f64,
    /// Memory that is resident, in bytes.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Processors that were busy for this process since the last sample: 1.5 is one and a half.
    pub processors: f64,
    /// How old pictures were when they left a sender in the last second, in milliseconds: of all
    /// streams, the worst mean. A live test source counts the time that it took to start, too.
    pub frame_age_ms: Option<f64>,
}

/// How something grew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// What: `memory`, `threads`, `descriptors`, `frame_age`.
    pub what: &'static str,
    /// The median over the first fifth of the time after the warm-up.
    pub before: f64,
    /// The median over the last fifth.
    pub after: f64,
    /// The most that `after` may be.
    pub limit: f64,
    /// The unit of these.
    pub unit: &'static str,
    /// Whether it is within the limit.
    pub flat: bool,
}

impl Summary {
    /// Of these outcomes.
    #[must_use]
    pub fn new(outcomes: Vec<Outcome>) -> Self {
        Self {
            version: VERSION,
            program: concat!("switchboard ", env!("CARGO_PKG_VERSION")).to_owned(),
            passed: outcomes.iter().all(|outcome| outcome.passed),
            outcomes,
        }
    }
}

impl Failure {
    /// That isn't about a figure.
    pub(super) fn new(
        place: impl Into<String>,
        reason: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            reason: reason.into(),
            advice: advice.into(),
            finding: None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.finding {
            // It says itself where it is.
            Some(finding) => finding.fmt(f),
            None => write!(f, "{}: {}", self.place, self.reason),
        }
    }
}

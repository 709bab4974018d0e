//! What the judge says: plain figures, with their units in their names.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::series::Curve;
use super::tally::count_f64;
use super::{ConnectionSample, Phase, StreamId};
use crate::media::Kind;

/// How one connection was, over some time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whose connection, as the judge was named.
    pub name: String,
    /// The time that is reported.
    pub span: Span,
    /// How long it took from the request to each phase.
    pub phases: PhaseTimes,
    /// The path that was taken, at the last sample.
    pub connection: Connection,
    /// Each stream, in the order in which they appeared.
    pub streams: Vec<StreamReport>,
    /// Observations of more streams than a judge follows.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// When it began, in seconds since the Unix epoch.
    pub start: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
}

/// Milliseconds from the request until each phase was reached; `None` if it was not, or is unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PhaseTimes {
    /// Whether the request was observed. Otherwise the times are since the first observation, and no
    /// bounds apply to them.
    pub requested: bool,
    /// Both session descriptions were exchanged.
    pub signaled_ms: Option<f64>,
    /// All own candidates were gathered.
    pub gathered_ms: Option<f64>,
    /// The ICE checks were through.
    pub checked_ms: Option<f64>,
    /// DTLS was through.
    pub connected_ms: Option<f64>,
    /// The first packet of media came.
    pub first_packet_ms: Option<f64>,
    /// The first picture was decoded.
    pub first_frame_ms: Option<f64>,
}

/// The path of a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Connection {
    /// The kind of the own candidate in use: `host`, `srflx`, `prflx`, `relay`; empty if unknown.
    pub local_candidate: String,
    /// The kind of the other side's candidate in use.
    pub remote_candidate: String,
    /// Round-trip time in milliseconds, by the last sample that had one.
    pub round_trip_ms: Option<f64>,
}

/// How one stream was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamReport {
    /// Which.
    pub id: StreamId,
    /// Its pictures, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoReport>,
    /// Its sound, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioReport>,
    /// What its packets were like, if statistics were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// How it went over time; empty in reports of intervals.
    #[serde(skip_serializing_if = "Curve::is_empty")]
    pub curve: Curve,
}

/// Pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VideoReport {
    /// Whether the pictures carry marks. Without, `lost`, `out_of_order`, `corrupt` and the latency
    /// are unknown, and `repeated` is judged by the looks.
    pub coded: bool,
    /// The sources whose marks were seen, in the order of their first appearance, at most eight. More
    /// than one: pictures of several publishers came in one stream.
    pub sources: Vec<u8>,
    /// Counts of frames.
    pub frames: Frames,
    /// New pictures per second, from the first to the end of the time reported.
    pub frame_rate: f64,
    /// The longest time without a new picture, in milliseconds; one that goes on at the end counts.
    /// Without marks, any picture is new here.
    pub longest_freeze_ms: f64,
    /// The longest time for which pictures without marks looked exactly the same, in milliseconds. 0
    /// for coded pictures.
    pub longest_still_ms: f64,
    /// From a picture's leaving its source to its being decoded, in milliseconds.
    pub latency: Option<Percentiles>,
    /// How much the latency grew, in milliseconds: its median over the last quarter of the curve
    /// against the first; `None` for less than a minute.
    pub latency_growth_ms: Option<f64>,
    /// Width and height of the last picture, in pixels.
    pub size: Option<(u32, u32)>,
    /// How often the size changed.
    pub size_changes: u64,
}

/// Counts of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// Numbered by the source from the first one seen to the last; without marks, the received ones.
    pub sent: u64,
    /// Decoded, in whatever state; repeated ones too.
    pub received: u64,
    /// Never seen though later ones were. A picture that its sender left out on purpose counts, too.
    pub lost: u64,
    /// Seen more than once.
    pub repeated: u64,
    /// Seen after a later one; not counted as lost.
    pub out_of_order: u64,
    /// Could not be read, or not every part of them is of the same picture; not counted as lost.
    pub corrupt: u64,
    /// How often the source began to count anew.
    pub restarts: u64,
}

/// Sound.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AudioReport {
    /// Whether it carries marks. Without, silence is no fault, and only missing sound is a gap.
    pub coded: bool,
    /// The sources whose marks were heard, as [`VideoReport::sources`].
    pub sources: Vec<u8>,
    /// Sound that was decoded, in milliseconds.
    pub heard_ms: f64,
    /// How often sound was missing or (with marks) silent.
    pub gaps: u64,
    /// The longest gap, in milliseconds; one that goes on at the end counts.
    pub longest_gap_ms: f64,
    /// All gaps together, in milliseconds.
    pub gaps_ms: f64,
    /// Marks heard.
    pub marks: u64,
    /// Marks that were not heard or not readable though later ones were.
    pub marks_lost: u64,
    /// From a mark's leaving its source to its being decoded, in milliseconds.
    pub latency: Option<Percentiles>,
    /// How much later the sound is than the picture of the same source, in milliseconds; negative if
    /// it is earlier; a second at most. By the timestamps, as a player would present them.
    pub video_offset: Option<Percentiles>,
}

/// Figures out of many, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// The least.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// 95 of 100 are at most this.
    pub p95_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The greatest.
    pub max_ms: f64,
}

/// What a stream's packets were like.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// The codec's name, as in SDP.
    pub codec: Option<String>,
    /// Bits per second over the time reported, with what the statistics count as bytes.
    pub bitrate: f64,
    /// Packets received.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Of the packets sent, how many never came, in percent.
    pub loss_percent: f64,
    /// Packets that were sent a second time.
    pub retransmitted: u64,
}

impl Report {
    /// A stream's report.
    #[must_use]
    pub fn stream(&self, id: &str) -> Option<&StreamReport> {
        self.streams.iter().find(|stream| stream.id.as_str() == id)
    }

    /// The pictures of every stream that has any.
    pub fn videos(&self) -> impl Iterator<Item = (&StreamId, &VideoReport)> {
        let streams = self.streams.iter();
        streams.filter_map(|stream| Some((&stream.id, stream.video.as_ref()?)))
    }

    /// The sound of every stream that has any.
    pub fn audios(&self) -> impl Iterator<Item = (&StreamId, &AudioReport)> {
        let streams = self.streams.iter();
        streams.filter_map(|stream| Some((&stream.id, stream.audio.as_ref()?)))
    }
}

impl Span {
    pub(super) fn between(start: Duration, end: Duration) -> Self {
        Self {
            start: start.as_secs_f64(),
            seconds: end.saturating_sub(start).as_secs_f64(),
        }
    }
}

impl PhaseTimes {
    pub(super) fn reached(&mut self, phase: Phase, after: Duration) {
        let time = match phase {
            Phase::Requested => return,
            Phase::Signaled => &mut self.signaled_ms,
            Phase::Gathered => &mut self.gathered_ms,
            Phase::Checked => &mut self.checked_ms,
            Phase::Connected => &mut self.connected_ms,
            Phase::FirstPacket => &mut self.first_packet_ms,
            Phase::FirstFrame => &mut self.first_frame_ms,
        };
        time.get_or_insert(millis(after));
    }
}

impl Connection {
    pub(super) fn take(&mut self, sample: ConnectionSample) {
        self.local_candidate = sample.local_candidate;
        self.remote_candidate = sample.remote_candidate;
        self.round_trip_ms = sample.round_trip.map(millis).or(self.round_trip_ms);
    }
}

impl StreamReport {
    /// Whether it is video or audio.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.video {
            Some(_) => Kind::Video,
            None => Kind::Audio,
        }
    }
}

impl Percentiles {
    /// Of a histogram with so many units in a millisecond that was shifted up by so many milliseconds.
    pub(in crate::probe) fn of(
        histogram: &Histogram<u32>,
        units: f64,
        shift_ms: f64,
    ) -> Option<Self> {
        let ms = |value: u64| tenths(count_f64(value) / units - shift_ms);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min_ms: ms(histogram.min()),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p95_ms: ms(histogram.value_at_quantile(0.95)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        })
    }
}

/// Milliseconds, to a tenth.
pub(super) fn millis(duration: Duration) -> f64 {
    tenths(duration.as_secs_f64() * 1000.0)
}

pub(super) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

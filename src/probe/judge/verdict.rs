//! What isn't good enough.

use serde::{Deserialize, Serialize};

use super::report::{AudioReport, Percentiles, Report, StreamReport, VideoReport};
use super::tally::{count_f64, share};

/// What is good enough. In TOML, what is left out has its default; 0 switches a check off where it
/// says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// At most so many milliseconds from the request to the connection; 0: any.
    pub connect_ms: f64,
    /// At most so many milliseconds from the request to the first picture; 0: any.
    pub first_frame_ms: f64,
    /// At least so many new pictures per second; 0: any.
    pub min_frame_rate: f64,
    /// At most so many of 100 pictures are lost.
    pub lost_percent: f64,
    /// At most so many of 100 pictures are repeated. Only for coded ones.
    pub repeated_percent: f64,
    /// At most so many of 100 pictures are out of order.
    pub out_of_order_percent: f64,
    /// At most so many of 100 pictures are corrupt.
    pub corrupt_percent: f64,
    /// At most so many milliseconds without a new picture.
    pub freeze_ms: f64,
    /// At most so many milliseconds with the very same picture, in a stream without marks; 0: any, for
    /// there are pictures that don't move. A camera's never stay the same for seconds.
    pub still_ms: f64,
    /// Half of all pictures are at most so many milliseconds old; 0: any.
    pub latency_p50_ms: f64,
    /// 95 of 100 pictures are at most so many milliseconds old; 0: any.
    pub latency_p95_ms: f64,
    /// 99 of 100 pictures are at most so many milliseconds old; 0: any.
    pub latency_p99_ms: f64,
    /// The latency grows by at most so many milliseconds from the first quarter of the time to the
    /// last; 0: by any.
    pub latency_growth_ms: f64,
    /// At most so many milliseconds without sound.
    pub audio_gap_ms: f64,
    /// At most so many of 100 milliseconds without sound.
    pub silent_percent: f64,
    /// Sound is at most so many milliseconds before or after its picture, by the median; 0: any.
    pub av_offset_ms: f64,
    /// At most so many of 100 packets are lost, before they are sent again; 0: any.
    pub packet_loss_percent: f64,
    /// At least so many bits of video per second; 0: any.
    pub min_bitrate: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            connect_ms: 5000.0,
            first_frame_ms: 6000.0,
            min_frame_rate: 5.0,
            lost_percent: 2.0,
            repeated_percent: 2.0,
            out_of_order_percent: 0.0,
            corrupt_percent: 0.5,
            freeze_ms: 1000.0,
            still_ms: 0.0,
            latency_p50_ms: 0.0,
            latency_p95_ms: 500.0,
            latency_p99_ms: 0.0,
            latency_growth_ms: 200.0,
            audio_gap_ms: 250.0,
            silent_percent: 2.0,
            av_offset_ms: 150.0,
            packet_loss_percent: 0.0,
            min_bitrate: 0.0,
        }
    }
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The connection came about in time.
    Connect,
    /// The first picture came in time.
    FirstFrame,
    /// Any media came at all.
    Media,
    /// All pictures and sound of a stream are of one source.
    Source,
    /// Pictures per second.
    FrameRate,
    /// Lost pictures.
    Lost,
    /// Repeated pictures.
    Repeated,
    /// Pictures out of order.
    OutOfOrder,
    /// Corrupt pictures.
    Corrupt,
    /// The longest time without a new picture.
    Freeze,
    /// The longest time with the very same picture.
    Still,
    /// The median of the latency.
    LatencyP50,
    /// The latency of all but 5 of 100 pictures.
    LatencyP95,
    /// The latency of all but 1 of 100 pictures.
    LatencyP99,
    /// The growth of the latency.
    LatencyGrowth,
    /// The longest time without sound.
    AudioGap,
    /// All time without sound.
    Silence,
    /// Sound and picture are together.
    AvOffset,
    /// Lost packets.
    PacketLoss,
    /// Bits per second.
    Bitrate,
}

/// Something that isn't good enough.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What.
    pub check: Check,
    /// Whose connection, and which stream if it is about one.
    pub place: String,
    /// What was measured, in `unit`; `None` if nothing came that could be.
    pub measured: Option<f64>,
    /// What was wanted: at most that, or at least that, by `check`.
    pub wanted: f64,
    /// The unit of both.
    pub unit: &'static str,
}

impl Check {
    /// A word for it, with what is measured.
    const fn words(self) -> &'static str {
        match self {
            Self::Connect => "time to the connection",
            Self::FirstFrame => "time to the first picture",
            Self::Media => "streams with media",
            Self::Source => "sources in one stream",
            Self::FrameRate => "frame rate",
            Self::Lost => "lost pictures",
            Self::Repeated => "repeated pictures",
            Self::OutOfOrder => "pictures out of order",
            Self::Corrupt => "corrupt pictures",
            Self::Freeze => "longest freeze",
            Self::Still => "longest time with the very same picture",
            Self::LatencyP50 => "latency, median",
            Self::LatencyP95 => "latency, p95",
            Self::LatencyP99 => "latency, p99",
            Self::LatencyGrowth => "growth of the latency",
            Self::AudioGap => "longest gap in the sound",
            Self::Silence => "missing sound",
            Self::AvOffset => "sound against picture (late is positive)",
            Self::PacketLoss => "lost packets",
            Self::Bitrate => "bit rate",
        }
    }

    const fn is_least(self) -> bool {
        matches!(self, Self::Media | Self::FrameRate | Self::Bitrate)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, bound) = match self.check.is_least() {
            true => (self.check.words(), "at least"),
            false => (self.check.words(), "at most"),
        };
        let Self {
            place,
            wanted,
            unit,
            ..
        } = self;
        match self.measured {
            Some(measured) => {
                write!(
                    f,
                    "{place}: {what}: {measured} {unit}, wanted {bound} {wanted} {unit}"
                )
            }
            None => write!(f, "{place}: {what}: never, wanted {bound} {wanted} {unit}"),
        }
    }
}

impl Thresholds {
    /// What of a report isn't good enough; empty if all is well.
    #[must_use]
    pub fn verdict(&self, report: &Report) -> Vec<Finding> {
        let mut findings = Findings {
            place: report.name.clone(),
            all: Vec::new(),
        };
        let times = &report.phases;
        if times.requested {
            findings.in_time(Check::Connect, times.connected_ms, self.connect_ms);
            findings.in_time(Check::FirstFrame, times.first_frame_ms, self.first_frame_ms);
        }
        let alive = report.streams.iter().filter(|stream| stream.has_media());
        let alive = count_f64(alive.count() as u64);
        findings.least(Check::Media, alive, 1.0, "streams");
        for stream in &report.streams {
            findings.place = format!("{} {}", report.name, stream.id);
            self.stream(stream, &mut findings);
        }
        findings.all
    }

    fn stream(&self, stream: &StreamReport, findings: &mut Findings) {
        if let Some(video) = &stream.video {
            self.video(video, findings);
        }
        if let Some(audio) = &stream.audio {
            self.audio(audio, findings);
        }
        if let Some(traffic) = &stream.traffic {
            if self.packet_loss_percent > 0.0 {
                let wanted = self.packet_loss_percent;
                findings.most(Check::PacketLoss, traffic.loss_percent, wanted, "%");
            }
            if stream.video.is_some() {
                findings.least(Check::Bitrate, traffic.bitrate, self.min_bitrate, "bit/s");
            }
        }
    }

    fn video(&self, video: &VideoReport, findings: &mut Findings) {
        let frames = &video.frames;
        findings.sources(&video.sources);
        findings.least(
            Check::FrameRate,
            video.frame_rate,
            self.min_frame_rate,
            "/s",
        );
        findings.most(Check::Freeze, video.longest_freeze_ms, self.freeze_ms, "ms");
        if self.still_ms > 0.0 {
            findings.most(Check::Still, video.longest_still_ms, self.still_ms, "ms");
        }
        if video.coded {
            for (check, count, wanted) in [
                (Check::Lost, frames.lost, self.lost_percent),
                (Check::Repeated, frames.repeated, self.repeated_percent),
                (
                    Check::OutOfOrder,
                    frames.out_of_order,
                    self.out_of_order_percent,
                ),
                (Check::Corrupt, frames.corrupt, self.corrupt_percent),
            ] {
                findings.most(check, share(count, frames.sent), wanted, "%");
            }
        }
        if let Some(latency) = &video.latency {
            for (check, measured, wanted) in [
                (Check::LatencyP50, latency.p50_ms, self.latency_p50_ms),
                (Check::LatencyP95, latency.p95_ms, self.latency_p95_ms),
                (Check::LatencyP99, latency.p99_ms, self.latency_p99_ms),
            ] {
                if wanted > 0.0 {
                    findings.most(check, measured, wanted, "ms");
                }
            }
        }
        if let Some(growth) = video.latency_growth_ms
            && self.latency_growth_ms > 0.0
        {
            findings.most(Check::LatencyGrowth, growth, self.latency_growth_ms, "ms");
        }
    }

    fn audio(&self, audio: &AudioReport, findings: &mut Findings) {
        findings.sources(&audio.sources);
        findings.most(
            Check::AudioGap,
            audio.longest_gap_ms,
            self.audio_gap_ms,
            "ms",
        );
        let whole = audio.heard_ms.max(audio.gaps_ms);
        if whole > 0.0 {
            let silent = super::report::tenths(audio.gaps_ms / whole * 100.0);
            findings.most(Check::Silence, silent, self.silent_percent, "%");
        }
        if let Some(Percentiles { p50_ms, .. }) = audio.video_offset
            && self.av_offset_ms > 0.0
            && p50_ms.abs() > self.av_offset_ms
        {
            findings.add(Check::AvOffset, Some(p50_ms), self.av_offset_ms, "ms");
        }
    }
}

impl StreamReport {
    fn has_media(&self) -> bool {
        self.video.as_ref().is_some_and(|it| it.frames.received > 0)
            || self.audio.as_ref().is_some_and(|it| it.heard_ms > 0.0)
    }
}

/// Findings as they are made.
struct Findings {
    place: String,
    all: Vec<Finding>,
}

impl Findings {
    fn in_time(&mut self, check: Check, measured: Option<f64>, wanted: f64) {
        if wanted > 0.0 && measured.is_none_or(|measured| measured > wanted) {
            self.add(check, measured, wanted, "ms");
        }
    }

    fn most(&mut self, check: Check, measured: f64, wanted: f64, unit: &'static str) {
        if measured > wanted {
            self.add(check, Some(measured), wanted, unit);
        }
    }

    fn least(&mut self, check: Check, measured: f64, wanted: f64, unit: &'static str) {
        if measured < wanted {
            self.add(check, Some(measured), wanted, unit);
        }
    }

    fn sources(&mut self, sources: &[u8]) {
        self.most(
            Check::Source,
            count_f64(sources.len() as u64),
            1.0,
            "sources",
        );
    }

    fn add(&mut self, check: Check, measured: Option<f64>, wanted: f64, unit: &'static str) {
        self.all.push(Finding {
            check,
            place: self.place.clone(),
            measured,
            wanted,
            unit,
        });
    }
}

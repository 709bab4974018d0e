//! What is counted of a stream: once for the whole time, and once for the running interval.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::{AudioReport, Frames, Percentiles, Traffic, VideoReport, millis, tenths};

/// The greatest latency that is told from greater ones.
const LATENCY: Duration = Duration::from_secs(60);
/// Of latencies; 2 digits keep a histogram at 10 kB.
const LATENCY_DIGITS: u8 = 2;
/// The greatest offset between sound and picture that is told from greater ones, in milliseconds.
const OFFSET_MS: i64 = 1000;
/// Of offsets: enough for whole milliseconds.
const OFFSET_DIGITS: u8 = 3;

/// The counts.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Decoded pictures.
    pub(super) received: u64,
    /// Pictures that were not seen before, late ones too.
    pub(super) new: u64,
    /// Missing ones; below zero for a moment if what an earlier interval missed comes late.
    pub(super) lost: i64,
    pub(super) repeated: u64,
    pub(super) late: u64,
    pub(super) unreadable: u64,
    pub(super) restarts: u64,
    /// Pictures that look the same as the one before.
    pub(super) same: u64,
    pub(super) freeze: Duration,
    pub(super) still: Duration,
    pub(super) size_changes: u64,

    pub(super) heard: Duration,
    pub(super) gaps: u64,
    pub(super) longest_gap: Duration,
    pub(super) gaps_sum: Duration,
    pub(super) marks: u64,
    pub(super) marks_lost: i64,

    pub(super) bits: f64,
    pub(super) sampled: Duration,
    pub(super) packets: u64,
    pub(super) packets_lost: u64,
    pub(super) retransmitted: u64,

    latency: Option<Histogram<u32>>,
    offset: Option<Histogram<u32>>,
}

impl Tally {
    pub(super) fn new() -> Self {
        // These bounds can't be wrong; without a histogram the figure would only be missing.
        let latency = Histogram::new_with_bounds(1, micros(LATENCY), LATENCY_DIGITS);
        let offset = Histogram::new_with_bounds(1, 2 * OFFSET_MS.unsigned_abs(), OFFSET_DIGITS);
        Self {
            received: 0,
            new: 0,
            lost: 0,
            repeated: 0,
            late: 0,
            unreadable: 0,
            restarts: 0,
            same: 0,
            freeze: Duration::ZERO,
            still: Duration::ZERO,
            size_changes: 0,
            heard: Duration::ZERO,
            gaps: 0,
            longest_gap: Duration::ZERO,
            gaps_sum: Duration::ZERO,
            marks: 0,
            marks_lost: 0,
            bits: 0.0,
            sampled: Duration::ZERO,
            packets: 0,
            packets_lost: 0,
            retransmitted: 0,
            latency: latency.ok(),
            offset: offset.ok(),
        }
    }

    /// The time of a picture or a mark from its source to its being decoded.
    pub(super) fn latency(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.latency {
            histogram.saturating_record(micros(latency.min(LATENCY)).max(1));
        }
    }

    /// How much later sound is than its picture.
    pub(super) fn offset(&mut self, micros: i64) {
        let ms = (micros / 1000).clamp(1 - OFFSET_MS, OFFSET_MS) + OFFSET_MS;
        if let Some(histogram) = &mut self.offset {
            histogram.saturating_record(ms.unsigned_abs());
        }
    }

    /// A time without sound.
    pub(super) fn gap(&mut self, gap: Duration) {
        self.gaps += 1;
        self.gaps_sum += gap;
        self.longest_gap = self.longest_gap.max(gap);
    }

    /// The figures of pictures, as far as they are counted here.
    pub(super) fn video(&self, coded: bool) -> VideoReport {
        let lost = u64::try_from(self.lost).unwrap_or_default();
        let frames = if coded {
            Frames {
                sent: self.new + lost + self.unreadable,
                received: self.received,
                lost,
                repeated: self.repeated,
                out_of_order: self.late,
                corrupt: self.unreadable,
                restarts: self.restarts,
            }
        } else {
            Frames {
                sent: self.received,
                received: self.received,
                repeated: self.same,
                ..Frames::default()
            }
        };
        VideoReport {
            coded,
            frames,
            longest_freeze_ms: millis(self.freeze),
            longest_still_ms: if coded { 0.0 } else { millis(self.still) },
            latency: self.latencies(),
            size_changes: self.size_changes,
            ..VideoReport::default()
        }
    }

    /// The figures of sound, as far as they are counted here.
    pub(super) fn audio(&self, coded: bool) -> AudioReport {
        AudioReport {
            coded,
            heard_ms: millis(self.heard),
            gaps: self.gaps,
            longest_gap_ms: millis(self.longest_gap),
            gaps_ms: millis(self.gaps_sum),
            marks: self.marks,
            marks_lost: u64::try_from(self.marks_lost).unwrap_or_default(),
            latency: self.latencies(),
            video_offset: self
                .offset
                .as_ref()
                .and_then(|offsets| Percentiles::of(offsets, 1.0, to_f64(OFFSET_MS))),
            ..AudioReport::default()
        }
    }

    pub(super) fn traffic(&self, codec: Option<String>) -> Traffic {
        let all = self.packets + self.packets_lost;
        Traffic {
            codec,
            bitrate: match self.sampled.is_zero() {
                true => 0.0,
                false => (self.bits / self.sampled.as_secs_f64()).round(),
            },
            packets: self.packets,
            lost: self.packets_lost,
            loss_percent: share(self.packets_lost, all),
            retransmitted: self.retransmitted,
        }
    }

    fn latencies(&self) -> Option<Percentiles> {
        Percentiles::of(self.latency.as_ref()?, 1000.0, 0.0)
    }
}

/// Percent, to a hundredth; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    tenths(count_f64(part) / count_f64(whole) * 1000.0) / 10.0
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of packets and frames are far below 2^52"
)]
pub(super) const fn count_f64(count: u64) -> f64 {
    count as f64
}

#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds and microseconds of less than years"
)]
const fn to_f64(number: i64) -> f64 {
    number as f64
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

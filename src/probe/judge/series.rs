//! How a stream goes over time, in a bounded number of points.

use std::time::Duration;

use serde::Serialize;

use super::report::tenths;

/// Points of a curve at most. When there are more, each two become one.
pub(super) const POINTS: usize = 1200;
/// The time of one point, at first.
const STEP: Duration = Duration::from_secs(1);

/// A curve: points of equal length, from the judge's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curve {
    /// How long each point is, in seconds.
    pub step_seconds: f64,
    /// One after the other, from the start on; at most 1200.
    pub points: Vec<Point>,
}

/// How it was for a step's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Point {
    /// New pictures per second.
    pub frame_rate: f64,
    /// The mean latency of pictures, or of sound, in milliseconds; `None` if there was none.
    pub latency_ms: Option<f64>,
    /// The greatest latency, in milliseconds.
    pub latency_max_ms: Option<f64>,
    /// Bits per second by the statistics; `None` without.
    pub bitrate: Option<f64>,
}

/// A curve as it grows.
#[derive(Debug, Clone)]
pub(super) struct Series {
    start: Duration,
    step: Duration,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    frames: u32,
    latencies: u32,
    latency_sum: Duration,
    latency_max: Duration,
    /// Bits, and over which time: samples may come less often than once in a step.
    bits: f64,
    sampled: Duration,
}

impl Curve {
    /// Whether it has no points.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

impl Series {
    pub(super) const fn new(start: Duration) -> Self {
        Self {
            start,
            step: STEP,
            slots: Vec::new(),
        }
    }

    /// A new picture, or a mark of sound, with its latency if it is known.
    pub(super) fn frame(&mut self, at: Duration, latency: Option<Duration>) {
        let Some(slot) = self.slot(at) else { return };
        slot.frames += 1;
        if let Some(latency) = latency {
            slot.latencies += 1;
            slot.latency_sum += latency;
            slot.latency_max = slot.latency_max.max(latency);
        }
    }

    /// So many bits in the time before.
    pub(super) fn bits(&mut self, at: Duration, bits: f64, over: Duration) {
        if let Some(slot) = self.slot(at) {
            slot.bits += bits;
            slot.sampled += over;
        }
    }

    pub(super) fn curve(&self) -> Curve {
        let seconds = self.step.as_secs_f64();
        let ms = |time: Duration| tenths(time.as_secs_f64() * 1000.0);
        let point = |slot: &Slot| Point {
            frame_rate: f64::from(slot.frames) / seconds,
            latency_ms: (slot.latencies > 0).then(|| ms(slot.latency_sum / slot.latencies)),
            latency_max_ms: (slot.latencies > 0).then(|| ms(slot.latency_max)),
            bitrate: (!slot.sampled.is_zero())
                .then(|| (slot.bits / slot.sampled.as_secs_f64()).round()),
        };
        Curve {
            step_seconds: seconds,
            points: self.slots.iter().map(point).collect(),
        }
    }

    /// How much the mean latency of the last quarter is above the first's, in milliseconds; `None` for
    /// less than a minute.
    pub(super) fn growth(&self) -> Option<f64> {
        let quarter = self.slots.len() / 4;
        if self.step * u32::try_from(self.slots.len()).ok()? < Duration::from_secs(60) {
            return None;
        }
        let median = |slots: &[Slot]| {
            let mut means: Vec<_> = slots
                .iter()
                .filter(|slot| slot.latencies > 0)
                .map(|slot| slot.latency_sum / slot.latencies)
                .collect();
            means.sort_unstable();
            means.get(means.len() / 2).map(Duration::as_secs_f64)
        };
        let first = median(self.slots.get(..quarter)?)?;
        let last = median(self.slots.get(self.slots.len() - quarter..)?)?;
        Some(tenths((last - first) * 1000.0))
    }

    fn slot(&mut self, at: Duration) -> Option<&mut Slot> {
        let since = at.saturating_sub(self.start);
        let index = |step: Duration| usize::try_from(since.as_nanos() / step.as_nanos());
        // A clock that jumps by years ends in the last point, after some rounds.
        while index(self.step).is_ok_and(|index| index >= POINTS) {
            self.coarsen();
        }
        let index = index(self.step).ok()?;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots.get_mut(index)
    }

    fn coarsen(&mut self) {
        self.step *= 2;
        self.slots = self
            .slots
            .chunks(2)
            .map(|pair| {
                pair.iter().fold(Slot::default(), |sum, slot| Slot {
                    frames: sum.frames + slot.frames,
                    latencies: sum.latencies + slot.latencies,
                    latency_sum: sum.latency_sum + slot.latency_sum,
                    latency_max: sum.latency_max.max(slot.latency_max),
                    bits: sum.bits + slot.bits,
                    sampled: sum.sampled + slot.sampled,
                })
            })
            .collect();
    }
}

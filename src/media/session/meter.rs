//! What is measured of one stream that we send, between two calls of the statistics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use prometheus_client::metrics::histogram::Histogram;

use super::witness::Witness;
use crate::media::Kind;
use crate::media::congestion::Rung;

/// How old a stream's frames were when they left, since the last call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameAge {
    /// How many left.
    pub frames: u64,
    /// The mean time from a frame's capture until it was handed to the network.
    pub mean: Duration,
    /// The longest.
    pub max: Duration,
}

/// How a stream is encoded for its viewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::media) struct Quality {
    /// What the network takes, in bits per second.
    pub(in crate::media) estimate: Option<u64>,
    /// What the encoder aims at, in bits per second.
    pub(in crate::media) target: Option<u64>,
    /// The picture's width and height.
    pub(in crate::media) size: Option<(u32, u32)>,
    /// Which of the source's encoders.
    pub(in crate::media) rung: Rung,
}

/// Shared by a stream's pipeline, its task, and its session.
#[derive(Debug, Default)]
pub(in crate::media) struct Meter {
    inner: Mutex<Inner>,
    /// Who else wants to know of frames that leave.
    told: Option<(Arc<Witness>, Option<Histogram>)>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Since the start.
    total: u64,
    /// Since the last call.
    frames: u64,
    sum: Duration,
    max: Duration,
    quality: Quality,
}

impl Meter {
    /// For a stream of this kind in the witness's session.
    pub(super) fn new(kind: Kind, witness: &Arc<Witness>) -> Self {
        let ages = witness.instruments().map(|it| it.frame_age(kind));
        Self {
            told: Some((Arc::clone(witness), ages)),
            ..Self::default()
        }
    }

    /// Notes that a frame of this age leaves.
    pub(super) fn frame(&self, age: Duration) {
        let mut inner = self.lock();
        inner.frames = inner.frames.saturating_add(1);
        inner.sum = inner.sum.saturating_add(age);
        inner.max = inner.max.max(age);
        inner.total = inner.total.saturating_add(1);
        let is_first = inner.total == 1;
        drop(inner);
        let Some((witness, ages)) = &self.told else {
            return;
        };
        if is_first {
            witness.sent();
        }
        if let Some(ages) = ages {
            ages.observe(age.as_secs_f64());
        }
    }

    /// The frames that left since the start.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    /// Notes how the stream is encoded from now on.
    pub(in crate::media) fn set_quality(&self, quality: Quality) {
        self.lock().quality = quality;
    }

    /// How the stream is encoded now.
    pub(super) fn quality(&self) -> Quality {
        self.lock().quality
    }

    /// The ages since the last call.
    pub(super) fn take(&self) -> FrameAge {
        let mut inner = self.lock();
        let frames = std::mem::take(&mut inner.frames);
        let sum = std::mem::take(&mut inner.sum);
        let max = std::mem::take(&mut inner.max);
        let divisor = u32::try_from(frames).unwrap_or(u32::MAX).max(1);
        FrameAge {
            frames,
            mean: sum / divisor,
            max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The age of a packet on its way out: how far the pipeline's time is past that of its frame's capture.
fn age(pad: &gst::Pad, info: &gst::PadProbeInfo<'_>) -> Option<Duration> {
    let buffer = match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => buffer.as_ref(),
        Some(gst::PadProbeData::BufferList(list)) => list.get(list.len().checked_sub(1)?)?,
        _ => return None,
    };
    let now = pad.parent_element()?.current_running_time()?;
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let captured = segment.to_running_time(buffer.pts()?)?;
    Some(Duration::from(now.saturating_sub(captured)))
}

/// Whether a packet is its frame's last one.
fn is_last(kind: Kind, info: &gst::PadProbeInfo<'_>) -> bool {
    let buffer = match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => Some(buffer.as_ref()),
        Some(gst::PadProbeData::BufferList(list)) => {
            list.len().checked_sub(1).and_then(|last| list.get(last))
        }
        _ => None,
    };
    kind == Kind::Audio
        || buffer.is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::MARKER))
}

/// Measures every frame that leaves through a pad of packets.
pub(super) fn measure(pad: &gst::Pad, kind: Kind, meter: Arc<Meter>) {
    let packets = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(packets, move |pad, info| {
        if is_last(kind, info)
            && let Some(age) = age(pad, info)
        {
            meter.frame(age);
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_since_the_last_call() {
        let meter = Meter::default();
        meter.frame(Duration::from_millis(10));
        meter.frame(Duration::from_millis(30));
        let age = meter.take();
        assert_eq!(age.frames, 2);
        assert_eq!(age.mean, Duration::from_millis(20));
        assert_eq!(age.max, Duration::from_millis(30));
        assert_eq!(meter.take(), FrameAge::default());
    }
}

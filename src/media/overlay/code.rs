//! Puts marks into pictures and sound, so that whoever receives them can tell what became of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer_audio as gst_audio;
use gstreamer_video as gst_video;

use gst::prelude::*;
use gst_video::VideoFrameExt as _;

use crate::media::code::{now, picture, sound};

/// Sound's timestamps may be so far from what its samples say, before these are set right.
const SLACK: Duration = Duration::from_millis(20);

/// Marks every picture (I420) that reaches the pad with its source, its number and the time.
pub(crate) fn mark_pictures(pad: &gst::Pad, source: u8, count: Arc<AtomicU32>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let video = pad
            .current_caps()
            .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        if let (Some(video), Some(buffer)) = (video, info.buffer_mut()) {
            let mark = picture::Mark {
                source,
                number: count.fetch_add(1, Ordering::Relaxed) & 0xff_ffff,
                captured: millis(now()),
            };
            paint(buffer.make_mut(), &video, mark);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Replaces all sound (S16LE) that reaches the pad by the source's tones.
pub(crate) fn mark_sound(pad: &gst::Pad, source: u8) {
    let next = Mutex::new(None);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let audio = pad
            .current_caps()
            .and_then(|caps| gst_audio::AudioInfo::from_caps(&caps).ok());
        if let (Some(audio), Some(buffer)) = (audio, info.buffer_mut())
            && audio.rate() > 0
            && audio.bpf() > 0
        {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let stamped = left_at(pad, buffer);
            let start = next
                .filter(|next: &Duration| next.abs_diff(stamped) < SLACK)
                .unwrap_or(stamped);
            *next = Some(sing(buffer.make_mut(), &audio, source, start));
        }
        gst::PadProbeReturn::Ok
    });
}

/// The lower 32 bits of a time in milliseconds.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis() & 0xffff_ffff).unwrap_or_default()
}

fn paint(buffer: &mut gst::BufferRef, video: &gst_video::VideoInfo, mark: picture::Mark) {
    let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, video) else {
        return;
    };
    for plane in 0..3_u8 {
        let index = usize::from(plane);
        let size = |n: u32| usize::try_from(n).unwrap_or_default();
        // In I420, each component has its own plane.
        let component = u32::from(plane);
        let (width, height) = (
            size(frame.comp_width(component)),
            size(frame.comp_height(component)),
        );
        let stride = frame.plane_stride().get(index).copied();
        let stride = stride.and_then(|stride| usize::try_from(stride).ok());
        if let (Some(stride), Ok(data)) = (stride, frame.plane_data_mut(plane.into())) {
            picture::paint(mark, data, plane == 0, stride, (width, height));
        }
    }
}

/// Fills a buffer with the sound of this time; the time at which it ends.
fn sing(
    buffer: &mut gst::BufferRef,
    audio: &gst_audio::AudioInfo,
    source: u8,
    start: Duration,
) -> Duration {
    // Converters replace what is marked as silence by silence.
    buffer.unset_flags(gst::BufferFlags::GAP);
    let Ok(mut map) = buffer.map_writable() else {
        return start;
    };
    let rate = u64::from(audio.rate());
    let frame = usize::try_from(audio.bpf()).unwrap_or(usize::MAX);
    let mut time = start;
    for (at, samples) in (1_u64..).zip(map.chunks_exact_mut(frame)) {
        let value = to_i16(sound::sample(source, time)).to_le_bytes();
        for sample in samples.chunks_exact_mut(2) {
            sample.copy_from_slice(&value);
        }
        time = start + Duration::from_nanos(at * 1_000_000_000 / rate);
    }
    time
}

/// When a buffer's first sample left its source, by its timestamp; now, if it has none.
fn left_at(pad: &gst::Pad, buffer: &gst::BufferRef) -> Duration {
    let late = || {
        let element = pad.parent_element()?;
        let segment = pad.sticky_event::<gst::event::Segment>(0)?;
        let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
        let stamped = segment.to_running_time(buffer.pts()?)?;
        let running = element.clock()?.time().checked_sub(element.base_time()?)?;
        Some(
            running
                .nseconds()
                .wrapping_sub(stamped.nseconds())
                .cast_signed(),
        )
    };
    let (now, late) = (now(), late().unwrap_or_default());
    let apart = Duration::from_nanos(late.unsigned_abs());
    if late < 0 {
        now + apart
    } else {
        now.saturating_sub(apart)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float's conversion to an integer saturates"
)]
fn to_i16(sample: f64) -> i16 {
    (sample * f64::from(i16::MAX)) as i16
}

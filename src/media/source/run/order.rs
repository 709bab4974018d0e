//! Finds pictures that are out of order (B-frames) in media that comes encoded.
//!
//! RTP sends pictures in the order in which they are decoded, WebRTC's receivers show them in that order,
//! and every one of them would jump back and forth without any error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{Format, LOOK, Output};
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::guard::{self, Guard};

/// How many pictures are looked at: B-frames come with every second or third one.
const PICTURES: u32 = 30;
/// How long a source may take for them. A slow one is taken as it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// A picture is at most so much earlier than the one before it; a file that begins again is more.
const JUMP: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// Plays a source for a moment if its pictures may be out of order. Blocks.
pub(super) fn check(
    pipeline: &Guard,
    bus: &gst::Bus,
    sinks: &[(Kind, gst_app::AppSink)],
    outputs: &[Output],
) -> Result<(), MediaError> {
    let h264 = Format::Encoded(Codec::H264);
    if !outputs.iter().any(|output| output.format == h264) {
        return Ok(());
    }
    let sink = sinks.iter().find(|(kind, _)| *kind == Kind::Video);
    let pad = sink.and_then(|(_, sink)| sink.static_pad("sink"));
    let Some(pad) = pad.filter(may_have_b_frames) else {
        return Ok(());
    };
    let (seen, back) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    watch(&pad, seen.clone(), back.clone());
    for (_, sink) in sinks {
        sink.set_property("sync", false);
        sink.set_max_buffers(1);
        sink.set_drop(true);
    }
    pipeline.set_state(gst::State::Playing)?;
    let start = Instant::now();
    while seen.load(Ordering::SeqCst) < PICTURES && start.elapsed() < PATIENCE {
        let ends = [gst::MessageType::Error, gst::MessageType::Eos];
        match bus.timed_pop_filtered(LOOK, &ends) {
            Some(message) if message.type_() == gst::MessageType::Error => {
                return Err(MediaError::Run(guard::describe(&message)));
            }
            Some(_) => break,
            None => {}
        }
    }
    match back.load(Ordering::SeqCst) {
        // One may be the source's clock.
        0 | 1 => Ok(()),
        _ => Err(MediaError::BFrames { codec: Codec::H264 }),
    }
}

/// The baseline profiles have none.
fn may_have_b_frames(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    let profile = caps
        .as_ref()
        .and_then(|caps| caps.structure(0)?.get::<String>("profile").ok());
    profile.is_none_or(|profile| !profile.ends_with("baseline"))
}

/// Counts pictures, and those that are earlier than the one before them.
fn watch(pad: &gst::Pad, seen: Arc<AtomicU32>, back: Arc<AtomicU32>) {
    let last = AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(time) = info.buffer().and_then(|buffer| buffer.pts()) {
            let before = last.swap(time.nseconds(), Ordering::SeqCst);
            let jump = before.saturating_sub(time.nseconds());
            if jump > 0 && jump < JUMP.nseconds() {
                back.fetch_add(1, Ordering::SeqCst);
            }
            seen.fetch_add(1, Ordering::SeqCst);
        }
        gst::PadProbeReturn::Ok
    });
}

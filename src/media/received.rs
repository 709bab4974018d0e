//! What becomes of media that the other side sends: counted, shown, or written to a file.
//!
//! Counting and recording take the frames as they were encoded; a display and the probe decode them.

mod count;
mod decode;
mod display;
mod record;
mod writer;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::MediaError;
use super::codec::{Codec, Kind};
use super::session::ReceivedTrack;

pub use count::{Counter, Counts, TrackCount};
pub(crate) use decode::decoded_samples;
pub use display::display;
pub use record::{Recorded, Recorder, Tap};
pub use writer::Container;

/// An encoded frame of a received track.
struct Frame {
    kind: Kind,
    codec: Codec,
    caps: gst::Caps,
    buffer: gst::Buffer,
    /// On the clock that all tracks share.
    time: gst::ClockTime,
    /// Whether it can be decoded without an earlier one.
    key: bool,
}

/// An element that takes a track's packets and hands over its encoded frames, on a GStreamer thread:
/// `take` must not wait. `None` if the codec can't be taken apart here; the track is drained then.
fn encoded_frames(
    track: &ReceivedTrack,
    take: impl Fn(Frame) + Send + Sync + 'static,
) -> Option<gst::Element> {
    let Some(codec) = track.codec else {
        tracing::warn!(
            kind = track.kind.name(),
            "a received track has an unknown codec and is left out"
        );
        return None;
    };
    match frame_bin(codec, take) {
        Ok(bin) => Some(bin.upcast()),
        Err(error) => {
            tracing::warn!(%error, codec = codec.name(), "a received track is left out");
            None
        }
    }
}

fn frame_bin(
    codec: Codec,
    take: impl Fn(Frame) + Send + Sync + 'static,
) -> Result<gst::Bin, MediaError> {
    let text = format!(
        "{} ! appsink name=out sync=false async=false",
        codec.unpack_text()
    );
    let bin = bin_with_input(&text)?;
    take_samples(&bin, move |sample| {
        if let Some(frame) = read(codec, &sample) {
            take(frame);
        }
    })?;
    Ok(bin)
}

/// Hands over what the bin's appsink `out` gets.
fn take_samples(
    bin: &gst::Bin,
    take: impl Fn(gst::Sample) + Send + Sync + 'static,
) -> Result<(), MediaError> {
    let out = bin
        .by_name("out")
        .and_then(|out| out.downcast::<gst_app::AppSink>().ok())
        .ok_or_else(|| MediaError::Build("no appsink".to_owned()))?;
    out.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                take(sample);
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    Ok(())
}

fn read(codec: Codec, sample: &gst::Sample) -> Option<Frame> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    Some(Frame {
        kind: codec.kind(),
        codec,
        caps: sample.caps_owned()?,
        time: segment.to_running_time(buffer.pts()?)?,
        key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        buffer,
    })
}

/// A bin of this gst-launch text whose element `in` takes what the bin's pad `sink` gets.
fn bin_with_input(text: &str) -> Result<gst::Bin, MediaError> {
    let build = |why: String| MediaError::Build(why);
    let bin =
        gst::parse::bin_from_description(text, false).map_err(|error| build(error.to_string()))?;
    // By hand: asked for by itself, the parser takes the pad of the element behind a decodebin.
    let pad = bin
        .by_name("in")
        .and_then(|input| input.static_pad("sink"))
        .ok_or_else(|| build("no input".to_owned()))?;
    let ghost = gst::GhostPad::builder_with_target(&pad)
        .map_err(|error| build(error.to_string()))?
        .name("sink")
        .build();
    bin.add_pad(&ghost)
        .map_err(|error| build(error.to_string()))?;
    Ok(bin)
}

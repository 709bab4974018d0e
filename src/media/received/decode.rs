//! Decodes what is received, for whoever looks at it.

use gst::prelude::*;
use gstreamer as gst;

use super::{bin_with_input, take_samples};
use crate::media::{Kind, MediaError, ReceivedTrack};

/// An element that takes a track's packets and hands over decoded pictures (8 bits, with the
/// brightness in the first plane) or sound (mono, `F32LE`) as soon as they are there, on a GStreamer
/// thread: `take` must not wait. As a player does, it shows nothing that isn't whole, and asks for
/// a whole picture instead; short losses of sound are concealed.
///
/// # Errors
/// If it can't be built.
pub(crate) fn decoded_samples(
    track: &ReceivedTrack,
    take: impl Fn(&gst::Sample) + Send + Sync + 'static,
) -> Result<gst::Element, MediaError> {
    let decode = match (track.kind, track.codec) {
        (Kind::Audio, Some(_)) => "rtpopusdepay name=in ! opusdec plc=true".to_owned(),
        (Kind::Video, Some(codec)) => format!("{} ! decodebin", codec.unpack_text()),
        (_, None) => "decodebin name=in".to_owned(),
    };
    let convert = match track.kind {
        // Passes through what is one of these.
        Kind::Video => {
            "videoconvert n-threads=1 \
             ! video/x-raw,format=(string){I420,NV12,YV12,NV21,Y42B,Y444}"
        }
        Kind::Audio => "audioconvert ! audio/x-raw,format=F32LE,layout=interleaved,channels=1",
    };
    let text = format!("{decode} ! {convert} ! appsink name=out sync=false async=false");
    let bin = bin_with_input(&text)?;
    take_samples(&bin, move |sample| take(&sample))?;
    Ok(bin.upcast())
}

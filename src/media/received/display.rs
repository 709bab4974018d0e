//! Shows pictures in a window and plays sound.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use super::bin_with_input;
use crate::media::{Kind, MediaError, Receive};

/// Shows every picture in a window of its own and plays every sound.
///
/// # Errors
/// If [`crate::media::init`] fails, or there is no display. Missing loudspeakers are no error.
pub fn display() -> Result<Receive, MediaError> {
    crate::media::init()?;
    // DirectFB's sink crashes where there is no display, and then the whole process.
    if let Some(factory) = gst::ElementFactory::find("dfbvideosink") {
        factory.set_rank(gst::Rank::NONE);
    }
    let sink = gst::ElementFactory::make("autovideosink")
        .build()
        .map_err(|error| MediaError::Build(error.to_string()))?;
    let ready = sink.set_state(gst::State::Ready).is_ok();
    // Without a display it takes a sink that throws everything away.
    let real = sink.downcast_ref::<gst::Bin>().is_some_and(|bin| {
        let chosen = bin.iterate_sinks().into_iter().flatten();
        chosen
            .filter_map(|sink| sink.factory())
            .any(|factory| factory.name() != "fakesink")
    });
    if sink.set_state(gst::State::Null).is_err() || !ready || !real {
        return Err(MediaError::NoDisplay);
    }
    Ok(Receive::Into(Arc::new(|track| {
        let text = match track.kind {
            Kind::Video => "decodebin name=in ! videoconvert ! autovideosink sync=false",
            Kind::Audio => "decodebin name=in ! audioconvert ! audioresample ! autoaudiosink",
        };
        match bin_with_input(text) {
            Ok(bin) => Some(bin.upcast()),
            Err(error) => {
                tracing::warn!(%error, "received media can't be shown");
                None
            }
        }
    })))
}

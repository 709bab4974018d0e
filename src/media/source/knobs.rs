//! What can be turned at a running encoder of pictures: bit rate, frame rate, size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::media::congestion::{Aim, FrameGate, Load, Picture};
use crate::media::encoder::Encoder;

/// The name of the element that says how large the picture is to be.
pub(super) const SIZE_NAME: &str = "size";
/// The gst-launch text that stands before the encoder.
pub(super) const SIZE_TEXT: &str =
    "videoscale n-threads=1 add-borders=false ! capsfilter name=size";
/// Frames per second of a source that doesn't say.
const FRAMES: f64 = 30.0;
/// A bit rate that differs by less than this part isn't worth telling the encoder.
const WORTH: f64 = 0.02;
/// One that differs by more at once is something to get used to.
const OTHER: f64 = 0.15;

/// See the module. Shared by the source's worker and the encoder's threads.
#[derive(Debug)]
pub(super) struct Knobs {
    encoder: Encoder,
    element: gst::Element,
    size: gst::Element,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    gate: FrameGate,
    picture: Option<Picture>,
    aim: Option<Aim>,
}

impl Knobs {
    /// For an encoder between the pad that raw pictures come from and the one that takes encoded ones.
    pub(super) fn new(
        encoder: Encoder,
        element: gst::Element,
        size: gst::Element,
        (from, to): &(gst::Pad, gst::Pad),
    ) -> Arc<Self> {
        let knobs = Arc::new(Self {
            encoder,
            element,
            size,
            inner: Mutex::default(),
        });
        // Weak: the knobs hold elements that hold the pads.
        let weak = Arc::downgrade(&knobs);
        let what = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        from.add_probe(what, move |_, info| match (weak.upgrade(), &info.data) {
            (Some(knobs), Some(gst::PadProbeData::Event(event))) => {
                knobs.look(event);
                gst::PadProbeReturn::Ok
            }
            (Some(knobs), Some(gst::PadProbeData::Buffer(buffer))) if !knobs.passes(buffer) => {
                gst::PadProbeReturn::Drop
            }
            _ => gst::PadProbeReturn::Ok,
        });
        let weak = Arc::downgrade(&knobs);
        to.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(knobs), Some(buffer)) = (weak.upgrade(), info.buffer()) {
                let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                knobs.lock().gate.made(buffer.size(), is_key);
            }
            gst::PadProbeReturn::Ok
        });
        knobs
    }

    /// The source's picture, once it is known.
    pub(super) fn picture(&self) -> Option<Picture> {
        self.lock().picture
    }

    /// Aims at something else from now on. Can wait for a frame that is being encoded.
    pub(super) fn aim(&self, aim: Aim) {
        let (resized, picture) = {
            let mut inner = self.lock();
            let before = inner.aim;
            let differs = |part: f64| {
                before.is_none_or(|it| {
                    let change = f64::from(it.bitrate.abs_diff(aim.bitrate));
                    change > f64::from(it.bitrate) * part
                })
            };
            let resized = before.map(|it| it.size) != Some(aim.size);
            let slower = before.map(|it| it.rate) != Some(aim.rate);
            if let (false, false, false, Some(old)) = (resized, slower, differs(WORTH), before) {
                let room = aim.room;
                inner.aim = Some(Aim { room, ..old });
                return;
            }
            inner.aim = Some(aim);
            if resized || differs(OTHER) {
                inner.gate.settle();
            }
            (resized, inner.picture)
        };
        let nominal = picture.map_or(aim.rate, |picture| picture.rate);
        // An encoder that counts frames instead of reading their times takes left out ones for bits
        // that it must not use.
        let factor = match counts_frames(&self.element) {
            true => nominal / aim.rate.max(1.0),
            false => 1.0,
        };
        let told = f64::from(aim.bitrate) * factor;
        self.encoder.set_bitrate(&self.element, told as u32);
        if resized {
            let original = picture.is_none_or(|it| (it.width, it.height) == aim.size);
            self.size.set_property("caps", caps(aim.size, original));
        }
        tracing::trace!(?aim, "an encoder aims at something else");
    }

    /// How the encoder got on since the last time.
    pub(super) fn load(&self) -> Load {
        let mut inner = self.lock();
        match inner.aim {
            Some(aim) => inner.gate.judge(aim.rate, aim.bitrate),
            None => Load::Unknown,
        }
    }

    fn look(&self, event: &gst::Event) {
        let gst::EventView::Caps(caps) = event.view() else {
            return;
        };
        let Ok(info) = gst_video::VideoInfo::from_caps(caps.caps()) else {
            return;
        };
        let (frames, seconds) = (info.fps().numer(), info.fps().denom());
        let rate = f64::from(frames) / f64::from(seconds.max(1));
        self.lock().picture = Some(Picture {
            width: info.width(),
            height: info.height(),
            rate: if rate >= 1.0 { rate } else { FRAMES },
        });
    }

    fn passes(&self, buffer: &gst::BufferRef) -> bool {
        let mut inner = self.lock();
        let (Some(aim), Some(time)) = (inner.aim, buffer.pts()) else {
            return true;
        };
        // A source may be faster than it says; only what was meant to be left out is.
        let nominal = inner.picture.map_or(FRAMES, |picture| picture.rate);
        let rate = match aim.rate < nominal {
            true => aim.rate,
            false => f64::MAX,
        };
        let bits = (aim.bitrate, aim.room);
        inner.gate.passes(Duration::from(time), rate, bits)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the picture must be before the encoder.
fn caps((width, height): (u32, u32), original: bool) -> gst::Caps {
    let number = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
    match original {
        true => gst::Caps::new_any(),
        false => gst::Caps::builder("video/x-raw")
            .field("width", number(width))
            .field("height", number(height))
            .build(),
    }
}

/// Whether an encoder spreads its bits over frames as the caps count them. Those of libvpx and libaom
/// read the frames' times.
fn counts_frames(element: &gst::Element) -> bool {
    let factory = element.factory().map(|factory| factory.name());
    !factory.is_some_and(|name| ["vp8enc", "vp9enc", "av1enc"].contains(&name.as_str()))
}

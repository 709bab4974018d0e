//! Encoders: which there are for each codec, and how each is told what to do.

mod table;

use gst::glib;
use gst::prelude::*;
use gstreamer as gst;

use super::codec::{Codec, Kind};
use table::{ROWS, Row};

/// What a video encoder aims at at first, in bits per second.
pub(super) const VIDEO_BITRATE: u32 = 2_000_000;
/// What an audio encoder aims at, in bits per second.
const AUDIO_BITRATE: u32 = 64_000;
/// Frames from one key frame to the next at most. Long: who joins or lost something asks for one.
const KEY_FRAME_DISTANCE: u32 = 900;
/// Pictures with at least this many pixels get more than one encoder thread. A second thread costs
/// four times the CPU time on a small busy machine (gstreamer-notes.md, section 2).
const THREADED_PIXELS: u32 = 1280 * 720;
/// The name of the element that encodes, in the text of [`Encoder::launch_text`].
pub(super) const ELEMENT_NAME: &str = "enc";

/// What does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderKind {
    /// A graphics card or a system on a chip.
    Hardware,
    /// The processor.
    Software,
}

/// How an element is told its bit rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rate {
    /// By this property, in bits per second.
    Bits(&'static str),
    /// By this property, in units of 1000 bits per second.
    Kilobits(&'static str),
    /// By a control of the V4L2 device, in bits per second.
    Control,
}

/// One way to encode one codec on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoder(&'static Row);

/// The encoders of a codec that are installed, the best one first.
pub(super) fn installed(codec: Codec) -> impl Iterator<Item = Encoder> {
    let rows = ROWS.iter().filter(move |row| row.codec == codec);
    rows.map(Encoder).filter(|encoder| encoder.is_installed())
}

impl Encoder {
    /// The element's name.
    pub(super) const fn element(self) -> &'static str {
        self.0.element
    }

    /// What does the work.
    pub(super) const fn kind(self) -> EncoderKind {
        self.0.kind
    }

    /// The gst-launch text from raw media to encoded media that fits its payloader, for a picture of
    /// this many pixels. The element that encodes has the name [`ELEMENT_NAME`].
    ///
    /// Tuned for latency: no frame waits for a later one, constant bit rate, key frames on demand.
    pub(super) fn launch_text(self, pixels: u32) -> String {
        let row = self.0;
        let bits = match row.codec.kind() {
            Kind::Video => VIDEO_BITRATE,
            Kind::Audio => AUDIO_BITRATE,
        };
        let values = [
            ("{bits}", bits),
            ("{kbits}", bits / 1000),
            ("{threads}", threads(pixels)),
            ("{distance}", KEY_FRAME_DISTANCE),
        ];
        let element = gst::ElementFactory::make(row.element).build().ok();
        let settings = row.settings.iter().flat_map(|some| some.split(' '));
        let mut text = format!("{} ! {} name={ELEMENT_NAME}", row.before, row.element);
        for setting in settings {
            let setting = values
                .iter()
                .fold(setting.to_owned(), |text, (key, value)| {
                    text.replace(key, &value.to_string())
                });
            if element.as_ref().is_some_and(|it| knows(it, &setting)) {
                text.push(' ');
                text.push_str(&setting);
            }
        }
        if let Some(after) = row.after {
            text.push_str(" ! ");
            text.push_str(after);
        }
        text
    }

    /// Aims at another bit rate from now on; `element` is that named [`ELEMENT_NAME`] of a pipeline
    /// made from [`Self::launch_text`], playing or not.
    pub(super) fn set_bitrate(self, element: &gst::Element, bits_per_second: u32) {
        let (property, value) = match self.0.rate {
            Rate::Bits(property) => (property, bits_per_second.to_string()),
            Rate::Kilobits(property) => (property, (bits_per_second / 1000).max(1).to_string()),
            Rate::Control => (
                "extra-controls",
                format!("controls,video_bitrate={bits_per_second}"),
            ),
        };
        if element.find_property(property).is_some() {
            element.set_property_from_str(property, &value);
        }
    }

    fn is_installed(self) -> bool {
        gst::ElementFactory::find(self.0.element).is_some()
    }
}

/// Whether an element has the property of a `property=value`, and, if it is an enumeration, the value.
fn knows(element: &gst::Element, setting: &str) -> bool {
    let Some((name, value)) = setting.split_once('=') else {
        return false;
    };
    element.find_property(name).is_some_and(|property| {
        glib::EnumClass::with_type(property.value_type())
            .is_none_or(|values| values.value_by_nick(value).is_some())
    })
}

fn threads(pixels: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match pixels < THREADED_PIXELS {
        true => 1,
        false => u32::try_from(cores / 2).unwrap_or(1).clamp(1, 4),
    }
}

#[cfg(test)]
mod tests;

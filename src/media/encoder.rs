//! Encoders: which there are for each codec, how each is told what to do, and which of them work here.
//!
//! An element that exists needn't work: the plugin is installed, but the device is absent, busy, or
//! its driver broken. So each one is tried with a few pictures before it is used ([`trial`]), once in
//! a process, and one that fails later is replaced by the next ([`choice`]).

mod choice;
mod table;
mod trial;

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use serde::Deserialize;

use super::codec::{Codec, Kind};
use super::packages;
use table::{ROWS, Row};

pub(super) use choice::Encoders;
pub use choice::{EncoderChoice, EncoderError};
pub use trial::{TRIAL_ARGUMENT, host as host_trial, try_in_children};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoder {
    /// One that we know.
    Known(&'static Row),
    /// One that a pipeline file names.
    Written(Arc<Written>),
}

/// An encoder as it stands in a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// gst-launch text from raw to encoded pictures; one element has the name [`ELEMENT_NAME`].
    pub(super) launch: String,
    /// The property of that element that says the bit rate; without it the rate stays what it is.
    bitrate_property: Option<String>,
    #[serde(default)]
    bitrate_unit: Unit,
}

impl Written {
    /// Whether it can be used; why not.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = format!("name={ELEMENT_NAME}");
        match self.launch.split_whitespace().any(|word| word == named) {
            true => Ok(()),
            false => Err(format!("the element that encodes needs {named}")),
        }
    }
}

/// In what a property counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Unit {
    #[default]
    #[serde(rename = "bps")]
    Bits,
    #[serde(rename = "kbps")]
    Kilobits,
}

/// Whether an encoder works here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderState {
    /// It encoded some pictures.
    Works,
    /// It is installed, and wasn't needed yet.
    Untried,
    /// It is installed, but doesn't encode.
    Failed {
        /// Why.
        why: String,
    },
    /// It isn't installed.
    Missing {
        /// The package of this system that has it, if we know one.
        package: Option<&'static str>,
    },
}

/// An encoder that this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderInfo {
    /// What it makes.
    pub codec: Codec,
    /// The element's name.
    pub element: &'static str,
    /// What does the work.
    pub kind: EncoderKind,
    /// Whether it works here.
    pub state: EncoderState,
}

/// Every encoder that this program knows, within each codec the preferred one first, with what was
/// found out about it until now. Call [`super::init`] before.
#[must_use]
pub fn encoders() -> Vec<EncoderInfo> {
    info(trial::known)
}

/// The same, after each one that is installed was tried. Takes as long as the trials: some hundred
/// milliseconds for software, some seconds at most for hardware that doesn't answer.
#[must_use]
pub fn try_encoders() -> Vec<EncoderInfo> {
    info(|encoder| Some(trial::outcome(encoder)))
}

fn info(outcome: impl Fn(&Encoder) -> Option<Result<(), String>>) -> Vec<EncoderInfo> {
    let state = |row: &'static Row| {
        if !is_installed(row) {
            return EncoderState::Missing {
                package: packages::System::here().package(row.element),
            };
        }
        match outcome(&Encoder::Known(row)) {
            Some(Ok(())) => EncoderState::Works,
            Some(Err(why)) => EncoderState::Failed { why },
            None => EncoderState::Untried,
        }
    };
    let info = |row: &'static Row| EncoderInfo {
        codec: row.codec,
        element: row.element,
        kind: row.kind,
        state: state(row),
    };
    ROWS.iter().map(info).collect()
}

/// The encoders of a codec that are installed, the best one first.
pub(super) fn installed(codec: Codec) -> impl Iterator<Item = Encoder> {
    let rows = ROWS.iter().filter(move |row| row.codec == codec);
    rows.filter(|row| is_installed(row)).map(Encoder::Known)
}

fn is_installed(row: &Row) -> bool {
    gst::ElementFactory::find(row.element).is_some()
}

impl Encoder {
    /// What to call it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known(row) => row.element,
            Self::Written(_) => "the pipeline file's own encoder",
        }
    }

    /// What does the work; unknown of what a pipeline file names.
    pub(super) fn kind(&self) -> Option<EncoderKind> {
        match self {
            Self::Known(row) => Some(row.kind),
            Self::Written(_) => None,
        }
    }

    /// Whether it encodes pictures, or sound.
    pub(super) fn is_for(&self, kind: Kind) -> bool {
        match self {
            Self::Known(row) => row.codec.kind() == kind,
            Self::Written(_) => kind == Kind::Video,
        }
    }

    /// Whether it is software that is known to have ended whole processes (see [`table`], `AOM`).
    pub(super) fn may_abort(&self) -> bool {
        matches!(self, Self::Known(row) if row.codec == Codec::Av1)
    }

    /// The gst-launch text from raw media to encoded media that fits its payloader, for a picture of
    /// this many pixels. The element that encodes has the name [`ELEMENT_NAME`].
    ///
    /// Tuned for latency: no frame waits for a later one, constant bit rate, key frames on demand.
    pub(super) fn launch_text(&self, pixels: u32) -> String {
        match self {
            Self::Known(row) => known_text(row, pixels),
            Self::Written(written) => written.launch.clone(),
        }
    }

    /// Aims at another bit rate from now on; `element` is that named [`ELEMENT_NAME`] of a pipeline
    /// made from [`Self::launch_text`], playing or not.
    pub(super) fn set_bitrate(&self, element: &gst::Element, bits_per_second: u32) {
        let kilobits = (bits_per_second / 1000).max(1);
        let (property, value) = match self {
            Self::Known(row) => match row.rate {
                Rate::Bits(property) => (property, bits_per_second.to_string()),
                Rate::Kilobits(property) => (property, kilobits.to_string()),
                Rate::Control => (
                    "extra-controls",
                    format!("controls,video_bitrate={bits_per_second}"),
                ),
            },
            Self::Written(written) => match (&written.bitrate_property, written.bitrate_unit) {
                (Some(property), Unit::Bits) => (property.as_str(), bits_per_second.to_string()),
                (Some(property), Unit::Kilobits) => (property.as_str(), kilobits.to_string()),
                (None, _) => return,
            },
        };
        if element.find_property(property).is_some() {
            element.set_property_from_str(property, &value);
        }
    }

    /// What must be done once for an element of a stage, before it plays.
    pub(super) fn prepare(&self, element: &gst::Element) {
        // Jetson's encoders don't hear the usual request for a key frame.
        let deaf = element
            .factory()
            .is_some_and(|factory| factory.name().starts_with("nvv4l2"));
        if let (true, Some(pad)) = (deaf, element.static_pad("src")) {
            let element = element.downgrade();
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                let asks = matches!(&info.data, Some(gst::PadProbeData::Event(event))
                    if gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
                if let (true, Some(element)) = (asks, element.upgrade()) {
                    element.emit_by_name::<()>("force-IDR", &[]);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }
}

fn known_text(row: &Row, pixels: u32) -> String {
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

//! Which of GStreamer's elements are here: by making each of them, because what the registry says of a plugin
//! and its version needn't be what works (gstreamer-notes.md, section 5).

use gst::prelude::*;
use gstreamer as gst;

use super::{CORE_ELEMENTS, MediaError, init};

/// What the rest is for, and the elements it takes.
const PARTS: &[(&str, &[&str])] = &[
    (
        "video from pipeline files",
        &["videoconvert", "videorate", "videoscale", "videotestsrc"],
    ),
    (
        "sound",
        &[
            "audioconvert",
            "audioresample",
            "audiotestsrc",
            "opusdec",
            "opusenc",
            "rtpopusdepay",
            "rtpopuspay",
        ],
    ),
    ("VP8", &["rtpvp8depay", "rtpvp8pay", "vp8dec"]),
    (
        "H264",
        &["avdec_h264", "h264parse", "rtph264depay", "rtph264pay"],
    ),
    ("VP9", &["rtpvp9depay", "rtpvp9pay", "vp9dec"]),
    ("AV1", &["av1parse", "rtpav1depay", "rtpav1pay"]),
    ("following the network's capacity", &["rtpgccbwe"]),
    ("cameras", &["v4l2src"]),
    ("screens", &["ximagesrc"]),
    ("network cameras", &["rtspsrc"]),
    ("files", &["matroskademux", "qtdemux", "uridecodebin"]),
    ("recordings", &["matroskamux", "mp4mux", "webmmux"]),
];

/// What this machine's GStreamer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// GStreamer's version.
    pub version: String,
    /// Every element that this program uses by name, encoders apart ([`super::try_encoders`]).
    pub elements: Vec<Element>,
}

/// An element that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: &'static str,
    /// What for.
    pub need: Need,
    /// Whether it is here.
    pub state: ElementState,
}

/// What an element is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing goes without it.
    Core,
    /// One thing doesn't go without it.
    Part(&'static str),
}

/// Whether an element is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementState {
    /// It can be made.
    Works,
    /// Its plugin is here, but it can't be made.
    Broken {
        /// The plugin's file, if it has one.
        file: Option<String>,
    },
    /// No plugin has it.
    Missing,
}

/// Looks for every element. Takes as long as [`init`].
///
/// # Errors
/// If GStreamer itself doesn't start.
pub fn inventory() -> Result<Inventory, MediaError> {
    match init() {
        // What is missing is found again, one by one.
        Ok(()) | Err(MediaError::MissingElements(_)) => {}
        Err(error) => return Err(error),
    }
    let core = CORE_ELEMENTS.iter().map(|&name| (name, Need::Core));
    let parts = PARTS
        .iter()
        .flat_map(|(what, names)| names.iter().map(|&name| (name, Need::Part(what))));
    let element = |(name, need)| Element {
        name,
        need,
        state: state(name),
    };
    let (major, minor, micro, _) = gst::version();
    Ok(Inventory {
        version: format!("{major}.{minor}.{micro}"),
        elements: core.chain(parts).map(element).collect(),
    })
}

fn state(name: &str) -> ElementState {
    let Some(factory) = gst::ElementFactory::find(name) else {
        return ElementState::Missing;
    };
    match factory.create().build() {
        Ok(_) => ElementState::Works,
        Err(_) => ElementState::Broken {
            file: factory
                .plugin()
                .and_then(|plugin| plugin.filename())
                .map(|path| path.display().to_string()),
        },
    }
}

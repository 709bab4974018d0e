//! GStreamer: pipeline files, encoders, fan-out, `webrtcbin` sessions, statistics.
//!
//! Media flows through three layers of separate pipelines, joined by `appsink` → `appsrc`:
//!
//! ```text
//! pipeline file ──► encoder, one per codec ──► session, one per viewer (payloader, webrtcbin)
//!   (Source)              (inside Source)            (Session)
//! ```
//!
//! A source and its encoders run only while someone watches. Each layer has its own bus, state and
//! errors; a viewer that is stuck loses its own frames and nobody else's. Encoders and sessions
//! share one clock and one base time.
//!
//! GStreamer calls back on its own threads. Such a callback only puts an event on a bounded queue
//! or attaches what must be attached at once; it never waits, and never changes a state.
//!
//! Written for GStreamer 1.22; the work-arounds are explained where they stand.

mod arenas;
pub(crate) mod code;
mod codec;
mod congestion;
mod encoder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod inventory;
mod metrics;
pub(crate) mod overlay;
mod packages;
pub mod pipeline;
mod received;
mod session;
mod source;
mod spare;

use std::net::IpAddr;
use std::sync::OnceLock;

use gst::prelude::*;
use gstreamer as gst;

use crate::net::PortRange;

pub use codec::{Codec, Kind};
pub use congestion::Rung;
pub use encoder::{
    EncoderChoice, EncoderError, EncoderInfo, EncoderKind, EncoderState, TRIAL_ARGUMENT, encoders,
    host_trial, try_encoders, try_in_children,
};
pub use inventory::{Element, ElementState, Inventory, Need, inventory};
pub use metrics::Metrics;
pub use pipeline::{PipelineError, PipelineFile};
pub(crate) use received::decoded_samples;
pub use received::{Container, Counter, Counts, Recorded, Recorder, Tap, TrackCount, display};
pub use session::{
    ChannelError, FrameAge, InboundStats, MakeReceiver, Offered, OfferedLine, OutboundStats,
    Phases, RECEIVE_LATENCY, Reason, Receive, ReceivedTrack, Session, SessionConfig, SessionEvent,
    SessionEvents, Stats, StreamConfig, Verdict,
};
pub use source::{Activity, Source, SourceOptions};

/// What a session can't do without. Missing codecs only disable themselves.
const CORE_ELEMENTS: &[&str] = &[
    "appsink",
    "appsrc",
    "capsfilter",
    "dtlsdec",
    "dtlssrtpdec",
    "dtlssrtpenc",
    "fakesink",
    "nicesink",
    "nicesrc",
    "rtpbin",
    "sctpdec",
    "sctpenc",
    "srtpdec",
    "srtpenc",
    "webrtcbin",
];

/// Why media failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// GStreamer itself doesn't start.
    #[error("GStreamer doesn't start: {0}")]
    Init(String),
    /// Elements that every session needs are missing.
    #[error(
        "GStreamer lacks {}{}; `switchboard doctor` says more",
        .0.join(", "),
        install_command(.0).map_or(String::new(), |command| format!("; install them: {command}"))
    )]
    MissingElements(Vec<String>),
    /// There is nothing to encode with.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The pipeline file is at fault.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pipeline of our own making doesn't fit together.
    #[error("a media pipeline can't be built: {0}")]
    Build(String),
    /// A pipeline doesn't start, or stopped.
    #[error("a media pipeline failed: {0}")]
    Run(String),
    /// A pipeline file's output gave no media in time.
    #[error("the pipeline gave no media within {seconds} s; is its source connected and free?")]
    NoMedia {
        /// How long was waited.
        seconds: u64,
    },
    /// A source doesn't play, and its pipeline file says what to look at.
    #[error("{error}; check: {hint}")]
    Hinted {
        /// What happened.
        error: Box<Self>,
        /// What to look at.
        hint: String,
    },
    /// An output carries something that can't be sent.
    #[error(
        "the output `{output}` carries {caps}, which can't be sent: use video/x-raw, audio/x-raw, VP8, VP9, H.264, AV1 or Opus"
    )]
    UnsupportedMedia {
        /// Which output.
        output: &'static str,
        /// What it carries.
        caps: String,
    },
    /// An overlay needs another format.
    #[error(
        "overlays need `video/x-raw,format=I420` before the appsink (marks in sound need \
         `audio/x-raw,format=S16LE,layout=interleaved`), but the pipeline gives {0}"
    )]
    OverlayFormat(String),
    /// A stream was asked for that its source doesn't have, or no codec for it is installed.
    #[error("the source has no {kind} in any of {wanted}", kind = .kind.name(), wanted = codec::names(.wanted))]
    NoSuchStream {
        /// Video or audio.
        kind: Kind,
        /// What was wanted.
        wanted: Vec<Codec>,
    },
    /// The two sides have no codec in common.
    #[error("no common {kind} codec: we can send {ours}, the other side takes {theirs}", kind = .kind.name(), ours = codec::names(.ours), theirs = .theirs.join(", "))]
    NoCommonCodec {
        /// Video or audio.
        kind: Kind,
        /// What we can send.
        ours: Vec<Codec>,
        /// What the other side offers, by name.
        theirs: Vec<String>,
    },
    /// The other side sends in no codec that we take.
    #[error("no common {kind} codec: the other side sends {theirs}, we take {ours}", kind = .kind.name(), ours = codec::names(.ours), theirs = .theirs.join(", "))]
    NotTaken {
        /// Video or audio.
        kind: Kind,
        /// What we take.
        ours: Vec<Codec>,
        /// What the other side offers, by name.
        theirs: Vec<String>,
    },
    /// The other side has our codec, but not as we send it.
    #[error(
        "no common {kind} format: the other side takes {codec} only as {theirs}; we send {ours}",
        kind = .codec.kind().name(), codec = .codec.name(), theirs = .theirs.join(" or "), ours = .codec.form()
    )]
    NoCommonFormat {
        /// The codec.
        codec: Codec,
        /// The parameters of the other side's formats of it.
        theirs: Vec<String>,
    },
    /// The other side's answer takes nothing of what we offer.
    #[error(
        "the other side refuses our {kind}: we offered {offered}, it takes {theirs}{more}",
        kind = .kind.name(), offered = .offered.name(),
        theirs = if .theirs.is_empty() { "nothing".to_owned() } else { .theirs.join(", ") },
        more = codec::alternatives(.possible),
    )]
    Refused {
        /// Video or audio.
        kind: Kind,
        /// What we offered.
        offered: Codec,
        /// What the answer names instead.
        theirs: Vec<String>,
        /// In what else we could send it.
        possible: Vec<Codec>,
    },
    /// Pictures that come encoded are out of order.
    #[error(
        "the source's {} has B-frames, which can't be sent: turn them off where it is encoded (profile \
         baseline, bf=0), or decode it in the pipeline file: `… ! decodebin ! videoconvert ! \
         video/x-raw,format=I420 ! appsink name=video`",
        .codec.name()
    )]
    BFrames {
        /// The codec.
        codec: Codec,
    },
    /// None of this machine's addresses can be used.
    #[error("media has no way: {0}")]
    Address(String),
    /// The range of ports is used up.
    #[error(
        "no UDP port from {ports} is free on {ip}: each session takes one; give --ports a wider range, \
         and let it through the firewall"
    )]
    NoFreePort {
        /// On which address.
        ip: IpAddr,
        /// Of which range.
        ports: PortRange,
    },
    /// One more session could leave this process without descriptors.
    #[error(
        "too few files may be opened for one more session: {open} of {limit} are open; allow more, with \
         `ulimit -n 4096` or LimitNOFILE= of the systemd unit"
    )]
    Descriptors {
        /// How many are.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// One more session could leave this process without threads.
    #[error(
        "too few threads are left for one more session ({0}); allow more, with `ulimit -u`, TasksMax= of the \
         systemd unit, or --pids-limit of the container"
    )]
    Threads(String),
    /// A session description that can't be used.
    #[error("the session description can't be used: {0}")]
    Description(String),
    /// A step of the negotiation that doesn't fit its state.
    #[error("{0}")]
    OutOfOrder(&'static str),
    /// `webrtcbin` refused or didn't answer.
    #[error("{step} failed: {why}")]
    Negotiation {
        /// Which step.
        step: &'static str,
        /// What webrtcbin said.
        why: String,
    },
    /// There is nothing to show pictures on.
    #[error(
        "no display can be opened; run it where DISPLAY or WAYLAND_DISPLAY is set, or receive into a file"
    )]
    NoDisplay,
    /// It is closed already.
    #[error("it is closed")]
    Closed,
}

impl MediaError {
    /// Adds what a pipeline file says to look at, if it says something and didn't cause this itself.
    fn with_hint(self, hint: Option<&str>) -> Self {
        match (self, hint) {
            (error @ (Self::Run(_) | Self::NoMedia { .. }), Some(hint)) => Self::Hinted {
                error: Box::new(error),
                hint: hint.to_owned(),
            },
            (error, _) => error,
        }
    }
}

/// Prepares GStreamer for this process; further calls return the first one's result.
///
/// Slow (up to about a second): it loads the plugins and lets OpenSSL make the DTLS certificate that
/// all sessions share, so that the first viewer needn't wait for it (gstreamer-notes.md, section 3).
/// Call it before other threads start and away from anything that waits.
///
/// # Errors
/// If GStreamer doesn't start, or lacks an element that every session needs.
pub fn init() -> Result<(), MediaError> {
    static ONCE: OnceLock<Result<(), MediaError>> = OnceLock::new();
    ONCE.get_or_init(|| {
        arenas::limit();
        spare::raise();
        start()?;
        guard::base_time();
        let missing: Vec<_> = CORE_ELEMENTS
            .iter()
            .filter(|name| gst::ElementFactory::make(name).build().is_err())
            .map(|&name| name.to_owned())
            .collect();
        if !missing.is_empty() {
            return Err(MediaError::MissingElements(missing));
        }
        if !session::feedback::is_possible() {
            tracing::warn!(
                "GStreamer lacks {}: bit rates stay as they are, and a bad connection gets stuttering pictures; \
                 install it: sudo apt install gstreamer1.0-plugins-good",
                session::feedback::ELEMENT
            );
        }
        codec::warm();
        warm_session();
        Ok(())
    })
    .clone()
}

/// The command that installs elements on this system; `None` if we know no package of them.
#[must_use]
pub fn install_command<T: AsRef<str>>(elements: &[T]) -> Option<String> {
    packages::System::here().install_command(elements)
}

/// Lets GStreamer know its elements, and those that are part of this program.
fn start() -> Result<(), MediaError> {
    gst::init().map_err(|error| MediaError::Init(error.to_string()))?;
    #[cfg(feature = "rtp-plugin")]
    gstrsrtp::plugin_register_static().map_err(|error| MediaError::Init(error.to_string()))?;
    Ok(())
}

/// Runs one webrtcbin up and down, so that everything it loads is loaded.
fn warm_session() {
    if let Ok(webrtc) = gst::ElementFactory::make("webrtcbin").build() {
        let ready = webrtc.set_state(gst::State::Ready).is_ok();
        if webrtc.set_state(gst::State::Null).is_err() || !ready {
            tracing::debug!("webrtcbin could not be warmed up");
        }
    }
}

//! What the other side sends: drained and counted, or handed to a pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::WebRTCRTPTransceiver;

use super::events::{Emitter, SessionEvent};
use super::witness::Witness;
use crate::media::{Codec, Kind, MediaError};

/// What becomes of received media.
#[derive(Clone, Default)]
pub enum Receive {
    /// It is counted and thrown away.
    #[default]
    Drain,
    /// This makes an element with a sink pad named `sink` for `application/x-rtp`, or `None` to
    /// drain the track. Called on a GStreamer thread: it must not wait.
    Into(MakeReceiver),
}

/// See [`Receive::Into`].
pub type MakeReceiver = Arc<dyn Fn(&ReceivedTrack) -> Option<gst::Element> + Send + Sync>;

impl std::fmt::Debug for Receive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Drain => "Drain",
            Self::Into(_) => "Into(…)",
        })
    }
}

/// A track that the other side sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedTrack {
    /// Video or audio.
    pub kind: Kind,
    /// The codec, if it is one of ours.
    pub codec: Option<Codec>,
    /// The `a=mid` of its media section, if known.
    pub mid: Option<String>,
    /// The id of its media stream, if it says one.
    pub stream_id: Option<String>,
}

/// What was received so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Whether a whole picture came, and any sound.
    framed: [AtomicBool; 2],
}

impl Counters {
    /// Counts a packet; the first one, and the first that completes a frame, are noted.
    fn count(&self, kind: Kind, packet: &gst::BufferRef, witness: &Witness) {
        let is_first = self.packets.fetch_add(1, Ordering::Relaxed) == 0;
        self.bytes
            .fetch_add(packet.size() as u64, Ordering::Relaxed);
        let framed = &self.framed[usize::from(kind == Kind::Audio)];
        if is_first || !framed.load(Ordering::Relaxed) {
            let ends_frame = kind == Kind::Audio || has_marker(packet);
            framed.fetch_or(ends_frame, Ordering::Relaxed);
            witness.received(kind, ends_frame);
        }
    }
}

/// Whether a packet is its picture's last one (RFC 3550 section 5.1).
fn has_marker(packet: &gst::BufferRef) -> bool {
    let mut start = [0; 2];
    packet.copy_to_slice(0, &mut start).is_ok() && start[1] & 0x80 != 0
}

/// Takes every track that appears.
pub(super) fn listen(
    webrtc: &gst::Element,
    pipeline: &gst::Pipeline,
    receive: Receive,
    emitter: Emitter,
    witness: Arc<Witness>,
) -> Arc<Counters> {
    let counters = Arc::new(Counters::default());
    let counted = counters.clone();
    // Weak: the pipeline owns the element that owns this callback.
    let pipeline = pipeline.downgrade();
    webrtc.connect_pad_added(move |_, pad| {
        let Some(pipeline) = pipeline.upgrade() else {
            return;
        };
        if pad.direction() != gst::PadDirection::Src {
            return;
        }
        let track = describe(pad);
        if let Err(error) = take(&pipeline, pad, &track, &receive, (&counted, &witness)) {
            tracing::warn!(%error, "received media can't be taken");
            return;
        }
        let ReceivedTrack {
            kind,
            mid,
            stream_id,
            ..
        } = track;
        emitter.emit(SessionEvent::Track {
            kind,
            mid,
            stream_id,
        });
    });
    counters
}

fn describe(pad: &gst::Pad) -> ReceivedTrack {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let field = |name: &str| caps.structure(0)?.get::<String>(name).ok();
    let audio = field("media").is_some_and(|media| media == "audio");
    let transceiver = pad.property::<Option<WebRTCRTPTransceiver>>("transceiver");
    ReceivedTrack {
        kind: if audio { Kind::Audio } else { Kind::Video },
        codec: field("encoding-name").and_then(|name| Codec::from_name(&name)),
        mid: transceiver
            .and_then(|transceiver| transceiver.mid())
            .map(String::from),
        stream_id: pad.property::<Option<String>>("msid"),
    }
}

fn take(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    track: &ReceivedTrack,
    receive: &Receive,
    (counters, witness): (&Arc<Counters>, &Arc<Witness>),
) -> Result<(), MediaError> {
    let build = |error: gst::glib::BoolError| MediaError::Build(error.to_string());
    let wanted = match receive {
        Receive::Drain => None,
        Receive::Into(make) => make(track),
    };
    let sink = match wanted {
        Some(element) => element,
        None => gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .map_err(build)?,
    };
    pipeline.add(&sink).map_err(build)?;
    let to = sink
        .static_pad("sink")
        .ok_or_else(|| MediaError::Build("the receiving element has no pad `sink`".to_owned()))?;
    hide_wishes(&to);
    let (counters, witness, kind) = (counters.clone(), witness.clone(), track.kind);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            counters.count(kind, buffer, &witness);
        }
        gst::PadProbeReturn::Ok
    });
    sink.sync_state_with_parent().map_err(build)?;
    pad.link(&to)
        .map_err(|error| MediaError::Build(error.to_string()))?;
    Ok(())
}

/// Says that a pad takes everything. Before an offer webrtcbin 1.22 asks whoever takes a stream what he
/// takes, and fails if that isn't complete, as a depayloader's answer isn't ("Could not reuse
/// transceiver"). What is negotiated doesn't depend on it.
fn hide_wishes(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let gst::QueryViewMut::Caps(caps) = query.view_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let every = caps.filter_owned().unwrap_or_else(gst::Caps::new_any);
        caps.set_result(&every);
        gst::PadProbeReturn::Handled
    });
}

//! One of our streams in a session: payloader, pad of webrtcbin, and the task that fills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_utils::streamproducer::{ConsumerSettings, ConsumptionLink};
use gstreamer_video as gst_video;
use gstreamer_webrtc::{WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection};
use tokio::sync::watch;

use super::events::{Emitter, Program};
use super::feedback::{Paths, Way};
use super::meter::{self, Meter};
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::congestion::Rung;
use crate::media::source::{Lease, Source, Viewer, filter_key_requests};

/// Encoded media that waits for a stuck viewer; more pushes out the oldest.
const WAITING: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// How a stream looks on the wire.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) codec: Codec,
    pub(super) pt: u8,
    pub(super) ssrc: u32,
    pub(super) meter: Arc<Meter>,
    /// For H.264, the negotiated `profile-level-id`.
    pub(super) profile: Option<String>,
    /// The id of the extension that numbers its packets, if the other side gives feedback.
    pub(super) feedback: Option<u8>,
    /// Which pad of webrtcbin: the index of the media section.
    pub(super) mline: u32,
    pub(super) direction: WebRTCRTPTransceiverDirection,
}

impl Wire {
    fn filter_caps(&self) -> gst::Caps {
        let Self { pt, ssrc, .. } = *self;
        self.codec.filter_caps(pt, ssrc, self.feedback)
    }
}

/// Decides whether a lost packet may cost a key frame now.
type Allows = Box<dyn Fn() -> bool + Send + Sync>;
/// The one of the encoder that is leased.
type Throttle = Arc<Mutex<Option<Allows>>>;

/// A stream whose elements are in place.
pub(super) struct Feed {
    link: ConsumptionLink,
    throttle: Throttle,
    meter: Arc<Meter>,
    /// For pictures, which can follow it.
    way: Option<Way>,
}

impl Feed {
    /// Puts a stream into the session's pipeline: `appsrc ! payloader ! capsfilter ! webrtcbin`.
    pub(super) fn bind(
        pipeline: &gst::Pipeline,
        webrtc: &gst::Element,
        paths: &Arc<Paths>,
        wire: &Wire,
        stream_id: &str,
    ) -> Result<Self, MediaError> {
        let build = |error: gst::glib::BoolError| MediaError::Build(error.to_string());
        let appsrc = gst_app::AppSrc::builder().build();
        // Before any state change: a source that becomes live later waits for ever.
        let settings = ConsumerSettings {
            max_time: WAITING,
            ..ConsumerSettings::default()
        };
        let link = ConsumptionLink::disconnected_with(appsrc.clone(), settings.clone());
        gstreamer_utils::StreamProducer::configure_consumer_with(&appsrc, settings);
        // Until the connection stands, frames would be lost; the first one must be a key frame.
        link.set_discard(true);
        let payloader = wire
            .codec
            .make_payloader(wire.pt, wire.ssrc)
            .map_err(build)?;
        let filter = gst::ElementFactory::make("capsfilter")
            .property("caps", wire.filter_caps())
            .build()
            .map_err(build)?;
        let elements = [appsrc.upcast_ref::<gst::Element>(), &payloader, &filter];
        pipeline.add_many(elements).map_err(build)?;
        gst::Element::link_many(elements).map_err(build)?;

        let pad = webrtc
            .request_pad_simple(&format!("sink_{}", wire.mline))
            .ok_or_else(|| {
                MediaError::Build(format!("webrtcbin has no pad for section {}", wire.mline))
            })?;
        pad.set_property("msid", stream_id);
        paths.share(wire.codec.kind());
        let mut way = None;
        if let Some(transceiver) = pad.property::<Option<WebRTCRTPTransceiver>>("transceiver") {
            let caps =
                wire.codec
                    .rtp_caps(wire.pt, wire.ssrc, wire.profile.as_deref(), wire.feedback);
            transceiver.set_direction(wire.direction);
            transceiver.set_codec_preferences(Some(&caps));
            transceiver.set_property("do-nack", wire.codec.kind() == Kind::Video);
            way = (wire.codec.kind() == Kind::Video).then(|| Way {
                paths: paths.clone(),
                transceiver,
            });
        }
        let from = filter.static_pad("src").ok_or(MediaError::Closed)?;
        state_negotiated_caps(&from, wire);
        meter::measure(&from, wire.codec.kind(), wire.meter.clone());
        from.link(&pad)
            .map_err(|error| MediaError::Build(error.to_string()))?;

        let throttle = Throttle::default();
        if wire.codec.kind() == Kind::Video {
            guard_key_frames(&payloader, &appsrc, throttle.clone());
        }
        for element in elements {
            element.sync_state_with_parent().map_err(build)?;
        }
        Ok(Self {
            link,
            throttle,
            meter: wire.meter.clone(),
            way,
        })
    }

    /// Plays the source, or whatever the program says later, and stays until it is aborted. A failure
    /// is this session's own.
    pub(super) async fn run(mut self, source: Arc<Source>, codec: Codec, emitter: Emitter) {
        let mut program = emitter.program();
        loop {
            let on_air = match program.borrow_and_update().clone() {
                Program::Configured => Some(Arc::clone(&source)),
                Program::Source(other) => other.has(codec.kind()).then_some(other),
                Program::Nothing => None,
            };
            tokio::select! {
                why = self.feed(on_air, codec, &emitter) => return emitter.fail(why),
                changed = program.changed() => if changed.is_err() {
                    return;
                },
            }
            self.link.disconnect();
        }
    }

    /// Feeds the stream from one encoder after the other: when one fails, the source has the next. Why
    /// there is none left.
    async fn feed(
        &mut self,
        source: Option<Arc<Source>>,
        codec: Codec,
        emitter: &Emitter,
    ) -> String {
        let Some(source) = source else {
            return std::future::pending().await;
        };
        let viewer = self
            .way
            .clone()
            .map(|way| Viewer::new(way, self.meter.clone()));
        loop {
            let mut rung = viewer.as_ref().map(|viewer| viewer.rung());
            let lease = source.lease(codec.kind(), codec, viewer.clone());
            let mut lease = match lease.await {
                Ok(lease) => lease,
                Err(error) => return error.to_string(),
            };
            let why = loop {
                tokio::select! {
                    why = self.feed_from(&mut lease, codec, emitter) => break why,
                    () = changed(&mut rung) => {}
                }
                // What the viewer gets meanwhile is too much for it.
                self.link.set_discard(true);
                match source.lease(codec.kind(), codec, viewer.clone()).await {
                    Ok(other) => lease = other,
                    Err(error) => tracing::warn!(%error, "a viewer can't get another encoder"),
                }
            };
            if !lease.has_next() {
                return why;
            }
            self.link.disconnect();
        }
    }

    /// Waits for the connection, and lets media flow until the encoder fails; why.
    async fn feed_from(&mut self, lease: &mut Lease, codec: Codec, emitter: &Emitter) -> String {
        let throttle = lease.loss_throttle();
        self.set_throttle(Some(Box::new(lease.loss_throttle())));
        self.link.set_discard(true);
        self.link.set_wait_for_keyframe(true);
        if let Err(error) = self.link.change_producer(lease.producer(), false) {
            return error.to_string();
        }
        let mut connected = emitter.connected();
        if connected.wait_for(|connected| *connected).await.is_err() {
            return std::future::pending().await;
        }
        let following = lease.follow(self.link.appsrc());
        let sees = match &following {
            Some(following) => following.catch_up().await,
            None => false,
        };
        if codec.kind() == Kind::Video && !sees {
            lease.request_key_frame();
        }
        self.link.set_discard(following.is_some());
        loop {
            tokio::select! {
                why = lease.failed() => return why,
                () = emitter.refreshed() => {
                    if codec.kind() == Kind::Video && throttle() {
                        lease.request_key_frame();
                    }
                }
            }
        }
    }

    fn set_throttle(&self, throttle: Option<Allows>) {
        *self.throttle.lock().unwrap_or_else(PoisonError::into_inner) = throttle;
    }
}

/// Waits for the viewer to be put on another rung.
async fn changed(rung: &mut Option<watch::Receiver<Rung>>) {
    match rung {
        Some(rung) => {
            if rung.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// Lets webrtcbin see the negotiated caps instead of those that the payloader derives from the
/// encoder's: x264 says 42c01e where 42e01f was negotiated, and the stream would silently die.
fn state_negotiated_caps(pad: &gst::Pad, wire: &Wire) {
    if wire.codec != Codec::H264 {
        return;
    }
    let caps = wire
        .codec
        .rtp_caps(wire.pt, wire.ssrc, wire.profile.as_deref(), wire.feedback);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && event.type_() == gst::EventType::Caps
        {
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Two guards on the way of pictures: the viewers' requests for key frames are throttled, and after
/// frames were left out the next one that passes is a key frame.
fn guard_key_frames(payloader: &gst::Element, appsrc: &gst_app::AppSrc, throttle: Throttle) {
    if let Some(pad) = payloader.static_pad("src") {
        filter_key_requests(&pad, move || {
            let throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.as_ref().is_some_and(|allows| allows())
        });
    }
    let broken = AtomicBool::new(false);
    if let Some(pad) = appsrc.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                broken.store(false, Ordering::SeqCst);
                return gst::PadProbeReturn::Ok;
            }
            // appsrc marks what follows a frame that it dropped.
            if buffer.flags().contains(gst::BufferFlags::DISCONT)
                && !broken.swap(true, Ordering::SeqCst)
            {
                pad.send_event(
                    gst_video::UpstreamForceKeyUnitEvent::builder()
                        .all_headers(true)
                        .build(),
                );
            }
            if broken.load(Ordering::SeqCst) {
                gst::PadProbeReturn::Drop
            } else {
                gst::PadProbeReturn::Ok
            }
        });
    }
}

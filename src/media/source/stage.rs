//! One stream of a source in one codec: the encoder pipeline, shared by every viewer of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_utils::StreamProducer;
use gstreamer_utils::streamproducer::{ConsumerSettings, ConsumptionLink, ProducerSettings};
use gstreamer_video as gst_video;
use tokio::sync::{Notify, watch};

use super::kept::{Following, Kept};
use super::knobs::{self, Knobs};
use super::run::{Format, Output, Run};
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::congestion::Rung;
use crate::media::encoder::{self, Encoder, Encoders};
use crate::media::guard::{self, Guard};
use crate::media::metrics::{Share, encoder_runs};

/// Raw frames that wait for the encoder; more push out the oldest. Few, because each adds to the latency.
const RAW_FRAMES: u64 = 3;
/// Raw sound that waits for the encoder; more pushes out the oldest.
const RAW_SOUND: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// The least time between two key frames because viewers lost packets. A request within it is
/// dropped; browsers ask again.
const LOSS_KEY_INTERVAL: Duration = Duration::from_millis(500);
/// The least time between two key frames for whatever reason. Only a guard against a storm of joins,
/// and short because a joining viewer waits for it. A request within it is dropped; the producer asks
/// again with every frame that a viewer can't use.
///
/// Not the encoders' own `min-force-key-unit-interval`: x264enc 1.22 shifts its time by 1000 hours
/// with the first frame, and if a request comes before that, it throttles all later ones for as long.
const KEY_INTERVAL: Duration = Duration::from_millis(100);

/// An encoder and who uses it. Belongs to the source's worker.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) codec: Codec,
    pub(super) rung: Rung,
    pub(super) shared: Arc<Shared>,
    link: ConsumptionLink,
    /// What encodes, if it is us.
    encoder: Option<Encoder>,
    /// Its share of the encoders that run.
    _runs: Option<Share>,
    /// For pictures that we encode.
    pub(super) knobs: Option<Arc<Knobs>>,
    pipeline: Guard,
}

/// What the leases of a stage share.
#[derive(Debug)]
pub(super) struct Shared {
    producer: StreamProducer,
    /// Of pictures that are passed through: it hands them out, instead of the producer.
    kept: Option<Arc<Kept>>,
    users: AtomicUsize,
    /// Told when a lease ends or the stage fails.
    changed: Arc<Notify>,
    failed: watch::Sender<Option<String>>,
    /// Whether there may be another encoder when this one fails.
    has_next: bool,
    loss: Throttle,
}

/// Lets something happen once in a while only.
#[derive(Debug)]
struct Throttle {
    interval: Duration,
    /// When it last happened: nanoseconds of the common clock; 0 for never.
    last: AtomicU64,
}

/// A session's share in a stage. Dropping it gives it back.
#[derive(Debug)]
pub(in crate::media) struct Lease {
    shared: Arc<Shared>,
    failed: watch::Receiver<Option<String>>,
}

impl Stage {
    /// Starts an encoder behind a running source: the best one that starts. Blocks for some
    /// milliseconds.
    pub(super) fn start(
        output: &Output,
        (codec, rung): (Codec, Rung),
        encoders: &Encoders,
        run: &Run,
        changed: &Arc<Notify>,
    ) -> Result<Self, MediaError> {
        let kind = output.kind;
        let start =
            |encoder| Self::start_with(output, (codec, rung), encoder, run, changed.clone());
        let nothing = || MediaError::NoSuchStream {
            kind,
            wanted: vec![codec],
        };
        match (output.format, kind) {
            _ if codec.kind() != kind => Err(nothing()),
            (Format::Encoded(given), _) if given == codec => start(None),
            (Format::Encoded(_), _) => Err(nothing()),
            (Format::Raw, Kind::Audio) => {
                let encoder = encoder::installed(codec).next().ok_or_else(nothing)?;
                start(Some(encoder))
            }
            (Format::Raw, Kind::Video) => loop {
                let encoder = encoders.best(codec)?;
                match start(Some(encoder.clone())) {
                    Ok(stage) => return Ok(stage),
                    Err(error) => {
                        let encoder_name = encoder.name();
                        tracing::warn!(%error, encoder = encoder_name, "an encoder doesn't start");
                        encoders.fail(&encoder);
                    }
                }
            },
        }
    }

    fn start_with(
        output: &Output,
        (codec, rung): (Codec, Rung),
        encoder: Option<Encoder>,
        run: &Run,
        changed: Arc<Notify>,
    ) -> Result<Self, MediaError> {
        let kind = output.kind;
        let middle = middle_text(output, codec, encoder.as_ref());
        let text = format!("appsrc name=in ! {middle} ! appsink name=out max-buffers=8 drop=false");
        let pipeline = Guard::launch(&text)?;
        pipeline.use_common_time();
        let input: gst_app::AppSrc = pipeline.find("in")?;
        let out: gst_app::AppSink = pipeline.find("out")?;
        let element = match &encoder {
            Some(encoder) => {
                let element = pipeline.find(encoder::ELEMENT_NAME)?;
                encoder.prepare(&element);
                Some(element)
            }
            None => None,
        };
        let pads = input.static_pad("src").zip(out.static_pad("sink"));
        let knobs = match (&encoder, element, pads) {
            (Some(encoder), Some(element), Some(pads)) if kind == Kind::Video => {
                let size = pipeline.find(knobs::SIZE_NAME)?;
                Some(Knobs::new(encoder.clone(), element, size, &pads))
            }
            _ => None,
        };
        let settings = input_settings(output.format, kind);
        let link = ConsumptionLink::disconnected_with(input, settings);
        if let (Kind::Video, Some(pad)) = (kind, out.static_pad("sink")) {
            let throttle = Throttle::new(KEY_INTERVAL);
            filter_key_requests(&pad, move || throttle.allows());
        }
        let kept = match (output.format, kind, out.static_pad("sink")) {
            (Format::Encoded(_), Kind::Video, Some(pad)) => Some(Kept::attach(&pad)),
            _ => None,
        };
        let producer = StreamProducer::with(&out, ProducerSettings { sync: false });
        // The end of an encoder that fails isn't the end of its viewers: they get another one.
        producer.set_forward_events([gst::EventType::Gap]);
        let shared = Arc::new(Shared {
            producer,
            kept,
            users: AtomicUsize::new(0),
            changed,
            failed: watch::Sender::new(None),
            has_next: kind == Kind::Video && encoder.is_some(),
            loss: Throttle::new(LOSS_KEY_INTERVAL),
        });
        let runs = encoder.as_ref().map(|it| encoder_runs(codec, it.name()));
        let mut stage = Self {
            kind,
            codec,
            rung,
            shared,
            link,
            _runs: runs,
            encoder,
            knobs,
            pipeline,
        };
        stage.connect(run)?;
        stage.pipeline.set_state(gst::State::Playing)?;
        Ok(stage)
    }

    /// Takes the media of another run of the source from now on.
    pub(super) fn connect(&mut self, run: &Run) -> Result<(), MediaError> {
        let producer = run.producer(self.kind).ok_or(MediaError::NoSuchStream {
            kind: self.kind,
            wanted: vec![self.codec],
        })?;
        if let Some(pad) = self.link.appsrc().static_pad("src") {
            pad.set_offset(run.offset);
        }
        self.link
            .change_producer(producer, false)
            .map_err(|error| MediaError::Build(error.to_string()))
    }

    /// What encodes, if it is us.
    pub(super) fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_ref()
    }

    /// The encoder's messages.
    pub(super) fn bus(&self) -> Option<gst::Bus> {
        self.pipeline.get().ok()?.bus()
    }

    /// Another share.
    pub(super) fn lease(&self) -> Lease {
        self.shared.users.fetch_add(1, Ordering::SeqCst);
        Lease {
            shared: self.shared.clone(),
            failed: self.shared.failed.subscribe(),
        }
    }

    /// Whether somebody has a share.
    pub(super) fn is_used(&self) -> bool {
        self.shared.users.load(Ordering::SeqCst) > 0
    }

    /// Whether the encoder failed.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.borrow().is_some()
    }
}

/// The gst-launch text between what the source gives and what the payloaders take.
fn middle_text(output: &Output, codec: Codec, encoder: Option<&Encoder>) -> String {
    let Some(encoder) = encoder else {
        return codec.pass_text().to_owned();
    };
    let (width, height) = output.size.unwrap_or_default();
    let text = encoder.launch_text(width.saturating_mul(height));
    match output.kind {
        Kind::Video => format!("{} ! {text}", knobs::SIZE_TEXT),
        Kind::Audio => text,
    }
}

/// How much of the source's media waits.
fn input_settings(format: Format, kind: Kind) -> ConsumerSettings {
    match (format, kind) {
        (Format::Raw, Kind::Video) => ConsumerSettings {
            max_buffer: RAW_FRAMES,
            ..ConsumerSettings::default()
        },
        (Format::Raw, Kind::Audio) => ConsumerSettings {
            max_time: RAW_SOUND,
            ..ConsumerSettings::default()
        },
        (Format::Encoded(_), _) => ConsumerSettings::default(),
    }
}

impl Shared {
    /// The encoder failed; its users and its worker are told.
    pub(super) fn fail(&self, why: String) {
        self.failed.send_replace(Some(why));
        self.changed.notify_one();
    }
}

impl Lease {
    /// Where to take the encoded media from.
    pub(in crate::media) fn producer(&self) -> &StreamProducer {
        &self.shared.producer
    }

    /// If the pictures are passed through: hands them to this input, the kept ones first. Its link to
    /// the producer must go on to discard them.
    pub(in crate::media) fn follow(&self, input: &gst_app::AppSrc) -> Option<Following> {
        let kept = self.shared.kept.as_ref()?;
        Some(kept.follow(input.clone()))
    }

    /// Asks the encoder for a key frame at once: somebody new can see from now on.
    pub(in crate::media) fn request_key_frame(&self) {
        if let Some(pad) = self.shared.producer.appsink().static_pad("sink") {
            pad.push_event(
                gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build(),
            );
        }
    }

    /// Decides, for all viewers together, whether a viewer's loss may cost a key frame now.
    pub(in crate::media) fn loss_throttle(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.loss.allows()
    }

    /// Whether the source may have another encoder when this one fails.
    pub(in crate::media) fn has_next(&self) -> bool {
        self.shared.has_next
    }

    /// Waits until the encoder fails, and says why.
    pub(in crate::media) async fn failed(&mut self) -> String {
        match self.failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the source was closed".to_owned(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.users.fetch_sub(1, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl Throttle {
    const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: AtomicU64::new(0),
        }
    }

    /// Whether it may happen now. If so, it counts as having happened.
    fn allows(&self) -> bool {
        let now = guard::clock().time().nseconds();
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        self.last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
                (last == 0 || now.saturating_sub(last) >= interval).then_some(now)
            })
            .is_ok()
    }
}

/// Lets a request for a key frame pass a pad upwards only when `allows` says so.
pub(in crate::media) fn filter_key_requests(
    pad: &gst::Pad,
    allows: impl Fn() -> bool + Send + Sync + 'static,
) {
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let asks = matches!(&info.data, Some(gst::PadProbeData::Event(event))
            if gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
        // Not `Drop`: with that one the bindings leave GStreamer a NULL event to unref, and it complains.
        if asks && !allows() {
            gst::PadProbeReturn::Handled
        } else {
            gst::PadProbeReturn::Ok
        }
    });
}

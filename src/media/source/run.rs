//! One run of a source's pipeline, from start to error or end.

mod order;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_audio as gst_audio;
use gstreamer_utils::StreamProducer;
use gstreamer_utils::streamproducer::ProducerSettings;
use gstreamer_video as gst_video;

use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::guard::{self, Guard};
use crate::media::overlay::{self, Overlay, Touch};
use crate::media::pipeline::PipelineFile;

/// How long a pipeline may take for its first media.
const FIRST_MEDIA: Duration = Duration::from_secs(10);
/// How much longer than its first output another output may take before it counts as absent.
const OTHER_OUTPUTS: Duration = Duration::from_secs(2);
/// How long a pipeline may take to be ready to play.
const PREROLL: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// How often the trial run looks for caps.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(10);
/// Frames that an output keeps when nobody takes them; older ones are dropped.
const OUTPUT_BUFFERS: u32 = 2;

/// An output of a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// Video or audio.
    pub(super) kind: Kind,
    /// Raw or encoded.
    pub(super) format: Format,
    /// For video, if known.
    pub(super) size: Option<(u32, u32)>,
}

/// What an output gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// To be encoded by us.
    Raw,
    /// Encoded already.
    Encoded(Codec),
}

/// A running source pipeline.
#[derive(Debug)]
pub(super) struct Run {
    pipeline: Guard,
    producers: Vec<(Kind, StreamProducer)>,
    /// What to add to this pipeline's running time to get the common one, in nanoseconds.
    pub(super) offset: i64,
    /// When media came last: nanoseconds of the common clock.
    heard: Arc<AtomicU64>,
}

impl Run {
    /// Starts the pipeline. Blocks until it plays or fails.
    pub(super) fn start(
        file: &PipelineFile,
        outputs: &[Output],
        touch: &Arc<Touch>,
    ) -> Result<Self, MediaError> {
        let pipeline = Guard::launch(file.launch_text())?;
        let mut sinks = Vec::new();
        for (kind, sink) in appsinks(&pipeline) {
            sink.set_max_buffers(OUTPUT_BUFFERS);
            sink.set_drop(true);
            match outputs.iter().any(|output| output.kind == kind) {
                true => sinks.push((kind, sink)),
                // Nothing will ever come; the pipeline must not wait for it.
                false => sink.set_property("async", false),
            }
        }
        for (kind, sink) in &sinks {
            if let Some(pad) = sink.static_pad("sink") {
                overlay::attach(&pad, *kind, file.overlays(), file.source(), touch);
            }
        }
        // Sound may well be left out while it is quiet, so where there are pictures they count.
        let heard = Arc::new(AtomicU64::new(guard::clock().time().nseconds()));
        if let Some((_, sink)) = sinks.first() {
            note_media(sink, heard.clone());
        }
        let live = pipeline.set_state(gst::State::Paused)? == gst::StateChangeSuccess::NoPreroll;
        if !live {
            preroll(&pipeline)?;
            if file.repeats() {
                // Only after the preroll: an earlier seek crashes matroskademux 1.22.
                repeat_from_start(&sinks, gst::SeekFlags::FLUSH)?;
                preroll(&pipeline)?;
            }
        }
        // A file is read as fast as it can be: its output must wait for the clock. Live media must not.
        let settings = ProducerSettings { sync: !live };
        let producers = sinks
            .iter()
            .map(|(kind, sink)| {
                let producer = StreamProducer::with(sink, settings.clone());
                // The end of a file isn't the end of the encoders: the file starts again.
                producer.set_forward_events([gst::EventType::Gap]);
                (*kind, producer)
            })
            .collect();
        pipeline.set_state(gst::State::Playing)?;
        let base = pipeline.get()?.base_time().unwrap_or_else(guard::base_time);
        let offset = nanoseconds(base) - nanoseconds(guard::base_time());
        Ok(Self {
            pipeline,
            producers,
            offset,
            heard,
        })
    }

    /// Where to take an output's media from.
    pub(super) fn producer(&self, kind: Kind) -> Option<&StreamProducer> {
        self.producers
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, producer)| producer)
    }

    /// For how long no media has come.
    pub(super) fn silence(&self) -> Duration {
        let now = guard::clock().time().nseconds();
        Duration::from_nanos(now.saturating_sub(self.heard.load(Ordering::Relaxed)))
    }

    /// The pipeline's messages.
    pub(super) fn bus(&self) -> Option<gst::Bus> {
        self.pipeline.get().ok()?.bus()
    }

    /// Plays the file again, gaplessly; asked for at the end of each round.
    pub(super) fn repeat(&self) {
        let sinks: Vec<_> = self
            .producers
            .iter()
            .map(|(kind, producer)| (*kind, producer.appsink().clone()))
            .collect();
        // A seek can wait for a streaming thread.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = repeat_from_start(&sinks, gst::SeekFlags::empty()) {
                tracing::warn!(%error, "a file can't be played again");
            }
        });
    }
}

/// Runs a pipeline just until it is known what its outputs give. Blocks.
pub(super) fn try_out(file: &PipelineFile) -> Result<Vec<Output>, MediaError> {
    let pipeline = Guard::launch(file.launch_text())?;
    let sinks = appsinks(&pipeline);
    // Not by its caps alone: a port knows what it will get before anything comes.
    let heard: Vec<_> = sinks.iter().map(|_| Arc::default()).collect();
    for ((_, sink), heard) in sinks.iter().zip(&heard) {
        note_media(sink, Arc::clone(heard));
    }
    if pipeline.set_state(gst::State::Paused)? == gst::StateChangeSuccess::NoPreroll {
        pipeline.set_state(gst::State::Playing)?;
    }
    let bus = pipeline.get()?.bus().ok_or(MediaError::Closed)?;
    let start = Instant::now();
    let mut first = None;
    let mut outputs: Vec<Output>;
    loop {
        if let Some(message) = bus.timed_pop_filtered(LOOK, &[gst::MessageType::Error]) {
            return Err(MediaError::Run(guard::describe(&message)));
        }
        outputs = Vec::new();
        for ((kind, sink), heard) in sinks.iter().zip(&heard) {
            let caps = sink.static_pad("sink").and_then(|pad| pad.current_caps());
            if let Some(caps) = caps
                && heard.load(Ordering::Relaxed) > 0
            {
                outputs.push(output(*kind, &caps)?);
            }
        }
        if !outputs.is_empty() && first.is_none() {
            first = Some(Instant::now());
        }
        if outputs.len() == sinks.len() || first.is_some_and(|at| at.elapsed() > OTHER_OUTPUTS) {
            break;
        }
        if start.elapsed() > FIRST_MEDIA {
            return Err(MediaError::NoMedia {
                seconds: FIRST_MEDIA.as_secs(),
            });
        }
    }
    for overlay in file.overlays() {
        check_overlay(*overlay, &sinks)?;
    }
    order::check(&pipeline, &bus, &sinks, &outputs)?;
    Ok(outputs)
}

fn appsinks(pipeline: &Guard) -> Vec<(Kind, gst_app::AppSink)> {
    [Kind::Video, Kind::Audio]
        .into_iter()
        .filter_map(|kind| Some((kind, pipeline.find::<gst_app::AppSink>(kind.name()).ok()?)))
        .collect()
}

fn output(kind: Kind, caps: &gst::Caps) -> Result<Output, MediaError> {
    let unsupported = || MediaError::UnsupportedMedia {
        output: kind.name(),
        caps: caps.to_string(),
    };
    let structure = caps.structure(0).ok_or_else(unsupported)?;
    let name = structure.name().as_str();
    let format = match (kind, name) {
        (Kind::Video, "video/x-raw") | (Kind::Audio, "audio/x-raw") => Format::Raw,
        _ => Codec::ALL
            .into_iter()
            .find(|codec| codec.kind() == kind && codec.media_type() == name)
            .map(Format::Encoded)
            .ok_or_else(unsupported)?,
    };
    let side = |field| {
        structure
            .get::<i32>(field)
            .ok()
            .and_then(|n| u32::try_from(n).ok())
    };
    Ok(Output {
        kind,
        format,
        size: side("width").zip(side("height")),
    })
}

/// Overlays are made for one format of each kind of media.
fn check_overlay(overlay: Overlay, sinks: &[(Kind, gst_app::AppSink)]) -> Result<(), MediaError> {
    for (kind, sink) in sinks {
        let caps = sink.static_pad("sink").and_then(|pad| pad.current_caps());
        let Some(caps) = caps else { continue };
        let fits = match (kind, overlay) {
            (Kind::Video, _) => gst_video::VideoInfo::from_caps(&caps)
                .is_ok_and(|info| info.format() == gst_video::VideoFormat::I420),
            (Kind::Audio, Overlay::Code) => {
                gst_audio::AudioInfo::from_caps(&caps).is_ok_and(|info| {
                    info.format() == gst_audio::AudioFormat::S16le
                        && info.layout() == gst_audio::AudioLayout::Interleaved
                })
            }
            (Kind::Audio, _) => true,
        };
        if !fits {
            return Err(MediaError::OverlayFormat(caps.to_string()));
        }
    }
    Ok(())
}

/// Notes the time at which media reaches an output.
fn note_media(sink: &gst_app::AppSink, heard: Arc<AtomicU64>) {
    if let Some(pad) = sink.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            heard.store(guard::clock().time().nseconds(), Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
}

fn preroll(pipeline: &Guard) -> Result<(), MediaError> {
    let pipeline = pipeline.get()?;
    let (result, ..) = pipeline.state(PREROLL);
    match result {
        Ok(gst::StateChangeSuccess::Async) => Err(MediaError::NoMedia {
            seconds: PREROLL.seconds(),
        }),
        Ok(_) => Ok(()),
        Err(_) => Err(MediaError::Run(guard::first_error(pipeline))),
    }
}

/// Seeks to the start. One event for all outputs: demultiplexers know it by its number and act once.
/// Not sent to the pipeline, which would ask outputs that the file doesn't feed as well, and fail.
fn repeat_from_start(
    sinks: &[(Kind, gst_app::AppSink)],
    flags: gst::SeekFlags,
) -> Result<(), MediaError> {
    let seek = gst::event::Seek::new(
        1.0,
        flags | gst::SeekFlags::SEGMENT,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    );
    if sinks.iter().all(|(_, sink)| sink.send_event(seek.clone())) {
        Ok(())
    } else {
        let why = "the media can't be played in a loop: it can't be sought in";
        Err(MediaError::Run(why.to_owned()))
    }
}

fn nanoseconds(time: gst::ClockTime) -> i64 {
    i64::try_from(time.nseconds()).unwrap_or(i64::MAX)
}

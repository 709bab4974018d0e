//! Eyes and ears: decodes what a session receives, reads its marks, and tells a judge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_audio as gst_audio;
use gstreamer_video as gst_video;
use gstreamer_video::VideoFrameExt as _;
use tokio::sync::watch;

use super::judge::{
    AudioMark, ConnectionSample, Judge, Observation, Phase, Picture, Report, Sound, StreamId,
    StreamSample, VideoMark,
};
use crate::media::code::sound::Ear;
use crate::media::code::{now, picture, sound, unwrap_millis};
use crate::media::{
    Kind, MediaError, Receive, ReceivedTrack, SessionEvent, Stats, decoded_samples,
};

/// Sound is looked at in stretches of this length.
const STRETCH: Duration = Duration::from_millis(10);
/// How often packets are summed up.
const SUM: Duration = Duration::from_millis(500);

/// Watches and hears what one session receives. Cheap to clone; all clones tell the same judge.
#[derive(Clone)]
pub struct Witness {
    shared: Arc<Shared>,
    look: Option<Look>,
}

/// Whoever wants to see and hear for himself what is decoded. Called on GStreamer's threads.
pub type Look = Arc<dyn Fn(&ReceivedTrack, Decoded<'_>) + Send + Sync>;

/// What was decoded.
#[derive(Debug, Clone, Copy)]
pub enum Decoded<'a> {
    /// The brightness of a picture.
    Picture {
        /// Row by row.
        luma: &'a [u8],
        /// Bytes from one row to the next.
        stride: usize,
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
    },
    /// A chunk of sound, all channels mixed into one.
    Sound {
        /// From -1 to 1.
        samples: &'a [f32],
        /// Per second.
        rate: u32,
    },
}

struct Shared {
    judge: Mutex<Judge>,
    /// Counted up with each picture and each chunk of sound.
    changed: watch::Sender<u64>,
    /// Packets of video, and of sound, that came again, by the last statistics: of all streams of a
    /// kind together, because no more is known.
    again: [AtomicU64; 2],
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl Witness {
    /// A witness with a judge of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            shared: Arc::new(Shared {
                judge: Mutex::new(Judge::new(name)),
                changed: watch::Sender::new(0),
                again: Default::default(),
            }),
            look: None,
        }
    }

    /// The same, with someone who looks at all that is decoded.
    #[must_use]
    pub fn with(self, look: Look) -> Self {
        Self {
            look: Some(look),
            ..self
        }
    }

    /// For a session's configuration.
    #[must_use]
    pub fn receive(&self) -> Receive {
        let witness = self.clone();
        Receive::Into(Arc::new(move |track| match witness.watch(track) {
            Ok(element) => Some(element),
            Err(error) => {
                tracing::warn!(%error, "received media can't be judged");
                None
            }
        }))
    }

    /// Something was observed, now.
    pub fn observe(&self, what: Observation) {
        self.judge().observe(now(), what);
    }

    /// The media was asked for, at this time.
    pub fn requested(&self, at: Duration) {
        let phase = Observation::Phase(Phase::Requested);
        self.judge().observe(at, phase);
    }

    /// The connection has come so far.
    pub fn phase(&self, phase: Phase) {
        self.observe(Observation::Phase(phase));
    }

    /// What a session's event says about its connection.
    pub fn event(&self, event: &SessionEvent) {
        match event {
            SessionEvent::GatheringDone => self.phase(Phase::Gathered),
            SessionEvent::Connected => self.phase(Phase::Connected),
            _ => {}
        }
    }

    /// What a session's statistics say about its path.
    pub fn stats(&self, stats: &Stats) {
        for inbound in &stats.inbound {
            let packets = inbound.recovered + inbound.duplicates;
            self.again(inbound.kind).store(packets, Ordering::Relaxed);
        }
        let mut round_trips = stats.outbound.iter().map(|stream| stream.round_trip);
        let round_trip = round_trips.find(|seconds| *seconds > 0.0);
        self.observe(Observation::Connection(ConnectionSample {
            local_candidate: stats.local_candidate.clone(),
            remote_candidate: stats.remote_candidate.clone(),
            round_trip: round_trip.map(Duration::from_secs_f64),
        }));
    }

    fn again(&self, kind: Kind) -> &AtomicU64 {
        let [video, audio] = &self.shared.again;
        match kind {
            Kind::Video => video,
            Kind::Audio => audio,
        }
    }

    /// How everything was until now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.judge().report(now())
    }

    /// How it was since the last call.
    #[must_use]
    pub fn interval(&self) -> Report {
        self.judge().interval(now())
    }

    /// Changes with each picture and each chunk of sound.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        let judge = self.shared.judge.lock();
        judge.unwrap_or_else(PoisonError::into_inner)
    }

    /// An element that takes a track's packets.
    fn watch(&self, track: &ReceivedTrack) -> Result<gst::Element, MediaError> {
        let id = stream_id(track);
        let watcher = Watcher {
            witness: self.clone(),
            track: track.clone(),
            id: id.clone(),
            ear: Mutex::new(None),
        };
        let element = decoded_samples(track, move |sample| watcher.take(sample))?;
        if let Some(pad) = element.static_pad("sink") {
            self.count(&pad, id, track);
        }
        Ok(element)
    }

    /// Counts the packets that reach a pad.
    fn count(&self, pad: &gst::Pad, id: StreamId, track: &ReceivedTrack) {
        let (witness, kind) = (self.clone(), track.kind);
        let codec = track.codec.map(|codec| codec.name().to_owned());
        let counts = Mutex::new(Packets::default());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            let at = now();
            if counts.add(buffer) == 1 {
                witness.phase(Phase::FirstPacket);
            }
            if counts.told.is_none_or(|told| at > told + SUM) {
                counts.told = Some(at);
                let sample = StreamSample {
                    codec: codec.clone(),
                    bytes: counts.bytes,
                    packets: counts.packets,
                    lost: counts.lost,
                    retransmitted: witness.again(kind).load(Ordering::Relaxed),
                };
                witness.observe(Observation::Stream(id.clone(), kind, sample));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// A stream's name in reports: its media stream's id and its media section's, as far as they are known.
#[must_use]
pub fn stream_id(track: &ReceivedTrack) -> StreamId {
    let names = [&track.stream_id, &track.mid];
    let names: Vec<_> = names
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    match names.is_empty() {
        true => StreamId::new(track.kind.name()),
        false => StreamId::new(&names.join("/")),
    }
}

/// Packets of a stream.
#[derive(Debug, Default)]
struct Packets {
    packets: u64,
    bytes: u64,
    /// Sequence numbers that were left out, even after retransmission.
    lost: u64,
    last: Option<u16>,
    told: Option<Duration>,
}

impl Packets {
    /// Adds a packet; how many there are now.
    fn add(&mut self, buffer: &gst::BufferRef) -> u64 {
        self.packets += 1;
        self.bytes += buffer.size() as u64;
        // RFC 3550 section 5.1.
        let mut header = [0; 4];
        if buffer.copy_to_slice(0, &mut header).is_ok() {
            let number = u16::from_be_bytes([header[2], header[3]]);
            if let Some(last) = self.last {
                let ahead = number.wrapping_sub(last);
                // A larger step is a new count, or back.
                if (1..1000).contains(&ahead) {
                    self.lost += u64::from(ahead) - 1;
                }
            }
            self.last = Some(number);
        }
        self.packets
    }
}

/// Watches one track.
struct Watcher {
    witness: Witness,
    track: ReceivedTrack,
    id: StreamId,
    /// With the rate that it is for.
    ear: Mutex<Option<(u32, Ear)>>,
}

impl Watcher {
    fn take(&self, sample: &gst::Sample) {
        match self.track.kind {
            Kind::Video => self.look(sample),
            Kind::Audio => self.listen(sample),
        };
        self.witness.shared.changed.send_modify(|count| *count += 1);
    }

    fn look(&self, sample: &gst::Sample) -> Option<()> {
        let (buffer, caps) = (sample.buffer()?, sample.caps()?);
        let video = gst_video::VideoInfo::from_caps(caps).ok()?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &video).ok()?;
        let luma = picture::Luma {
            data: frame.plane_data(0).ok()?,
            stride: usize::try_from(*frame.plane_stride().first()?).ok()?,
            width: usize::try_from(frame.width()).ok()?,
            height: usize::try_from(frame.height()).ok()?,
        };
        let at = now();
        let mark = picture::read(&luma).map(|mark| VideoMark {
            source: mark.source,
            number: mark.number,
            captured: unwrap_millis(mark.captured.into(), 1 << 32, at),
        });
        let seen = Picture {
            due: due(sample),
            mark,
            fingerprint: picture::look(&luma),
            size: (frame.width(), frame.height()),
        };
        let what = Observation::Picture(self.id.clone(), seen);
        self.witness.judge().observe(at, what);
        if let Some(look) = &self.witness.look {
            let decoded = Decoded::Picture {
                luma: luma.data,
                stride: luma.stride,
                width: luma.width,
                height: luma.height,
            };
            look(&self.track, decoded);
        }
        Some(())
    }

    fn listen(&self, sample: &gst::Sample) -> Option<()> {
        let (buffer, caps) = (sample.buffer()?, sample.caps()?);
        let rate = gst_audio::AudioInfo::from_caps(caps).ok()?.rate();
        let map = buffer.map_readable().ok()?;
        let samples: Vec<f32> = map
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let (at, due) = (now(), due(sample)?);
        let heard = {
            let mut ear = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
            if ear.as_ref().is_none_or(|(of, _)| *of != rate) {
                *ear = Some((rate, Ear::new(rate)));
            }
            let (_, ear) = ear.as_mut()?;
            ear.listen(due, at, samples.iter().copied())
        };
        let mut judge = self.witness.judge();
        for sound in stretches(&samples, rate, due) {
            judge.observe(at, Observation::Sound(self.id.clone(), sound));
        }
        for heard in heard {
            let millis = u64::from(heard.mark.index) * MARK_MILLIS;
            let mark = AudioMark {
                due: heard.due,
                source: heard.mark.source,
                index: heard.mark.index,
                captured: unwrap_millis(millis, sound::NUMBERS * MARK_MILLIS, heard.at),
            };
            judge.observe(heard.at, Observation::Mark(self.id.clone(), mark));
        }
        drop(judge);
        if let Some(look) = &self.witness.look {
            let samples = &samples;
            look(&self.track, Decoded::Sound { samples, rate });
        }
        Some(())
    }
}

/// The length of a mark of sound.
const MARK_MILLIS: u64 = 400;
const _: () = assert!(sound::MARK.as_millis() == MARK_MILLIS as u128);

/// When a sample is to be presented, in its pipeline's time.
fn due(sample: &gst::Sample) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let due = segment.to_running_time(sample.buffer()?.pts()?)?;
    Some(Duration::from_nanos(due.nseconds()))
}

/// Chunks of sound, each audible or not.
fn stretches(samples: &[f32], rate: u32, due: Duration) -> Vec<Sound> {
    let length = |samples: usize| {
        let nanos = samples as u64 * 1_000_000_000 / u64::from(rate.max(1));
        Duration::from_nanos(nanos)
    };
    let stretch = usize::try_from(u128::from(rate) * STRETCH.as_millis() / 1000);
    let stretch = stretch.unwrap_or(1).max(1);
    let mut all: Vec<Sound> = Vec::new();
    for (at, samples) in samples.chunks(stretch).enumerate() {
        let (audible, length, due) = (
            sound::is_audible(samples),
            length(samples.len()),
            due + length(at * stretch),
        );
        match all.last_mut().filter(|last| last.audible == audible) {
            Some(last) => last.length += length,
            None => all.push(Sound {
                due,
                length,
                audible,
            }),
        }
    }
    all
}

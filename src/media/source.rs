//! A source: one pipeline file, its encoders, and who uses them.
//!
//! Nothing runs until a session leases a stream. Then the pipeline starts, and one encoder per codec
//! that somebody wants; a while after its last lease an encoder stops, and with the last encoder the
//! pipeline. One task per source does all of this, one step after the other.

mod adapt;
mod codecs;
mod kept;
mod knobs;
mod programs;
mod run;
mod stage;
mod viewer;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::MediaError;
use super::codec::{Codec, Kind};
use super::encoder::{EncoderChoice, Encoders};
use super::overlay::Touch;
use super::pipeline::PipelineFile;
use programs::Programs;
use run::Output;
pub(super) use stage::{Lease, filter_key_requests};
pub(super) use viewer::Viewer;

/// How long a pipeline may fail to start at first because its programs aren't ready.
const PROGRAMS_READY: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Requests for streams that wait at once. More wait at the sender.
const REQUESTS: usize = 64;
/// How long encoders run on after their last viewer, so that a page that reloads finds them warm.
const LINGER: Duration = Duration::from_secs(10);

/// How a source behaves.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// How long an encoder runs on without a viewer.
    pub linger: Duration,
    /// The codecs to send in and no others, the preferred one first; of a kind of media of which none
    /// is named, what the pipeline file says.
    pub codecs: Vec<Codec>,
    /// What encodes.
    pub encoder: EncoderChoice,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            linger: LINGER,
            codecs: Vec::new(),
            encoder: EncoderChoice::default(),
        }
    }
}

/// Whether a source runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nobody watches; nothing runs.
    Idle,
    /// The pipeline runs.
    Running,
    /// Somebody watches, but the pipeline failed or ended. It is started again after a pause.
    Restarting,
}

/// Media that sessions send: a pipeline file and what it puts out.
#[derive(Debug)]
pub struct Source {
    asks: mpsc::Sender<Ask>,
    outputs: Vec<Output>,
    codecs: Vec<(Kind, Vec<Codec>)>,
    file: PipelineFile,
    touch: Arc<Touch>,
    activity: watch::Receiver<Activity>,
    _programs: Programs,
}

/// A session wants a stream.
#[derive(Debug)]
struct Ask {
    kind: Kind,
    codec: Codec,
    viewer: Option<Arc<Viewer>>,
    reply: oneshot::Sender<Result<Lease, MediaError>>,
}

impl Source {
    /// Tries a pipeline file out to learn what it gives; afterwards nothing runs.
    ///
    /// Takes as long as the source needs for its first frame: a camera about a second.
    ///
    /// # Errors
    /// If [`super::init`] fails, the file is wrong, it gives no media that can be sent, or nothing works
    /// that could encode it.
    pub async fn open(file: PipelineFile, options: SourceOptions) -> Result<Arc<Self>, MediaError> {
        let programs = Programs::start(&file);
        let end = Instant::now() + PROGRAMS_READY;
        let (outputs, codecs, encoders) = loop {
            match try_out(file.clone(), options.clone()).await {
                Err(MediaError::Run(_)) if programs.any() && Instant::now() < end => {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Err(error) => return Err(error.with_hint(file.hint())),
                Ok(found) => break found,
            }
        };

        let (asks, asked) = mpsc::channel(REQUESTS);
        let (activity_tx, activity) = watch::channel(Activity::Idle);
        let touch = Arc::new(Touch::default());
        let worker = worker::Worker::new(
            file.clone(),
            (outputs.clone(), encoders),
            touch.clone(),
            options,
            activity_tx,
            Arc::new(Notify::new()),
        );
        // Ends when the last handle on this source is gone.
        tokio::spawn(worker.work(asked));
        Ok(Arc::new(Self {
            asks,
            outputs,
            codecs,
            file,
            touch,
            activity,
            _programs: programs,
        }))
    }

    /// The pipeline file.
    #[must_use]
    pub const fn file(&self) -> &PipelineFile {
        &self.file
    }

    /// Width and height of the picture in pixels, if there is one and it says so.
    #[must_use]
    pub fn video_size(&self) -> Option<(u32, u32)> {
        self.output(Kind::Video)?.size
    }

    /// Whether there is any of a kind.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.output(kind).is_some()
    }

    /// Whether there is a picture.
    #[must_use]
    pub fn has_video(&self) -> bool {
        self.has(Kind::Video)
    }

    /// Whether there is sound.
    #[must_use]
    pub fn has_audio(&self) -> bool {
        self.has(Kind::Audio)
    }

    /// The codecs in which a stream can be sent from this machine, the preferred one first: for raw
    /// media those that are wanted and for which an encoder works, for encoded media just that codec.
    #[must_use]
    pub fn codecs(&self, kind: Kind) -> Vec<Codec> {
        let of_kind = self.codecs.iter().filter(|(of, _)| *of == kind);
        of_kind.flat_map(|(_, codecs)| codecs).copied().collect()
    }

    /// Draws a mark at a pixel of the picture if the pipeline file has `overlay = ["touch"]`;
    /// `down` is false when the finger is lifted.
    pub fn touch(&self, x: i32, y: i32, down: bool) {
        self.touch.set(x, y, down);
    }

    /// Whether the source runs, now and as it changes.
    #[must_use]
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.clone()
    }

    /// Leases a stream in a codec; starts what is needed for it. Pictures have a viewer, who gets them
    /// on the rung that it should be on.
    pub(super) async fn lease(
        &self,
        kind: Kind,
        codec: Codec,
        viewer: Option<Arc<Viewer>>,
    ) -> Result<Lease, MediaError> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            kind,
            codec,
            viewer,
            reply,
        };
        self.asks.send(ask).await.map_err(|_| MediaError::Closed)?;
        answer.await.map_err(|_| MediaError::Closed)?
    }

    fn output(&self, kind: Kind) -> Option<&Output> {
        self.outputs.iter().find(|output| output.kind == kind)
    }
}

/// Learns what a file's outputs give, and what can encode it.
async fn try_out(
    file: PipelineFile,
    options: SourceOptions,
) -> Result<(Vec<Output>, codecs::Codecs, Encoders), MediaError> {
    tokio::task::spawn_blocking(move || {
        super::init()?;
        file.check()?;
        let outputs = run::try_out(&file)?;
        let (codecs, encoders) = codecs::choose(&outputs, &file, &options)?;
        Ok((outputs, codecs, encoders))
    })
    .await
    .map_err(|error| MediaError::Run(error.to_string()))?
}

//! Records what a session receives into a file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::writer::{Container, Writer};
use super::{Frame, encoded_frames};
use crate::media::guard;
use crate::media::{Kind, MediaError, Receive, ReceivedTrack};

/// Frames on their way to the writer; more are dropped, pictures up to the next whole one.
const FRAMES: usize = 512;
/// How long the first track waits for the other one: a file's tracks are fixed at its start.
const COMPANY: Duration = Duration::from_secs(2);
/// Frames that wait for the other track; with more the file starts without it.
const EARLY: usize = 1024;
/// How long a finished recording may take to be complete on disk.
const FINISH: Duration = Duration::from_secs(5);

/// What one session receives, for a recorder at any time: its first video and its first audio track.
/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Mutex<Tapped>>);

#[derive(Debug, Default)]
struct Tapped {
    tracks: Vec<(Kind, glib::WeakRef<gst::Element>)>,
    /// Where frames go while a recorder runs.
    recorder: Option<mpsc::Sender<Frame>>,
    /// Recorders until now.
    count: u64,
}

/// Records what a tap gives.
#[derive(Debug)]
pub struct Recorder {
    tap: Tap,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Option<Recorded>, MediaError>>,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Where it is.
    pub path: PathBuf,
    /// From its first frame to its last.
    pub duration: Duration,
}

impl Tap {
    /// For a session's configuration.
    #[must_use]
    pub fn receive(&self) -> Receive {
        let tap = self.clone();
        Receive::Into(Arc::new(move |track| tap.take(track)))
    }

    /// Hands a track's frames to whichever recorder runs.
    fn take(&self, track: &ReceivedTrack) -> Option<gst::Element> {
        let mut tapped = self.lock();
        if tapped.tracks.iter().any(|(kind, _)| *kind == track.kind) {
            tracing::warn!(
                kind = track.kind.name(),
                "only the first track of a kind is recorded"
            );
            return None;
        }
        let tap = self.clone();
        // The recorder that has got a whole picture and all that came since.
        let whole = AtomicU64::new(0);
        let element = encoded_frames(track, move |frame| tap.give(frame, &whole))?;
        tapped.tracks.push((track.kind, element.downgrade()));
        Some(element)
    }

    fn give(&self, frame: Frame, whole: &AtomicU64) {
        let (recorder, count) = {
            let tapped = self.lock();
            match &tapped.recorder {
                Some(recorder) => (recorder.clone(), tapped.count),
                None => return,
            }
        };
        let was_whole = whole.load(Ordering::Relaxed) == count;
        // Pictures need what came before them, from the last whole one on.
        if !was_whole && !frame.key {
            return;
        }
        let is_whole = match recorder.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        };
        if was_whole && !is_whole {
            tracing::warn!("the disk is too slow: frames are left out of the recording");
        }
        whole.store(if is_whole { count } else { 0 }, Ordering::Relaxed);
    }

    /// Gives the frames to another recorder, and asks for a whole picture for it; or to none.
    fn turn(&self, recorder: Option<mpsc::Sender<Frame>>) {
        let tracks: Vec<_> = {
            let mut tapped = self.lock();
            tapped.count += u64::from(recorder.is_some());
            tapped.recorder = recorder;
            let tracks = tapped.tracks.iter().filter(|_| tapped.recorder.is_some());
            tracks.filter_map(|(_, track)| track.upgrade()).collect()
        };
        for pad in tracks.iter().filter_map(|it| it.static_pad("sink")) {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder();
            pad.push_event(event.all_headers(true).build());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Starts a recorder; one that the tap has already gets nothing more. The file is made when media
    /// comes; if there is one of that name, the new one gets a number (`call-2.webm`).
    #[must_use]
    pub fn start(tap: &Tap, path: PathBuf, container: Container) -> Self {
        let (frames, queue) = mpsc::channel(FRAMES);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let recorded = record(path, container, queue, stopped).await;
            // At once, not only when the recording is finished.
            recorded.inspect_err(|error| tracing::error!(%error, "the recording is not complete"))
        });
        tap.turn(Some(frames));
        Self {
            tap: tap.clone(),
            stop,
            task,
        }
    }

    /// Takes no more, from now on. To be completed then, and before another one starts.
    pub fn end(&self) {
        self.tap.turn(None);
    }

    /// Completes the file; `None` if no media came. Takes 5 s at most.
    ///
    /// # Errors
    /// If the file can't be written.
    pub async fn finish(self) -> Result<Option<Recorded>, MediaError> {
        // The task may have failed and ended before.
        let _ = self.stop.send(());
        self.task
            .await
            .map_err(|error| MediaError::Run(error.to_string()))?
    }
}

/// Writes one file, from its first frame until it is stopped.
async fn record(
    path: PathBuf,
    container: Container,
    mut frames: mpsc::Receiver<Frame>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Option<Recorded>, MediaError> {
    let early = gather(&mut frames, &mut stopped).await;
    let mut first = Vec::new();
    for kind in [Kind::Video, Kind::Audio] {
        if let Some(frame) = early.iter().find(|frame| frame.kind == kind) {
            first.push((kind, frame.codec, frame.caps.clone()));
        }
    }
    let Some(start) = early.iter().map(|frame| frame.time).min() else {
        return Ok(None);
    };
    let opened = tokio::task::spawn_blocking(move || Writer::open(&path, container, &first, start));
    let mut writer = opened
        .await
        .map_err(|error| MediaError::Run(error.to_string()))??;
    tracing::info!(file = %writer.path().display(), "recording");
    match fill(&mut writer, early, &mut frames, &mut stopped).await {
        Ok(()) => Ok(Some(writer.close().await)),
        Err(error) => Err(MediaError::Run(format!(
            "the file {} ends too early: {error}",
            writer.path().display()
        ))),
    }
}

/// Writes frames until there are no more, and completes the file.
async fn fill(
    writer: &mut Writer,
    early: Vec<Frame>,
    frames: &mut mpsc::Receiver<Frame>,
    stopped: &mut oneshot::Receiver<()>,
) -> Result<(), MediaError> {
    let mut messages = writer.bus()?.stream();
    let mut written = early.into_iter().try_for_each(|frame| writer.write(frame));
    while written.is_ok() {
        tokio::select! {
            // What was received before the end belongs into the file.
            biased;
            Some(message) = messages.next() => fail_on_error(&message)?,
            frame = frames.recv() => match frame {
                Some(frame) => written = writer.write(frame),
                None => break,
            },
            _ = &mut *stopped => break,
        }
    }
    writer.end();
    let complete = async {
        while let Some(message) = messages.next().await {
            fail_on_error(&message)?;
            if matches!(message.view(), gst::MessageView::Eos(_)) {
                break;
            }
        }
        Ok::<_, MediaError>(())
    };
    let completed = timeout(FINISH, complete).await.unwrap_or_else(|_| {
        let seconds = FINISH.as_secs();
        let why = format!("it was not complete within {seconds} s");
        Err(MediaError::Run(why))
    });
    // What the pipeline says of it says more than that it takes nothing more.
    completed.and(written)
}

/// Takes frames until both kinds of media are there, or it is time to start without the other.
async fn gather(
    frames: &mut mpsc::Receiver<Frame>,
    stopped: &mut oneshot::Receiver<()>,
) -> Vec<Frame> {
    let mut early: Vec<Frame> = Vec::new();
    let mut deadline: Option<Instant> = None;
    while early.len() < EARLY && !early.windows(2).any(|pair| pair[0].kind != pair[1].kind) {
        let company = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            frame = frames.recv() => match frame {
                Some(frame) => early.push(frame),
                None => break,
            },
            () = company => break,
            _ = &mut *stopped => break,
        }
        deadline = deadline.or(Some(Instant::now() + COMPANY));
    }
    early
}

fn fail_on_error(message: &gst::Message) -> Result<(), MediaError> {
    let gst::MessageView::Error(error) = message.view() else {
        return Ok(());
    };
    let reason = error.error();
    let why = match getrlimit(Resource::Fsize).current {
        _ if reason.matches(gst::ResourceError::NoSpaceLeft) => {
            "no space is left on the disk".to_owned()
        }
        Some(most) if reason.matches(gst::ResourceError::Write) => format!(
            "{}; a file may have no more than {most} bytes here (ulimit -f)",
            guard::describe(message)
        ),
        _ => guard::describe(message),
    };
    Err(MediaError::Run(why))
}

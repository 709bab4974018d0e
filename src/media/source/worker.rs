//! The one task of a source: starts and stops its pipeline and its encoders.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gstreamer as gst;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::adapt::{self, Audience};
use super::run::{Format, Output, Run};
use super::stage::Stage;
use super::{Activity, Ask, Lease, SourceOptions, Viewer};
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::congestion::Rung;
use crate::media::encoder::Encoders;
use crate::media::guard;
use crate::media::overlay::Touch;
use crate::media::pipeline::PipelineFile;

/// The pause before a failed source starts again: at first, and at most. Doubles in between.
const RESTART_FIRST: Duration = Duration::from_millis(500);
/// See [`RESTART_FIRST`].
const RESTART_MOST: Duration = Duration::from_secs(10);
/// After this long without a failure the pause is short again.
const HEALTHY: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Worker {
    file: PipelineFile,
    outputs: Vec<Output>,
    encoders: Encoders,
    touch: Arc<Touch>,
    options: SourceOptions,
    activity: watch::Sender<Activity>,
    changed: Arc<Notify>,
    run: Option<Running>,
    stages: Vec<Held>,
    restart: Option<Instant>,
    pause: Duration,
    audiences: Vec<Audience>,
    /// It was said that passed-through media can't adapt.
    told_rigid: bool,
    /// When the viewers' paths are looked at next; never without viewers.
    next_look: Option<Instant>,
}

struct Running {
    run: Run,
    messages: gst::bus::BusStream,
    since: Instant,
}

struct Held {
    stage: Stage,
    /// When its last lease ended.
    idle: Option<Instant>,
    /// Watches the encoder's bus.
    watch: tokio::task::JoinHandle<()>,
}

impl Held {
    fn gives(&self) -> (Kind, Codec, Rung) {
        (self.stage.kind, self.stage.codec, self.stage.rung)
    }

    /// When it is to stop if nobody comes. The low rung has nobody to wait for.
    fn ends(&self, linger: Duration) -> Option<Instant> {
        let idle = self.idle?;
        Some(match self.stage.rung {
            Rung::Full => idle + linger,
            Rung::Low => idle,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Worker {
    pub(super) fn new(
        file: PipelineFile,
        (outputs, encoders): (Vec<Output>, Encoders),
        touch: Arc<Touch>,
        options: SourceOptions,
        activity: watch::Sender<Activity>,
        changed: Arc<Notify>,
    ) -> Self {
        let (run, stages, restart) = (None, Vec::new(), None);
        Self {
            file,
            outputs,
            encoders,
            touch,
            options,
            activity,
            changed,
            run,
            stages,
            restart,
            pause: RESTART_FIRST,
            audiences: Vec::new(),
            told_rigid: false,
            next_look: None,
        }
    }

    /// Works until every handle on the source is gone.
    pub(super) async fn work(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let changed = self.changed.clone();
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(Ask { kind, codec, viewer, reply }) => {
                        let lease = self.lease(kind, codec, viewer).await;
                        // A lease that nobody waits for any more is given back by its drop.
                        drop(reply.send(lease));
                    }
                    None => return,
                },
                () = changed.notified() => self.look_at_users(),
                () = until(self.next_deadline()) => self.tick().await,
                () = until(self.next_look) => self.look_at_paths().await,
                message = next_message(&mut self.run) => self.message(message),
            }
        }
    }

    async fn lease(
        &mut self,
        kind: Kind,
        codec: Codec,
        viewer: Option<Arc<Viewer>>,
    ) -> Result<Lease, MediaError> {
        self.drop_failed();
        let rung = viewer
            .as_ref()
            .map_or(Rung::Full, |viewer| *viewer.rung().borrow());
        if let Some(viewer) = viewer {
            self.admit(codec, &viewer);
        }
        let wanted = (kind, codec, rung);
        if let Some(held) = self.stages.iter_mut().find(|held| held.gives() == wanted) {
            held.idle = None;
            return Ok(held.stage.lease());
        }
        let output = self
            .outputs
            .iter()
            .find(|output| output.kind == kind)
            .cloned()
            .ok_or_else(|| MediaError::NoSuchStream {
                kind,
                wanted: vec![codec],
            })?;
        if self.run.is_none() {
            self.start().await?;
        }
        let Some(running) = self.run.take() else {
            return Err(MediaError::Closed);
        };
        let (encoders, changed) = (self.encoders.clone(), self.changed.clone());
        let (running, stage) = blocking(move || {
            let wanted = (codec, rung);
            let stage = Stage::start(&output, wanted, &encoders, &running.run, &changed);
            (running, stage)
        })
        .await?;
        self.run = Some(running);
        match stage {
            Ok(stage) => {
                let lease = stage.lease();
                let watch = tokio::spawn(watch_stage(stage.bus(), stage.shared.clone()));
                self.stages.push(Held {
                    stage,
                    idle: None,
                    watch,
                });
                Ok(lease)
            }
            Err(error) => {
                self.stop_if_unused();
                Err(error)
            }
        }
    }

    /// Takes in a viewer of pictures.
    fn admit(&mut self, codec: Codec, viewer: &Arc<Viewer>) {
        let known = self.audiences.iter().position(|it| it.codec() == codec);
        let index = known.unwrap_or_else(|| {
            self.audiences.push(Audience::new(codec));
            self.audiences.len() - 1
        });
        self.audiences[index].admit(viewer);
        self.next_look.get_or_insert_with(Instant::now);
        let output = self.outputs.iter().find(|it| it.kind == Kind::Video);
        if output.is_some_and(|it| it.format != Format::Raw) && !self.told_rigid {
            self.told_rigid = true;
            tracing::info!(
                pipeline = self.file.name(),
                "media that is encoded already can't follow a viewer's connection; raw media would"
            );
        }
    }

    /// Lets the encoders follow their viewers' paths.
    async fn look_at_paths(&mut self) {
        self.audiences.retain(|audience| !audience.is_empty());
        let size = self.outputs.iter().find_map(|output| output.size);
        let mut aims = Vec::new();
        for audience in &mut self.audiences {
            let of_codec = self.stages.iter().map(|held| &held.stage);
            let knobs: Vec<_> = of_codec
                .filter(|stage| stage.codec == audience.codec())
                .filter_map(|stage| Some((stage.rung, stage.knobs.clone()?)))
                .collect();
            match knobs.is_empty() {
                true => audience.tell(size),
                false => aims.extend(audience.look(&knobs)),
            }
        }
        self.next_look = (!self.audiences.is_empty()).then(|| Instant::now() + adapt::INTERVAL);
        let turned = blocking(move || aims.into_iter().for_each(|(knobs, aim)| knobs.aim(aim)));
        if let Err(error) = turned.await {
            tracing::debug!(%error, "the encoders could not be adapted");
        }
    }

    /// Starts the pipeline, and connects the encoders that there are already.
    async fn start(&mut self) -> Result<(), MediaError> {
        let (file, outputs, touch) = (self.file.clone(), self.outputs.clone(), self.touch.clone());
        let run = blocking(move || Run::start(&file, &outputs, &touch)).await??;
        for held in &mut self.stages {
            held.stage.connect(&run)?;
        }
        let messages = run.bus().ok_or(MediaError::Closed)?.stream();
        self.run = Some(Running {
            run,
            messages,
            since: Instant::now(),
        });
        self.restart = None;
        let before = self.activity.send_replace(Activity::Running);
        let again = before == Activity::Restarting;
        match again {
            true => tracing::info!(pipeline = self.file.name(), "a source started again"),
            false => tracing::debug!(pipeline = self.file.name(), "source started"),
        }
        Ok(())
    }

    /// Who uses an encoder that failed leases another one.
    fn drop_failed(&mut self) {
        let failed = self.stages.extract_if(.., |held| held.stage.has_failed());
        for held in failed {
            if let Some(encoder) = held.stage.encoder() {
                self.encoders.fail(encoder);
            }
        }
    }

    /// Leases ended, or an encoder failed.
    fn look_at_users(&mut self) {
        self.drop_failed();
        for held in &mut self.stages {
            match held.stage.is_used() {
                true => held.idle = None,
                false => held.idle = held.idle.or(Some(Instant::now())),
            }
        }
        self.stop_if_unused();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let idle = self
            .stages
            .iter()
            .filter_map(|held| held.ends(self.options.linger));
        let stall = self.stalled().map(|after| Instant::now() + after);
        idle.chain(self.restart).chain(stall).min()
    }

    /// How long the source may yet give no media before it counts as stalled.
    fn stalled(&self) -> Option<Duration> {
        let silence = self.run.as_ref()?.run.silence();
        Some(self.file.stall()?.saturating_sub(silence))
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        let linger = self.options.linger;
        self.stages
            .retain(|held| held.ends(linger).is_none_or(|at| at > now) || held.stage.is_used());
        self.stop_if_unused();
        if self.stalled() == Some(Duration::ZERO) {
            let seconds = self.file.stall().unwrap_or_default().as_secs();
            self.fail(&format!("it gave nothing for {seconds} s"));
        }
        if self.restart.is_some_and(|at| at <= now) {
            self.restart = None;
            if let Err(error) = self.start().await {
                self.fail(&error.to_string());
            }
        }
    }

    fn message(&mut self, message: Option<gst::Message>) {
        let Some(message) = message else {
            return self.fail("its bus ended");
        };
        match message.view() {
            gst::MessageView::SegmentDone(_) => {
                if let Some(running) = &self.run {
                    running.run.repeat();
                }
            }
            gst::MessageView::Error(_) | gst::MessageView::Eos(_) => {
                self.fail(&guard::describe(&message))
            }
            _ => {}
        }
    }

    /// The pipeline failed or ended: start it again later, if somebody still watches.
    fn fail(&mut self, why: &str) {
        let healthy = self
            .run
            .take()
            .is_some_and(|running| running.since.elapsed() >= HEALTHY);
        if healthy {
            self.pause = RESTART_FIRST;
        }
        let check = self.file.hint().unwrap_or("is its source still there?");
        tracing::warn!(pipeline = self.file.name(), why, check, pause = ?self.pause, "a source stopped; it starts again after a pause");
        self.restart = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RESTART_MOST);
        self.activity.send_replace(Activity::Restarting);
        self.stop_if_unused();
    }

    fn stop_if_unused(&mut self) {
        if self.stages.is_empty() && (self.run.is_some() || self.restart.is_some()) {
            self.run = None;
            self.restart = None;
            self.activity.send_replace(Activity::Idle);
            tracing::debug!(pipeline = self.file.name(), "source stopped");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, MediaError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| MediaError::Run(error.to_string()))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn next_message(run: &mut Option<Running>) -> Option<gst::Message> {
    match run {
        Some(running) => running.messages.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the encoder to fail.
async fn watch_stage(bus: Option<gst::Bus>, shared: Arc<super::stage::Shared>) {
    let Some(bus) = bus else { return };
    let mut messages = bus.stream();
    while let Some(message) = messages.next().await {
        if matches!(message.view(), gst::MessageView::Error(_)) {
            let why = guard::describe(&message);
            tracing::warn!(why, "an encoder failed");
            return shared.fail(why);
        }
    }
}

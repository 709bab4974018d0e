//! How a worker starts: its script is fetched, compiled and run, and its media session is built, so
//! that what fails can still be said instead of an answer (gecko.md B1).

use std::sync::Arc;

use super::Shared;
use crate::dialect::cause::Errno;
use crate::dialect::gecko::client::{Demand, Job, WorkerId};
use crate::media::{MediaError, Offered, Session, SessionConfig, SessionEvents, Source};
use crate::peer::conversation::streams;
use crate::peer::reception::{Receiver, Reception};
use crate::worker::{
    Events, Loader, Media, MediaLine, Options, Script, ScriptKind, StartError, Worker,
};

/// Channel messages and other events that wait for a worker's task; of one more the worker dies. The
/// bytes of messages are bounded besides.
const QUEUE: usize = 16 * 1024;

/// Why there is no worker.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    pub(super) reason: String,
}

/// A worker that has run its script's top level, and a session that can answer.
pub(super) struct Started {
    pub(super) session: Session,
    pub(super) events: SessionEvents,
    pub(super) receiver: Option<Receiver>,
    pub(super) script: Option<(Worker, Events)>,
    /// What the script is told of its client's media.
    pub(super) media: Media,
    /// Whether the client can open a channel for the script.
    pub(super) has_channels: bool,
}

impl Refusal {
    pub(super) fn new(errno: Errno, reason: impl Into<String>) -> Self {
        Self {
            errno,
            reason: reason.into(),
        }
    }
}

impl From<MediaError> for Refusal {
    fn from(error: MediaError) -> Self {
        let errno = match error {
            MediaError::Description(_)
            | MediaError::NoCommonCodec { .. }
            | MediaError::NoCommonFormat { .. }
            | MediaError::Negotiation { .. } => Errno::BAD_MESSAGE,
            _ => Errno::INTERNAL,
        };
        Self::new(errno, error.to_string())
    }
}

/// Starts everything that a demand needs.
pub(super) async fn start(shared: &Shared, demand: &Demand) -> Result<Started, Refusal> {
    let offered = Offered::read(demand.offer.as_str())?;
    let source = source(shared, &demand.job, &offered)?;
    let sends = offered.lines.iter().any(|line| line.sends);
    let reception = &shared.media.reception;
    let is_looked_at = reception.is_observed() || (sends && reception.is_wanted());
    let receiver = is_looked_at.then(|| reception.start(Some(demand.worker.as_str())));
    let media = described(
        shared,
        &demand.worker,
        &offered,
        source.as_ref(),
        receiver.is_some(),
    );
    let config = SessionConfig {
        name: demand.worker.as_str().to_owned(),
        streams: streams(source.as_ref()),
        receive: receiver.as_ref().map(Receiver::receive).unwrap_or_default(),
        queue: QUEUE,
        ..shared.media.ice.session(&[&demand.ice_servers]).await
    };
    let session = async { Session::start(config).await.map_err(Refusal::from) };
    let script = async {
        match &demand.job {
            Job::Script(url) => run(shared, url, &media).await.map(Some),
            Job::Pipeline(_) => Ok(None),
        }
    };
    let ((session, events), script) = tokio::try_join!(session, script)?;
    let has_channels = offered.channels && script.is_some();
    Ok(Started {
        session,
        events,
        receiver,
        script,
        media,
        has_channels,
    })
}

/// What plays to the client, if its offer has a use for anything.
fn source(shared: &Shared, job: &Job, offered: &Offered) -> Result<Option<Arc<Source>>, Refusal> {
    let has_media = !offered.lines.is_empty();
    match job {
        Job::Pipeline(name) => {
            let source = shared.pipeline(name);
            let source =
                source.map_err(|why| Refusal::new(Errno::UNABLE_TO_FETCH_WORKER_CODE, why))?;
            if !has_media {
                let why = "a pipeline plays on media lines, and the offer has none";
                return Err(Refusal::new(Errno::BAD_MESSAGE, why));
            }
            Ok(Some(Arc::clone(source)))
        }
        Job::Script(_) if !has_media && !offered.channels => {
            let why = "the offer has neither a data channel nor media";
            Err(Refusal::new(Errno::BAD_MESSAGE, why))
        }
        Job::Script(_) => Ok(shared.media.source.clone().filter(|_| has_media)),
    }
}

/// What a script is told of the media.
fn described(
    shared: &Shared,
    worker: &WorkerId,
    offered: &Offered,
    source: Option<&Arc<Source>>,
    is_recorded: bool,
) -> Media {
    let lines = offered.lines.iter().map(|line| MediaLine {
        kind: line.kind.name().to_owned(),
        plays: line.takes,
        sends: line.sends,
    });
    let is_filed = is_recorded && matches!(shared.media.reception, Reception::Directory(..));
    Media {
        lines: lines.collect(),
        playing: source.map(|source| source.file().word().to_owned()),
        recording: is_filed.then(|| worker.to_string()),
        error: None,
    }
}

/// Fetches a script and runs its top level.
async fn run(shared: &Shared, url: &str, media: &Media) -> Result<(Worker, Events), Refusal> {
    let script = shared.fetcher.script(url).await.map_err(|error| {
        let why = format!("{url} could not be loaded: {error}");
        Refusal::new(Errno::UNABLE_TO_FETCH_WORKER_CODE, why)
    })?;
    let loader: Arc<dyn Loader> = Arc::clone(&shared.fetcher) as _;
    let options = |script| Options {
        limits: shared.limits.clone(),
        media: media.clone(),
        ..Options::new(script, Arc::clone(&loader))
    };
    let as_module = looks_like_a_module(&script).then(|| Script {
        kind: ScriptKind::Module,
        ..script.clone()
    });
    let started = match (Worker::start(options(script)).await, as_module) {
        // Nothing of it has run yet.
        (Err(StartError::Syntax(_)), Some(module)) => Worker::start(options(module)).await,
        (started, _) => started,
    };
    started.map_err(|error| {
        let errno = match &error {
            StartError::Fetch { .. } => Errno::UNABLE_TO_FETCH_WORKER_CODE,
            StartError::Syntax(_) => Errno::SYNTAX_ERROR_IN_WORKER_CODE,
            StartError::Process(_) => Errno::INTERNAL,
            _ => Errno::UNCAUGHT_EXCEPTION_IN_WORKER_CODE,
        };
        Refusal::new(errno, error.to_string())
    })
}

/// Whether a script that doesn't parse as a classic one is worth another try: nothing in the protocol
/// says which kind it is.
fn looks_like_a_module(script: &Script) -> bool {
    let mut lines = script.text.lines().map(str::trim_start);
    script.kind == ScriptKind::Classic
        && lines.any(|line| {
            ["import", "export", "await"]
                .iter()
                .any(|word| line.starts_with(word))
        })
}

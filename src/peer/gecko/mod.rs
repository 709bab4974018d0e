//! A gecko: it registers at a server, and runs a worker for every demand.
//!
//! One task owns the signaling connection and connects anew for ever; one task for each worker owns
//! its script and its media session. A worker outlives the signaling: its channel goes on while the
//! server is away.

mod bridge;
mod live;
mod run;
mod start;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::run::{Run, Told};
use super::backoff::{self, Backoff};
use super::call::Media;
use super::events::Events;
use super::link::{Dialer, Link, LinkError};
use crate::dialect::gecko::client::{GeckoClient, GeckoEvent, WorkerId};
use crate::hub::Payload;
use crate::media::Source;
use crate::worker::Limits;
use crate::worker::fetch::Fetcher;
use tracing::{Instrument as _, error_span};

/// Where geckos register.
pub const PATH: &str = "/worker";

/// Messages that wait for one worker; of one more the worker dies. Browsers send about a dozen
/// candidates.
const INBOX: usize = 256;
/// Frames of all workers that wait to be sent to the server, also while it is away; more are lost.
const OUTBOX: usize = 1024;
/// How long the workers may take to end when the gecko stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// A server's close code for a gecko whose id registered anew, from elsewhere.
const REPLACED: u16 = 4001;
/// The status of a server that takes no gecko without a good token (RFC 9110 section 15.5.2).
const UNAUTHORIZED: u16 = 401;

/// What a gecko is.
pub struct Options {
    /// The id to register under; it should stay the same over restarts.
    pub id: String,
    /// Workers at once.
    pub capacity: usize,
    /// What media lines are answered with beside a script, and what becomes of received media.
    pub media: Media,
    /// The pipelines that clients and scripts may choose from, by name.
    pub pipelines: Vec<Arc<Source>>,
    /// What one worker may use.
    pub limits: Limits,
    /// What loads scripts.
    pub fetcher: Fetcher,
    /// Who is told of recordings, as lines of JSON.
    pub events: Vec<mpsc::Sender<Arc<str>>>,
}

/// A gecko, ready to register.
pub struct Gecko {
    id: String,
    capacity: usize,
    shared: Arc<Shared>,
}

/// Why a gecko ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeckoError {
    /// Another one has registered under the same id.
    #[error("another gecko has registered as {0}; give each its own --id")]
    Replaced(String),
    /// The server wants another token.
    #[error("the server takes this gecko only with a valid token; give one with --token")]
    Unauthorized,
}

/// What all workers of a gecko share.
struct Shared {
    media: Media,
    pipelines: Vec<Arc<Source>>,
    limits: Limits,
    fetcher: Arc<Fetcher>,
    events: Events,
}

/// The running gecko.
struct Running {
    client: GeckoClient,
    shared: Arc<Shared>,
    inboxes: HashMap<WorkerId, mpsc::Sender<Told>>,
    workers: JoinSet<WorkerId>,
    replies: mpsc::Sender<Payload>,
    /// A frame that the last connection may not have brought to the server.
    unsent: Option<Payload>,
}

/// An id that stays the same over restarts: this machine's name.
#[must_use]
pub fn machine_id() -> String {
    gstreamer::glib::host_name().to_string()
}

impl Gecko {
    /// Prepares a gecko.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            id: options.id,
            capacity: options.capacity,
            shared: Arc::new(Shared {
                media: options.media,
                pipelines: options.pipelines,
                limits: options.limits,
                fetcher: Arc::new(options.fetcher),
                events: Events::new(options.events),
            }),
        }
    }

    /// Registers, runs workers, and connects anew whenever the connection is lost, until `shutdown`
    /// ends. Then all workers are ended, and their clients are told.
    ///
    /// # Errors
    /// If the server won't have this gecko, however often it asks.
    #[tracing::instrument(level = "error", name = "gecko", skip_all, fields(id = %self.id))]
    pub async fn run(
        self,
        dialer: Dialer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GeckoError> {
        let (replies, mut outgoing) = mpsc::channel(OUTBOX);
        let mut running = Running {
            client: GeckoClient::new(&self.id, self.capacity),
            shared: self.shared,
            inboxes: HashMap::new(),
            workers: JoinSet::new(),
            replies,
            unsent: None,
        };
        let result = tokio::select! {
            error = running.stay_registered(&self.id, &dialer, &mut outgoing) => Err(error),
            () = shutdown => Ok(()),
        };
        running.stop().await;
        result
    }
}

impl Shared {
    /// A pipeline that may be played.
    fn pipeline(&self, name: &str) -> Result<&Arc<Source>, String> {
        let mut known = self.pipelines.iter();
        known
            .find(|source| source.file().word() == name)
            .ok_or_else(|| {
                let names = self.pipelines.iter().map(|source| source.file().word());
                let names = names.collect::<Vec<_>>().join(", ");
                format!("this gecko has no pipeline {name:?} to play; it has {names}")
            })
    }
}

impl Running {
    async fn stay_registered(
        &mut self,
        id: &str,
        dialer: &Dialer,
        outgoing: &mut mpsc::Receiver<Payload>,
    ) -> GeckoError {
        let mut backoff = Backoff::default();
        loop {
            let error = match dialer.dial().await {
                Ok(mut link) => {
                    let since = Instant::now();
                    let error = self.serve(id, dialer, &mut link, outgoing).await;
                    // A server doesn't answer a registration; one that it refuses ends at once.
                    if since.elapsed() > backoff::CAP {
                        backoff.reset();
                    }
                    link.close().await;
                    error
                }
                Err(error) => error,
            };
            match error {
                LinkError::Closed { code: REPLACED, .. } => {
                    return GeckoError::Replaced(id.to_owned());
                }
                LinkError::Refused(status, _) if status.as_u16() == UNAUTHORIZED => {
                    return GeckoError::Unauthorized;
                }
                _ => {}
            }
            let wait = backoff.next(fastrand::f64());
            tracing::warn!(server = %dialer.url(), %error, retry_ms = wait.as_millis(), "no signaling");
            self.wait(wait).await;
        }
    }

    /// Waits without a connection; workers end meanwhile.
    async fn wait(&mut self, time: Duration) {
        let until = sleep(time);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                Some(ended) = self.workers.join_next() => self.forget(ended),
            }
        }
    }

    /// Serves one connection; why it ended.
    async fn serve(
        &mut self,
        id: &str,
        dialer: &Dialer,
        link: &mut Link,
        outgoing: &mut mpsc::Receiver<Payload>,
    ) -> LinkError {
        if let Err(error) = link.send(self.client.opened().as_str()).await {
            return error;
        }
        tracing::info!(id, server = %dialer.url(), "registered");
        self.shared.media.reception.registered();
        if let Some(frame) = self.unsent.take()
            && let Err(error) = self.send(link, frame).await
        {
            return error;
        }
        loop {
            let reply = tokio::select! {
                frame = link.receive() => match frame {
                    Ok(frame) => self.frame(&frame),
                    Err(error) => return error,
                },
                Some(frame) = outgoing.recv() => Some(frame),
                Some(ended) = self.workers.join_next() => {
                    self.forget(ended);
                    None
                }
            };
            if let Some(frame) = reply
                && let Err(error) = self.send(link, frame).await
            {
                return error;
            }
        }
    }

    /// Sends a frame, now or over the next connection.
    async fn send(&mut self, link: &mut Link, frame: Payload) -> Result<(), LinkError> {
        let sent = link.send(frame.as_str()).await;
        if sent.is_err() {
            self.unsent = Some(frame);
        }
        sent
    }

    /// What the server says; what to answer at once.
    fn frame(&mut self, frame: &str) -> Option<Payload> {
        match self.client.frame(Instant::now(), frame)? {
            GeckoEvent::NewWorker(demand) => {
                let worker = demand.worker.clone();
                let (inbox, told) = mpsc::channel(INBOX);
                let run = Run::new(
                    worker.clone(),
                    Arc::clone(&self.shared),
                    self.replies.clone(),
                );
                self.inboxes.insert(worker.clone(), inbox);
                let session = error_span!("session", %worker);
                let run = async move {
                    // Whatever happens, the worker counts no longer.
                    let run = AssertUnwindSafe(run.run(demand, told)).catch_unwind();
                    if run.await.is_err() {
                        tracing::error!("a worker's task died");
                    }
                    worker
                };
                self.workers.spawn(run.instrument(session));
            }
            GeckoEvent::Candidate { worker, candidate } => {
                self.tell(&worker, Told::Candidate(candidate));
            }
            GeckoEvent::Closed { worker, reason } => self.tell(&worker, Told::Closed(reason)),
            GeckoEvent::Reply { frame, why } => {
                tracing::warn!(%why, "a demand is refused");
                return Some(frame);
            }
            GeckoEvent::ServerError(error) => {
                tracing::warn!(%error, "the server reports an error");
            }
            GeckoEvent::Unreadable(why) => tracing::warn!(%why, "an unreadable message"),
        }
        None
    }

    fn tell(&mut self, worker: &WorkerId, what: Told) {
        if let Some(inbox) = self.inboxes.get(worker)
            && matches!(
                inbox.try_send(what),
                Err(mpsc::error::TrySendError::Full(_))
            )
        {
            tracing::warn!(%worker, "its client sends more than its session takes; it is ended");
            self.inboxes.remove(worker);
        }
    }

    fn forget(&mut self, ended: Result<WorkerId, tokio::task::JoinError>) {
        match ended {
            Ok(worker) => {
                self.inboxes.remove(&worker);
                self.client.ended(&worker);
            }
            Err(error) => tracing::error!(%error, "a worker's task was cut off"),
        }
    }

    /// Lets every worker end.
    async fn stop(mut self) {
        self.inboxes.clear();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("some workers did not end in time");
        }
    }
}

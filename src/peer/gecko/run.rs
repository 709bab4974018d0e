//! One worker, from its demand to its end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::live::Live;
use super::start::{self, Refusal, Started};
use crate::dialect::cause::Errno;
use crate::dialect::gecko::client::{Demand, WorkerId};
use crate::dialect::gecko::wire;
use crate::dialect::negotiation::Candidate;
use crate::hub::Payload;

/// The client's candidates that wait while the script starts; more are dropped.
const CANDIDATES: usize = 64;

/// What the server says about a worker.
pub(super) enum Told {
    /// A way to reach its client.
    Candidate(Candidate),
    /// Its client is gone.
    Closed(String),
}

/// See the module.
pub(super) struct Run {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) replies: mpsc::Sender<Payload>,
    pub(super) began: Instant,
}

/// The worker is over.
pub(super) enum End {
    /// Its client, the script or the gecko ended it.
    Left(String),
    Failed(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal)
    }
}

impl End {
    /// The gecko stops, or the worker's inbox is full.
    pub(super) fn dismissed() -> Self {
        Self::Left("the gecko ended it".to_owned())
    }

    pub(super) fn failed(errno: Errno, why: impl Into<String>) -> Self {
        Self::Failed(Refusal::new(errno, why))
    }
}

impl Run {
    pub(super) fn new(id: WorkerId, shared: Arc<Shared>, replies: mpsc::Sender<Payload>) -> Self {
        Self {
            id,
            shared,
            replies,
            began: Instant::now(),
        }
    }

    /// Runs the worker until it, its channel, its connection or `inbox` ends.
    pub(super) async fn run(self, demand: Demand, mut inbox: mpsc::Receiver<Told>) {
        let (id, replies) = (self.id.clone(), self.replies.clone());
        let mut live = None;
        let end = self.serve(&mut live, demand, &mut inbox).await;
        drop(inbox);
        match end {
            End::Left(why) => tracing::info!(%why, "worker ended"),
            End::Failed(Refusal { errno, reason }) => {
                tracing::warn!(errno = errno.0, why = %reason, "worker ended");
                let is_told = live.as_mut().is_some_and(|live| live.tell_fatal(&reason));
                if !is_told {
                    let error = wire::worker_error(Some(id.as_str()), errno, &reason);
                    send(&replies, &id, error);
                }
            }
        }
        if let Some(live) = live {
            live.close().await;
        }
    }

    async fn serve(
        self,
        live: &mut Option<Live>,
        demand: Demand,
        inbox: &mut mpsc::Receiver<Told>,
    ) -> End {
        let mut candidates = demand.candidates.clone();
        let started = match self.start(&demand, &mut candidates, inbox).await {
            Ok(started) => started,
            Err(end) => return end,
        };
        let live = live.insert(Live::new(self, started));
        if let Err(end) = live.answer(&demand.offer, candidates).await {
            return end;
        }
        live.talk(inbox).await
    }

    /// Starts the worker, unless its client leaves meanwhile.
    async fn start(
        &self,
        demand: &Demand,
        candidates: &mut Vec<Candidate>,
        inbox: &mut mpsc::Receiver<Told>,
    ) -> Result<Started, End> {
        let starting = start::start(&self.shared, demand);
        tokio::pin!(starting);
        loop {
            tokio::select! {
                started = &mut starting => return started.map_err(End::from),
                told = inbox.recv() => match told {
                    Some(Told::Candidate(it)) if candidates.len() < CANDIDATES => candidates.push(it),
                    Some(Told::Candidate(_)) => {}
                    Some(Told::Closed(why)) => return Err(End::Left(why)),
                    None => return Err(End::dismissed()),
                }
            }
        }
    }
}

/// Sends a frame to the server. When it is far behind, or long away, there is no way.
pub(super) fn send(replies: &mpsc::Sender<Payload>, worker: &WorkerId, frame: Payload) {
    if replies.try_send(frame).is_err() {
        tracing::warn!(%worker, "a message to the server is lost: too many wait");
    }
}

//! From GStreamer's threads to the task that owns a session: a bounded queue that never waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::verdict::Verdict;
use crate::media::{Kind, Source};

/// Events that wait for the owner if nothing else is said.
pub(super) const QUEUE: usize = 512;
/// Bytes of channel messages that wait for the owner. More fails the session.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// What happens in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A candidate of ours, to be sent to the other side.
    Candidate {
        /// The index of its media section.
        mline_index: u32,
        /// The `a=mid` of that section, if known.
        mid: Option<String>,
        /// The candidate line, from `candidate:` on.
        candidate: String,
    },
    /// All candidates were gathered.
    GatheringDone,
    /// A pair of candidates works; encryption is next. Told again when the checks are complete.
    Checked,
    /// Media and channels can flow; told again when a lost connection is back.
    Connected,
    /// The connection is lost for now: we send, and nothing comes back. It may come back.
    Disconnected,
    /// Media doesn't come, or not any more: why, and what to do about it. The session goes on if it can.
    Trouble {
        /// What is known.
        verdict: Box<Verdict>,
    },
    /// The session is over; close it. Nothing follows.
    Failed {
        /// What happened, for a log.
        why: String,
    },
    /// A channel can be used, whoever made it. Told once for each.
    ChannelOpen {
        /// Its label.
        label: String,
    },
    /// A text message.
    Text {
        /// Its channel's label.
        label: String,
        /// The text.
        text: String,
    },
    /// A binary message.
    Binary {
        /// Its channel's label.
        label: String,
        /// The bytes.
        bytes: Bytes,
    },
    /// A channel was closed.
    ChannelClosed {
        /// Its label.
        label: String,
    },
    /// The other side sends media.
    Track {
        /// Video or audio.
        kind: Kind,
        /// The `a=mid` of its media section, if known.
        mid: Option<String>,
        /// The id of its media stream, if it says one.
        stream_id: Option<String>,
    },
}

/// The events of one session, in order.
#[derive(Debug)]
pub struct SessionEvents {
    queue: mpsc::Receiver<SessionEvent>,
    shared: Arc<Shared>,
    over: bool,
}

/// Where callbacks put events. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Emitter {
    queue: mpsc::Sender<SessionEvent>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    failure: OnceLock<String>,
    failed: Notify,
    connected: watch::Sender<bool>,
    refresh: Notify,
    program: watch::Sender<Program>,
    /// Events that may wait.
    limit: usize,
}

/// What the streams play.
#[derive(Debug, Clone, Default)]
pub(super) enum Program {
    /// What they were configured with.
    #[default]
    Configured,
    /// This source, as far as it has them.
    Source(Arc<Source>),
    /// Nothing.
    Nothing,
}

/// A new queue for so many events.
pub(super) fn queue(limit: usize) -> (Emitter, SessionEvents) {
    let limit = limit.max(1);
    let (sender, receiver) = mpsc::channel(limit);
    let shared = Arc::new(Shared {
        bytes: AtomicUsize::new(0),
        failure: OnceLock::new(),
        failed: Notify::new(),
        connected: watch::Sender::new(false),
        refresh: Notify::new(),
        program: watch::Sender::new(Program::Configured),
        limit,
    });
    let emitter = Emitter {
        queue: sender,
        shared: shared.clone(),
    };
    (
        emitter,
        SessionEvents {
            queue: receiver,
            shared,
            over: false,
        },
    )
}

impl SessionEvents {
    /// The next event; `None` after the session failed or was closed. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SessionEvent> {
        if self.over {
            return None;
        }
        tokio::select! {
            biased;
            event = self.queue.recv() => match event {
                Some(event) => Some(self.taken(event)),
                None => {
                    self.over = true;
                    self.shared.failure.get().map(|why| SessionEvent::Failed { why: why.clone() })
                }
            },
            () = self.shared.failed.notified() => {
                self.over = true;
                let why = self.shared.failure.get().cloned().unwrap_or_default();
                Some(SessionEvent::Failed { why })
            }
        }
    }
}

impl SessionEvents {
    /// The next event if there is one already. The last one of a failed session comes from
    /// [`Self::recv`] only.
    pub fn try_recv(&mut self) -> Option<SessionEvent> {
        let event = self.queue.try_recv().ok()?;
        Some(self.taken(event))
    }

    fn taken(&self, event: SessionEvent) -> SessionEvent {
        self.shared
            .bytes
            .fetch_sub(weight(&event), Ordering::SeqCst);
        event
    }
}

impl Emitter {
    /// Puts an event on the queue. Never waits; a full queue fails the session.
    pub(super) fn emit(&self, event: SessionEvent) {
        if self.shared.failure.get().is_some() {
            return;
        }
        let weight = weight(&event);
        let waiting = self.shared.bytes.fetch_add(weight, Ordering::SeqCst);
        if weight > 0 && waiting > QUEUE_BYTES {
            return self.fail(format!(
                "more than {QUEUE_BYTES} bytes of channel messages wait to be handled"
            ));
        }
        match self.queue.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                let limit = self.shared.limit;
                self.fail(format!("more than {limit} events wait to be handled"));
            }
        }
    }

    /// Ends the session; only the first reason counts. The events before it are still delivered.
    pub(super) fn fail(&self, why: String) {
        if self.shared.failure.set(why).is_ok() {
            self.shared.failed.notify_one();
        }
    }

    /// Tells the feeds whether media can flow.
    pub(super) fn set_connected(&self, connected: bool) {
        self.shared.connected.send_replace(connected);
    }

    /// Tells the feeds that the viewer wants a whole picture.
    pub(super) fn refresh(&self) {
        self.shared.refresh.notify_waiters();
    }

    /// Waits until the viewer wants a whole picture.
    pub(super) async fn refreshed(&self) {
        self.shared.refresh.notified().await;
    }

    /// Tells the feeds what to play, or to play nothing.
    pub(super) fn play(&self, source: Option<Arc<Source>>) {
        let program = source.map_or(Program::Nothing, Program::Source);
        self.shared.program.send_replace(program);
    }

    /// What to play, now and as it changes.
    pub(super) fn program(&self) -> watch::Receiver<Program> {
        self.shared.program.subscribe()
    }

    /// Whether media can flow, now and as it changes.
    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }
}

fn weight(event: &SessionEvent) -> usize {
    match event {
        SessionEvent::Text { text, .. } => text.len(),
        SessionEvent::Binary { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_fails_the_session_after_what_was_queued() {
        let (emitter, mut events) = queue(QUEUE);
        for _ in 0..=QUEUE {
            emitter.emit(SessionEvent::Connected);
        }
        for _ in 0..QUEUE {
            assert_eq!(events.recv().await, Some(SessionEvent::Connected));
        }
        assert!(matches!(
            events.recv().await,
            Some(SessionEvent::Failed { .. })
        ));
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn bytes_are_counted_until_they_are_taken() {
        let (emitter, mut events) = queue(QUEUE);
        let big = SessionEvent::Binary {
            label: "a".into(),
            bytes: vec![0; QUEUE_BYTES].into(),
        };
        emitter.emit(big.clone());
        assert_eq!(events.recv().await, Some(big.clone()));
        emitter.emit(big.clone());
        emitter.emit(big.clone());
        emitter.emit(big.clone());
        assert_eq!(events.recv().await, Some(big.clone()));
        assert_eq!(events.recv().await, Some(big));
        assert!(matches!(
            events.recv().await,
            Some(SessionEvent::Failed { .. })
        ));
    }
}

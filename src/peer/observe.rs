//! Who looks at a peer's sessions while they go on.

use std::sync::Arc;

use crate::media::{Kind, Receive, SessionEvent, Stats, Verdict};

/// Looks at a peer. What it is told, it is told on the task that owns the peer or the session: it must
/// not wait.
pub trait Observer: Send + Sync {
    /// The server has taken the peer in; after a lost connection once more.
    fn registered(&self);

    /// A session begins, with this partner if it is known.
    fn begins(&self, partner: Option<&str>) -> Arc<dyn Sight>;
}

/// Looks at one session.
pub trait Sight: Send + Sync {
    /// What takes the media that the other side sends.
    fn receive(&self) -> Receive;

    /// Something happened.
    fn tell(&self, moment: Moment);

    /// How it is doing, each second.
    fn stats(&self, stats: Stats);
}

/// What happens in a session, in this order if all goes well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Both descriptions are exchanged: the answer was sent, or came.
    Negotiated,
    /// A candidate of ours: its line.
    Candidate(String),
    /// A candidate of the other side.
    RemoteCandidate(String),
    /// All of our candidates were gathered.
    Gathered,
    /// A pair of candidates works.
    Checked,
    /// The connection is encrypted; media can flow.
    Connected,
    /// The first packet of a track came.
    Track(Kind),
    /// The connection is lost for now.
    Disconnected,
    /// Something doesn't come about; this is why.
    Trouble(Box<Verdict>),
    /// The session failed.
    Failed(String),
    /// The session is over.
    Ended,
}

impl Moment {
    /// What an observer is told of an event, if anything.
    pub(super) fn of(event: &SessionEvent) -> Option<Self> {
        Some(match event {
            SessionEvent::Candidate { candidate, .. } => Self::Candidate(candidate.clone()),
            SessionEvent::GatheringDone => Self::Gathered,
            SessionEvent::Checked => Self::Checked,
            SessionEvent::Connected => Self::Connected,
            SessionEvent::Disconnected => Self::Disconnected,
            SessionEvent::Trouble { verdict } => Self::Trouble(verdict.clone()),
            SessionEvent::Failed { why } => Self::Failed(why.clone()),
            SessionEvent::Track { kind, .. } => Self::Track(*kind),
            _ => return None,
        })
    }
}

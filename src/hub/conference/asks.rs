//! What is asked about rooms whose media the server forwards, by whom, and with which rights (kurento.md
//! A2, A3). Dialects ask, [`Grants`](crate::hub::Grants) decide on the rights, and the conference answers.

use std::fmt;
use std::sync::Arc;

use super::words::debug_by_name;

/// Someone who may be in a room, and outlives the connection that it came by for a while. Chosen by
/// the edge at random; whoever knows it may speak for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Visitor(pub u128);

/// A request of a visitor. Each is answered once, by [`Told::Answer`](super::Told::Answer), to the connection that it
/// came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who asks, if the request says so and the hub knows that one…
    pub named: Option<Visitor>,
    /// …or else the connection's own visitor; of a connection that has none yet, this one.
    pub own: Visitor,
    /// What the connection may do in the place of the one that is named: no less than that one, or
    /// it can't speak for it.
    pub rights: Rights,
    /// What.
    pub ask: Ask,
}

/// What a member may do in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Send media.
    pub publish: bool,
    /// Receive the others' media, and what they say over data channels.
    pub subscribe: bool,
    /// Say something to the others: in text, and over data channels.
    pub message: bool,
}

/// What a visitor asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Be there. Answered by [`Granted::Done`](super::Granted::Done).
    Begin,
    /// Go on as the visitor that the request names, on this connection: events come here from now
    /// on. Answered by [`Granted::Resumed`](super::Granted::Resumed), or [`Denied::UnknownVisitor`](super::Denied::UnknownVisitor).
    Resume,
    /// Become a member of a room, which is made if it isn't there. Answered by [`Granted::Entered`](super::Granted::Entered).
    Enter {
        /// The room.
        room: Arc<str>,
        /// As whom; no two members have one name.
        user: Arc<str>,
        /// What it asks to do there; less, if its [`Grants`](crate::hub::Grants) say so.
        rights: Rights,
    },
    /// Send media to the room. Answered by [`Granted::Sdp`](super::Granted::Sdp) when the media plane has answered.
    Publish {
        /// SDP.
        offer: String,
        /// Whether to get one's own media back on the same connection.
        loopback: bool,
    },
    /// End that. Answered by [`Granted::Done`](super::Granted::Done).
    Unpublish,
    /// Get a publisher's media; it may be oneself. Answered by [`Granted::Sdp`](super::Granted::Sdp).
    Receive {
        /// Who publishes.
        from: Arc<str>,
        /// SDP.
        offer: String,
    },
    /// End that; also when there is nothing to end. Answered by [`Granted::Done`](super::Granted::Done).
    Unsubscribe {
        /// Who publishes.
        from: Arc<str>,
    },
    /// Note a candidate of one's own. The media plane needs none, whenever they come: it answers
    /// checks wherever they come from (RFC 8445 section 2.5). Answered by [`Granted::Done`](super::Granted::Done).
    Candidate,
    /// A text to everyone in the room, oneself too. Answered by [`Granted::Done`](super::Granted::Done).
    Say {
        /// The own name.
        user: Arc<str>,
        /// The room's.
        room: Arc<str>,
        /// The text.
        message: Arc<str>,
    },
    /// Where one is. Answered by [`Granted::Place`](super::Granted::Place).
    Locate,
    /// Leave the room, for good: the visitor ends. Answered by [`Granted::Done`](super::Granted::Done).
    Exit,
    /// End the visitor, wherever it is. Answered by [`Granted::Done`](super::Granted::Done).
    End,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self {
        publish: true,
        subscribe: true,
        message: true,
    };
    /// Only to be there.
    pub const NONE: Self = Self {
        publish: false,
        subscribe: false,
        message: false,
    };

    /// Whether nothing of the other is missing.
    #[must_use]
    pub const fn cover(self, other: Self) -> bool {
        (self.publish || !other.publish)
            && (self.subscribe || !other.subscribe)
            && (self.message || !other.message)
    }
}

impl Ask {
    /// Whether this may change who is here, and who sends to whom.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Resume
                | Self::Enter { .. }
                | Self::Unpublish
                | Self::Unsubscribe { .. }
                | Self::Exit
                | Self::End
        )
    }
}

/// Without the number, which is a secret.
impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visitor(…)")
    }
}

debug_by_name!(Ask);

impl Ask {
    const fn name(&self) -> &'static str {
        match self {
            Self::Begin => "Begin",
            Self::Resume => "Resume",
            Self::Enter { .. } => "Enter",
            Self::Publish { .. } => "Publish",
            Self::Unpublish => "Unpublish",
            Self::Receive { .. } => "Receive",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::Candidate => "Candidate",
            Self::Say { .. } => "Say",
            Self::Locate => "Locate",
            Self::Exit => "Exit",
            Self::End => "End",
        }
    }
}

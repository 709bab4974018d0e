//! The words about rooms whose media the server forwards (kurento.md A2, A3, A7).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asks::{Rights, Visitor};
use crate::hub::ConnectionId;

/// A room, as the media plane knows it. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaRoom(pub u64);

/// The server's end of one peer connection, as the media plane knows it. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaEnd(pub u64);

/// What a visitor's connection is told.
#[derive(Clone, PartialEq, Eq)]
pub enum Told {
    /// What came of a request.
    Answer {
        /// Who asked.
        visitor: Visitor,
        /// What came of it.
        outcome: Result<Granted, Denied>,
    },
    /// Someone came into the room.
    Joined {
        /// Who.
        user: Arc<str>,
    },
    /// Someone publishes from now on.
    Published {
        /// Who.
        user: Arc<str>,
    },
    /// Someone publishes no more; whoever received that does no more.
    Unpublished {
        /// Who.
        user: Arc<str>,
    },
    /// Someone is gone, and what that one published.
    Left {
        /// Who.
        user: Arc<str>,
    },
    /// The visitor itself was put out of its room.
    Evicted,
    /// The visitor's room was closed.
    Closed {
        /// Which.
        room: Arc<str>,
    },
    /// Someone said something.
    Said {
        /// Where.
        room: Arc<str>,
        /// Who.
        user: Arc<str>,
        /// What.
        message: Arc<str>,
    },
    /// A candidate of the server's end.
    Candidate {
        /// Whose media.
        of: Arc<str>,
        /// The candidate.
        candidate: MediaCandidate,
    },
    /// An end of the visitor failed, and is gone.
    MediaFailed {
        /// Why, for people.
        why: Arc<str>,
    },
    /// The visitor goes on by another connection.
    Moved,
}

/// What a request was granted.
#[derive(Clone, PartialEq, Eq)]
pub enum Granted {
    /// Just that.
    Done,
    /// The visitor goes on here.
    Resumed,
    /// The visitor is in the room, and hears of all that changes from now on.
    Entered {
        /// The others, in order of name, and whether they publish.
        others: Vec<(Arc<str>, bool)>,
    },
    /// The media plane's answer.
    Sdp(String),
    /// The visitor's room and name there.
    Place(Option<(Arc<str>, Arc<str>)>),
}

/// Why a request wasn't granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There is no such visitor to go on as.
    #[error("this session isn't known")]
    UnknownVisitor,
    /// There are too many visitors.
    #[error("there are {0} sessions, the most that this server takes")]
    VisitorsFull(usize),
    /// The visitor isn't in a room.
    #[error("this session is in no room")]
    NotInRoom(Visitor),
    /// The visitor is in a room already.
    #[error("this session is in room {room:?} as {user:?} already")]
    InRoom {
        /// Which.
        room: Arc<str>,
        /// As whom.
        user: Arc<str>,
    },
    /// Another member has the name, or the visitor itself.
    #[error("{user:?} is in room {room:?} already")]
    NameTaken {
        /// Which.
        room: Arc<str>,
        /// The name.
        user: Arc<str>,
    },
    /// A name is needed.
    #[error("a name is needed")]
    EmptyName,
    /// The room takes no more members.
    #[error("the room has {limit} members, the most that it takes")]
    RoomFull {
        /// Which.
        room: Arc<str>,
        /// How many it takes.
        limit: usize,
    },
    /// The server takes no more rooms.
    #[error("there are {0} rooms, the most that this server takes")]
    TooManyRooms(usize),
    /// The visitor publishes already.
    #[error("{0:?} publishes already")]
    Publishing(Arc<str>),
    /// The visitor doesn't publish.
    #[error("{0:?} doesn't publish")]
    NotPublishing(Arc<str>),
    /// The room takes no more publishers.
    #[error("{0} publish in the room, the most that it takes")]
    PublishersFull(usize),
    /// The user to receive isn't in the room.
    #[error("{user:?} isn't in room {room:?}")]
    NoSuchUser {
        /// The room.
        room: Arc<str>,
        /// Who.
        user: Arc<str>,
    },
    /// The user to receive doesn't publish.
    #[error("{user:?} doesn't publish in room {room:?}")]
    NothingToReceive {
        /// The room.
        room: Arc<str>,
        /// Who.
        user: Arc<str>,
    },
    /// The visitor receives that user already.
    #[error("{user:?} receives {from:?} already")]
    Receiving {
        /// Who receives.
        user: Arc<str>,
        /// From whom.
        from: Arc<str>,
    },
    /// The visitor has another name.
    #[error("{0:?} isn't this session's name")]
    NotOwnName(Arc<str>),
    /// The visitor is in another room.
    #[error("this session isn't in room {0:?}")]
    NotOwnRoom(Arc<str>),
    /// The media plane refused to take what is published.
    #[error("{user:?} can't publish: {why}")]
    NotPublished {
        /// Who.
        user: Arc<str>,
        /// Why.
        why: MediaRefusal,
    },
    /// The media plane refused to send.
    #[error("{user:?} can't receive {from:?}: {why}")]
    NotReceived {
        /// Who receives.
        user: Arc<str>,
        /// From whom.
        from: Arc<str>,
        /// Why.
        why: MediaRefusal,
    },
    /// The member left, or was put out, while its request waited.
    #[error("{0:?} is gone")]
    Gone(Arc<str>),
    /// The connection's token doesn't allow this.
    #[error("the token doesn't allow to {0}")]
    Forbidden(Arc<str>),
}

/// Why the media plane has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaRefusal {
    /// The offer is no good, or not for this room.
    #[error("{0}")]
    Offer(Arc<str>),
    /// The plane can take no more, or not now.
    #[error("{0}")]
    Full(Arc<str>),
    /// The publisher is gone.
    #[error("the publisher is gone")]
    NoPublisher,
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
}

/// A candidate of the server's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaCandidate {
    /// The media section's `a=mid` in the offer.
    pub mid: String,
    /// Its index, from 0.
    pub line: u16,
    /// As in `RTCIceCandidate.candidate`.
    pub candidate: String,
}

/// What the media plane is to do. Those of one room are to reach it in order.
#[derive(Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// Answer a publisher's offer, by [`MediaEvent::Answered`] or [`MediaEvent::Refused`].
    Publish {
        /// Made if it isn't there.
        room: MediaRoom,
        /// The new end.
        end: MediaEnd,
        /// SDP.
        offer: String,
        /// Whether the publisher gets its media back.
        loopback: bool,
        /// Which of them hold for its data channels.
        rights: Rights,
    },
    /// Answer a receiver's offer, in the same way.
    Receive {
        /// The publisher's.
        room: MediaRoom,
        /// The new end.
        end: MediaEnd,
        /// The publisher's end.
        from: MediaEnd,
        /// SDP.
        offer: String,
    },
    /// An end is over; a publisher's with all that receive it.
    Remove {
        /// The end's.
        room: MediaRoom,
        /// Which.
        end: MediaEnd,
    },
    /// A room is over, with all ends in it.
    CloseRoom(MediaRoom),
    /// What a publisher sends isn't passed on from now on, or is again.
    Mute {
        /// The publisher's.
        room: MediaRoom,
        /// The publisher's end; nothing happens if it isn't there.
        end: MediaEnd,
        /// What isn't.
        muted: Muted,
    },
}

/// What the media plane says.
#[derive(Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// An offer's answer.
    Answered {
        /// Of which end.
        end: MediaEnd,
        /// SDP.
        sdp: String,
    },
    /// There is no answer, and no end.
    Refused {
        /// Which end.
        end: MediaEnd,
        /// Why.
        why: MediaRefusal,
    },
    /// A candidate of the plane.
    Candidate {
        /// Of which end.
        end: MediaEnd,
        /// The candidate.
        candidate: MediaCandidate,
    },
    /// An end is gone; a publisher's with all that receive it.
    Failed {
        /// Which.
        end: MediaEnd,
        /// Why, for people.
        why: Arc<str>,
        /// What this says of its owner.
        loss: MediaLoss,
    },
}

/// What the end of a media endpoint says of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaLoss {
    /// It closed the endpoint, and will soon say so in words, too.
    Closed,
    /// It may be gone: what stood is lost, or broken.
    Lost,
    /// It could not reach the plane: it never was connected.
    Unconnected,
}

/// How much the conference takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConferenceLimits {
    /// Visitors at once. One more pushes out the one whose connection was lost longest ago, or is
    /// refused.
    pub visitors: usize,
    /// Rooms at once; one more is refused.
    pub rooms: usize,
    /// Members of one room at once; one more is refused.
    pub participants_per_room: usize,
    /// Publishers in one room at once; one more is refused.
    pub publishers_per_room: usize,
    /// How long a visitor whose connection was lost is kept.
    pub resume: Duration,
    /// How long the media plane may take for an answer.
    pub answer: Duration,
    /// How long after a publisher closed its peer connection it may take to say so.
    pub farewell: Duration,
}

/// A member, as the admin pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub user: Arc<str>,
    /// Whether it publishes.
    pub publishing: bool,
    /// Whom it receives, in order of name.
    pub receives: Vec<Arc<str>>,
    /// Its connection; `None` if that is lost, and it is awaited back.
    pub connection: Option<ConnectionId>,
    /// What of it the others don't get.
    pub muted: Muted,
    /// Its media endpoints, each with whom it receives there; what it publishes with nobody.
    pub ends: Vec<(Option<Arc<str>>, MediaEnd)>,
}

/// Who has a media endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaOwner {
    /// Its room.
    pub room: Arc<str>,
    /// Its name.
    pub user: Arc<str>,
    /// Whom it receives there; nobody, if it publishes.
    pub of: Option<Arc<str>>,
}

/// What of a publisher the others don't get. It stays so for the publisher's time in the room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Muted {
    /// Its sound.
    pub audio: bool,
    /// Its picture.
    pub video: bool,
}

/// Another [`Muted`]: what isn't named stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteChange {
    /// Whether the others get no sound.
    pub audio: Option<bool>,
    /// Whether they get no picture.
    pub video: Option<bool>,
}

impl Muted {
    /// With a change.
    #[must_use]
    pub fn with(self, change: MuteChange) -> Self {
        Self {
            audio: change.audio.unwrap_or(self.audio),
            video: change.video.unwrap_or(self.video),
        }
    }
}

impl Told {
    /// How many bytes of memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Answer { outcome, .. } => match outcome {
                Ok(Granted::Sdp(sdp)) => sdp.len(),
                Ok(Granted::Entered { others }) => others.iter().map(|it| it.0.len() + 16).sum(),
                Ok(Granted::Done | Granted::Resumed | Granted::Place(_)) | Err(_) => 0,
            },
            Self::Said { message, .. } => message.len(),
            Self::Joined { user }
            | Self::Published { user }
            | Self::Unpublished { user }
            | Self::Left { user } => user.len(),
            Self::Candidate { candidate, .. } => candidate.candidate.len(),
            Self::Evicted | Self::Closed { .. } | Self::MediaFailed { .. } | Self::Moved => 0,
        }
    }
}

/// For words that have a `name`.
macro_rules! debug_by_name {
    ($($type:ident),+) => { $(
        /// Only the kind: offers, answers and what people say are secrets.
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "::{}"), self.name())
            }
        }
    )+ };
}

pub(super) use debug_by_name;

debug_by_name!(Told, Granted, MediaCommand, MediaEvent);

impl Told {
    const fn name(&self) -> &'static str {
        match self {
            Self::Answer { outcome: Ok(_), .. } => "Answer(granted)",
            Self::Answer {
                outcome: Err(_), ..
            } => "Answer(denied)",
            Self::Joined { .. } => "Joined",
            Self::Published { .. } => "Published",
            Self::Unpublished { .. } => "Unpublished",
            Self::Left { .. } => "Left",
            Self::Evicted => "Evicted",
            Self::Closed { .. } => "Closed",
            Self::Said { .. } => "Said",
            Self::Candidate { .. } => "Candidate",
            Self::MediaFailed { .. } => "MediaFailed",
            Self::Moved => "Moved",
        }
    }
}

impl Granted {
    const fn name(&self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Resumed => "Resumed",
            Self::Entered { .. } => "Entered",
            Self::Sdp(_) => "Sdp",
            Self::Place(_) => "Place",
        }
    }
}

impl MediaCommand {
    const fn name(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "Publish",
            Self::Receive { .. } => "Receive",
            Self::Remove { .. } => "Remove",
            Self::CloseRoom(_) => "CloseRoom",
            Self::Mute { .. } => "Mute",
        }
    }
}

impl MediaEvent {
    const fn name(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "Answered",
            Self::Refused { .. } => "Refused",
            Self::Candidate { .. } => "Candidate",
            Self::Failed { .. } => "Failed",
        }
    }
}

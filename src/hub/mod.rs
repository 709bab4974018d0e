//! Who is here, and who talks to whom. Pure: commands in, events out, time as an argument.
//!
//! An **endpoint** registers under an id with free-form info. A **call** joins a caller to an
//! endpoint, which may have many; a **pair** joins two endpoints that are equals, and have no other;
//! a **room** has endpoints for members that know of each other; a **session** joins a caller, for
//! an account, to whichever endpoint of a pool the hub chooses, and outlives that one's connection
//! for a while; a **visitor** may be a member of a room whose media the server itself forwards. The
//! four dialects translate their own words into these, so that the rules about
//! duplicate ids, goodbyes and numbering stand once, here.

mod calls;
mod conference;
mod core;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grants;
mod mesh;
mod payload;
mod pool;
mod rooms;
mod sessions;
mod store;
#[cfg(test)]
mod tests;

pub use self::core::{Counts, Endpoint, Hub, Limits, Output, Place, Reached, Room};
pub use calls::{CallId, Caller, NoCallId, OpenCall};
pub use conference::{
    Ask, Asked, ConferenceLimits, Denied, Granted, MediaCandidate, MediaCommand, MediaEnd,
    MediaEvent, MediaLoss, MediaOwner, MediaRefusal, MediaRoom, MemberView, MuteChange, Muted,
    Rights, Told, Visitor,
};
pub use grants::{Grant, Grants, Names, Role};
pub use payload::Payload;
pub use sessions::{
    AccountId, Addressee, Closed, Demand, Offer, PoolLimits, SessionError, SessionId, Step, Ticket,
};

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A connection to this server, whatever carries it: a WebSocket, or a polling client's mailbox.
/// Given by the edge, never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Whose ids these are. The same text in two namespaces names two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// Cuttlefish devices.
    Device,
    /// GStreamer peers, and their rooms.
    Peer,
    /// Geckos.
    Gecko,
}

/// A table by connection.
pub(crate) type ByConnection<V> = HashMap<ConnectionId, V, BuildHasherDefault<ConnectionHasher>>;

/// Spreads connections' numbers over a table. They are this server's own, so that nobody can choose
/// them to collide; and every relayed message looks for a few.
#[derive(Debug, Default)]
pub(crate) struct ConnectionHasher(u64);

/// The id under which an endpoint registers: a namespace, and any text but the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId {
    space: Namespace,
    name: Arc<str>,
}

/// A room's id: a namespace, and any text but the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId {
    space: Namespace,
    name: Arc<str>,
}

/// A call's number at its endpoint: 1 for an endpoint id's first caller, then one more each time,
/// never reused for one endpoint id while the process lives (cuttlefish.md A2, A4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallNumber(pub u32);

/// What a caller may do at its endpoint. The server relays both alike: it is the endpoint that holds
/// its callers to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    #[default]
    Control,
    /// See and hear, and nothing that changes the endpoint.
    View,
}

/// What a connection asks of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Register this connection as an endpoint. Answered by [`Event::Registered`] or
    /// [`Event::RegistrationRefused`], at once or after the holder of the id was probed.
    Register {
        /// The wanted id.
        id: EndpointId,
        /// What the endpoint says of itself, as it was sent; `None` when it said nothing.
        info: Option<Payload>,
        /// Whether it holds its callers to their [`Access`]. To one that doesn't, whoever may only
        /// view gets no call.
        holds_viewers: bool,
    },
    /// Call an endpoint. Answered by [`Event::CallOpened`], [`Event::CallWaiting`] or [`Event::CallRefused`].
    Call {
        /// Whom to call.
        endpoint: EndpointId,
        /// What to do when nobody has that id now.
        when_absent: WhenAbsent,
        /// What the caller asks to do there; less, if its [`Grants`] say so.
        access: Access,
    },
    /// From an endpoint to one of its callers. A failure is answered by [`Event::NotDelivered`].
    ToCaller {
        /// Which call.
        call: CallNumber,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// From a caller to the endpoint of its call. Dropped without an open call: if there was one,
    /// this crosses the [`Event::EndpointLeft`] that the caller has been told already, once.
    ToEndpoint {
        /// The message, as it was sent.
        payload: Payload,
    },
    /// From an endpoint that knows partners: its frame goes to the partner if there is one, even
    /// one of whom it hasn't heard yet, because the other one made the pair. Otherwise it is what
    /// the frame asks for; and if it asks for nothing, it comes back as [`Event::NoPartner`].
    ToPartner {
        /// The frame, as it was sent.
        frame: Payload,
        /// What it asks for.
        otherwise: Option<Request>,
    },
    /// Join the pool as the endpoint that the offer names. Answered by [`Event::Registered`] or
    /// [`Event::RegistrationRefused`]. Another connection that has the id loses it, and the
    /// sessions with it.
    Serve(Offer),
    /// Ask the pool for a session. Answered by what its endpoint says, or [`Event::SessionEnded`].
    Demand(Demand),
    /// From a caller to the endpoint of its session. Dropped without one.
    ToServer {
        /// The message, as the endpoint shall get it.
        payload: Payload,
    },
    /// From an endpoint of the pool: this [`Event::FromSession`] or [`Event::SessionClosed`], and
    /// each before it, is on its way and needn't be kept for the endpoint's next connection.
    Taken(Ticket),
    /// From an endpoint of the pool to the caller of one of its sessions. A failure is answered by
    /// [`Event::NoSession`].
    ToSession {
        /// Which session.
        to: Addressee,
        /// What this means for the session.
        step: Step,
        /// The message.
        payload: Payload,
    },
    /// From whoever visits rooms whose media the server forwards. Answered by [`Told::Answer`].
    Conference(Asked),
    /// The answer to [`Event::Probe`]: the other side of this connection lives. At any other time
    /// it means nothing.
    Alive,
    /// This connection is gone. Nothing is delivered to it any more, its registration ends, and
    /// everyone it talked with is told.
    Leave,
}

/// What an endpoint without a partner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Make a pair with this endpoint; it may be oneself. A pair is for ever: when one end goes, the
    /// other one's registration ends too. Answered by [`Event::Paired`] or [`Event::PairRefused`].
    Pair(EndpointId),
    /// Become a member of this room, for ever. Answered by [`Event::Joined`] or [`Event::JoinRefused`].
    Join(RoomId),
    /// To a member of one's room; it may be oneself. A failure is answered by
    /// [`Event::NotReached`]; outside of rooms, [`Event::NoPartner`].
    ToMember {
        /// Whom.
        to: EndpointId,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// Name the other members of one's room. Answered by [`Event::Members`] or [`Event::NoPartner`].
    Members,
    /// What this connection may not ask for. Answered by what it says.
    NotGranted(NotGranted),
}

/// A request that [`Grants`] don't allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotGranted {
    /// To make a pair.
    Pair(PairError),
    /// To join a room.
    Join(JoinError),
}

/// What [`Command::Call`] does when the endpoint isn't registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAbsent {
    /// Refuse the call.
    Refuse,
    /// Hold the call until the endpoint registers.
    Wait,
}

/// What the hub tells a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection is registered now.
    Registered,
    /// The connection isn't registered.
    RegistrationRefused(RegistrationError),
    /// Another connection wants this one's id: find out whether the other side still lives, and
    /// answer with [`Command::Alive`] if so. Silence means death.
    Probe,
    /// To an endpoint of the pool: a message of a session's caller; the first one is its demand.
    /// Answer with [`Command::Taken`].
    FromSession {
        /// What to name then.
        ticket: Ticket,
        /// The message, as the caller's side made it.
        payload: Payload,
    },
    /// To an endpoint of the pool that wants to hear of it: this session ended before the endpoint
    /// ended it. Answer with [`Command::Taken`].
    SessionClosed {
        /// What to name then.
        ticket: Ticket,
        /// Which session.
        session: SessionId,
        /// Why.
        why: Closed,
    },
    /// To an endpoint of the pool: its message reached nobody. Not told about its own sessions
    /// that have only just ended: the two crossed.
    NoSession {
        /// The session that it named, if it did.
        session: Option<SessionId>,
    },
    /// To an endpoint of the pool: another connection has its id and its sessions now.
    Replaced,
    /// To the caller of a session: its endpoint says something. The session is over if the step
    /// [ends](Step::ends) it.
    SessionSaid {
        /// What it means for the session.
        step: Step,
        /// The message.
        payload: Payload,
    },
    /// To the caller: there is no session any more.
    SessionEnded(SessionError),
    /// Of rooms whose media the server forwards: the answer to a request, or what happened there.
    Conference(Told),
    /// This connection failed a probe and lost its registration and its calls; close it.
    Evicted,
    /// To the caller: the call is open. What it sends from now on reaches the endpoint.
    CallOpened {
        /// The call's number at the endpoint.
        call: CallNumber,
        /// What the endpoint said of itself at registration.
        info: Option<Payload>,
    },
    /// To the caller: the endpoint isn't here; the call is held until it registers.
    CallWaiting,
    /// To the caller: there is no call.
    CallRefused(CallError),
    /// To the endpoint: a message of a caller.
    FromCaller {
        /// Which call.
        call: CallNumber,
        /// What its caller may do.
        access: Access,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// To the caller: a message of the endpoint.
    FromEndpoint {
        /// The message, as it was sent.
        payload: Payload,
    },
    /// To the endpoint: this caller is gone. Told once for each open call, whether or not the
    /// caller ever sent anything.
    CallerLeft {
        /// Which call.
        call: CallNumber,
    },
    /// To the caller: the endpoint is gone, and with it the call.
    EndpointLeft,
    /// To the endpoint: its message reached nobody.
    NotDelivered {
        /// The call it named.
        call: CallNumber,
        /// Why.
        why: Undelivered,
    },
    /// The pair that this endpoint asked for is made.
    Paired,
    /// Another endpoint has made a pair with this one. Comes before the first [`Event::FromPartner`].
    PairedBy,
    /// There is no pair.
    PairRefused(PairError),
    /// A frame of the partner.
    FromPartner {
        /// The frame, as it was sent.
        payload: Payload,
    },
    /// The partner is gone, and with it the pair and this connection's registration.
    PartnerLeft,
    /// This endpoint has neither a partner nor asked for anything that it can have here.
    NoPartner {
        /// The frame, as it was sent.
        frame: Payload,
        /// Where the endpoint is.
        place: Place,
    },
    /// The endpoint is a member of the room that it asked for. It hears of every member that comes
    /// or goes from now on.
    Joined {
        /// The other members, in order of id.
        members: Vec<EndpointId>,
    },
    /// The endpoint isn't a member.
    JoinRefused(JoinError),
    /// Another endpoint is a member of the room from now on. Comes before everything that it says.
    MemberJoined(EndpointId),
    /// A member is gone. Nothing comes from it any more.
    MemberLeft(EndpointId),
    /// A message of a member.
    FromMember {
        /// Which one.
        from: EndpointId,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// The other members of the room, in order of id.
    Members(Vec<EndpointId>),
    /// The message to a member reached nobody. Not told when that member has only just left: the
    /// two crossed.
    NotReached {
        /// Whom it named.
        to: EndpointId,
        /// Why.
        why: Unreached,
    },
}

/// Why a registration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A live connection holds the id.
    #[error("the id {0} is taken by a live connection")]
    Taken(EndpointId),
    /// This connection is registered already (or waits to be), as the given id.
    #[error("this connection is registered already, as {0}")]
    AlreadyRegistered(EndpointId),
    /// The limit of endpoints is reached.
    #[error("{0} endpoints are registered, the most that this server takes")]
    Full(usize),
    /// The connection's token is for other ids, or none.
    #[error("the token doesn't allow to register as {0}")]
    Forbidden(EndpointId),
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is registered under the id.
    #[error("nobody is registered as {0}")]
    Absent(EndpointId),
    /// The connection is in a call already, or waits for one.
    #[error("this connection is in a call already")]
    AlreadyInCall,
    /// The endpoint's limit of calls, or the server's limit of waiting calls, is reached.
    #[error("{0} calls are open or waiting, the most that are taken")]
    Full(usize),
    /// The connection's token is for other endpoints, or none.
    #[error("the token doesn't allow to call {0}")]
    Forbidden(EndpointId),
    /// The connection's token is for viewing only, and the endpoint holds nobody to that.
    #[error("the token allows to view only, and {0} doesn't hold its callers to that")]
    Unguarded(EndpointId),
}

/// Why there is no pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The connection that asks isn't registered.
    #[error("this connection isn't registered")]
    NotRegistered,
    /// The connection that asks is in a room or a call.
    #[error("this connection is in a room or a call already")]
    Engaged,
    /// Nobody is registered under the id.
    #[error("nobody is registered as {0}")]
    Absent(EndpointId),
    /// The other endpoint has a partner, or is in a room or a call.
    #[error("{0} is in a pair, a room or a call already")]
    Busy(EndpointId),
    /// The connection's token is for other endpoints, or none.
    #[error("the token doesn't allow to call {0}")]
    Forbidden(EndpointId),
}

/// Why a room wasn't joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection that asks isn't registered.
    #[error("this connection isn't registered")]
    NotRegistered,
    /// The connection that asks is in a room or a call.
    #[error("this connection is in a room or a call already")]
    Engaged,
    /// The room's limit of members is reached.
    #[error("the room has {0} members, the most that a room takes")]
    Full(usize),
    /// The limit of rooms is reached.
    #[error("there are {0} rooms, the most that this server takes")]
    TooManyRooms(usize),
    /// The connection's token is for other rooms, or none.
    #[error("the token doesn't allow to join {0}")]
    Forbidden(RoomId),
}

/// Why a message to a member reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreached {
    /// Nobody is registered under the id.
    Absent,
    /// The endpoint isn't a member of the sender's room.
    NotInRoom,
}

/// Why a message to a caller reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The number was given to a caller that has left.
    CallerLeft,
    /// The number was never given to a caller of this id, or the connection isn't registered.
    NoSuchCall,
}

impl Hasher for ConnectionHasher {
    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: numbers that follow each other go far apart.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

macro_rules! scoped_id {
    ($id:ident) => {
        impl $id {
            /// An id, or `None` for the empty text.
            #[must_use]
            pub fn new(space: Namespace, name: &str) -> Option<Self> {
                (!name.is_empty()).then(|| Self {
                    space,
                    name: name.into(),
                })
            }

            /// Whose id it is.
            #[must_use]
            pub const fn space(&self) -> Namespace {
                self.space
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.name
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.name)
            }
        }
    };
}

scoped_id!(EndpointId);
scoped_id!(RoomId);

impl Event {
    /// Whether this carries a message between two that are joined already, or its failure, and
    /// changes nothing of who is here and who talks to whom.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(
            self,
            Self::FromCaller { .. }
                | Self::FromEndpoint { .. }
                | Self::FromPartner { .. }
                | Self::FromMember { .. }
                | Self::NotDelivered { .. }
                | Self::NotReached { .. }
                | Self::NoPartner { .. }
                | Self::Members(_)
                // What changes something is known by what asked for it.
                | Self::Conference(_)
                | Self::FromSession { .. }
                | Self::NoSession { .. }
                | Self::SessionSaid {
                    step: Step::Answer { .. } | Step::Message | Step::Mistake,
                    ..
                }
        )
    }
}

impl std::fmt::Display for CallNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

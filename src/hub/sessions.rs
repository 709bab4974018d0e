//! The words about a pool of endpoints, any of which may serve a caller (gecko.md A6, A7).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Access, EndpointId, Payload};

/// A session's id, on the wire in the form of a UUID (RFC 9562 section 4). Chosen by the edge at
/// random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

/// Who a caller is, as whoever checked its token says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

/// How an endpoint joins the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id, which stays the same over its connections.
    pub id: EndpointId,
    /// Who it is; another one can't take the id away. `None` where nobody says who they are.
    pub owner: Option<AccountId>,
    /// How many sessions it takes at once; `None` for as many as the server allows.
    pub capacity: Option<usize>,
    /// Whether it wants to hear [`Event::SessionClosed`](super::Event::SessionClosed).
    pub hears_closes: bool,
}

/// A caller's demand for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The session's id.
    pub session: SessionId,
    /// What it is for: to run something there, or only to see and hear what the endpoint shows.
    pub access: Access,
    /// For whom. One account stays at one endpoint.
    pub account: AccountId,
    /// The demand, as the endpoint shall get it.
    pub payload: Payload,
}

/// A message to an endpoint, which comes after all that have a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// Which of its sessions an endpoint speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The one with this id.
    Session(SessionId),
    /// The only one whose answer had this tag; if there isn't exactly one, as [`Self::Latest`].
    Tagged(Box<str>),
    /// The one that was answered last, or else the only one.
    Latest,
    /// The only one.
    Only,
}

/// What an endpoint's message means for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The endpoint takes the demand. From the first answer on, the connection is awaited.
    Answer {
        /// Names by which the endpoint may mean this session, at most [`Self::TAGS`].
        tags: Vec<Box<str>>,
    },
    /// Nothing.
    Message,
    /// A mistake of the endpoint, which isn't the end.
    Mistake,
    /// A mistake of the endpoint, which is the end.
    FatalMistake,
    /// The two are connected, and need the hub no longer.
    Connected,
    /// The endpoint couldn't do it.
    Failed,
}

/// Why a session ended that its endpoint didn't end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The caller left.
    CallerLeft,
    /// It took too long.
    TimedOut,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// This connection has a session already.
    #[error("this connection has a session already")]
    AlreadyOpen,
    /// The pool is empty.
    #[error("no endpoint is there to serve")]
    NoEndpoint,
    /// The endpoint, or every one, has as many sessions as it takes.
    #[error("the endpoint has {0} sessions, the most that it takes")]
    Full(usize),
    /// Too much waits for the endpoint already.
    #[error("more waits for the endpoint than is kept")]
    Congested,
    /// The caller sent more than a session takes.
    #[error("no more than {0} candidates are taken")]
    TooManyCandidates(usize),
    /// No answer came.
    #[error("no answer came in {} s", .0.as_secs_f64())]
    Unanswered(Duration),
    /// No connection came after the answer.
    #[error("no connection came in {} s after the answer", .0.as_secs_f64())]
    Unconnected(Duration),
    /// The endpoint is gone, and didn't come back.
    #[error("the endpoint is gone")]
    EndpointLeft,
    /// The connection's token is for viewing only.
    #[error("the token allows to view only")]
    ViewOnly,
    /// The connection's token is not for this.
    #[error("the token doesn't allow to ask for a session")]
    Forbidden,
}

/// How much the pool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Sessions of one endpoint at once; one more is refused. An endpoint may say less.
    pub sessions_per_endpoint: usize,
    /// Messages that wait for one endpoint; one more ends its own session.
    pub queue_messages: usize,
    /// Bytes that wait for one endpoint, beside one message of any size; a message more ends its
    /// own session.
    pub queue_bytes: usize,
    /// Messages that one session's caller may send; one more ends the session. They are candidates, of
    /// which browsers send about a dozen.
    pub candidates: usize,
    /// Accounts whose endpoint is remembered. One more pushes out the one that asked longest ago;
    /// should that one ask again, an endpoint is chosen anew.
    pub accounts: usize,
    /// How long an endpoint that is gone is awaited.
    pub grace: Duration,
    /// How long an answer may take, from the demand on.
    pub answer: Duration,
    /// How long the connection may take, from the answer on.
    pub connect: Duration,
}

impl SessionId {
    /// A version 4 UUID from 16 random bytes (RFC 9562 section 5.4).
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        let random = u128::from_be_bytes(bytes);
        let version = 0xf << 76;
        let variant = 0b11 << 62;
        Self(random & !version & !variant | 4 << 76 | 0b10 << 62)
    }

    /// Reads the usual form of a UUID, in whatever case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut id = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return None,
                _ => id = id << 4 | u128::from(char::from(*byte).to_digit(16)?),
            }
        }
        Some(Self(id))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            id >> 80 & 0xffff,
            id >> 64 & 0xffff,
            id >> 48 & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

impl AccountId {
    /// An account's id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Step {
    /// How many tags of an answer count.
    pub const TAGS: usize = 4;

    /// Whether the session is over with it.
    #[must_use]
    pub const fn ends(&self) -> bool {
        matches!(self, Self::FatalMistake | Self::Connected | Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_a_uuid_of_version_4() {
        let id = SessionId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = SessionId::from_random([0; 16]);
        assert_eq!(id.to_string(), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn only_a_whole_uuid_is_read() {
        let id = SessionId(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse(&id.to_string().to_uppercase()), Some(id));
        for text in [
            "",
            "0123456789ab4def8123456789abcdef",
            "01234567-89ab-4def-8123-456789abcdeg",
            "01234567+89ab-4def-8123-456789abcdef",
            "01234567-89ab-4def-8123-456789abcdef0",
            "0123456é-89ab-4def-8123-456789abcde",
        ] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }
}

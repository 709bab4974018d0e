//! The gecko dialect's column: the number, the text and the close (gecko.md A3 to A6, A8).

use super::{Answer, Cause, QUOTED_PEER_BYTES, close, close_silently, quoted, stay};

/// The number of a `worker-error`. Those of 1xx and 2xx are the protocol's own; 2xx come from
/// geckos only. The others are Switchboard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub u16);

impl Errno {
    /// No usable authorization.
    pub const INVALID_AUTHORIZATION: Self = Self(101);
    /// The token is refused, or has another scope.
    pub const INVALID_TOKEN: Self = Self(102);
    /// The worker's code couldn't be fetched.
    pub const UNABLE_TO_FETCH_WORKER_CODE: Self = Self(201);
    /// The worker's code doesn't parse.
    pub const SYNTAX_ERROR_IN_WORKER_CODE: Self = Self(202);
    /// The worker's code threw at its start.
    pub const UNCAUGHT_EXCEPTION_IN_WORKER_CODE: Self = Self(203);
    /// No gecko is here.
    pub const NO_GECKO: Self = Self(301);
    /// The gecko didn't answer, or wasn't connected, in time.
    pub const GECKO_TIMEOUT: Self = Self(302);
    /// The gecko is gone.
    pub const GECKO_GONE: Self = Self(303);
    /// The gecko doesn't keep to the protocol.
    pub const GECKO_PROTOCOL: Self = Self(304);
    /// A message can't be understood.
    pub const BAD_MESSAGE: Self = Self(400);
    /// There is no such action, or no such worker.
    pub const UNKNOWN: Self = Self(404);
    /// A limit is reached.
    pub const LIMIT: Self = Self(429);
    /// The server failed.
    pub const INTERNAL: Self = Self(500);
    /// Whoever knows about tokens can't be asked.
    pub const AUTHORITY_UNAVAILABLE: Self = Self(503);
}

impl Cause<'_> {
    #[rustfmt::skip]
    pub(super) const fn errno(&self) -> Errno {
        match self {
            Self::NoAuthorization | Self::NotBearer => Errno::INVALID_AUTHORIZATION,
            Self::TokenRefused { .. } | Self::ForbiddenId { .. } | Self::Forbidden { .. }
            | Self::ViewOnly | Self::Unguarded { .. } => Errno::INVALID_TOKEN,
            Self::NoGecko => Errno::NO_GECKO,
            Self::Unanswered { .. } | Self::Unconnected { .. } => Errno::GECKO_TIMEOUT,
            Self::GeckoLeft => Errno::GECKO_GONE,
            Self::GeckoMistake { .. } | Self::GeckoNotJson { .. } => Errno::GECKO_PROTOCOL,
            Self::UnknownAction { .. } | Self::NoSuchWorker { id: Some(_) } => Errno::UNKNOWN,
            Self::SessionsFull { .. } | Self::Congested | Self::TooManyCandidates { .. } | Self::EndpointsFull { .. } => Errno::LIMIT,
            Self::AuthorityUnavailable { .. } => Errno::AUTHORITY_UNAVAILABLE,
            Self::Evicted | Self::Replaced | Self::EndpointLeft => Errno::INTERNAL,
            Self::Binary | Self::Malformed | Self::NotAMessage { .. } | Self::UnknownType { .. }
            | Self::MissingId(_) | Self::MissingPayload(_) | Self::MissingCaller | Self::NotRegistered
            | Self::NotInCall | Self::AlreadyInCall | Self::NoSuchCaller { .. } | Self::Absent { .. }
            | Self::IdTaken { .. } | Self::AlreadyRegistered { .. } | Self::CallsFull { .. }
            | Self::UnknownMailbox | Self::NoHello | Self::InvalidPeerId | Self::MissingPeerId
            | Self::Busy { .. } | Self::InvalidRoomId { .. } | Self::RoomFull { .. } | Self::RoomsFull { .. }
            | Self::AlreadyInRoom | Self::NotInRoom | Self::IncompleteMessage | Self::NotAMember { .. }
            | Self::NotJson { .. } | Self::MissingField { .. } | Self::Unexpected { .. }
            // gecko.md A4, 4.
            | Self::NoSuchWorker { id: None } => Errno::BAD_MESSAGE,
        }
    }

    /// The texts are the reference server's where it has one, so that they fit both forms of its
    /// errors.
    #[rustfmt::skip]
    pub(super) fn gecko(&self) -> Answer {
        match self {
            Self::NoAuthorization => close("NotAuthenticatedError: Authorization is missing"),
            Self::NotBearer => close("NotAuthenticatedError: Authorization does not contains a Bearer Token."),
            Self::TokenRefused { why } => close(format!("NotAuthenticatedError: {why}")),
            Self::AuthorityUnavailable { why } => close(format!("NotAuthenticatedError: {why}")),
            Self::ForbiddenId { id } =>
                close(format!("NotAuthenticatedError: the token does not allow the geckoId {}", quoted(id.as_str()))),
            Self::Forbidden { what } => close(format!("NotAuthenticatedError: the token does not allow to {}", quoted(what))),
            Self::ViewOnly => close(
                "NotAuthenticatedError: the token allows to view only: ask for source pipeline:NAME, not for a script",
            ),
            Self::NotJson { text } => close(format!("Message from client is not valid JSON: {}", whole(text))),
            Self::UnknownAction { name } => close(format!("action not found: {}", quoted(name))),
            Self::MissingField { name } => close(format!("{name} is missing, or not what it should be")),
            Self::Unexpected { text } => close(format!("Wrong client ICE message type: {}", whole(text))),
            Self::NoGecko => close("no gecko headless server available."),
            Self::SessionsFull { limit } => close(format!("The gecko takes no more than {limit} workers at once")),
            Self::Congested => close("Too many messages wait for the gecko"),
            Self::TooManyCandidates { limit } => close(format!("No more than {limit} candidates are taken for a worker")),
            Self::Unanswered { seconds } => close(format!("The gecko did not answer in {seconds} s")),
            Self::Unconnected { seconds } => close(format!("The gecko was not connected {seconds} s after its answer")),
            Self::GeckoLeft => close("The gecko is disconnected"),
            Self::GeckoMistake { text } => stay(format!("Wrong message from Gecko: {}", whole(text))),
            Self::GeckoNotJson { text } => close(format!("Wrong JSON gecko message: {}", whole(text))),
            Self::NoSuchWorker { id: Some(id) } => stay(format!("This gecko has no worker {}", quoted(id))),
            Self::NoSuchWorker { id: None } => stay("workerId is missing, and this gecko has no worker that could be meant"),
            Self::AlreadyRegistered { id } => stay(format!("This gecko is registered already, as {}", quoted(id.as_str()))),
            Self::IdTaken { id } => close(format!("Another account has the geckoId {}", quoted(id.as_str()))),
            Self::EndpointsFull { limit } => Answer {
                close: Some(1013),
                ..close(format!("This server takes no more than {limit} geckos"))
            },
            Self::NotAMessage { text } => stay(format!("Wrong message from Gecko: {}", quoted(text))),
            Self::AlreadyInCall => close("This connection has a worker already"),
            Self::Replaced => close_silently(4001, "replaced"),
            // A gecko or its client causes none of these.
            Self::Binary | Self::Malformed | Self::UnknownType { .. } | Self::MissingId(_)
            | Self::MissingPayload(_) | Self::MissingCaller | Self::NotRegistered | Self::NotInCall
            | Self::NoSuchCaller { .. } | Self::Absent { .. } | Self::EndpointLeft | Self::CallsFull { .. }
            | Self::Evicted | Self::UnknownMailbox | Self::NoHello | Self::InvalidPeerId | Self::MissingPeerId
            | Self::Busy { .. } | Self::InvalidRoomId { .. } | Self::RoomFull { .. } | Self::RoomsFull { .. }
            | Self::AlreadyInRoom | Self::NotInRoom | Self::IncompleteMessage | Self::NotAMember { .. }
            | Self::Unguarded { .. } =>
                close("Invalid message"),
        }
    }
}

/// Old clients compare the whole text, so it is cut only where it is absurd.
fn whole(text: &str) -> &str {
    &text[..text.floor_char_boundary(QUOTED_PEER_BYTES)]
}

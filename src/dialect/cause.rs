//! Why a session or a request is refused: one table, a row for each cause, a column for each dialect.
//! A cause without a row does not compile.

use std::borrow::Cow;

use super::Unverified;
use super::gstreamer::wire::quoted as python;
use crate::hub::{CallError, EndpointId, JoinError, PairError, RegistrationError, SessionError};

mod gecko;

pub use gecko::Errno;

/// Quoted text longer than this, in bytes, is cut in errors.
const QUOTED_BYTES: usize = 200;
/// Quoted ids of GStreamer peers and rooms are cut only here, above any that are taken: clients
/// compare the whole line.
const QUOTED_PEER_BYTES: usize = 20_000;

/// What went wrong, with the facts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cause<'a> {
    /// A binary message in a language of text.
    Binary,
    /// Not JSON, or more than one JSON value.
    Malformed,
    /// JSON, but no message.
    NotAMessage {
        /// What was sent.
        text: &'a str,
    },
    /// A message of a type that the dialect doesn't have.
    UnknownType {
        /// The type.
        name: Cow<'a, str>,
    },
    /// An endpoint or a caller gave no usable id.
    MissingId(Side),
    /// A message to relay has no payload.
    MissingPayload(Side),
    /// A message of an endpoint doesn't say for which caller it is.
    MissingCaller,
    /// A message of a connection that isn't registered.
    NotRegistered,
    /// A message of a connection that isn't in a call.
    NotInCall,
    /// A second call on one connection.
    AlreadyInCall,
    /// A message to a caller that never was.
    NoSuchCaller {
        /// The caller's number, as it was sent.
        number: &'a str,
    },
    /// The endpoint that is called isn't here.
    Absent {
        /// Its id.
        id: &'a str,
    },
    /// The endpoint of this call has left.
    EndpointLeft,
    /// A live connection holds the id.
    IdTaken {
        /// The id.
        id: &'a EndpointId,
    },
    /// This connection is registered already.
    AlreadyRegistered {
        /// As this.
        id: &'a EndpointId,
    },
    /// The server takes no more endpoints.
    EndpointsFull {
        /// The limit.
        limit: usize,
    },
    /// The endpoint, or the server, takes no more callers.
    CallsFull {
        /// The limit.
        limit: usize,
    },
    /// The connection didn't answer when another one wanted its id.
    Evicted,
    /// A polling client's connection is unknown, or expired.
    UnknownMailbox,
    /// The first frame registers nobody.
    NoHello,
    /// A peer gave no usable id.
    InvalidPeerId,
    /// A peer asks for a session and names nobody.
    MissingPeerId,
    /// The peer that is called is in a session or a room.
    Busy {
        /// Its id.
        id: &'a EndpointId,
    },
    /// A room can't have this id.
    InvalidRoomId {
        /// The id, as it was sent.
        id: &'a str,
    },
    /// The room takes no more members.
    RoomFull {
        /// The limit.
        limit: usize,
    },
    /// The server takes no more rooms.
    RoomsFull {
        /// The limit.
        limit: usize,
    },
    /// A peer in a room asks for what only one outside may have.
    AlreadyInRoom,
    /// A peer in no room asks for what only a member may have.
    NotInRoom,
    /// A message to a member without the member or the message.
    IncompleteMessage,
    /// A message to somebody who is in another place than the sender's room.
    NotAMember {
        /// Whom.
        id: &'a EndpointId,
    },
    /// A client of geckos sends what isn't JSON.
    NotJson {
        /// What was sent.
        text: &'a str,
    },
    /// A hello with an action that the endpoint doesn't have.
    UnknownAction {
        /// The action, as it was sent.
        name: &'a str,
    },
    /// A message lacks a field, or has it in another form.
    MissingField {
        /// The field.
        name: &'static str,
    },
    /// A client's message isn't one that may come now.
    Unexpected {
        /// What was sent.
        text: &'a str,
    },
    /// A hello without authorization.
    NoAuthorization,
    /// An authorization of another kind than a bearer token.
    NotBearer,
    /// A token is no good, or not for this.
    TokenRefused {
        /// Why.
        why: &'a str,
    },
    /// Whoever knows about tokens couldn't be asked.
    AuthorityUnavailable {
        /// Why.
        why: &'a str,
    },
    /// No gecko is here.
    NoGecko,
    /// The gecko takes no more sessions.
    SessionsFull {
        /// The limit.
        limit: usize,
    },
    /// Too much waits for the gecko.
    Congested,
    /// A gecko's client sent more candidates than are taken.
    TooManyCandidates {
        /// The limit.
        limit: usize,
    },
    /// The gecko didn't answer in time.
    Unanswered {
        /// How many seconds it had.
        seconds: f64,
    },
    /// The gecko answered, but no connection was made in time.
    Unconnected {
        /// How many seconds it had.
        seconds: f64,
    },
    /// The gecko is gone.
    GeckoLeft,
    /// A gecko's message to a client is none.
    GeckoMistake {
        /// What was sent.
        text: &'a str,
    },
    /// A gecko sends what isn't JSON.
    GeckoNotJson {
        /// What was sent.
        text: &'a str,
    },
    /// A gecko's message for a worker that isn't its own.
    NoSuchWorker {
        /// The worker's id, as it was sent; `None` if it named none.
        id: Option<&'a str>,
    },
    /// Another connection registered the same gecko.
    Replaced,
    /// The connection's token isn't for this id.
    ForbiddenId {
        /// The id.
        id: &'a EndpointId,
    },
    /// The connection's token is for viewing only, and the endpoint holds nobody to that.
    Unguarded {
        /// The endpoint's id.
        id: &'a EndpointId,
    },
    /// The connection's token is for viewing only, and this is more.
    ViewOnly,
    /// The connection's token isn't for this.
    Forbidden {
        /// What: "call 'x'".
        what: Cow<'a, str>,
    },
}

/// Which side of a call made a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that registers.
    Endpoint,
    /// The one that calls.
    Caller,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Part of normal life.
    Debug,
    /// Worth knowing when something doesn't work.
    Info,
    /// The operator should look.
    Warn,
}

/// A cause's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name in logs, and its label in metrics.
    pub label: &'static str,
    /// The HTTP status where a request meets it.
    pub http: u16,
    /// How loud its log line is.
    pub level: Level,
    /// What a Cuttlefish peer is sent.
    pub cuttlefish: Answer,
    /// What a GStreamer peer is sent.
    pub gstreamer: Answer,
    /// What a gecko or its client is sent.
    pub gecko: Answer,
    /// The number of that.
    pub errno: Errno,
}

/// What a peer is sent, and whether the conversation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The error's text, if there is any.
    pub text: Option<String>,
    /// The close code (RFC 6455 section 7.4); `None` if the connection stays.
    pub close: Option<u16>,
    /// The close's reason; often empty.
    pub reason: &'static str,
}

impl Cause<'_> {
    /// The row.
    #[must_use]
    pub fn row(&self) -> Row {
        let (label, http, level) = self.facts();
        Row {
            label,
            http,
            level,
            cuttlefish: self.cuttlefish(),
            gstreamer: self.gstreamer(),
            gecko: self.gecko(),
            errno: self.errno(),
        }
    }

    // One row to a line, to be read as a table.
    #[rustfmt::skip]
    const fn facts(&self) -> (&'static str, u16, Level) {
        match self {
            Self::Binary                   => ("binary",             400, Level::Info),
            Self::Malformed                => ("malformed",          400, Level::Info),
            Self::NotAMessage { .. }       => ("not_a_message",      400, Level::Info),
            Self::UnknownType { .. }       => ("unknown_type",       400, Level::Info),
            Self::MissingId(_)             => ("missing_id",         400, Level::Info),
            Self::MissingPayload(_)        => ("missing_payload",    400, Level::Info),
            Self::MissingCaller            => ("missing_caller",     400, Level::Info),
            Self::NotRegistered            => ("not_registered",     400, Level::Info),
            Self::NotInCall                => ("not_in_call",        400, Level::Info),
            Self::AlreadyInCall            => ("already_in_call",    400, Level::Info),
            Self::NoSuchCaller { .. }      => ("no_such_caller",     404, Level::Info),
            Self::Absent { .. }            => ("absent",             404, Level::Info),
            Self::EndpointLeft             => ("endpoint_left",      404, Level::Debug),
            Self::IdTaken { .. }           => ("id_taken",           409, Level::Warn),
            Self::AlreadyRegistered { .. } => ("already_registered", 409, Level::Info),
            Self::EndpointsFull { .. }     => ("endpoints_full",     503, Level::Warn),
            Self::CallsFull { .. }         => ("calls_full",         503, Level::Warn),
            Self::Evicted                  => ("evicted",            410, Level::Warn),
            Self::UnknownMailbox           => ("unknown_mailbox",    401, Level::Info),
            Self::NoHello                  => ("no_hello",           400, Level::Info),
            Self::InvalidPeerId            => ("invalid_peer_id",    400, Level::Info),
            Self::MissingPeerId            => ("missing_peer_id",    400, Level::Info),
            Self::Busy { .. }              => ("busy",               409, Level::Info),
            Self::InvalidRoomId { .. }     => ("invalid_room_id",    400, Level::Info),
            Self::RoomFull { .. }          => ("room_full",          503, Level::Warn),
            Self::RoomsFull { .. }         => ("rooms_full",         503, Level::Warn),
            Self::AlreadyInRoom            => ("already_in_room",    409, Level::Info),
            Self::NotInRoom                => ("not_in_room",        400, Level::Info),
            Self::IncompleteMessage        => ("incomplete_message", 400, Level::Info),
            Self::NotAMember { .. }        => ("not_a_member",       404, Level::Info),
            Self::NotJson { .. }           => ("malformed",          400, Level::Info),
            Self::UnknownAction { .. }     => ("unknown_action",     400, Level::Info),
            Self::MissingField { .. }      => ("missing_field",      400, Level::Info),
            Self::Unexpected { .. }        => ("unexpected",         400, Level::Info),
            Self::NoAuthorization          => ("no_authorization",   401, Level::Info),
            Self::NotBearer                => ("not_bearer",         401, Level::Info),
            Self::TokenRefused { .. }      => ("token_refused",      401, Level::Info),
            Self::AuthorityUnavailable { .. } => ("authority_unavailable", 503, Level::Info),
            Self::NoGecko                  => ("no_gecko",           503, Level::Info),
            Self::SessionsFull { .. }      => ("sessions_full",      503, Level::Warn),
            Self::Congested                => ("congested",          503, Level::Warn),
            Self::TooManyCandidates { .. } => ("too_many_candidates", 429, Level::Info),
            Self::Unanswered { .. }        => ("unanswered",         504, Level::Info),
            Self::Unconnected { .. }       => ("unconnected",        504, Level::Info),
            Self::GeckoLeft                => ("gecko_left",         502, Level::Info),
            Self::GeckoMistake { .. }      => ("gecko_mistake",      502, Level::Info),
            Self::GeckoNotJson { .. }      => ("gecko_not_json",     502, Level::Info),
            Self::NoSuchWorker { .. }      => ("no_such_worker",     404, Level::Info),
            Self::Replaced                 => ("replaced",           410, Level::Info),
            Self::ForbiddenId { .. }       => ("forbidden_id",       403, Level::Info),
            Self::Unguarded { .. }         => ("unguarded",          403, Level::Info),
            Self::ViewOnly                 => ("view_only",          403, Level::Info),
            Self::Forbidden { .. }         => ("forbidden",          403, Level::Info),
        }
    }

    /// The texts and closes are the C++ server's where it has one (cuttlefish.md A2, A3, with the
    /// decisions there).
    #[rustfmt::skip]
    fn cuttlefish(&self) -> Answer {
        match self {
            Self::Binary => close("Received a binary message"),
            Self::Malformed => close("Received Invalid JSON"),
            Self::NotAMessage { text } => close(format!("Invalid message format: '{}'", quoted(text))),
            Self::UnknownType { name } => stay(format!("Unknown message type: {}", quoted(name))),
            Self::MissingId(Side::Endpoint) => close("Missing device id in registration request"),
            Self::MissingId(Side::Caller) => close("Invalid connection request: Missing device id"),
            Self::MissingPayload(Side::Endpoint) => close("Forward failed: Missing payload"),
            Self::MissingPayload(Side::Caller) => close("Forward failed: No payload present in message"),
            Self::MissingCaller => close("Forward failed: Missing or invalid client id"),
            Self::NotRegistered => close("Forward failed: The device must register first"),
            Self::NotInCall => close("Forward failed: No device associated to client"),
            Self::AlreadyInCall => close("Attempt to connect to multiple devices over same websocket"),
            Self::NoSuchCaller { number } => stay(format!("Forward failed: Unknown client {}", quoted(number))),
            Self::Absent { id } => close(format!("Connection failed: Device not found: '{}'", quoted(id))),
            Self::EndpointLeft => close("Device disconnected"),
            Self::IdTaken { id } => close(format!("Device id already taken: '{}'", quoted(id.as_str()))),
            Self::AlreadyRegistered { id } => close(format!("Device already registered: {}", quoted(id.as_str()))),
            Self::EndpointsFull { limit } =>
                close(format!("Registration failed: This server takes no more than {limit} devices")),
            Self::CallsFull { limit } => close(format!("Connection failed: No more than {limit} clients are taken")),
            // A failed keepalive, only sooner; and to an old device any text is an error to retry.
            Self::Evicted => close_silently(1011, ""),
            Self::UnknownMailbox => close("Unknown connection id"),
            Self::ForbiddenId { id } => close(format!("The token does not allow the device id '{}'", quoted(id.as_str()))),
            Self::Forbidden { what } => close(format!("The token does not allow to {}", quoted(what))),
            Self::Unguarded { id } => close(format!(
                "The token allows to view only, and the device '{}' does not hold its clients to that; \
                 it needs switchboard device, or the server cuttlefish.unguarded_devices",
                quoted(id.as_str())
            )),
            // A Cuttlefish peer causes none of these.
            Self::NoHello | Self::InvalidPeerId | Self::MissingPeerId | Self::InvalidRoomId { .. }
            | Self::IncompleteMessage => close("Invalid message"),
            Self::Busy { .. } | Self::RoomFull { .. } | Self::RoomsFull { .. } | Self::AlreadyInRoom
            | Self::NotInRoom | Self::NotAMember { .. } => close("Connection failed"),
            Self::NotJson { .. } | Self::UnknownAction { .. } | Self::MissingField { .. }
            | Self::Unexpected { .. } | Self::NoAuthorization | Self::NotBearer
            | Self::TokenRefused { .. } | Self::AuthorityUnavailable { .. } | Self::NoGecko | Self::SessionsFull { .. }
            | Self::Congested | Self::TooManyCandidates { .. } | Self::Unanswered { .. } | Self::Unconnected { .. } | Self::GeckoLeft
            | Self::GeckoMistake { .. } | Self::GeckoNotJson { .. } | Self::NoSuchWorker { .. }
            | Self::Replaced | Self::ViewOnly => close("Invalid message"),
        }
    }

    /// The texts and closes are the reference server's where it has one; where it closes without a
    /// word or says nothing, an `ERROR` line (gst.md A.3 to A.6, with the decisions there).
    #[rustfmt::skip]
    fn gstreamer(&self) -> Answer {
        match self {
            Self::NoHello => close_silently(1002, "invalid protocol"),
            Self::InvalidPeerId | Self::IdTaken { .. } => close_silently(1002, "invalid peer uid"),
            Self::EndpointsFull { .. } => close_silently(1013, "too many peers"),
            Self::ForbiddenId { .. } => close_silently(1008, "the token does not allow this peer uid"),
            Self::Forbidden { what } => stay(format!("the token does not allow to {}", quoted(what))),
            Self::Evicted => close_silently(1011, "no answer to a ping"),
            Self::EndpointLeft => close_silently(1000, ""),
            Self::Absent { id } => stay(format!("peer {} not found", quoted_id(id))),
            Self::Busy { id } => stay(format!("peer {} busy", quoted_id(id.as_str()))),
            Self::NotAMember { id } => stay(format!("peer {} is not in the room", quoted_id(id.as_str()))),
            Self::InvalidRoomId { id } => stay(format!("invalid room id {}", quoted_id(id))),
            Self::RoomFull { limit } => stay(format!("room full, no more than {limit} peers are taken")),
            Self::RoomsFull { limit } => stay(format!("too many rooms, no more than {limit} are taken")),
            Self::AlreadyInRoom => stay("invalid msg, already in room"),
            Self::NotInRoom => stay("invalid msg, not in a room"),
            Self::MissingPeerId => stay("invalid msg, SESSION needs the id of a peer"),
            Self::IncompleteMessage => stay("invalid msg, ROOM_PEER_MSG needs the id of a peer and a message"),
            Self::UnknownType { name } => stay(format!("invalid msg, unknown command {}", quoted_id(name))),
            Self::Binary => stay("invalid msg, commands are text"),
            Self::NotRegistered => stay("invalid msg, not registered yet"),
            // A GStreamer peer causes none of these.
            Self::Malformed | Self::NotAMessage { .. } | Self::MissingId(_) | Self::MissingPayload(_)
            | Self::MissingCaller | Self::NotInCall | Self::AlreadyInCall | Self::NoSuchCaller { .. }
            | Self::AlreadyRegistered { .. } | Self::CallsFull { .. } | Self::UnknownMailbox => stay("invalid msg"),
            Self::NotJson { .. } | Self::UnknownAction { .. } | Self::MissingField { .. }
            | Self::Unexpected { .. } | Self::NoAuthorization | Self::NotBearer
            | Self::TokenRefused { .. } | Self::AuthorityUnavailable { .. } | Self::NoGecko | Self::SessionsFull { .. }
            | Self::Congested | Self::TooManyCandidates { .. } | Self::Unanswered { .. } | Self::Unconnected { .. } | Self::GeckoLeft
            | Self::GeckoMistake { .. } | Self::GeckoNotJson { .. } | Self::NoSuchWorker { .. }
            | Self::Replaced | Self::ViewOnly | Self::Unguarded { .. } => stay("invalid msg"),
        }
    }
}

impl<'a> From<&'a Unverified> for Cause<'a> {
    fn from(error: &'a Unverified) -> Self {
        match error {
            Unverified::Refused(why) => Self::TokenRefused { why },
            Unverified::Unavailable(why) => Self::AuthorityUnavailable { why },
        }
    }
}

impl From<&SessionError> for Cause<'_> {
    fn from(error: &SessionError) -> Self {
        match *error {
            SessionError::AlreadyOpen => Self::AlreadyInCall,
            SessionError::NoEndpoint => Self::NoGecko,
            SessionError::Full(limit) => Self::SessionsFull { limit },
            SessionError::Congested => Self::Congested,
            SessionError::TooManyCandidates(limit) => Self::TooManyCandidates { limit },
            SessionError::Unanswered(time) => Self::Unanswered {
                seconds: time.as_secs_f64(),
            },
            SessionError::Unconnected(time) => Self::Unconnected {
                seconds: time.as_secs_f64(),
            },
            SessionError::EndpointLeft => Self::GeckoLeft,
            SessionError::ViewOnly => Self::ViewOnly,
            SessionError::Forbidden => Self::Forbidden {
                what: Cow::Borrowed("ask for a worker"),
            },
        }
    }
}

impl<'a> From<&'a RegistrationError> for Cause<'a> {
    fn from(error: &'a RegistrationError) -> Self {
        match error {
            RegistrationError::Taken(id) => Self::IdTaken { id },
            RegistrationError::AlreadyRegistered(id) => Self::AlreadyRegistered { id },
            RegistrationError::Full(limit) => Self::EndpointsFull { limit: *limit },
            RegistrationError::Forbidden(id) => Self::ForbiddenId { id },
        }
    }
}

impl<'a> From<&'a CallError> for Cause<'a> {
    fn from(error: &'a CallError) -> Self {
        match error {
            CallError::Absent(id) => Self::Absent { id: id.as_str() },
            CallError::AlreadyInCall => Self::AlreadyInCall,
            CallError::Full(limit) => Self::CallsFull { limit: *limit },
            CallError::Forbidden(id) => Self::call(id),
            CallError::Unguarded(id) => Self::Unguarded { id },
        }
    }
}

impl<'a> From<&'a PairError> for Cause<'a> {
    fn from(error: &'a PairError) -> Self {
        match error {
            PairError::NotRegistered => Self::NotRegistered,
            PairError::Engaged => Self::AlreadyInRoom,
            PairError::Absent(id) => Self::Absent { id: id.as_str() },
            PairError::Busy(id) => Self::Busy { id },
            PairError::Forbidden(id) => Self::call(id),
        }
    }
}

impl From<&JoinError> for Cause<'_> {
    fn from(error: &JoinError) -> Self {
        match error {
            JoinError::NotRegistered => Self::NotRegistered,
            JoinError::Engaged => Self::AlreadyInRoom,
            JoinError::Full(limit) => Self::RoomFull { limit: *limit },
            JoinError::TooManyRooms(limit) => Self::RoomsFull { limit: *limit },
            JoinError::Forbidden(room) => Self::Forbidden {
                what: format!("join '{}'", quoted(room.as_str())).into(),
            },
        }
    }
}

impl Cause<'_> {
    fn call(id: &EndpointId) -> Self {
        Self::Forbidden {
            what: format!("call '{}'", quoted(id.as_str())).into(),
        }
    }
}

/// The start of a text that a stranger sent, short enough to send it back.
pub(super) fn quoted(text: &str) -> String {
    if text.len() <= QUOTED_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(QUOTED_BYTES)])
}

/// An id as GStreamer's server shows it.
fn quoted_id(id: &str) -> String {
    python(&id[..id.floor_char_boundary(QUOTED_PEER_BYTES)])
}

fn close(text: impl Into<String>) -> Answer {
    Answer {
        text: Some(text.into()),
        close: Some(1000),
        reason: "",
    }
}

fn stay(text: impl Into<String>) -> Answer {
    Answer {
        text: Some(text.into()),
        close: None,
        reason: "",
    }
}

const fn close_silently(code: u16, reason: &'static str) -> Answer {
    Answer {
        text: None,
        close: Some(code),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_of_a_stranger_is_cut_at_a_character() {
        let text = "ä".repeat(QUOTED_BYTES);
        let row = Cause::NotAMessage { text: &text }.row();
        let answer = row.cuttlefish.text.unwrap();
        assert!(
            answer.len() < QUOTED_BYTES + 40 && answer.ends_with("ä…'"),
            "{answer}"
        );
    }
}

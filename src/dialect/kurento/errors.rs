//! What the server refuses: a row for each cause (kurento.md A5). A cause without a row does not
//! compile.

use super::wire::{BadParam, RpcError, Unreadable};
use crate::dialect::cause::{Level, quoted};
use crate::hub::{Denied, MediaRefusal};

/// A number of the room server's own table, or of JSON-RPC (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub i32);

impl Code {
    /// Anything about a user that has no other.
    pub const USER_GENERIC: Self = Self(101);
    /// The user, or the own session, isn't in the room.
    pub const USER_NOT_FOUND: Self = Self(102);
    /// The user left meanwhile.
    pub const USER_CLOSED: Self = Self(103);
    /// The name is taken.
    pub const EXISTING_USER_IN_ROOM: Self = Self(104);
    /// The user doesn't publish.
    pub const USER_NOT_STREAMING: Self = Self(105);
    /// Anything about a room that has no other.
    pub const ROOM_GENERIC: Self = Self(201);
    /// No such room.
    pub const ROOM_NOT_FOUND: Self = Self(202);
    /// The room can't be made.
    pub const ROOM_CANNOT_BE_CREATED: Self = Self(204);
    /// Anything about media that has no other.
    pub const MEDIA_GENERIC: Self = Self(301);
    /// No answer to the offer.
    pub const MEDIA_SDP: Self = Self(302);
    /// No media endpoint.
    pub const MEDIA_ENDPOINT: Self = Self(303);
    /// The media endpoint failed.
    pub const MEDIA_WEBRTC_ENDPOINT: Self = Self(304);
    /// Anything else.
    pub const GENERIC: Self = Self(999);
    /// What the reference server meets with an exception.
    pub const EXCEPTION: Self = Self(-1);
    /// No such session to go on with.
    pub const RECONNECTION: Self = Self(40007);
    /// No JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// No request.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// No such method.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault<'a> {
    /// The frame is no JSON.
    NotJson,
    /// The frame is no request, or has no usable id.
    NotARequest,
    /// No such method.
    UnknownMethod {
        /// Its name.
        name: &'a str,
    },
    /// A parameter is missing, or no good.
    BadParam(BadParam),
    /// A sender that names no stream.
    BadSender {
        /// What was sent.
        sender: &'a str,
    },
    /// A name is too long.
    TooLong {
        /// The parameter.
        name: &'static str,
        /// How many bytes it may have.
        limit: usize,
    },
    /// A custom request, and nobody to answer it.
    NoHook,
    /// The one who answers custom requests didn't.
    HookFailed {
        /// Why.
        why: &'a str,
    },
    /// `connect` with a session that doesn't exist.
    UnknownSession,
    /// No such room to close.
    NoSuchRoom {
        /// The room.
        room: &'a str,
    },
    /// The hub says no.
    Denied(&'a Denied),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the client gets.
    pub code: Code,
    /// The name in logs, and the label in metrics.
    pub label: &'static str,
    /// The status where an HTTP request meets it.
    pub http: u16,
    /// How loud its log line is.
    pub level: Level,
}

impl Fault<'_> {
    /// The row.
    #[must_use]
    pub const fn row(&self) -> Row {
        let (code, label, http, level) = match self {
            Self::Denied(denied) => of_denied(denied),
            _ => self.own(),
        };
        Row {
            code,
            label,
            http,
            level,
        }
    }

    // One row to a line, to be read as a table.
    #[rustfmt::skip]
    const fn own(&self) -> (Code, &'static str, u16, Level) {
        match self {
            Self::NotJson              => (Code::PARSE_ERROR,      "malformed",           400, Level::Info),
            Self::NotARequest          => (Code::INVALID_REQUEST,  "not_a_request",       400, Level::Info),
            Self::UnknownMethod { .. } => (Code::METHOD_NOT_FOUND, "unknown_method",      404, Level::Info),
            Self::BadParam(_)          => (Code::EXCEPTION,        "bad_param",           400, Level::Info),
            Self::BadSender { .. }     => (Code::EXCEPTION,        "bad_sender",          400, Level::Info),
            Self::TooLong { .. }       => (Code::EXCEPTION,        "too_long",            400, Level::Info),
            Self::NoHook               => (Code::EXCEPTION,        "no_hook",             501, Level::Info),
            Self::HookFailed { .. }    => (Code::EXCEPTION,        "hook_failed",         502, Level::Warn),
            Self::UnknownSession       => (Code::RECONNECTION,     "unknown_session",     404, Level::Info),
            Self::NoSuchRoom { .. }    => (Code::ROOM_NOT_FOUND,   "no_such_room",        404, Level::Info),
            Self::Denied(denied)       => of_denied(denied),
        }
    }

    /// What the client gets.
    #[must_use]
    pub fn error(&self) -> RpcError {
        RpcError {
            code: self.row().code.0,
            message: self.text(),
        }
    }

    /// The text; the reference server's where it has one.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NotJson => "Parse error: the message is no JSON".to_owned(),
            Self::NotARequest => {
                "Invalid Request: it needs a method and a whole number as its id".to_owned()
            }
            Self::UnknownMethod { name } => format!("Method not found: {}", quoted(name)),
            Self::BadParam(what) => exception(what),
            Self::BadSender { sender } => exception(format_args!(
                "Request element 'sender' is no USER_STREAM: {}",
                quoted(sender)
            )),
            Self::TooLong { name, limit } => exception(format_args!(
                "Request element '{name}' has more than {limit} bytes"
            )),
            Self::NoHook => exception("Unsupported method"),
            Self::HookFailed { why } => exception(format_args!("The custom request failed: {why}")),
            Self::UnknownSession => "reconnection error".to_owned(),
            Self::NoSuchRoom { room } => format!("Room '{}' not found", quoted(room)),
            Self::Denied(denied) => text_of_denied(denied),
        }
    }
}

// One row to a line, to be read as a table.
#[rustfmt::skip]
const fn of_denied(denied: &Denied) -> (Code, &'static str, u16, Level) {
    match denied {
        Denied::UnknownVisitor          => (Code::RECONNECTION,           "unknown_session",     404, Level::Info),
        Denied::VisitorsFull(_)         => (Code::GENERIC,                "sessions_full",       503, Level::Warn),
        Denied::NotInRoom(_)            => (Code::USER_NOT_FOUND,         "not_in_room",         400, Level::Info),
        Denied::InRoom { .. }           => (Code::USER_GENERIC,           "already_in_room",     409, Level::Info),
        Denied::NameTaken { .. }        => (Code::EXISTING_USER_IN_ROOM,  "name_taken",          409, Level::Info),
        Denied::EmptyName               => (Code::GENERIC,                "empty_name",          400, Level::Info),
        Denied::RoomFull { .. }         => (Code::ROOM_GENERIC,           "room_full",           503, Level::Warn),
        Denied::TooManyRooms(_)         => (Code::ROOM_CANNOT_BE_CREATED, "rooms_full",          503, Level::Warn),
        Denied::Publishing(_)           => (Code::MEDIA_GENERIC,          "already_publishing",  409, Level::Info),
        Denied::NotPublishing(_)        => (Code::USER_NOT_STREAMING,     "not_publishing",      400, Level::Info),
        Denied::PublishersFull(_)       => (Code::MEDIA_ENDPOINT,         "publishers_full",     503, Level::Warn),
        Denied::NoSuchUser { .. }       => (Code::USER_NOT_FOUND,         "no_such_user",        404, Level::Info),
        Denied::NothingToReceive { .. } => (Code::USER_NOT_STREAMING,     "nothing_to_receive",  404, Level::Info),
        Denied::Receiving { .. }        => (Code::MEDIA_SDP,              "already_receiving",   409, Level::Info),
        Denied::NotOwnName(_)           => (Code::USER_NOT_FOUND,         "not_own_name",        400, Level::Info),
        Denied::NotOwnRoom(_)           => (Code::ROOM_NOT_FOUND,         "not_own_room",        400, Level::Info),
        Denied::NotPublished { why, .. } | Denied::NotReceived { why, .. } => of_refusal(why),
        Denied::Gone(_)                 => (Code::USER_CLOSED,            "user_closed",         410, Level::Info),
        Denied::Forbidden(_)            => (Code::USER_GENERIC,           "forbidden",           403, Level::Info),
    }
}

#[rustfmt::skip]
const fn of_refusal(why: &MediaRefusal) -> (Code, &'static str, u16, Level) {
    match why {
        MediaRefusal::Offer(_)    => (Code::MEDIA_SDP,          "bad_offer",      400, Level::Info),
        MediaRefusal::Full(_)     => (Code::MEDIA_ENDPOINT,     "media_full",     503, Level::Warn),
        MediaRefusal::NoPublisher => (Code::USER_NOT_STREAMING, "publisher_gone", 404, Level::Info),
        MediaRefusal::Late(_)     => (Code::MEDIA_ENDPOINT,     "media_late",     503, Level::Warn),
    }
}

fn text_of_denied(denied: &Denied) -> String {
    match denied {
        Denied::UnknownVisitor => "reconnection error".to_owned(),
        Denied::VisitorsFull(limit) => format!("This server takes no more than {limit} sessions"),
        Denied::NotInRoom(visitor) => {
            let id = super::server::session_id(*visitor);
            format!("No participant with id '{id}' was found")
        }
        Denied::InRoom { room, user } => format!(
            "This session is in room '{}' as '{}' already; leave it first",
            quoted(room),
            quoted(user)
        ),
        Denied::NameTaken { room, user } => {
            let (user, room) = (quoted(user), quoted(room));
            format!("User '{user}' already exists in room '{room}'")
        }
        Denied::EmptyName => "Empty user name is not allowed".to_owned(),
        Denied::RoomFull { room, limit } => format!(
            "Room '{}' takes no more than {limit} participants",
            quoted(room)
        ),
        Denied::TooManyRooms(_) => "No resources left to create new room".to_owned(),
        Denied::Publishing(user) => {
            format!("Participant '{}' is streaming media already", quoted(user))
        }
        Denied::NotPublishing(user) => {
            format!("Participant '{}' is not streaming media", quoted(user))
        }
        Denied::PublishersFull(limit) => format!(
            "Unable to create publisher endpoint: the room takes no more than {limit} publishers"
        ),
        Denied::NoSuchUser { room, user } => {
            format!(
                "User '{}' not found in room '{}'",
                quoted(user),
                quoted(room)
            )
        }
        Denied::NothingToReceive { room, user } => {
            let (user, room) = (quoted(user), quoted(room));
            format!("User '{user}' not streaming media in room '{room}'")
        }
        Denied::Receiving { user, from } => {
            let text = subscribing(user, from);
            format!("{text}: it receives that user already; unsubscribe first")
        }
        Denied::NotOwnName(user) => {
            let user = quoted(user);
            format!("Provided username '{user}' differs from the participant's name")
        }
        Denied::NotOwnRoom(room) => {
            let room = quoted(room);
            format!("Provided room name '{room}' differs from the participant's room")
        }
        Denied::NotPublished { user, why } => text_of_unpublished(user, why),
        Denied::NotReceived { user, from, why } => format!("{}: {why}", subscribing(user, from)),
        Denied::Gone(user) => format!("Participant '{}' has been closed", quoted(user)),
        Denied::Forbidden(what) => format!("The token does not allow to {}", quoted(what)),
    }
}

fn text_of_unpublished(user: &str, why: &MediaRefusal) -> String {
    let user = quoted(user);
    match why {
        MediaRefusal::Late(_) => format!("Timeout reached while publishing user {user}"),
        MediaRefusal::Full(why) => format!("Unable to create publisher endpoint: {why}"),
        why => format!("Error generating SDP response for publishing user {user}: {why}"),
    }
}

/// The text of `mediaError` (kurento.md A3).
#[must_use]
pub fn media_error(why: &str) -> String {
    let code = Code::MEDIA_WEBRTC_ENDPOINT.0;
    format!("MEDIA_CONNECTION: {why}(errCode={code})")
}

fn subscribing(user: &str, from: &str) -> String {
    let (user, from) = (quoted(user), quoted(from));
    format!("Unable to generate SDP answer when subscribing '{user}' to '{from}'")
}

fn exception(what: impl std::fmt::Display) -> String {
    format!("java.lang.RuntimeException:{what}")
}

impl<'a> From<&'a Unreadable> for Fault<'a> {
    fn from(unreadable: &'a Unreadable) -> Self {
        match unreadable {
            Unreadable::NotJson => Self::NotJson,
            Unreadable::NotARequest(_) => Self::NotARequest,
            Unreadable::UnknownMethod { name, .. } => Self::UnknownMethod { name },
            Unreadable::BadParam { what, .. } => Self::BadParam(*what),
        }
    }
}

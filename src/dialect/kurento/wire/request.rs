//! What a client asks.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{IceCandidate, RequestId, print, whole};

/// A request of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What its reply will carry.
    pub id: RequestId,
    /// The session that it is for, if it says so (kurento.md A1.11).
    pub session: Option<String>,
    /// What is asked.
    pub method: Method,
}

/// What can be asked (sections 1, 3, 5, 7 to 9, 11, 14 and 17 of the document; kurento.md A1.12 to
/// A1.15 and A2).
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// `joinRoom`. Answered by [`Success::participants`](super::Success::participants).
    JoinRoom {
        /// The own name.
        user: String,
        /// The room.
        room: String,
        /// Whether the client negotiates a data channel with what it publishes.
        data_channels: bool,
    },
    /// `publishVideo`. Answered by [`Success::sdp_answer`](super::Success::sdp_answer).
    PublishVideo {
        /// The client's offer.
        sdp_offer: String,
        /// Whether it wants to get back what it sends, on the same connection.
        do_loopback: bool,
    },
    /// `unpublishVideo`
    UnpublishVideo,
    /// `receiveVideoFrom`. Answered by [`Success::sdp_answer`](super::Success::sdp_answer).
    ReceiveVideoFrom {
        /// Whose media: [`sender_of`](super::sender_of) the user.
        sender: String,
        /// The client's offer.
        sdp_offer: String,
    },
    /// `unsubscribeFromVideo`
    UnsubscribeFromVideo {
        /// As above.
        sender: String,
    },
    /// `onIceCandidate`
    OnIceCandidate(IceCandidate),
    /// `leaveRoom`. The server closes the WebSocket after its reply.
    LeaveRoom,
    /// `sendMessage`
    SendMessage {
        /// The text.
        message: String,
        /// The own name.
        user: String,
        /// The room's.
        room: String,
    },
    /// `customRequest`, with all its parameters but the session's id.
    CustomRequest(Map<String, Value>),
    /// `connect`: start a session, or take over the one that the request names. Answered by
    /// [`Success::OK`](super::Success::OK) or [`Success::RECONNECTED`](super::Success::RECONNECTED).
    Connect,
    /// `ping`. Answered by [`Success::PONG`](super::Success::PONG).
    Ping {
        /// How long the client waits between two, in ms. Only the first one says it.
        interval: Option<u64>,
    },
    /// `closeSession`. Answered by [`Success::Bye`](super::Success::Bye).
    CloseSession,
}

/// A frame that is no request that could be obeyed.
#[derive(Debug, Clone, PartialEq)]
pub enum Unreadable {
    /// No JSON.
    NotJson,
    /// JSON, but no request: no object, or without a method, or with an id that is none.
    NotARequest(RequestId),
    /// A method that doesn't exist.
    UnknownMethod {
        /// Of the request.
        id: RequestId,
        /// Its name.
        name: String,
    },
    /// A parameter is missing, or of another type.
    BadParam {
        /// Of the request.
        id: RequestId,
        /// The session that it is for.
        session: Option<String>,
        /// Which method.
        method: &'static str,
        /// What is wrong.
        what: BadParam,
    },
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadParam {
    /// It isn't there.
    Missing(&'static str),
    /// It is of another type than it should be.
    Mistyped(&'static str),
    /// `params` is no object.
    NotAnObject,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: RequestId,
    #[serde(default)]
    method: Option<Value>,
    #[serde(default)]
    params: Option<Value>,
    /// The document's example has it here, clients have it in `params`.
    #[serde(default, rename = "doLoopback")]
    do_loopback: Option<Value>,
}

struct Params(Map<String, Value>);

impl Request {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let value: Value = serde_json::from_str(text).map_err(|_| Unreadable::NotJson)?;
        // An array would be read as a struct's fields.
        if !value.is_object() {
            return Err(Unreadable::NotARequest(RequestId::Unusable));
        }
        let envelope = Envelope::deserialize(value);
        let mut envelope = envelope.map_err(|_| Unreadable::NotARequest(RequestId::Unusable))?;
        let id = envelope.id;
        let Some(Value::String(name)) = envelope.method.take() else {
            return Err(Unreadable::NotARequest(id));
        };
        if id == RequestId::Unusable {
            return Err(Unreadable::NotARequest(id));
        }
        let Some(method) = Method::NAMES.into_iter().find(|known| *known == name) else {
            return Err(Unreadable::UnknownMethod { id, name });
        };
        let mut session = None;
        let call = Params::of(envelope.params.take()).and_then(|mut params| {
            session = params.session();
            Method::read(method, params, envelope.do_loopback)
        });
        match call {
            Ok(method) => Ok(Self {
                id,
                session,
                method,
            }),
            Err(what) => Err(Unreadable::BadParam {
                id,
                session,
                method,
                what,
            }),
        }
    }

    /// The frame.
    #[must_use]
    pub fn print(&self) -> String {
        let mut message = json!({
            "jsonrpc": "2.0",
            "method": self.method.name(),
        });
        let mut params = self.method.params();
        if let Some(session) = &self.session {
            let params = params.get_or_insert_default();
            params.insert("sessionId".to_owned(), Value::from(session.as_str()));
        }
        if let Some(params) = params {
            message["params"] = Value::Object(params);
        }
        if !self.id.is_absent() {
            message["id"] = json!(self.id);
        }
        print(&message)
    }
}

impl Method {
    /// Every method's name.
    pub const NAMES: [&str; 12] = [
        "joinRoom",
        "publishVideo",
        "unpublishVideo",
        "receiveVideoFrom",
        "unsubscribeFromVideo",
        "onIceCandidate",
        "leaveRoom",
        "sendMessage",
        "customRequest",
        "connect",
        "ping",
        "closeSession",
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JoinRoom { .. } => "joinRoom",
            Self::PublishVideo { .. } => "publishVideo",
            Self::UnpublishVideo => "unpublishVideo",
            Self::ReceiveVideoFrom { .. } => "receiveVideoFrom",
            Self::UnsubscribeFromVideo { .. } => "unsubscribeFromVideo",
            Self::OnIceCandidate(_) => "onIceCandidate",
            Self::LeaveRoom => "leaveRoom",
            Self::SendMessage { .. } => "sendMessage",
            Self::CustomRequest(_) => "customRequest",
            Self::Connect => "connect",
            Self::Ping { .. } => "ping",
            Self::CloseSession => "closeSession",
        }
    }

    fn read(name: &str, mut params: Params, beside: Option<Value>) -> Result<Self, BadParam> {
        Ok(match name {
            "joinRoom" => Self::JoinRoom {
                user: params.text("user")?,
                room: params.text("room")?,
                data_channels: params.flag("dataChannels", None)?,
            },
            "publishVideo" => Self::PublishVideo {
                sdp_offer: params.text("sdpOffer")?,
                do_loopback: params.flag("doLoopback", beside)?,
            },
            "unpublishVideo" => Self::UnpublishVideo,
            "receiveVideoFrom" => Self::ReceiveVideoFrom {
                sender: params.text("sender")?,
                sdp_offer: params.text("sdpOffer")?,
            },
            "unsubscribeFromVideo" => Self::UnsubscribeFromVideo {
                sender: params.text("sender")?,
            },
            "onIceCandidate" => Self::OnIceCandidate(IceCandidate {
                endpoint_name: params.text("endpointName")?,
                candidate: params.text("candidate")?,
                sdp_mid: params.text("sdpMid")?,
                sdp_m_line_index: params.index("sdpMLineIndex")?,
            }),
            "leaveRoom" => Self::LeaveRoom,
            "sendMessage" => Self::SendMessage {
                message: params.text("message")?,
                user: params.text("userMessage")?,
                room: params.text("roomMessage")?,
            },
            "connect" => Self::Connect,
            "ping" => Self::Ping {
                interval: params.interval()?,
            },
            "closeSession" => Self::CloseSession,
            // The last of the names.
            _ => Self::CustomRequest(params.0),
        })
    }

    fn params(&self) -> Option<Map<String, Value>> {
        let params = match self {
            Self::JoinRoom {
                user,
                room,
                data_channels,
            } => json!({ "user": user, "room": room, "dataChannels": data_channels }),
            Self::PublishVideo {
                sdp_offer,
                do_loopback,
            } => json!({ "sdpOffer": sdp_offer, "doLoopback": do_loopback }),
            Self::ReceiveVideoFrom { sender, sdp_offer } => {
                json!({ "sender": sender, "sdpOffer": sdp_offer })
            }
            Self::UnsubscribeFromVideo { sender } => json!({ "sender": sender }),
            Self::OnIceCandidate(candidate) => json!(candidate),
            Self::SendMessage {
                message,
                user,
                room,
            } => json!({ "message": message, "userMessage": user, "roomMessage": room }),
            Self::CustomRequest(params) => return Some(params.clone()),
            Self::Ping {
                interval: Some(interval),
            } => json!({ "interval": interval }),
            Self::UnpublishVideo
            | Self::LeaveRoom
            | Self::Connect
            | Self::Ping { interval: None }
            | Self::CloseSession => return None,
        };
        match params {
            Value::Object(params) => Some(params),
            _ => None,
        }
    }
}

impl Unreadable {
    /// Of the request, as far as it could be read.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        match self {
            Self::NotJson => RequestId::Unusable,
            Self::NotARequest(id) | Self::UnknownMethod { id, .. } | Self::BadParam { id, .. } => {
                *id
            }
        }
    }
}

impl Params {
    fn of(params: Option<Value>) -> Result<Self, BadParam> {
        match params {
            None | Some(Value::Null) => Ok(Self(Map::new())),
            // So say some libraries that there are none.
            Some(Value::Array(none)) if none.is_empty() => Ok(Self(Map::new())),
            Some(Value::Object(params)) => Ok(Self(params)),
            Some(_) => Err(BadParam::NotAnObject),
        }
    }

    /// `sessionId`, which is of no method.
    fn session(&mut self) -> Option<String> {
        match self.0.remove("sessionId") {
            Some(Value::String(session)) => Some(session),
            _ => None,
        }
    }

    /// A text; a number or a truth value is taken as the reference server does, as its text.
    fn text(&mut self, name: &'static str) -> Result<String, BadParam> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            Some(plain @ (Value::Number(_) | Value::Bool(_))) => Ok(plain.to_string()),
            None | Some(Value::Null) => Err(BadParam::Missing(name)),
            Some(_) => Err(BadParam::Mistyped(name)),
        }
    }

    /// A truth value, here or beside the parameters; absent is false.
    fn flag(&mut self, name: &'static str, beside: Option<Value>) -> Result<bool, BadParam> {
        match self.0.remove(name).or(beside) {
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::String(text)) => Ok(text.eq_ignore_ascii_case("true")),
            None | Some(Value::Null) => Ok(false),
            Some(_) => Err(BadParam::Mistyped(name)),
        }
    }

    fn index(&mut self, name: &'static str) -> Result<u16, BadParam> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Err(BadParam::Missing(name)),
            Some(value) => whole(&value)
                .and_then(|index| u16::try_from(index).ok())
                .ok_or(BadParam::Mistyped(name)),
        }
    }

    fn interval(&mut self) -> Result<Option<u64>, BadParam> {
        match self.0.remove("interval") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match whole(&value).and_then(|ms| u64::try_from(ms).ok()) {
                Some(ms) if ms > 0 => Ok(Some(ms)),
                _ => Err(BadParam::Mistyped("interval")),
            },
        }
    }
}

/// The reference server's texts (kurento.md A1.6).
impl std::fmt::Display for BadParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "Request element '{name}' is missing"),
            Self::Mistyped(name) => write!(f, "Request element '{name}' has the wrong type"),
            Self::NotAnObject => f.write_str("Request element 'params' must be an object"),
        }
    }
}

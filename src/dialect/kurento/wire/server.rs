//! What the server says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{IceCandidate, Participant, RequestId, Stream, print};

/// Anything that the server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// The answer to a request.
    Reply(Reply),
    /// Something happened.
    Event(Event),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The request's.
    pub id: RequestId,
    /// The client's session. Stands in every answer but to a ping, to `closeSession`, and to what
    /// couldn't be read.
    pub session: Option<String>,
    /// What came of the request.
    pub outcome: Outcome,
}

/// What came of a request.
pub type Outcome = Result<Success, RpcError>;

/// A result: an object always, but for the goodbye (kurento.md A1.4).
#[derive(Debug, Clone, PartialEq)]
pub enum Success {
    /// The result's fields, without the session's id.
    Fields(Map<String, Value>),
    /// `closeSession` is answered by a bare `"bye"`.
    Bye,
}

/// An error of the server, as JSON-RPC has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RpcError {
    /// Which (kurento.md A5).
    pub code: i32,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// What the server tells of by itself (sections 2, 4, 6, 10, 12, 13, 15 and 16 of the document;
/// kurento.md A3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "method", content = "params")]
pub enum Event {
    /// A user came.
    #[serde(rename = "participantJoined")]
    ParticipantJoined {
        /// Its name.
        id: String,
    },
    /// A user publishes.
    #[serde(rename = "participantPublished")]
    ParticipantPublished {
        /// Its name.
        id: String,
        /// What it publishes.
        streams: Vec<Stream>,
    },
    /// A user publishes no more.
    #[serde(rename = "participantUnpublished")]
    ParticipantUnpublished {
        /// Its name.
        name: String,
    },
    /// A user is gone, and what it published with it.
    #[serde(rename = "participantLeft")]
    ParticipantLeft {
        /// Its name.
        name: String,
    },
    /// The receiver itself was put out of its room.
    #[serde(rename = "participantEvicted")]
    ParticipantEvicted {},
    /// A user wrote something; its own client gets it too.
    #[serde(rename = "sendMessage")]
    Message {
        /// The room's name.
        room: String,
        /// Who: as clients read it.
        user: String,
        /// Who: as it is documented. Other servers don't send it.
        #[serde(default)]
        name: String,
        /// The text.
        message: String,
    },
    /// A candidate of the server's end.
    #[serde(rename = "iceCandidate")]
    IceCandidate(IceCandidate),
    /// Media of the receiver, or of its room, failed.
    #[serde(rename = "mediaError")]
    MediaError {
        /// What, for people.
        error: String,
    },
    /// The room that the receiver was in was closed.
    #[serde(rename = "roomClosed")]
    RoomClosed {
        /// Its name.
        room: String,
    },
}

impl ServerMessage {
    /// Reads a frame; `None` for what is neither, or a method that isn't known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut message: Map<String, Value> = serde_json::from_str(text).ok()?;
        if message.contains_key("method") {
            message.entry("params").or_insert_with(|| json!({}));
            let event = Event::deserialize(Value::Object(message)).ok()?;
            return Some(Self::Event(event));
        }
        let id = message
            .remove("id")
            .and_then(|id| RequestId::deserialize(id).ok());
        let id = id.unwrap_or_default();
        let (session, outcome) = match (message.remove("result"), message.remove("error")) {
            (Some(Value::Object(mut fields)), None) => (
                session(fields.remove("sessionId")),
                Ok(Success::Fields(fields)),
            ),
            (Some(_), None) => (None, Ok(Success::Bye)),
            (None, Some(error)) => (
                session(error.get("sessionId").cloned()),
                Err(RpcError::deserialize(error).ok()?),
            ),
            _ => return None,
        };
        Some(Self::Reply(Reply {
            id,
            session,
            outcome,
        }))
    }
}

impl Reply {
    /// The frame.
    #[must_use]
    pub fn print(self) -> String {
        #[derive(Serialize)]
        struct Frame {
            #[serde(skip_serializing_if = "RequestId::is_absent")]
            id: RequestId,
            #[serde(skip_serializing_if = "Option::is_none")]
            result: Option<Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<Value>,
            jsonrpc: &'static str,
        }
        let with_session = |mut fields: Map<String, Value>| {
            if let Some(session) = self.session {
                fields.insert("sessionId".to_owned(), Value::String(session));
            }
            Some(Value::Object(fields))
        };
        let (result, error) = match self.outcome {
            Ok(Success::Fields(fields)) => (with_session(fields), None),
            Ok(Success::Bye) => (Some(Value::from("bye")), None),
            Err(error) => {
                let mut fields = Map::new();
                fields.insert("code".to_owned(), Value::from(error.code));
                fields.insert("message".to_owned(), Value::String(error.message));
                (None, with_session(fields))
            }
        };
        print(&Frame {
            id: self.id,
            result,
            error,
            jsonrpc: "2.0",
        })
    }
}

impl Success {
    /// The [`value`](Self::value) of `ping`'s answer.
    pub const PONG: &str = "pong";
    /// The [`value`](Self::value) of `connect`'s answer: a new session.
    pub const OK: &str = "OK";
    /// The [`value`](Self::value) of `connect`'s answer: the session goes on here.
    pub const RECONNECTED: &str = "reconnection successful";

    /// Nothing to say but that it is done.
    #[must_use]
    pub fn done() -> Self {
        Self::Fields(Map::new())
    }

    /// A plain text.
    #[must_use]
    pub fn text(value: &str) -> Self {
        Self::with("value", Value::from(value))
    }

    /// The others in the room that was joined.
    #[must_use]
    pub fn joined(participants: &[Participant]) -> Self {
        Self::with("value", json!(participants))
    }

    /// An SDP answer.
    #[must_use]
    pub fn answered(sdp: String) -> Self {
        Self::with("sdpAnswer", Value::String(sdp))
    }

    /// A plain text, if it is one.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.field("value")?.as_str()
    }

    /// The others in the room that was joined, if that was asked.
    #[must_use]
    pub fn participants(&self) -> Option<Vec<Participant>> {
        Vec::deserialize(self.field("value")?).ok()
    }

    /// The SDP answer, if one was asked for.
    #[must_use]
    pub fn sdp_answer(&self) -> Option<&str> {
        self.field("sdpAnswer")?.as_str()
    }

    fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => fields.get(name),
            Self::Bye => None,
        }
    }

    fn with(name: &str, value: Value) -> Self {
        let mut fields = Map::new();
        fields.insert(name.to_owned(), value);
        Self::Fields(fields)
    }
}

impl Event {
    /// The frame.
    #[must_use]
    pub fn print(&self) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(flatten)]
            event: &'a Event,
            jsonrpc: &'static str,
        }
        print(&Frame {
            event: self,
            jsonrpc: "2.0",
        })
    }
}

fn session(id: Option<Value>) -> Option<String> {
    match id {
        Some(Value::String(id)) => Some(id),
        _ => None,
    }
}

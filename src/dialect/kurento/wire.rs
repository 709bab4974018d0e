//! The messages: what either side reads and prints (the room server's WebSocket document, and
//! kurento.md A1 to A4).
//!
//! A client sends [`Request`]s. The server sends [`Reply`]s, one to each and in their order, and
//! [`Event`]s between them.

mod request;
mod server;
#[cfg(test)]
mod tests;

pub use request::{BadParam, Method, Request, Unreadable};
pub use server::{Event, Outcome, Reply, RpcError, ServerMessage, Success};

use serde::de::{Deserialize, Deserializer};
use serde::{Deserialize as Read, Serialize};
use serde_json::Value;

/// The one stream that a participant has (kurento.md A2).
pub const WEBCAM: &str = "webcam";

/// A request's id. The reference server reads it "as int": `"7"` is 7 and `1.5` is 1 (kurento.md
/// A1.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// A usable one.
    Number(i64),
    /// It can't be read, or nothing of the message can: `null` in the answer (JSON-RPC 2.0
    /// section 5).
    Unusable,
    /// There is none, and none in the answer.
    #[default]
    Absent,
}

/// An ICE candidate, of either direction. `endpointName` is the name of the user at the other end of
/// the media: one's own for what one publishes, else the publisher's (kurento.md A4).
#[derive(Debug, Clone, PartialEq, Eq, Read, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidate {
    /// Whose media.
    pub endpoint_name: String,
    /// The index of the media section, from 0; some clients send it as a text.
    #[serde(deserialize_with = "number_or_text")]
    pub sdp_m_line_index: u16,
    /// The media section's `a=mid` in the client's own offer.
    pub sdp_mid: String,
    /// RFC 8839 section 5.1, with or without `a=` in front.
    pub candidate: String,
}

/// A user in the reply to a join, and what it publishes now.
#[derive(Debug, Clone, PartialEq, Eq, Read, Serialize)]
pub struct Participant {
    /// The user's name.
    pub id: String,
    /// Missing for who publishes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
}

/// One stream of a publisher; there is no other than [`WEBCAM`].
#[derive(Debug, Clone, PartialEq, Eq, Read, Serialize)]
pub struct Stream {
    /// Its id.
    pub id: String,
}

impl Stream {
    /// What every publisher has.
    #[must_use]
    pub fn webcam() -> Self {
        Self {
            id: WEBCAM.to_owned(),
        }
    }
}

/// A `sender`: the user's name and the stream's, with a `_` between.
#[must_use]
pub fn sender_of(user: &str) -> String {
    format!("{user}_{WEBCAM}")
}

/// The user's name in a `sender`, which is cut at its last `_`, so that names may have some too.
/// `None` if there is none.
#[must_use]
pub fn user_of(sender: &str) -> Option<&str> {
    Some(sender.rsplit_once('_')?.0)
}

impl RequestId {
    /// The answer's field: nothing if there is none.
    const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(whole(&value).map_or(Self::Unusable, Self::Number))
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(id) => serializer.serialize_i64(*id),
            Self::Unusable | Self::Absent => serializer.serialize_none(),
        }
    }
}

/// A whole number, as one or in a text; of a fraction, what is before the point.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let number = number.as_f64()?.trunc();
            // Above this, a fraction's whole part isn't exact any more.
            (number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = whole(&value).and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| serde::de::Error::custom("sdpMLineIndex is no index"))
}

/// Prints what can't fail: no map has other keys than texts.
fn print(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

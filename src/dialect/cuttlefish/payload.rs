//! The layer inside the envelope: what device and client say to each other (cuttlefish.md B1).
//!
//! The server relays it unread. The two directions write ICE candidates differently; both forms are
//! read in both directions.

use serde_json::{Value, json};

use crate::config::IceServer;
use crate::dialect::negotiation::{
    Candidate, Negotiation, Sdp, candidate_line, ice_servers, mline_index,
};

/// A client's message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// Always the first: the client asks for an offer. A repeated one wants a new peer connection.
    RequestOffer {
        /// The ICE servers that the server told the client of.
        ice_servers: Vec<IceServer>,
    },
    /// The client wants to change what is sent, for example its microphone.
    Offer(Sdp),
    /// The answer to the device's offer.
    Answer(Sdp),
    /// A way to reach the client. Can come before the answer.
    IceCandidate(Candidate),
    /// Something failed. For the log.
    Error(String),
    /// Something else, by its `type`.
    Unknown(String),
}

/// A device's message to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDevice {
    /// The device offers media, at first or after a change.
    Offer(Sdp),
    /// The answer to the client's offer.
    Answer(Sdp),
    /// A way to reach the device.
    IceCandidate(Candidate),
    /// Something failed. For the log.
    Error(String),
    /// Something else, by its `type`.
    Unknown(String),
}

/// Why a payload is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not JSON.
    #[error("the payload is not JSON: {0}")]
    Json(String),
    /// A field that the message needs is missing or of another type.
    #[error("the {message} has no usable field `{field}`")]
    Field {
        /// The message's `type`.
        message: String,
        /// The field.
        field: &'static str,
    },
}

impl FromClient {
    /// Reads a payload.
    ///
    /// # Errors
    /// If it is no JSON object with a `type`, or misses what that type needs.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        Self::from_json(parse(text)?)
    }

    /// As [`Self::parse`], from JSON that was read before.
    ///
    /// # Errors
    /// As there.
    pub fn from_json(payload: Value) -> Result<Self, PayloadError> {
        let message = Message::new(payload)?;
        Ok(match message.kind.as_str() {
            "request-offer" => Self::RequestOffer {
                ice_servers: ice_servers(&message.value["ice_servers"]),
            },
            "offer" => Self::Offer(message.sdp()?),
            "answer" => Self::Answer(message.sdp()?),
            "ice-candidate" => Self::IceCandidate(message.candidate()?),
            "error" => Self::Error(message.text("error")?),
            _ => Self::Unknown(message.kind),
        })
    }

    /// The payload, with candidates in the browser's form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::RequestOffer { ice_servers } => {
                json!({"type": "request-offer", "ice_servers": ice_servers})
            }
            Self::Offer(sdp) => json!({"type": "offer", "sdp": sdp.as_str()}),
            Self::Answer(sdp) => json!({"type": "answer", "sdp": sdp.as_str()}),
            Self::IceCandidate(it) => json!({
                "type": "ice-candidate",
                "candidate": {"candidate": it.candidate, "sdpMid": it.mid, "sdpMLineIndex": it.mline_index},
            }),
            Self::Error(error) => json!({"type": "error", "error": error}),
            Self::Unknown(kind) => json!({"type": kind}),
        }
    }

    /// The message in the words of all dialects, if they have one for it.
    #[must_use]
    pub fn negotiation(self) -> Option<Negotiation> {
        match self {
            Self::Offer(sdp) => Some(Negotiation::Offer(sdp)),
            Self::Answer(sdp) => Some(Negotiation::Answer(sdp)),
            Self::IceCandidate(candidate) => Some(Negotiation::Candidate(candidate)),
            Self::RequestOffer { .. } | Self::Error(_) | Self::Unknown(_) => None,
        }
    }

    /// A step in the words of all dialects as a payload; `None` for a goodbye, which this layer
    /// doesn't have: whoever goes closes its connection.
    #[must_use]
    pub fn from_negotiation(step: Negotiation) -> Option<Self> {
        match step {
            Negotiation::Offer(sdp) => Some(Self::Offer(sdp)),
            Negotiation::Answer(sdp) => Some(Self::Answer(sdp)),
            Negotiation::Candidate(candidate) => Some(Self::IceCandidate(candidate)),
            Negotiation::Goodbye => None,
        }
    }
}

impl FromDevice {
    /// Reads a payload.
    ///
    /// # Errors
    /// If it is no JSON object with a `type`, or misses what that type needs.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        Self::from_json(parse(text)?)
    }

    /// As [`Self::parse`], from JSON that was read before.
    ///
    /// # Errors
    /// As there.
    pub fn from_json(payload: Value) -> Result<Self, PayloadError> {
        let message = Message::new(payload)?;
        Ok(match message.kind.as_str() {
            "offer" => Self::Offer(message.sdp()?),
            "answer" => Self::Answer(message.sdp()?),
            "ice-candidate" => Self::IceCandidate(message.candidate()?),
            "error" => Self::Error(message.text("error")?),
            _ => Self::Unknown(message.kind),
        })
    }

    /// The payload, with candidates in the flat form, the only one that the web client reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Offer(sdp) => json!({"type": "offer", "sdp": sdp.as_str()}),
            Self::Answer(sdp) => json!({"type": "answer", "sdp": sdp.as_str()}),
            Self::IceCandidate(it) => json!({
                "type": "ice-candidate",
                "mid": it.mid, "mLineIndex": it.mline_index, "candidate": it.candidate,
            }),
            Self::Error(error) => json!({"type": "error", "error": error}),
            Self::Unknown(kind) => json!({"type": kind}),
        }
    }

    /// The message in the words of all dialects, if they have one for it.
    #[must_use]
    pub fn negotiation(self) -> Option<Negotiation> {
        match self {
            Self::Offer(sdp) => Some(Negotiation::Offer(sdp)),
            Self::Answer(sdp) => Some(Negotiation::Answer(sdp)),
            Self::IceCandidate(candidate) => Some(Negotiation::Candidate(candidate)),
            Self::Error(_) | Self::Unknown(_) => None,
        }
    }

    /// As [`FromClient::from_negotiation`].
    #[must_use]
    pub fn from_negotiation(step: Negotiation) -> Option<Self> {
        match step {
            Negotiation::Offer(sdp) => Some(Self::Offer(sdp)),
            Negotiation::Answer(sdp) => Some(Self::Answer(sdp)),
            Negotiation::Candidate(candidate) => Some(Self::IceCandidate(candidate)),
            Negotiation::Goodbye => None,
        }
    }
}

fn parse(text: &str) -> Result<Value, PayloadError> {
    serde_json::from_str(text).map_err(|error| PayloadError::Json(error.to_string()))
}

/// A payload of whatever type.
struct Message {
    kind: String,
    value: Value,
}

impl Message {
    fn new(value: Value) -> Result<Self, PayloadError> {
        match value["type"].as_str() {
            Some(kind) => Ok(Self {
                kind: kind.to_owned(),
                value,
            }),
            None => Err(PayloadError::Field {
                message: "payload".to_owned(),
                field: "type",
            }),
        }
    }

    fn text(&self, field: &'static str) -> Result<String, PayloadError> {
        let text = self.value[field].as_str().map(str::to_owned);
        text.ok_or_else(|| PayloadError::Field {
            message: self.kind.clone(),
            field,
        })
    }

    fn sdp(&self) -> Result<Sdp, PayloadError> {
        self.text("sdp").map(Sdp::new)
    }

    fn candidate(&self) -> Result<Candidate, PayloadError> {
        let nested = &self.value["candidate"];
        let (candidate, mid, index) = if nested.is_object() {
            (
                &nested["candidate"],
                &nested["sdpMid"],
                &nested["sdpMLineIndex"],
            )
        } else {
            (nested, &self.value["mid"], &self.value["mLineIndex"])
        };
        let error = || PayloadError::Field {
            message: self.kind.clone(),
            field: "candidate",
        };
        Ok(Candidate {
            candidate: candidate_line(candidate).ok_or_else(error)?.to_owned(),
            mid: mid.as_str().map(str::to_owned),
            mline_index: mline_index(index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            candidate: "candidate:1 1 udp 1 ::1 9 typ host".into(),
            mid: Some("0".into()),
            mline_index: Some(0),
        }
    }

    #[test]
    fn both_forms_of_a_candidate_are_read_in_both_directions() {
        for payload in [
            FromClient::IceCandidate(candidate()).to_json().to_string(),
            FromDevice::IceCandidate(candidate()).to_json().to_string(),
        ] {
            assert_eq!(
                FromClient::parse(&payload),
                Ok(FromClient::IceCandidate(candidate()))
            );
            assert_eq!(
                FromDevice::parse(&payload),
                Ok(FromDevice::IceCandidate(candidate()))
            );
        }
    }

    #[test]
    fn each_direction_writes_the_form_that_its_reader_knows() {
        let to_device = FromClient::IceCandidate(candidate()).to_json();
        assert_eq!(to_device["candidate"]["sdpMLineIndex"], 0);
        let to_client = FromDevice::IceCandidate(candidate()).to_json();
        assert_eq!(
            (&to_client["mid"], &to_client["mLineIndex"]),
            (&json!("0"), &json!(0))
        );
    }

    #[test]
    fn candidates_are_read_however_a_client_writes_them() {
        let read = |text: &str| match FromClient::parse(text) {
            Ok(FromClient::IceCandidate(candidate)) => candidate,
            other => panic!("{text}: {other:?}"),
        };
        for fields in [
            r#""candidate":{"candidate":"a=candidate:1 1 udp 1 ::1 9 typ host","sdpMid":"0","sdpMLineIndex":"0"}"#,
            r#""candidate":"candidate:1 1 udp 1 ::1 9 typ host\r\n","mid":"0","mLineIndex":0,"x":null"#,
        ] {
            let text = format!(r#"{{"type":"ice-candidate",{fields}}}"#);
            assert_eq!(read(&text), candidate(), "{text}");
        }
        for end in [
            r#""candidate":null"#,
            r#""candidate":"""#,
            r#""candidate":{"candidate":"","sdpMid":"0","sdpMLineIndex":0}"#,
            r#""candidate":{"candidate":null,"sdpMid":null,"sdpMLineIndex":null}"#,
        ] {
            let text = format!(r#"{{"type":"ice-candidate",{end}}}"#);
            assert_eq!(read(&text).candidate, "", "{text}");
        }
        for broken in ["7", r#"{"candidate":[]}"#] {
            let text = format!(r#"{{"type":"ice-candidate","candidate":{broken}}}"#);
            assert!(FromClient::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn request_offer_brings_ice_servers_or_none() {
        let read = |text: &str| match FromClient::parse(text) {
            Ok(FromClient::RequestOffer { ice_servers }) => ice_servers,
            other => panic!("{other:?}"),
        };
        assert!(read(r#"{"type":"request-offer"}"#).is_empty());
        let servers = read(
            r#"{"type":"request-offer","ice_servers":[{"urls":"stun:a"},{"urls":[]},{"urls":["turn:b"],"username":"u","credential":"c","credentialType":"password"}]}"#,
        );
        assert_eq!(servers[0].urls, ["stun:a"]);
        assert_eq!(servers[1].credential.as_deref(), Some("c"));
        assert_eq!(servers.len(), 2);
    }

    #[test]
    fn unknown_and_broken_payloads_are_told_apart() {
        assert_eq!(
            FromDevice::parse(r#"{"type":"poke"}"#),
            Ok(FromDevice::Unknown("poke".into()))
        );
        assert!(matches!(
            FromDevice::parse("null"),
            Err(PayloadError::Field { field: "type", .. })
        ));
        assert!(matches!(
            FromDevice::parse(r#"{"type":"offer"}"#),
            Err(PayloadError::Field { field: "sdp", .. })
        ));
        assert!(matches!(FromClient::parse("{"), Err(PayloadError::Json(_))));
    }

    #[test]
    fn no_secret_is_printed_by_debug() {
        let printed = format!(
            "{:?} {:?}",
            FromDevice::Offer(Sdp::new("a=ice-pwd:x")),
            candidate()
        );
        assert!(
            !printed.contains("ice-pwd") && !printed.contains("typ host"),
            "{printed}"
        );
    }
}

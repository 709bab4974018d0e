//! What two peers say to each other once they are joined (the document's "Negotiation"; gst.md A.5, A.8).
//!
//! The server relays it unread. Read tolerantly, because every client writes it a little differently;
//! written as the strictest reader wants it.

use serde_json::{Map, Value, json};

use crate::dialect::negotiation::{Candidate, Negotiation, Sdp};

/// The whole frame by which the caller asks the other side to make the offer.
const OFFER_REQUEST: &str = "OFFER_REQUEST";

/// A message from one peer to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A session description to answer.
    Offer(Sdp),
    /// The answer to one.
    Answer(Sdp),
    /// A way to reach the sender. An empty one says that no more will come.
    Candidate(Candidate),
    /// The other side shall make the offer.
    OfferRequest,
    /// The sender gives up; clients end the call at any text that starts with `ERROR` (gst.md A.8).
    Error(String),
    /// Something else. Clients add words of their own, which others ignore.
    Other,
}

/// Why a message that starts like one of ours is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A field is missing or of another type.
    #[error("the other side's `{object}` has no usable field `{field}`")]
    Field {
        /// `sdp` or `ice`.
        object: &'static str,
        /// The field in it.
        field: &'static str,
    },
    /// The description is neither an offer nor an answer.
    #[error("the other side sent a description of an unknown type")]
    DescriptionType,
}

impl Message {
    /// Reads a frame.
    ///
    /// # Errors
    /// If it is a description or a candidate that can't be used.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        let trimmed = text.trim();
        if trimmed.starts_with(OFFER_REQUEST) {
            return Ok(Self::OfferRequest);
        }
        if trimmed.starts_with("ERROR") {
            return Ok(Self::Error(trimmed.to_owned()));
        }
        let Ok(Value::Object(fields)) = serde_json::from_str(trimmed) else {
            return Ok(Self::Other);
        };
        match (fields.get("sdp"), fields.get("ice")) {
            (Some(sdp), _) => description(sdp),
            (None, Some(ice)) => candidate(ice).map(Self::Candidate),
            (None, None) => Ok(Self::Other),
        }
    }

    /// The frame. Rust clients take exactly one object with exactly these fields, and an integer
    /// as the section's index (gst.md A.8).
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Offer(sdp) => json!({"sdp": {"type": "offer", "sdp": sdp.as_str()}}).to_string(),
            Self::Answer(sdp) => {
                json!({"sdp": {"type": "answer", "sdp": sdp.as_str()}}).to_string()
            }
            Self::Candidate(it) => json!({
                "ice": {"candidate": it.candidate, "sdpMLineIndex": it.mline_index.unwrap_or(0)},
            })
            .to_string(),
            Self::OfferRequest => OFFER_REQUEST.to_owned(),
            Self::Error(text) => text.clone(),
            Self::Other => "{}".to_owned(),
        }
    }

    /// The message in the words of all dialects, if they have one for it.
    #[must_use]
    pub fn negotiation(self) -> Option<Negotiation> {
        match self {
            Self::Offer(sdp) => Some(Negotiation::Offer(sdp)),
            Self::Answer(sdp) => Some(Negotiation::Answer(sdp)),
            Self::Candidate(candidate) => Some(Negotiation::Candidate(candidate)),
            Self::OfferRequest | Self::Error(_) | Self::Other => None,
        }
    }

    /// A step in the words of all dialects as a message; `None` for a goodbye, which is said by
    /// closing the connection to the server.
    #[must_use]
    pub fn from_negotiation(step: Negotiation) -> Option<Self> {
        match step {
            Negotiation::Offer(sdp) => Some(Self::Offer(sdp)),
            Negotiation::Answer(sdp) => Some(Self::Answer(sdp)),
            Negotiation::Candidate(candidate) => Some(Self::Candidate(candidate)),
            Negotiation::Goodbye => None,
        }
    }
}

fn description(value: &Value) -> Result<Message, PayloadError> {
    let text = |field: &'static str| {
        value[field].as_str().ok_or(PayloadError::Field {
            object: "sdp",
            field,
        })
    };
    let sdp = Sdp::new(text("sdp")?);
    match text("type")? {
        "offer" => Ok(Message::Offer(sdp)),
        "answer" => Ok(Message::Answer(sdp)),
        _ => Err(PayloadError::DescriptionType),
    }
}

/// Browsers add `sdpMid` and `usernameFragment`; GStreamer's check suite writes the index as text.
fn candidate(value: &Value) -> Result<Candidate, PayloadError> {
    let nothing = Map::new();
    let fields = match value {
        Value::Object(fields) => fields,
        // Some pages send the browser's end of candidates as it comes.
        Value::Null => &nothing,
        _ => return Err(ice("candidate")),
    };
    let line = match fields.get("candidate") {
        Some(Value::String(line)) => line.strip_prefix("a=").unwrap_or(line).trim(),
        None | Some(Value::Null) if !fields.contains_key("sdpMLineIndex") => "",
        _ => return Err(ice("candidate")),
    };
    if !line.is_empty() && !line.starts_with("candidate:") {
        return Err(ice("candidate"));
    }
    let mid = fields.get("sdpMid").and_then(Value::as_str);
    let index = match fields.get("sdpMLineIndex") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let index = index.and_then(|index| u32::try_from(index).ok());
    if !line.is_empty() && index.is_none() && mid.is_none() {
        return Err(ice("sdpMLineIndex"));
    }
    Ok(Candidate {
        candidate: line.to_owned(),
        mid: mid.map(str::to_owned),
        mline_index: index,
    })
}

const fn ice(field: &'static str) -> PayloadError {
    PayloadError::Field {
        object: "ice",
        field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "candidate:1 1 UDP 1 192.0.2.1 9 typ host";

    fn read(text: &str) -> Candidate {
        match Message::parse(text) {
            Ok(Message::Candidate(candidate)) => candidate,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn candidates_of_all_clients_are_read() {
        for index in ["2", "\"2\""] {
            let text = format!(r#"{{"ice":{{"candidate":"{LINE}","sdpMLineIndex":{index}}}}}"#);
            assert_eq!(read(&text).mline_index, Some(2), "{text}");
        }
        let browser = format!(
            r#"{{"ice":{{"candidate":"{LINE}","sdpMid":"video0","sdpMLineIndex":0,"usernameFragment":"x"}}}}"#
        );
        assert_eq!(read(&browser).mid.as_deref(), Some("video0"));
        for end in [
            r#"{"ice":null}"#,
            r#"{"ice":{"candidate":"","sdpMLineIndex":0}}"#,
        ] {
            assert_eq!(read(end).candidate, "", "{end}");
        }
    }

    #[test]
    fn what_we_write_has_exactly_the_fields_that_the_strictest_client_takes() {
        let candidate = Message::Candidate(Candidate {
            candidate: LINE.into(),
            mid: Some("video0".into()),
            mline_index: Some(1),
        });
        assert_eq!(
            candidate.to_text(),
            format!(r#"{{"ice":{{"candidate":"{LINE}","sdpMLineIndex":1}}}}"#)
        );
        let offer = Message::Offer(Sdp::new("v=0\r\n"));
        assert_eq!(
            offer.to_text(),
            r#"{"sdp":{"sdp":"v=0\r\n","type":"offer"}}"#
        );
        for message in [
            offer,
            Message::Answer(Sdp::new("v=0")),
            Message::OfferRequest,
            Message::Error("ERROR no".into()),
        ] {
            assert_eq!(Message::parse(&message.to_text()), Ok(message));
        }
    }

    #[test]
    fn broken_descriptions_and_candidates_are_errors_and_everything_else_is_let_pass() {
        for broken in [
            r#"{"sdp":5}"#,
            r#"{"sdp":{"type":"offer"}}"#,
            r#"{"sdp":{"sdp":"v=0"}}"#,
            r#"{"sdp":{"sdp":"v=0","type":"pranswer"}}"#,
            r#"{"ice":7}"#,
            r#"{"ice":{"candidate":"nonsense","sdpMLineIndex":0}}"#,
            r#"{"ice":{"candidate":"candidate:1 1 UDP 1 ::1 9 typ host","sdpMLineIndex":-1}}"#,
            r#"{"ice":{"sdpMLineIndex":0}}"#,
        ] {
            assert!(Message::parse(broken).is_err(), "{broken}");
        }
        for other in [
            "",
            "SESSION bob",
            "{",
            "[]",
            "7",
            "{}",
            r#"{"STATE":1}"#,
            "\u{0}",
        ] {
            assert_eq!(Message::parse(other), Ok(Message::Other), "{other:?}");
        }
    }

    #[test]
    fn steps_go_to_the_words_of_all_dialects_and_back() {
        let step = Negotiation::Offer(Sdp::new("v=0"));
        let message = Message::from_negotiation(step.clone()).unwrap();
        assert_eq!(message.negotiation(), Some(step));
        assert_eq!(Message::from_negotiation(Negotiation::Goodbye), None);
        assert_eq!(Message::OfferRequest.negotiation(), None);
    }
}

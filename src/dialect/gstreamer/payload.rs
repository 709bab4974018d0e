//! What two peers say to each other once they are joined (the document's "Negotiation"; gst.md A.5, A.8).
//!
//! The server relays it unread. Read tolerantly, because every client writes it a little differently;
//! written as the strictest reader wants it.

use serde_json::{Map, Value, json};

use crate::dialect::negotiation::{Candidate, Negotiation, Sdp, candidate_line, mline_index};

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
    /// A field of the description is missing or of another type.
    #[error("the other side's `sdp` has no usable field `{0}`")]
    Description(&'static str),
    /// A field of the candidate is missing or of another type. Others may do.
    #[error("the other side's `ice` has no usable field `{0}`")]
    Candidate(&'static str),
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
        let text = value[field].as_str();
        text.ok_or(PayloadError::Description(field))
    };
    let sdp = Sdp::new(text("sdp")?);
    match text("type")? {
        "offer" => Ok(Message::Offer(sdp)),
        "answer" => Ok(Message::Answer(sdp)),
        _ => Err(PayloadError::DescriptionType),
    }
}

/// Browsers add `sdpMid` and `usernameFragment`; GStreamer's check suite writes the index as text; some
/// pages send the browser's end of candidates as it comes.
fn candidate(value: &Value) -> Result<Candidate, PayloadError> {
    let wrong = PayloadError::Candidate;
    let is_end = value.is_null() || value.as_object().is_some_and(Map::is_empty);
    let line = match value.get("candidate") {
        Some(line) => candidate_line(line),
        None => is_end.then_some(""),
    };
    let line = line.ok_or(wrong("candidate"))?;
    if !line.is_empty() && !line.starts_with("candidate:") {
        return Err(wrong("candidate"));
    }
    let (mid, index) = (
        value["sdpMid"].as_str(),
        mline_index(&value["sdpMLineIndex"]),
    );
    if !line.is_empty() && index.is_none() && mid.is_none() {
        return Err(wrong("sdpMLineIndex"));
    }
    Ok(Candidate {
        candidate: line.to_owned(),
        mid: mid.map(str::to_owned),
        mline_index: index,
    })
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
            r#"{"ice":{}}"#,
            r#"{"ice":{"candidate":"","sdpMLineIndex":0}}"#,
            r#"{"ice":{"candidate":"","sdpMid":"","sdpMLineIndex":null}}"#,
            r#"{"ice":{"candidate":null,"sdpMid":null,"sdpMLineIndex":0,"usernameFragment":null}}"#,
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

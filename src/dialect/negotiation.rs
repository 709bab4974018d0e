//! What all dialects say in their own words when two peers set up media.

use std::fmt;

use serde_json::Value;

use crate::config::IceServer;

/// A session description (RFC 8866). It holds ICE passwords and fingerprints, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sdp(String);

/// An ICE candidate (RFC 8839 section 5.1) and the media section that it belongs to. `Debug` hides
/// the candidate line, which holds addresses and often the ICE user name.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The line, without `a=`.
    pub candidate: String,
    /// The media section's `a=mid`.
    pub mid: Option<String>,
    /// The media section's index.
    pub mline_index: Option<u32>,
}

/// One step of setting up media, whatever the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Negotiation {
    /// A session description to answer.
    Offer(Sdp),
    /// The answer to one.
    Answer(Sdp),
    /// A way to reach the sender.
    Candidate(Candidate),
    /// The sender goes.
    Goodbye,
}

impl Sdp {
    /// What its author calls the session: the id in `o=`, which stays the same in all later descriptions
    /// of it (RFC 3264 section 8).
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        let origin = self.0.lines().find_map(|line| line.strip_prefix("o="));
        origin?.split(' ').nth(1)
    }

    /// Takes a description's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sdp({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("candidate", &format_args!("{} bytes", self.candidate.len()))
            .field("mid", &self.mid)
            .field("mline_index", &self.mline_index)
            .finish()
    }
}

/// The ICE servers of a message, in the form of the browser's `RTCConfiguration`. Entries without any URL are left out; a
/// single URL as plain text is taken too.
#[must_use]
pub fn ice_servers(value: &Value) -> Vec<IceServer> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let server = |entry: &Value| {
        let urls: Vec<String> = match &entry["urls"] {
            Value::Array(urls) => urls.iter().filter_map(text).collect(),
            url => text(url).into_iter().collect(),
        };
        let (username, credential) = (text(&entry["username"]), text(&entry["credential"]));
        (!urls.is_empty()).then_some(IceServer {
            urls,
            username,
            credential,
        })
    };
    value
        .as_array()
        .map(|entries| entries.iter().filter_map(server).collect())
        .unwrap_or_default()
}

/// The index of a candidate's media section; clients write it as a number or as text.
#[must_use]
pub fn mline_index(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        number => u32::try_from(number.as_u64()?).ok(),
    }
}

/// A candidate's line as `add-ice-candidate` wants it: some clients send the line of the SDP. Empty if it is
/// `null`, which some pages send at the end of candidates, as it comes. `None` if it is no line at all.
#[must_use]
pub fn candidate_line(value: &Value) -> Option<&str> {
    match value {
        Value::String(line) => Some(line.strip_prefix("a=").unwrap_or(line).trim()),
        Value::Null => Some(""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_called_the_same_in_all_its_descriptions() {
        let id = |text: &str| Sdp::new(text).session_id().map(String::from);
        let first = "v=0\r\no=- 4858 0 IN IP4 0.0.0.0\r\ns=-\r\n";
        let later = first.replace("4858 0", "4858 1");
        assert_eq!(id(first).as_deref(), Some("4858"));
        assert_eq!(id(&later), id(first));
        assert_eq!(id("v=0\r\n"), None);
    }
}

//! What all dialects say in their own words when two peers set up media.

use std::fmt;

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

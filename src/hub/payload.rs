//! Text that is relayed as it was sent.

use bytes::Bytes;

/// Text that one side sent and the other side gets unchanged. Cheap to clone and to cut: every
/// piece shares the memory of the frame that it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Takes a frame's bytes.
    ///
    /// # Errors
    /// If the bytes are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor checked it, and the check costs little beside a system call; the empty
        // text is never seen.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A piece of this text, sharing its memory; a copy if `part` is no piece of it.
    #[must_use]
    pub fn slice(&self, part: &str) -> Self {
        let (whole, piece) = (self.0.as_ptr_range(), part.as_bytes().as_ptr_range());
        if whole.start <= piece.start && piece.end <= whole.end {
            Self(self.0.slice_ref(part.as_bytes()))
        } else {
            Self::from(part)
        }
    }

    /// How many bytes of memory the text takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, for a frame that is nothing but this text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Only the length: what is relayed may be a secret.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

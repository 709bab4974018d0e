//! Frames that are relayed as they were sent.

use bytes::Bytes;

/// A frame's content that one side sent and the other side gets unchanged: text, or binary. Cheap to
/// clone and to cut: every piece shares the memory of the frame that it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    is_binary: bool,
}

impl Payload {
    /// Takes a text's bytes.
    ///
    /// # Errors
    /// If the bytes are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self::checked_text(bytes))
    }

    /// Takes the bytes of a text that was found to be UTF-8 already, so that a frame that is only
    /// relayed isn't looked through again. Of bytes that are not UTF-8, [`Self::as_str`] gives
    /// nothing.
    #[must_use]
    pub const fn checked_text(bytes: Bytes) -> Self {
        Self {
            bytes,
            is_binary: false,
        }
    }

    /// Takes a binary frame's bytes.
    #[must_use]
    pub const fn binary(bytes: Bytes) -> Self {
        Self {
            bytes,
            is_binary: true,
        }
    }

    /// Whether this is a binary frame's content.
    #[must_use]
    pub const fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// The text; the empty one for a binary frame.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.is_binary {
            return "";
        }
        // Every constructor's caller checked it, and the check costs little beside a system call;
        // the empty text is never seen.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// A piece of this text, sharing its memory; a copy if `part` is no piece of it.
    #[must_use]
    pub fn slice(&self, part: &str) -> Self {
        let (whole, piece) = (self.bytes.as_ptr_range(), part.as_bytes().as_ptr_range());
        if whole.start <= piece.start && piece.end <= whole.end {
            Self::checked_text(self.bytes.slice_ref(part.as_bytes()))
        } else {
            Self::from(part)
        }
    }

    /// How many bytes of memory the content takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, for a frame that is nothing but this content.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::checked_text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::checked_text(text.into())
    }
}

/// Only the length: what is relayed may be a secret.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_binary { "binary " } else { "" };
        write!(f, "Payload({kind}{} bytes)", self.bytes.len())
    }
}

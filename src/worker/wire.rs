//! What passes between a worker's process and its parent: frames of a length, a kind, and content.
//!
//! ```text
//! u32 length of what follows (little-endian, as all numbers) | u8 kind | content
//! ```
//!
//! Messages are bare bytes; what is rare is JSON. Both ends are the same binary, so that the format
//! has no version. The child may be hostile: the parent bounds what it reads, and takes nonsense
//! for the child's end.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    Ended, Level, Limits, Media, MediaCommand, Message, Request, Response, ScriptKind, StartError,
    Uncaught,
};

/// Bytes of a frame beside the bytes that a limit bounds.
pub(super) const OVERHEAD: usize = 64 * 1024;

/// Bytes of a frame's length and kind.
const HEAD: usize = 5;

/// To the worker's process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ToHost {
    /// The first frame: what to run.
    Start(Box<Start>, Bytes),
    /// A message of the client.
    Message(Message),
    /// The client's media changed.
    Media(Media),
    /// How far the script's messages have come.
    Sent(Sent),
    /// The answer to [`FromHost::Load`].
    Loaded(u32, Result<Response, String>),
}

/// From the worker's process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FromHost {
    /// The script's top level is through.
    Started,
    /// It isn't; the process ends.
    Failed(StartError),
    /// [`super::Event::Message`]
    Message(Message),
    /// [`super::Event::Console`]
    Console(Level, String),
    /// [`super::Event::Error`]
    Error(Uncaught),
    /// [`super::Event::Media`]
    Media(MediaCommand),
    /// Something is wanted from outside.
    Load(u32, Request),
    /// The worker is over; the process ends.
    Ended(Ended),
}

/// What a worker starts with, but for the script's text.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Start {
    pub(super) url: String,
    pub(super) kind: ScriptKind,
    pub(super) limits: Limits,
    pub(super) user_agent: String,
    pub(super) media: Media,
}

/// How far the script's messages have come, in bytes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// What the owner has taken.
    pub(super) taken: u64,
    /// What of that still waits in the owner's data channel.
    pub(super) held: u64,
}

/// A frame that the other side should not have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a frame of {0} bytes")]
    TooLong(usize),
    #[error("a frame of kind {0} that can't be read")]
    Malformed(u8),
}

/// Takes the next whole frame off the buffer, if there is one.
pub(super) fn split(buffer: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, WireError> {
    let Some(length) = buffer.first_chunk().copied().map(u32::from_le_bytes) else {
        return Ok(None);
    };
    let length = length as usize;
    if length == 0 || length > longest {
        return Err(WireError::TooLong(length));
    }
    let whole = HEAD - 1 + length;
    if buffer.len() < whole {
        buffer.reserve(whole - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(whole);
    frame.advance(HEAD - 1);
    Ok(Some(frame.freeze()))
}

impl ToHost {
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Start(start, text) => frame(out, 0, |out| {
                put_headed(out, start);
                out.put_slice(text);
            }),
            Self::Message(message) => put_message(out, [1, 2], message),
            Self::Media(media) => frame(out, 3, |out| put_json(out, media)),
            Self::Sent(sent) => frame(out, 4, |out| {
                out.put_u64_le(sent.taken);
                out.put_u64_le(sent.held);
            }),
            Self::Loaded(id, outcome) => frame(out, 5, |out| {
                out.put_u32_le(*id);
                put_headed(out, outcome);
                if let Ok(response) = outcome {
                    out.put_slice(&response.body);
                }
            }),
        }
    }

    pub(super) fn parse(frame: Bytes) -> Result<Self, WireError> {
        let (kind, content) = kind_of(frame)?;
        let read = match kind {
            0 => headed(content).map(|(start, text)| Self::Start(Box::new(start), text)),
            1 | 2 => message(kind == 1, content).map(Self::Message),
            3 => json(&content).map(Self::Media),
            4 => sent(content).map(Self::Sent),
            5 => numbered(content).and_then(|(id, content)| {
                let (mut outcome, body) = headed::<Result<Response, String>>(content)?;
                if let Ok(response) = &mut outcome {
                    response.body = body;
                }
                Some(Self::Loaded(id, outcome))
            }),
            _ => None,
        };
        read.ok_or(WireError::Malformed(kind))
    }
}

impl FromHost {
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Started => frame(out, 0, |_| ()),
            Self::Failed(error) => frame(out, 1, |out| put_json(out, error)),
            Self::Message(message) => put_message(out, [2, 3], message),
            Self::Console(level, text) => frame(out, 4, |out| {
                out.put_u8(*level as u8);
                out.put_slice(text.as_bytes());
            }),
            Self::Error(uncaught) => frame(out, 5, |out| put_json(out, uncaught)),
            Self::Media(command) => frame(out, 6, |out| put_json(out, command)),
            Self::Load(id, request) => frame(out, 7, |out| {
                out.put_u32_le(*id);
                put_headed(out, request);
                out.put_u8(request.body.is_some().into());
                out.put_slice(request.body.as_deref().unwrap_or_default());
            }),
            Self::Ended(ended) => frame(out, 8, |out| put_json(out, ended)),
        }
    }

    pub(super) fn parse(frame: Bytes) -> Result<Self, WireError> {
        let (kind, content) = kind_of(frame)?;
        let read = match kind {
            0 => content.is_empty().then_some(Self::Started),
            1 => json(&content).map(Self::Failed),
            2 | 3 => message(kind == 2, content).map(Self::Message),
            4 => console(content),
            5 => json(&content).map(Self::Error),
            6 => json(&content).map(Self::Media),
            7 => numbered(content).and_then(|(id, content)| {
                let (mut request, mut body) = headed::<Request>(content)?;
                if body.try_get_u8().ok()? == 1 {
                    request.body = Some(body);
                }
                Some(Self::Load(id, request))
            }),
            8 => json(&content).map(Self::Ended),
            _ => None,
        };
        read.ok_or(WireError::Malformed(kind))
    }
}

fn frame(out: &mut BytesMut, kind: u8, content: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    content(out);
    // Everything that is put is bounded far below this.
    let length = u32::try_from(out.len() - start - (HEAD - 1)).unwrap_or(u32::MAX);
    out[start..start + HEAD - 1].copy_from_slice(&length.to_le_bytes());
}

fn put_message(out: &mut BytesMut, [text, binary]: [u8; 2], message: &Message) {
    let (kind, bytes) = match message {
        Message::Text(it) => (text, it.as_bytes()),
        Message::Binary(it) => (binary, &it[..]),
    };
    out.reserve(HEAD + bytes.len());
    frame(out, kind, |out| out.put_slice(bytes));
}

fn put_json(out: &mut BytesMut, value: &impl Serialize) {
    // Plain data of ours always has a JSON form; without one the other end finds the frame malformed.
    let _ = serde_json::to_writer(out.writer(), value);
}

/// JSON with its length before it, because something follows.
fn put_headed(out: &mut BytesMut, value: &impl Serialize) {
    let start = out.len();
    out.put_u32_le(0);
    put_json(out, value);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn kind_of(mut frame: Bytes) -> Result<(u8, Bytes), WireError> {
    let kind = frame.try_get_u8().map_err(|_| WireError::TooLong(0))?;
    Ok((kind, frame))
}

fn message(is_text: bool, content: Bytes) -> Option<Message> {
    if is_text {
        text(content).map(Message::Text)
    } else {
        Some(Message::Binary(content))
    }
}

fn text(content: Bytes) -> Option<String> {
    String::from_utf8(content.into()).ok()
}

fn console(mut content: Bytes) -> Option<FromHost> {
    let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    let level = *levels.get(usize::from(content.try_get_u8().ok()?))?;
    Some(FromHost::Console(level, text(content)?))
}

fn sent(mut content: Bytes) -> Option<Sent> {
    Some(Sent {
        taken: content.try_get_u64_le().ok()?,
        held: content.try_get_u64_le().ok()?,
    })
}

fn numbered(mut content: Bytes) -> Option<(u32, Bytes)> {
    Some((content.try_get_u32_le().ok()?, content))
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Option<T> {
    serde_json::from_slice(content).ok()
}

fn headed<T: DeserializeOwned>(mut content: Bytes) -> Option<(T, Bytes)> {
    let length = content.try_get_u32_le().ok()? as usize;
    if length > content.len() {
        return None;
    }
    let head = content.split_to(length);
    Some((json(&head)?, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::worker::{Overrun, Purpose};

    fn to_host() -> Vec<ToHost> {
        let start = Start {
            url: "https://example.org/worker.js".into(),
            kind: ScriptKind::Module,
            limits: Limits::default(),
            user_agent: "a".into(),
            media: Media::default(),
        };
        let response = Response {
            url: "https://example.org/".into(),
            status: 200,
            headers: vec![("a".into(), "b".into())],
            body: Bytes::from_static(b"body"),
        };
        vec![
            ToHost::Start(Box::new(start), Bytes::from_static("“text”".as_bytes())),
            ToHost::Message(Message::Text("äöü".into())),
            ToHost::Message(Message::Binary(Bytes::from_static(b"\0\xff"))),
            ToHost::Media(Media::default()),
            ToHost::Sent(Sent { taken: 1, held: 2 }),
            ToHost::Loaded(7, Ok(response)),
            ToHost::Loaded(8, Err("refused".into())),
        ]
    }

    fn from_host() -> Vec<FromHost> {
        let request = |body| Request {
            purpose: Purpose::Fetch,
            url: "https://example.org/".into(),
            method: "POST".into(),
            headers: vec![("a".into(), "b".into())],
            body,
        };
        vec![
            FromHost::Started,
            FromHost::Failed(StartError::Syntax(Uncaught::default())),
            FromHost::Message(Message::Text(String::new())),
            FromHost::Message(Message::Binary(Bytes::new())),
            FromHost::Console(Level::Error, "x".into()),
            FromHost::Error(Uncaught::default()),
            FromHost::Media(MediaCommand::Play("test".into())),
            FromHost::Load(1, request(None)),
            FromHost::Load(2, request(Some(Bytes::new()))),
            FromHost::Ended(Ended::Overrun(Overrun::Cpu)),
        ]
    }

    #[test]
    fn every_frame_comes_back_as_it_was_put() {
        let mut buffer = BytesMut::new();
        to_host().iter().for_each(|it| it.put(&mut buffer));
        for expected in to_host() {
            let frame = split(&mut buffer, OVERHEAD).unwrap().unwrap();
            assert_eq!(ToHost::parse(frame), Ok(expected));
        }
        from_host().iter().for_each(|it| it.put(&mut buffer));
        for expected in from_host() {
            let frame = split(&mut buffer, OVERHEAD).unwrap().unwrap();
            assert_eq!(FromHost::parse(frame), Ok(expected));
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_is_whole_or_awaited() {
        let mut whole = BytesMut::new();
        FromHost::Console(Level::Warn, "careful".into()).put(&mut whole);
        for length in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..length]);
            assert_eq!(split(&mut part, OVERHEAD), Ok(None));
        }
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused_before_it_is_there() {
        let mut buffer = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(split(&mut buffer, OVERHEAD).is_err());
    }

    proptest! {
        /// Of a child that is hostile, or has lost its mind.
        #[test]
        fn what_is_read_of_damaged_frames_reads_the_same_again(
            damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8)
        ) {
            let mut sent = BytesMut::new();
            to_host().iter().for_each(|it| it.put(&mut sent));
            from_host().iter().for_each(|it| it.put(&mut sent));
            for (at, byte) in damage {
                let at = at.index(sent.len());
                sent[at] = byte;
            }
            while let Ok(Some(frame)) = split(&mut sent, OVERHEAD) {
                let mut again = BytesMut::new();
                if let Ok(read) = FromHost::parse(frame.clone()) {
                    read.put(&mut again);
                    let frame = split(&mut again, OVERHEAD).unwrap().unwrap();
                    prop_assert_eq!(FromHost::parse(frame), Ok(read));
                }
                if let Ok(read) = ToHost::parse(frame) {
                    read.put(&mut again);
                    let frame = split(&mut again, OVERHEAD).unwrap().unwrap();
                    prop_assert_eq!(ToHost::parse(frame), Ok(read));
                }
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for kind in 0..=255u8 {
            for content in [&b"\xff\xff\xff\xff\xff"[..], b"{", b"\x05\x00\x00\x00"] {
                let frame = Bytes::from([&[kind], content].concat());
                // The two kinds that take any bytes, and numbers that happen to be some.
                if let Ok(read) = FromHost::parse(frame.clone()) {
                    assert!(matches!(read, FromHost::Message(_)), "{read:?}");
                }
                if let Ok(read) = ToHost::parse(frame) {
                    assert!(matches!(read, ToHost::Message(_)), "{read:?}");
                }
            }
        }
    }
}

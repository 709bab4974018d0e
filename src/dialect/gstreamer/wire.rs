//! The server's side of the lines: what it reads, and what it prints (gst.md A.3 to A.6).
//!
//! One frame is one line; nothing is escaped. Words are parted by anything that Python's
//! `str.split` takes for blank, because that is what the reference server parses with.

use std::fmt::Write as _;

use crate::dialect::cause::Cause;
use crate::hub::{EndpointId, Namespace, Payload, Request, RoomId};

/// The answer to a registration.
pub const HELLO: &str = "HELLO";
/// The answer to a session.
pub const SESSION_OK: &str = "SESSION_OK";

/// The room id that the reference server keeps for itself.
const RESERVED_ROOM: &str = "session";

/// Reads the first frame of a connection: the id that it registers.
///
/// # Errors
/// [`Cause::NoHello`] or [`Cause::InvalidPeerId`].
pub fn hello(frame: &Payload, id_bytes: usize) -> Result<EndpointId, Cause<'static>> {
    let Some((HELLO, id)) = first_word(frame.as_str().trim_start_matches(is_blank)) else {
        return Err(Cause::NoHello);
    };
    if id.contains(is_blank) || id.len() > id_bytes {
        return Err(Cause::InvalidPeerId);
    }
    EndpointId::new(Namespace::Peer, id).ok_or(Cause::InvalidPeerId)
}

/// Reads a frame of a peer that is registered and, as far as anyone knows, has no partner: what it
/// asks the hub for. `None` if that is nothing; then [`mistake`] says what is wrong with it.
#[must_use]
pub fn request(frame: &Payload, id_bytes: usize) -> Option<Request> {
    let text = frame.as_str();
    if text == "ROOM_PEER_LIST" {
        return Some(Request::Members);
    }
    match first_word(text)? {
        ("SESSION", id) => EndpointId::new(Namespace::Peer, id).map(Request::Pair),
        ("ROOM", id) if is_room_id(id, id_bytes) => {
            RoomId::new(Namespace::Peer, id).map(Request::Join)
        }
        ("ROOM_PEER_MSG", rest) => {
            let (to, message) = first_word(rest)?;
            let to = EndpointId::new(Namespace::Peer, to)?;
            let payload = (!message.is_empty()).then(|| frame.slice(message))?;
            Some(Request::ToMember { to, payload })
        }
        _ => None,
    }
}

/// What is wrong with a frame that asks for nothing, sent by a peer in no room. `None` if it is to
/// be ignored, as everything is that doesn't begin like a command.
#[must_use]
pub fn mistake(frame: &Payload) -> Option<Cause<'_>> {
    if frame.is_binary() {
        return Some(Cause::Binary);
    }
    let text = frame.as_str();
    match first_word(text) {
        Some(("SESSION", _)) => Some(Cause::MissingPeerId),
        Some(("ROOM", id)) => Some(Cause::InvalidRoomId { id }),
        // The reference server takes it for a `ROOM`, and that is what it answers.
        Some(("ROOM_PEER_MSG", id)) if id.contains(is_blank) => Some(Cause::InvalidRoomId { id }),
        _ if text.starts_with("ROOM_PEER_") => Some(Cause::NotInRoom),
        Some((name, _)) if text.starts_with("SESSION") || text.starts_with("ROOM") => {
            Some(Cause::UnknownType { name: name.into() })
        }
        _ => None,
    }
}

/// What is wrong with a frame that asks for nothing, sent by a peer in a room.
#[must_use]
pub fn mistake_in_room(frame: &Payload) -> Cause<'_> {
    if frame.is_binary() {
        return Cause::Binary;
    }
    match first_word(frame.as_str()) {
        Some(("ROOM_PEER_MSG", _)) => Cause::IncompleteMessage,
        _ => Cause::AlreadyInRoom,
    }
}

/// The answer to a room: the blank is there even if nobody else is; real clients rely on it.
#[must_use]
pub fn room_ok(members: &[EndpointId]) -> Payload {
    list("ROOM_OK ", members)
}

/// The answer to `ROOM_PEER_LIST`.
#[must_use]
pub fn members(members: &[EndpointId]) -> Payload {
    list("ROOM_PEER_LIST ", members)
}

/// A new member.
#[must_use]
pub fn joined(member: &EndpointId) -> Payload {
    Payload::from(format!("ROOM_PEER_JOINED {member}"))
}

/// A member is gone.
#[must_use]
pub fn left(member: &EndpointId) -> Payload {
    Payload::from(format!("ROOM_PEER_LEFT {member}"))
}

/// A member's message.
#[must_use]
pub fn message(from: &EndpointId, message: &Payload) -> Payload {
    const WORD: &str = "ROOM_PEER_MSG ";
    let mut line = String::with_capacity(WORD.len() + from.as_str().len() + 1 + message.len());
    line.push_str(WORD);
    line.push_str(from.as_str());
    line.push(' ');
    line.push_str(message.as_str());
    Payload::from(line)
}

/// An error's line.
#[must_use]
pub fn error(text: &str) -> Payload {
    Payload::from(format!("ERROR {text}"))
}

/// Text as Python's `repr` shows it, which is how the reference server quotes ids (gst.md A.4).
#[must_use]
pub fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c if is_printable(c) => out.push(c),
            // Writing to a string cannot fail.
            c => {
                let _ = match u32::from(c) {
                    code @ ..0x100 => write!(out, "\\x{code:02x}"),
                    code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

fn list(word: &str, members: &[EndpointId]) -> Payload {
    let length = members
        .iter()
        .map(|id| id.as_str().len() + 1)
        .sum::<usize>();
    let mut line = String::with_capacity(word.len() + length);
    line.push_str(word);
    for (n, member) in members.iter().enumerate() {
        if n > 0 {
            line.push(' ');
        }
        line.push_str(member.as_str());
    }
    Payload::from(line)
}

fn is_room_id(id: &str, id_bytes: usize) -> bool {
    id != RESERVED_ROOM && !id.is_empty() && !id.contains(is_blank) && id.len() <= id_bytes
}

/// The first word, and everything behind the blanks after it, which may be nothing. `None` if the
/// text doesn't begin with a word.
fn first_word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(is_blank).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word, rest.trim_start_matches(is_blank)))
}

/// Python's `str.isspace`: Unicode's white space, and the four separators of ASCII.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Python's `str.isprintable`. The standard library goes by the same categories of Unicode, but
/// also escapes a combining mark, unless another character is before it.
fn is_printable(c: char) -> bool {
    let mut pair = [0; 5];
    pair[0] = b'a';
    let length = 1 + c.encode_utf8(&mut pair[1..]).len();
    let text = std::str::from_utf8(&pair[..length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_those_of_python() {
        // Each printed by Python 3.11.
        let rows = [
            ("bob", "'bob'"),
            ("", "''"),
            ("it's", r#""it's""#),
            (r#"say "hi""#, r#"'say "hi"'"#),
            (r#"it's "it""#, r#"'it\'s "it"'"#),
            (r"a\b", r"'a\\b'"),
            ("a\tb\nc\rd", r"'a\tb\nc\rd'"),
            ("\0\x1b\x7f", r"'\x00\x1b\x7f'"),
            ("ä ö\u{a0}ü\u{ad}", r"'ä ö\xa0ü\xad'"),
            ("\u{2028}\u{200b}\u{feff}", r"'\u2028\u200b\ufeff'"),
            ("e\u{301} 日本 🎥", "'e\u{301} 日本 🎥'"),
            (
                "\u{e000}\u{10ffff}\u{e0001}",
                r"'\ue000\U0010ffff\U000e0001'",
            ),
        ];
        for (text, shown) in rows {
            assert_eq!(quoted(text), shown);
        }
    }
}

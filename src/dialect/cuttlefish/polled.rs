//! The server's side of a client that polls over HTTP, in both generations (cuttlefish.md A6).
//!
//! | | old | new |
//! |---|---|---|
//! | connect | `POST /connect` | `POST /polled_connections` |
//! | to the device | `POST /forward`, answered like a poll | `POST /polled_connections/{c}/:forward`, answered [`OK`] |
//! | poll | `POST /poll_messages`: bare payloads, drained | `GET /polled_connections/{c}/messages?start=N`: wrapped, kept |

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::json;

use super::wire::{self, Envelope};
use crate::dialect::cause::{Cause, Side};
use crate::hub::{EndpointId, Payload};

/// The reply to the newer `:forward`.
pub const OK: &str = r#""ok""#;

/// The messages of one polling client: those that wait, or all, by what the client asks for.
#[derive(Debug)]
pub struct Mailbox {
    messages: VecDeque<Payload>,
    bytes: usize,
    /// The offset of the first message that is kept.
    first: u64,
    max_messages: usize,
    max_bytes: usize,
    used: Instant,
}

/// The body of a polling client's request: the fields that it may have. Other fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    device_id: Option<EndpointId>,
    connection_id: Option<String>,
    payload: Option<Payload>,
}

impl Mailbox {
    /// An empty one, used now. It keeps this many messages, and bytes in them; more push out the oldest.
    #[must_use]
    pub const fn new(max_messages: usize, max_bytes: usize, now: Instant) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            first: 0,
            max_messages,
            max_bytes,
            used: now,
        }
    }

    /// Adds a message of the device. How many older ones it pushed out.
    pub fn push(&mut self, message: &Payload) -> u64 {
        // A copy, because a cut of a frame keeps all of the frame in memory, which isn't counted here.
        self.messages.push_back(Payload::from(message.as_str()));
        self.bytes += message.len();
        let first = self.first;
        while self.messages.len() > self.max_messages || self.bytes > self.max_bytes {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            self.first += 1;
        }
        self.first - first
    }

    /// Takes out all messages, oldest first.
    #[must_use]
    pub fn drain(&mut self) -> Vec<Payload> {
        self.first += self.messages.len() as u64;
        self.bytes = 0;
        self.messages.drain(..).collect()
    }

    /// At most `count` messages from an offset on, which counts from the client's first message; they
    /// stay. None from beyond the end. Messages that were pushed out are skipped.
    #[must_use]
    pub fn from(&self, start: u64, count: usize) -> Vec<Payload> {
        let skip = usize::try_from(start.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.messages
            .iter()
            .skip(skip)
            .take(count)
            .cloned()
            .collect()
    }

    /// How many messages it holds, and bytes in them.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// The client was heard.
    pub const fn touch(&mut self, now: Instant) {
        self.used = now;
    }

    /// When the client was last heard.
    #[must_use]
    pub const fn used(&self) -> Instant {
        self.used
    }
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// The cause to answer with, if it is no JSON object.
    pub fn parse(body: &Payload) -> Result<Self, Cause<'_>> {
        let envelope = Envelope::parse(body.as_str())?;
        Ok(Self {
            device_id: envelope.device_id(),
            connection_id: envelope.connection_id(),
            payload: envelope.payload(body),
        })
    }

    /// Whom to call.
    ///
    /// # Errors
    /// The cause to answer with, if there is no id.
    pub fn device_id(&self) -> Result<&EndpointId, Cause<'static>> {
        self.device_id
            .as_ref()
            .ok_or(Cause::MissingId(Side::Caller))
    }

    /// Which client this is, in the old generation.
    ///
    /// # Errors
    /// The cause to answer with, if there is no id.
    pub fn connection_id(&self) -> Result<&str, Cause<'static>> {
        self.connection_id.as_deref().ok_or(Cause::UnknownMailbox)
    }

    /// What to bring to the device, verbatim.
    ///
    /// # Errors
    /// The cause to answer with, if there is none.
    pub fn payload(&self) -> Result<&Payload, Cause<'static>> {
        self.payload
            .as_ref()
            .ok_or(Cause::MissingPayload(Side::Caller))
    }
}

/// The old generation's reply to a connect.
#[must_use]
pub fn connected(connection_id: &str, info: Option<&Payload>) -> String {
    let id = json!(connection_id);
    let info = info.map_or("null", Payload::as_str);
    format!(r#"{{"connection_id":{id},"message_type":"device_info","device_info":{info}}}"#)
}

/// The newer generation's reply to a connect.
#[must_use]
pub fn connected_new(connection_id: &str, info: Option<&Payload>) -> String {
    let id = json!(connection_id);
    let info = info.map_or("null", Payload::as_str);
    format!(r#"{{"connection_id":{id},"device_info":{info}}}"#)
}

/// The old generation's reply to a poll and to a forward: bare payloads.
#[must_use]
pub fn bare_messages(messages: &[Payload]) -> String {
    array(messages.iter().map(Payload::as_str))
}

/// The newer generation's reply to a poll: `device_msg` messages.
#[must_use]
pub fn messages(messages: &[Payload]) -> String {
    let wrapped: Vec<Payload> = messages.iter().map(wire::device_msg).collect();
    array(wrapped.iter().map(Payload::as_str))
}

/// The body of an error reply.
#[must_use]
pub fn error(cause: &Cause<'_>) -> String {
    let row = cause.row();
    json!({"type": "error", "error": row.cuttlefish.text.unwrap_or_else(|| row.label.to_owned())})
        .to_string()
}

fn array<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut array = String::from("[");
    for (index, item) in items.enumerate() {
        if index > 0 {
            array.push(',');
        }
        array.push_str(item);
    }
    array.push(']');
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(max_messages: usize, max_bytes: usize, texts: &[&str]) -> Mailbox {
        let mut mailbox = Mailbox::new(max_messages, max_bytes, Instant::now());
        for text in texts {
            mailbox.push(&Payload::from(*text));
        }
        mailbox
    }

    fn texts(messages: &[Payload]) -> Vec<&str> {
        messages.iter().map(Payload::as_str).collect()
    }

    #[test]
    fn drained_messages_are_gone_and_keep_their_offsets() {
        let mut mailbox = filled(10, 100, &["1", "2"]);
        assert_eq!(texts(&mailbox.drain()), ["1", "2"]);
        assert!(mailbox.drain().is_empty());
        mailbox.push(&Payload::from("3"));
        assert_eq!(texts(&mailbox.from(2, 10)), ["3"]);
    }

    #[test]
    fn messages_read_from_an_offset_stay() {
        let mailbox = filled(10, 100, &["1", "2", "3"]);
        assert_eq!(texts(&mailbox.from(0, usize::MAX)), ["1", "2", "3"]);
        assert_eq!(texts(&mailbox.from(1, 1)), ["2"]);
        assert!(mailbox.from(3, 10).is_empty());
        assert!(mailbox.from(u64::MAX, 10).is_empty());
    }

    #[test]
    fn the_oldest_are_pushed_out_by_count_and_by_bytes() {
        let mailbox = filled(2, 100, &["1", "2", "3"]);
        assert_eq!(texts(&mailbox.from(0, 10)), ["2", "3"]);
        assert_eq!(texts(&mailbox.from(2, 10)), ["3"]);
        let mut mailbox = filled(10, 4, &["11", "22", "33"]);
        assert_eq!(texts(&mailbox.from(0, 10)), ["22", "33"]);
        mailbox.push(&Payload::from("55555"));
        assert!(mailbox.from(0, 10).is_empty());
        mailbox.push(&Payload::from("6"));
        assert_eq!(texts(&mailbox.from(4, 10)), ["6"]);
    }

    #[test]
    fn replies_have_each_generations_form() {
        let info = Payload::from("{ }");
        assert_eq!(
            connected("a\"b", Some(&info)),
            r#"{"connection_id":"a\"b","message_type":"device_info","device_info":{ }}"#
        );
        assert_eq!(
            connected_new("c", None),
            r#"{"connection_id":"c","device_info":null}"#
        );
        let kept = filled(10, 100, &["1", "{ }"]).from(0, 10);
        assert_eq!(bare_messages(&kept), "[1,{ }]");
        assert_eq!(
            messages(&kept[..1]),
            r#"[{"message_type":"device_msg","payload":1}]"#
        );
        assert_eq!(bare_messages(&[]), "[]");
        let absent = error(&Cause::Absent { id: "x\"" });
        assert_eq!(
            absent,
            r#"{"error":"Connection failed: Device not found: 'x\"'","type":"error"}"#
        );
    }

    #[test]
    fn requests_are_read_by_what_they_need() {
        let body = Payload::from(r#"{"connection_id":"c","payload":{ "a":1 },"x":0}"#);
        let request = Request::parse(&body).unwrap();
        assert_eq!(request.connection_id(), Ok("c"));
        assert_eq!(request.payload().unwrap().as_str(), r#"{ "a":1 }"#);
        assert_eq!(request.device_id(), Err(Cause::MissingId(Side::Caller)));
        let body = Payload::from("[1]");
        assert_eq!(
            Request::parse(&body),
            Err(Cause::NotAMessage { text: "[1]" })
        );
        let body = Payload::from("{}");
        assert_eq!(
            Request::parse(&body).unwrap().connection_id(),
            Err(Cause::UnknownMailbox)
        );
    }
}

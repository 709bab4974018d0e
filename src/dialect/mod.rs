//! The languages that Switchboard speaks. Pure: frames and hub events in, effects out.

pub mod cuttlefish;

use crate::hub::{Command, Event, Payload};

/// One of the languages, as logs and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Android Cuttlefish.
    Cuttlefish,
}

/// What a session asks of whoever carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a text frame.
    Send(Payload),
    /// Send what is queued, then close with this code. Nothing follows.
    Close {
        /// RFC 6455 section 7.4.
        code: u16,
        /// The reason, at most 123 bytes; often empty.
        reason: &'static str,
    },
    /// Pass a command to the hub.
    Hub(Command),
}

/// The server's side of one connection in one dialect.
pub trait Session: Send {
    /// Which language this is.
    fn dialect(&self) -> Dialect;

    /// What this side of the conversation is, in one word for logs and metrics ("device", "client").
    fn role(&self) -> &'static str;

    /// Whether the other side must speak first, within the first-message deadline.
    fn expects_first_message(&self) -> bool;

    /// What to do at the very start, before any frame.
    fn opened(&mut self, out: &mut Vec<Effect>);

    /// A whole text frame came.
    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>);

    /// A whole binary frame came.
    fn binary(&mut self, frame: &[u8], out: &mut Vec<Effect>);

    /// The hub says something to this connection.
    fn event(&mut self, event: Event, out: &mut Vec<Effect>);
}

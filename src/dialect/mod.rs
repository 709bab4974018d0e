//! The languages that Switchboard speaks. Pure: frames and hub events in, effects out.

pub mod cause;
pub mod cuttlefish;
pub mod front;
pub mod gecko;
pub mod gstreamer;
pub mod kurento;
pub mod negotiation;

use std::time::Instant;

use cause::Level;

use crate::config::Secret;
use crate::hub::{AccountId, Command, Event, Payload};

/// One of the languages, as logs and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Android Cuttlefish.
    Cuttlefish,
    /// GStreamer's simple signalling.
    GStreamer,
    /// Geckos: remote workers.
    Gecko,
    /// Kurento rooms.
    Kurento,
}

impl Dialect {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Cuttlefish,
        Self::GStreamer,
        Self::Gecko,
        Self::Kurento,
    ];

    /// The name in logs, metrics and the admin API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuttlefish => "cuttlefish",
            Self::GStreamer => "gstreamer",
            Self::Gecko => "gecko",
            Self::Kurento => "kurento",
        }
    }

    /// The WebSocket subprotocol that is accepted when it is offered (RFC 6455 section 1.9). Old
    /// Cuttlefish devices offer theirs and pages offer none (cuttlefish.md A1); GStreamer's server
    /// never selects one (gst.md A.1); the protocols of geckos and of Kurento's rooms have none.
    #[must_use]
    pub const fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Cuttlefish => Some("webrtc-operator"),
            Self::GStreamer | Self::Gecko | Self::Kurento => None,
        }
    }
}

/// What a session asks of whoever carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a frame.
    Send(Payload),
    /// Send what is queued, then close with this code. Nothing follows, and the session ignores
    /// what still comes. The carrier passes [`Command::Leave`] to the hub at once, as at every other
    /// end of a connection, and does not wait for the closing handshake with it.
    Close {
        /// RFC 6455 section 7.4.
        code: u16,
        /// The reason, at most 123 bytes; often empty.
        reason: &'static str,
    },
    /// Pass a command to the hub.
    Hub(Command),
    /// The other side made a mistake or was refused: count it and log it. Says nothing secret.
    Report {
        /// Which cause, as [`cause::Row::label`].
        label: &'static str,
        /// How loud.
        level: Level,
    },
    /// A request was answered: count it.
    Handled {
        /// Which method; one of few, whatever the other side sends.
        method: &'static str,
        /// "ok", or the cause's label.
        outcome: &'static str,
    },
    /// Let the operator's hook answer this request, a JSON object, and give its answer to
    /// [`Session::custom`]. Until then the session asks for no other.
    Custom(Payload),
    /// This endpoint serves files for its callers' pages over HTTP on this port of its own machine.
    /// Comes before the registration.
    FilesPort(u16),
    /// Find out whose token this is, and answer with [`Session::verified`]. Until then the session
    /// is given no frame.
    Verify(Secret),
}

/// Why nobody knows whose token it is; each with the reason, which may be told to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unverified {
    /// The token is no good, or not for this.
    Refused(String),
    /// The authority that knows couldn't be asked.
    Unavailable(String),
}

/// The server's side of one connection in one dialect.
pub trait Session: Send {
    /// Which language this is.
    fn dialect(&self) -> Dialect;

    /// What this side of the conversation is, in one word for logs and metrics ("device", "client").
    fn role(&self) -> &'static str;

    /// Whether the other side must speak first, within the first-message deadline.
    fn expects_first_message(&self) -> bool {
        true
    }

    /// What to do at the very start, before any frame. Nothing, where the other side speaks first.
    fn opened(&mut self, out: &mut Vec<Effect>) {
        let _ = out;
    }

    /// A whole text frame came.
    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>);

    /// A whole binary frame came. Where nothing is said of them, it is what its text would be.
    fn binary(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.text(frame, out);
    }

    /// The hub says something to this connection. [`Event::Probe`] means nothing here: whoever
    /// carries the connection pings the other side, and answers the hub.
    fn event(&mut self, event: Event, out: &mut Vec<Effect>);

    /// Whether it takes one more frame now. If not, none is read until it was told something.
    fn takes_more(&self) -> bool {
        true
    }

    /// The answer to [`Effect::Verify`]. Nothing to those that never ask.
    fn verified(&mut self, outcome: Result<AccountId, Unverified>, out: &mut Vec<Effect>) {
        let _ = (outcome, out);
    }

    /// What time it is; told before each frame. Nothing to those that need none.
    fn tell_time(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] must be called at the latest, if at all.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Some time has passed.
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let _ = (now, out);
    }

    /// The answer to [`Effect::Custom`], or why there is none. Nothing to those that never ask.
    fn custom(&mut self, outcome: Result<Payload, String>, out: &mut Vec<Effect>) {
        let _ = (outcome, out);
    }
}

//! Who is here, and who talks to whom. Pure: commands in, events out, time as an argument.
//!
//! An **endpoint** registers under an id with free-form info. A **call** joins a caller to an
//! endpoint. The four dialects translate their own words into these, so that the rules about
//! duplicate ids, goodbyes and numbering stand once, here.

mod core;
mod payload;
mod store;
#[cfg(test)]
mod tests;

pub use self::core::{Counts, Endpoint, Hub, Limits, Output};
pub use payload::Payload;

use std::sync::Arc;

/// A connection to this server, whatever carries it: a WebSocket, or a polling client's mailbox.
/// Given by the edge, never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The id under which an endpoint registers. Any text but the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(Arc<str>);

/// A call's number at its endpoint: 1 for an endpoint id's first caller, then one more each time,
/// never reused for one endpoint id while the process lives (cuttlefish.md A2, A4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallNumber(pub u32);

/// What a connection asks of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Register this connection as an endpoint. Answered by [`Event::Registered`] or
    /// [`Event::RegistrationRefused`], at once or after the holder of the id was probed.
    Register {
        /// The wanted id.
        id: EndpointId,
        /// What the endpoint says of itself, as it was sent; `None` when it said nothing.
        info: Option<Payload>,
    },
    /// Call an endpoint. Answered by [`Event::CallOpened`], [`Event::CallWaiting`] or [`Event::CallRefused`].
    Call {
        /// Whom to call.
        endpoint: EndpointId,
        /// What to do when nobody has that id now.
        when_absent: WhenAbsent,
    },
    /// From an endpoint to one of its callers. A failure is answered by [`Event::NotDelivered`].
    ToCaller {
        /// Which call.
        call: CallNumber,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// From a caller to the endpoint of its call. Dropped without an open call: if there was one,
    /// this crosses the [`Event::EndpointLeft`] that the caller has been told already, once.
    ToEndpoint {
        /// The message, as it was sent.
        payload: Payload,
    },
    /// The answer to [`Event::Probe`]: the other side of this connection lives. At any other time
    /// it means nothing.
    Alive,
    /// This connection is gone. Nothing is delivered to it any more, its registration ends, and
    /// everyone it talked with is told.
    Leave,
}

/// What [`Command::Call`] does when the endpoint isn't registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAbsent {
    /// Refuse the call.
    Refuse,
    /// Hold the call until the endpoint registers.
    Wait,
}

/// What the hub tells a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection is registered now.
    Registered,
    /// The connection isn't registered.
    RegistrationRefused(RegistrationError),
    /// Another connection wants this one's id: find out whether the other side still lives, and
    /// answer with [`Command::Alive`] if so. Silence means death.
    Probe,
    /// This connection failed a probe and lost its registration and its calls; close it.
    Evicted,
    /// To the caller: the call is open. What it sends from now on reaches the endpoint.
    CallOpened {
        /// The call's number at the endpoint.
        call: CallNumber,
        /// What the endpoint said of itself at registration.
        info: Option<Payload>,
    },
    /// To the caller: the endpoint isn't here; the call is held until it registers.
    CallWaiting,
    /// To the caller: there is no call.
    CallRefused(CallError),
    /// To the endpoint: a message of a caller.
    FromCaller {
        /// Which call.
        call: CallNumber,
        /// The message, as it was sent.
        payload: Payload,
    },
    /// To the caller: a message of the endpoint.
    FromEndpoint {
        /// The message, as it was sent.
        payload: Payload,
    },
    /// To the endpoint: this caller is gone. Told once for each open call, whether or not the
    /// caller ever sent anything.
    CallerLeft {
        /// Which call.
        call: CallNumber,
    },
    /// To the caller: the endpoint is gone, and with it the call.
    EndpointLeft,
    /// To the endpoint: its message reached nobody.
    NotDelivered {
        /// The call it named.
        call: CallNumber,
        /// Why.
        why: Undelivered,
    },
}

/// Why a registration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A live connection holds the id.
    #[error("the id {0} is taken by a live connection")]
    Taken(EndpointId),
    /// This connection is registered already (or waits to be), as the given id.
    #[error("this connection is registered already, as {0}")]
    AlreadyRegistered(EndpointId),
    /// The limit of endpoints is reached.
    #[error("{0} endpoints are registered, the most that this server takes")]
    Full(usize),
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is registered under the id.
    #[error("nobody is registered as {0}")]
    Absent(EndpointId),
    /// The connection is in a call already, or waits for one.
    #[error("this connection is in a call already")]
    AlreadyInCall,
    /// The endpoint's limit of calls, or the server's limit of waiting calls, is reached.
    #[error("{0} calls are open or waiting, the most that are taken")]
    Full(usize),
}

/// Why a message to a caller reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The number was given to a caller that has left.
    CallerLeft,
    /// The number was never given to a caller of this id, or the connection isn't registered.
    NoSuchCall,
}

impl EndpointId {
    /// An id, or `None` for the empty text.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        (!id.is_empty()).then(|| Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EndpointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for CallNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

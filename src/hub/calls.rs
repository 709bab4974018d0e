//! What the edge asks of conversations: which there are, that one ends, and whose one is.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use super::core::{Hub, Output, tell};
use super::store::{Call, Seat};
use super::{CallNumber, ConnectionId, EndpointId, Event, SessionError, SessionId};

/// Names a conversation of two while it lasts, as text by [`Display`](fmt::Display) and [`FromStr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallId {
    /// The call of this connection: `call-17`.
    Call(ConnectionId),
    /// The pair that this connection asked for: `pair-17`.
    Pair(ConnectionId),
    /// A session with an endpoint of the pool: `session-`, and its UUID.
    Session(SessionId),
}

/// The text names no conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such call: ids are like call-17, pair-17, or session- with a UUID")]
pub struct NoCallId;

/// A conversation, as the admin pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// Its name.
    pub id: CallId,
    /// Who is called.
    pub endpoint: EndpointId,
    /// That one's connection; `None` while it is awaited back.
    pub endpoint_connection: Option<ConnectionId>,
    /// Who calls.
    pub caller: ConnectionId,
    /// Since when.
    pub since: Instant,
    /// Messages from the caller.
    pub to_endpoint: u64,
    /// Messages from the endpoint.
    pub to_caller: u64,
}

/// Who made a call whose endpoint has others to talk with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// This connection.
    Here(ConnectionId),
    /// One that has left.
    Gone,
}

impl Hub {
    /// Who made a call of the endpoint that a connection is registered as. `None` if nobody else has
    /// a call with it, or if it never had this one.
    #[must_use]
    pub fn one_of_several(&self, endpoint: ConnectionId, call: CallNumber) -> Option<Caller> {
        let Some(Seat::Holder(id)) = &self.store.connection(endpoint)?.seat else {
            return None;
        };
        let registration = self.store.endpoint(id)?;
        match registration.calls.get(&call) {
            // Who calls itself is no one to be sent away.
            Some(caller) if *caller == endpoint || registration.calls.len() == 1 => None,
            Some(caller) => Some(Caller::Here(*caller)),
            None if registration.calls.is_empty() || !registration.issued(call) => None,
            None => Some(Caller::Gone),
        }
    }

    /// The names of all conversations, in no order.
    pub fn call_ids(&self) -> impl Iterator<Item = CallId> {
        let of_connections = self.store.connections().filter_map(|(id, connection)| {
            match (&connection.call, connection.talk.began) {
                (Some(Call::Open(..)), _) => Some(CallId::Call(id)),
                (Some(Call::Paired(_)), true) => Some(CallId::Pair(id)),
                _ => None,
            }
        });
        of_connections.chain(self.pool.session_ids().map(CallId::Session))
    }

    /// One conversation.
    #[must_use]
    pub fn open_call(&self, id: CallId) -> Option<OpenCall> {
        let caller = match id {
            CallId::Session(session) => return self.pool.session(session),
            CallId::Call(caller) | CallId::Pair(caller) => caller,
        };
        let connection = self.store.connection(caller)?;
        let talk = connection.talk;
        let (endpoint, endpoint_connection, to_caller) = match (id, connection.call.as_ref()?) {
            (CallId::Call(_), Call::Open(endpoint, ..)) => {
                let holder = self.store.endpoint(endpoint)?.connection;
                (endpoint.clone(), holder, talk.received)
            }
            (CallId::Pair(_), Call::Paired(partner)) if talk.began => {
                let other = self.store.connection(*partner)?;
                let Some(Seat::Holder(endpoint)) = &other.seat else {
                    return None;
                };
                (endpoint.clone(), *partner, other.talk.sent)
            }
            _ => return None,
        };
        Some(OpenCall {
            id,
            endpoint,
            endpoint_connection: Some(endpoint_connection),
            caller,
            since: talk.since?,
            to_endpoint: talk.sent,
            to_caller,
        })
    }

    /// Ends a conversation: each side is told what it would be if the other one had gone. False if
    /// there is no such one.
    pub fn end_call(&mut self, now: Instant, id: CallId, out: &mut Vec<Output>) -> bool {
        if self.open_call(id).is_none() {
            return false;
        }
        match id {
            CallId::Call(caller) => {
                if let Some((endpoint, call)) = self.store.hang_up(caller) {
                    tell(out, caller, Event::EndpointLeft);
                    tell(out, endpoint, Event::CallerLeft { call });
                }
            }
            CallId::Pair(caller) => {
                tell(out, caller, Event::PartnerLeft);
                self.end(now, caller, out);
            }
            CallId::Session(session) => self.pool.end(session, SessionError::EndpointLeft, out),
        }
        true
    }

    /// Under which id a connection is registered.
    #[must_use]
    pub fn registered_as(&self, connection: ConnectionId) -> Option<&EndpointId> {
        match self
            .store
            .connection(connection)
            .and_then(|it| it.seat.as_ref())
        {
            Some(Seat::Holder(id)) => Some(id),
            Some(Seat::Newcomer(_)) => None,
            None => self.pool.registered_as(connection),
        }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(caller) => write!(f, "call-{}", caller.0),
            Self::Pair(caller) => write!(f, "pair-{}", caller.0),
            Self::Session(session) => write!(f, "session-{session}"),
        }
    }
}

impl FromStr for CallId {
    type Err = NoCallId;

    fn from_str(text: &str) -> Result<Self, NoCallId> {
        let (kind, name) = text.split_once('-').ok_or(NoCallId)?;
        let connection = || name.parse().map(ConnectionId).map_err(|_| NoCallId);
        let id = match kind {
            "call" => Self::Call(connection()?),
            "pair" => Self::Pair(connection()?),
            "session" => Self::Session(SessionId::parse(name).ok_or(NoCallId)?),
            _ => return Err(NoCallId),
        };
        Ok(id)
    }
}

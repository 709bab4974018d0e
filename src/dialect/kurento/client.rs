//! A participant's side of the conversation with a room server, ours or another: what to ask, what
//! was answered, what happened. Pure: frames and time in, frames and events out. Whatever a server
//! sends, nothing here fails: what can't be read is an event too.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::errors::Code;
use super::wire::{
    Event as Told, IceCandidate, Method, Outcome, Participant, Reply, Request, RequestId,
    ServerMessage, Success,
};
use crate::dialect::negotiation::{Candidate, Sdp};

/// How often the server is pinged; it is told so, and closes a connection that is silent for three
/// times as long (kurento.md A1.13, A1.14).
pub const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Silence after which the connection counts as dead, as on the server's side.
pub const SILENCE: Duration = Duration::from_secs(9);
/// How long the server may take for an answer, as with the reference client (kurento.md A1.18).
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests that wait for an answer at once; more are refused here. One for what is published and one
/// for each publisher whose media is asked for.
const PENDING: usize = 256;
/// The longest name of a user or a stream that is taken, in bytes.
const NAME: usize = 1024;

/// A participant of one room, over any number of connections.
#[derive(Debug)]
pub struct RoomClient {
    user: String,
    room: String,
    data_channels: bool,
    state: State,
    /// The session that the server gave us.
    session: Option<String>,
    next_id: i64,
    pending: BTreeMap<i64, Pending>,
    /// When the server said something last.
    heard: Instant,
    ping_at: Instant,
    /// Whether this connection's first ping is sent.
    pinged: bool,
}

/// What a request was about, as its sender knows it.
pub type Tag = u64;

/// A publisher, as one asks for its media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The user's name.
    pub user: String,
    /// The name of its stream, with which the `sender` of a request ends.
    pub stream: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send(String),
    /// Something happened.
    Event(Event),
}

/// What happens to a participant.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// In the room, anew: what was published and received before is gone. These publish.
    Joined(Vec<Publisher>),
    /// In the room, as before the connection was lost. Media goes on; what happened meanwhile isn't
    /// told (kurento.md A1.17).
    Resumed,
    /// The room doesn't take us.
    Refused(Refusal),
    /// The answer to [`RoomClient::publish`] or [`RoomClient::receive`].
    Answered {
        /// As it was asked.
        tag: Tag,
        /// The SDP answer.
        outcome: Result<Sdp, Refusal>,
    },
    /// Another user is here.
    Came(String),
    /// Another user publishes.
    Published(Publisher),
    /// Another user publishes no more.
    Unpublished(String),
    /// Another user is gone, and what it published.
    Left(String),
    /// A candidate of the server's for the media of this user: our own, for what we publish.
    Candidate {
        /// Whose media.
        user: String,
        /// The candidate.
        candidate: Candidate,
    },
    /// Somebody wrote something, perhaps we.
    Message {
        /// Who.
        user: String,
        /// What.
        text: String,
    },
    /// Media of ours, or of the whole room, failed; in the server's words.
    MediaError(String),
    /// We were put out of the room.
    Evicted,
    /// The room was closed.
    Closed,
    /// We left, as we asked to.
    Gone,
    /// Nothing depends on it, but the server refused something. For the log.
    Objection(Refusal),
    /// The server doesn't answer (any more): give the connection up, and connect anew.
    Lost(&'static str),
    /// Something unexpected of the server. For the log.
    Unreadable,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The server said so.
    #[error("{message} (error {})", .code.0)]
    Server {
        /// Which error (kurento.md A5).
        code: Code,
        /// In the server's words.
        message: String,
    },
    /// It was answered by something else.
    #[error("the server's answer has no SDP")]
    Strange,
    /// There was no answer.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silence,
    /// Too many requests wait for their answers already.
    #[error("{PENDING} requests wait for an answer already")]
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no connection, or none that we use.
    Away,
    /// `connect` is not answered yet.
    Resuming,
    /// `joinRoom` is not answered yet.
    Joining,
    /// In the room.
    In,
    /// `leaveRoom` is not answered yet.
    Leaving,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    asked: Asked,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Resume,
    Join,
    Media(Tag),
    Leave,
}

impl Refusal {
    /// The error's code, if the server gave one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl Publisher {
    fn sender(&self) -> String {
        format!("{}_{}", self.user, self.stream)
    }

    /// Nothing if the user publishes nothing, or has a name that nobody has.
    fn of(user: Participant) -> Option<Self> {
        let stream = user.streams.into_iter().next()?.id;
        (is_name(&user.id) && is_name(&stream)).then_some(Self {
            user: user.id,
            stream,
        })
    }
}

impl RoomClient {
    /// A participant that isn't connected yet. `data_channels`: whether it negotiates a data channel
    /// with what it publishes.
    #[must_use]
    pub fn new(user: &str, room: &str, data_channels: bool, now: Instant) -> Self {
        Self {
            user: user.to_owned(),
            room: room.to_owned(),
            data_channels,
            state: State::Away,
            session: None,
            next_id: 0,
            pending: BTreeMap::new(),
            heard: now,
            ping_at: now,
            pinged: false,
        }
    }

    /// Whether we are in the room, and may ask for things.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.state == State::In
    }

    /// A connection is open: takes the session up again if there was one, joins otherwise.
    pub fn opened(&mut self, now: Instant, out: &mut Vec<Output>) {
        (self.heard, self.ping_at, self.pinged) = (now, now, false);
        self.pending.clear();
        if self.session.is_some() {
            self.state = State::Resuming;
            self.ask(now, Asked::Resume, Method::Connect, out);
        } else {
            self.join(now, out);
        }
        self.ping(now, out);
    }

    /// The connection is gone. What was asked and not answered failed.
    pub fn closed(&mut self, out: &mut Vec<Output>) {
        self.state = State::Away;
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.fail(pending.asked, Refusal::Silence, out);
        }
    }

    /// Offers our media to the room; with `loopback` it comes back on the same connection.
    pub fn publish(
        &mut self,
        now: Instant,
        tag: Tag,
        offer: &Sdp,
        loopback: bool,
        out: &mut Vec<Output>,
    ) {
        let method = Method::PublishVideo {
            sdp_offer: offer.as_str().to_owned(),
            do_loopback: loopback,
        };
        self.ask(now, Asked::Media(tag), method, out);
    }

    /// Takes our media back.
    pub fn unpublish(&mut self, out: &mut Vec<Output>) {
        self.tell(Method::UnpublishVideo, out);
    }

    /// Asks for a publisher's media.
    pub fn receive(
        &mut self,
        now: Instant,
        tag: Tag,
        publisher: &Publisher,
        offer: &Sdp,
        out: &mut Vec<Output>,
    ) {
        let method = Method::ReceiveVideoFrom {
            sender: publisher.sender(),
            sdp_offer: offer.as_str().to_owned(),
        };
        self.ask(now, Asked::Media(tag), method, out);
    }

    /// Wants a publisher's media no more.
    pub fn unsubscribe(&mut self, publisher: &Publisher, out: &mut Vec<Output>) {
        let sender = publisher.sender();
        self.tell(Method::UnsubscribeFromVideo { sender }, out);
    }

    /// Tells a candidate of ours for the media of this user: our own name for what we publish
    /// (kurento.md A4).
    pub fn candidate(&mut self, user: &str, candidate: &Candidate, out: &mut Vec<Output>) {
        let index = candidate.mline_index.unwrap_or(0);
        let method = Method::OnIceCandidate(IceCandidate {
            endpoint_name: user.to_owned(),
            sdp_m_line_index: u16::try_from(index).unwrap_or(u16::MAX),
            sdp_mid: candidate.mid.clone().unwrap_or_else(|| index.to_string()),
            candidate: candidate.candidate.clone(),
        });
        self.tell(method, out);
    }

    /// Leaves the room; [`Event::Gone`] follows.
    pub fn leave(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.state == State::In {
            self.ask(now, Asked::Leave, Method::LeaveRoom, out);
            self.state = State::Leaving;
        }
    }

    /// When to call [`Self::tick`] at the latest; never without a connection.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.state == State::Away {
            return None;
        }
        let deadlines = self.pending.values().map(|pending| pending.until);
        deadlines.chain([self.ping_at, self.heard + SILENCE]).min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.state == State::Away {
            return;
        }
        if now >= self.heard + SILENCE {
            self.state = State::Away;
            return event(out, Event::Lost("the server is silent"));
        }
        let late = |pending: &Pending| now >= pending.until;
        while let Some((&id, _)) = self.pending.iter().find(|(_, pending)| late(pending)) {
            if let Some(pending) = self.pending.remove(&id) {
                self.fail(pending.asked, Refusal::Silence, out);
            }
        }
        if now >= self.ping_at && self.state != State::Away {
            self.ping(now, out);
        }
    }

    /// A text frame came.
    pub fn frame(&mut self, now: Instant, frame: &str, out: &mut Vec<Output>) {
        self.heard = now;
        match ServerMessage::parse(frame) {
            Some(ServerMessage::Reply(reply)) => self.reply(now, reply, out),
            Some(ServerMessage::Event(told)) => {
                out.extend(self.read(told).map(Output::Event));
            }
            None => event(out, Event::Unreadable),
        }
    }

    fn reply(&mut self, now: Instant, reply: Reply, out: &mut Vec<Output>) {
        if let (Some(session), State::Joining) = (&reply.session, self.state) {
            self.session = Some(session.clone());
        }
        let pending = match reply.id {
            RequestId::Number(id) => self.pending.remove(&id),
            _ => None,
        };
        match (pending, reply.outcome) {
            (Some(pending), outcome) => self.answered(now, pending.asked, outcome, out),
            (None, Err(error)) => event(out, Event::Objection(error.into())),
            // Pings, candidates, and what was given up.
            (None, Ok(_)) => {}
        }
    }

    fn answered(&mut self, now: Instant, asked: Asked, outcome: Outcome, out: &mut Vec<Output>) {
        match (asked, outcome) {
            (Asked::Resume, Ok(success)) if success.value() == Some(Success::RECONNECTED) => {
                self.state = State::In;
                event(out, Event::Resumed);
            }
            // Forgotten, or a server that can't.
            (Asked::Resume, _) => self.join(now, out),
            (Asked::Join, Ok(success)) => {
                self.state = State::In;
                let others = success.participants().unwrap_or_default();
                let others = others.into_iter().filter(|other| other.id != self.user);
                event(
                    out,
                    Event::Joined(others.filter_map(Publisher::of).collect()),
                );
            }
            (Asked::Media(tag), Ok(success)) => {
                let outcome = success.sdp_answer().map(Sdp::new).ok_or(Refusal::Strange);
                event(out, Event::Answered { tag, outcome });
            }
            (Asked::Leave, Ok(_)) => self.fail(asked, Refusal::Strange, out),
            (_, Err(error)) => self.fail(asked, error.into(), out),
        }
    }

    /// A request came to nothing.
    fn fail(&mut self, asked: Asked, refusal: Refusal, out: &mut Vec<Output>) {
        let silent = refusal == Refusal::Silence;
        match asked {
            Asked::Media(tag) => {
                let outcome = Err(refusal);
                event(out, Event::Answered { tag, outcome });
            }
            // However it is answered, there is nothing more to do here.
            Asked::Leave => {
                (self.state, self.session) = (State::Away, None);
                event(out, Event::Gone);
            }
            Asked::Resume | Asked::Join if self.state == State::Away => {}
            Asked::Resume | Asked::Join if silent => {
                // Not once more: the server may not know how to go on with a session.
                (self.state, self.session) = (State::Away, None);
                event(out, Event::Lost("the server did not answer"));
            }
            Asked::Resume | Asked::Join => {
                (self.state, self.session) = (State::Away, None);
                event(out, Event::Refused(refusal));
            }
        }
    }

    /// What an event of the server's means to us; `None` if nothing.
    fn read(&mut self, told: Told) -> Option<Event> {
        let other = |name: &str| name != self.user && is_name(name);
        Some(match told {
            Told::ParticipantJoined { id } if other(&id) => Event::Came(id),
            Told::ParticipantPublished { id, streams } if other(&id) => {
                Event::Published(Publisher::of(Participant { id, streams })?)
            }
            Told::ParticipantUnpublished { name } if other(&name) => Event::Unpublished(name),
            Told::ParticipantLeft { name } if other(&name) => Event::Left(name),
            Told::ParticipantEvicted {} => {
                (self.state, self.session) = (State::Away, None);
                Event::Evicted
            }
            Told::RoomClosed { .. } => {
                (self.state, self.session) = (State::Away, None);
                Event::Closed
            }
            Told::Message { user, message, .. } => Event::Message {
                user,
                text: message,
            },
            Told::IceCandidate(it) => Event::Candidate {
                user: it.endpoint_name,
                candidate: Candidate {
                    candidate: it.candidate,
                    mid: Some(it.sdp_mid),
                    mline_index: Some(u32::from(it.sdp_m_line_index)),
                },
            },
            Told::MediaError { error } => Event::MediaError(error),
            _ => return None,
        })
    }

    fn join(&mut self, now: Instant, out: &mut Vec<Output>) {
        (self.state, self.session) = (State::Joining, None);
        let method = Method::JoinRoom {
            user: self.user.clone(),
            room: self.room.clone(),
            data_channels: self.data_channels,
        };
        self.ask(now, Asked::Join, method, out);
    }

    fn ping(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.ping_at = now + PING_INTERVAL;
        let interval = u64::try_from(PING_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let interval = (!std::mem::replace(&mut self.pinged, true)).then_some(interval);
        self.send(Method::Ping { interval }, out);
    }

    /// Sends a request whose answer matters.
    fn ask(&mut self, now: Instant, asked: Asked, method: Method, out: &mut Vec<Output>) {
        if self.state == State::Away {
            return self.fail(asked, Refusal::Silence, out);
        }
        if self.pending.len() >= PENDING {
            return self.fail(asked, Refusal::TooMany, out);
        }
        let until = now + ANSWER_TIMEOUT;
        let id = self.send(method, out);
        self.pending.insert(id, Pending { asked, until });
    }

    /// Sends a request whose answer says nothing.
    fn tell(&mut self, method: Method, out: &mut Vec<Output>) {
        if self.state == State::In {
            self.send(method, out);
        }
    }

    /// Sends a request; its id.
    fn send(&mut self, method: Method, out: &mut Vec<Output>) -> i64 {
        let id = self.next_id;
        // Other servers read it as an int of 32 bits.
        self.next_id = if id >= i64::from(i32::MAX) { 0 } else { id + 1 };
        let session = match method {
            Method::Connect => self.session.clone(),
            _ => None,
        };
        let request = Request {
            id: RequestId::Number(id),
            session,
            method,
        };
        out.push(Output::Send(request.print()));
        id
    }
}

impl From<super::wire::RpcError> for Refusal {
    fn from(error: super::wire::RpcError) -> Self {
        Self::Server {
            code: Code(error.code),
            message: error.message,
        }
    }
}

fn event(out: &mut Vec<Output>, event: Event) {
    out.push(Output::Event(event));
}

fn is_name(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
}

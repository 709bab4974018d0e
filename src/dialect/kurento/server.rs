//! The server's side of a client's connection (kurento.md A1 to A4, with the decisions).
//!
//! Requests are obeyed one after another, each when the one before is answered, so that answers come
//! in the order of their requests. Only pings are answered at once: they tell that somebody lives.

#[cfg(test)]
mod tests;
mod watchdog;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::errors::{Fault, media_error};
use super::wire::{
    self, IceCandidate, Method, Outcome, Participant, Reply, Request, RequestId, Stream, Success,
    Unreadable,
};
use crate::dialect::{Dialect, Effect, Session};
use crate::hub::{Ask, Asked, Command, Denied, Event, Granted, Payload, Rights, Told, Visitor};
use watchdog::Watchdog;

/// Digits in a session's id: 32 is their base.
const ID_DIGITS: usize = 26;
const BASE: u32 = 32;

/// What all sessions of a server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes in the name of a user or a room.
    pub name_bytes: usize,
    /// Requests that wait for the one before to be answered. Then no more are read.
    pub waiting: usize,
    /// Bytes that wait so, beside one request of any size. Then no more are read.
    pub waiting_bytes: usize,
    /// Whether somebody answers custom requests.
    pub has_hook: bool,
}

/// The server's side of a client's connection.
#[derive(Debug)]
pub struct ClientSession {
    settings: Arc<Settings>,
    own: Visitor,
    now: Instant,
    watchdog: Option<Watchdog>,
    /// The request that is being obeyed.
    current: Option<Current>,
    /// Those after it, with their sizes.
    waiting: VecDeque<(Waiting, usize)>,
    waiting_bytes: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Current {
    id: RequestId,
    method: &'static str,
    /// The session that it is for, and what a custom request says.
    session: Option<Visitor>,
    custom: Option<Map<String, Value>>,
}

#[derive(Debug)]
enum Waiting {
    Request(Request),
    Unreadable(Unreadable),
}

/// A session's id as text: 26 digits, as the reference server's (kurento.md A1.10).
#[must_use]
pub fn session_id(visitor: Visitor) -> String {
    let digit = |at: usize| {
        let digit = (visitor.0 >> (5 * at)) as u32 % BASE;
        char::from_digit(digit, BASE).unwrap_or('0')
    };
    (0..ID_DIGITS).rev().map(digit).collect()
}

/// The session that an id names, if it is one.
fn visitor(id: &str) -> Option<Visitor> {
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_alphanumeric());
    let number = u128::from_str_radix(id, BASE).ok();
    number.filter(|_| is_id).map(Visitor)
}

impl ClientSession {
    /// A client that has said nothing yet, and whose session will have this id.
    #[must_use]
    pub fn new(settings: Arc<Settings>, own: Visitor, now: Instant) -> Self {
        Self {
            settings,
            own,
            now,
            watchdog: None,
            current: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_closed: false,
        }
    }

    fn frame(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if self.is_closed {
            return;
        }
        let waiting = match Request::parse(frame.as_str()) {
            Ok(Request {
                id: RequestId::Absent,
                ..
            }) => Waiting::Unreadable(Unreadable::NotARequest(RequestId::Absent)),
            Ok(request) => {
                if let Method::Ping { interval } = request.method {
                    return self.ping(&request, interval, out);
                }
                Waiting::Request(request)
            }
            Err(unreadable) => Waiting::Unreadable(unreadable),
        };
        self.waiting_bytes += frame.len();
        self.waiting.push_back((waiting, frame.len()));
        self.go_on(out);
    }

    /// Only the first ping arms the watchdog, and its interval stays (kurento.md A1.14).
    fn ping(&mut self, request: &Request, interval: Option<u64>, out: &mut Vec<Effect>) {
        match &mut self.watchdog {
            Some(watchdog) => watchdog.heard(self.now),
            None => self.watchdog = Some(Watchdog::new(interval, self.now)),
        }
        out.push(handled("ping", "ok"));
        let reply = Reply {
            id: request.id,
            session: request.session.clone(),
            outcome: Ok(Success::text(Success::PONG)),
        };
        send(reply, out);
    }

    /// Obeys requests until one has to wait for its answer.
    fn go_on(&mut self, out: &mut Vec<Effect>) {
        while self.current.is_none() && !self.is_closed {
            let Some((waiting, bytes)) = self.waiting.pop_front() else {
                // A burst's memory isn't kept.
                self.waiting.shrink_to_fit();
                return;
            };
            self.waiting_bytes -= bytes;
            match waiting {
                Waiting::Request(request) => self.obey(request, out),
                Waiting::Unreadable(unreadable) => {
                    let method = match unreadable {
                        Unreadable::BadParam { method, .. } => method,
                        _ => "unknown",
                    };
                    let fault = Fault::from(&unreadable);
                    refuse(unreadable.id(), method, None, &fault, out);
                }
            }
        }
    }

    fn obey(&mut self, request: Request, out: &mut Vec<Effect>) {
        let Request {
            id,
            session,
            method,
        } = request;
        let name = method.name();
        let named = session.as_deref().and_then(visitor);
        if session.is_some() && named.is_none() && method == Method::Connect {
            return refuse(id, name, None, &Fault::UnknownSession, out);
        }
        let custom = match &method {
            Method::CustomRequest(_) if !self.settings.has_hook => {
                return refuse(id, name, None, &Fault::NoHook, out);
            }
            Method::CustomRequest(params) => Some(params.clone()),
            _ => None,
        };
        match self.ask(method, session.is_some()) {
            Ok(ask) => {
                self.current = Some(Current {
                    id,
                    method: name,
                    session: None,
                    custom,
                });
                let own = self.own;
                let asked = Asked {
                    named,
                    own,
                    rights: Rights::ALL,
                    ask,
                };
                out.push(Effect::Hub(Command::Conference(asked)));
            }
            Err(Refused::BadSender(sender)) => {
                let sender = &sender;
                refuse(id, name, None, &Fault::BadSender { sender }, out);
            }
            Err(Refused::TooLong(param, limit)) => {
                let fault = Fault::TooLong { name: param, limit };
                refuse(id, name, None, &fault, out);
            }
        }
    }

    /// What a request means to the hub.
    fn ask(&self, method: Method, names_session: bool) -> Result<Ask, Refused> {
        Ok(match method {
            Method::JoinRoom { user, room, .. } => Ask::Enter {
                user: self.name("user", user)?,
                room: self.name("room", room)?,
                rights: Rights::ALL,
            },
            Method::PublishVideo {
                sdp_offer,
                do_loopback,
            } => Ask::Publish {
                offer: sdp_offer,
                loopback: do_loopback,
            },
            Method::UnpublishVideo => Ask::Unpublish,
            Method::ReceiveVideoFrom { sender, sdp_offer } => Ask::Receive {
                from: self.user_of(sender)?,
                offer: sdp_offer,
            },
            Method::UnsubscribeFromVideo { sender } => Ask::Unsubscribe {
                from: self.user_of(sender)?,
            },
            Method::OnIceCandidate(_) => Ask::Candidate,
            Method::LeaveRoom => Ask::Exit,
            Method::SendMessage {
                message,
                user,
                room,
            } => Ask::Say {
                user: user.into(),
                room: room.into(),
                message: message.into(),
            },
            Method::CustomRequest(_) => Ask::Locate,
            Method::Connect if names_session => Ask::Resume,
            // Pings don't come here.
            Method::Connect | Method::Ping { .. } => Ask::Begin,
            Method::CloseSession => Ask::End,
        })
    }

    fn name(&self, param: &'static str, name: String) -> Result<Arc<str>, Refused> {
        let limit = self.settings.name_bytes;
        if name.len() > limit {
            return Err(Refused::TooLong(param, limit));
        }
        Ok(name.into())
    }

    fn user_of(&self, sender: String) -> Result<Arc<str>, Refused> {
        match wire::user_of(&sender) {
            Some(user) => self.name("sender", user.to_owned()),
            None => Err(Refused::BadSender(sender)),
        }
    }

    /// The hub's answer to the current request.
    fn answered(
        &mut self,
        visitor: Visitor,
        outcome: Result<Granted, Denied>,
        out: &mut Vec<Effect>,
    ) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let granted = match outcome {
            Ok(granted) => granted,
            Err(denied) => {
                let is_unknown = matches!(denied, Denied::UnknownVisitor | Denied::VisitorsFull(_));
                let session = (!is_unknown).then_some(visitor);
                let fault = Fault::Denied(&denied);
                refuse(current.id, current.method, session, &fault, out);
                return self.go_on(out);
            }
        };
        let success = match granted {
            Granted::Place(place) => {
                out.push(Effect::Custom(custom(&current, visitor, place)));
                current.session = Some(visitor);
                self.current = Some(current);
                return;
            }
            Granted::Sdp(sdp) => Success::answered(sdp),
            Granted::Entered { others } => {
                let others: Vec<_> = others.into_iter().map(participant).collect();
                Success::joined(&others)
            }
            Granted::Resumed => Success::text(Success::RECONNECTED),
            Granted::Done if current.method == "connect" => Success::text(Success::OK),
            Granted::Done if current.method == "closeSession" => Success::Bye,
            Granted::Done => Success::done(),
        };
        out.push(handled(current.method, "ok"));
        let session = session_id(visitor);
        let reply = Reply {
            id: current.id,
            session: Some(session),
            outcome: Ok(success),
        };
        send(reply, out);
        if current.method == "leaveRoom" {
            return self.close(1000, "", out);
        }
        self.go_on(out);
    }

    fn told(&self, told: Told, out: &mut Vec<Effect>) {
        let event = match told {
            Told::Joined { user } => wire::Event::ParticipantJoined { id: text(&user) },
            Told::Published { user } => wire::Event::ParticipantPublished {
                id: text(&user),
                streams: vec![Stream::webcam()],
            },
            Told::Unpublished { user } => wire::Event::ParticipantUnpublished { name: text(&user) },
            Told::Left { user } => wire::Event::ParticipantLeft { name: text(&user) },
            Told::Evicted => wire::Event::ParticipantEvicted {},
            Told::Closed { room } => wire::Event::RoomClosed { room: text(&room) },
            Told::Said {
                room,
                user,
                message,
            } => wire::Event::Message {
                room: text(&room),
                user: text(&user),
                name: text(&user),
                message: text(&message),
            },
            Told::Candidate { of, candidate } => wire::Event::IceCandidate(IceCandidate {
                endpoint_name: text(&of),
                sdp_m_line_index: candidate.line,
                sdp_mid: candidate.mid,
                candidate: candidate.candidate,
            }),
            Told::MediaFailed { why } => wire::Event::MediaError {
                error: media_error(&why),
            },
            // Not events of the language.
            Told::Answer { .. } | Told::Moved => return,
        };
        out.push(Effect::Send(Payload::from(event.print())));
    }

    fn close(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        self.is_closed = true;
        self.waiting = VecDeque::new();
        out.push(Effect::Close { code, reason });
    }
}

enum Refused {
    BadSender(String),
    TooLong(&'static str, usize),
}

impl Session for ClientSession {
    fn dialect(&self) -> Dialect {
        Dialect::Kurento
    }

    fn role(&self) -> &'static str {
        "participant"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.frame(frame, out);
    }

    fn binary(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        // Its text is empty if it isn't any, which is no JSON.
        let text = Payload::from_utf8(frame.clone().into_bytes());
        self.frame(&text.unwrap_or_else(|_| Payload::from("")), out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if self.is_closed {
            return;
        }
        match event {
            Event::Conference(Told::Answer { visitor, outcome }) => {
                self.answered(visitor, outcome, out);
            }
            Event::Conference(Told::Moved) => {
                self.close(1000, "the session goes on by another connection", out);
            }
            Event::Conference(told) => self.told(told, out),
            // The carrier's, and those of calls, pairs and sessions.
            _ => {}
        }
    }

    fn tell_time(&mut self, now: Instant) {
        self.now = now;
    }

    fn takes_more(&self) -> bool {
        self.waiting.len() < self.settings.waiting
            && self.waiting_bytes <= self.settings.waiting_bytes
    }

    fn next_timeout(&self) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref().filter(|_| !self.is_closed)?;
        Some(watchdog.deadline())
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.now = now;
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.close(1000, "no ping came for three intervals", out);
        }
    }

    fn custom(&mut self, outcome: Result<Payload, String>, out: &mut Vec<Effect>) {
        if self.is_closed {
            return;
        }
        let Some(current) = self.current.take() else {
            return;
        };
        let fields = outcome.and_then(|answer| {
            serde_json::from_str::<Map<String, Value>>(answer.as_str())
                .map_err(|_| "its answer is no JSON object".to_owned())
        });
        match fields {
            Ok(fields) => {
                out.push(handled(current.method, "ok"));
                let reply = Reply {
                    id: current.id,
                    session: current.session.map(session_id),
                    outcome: Ok(Success::Fields(fields)),
                };
                send(reply, out);
            }
            Err(why) => {
                let fault = Fault::HookFailed { why: &why };
                refuse(current.id, current.method, current.session, &fault, out);
            }
        }
        self.go_on(out);
    }
}

/// What the hook for custom requests gets.
fn custom(current: &Current, visitor: Visitor, place: Option<(Arc<str>, Arc<str>)>) -> Payload {
    let (room, user) = place.unzip();
    let request = json!({
        "room": room.as_deref(),
        "user": user.as_deref(),
        "sessionId": session_id(visitor),
        "params": current.custom,
    });
    Payload::from(request.to_string())
}

fn participant((user, is_publishing): (Arc<str>, bool)) -> Participant {
    Participant {
        id: text(&user),
        streams: is_publishing.then(Stream::webcam).into_iter().collect(),
    }
}

fn refuse(
    id: RequestId,
    method: &'static str,
    session: Option<Visitor>,
    fault: &Fault<'_>,
    out: &mut Vec<Effect>,
) {
    let row = fault.row();
    out.push(handled(method, row.label));
    out.push(Effect::Report {
        label: row.label,
        level: row.level,
    });
    let outcome: Outcome = Err(fault.error());
    let reply = Reply {
        id,
        session: session.map(session_id),
        outcome,
    };
    send(reply, out);
}

const fn handled(method: &'static str, outcome: &'static str) -> Effect {
    Effect::Handled { method, outcome }
}

fn send(reply: Reply, out: &mut Vec<Effect>) {
    out.push(Effect::Send(Payload::from(reply.print())));
}

fn text(name: &Arc<str>) -> String {
    str::to_owned(name)
}

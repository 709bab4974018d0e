//! The server's side of a conversation (gst.md A.3 to A.7, with the decisions there).
//!
//! A peer is sent nothing that it didn't ask for but the lines of the protocol: real clients quit on
//! any other. Whether a frame is a command or goes to a partner is for the hub to say, because
//! another peer may have called this one while the frame was on its way.

use super::wire;
use crate::dialect::cause::Cause;
use crate::dialect::{Dialect, Effect, Session};
use crate::hub::{Command, Event, Payload, Place, Unreached};

#[cfg(test)]
mod tests;

/// The server's side of a peer's connection.
#[derive(Debug, Clone)]
pub struct PeerSession {
    id_bytes: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It hasn't said who it is.
    New,
    /// The hub knows of it, and has agreed or will answer.
    Registered,
    /// It has a partner, who gets everything from now on.
    Paired,
    Closed,
}

impl PeerSession {
    /// A peer that has said nothing yet, and whose id and room may be `id_bytes` long.
    #[must_use]
    pub const fn new(id_bytes: usize) -> Self {
        Self {
            id_bytes,
            state: State::New,
        }
    }

    fn frame(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        let otherwise = match self.state {
            State::New => return self.hello(frame, out),
            State::Registered => wire::request(frame, self.id_bytes),
            State::Paired => None,
            State::Closed => return,
        };
        out.push(Effect::Hub(Command::ToPartner {
            frame: frame.clone(),
            otherwise,
        }));
    }

    fn hello(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        match wire::hello(frame, self.id_bytes) {
            Ok(id) => {
                self.state = State::Registered;
                out.push(Effect::Hub(Command::Register {
                    id,
                    info: None,
                    holds_viewers: false,
                }));
            }
            Err(cause) => self.refuse(&cause, out),
        }
    }

    fn refuse(&mut self, cause: &Cause<'_>, out: &mut Vec<Effect>) {
        let row = cause.row();
        out.push(Effect::Report {
            label: row.label,
            level: row.level,
        });
        if let Some(text) = &row.gstreamer.text {
            out.push(Effect::Send(wire::error(text)));
        }
        if let Some(code) = row.gstreamer.close {
            self.close(code, row.gstreamer.reason, out);
        }
    }

    fn close(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        self.state = State::Closed;
        out.push(Effect::Close { code, reason });
    }
}

impl Session for PeerSession {
    fn dialect(&self) -> Dialect {
        Dialect::GStreamer
    }

    fn role(&self) -> &'static str {
        "peer"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.frame(frame, out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if self.state == State::Closed {
            return;
        }
        let mut send = |frame| out.push(Effect::Send(frame));
        match event {
            Event::FromPartner { payload } => send(payload),
            Event::FromMember { from, payload } => send(wire::message(&from, &payload)),
            Event::Registered => send(Payload::from(wire::HELLO)),
            Event::RegistrationRefused(error) => self.refuse(&Cause::from(&error), out),
            Event::Evicted => self.refuse(&Cause::Evicted, out),
            Event::Paired => {
                self.state = State::Paired;
                send(Payload::from(wire::SESSION_OK));
            }
            Event::PairedBy => self.state = State::Paired,
            Event::PairRefused(error) => self.refuse(&Cause::from(&error), out),
            Event::PartnerLeft => self.close(1000, "", out),
            Event::Joined { members } => send(wire::room_ok(&members)),
            Event::JoinRefused(error) => self.refuse(&Cause::from(&error), out),
            Event::MemberJoined(member) => send(wire::joined(&member)),
            Event::MemberLeft(member) => send(wire::left(&member)),
            Event::Members(members) => send(wire::members(&members)),
            Event::NotReached { to, why } => {
                let cause = match why {
                    Unreached::Absent => Cause::Absent { id: to.as_str() },
                    Unreached::NotInRoom => Cause::NotAMember { id: &to },
                };
                self.refuse(&cause, out);
            }
            Event::NoPartner { frame, place } => {
                let mistake = match place {
                    Place::Room => Some(wire::mistake_in_room(&frame)),
                    Place::Idle | Place::Pair => wire::mistake(&frame),
                };
                if let Some(cause) = mistake {
                    self.refuse(&cause, out);
                }
            }
            // The carrier's, and those of calls.
            _ => {}
        }
    }
}

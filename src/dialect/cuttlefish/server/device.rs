//! `/register_device`.

use std::sync::Arc;

use super::super::wire::{self, ClientId, FromDevice};
use super::{Settings, refuse};
use crate::dialect::cause::Cause;
use crate::dialect::{Dialect, Effect, Session};
use crate::hub::{Command, EndpointId, Event, Payload, Undelivered};

/// The server's side of a device's connection (cuttlefish.md A2).
#[derive(Debug)]
pub struct DeviceSession {
    settings: Arc<Settings>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked of the hub.
    Fresh,
    /// The hub knows of it, and has agreed or will answer.
    Registered(EndpointId),
    Closed,
}

impl DeviceSession {
    /// A device that has said nothing yet.
    #[must_use]
    pub const fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            state: State::Fresh,
        }
    }

    fn message(&mut self, message: FromDevice<'_>, out: &mut Vec<Effect>) {
        match (&self.state, message) {
            (
                State::Fresh,
                FromDevice::Register {
                    id,
                    info,
                    files_port,
                    holds_viewers,
                },
            ) => {
                self.state = State::Registered(id.clone());
                out.extend(files_port.map(Effect::FilesPort));
                out.push(Effect::Hub(Command::Register {
                    id,
                    info,
                    holds_viewers: holds_viewers || self.settings.unguarded_devices,
                }));
            }
            (State::Fresh, FromDevice::Forward { .. }) => self.refuse(&Cause::NotRegistered, out),
            (State::Registered(id), FromDevice::Register { .. }) => {
                let id = id.clone();
                self.refuse(&Cause::AlreadyRegistered { id: &id }, out);
            }
            (
                State::Registered(_),
                FromDevice::Forward {
                    client: ClientId::Call(call),
                    payload,
                },
            ) => {
                out.push(Effect::Hub(Command::ToCaller { call, payload }));
            }
            (
                State::Registered(_),
                FromDevice::Forward {
                    client: ClientId::Impossible(number),
                    ..
                },
            ) => {
                self.refuse(&Cause::NoSuchCaller { number }, out);
            }
            (State::Closed, _) => {}
        }
    }

    fn refuse(&mut self, cause: &Cause<'_>, out: &mut Vec<Effect>) {
        if refuse(cause, out) {
            self.state = State::Closed;
        }
    }
}

impl Session for DeviceSession {
    fn dialect(&self) -> Dialect {
        Dialect::Cuttlefish
    }

    fn role(&self) -> &'static str {
        "device"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match FromDevice::parse(frame) {
            Ok(message) => self.message(message, out),
            Err(cause) => self.refuse(&cause, out),
        }
    }

    fn binary(&mut self, _: &Payload, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::Closed) {
            self.refuse(&Cause::Binary, out);
        }
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match event {
            Event::Registered => out.push(Effect::Send(self.settings.config.clone())),
            Event::RegistrationRefused(error) => self.refuse(&Cause::from(&error), out),
            Event::Evicted => self.refuse(&Cause::Evicted, out),
            Event::FromCaller {
                call,
                access,
                payload,
            } => out.push(Effect::Send(wire::client_msg(call, access, &payload))),
            // A device understands only this, whether it learns at once or by a message too late.
            Event::CallerLeft { call }
            | Event::NotDelivered {
                call,
                why: Undelivered::CallerLeft,
            } => {
                out.push(Effect::Send(wire::client_disconnected(call)));
            }
            Event::NotDelivered {
                call,
                why: Undelivered::NoSuchCall,
            } => {
                self.refuse(
                    &Cause::NoSuchCaller {
                        number: &call.to_string(),
                    },
                    out,
                );
            }
            // The carrier's, a caller's, and those of pairs and rooms.
            _ => {}
        }
    }
}

//! `/connect_client`, and its newer relative `/devices/{id}/connect`.

use std::sync::Arc;

use super::super::wire::{self, FromClient};
use super::{Settings, refuse};
use crate::dialect::cause::Cause;
use crate::dialect::{Dialect, Effect, Session};
use crate::hub::{Access, Command, EndpointId, Event, Payload, WhenAbsent};

/// The server's side of a client's connection on `/connect_client` (cuttlefish.md A3).
#[derive(Debug)]
pub struct ClientSession {
    settings: Arc<Settings>,
    state: State,
}

/// The server's side of a client's connection on `/devices/{id}/connect` (cuttlefish.md A6): it
/// sends payloads without an envelope. Whoever accepts the connection has refused unknown devices
/// with 404 before.
#[derive(Debug)]
pub struct BareClientSession {
    device: EndpointId,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It hasn't asked for a device.
    Fresh,
    /// The hub has opened the call, or will answer; until then what the client forwards follows
    /// the call, in order.
    Calling,
    /// The device isn't here.
    Waiting,
    Closed,
}

impl ClientSession {
    /// A client that has said nothing yet.
    #[must_use]
    pub const fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            state: State::Fresh,
        }
    }

    fn message(&mut self, message: FromClient, out: &mut Vec<Effect>) {
        match (self.state, message) {
            (State::Fresh, FromClient::Connect { id }) => {
                self.state = State::Calling;
                // First of all, even if the device is unknown: the web client needs it to go on.
                out.push(Effect::Send(self.settings.config.clone()));
                let when_absent = if self.settings.wait_for_device {
                    WhenAbsent::Wait
                } else {
                    WhenAbsent::Refuse
                };
                out.push(Effect::Hub(Command::Call {
                    endpoint: id,
                    when_absent,
                    access: Access::Control,
                }));
            }
            (State::Calling | State::Waiting, FromClient::Connect { .. }) => {
                self.refuse(&Cause::AlreadyInCall, out)
            }
            (State::Calling, FromClient::Forward { payload }) => {
                out.push(Effect::Hub(Command::ToEndpoint { payload }));
            }
            (State::Fresh | State::Waiting, FromClient::Forward { .. }) => {
                self.refuse(&Cause::NotInCall, out)
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

impl Session for ClientSession {
    fn dialect(&self) -> Dialect {
        Dialect::Cuttlefish
    }

    fn role(&self) -> &'static str {
        "client"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if self.state == State::Closed {
            return;
        }
        match FromClient::parse(frame) {
            Ok(message) => self.message(message, out),
            Err(cause) => self.refuse(&cause, out),
        }
    }

    fn binary(&mut self, _: &Payload, out: &mut Vec<Effect>) {
        if self.state != State::Closed {
            self.refuse(&Cause::Binary, out);
        }
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if self.state == State::Closed {
            return;
        }
        match event {
            Event::CallOpened { info, .. } => {
                self.state = State::Calling;
                out.push(Effect::Send(wire::device_info(info.as_ref())));
            }
            Event::CallWaiting => self.state = State::Waiting,
            event => {
                if in_call(event, out) {
                    self.state = State::Closed;
                }
            }
        }
    }
}

impl BareClientSession {
    /// A client of this device.
    #[must_use]
    pub const fn new(device: EndpointId) -> Self {
        Self {
            device,
            closed: false,
        }
    }
}

impl Session for BareClientSession {
    fn dialect(&self) -> Dialect {
        Dialect::Cuttlefish
    }

    fn role(&self) -> &'static str {
        "client"
    }

    fn expects_first_message(&self) -> bool {
        false
    }

    fn opened(&mut self, out: &mut Vec<Effect>) {
        let when_absent = WhenAbsent::Refuse;
        out.push(Effect::Hub(Command::Call {
            endpoint: self.device.clone(),
            when_absent,
            access: Access::Control,
        }));
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        match wire::parse_bare(frame) {
            Ok(payload) => out.push(Effect::Hub(Command::ToEndpoint { payload })),
            Err(cause) => self.closed = refuse(&cause, out),
        }
    }

    fn binary(&mut self, _: &Payload, out: &mut Vec<Effect>) {
        if !self.closed {
            self.closed = refuse(&Cause::Binary, out);
        }
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        match event {
            Event::CallOpened { info, .. } => {
                out.push(Effect::Send(wire::bare_device_info(info.as_ref())))
            }
            event => self.closed = in_call(event, out),
        }
    }
}

/// What both kinds of clients are told of a call. Says whether the conversation ended.
fn in_call(event: Event, out: &mut Vec<Effect>) -> bool {
    match event {
        Event::FromEndpoint { payload } => {
            out.push(Effect::Send(wire::device_msg(&payload)));
            false
        }
        Event::CallRefused(error) => refuse(&Cause::from(&error), out),
        Event::EndpointLeft => refuse(&Cause::EndpointLeft, out),
        Event::Evicted => refuse(&Cause::Evicted, out),
        // The carrier's, the callers' above, an endpoint's, and those of pairs and rooms.
        _ => false,
    }
}

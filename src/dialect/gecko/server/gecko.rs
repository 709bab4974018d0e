//! `/worker`

use std::sync::Arc;

use super::wire::{self, Message};
use super::{Settings, as_text, report};
use crate::dialect::cause::Cause;
use crate::dialect::{Dialect, Effect, Session};
use crate::hub::{
    AccountId, Addressee, Command, EndpointId, Event, Namespace, Offer, Payload, SessionId, Step,
};

/// The server's side of a gecko's connection (gecko.md A3 to A5).
///
/// A gecko that makes a mistake is told with a `worker-error` and keeps its connection. With
/// [`Settings::legacy_progress_errors`] it isn't told, because the reference server never did.
#[derive(Debug)]
pub struct GeckoSession {
    settings: Arc<Settings>,
    owner: Option<AccountId>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It hasn't said who it is.
    New,
    /// The hub knows of it, and has agreed or will answer.
    Registered(EndpointId),
    Closed,
}

impl GeckoSession {
    /// A gecko that has said nothing yet, and whose account this is, if it must have one.
    #[must_use]
    pub const fn new(settings: Arc<Settings>, owner: Option<AccountId>) -> Self {
        Self {
            settings,
            owner,
            state: State::New,
        }
    }

    fn frame(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        let text = as_text(frame).unwrap_or_else(|| Payload::from(""));
        let message = Message::parse(text.as_str());
        match (&self.state, message) {
            (State::Registered(id), Some(message)) => {
                let id = id.clone();
                self.message(&id, &text, message, out);
            }
            (State::Registered(_), None) => {
                let to = Addressee::Only;
                let cause = Cause::NotAMessage {
                    text: text.as_str(),
                };
                self.mistake(None, &cause, out);
                to_session(to, Step::FatalMistake, text.clone(), out);
            }
            (_, Some(message)) => self.hello(message, out),
            // As the reference server closes, only not without a word.
            (_, None) => {
                let text = text.as_str();
                self.refuse(&Cause::NotAMessage { text }, 1011, out);
            }
        }
    }

    fn hello(&mut self, message: Message<'_>, out: &mut Vec<Effect>) {
        let action = message.action().unwrap_or_default();
        if action != "worker-hello" {
            return self.refuse(&Cause::UnknownAction { name: &action }, 1000, out);
        }
        let id = message.gecko_id();
        let id = id
            .filter(|id| id.len() <= self.settings.id_bytes)
            .and_then(|id| EndpointId::new(Namespace::Gecko, &id));
        let Some(id) = id else {
            return self.refuse(&Cause::MissingField { name: "geckoId" }, 1011, out);
        };
        let Ok(capacity) = message.capacity() else {
            return self.refuse(&Cause::MissingField { name: "capacity" }, 1011, out);
        };
        self.state = State::Registered(id.clone());
        out.push(Effect::Hub(Command::Serve(Offer {
            id,
            owner: self.owner.clone(),
            capacity,
            hears_closes: message.can(wire::HEARS_CLOSES),
        })));
    }

    fn message(
        &self,
        own: &EndpointId,
        text: &Payload,
        message: Message<'_>,
        out: &mut Vec<Effect>,
    ) {
        let kind = message.message_type().unwrap_or_default();
        let named = message.worker_id();
        let worker = named.as_deref().and_then(SessionId::parse);
        if let (Some(id), None) = (named.as_deref(), worker) {
            return self.mistake(Some(id), &Cause::NoSuchWorker { id: Some(id) }, out);
        }
        let known = match (kind.as_str(), worker) {
            ("worker-created", Some(_)) => {
                let answer = message.answer(text);
                answer.map(|answer| (message.answered(), answer))
            }
            ("worker-error", Some(_)) => Some((Step::Failed, message.failure(text))),
            ("connected", Some(_)) => Some((Step::Connected, text.clone())),
            ("ice", _) => message.candidate(text).map(|it| (Step::Message, it)),
            ("hello", None) => {
                return self.mistake(None, &Cause::AlreadyRegistered { id: own }, out);
            }
            _ => None,
        };
        let Some((step, payload)) = known else {
            let cause = Cause::NotAMessage {
                text: text.as_str(),
            };
            self.mistake(named.as_deref(), &cause, out);
            // The client hears of it too, and may go on.
            if let Some(worker) = worker {
                let to = Addressee::Session(worker);
                to_session(to, Step::Mistake, text.clone(), out);
            }
            return;
        };
        let to = match worker {
            Some(worker) => Addressee::Session(worker),
            None => match message.candidate_ufrag() {
                Some(ufrag) => Addressee::Tagged(ufrag.into()),
                None => Addressee::Latest,
            },
        };
        to_session(to, step, payload, out);
    }

    /// Tells the gecko of a mistake.
    fn mistake(&self, worker: Option<&str>, cause: &Cause<'_>, out: &mut Vec<Effect>) {
        report(cause, out);
        let row = cause.row();
        if let Some(reason) = &row.gecko.text
            && !self.settings.legacy_progress_errors
        {
            out.push(Effect::Send(wire::worker_error(worker, row.errno, reason)));
        }
    }

    fn refuse(&mut self, cause: &Cause<'_>, code: u16, out: &mut Vec<Effect>) {
        self.mistake(None, cause, out);
        let reason = cause.row().gecko.reason;
        self.state = State::Closed;
        out.push(Effect::Close { code, reason });
    }
}

impl Session for GeckoSession {
    fn dialect(&self) -> Dialect {
        Dialect::Gecko
    }

    fn role(&self) -> &'static str {
        "gecko"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.frame(frame, out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match event {
            Event::FromSession { ticket, payload } => {
                out.push(Effect::Send(payload));
                out.push(Effect::Hub(Command::Taken(ticket)));
            }
            Event::SessionClosed {
                ticket,
                session,
                why,
            } => {
                out.push(Effect::Send(wire::worker_closed(session, why)));
                out.push(Effect::Hub(Command::Taken(ticket)));
            }
            Event::NoSession { session } => {
                let id = session.map(|id| id.to_string());
                let id = id.as_deref();
                self.mistake(id, &Cause::NoSuchWorker { id }, out);
            }
            Event::RegistrationRefused(error) => {
                let cause = Cause::from(&error);
                let code = cause.row().gecko.close.unwrap_or(1000);
                self.refuse(&cause, code, out);
            }
            Event::Replaced => self.refuse(&Cause::Replaced, 4001, out),
            // The carrier's, a caller's, and those of calls, pairs and rooms. A registration is
            // answered by nothing (gecko.md A3).
            _ => {}
        }
    }
}

fn to_session(to: Addressee, step: Step, payload: Payload, out: &mut Vec<Effect>) {
    out.push(Effect::Hub(Command::ToSession { to, step, payload }));
}

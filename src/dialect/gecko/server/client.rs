//! `/`

use std::sync::Arc;

use serde::de::IgnoredAny;

use super::wire::{self, Message};
use super::{Settings, as_text, report};
use crate::config::Secret;
use crate::dialect::cause::Cause;
use crate::dialect::{Dialect, Effect, Session, Unverified};
use crate::hub::{AccountId, Command, Demand, Event, Payload, SessionId, Step};

/// The server's side of a client's connection (gecko.md A2, A5).
#[derive(Debug)]
pub struct ClientSession {
    settings: Arc<Settings>,
    worker: SessionId,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has said nothing.
    New,
    /// It has said hello; whose token it sent isn't known yet.
    Verifying {
        source: Option<Payload>,
        offer: Option<Payload>,
    },
    /// The hub knows of its demand.
    Demanded,
    Closed,
}

impl ClientSession {
    /// A client that has said nothing yet, and whose worker will have this id.
    #[must_use]
    pub const fn new(settings: Arc<Settings>, worker: SessionId) -> Self {
        Self {
            settings,
            worker,
            state: State::New,
        }
    }

    fn frame(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed | State::Verifying { .. }) {
            return;
        }
        let Some(text) = as_text(frame) else {
            return self.refuse(&Cause::NotJson { text: "" }, out);
        };
        let Some(message) = Message::parse(text.as_str()) else {
            let text = text.as_str();
            let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
            let cause = if is_json {
                Cause::Unexpected { text }
            } else {
                Cause::NotJson { text }
            };
            return self.refuse(&cause, out);
        };
        if matches!(self.state, State::New) {
            self.hello(&text, message, out);
        } else {
            self.candidate(&text, message, out);
        }
    }

    /// Only the action is looked at, and the authorization before everything else.
    fn hello(&mut self, text: &Payload, message: Message<'_>, out: &mut Vec<Effect>) {
        let action = message.action().unwrap_or_default();
        if action != "client-hello" {
            return self.refuse(&Cause::UnknownAction { name: &action }, out);
        }
        match token(message.authorization()) {
            Ok(token) => {
                self.state = State::Verifying {
                    source: message.source(text),
                    offer: message.offer(text),
                };
                out.push(Effect::Verify(token));
            }
            Err(cause) => self.refuse(&cause, out),
        }
    }

    fn candidate(&mut self, text: &Payload, message: Message<'_>, out: &mut Vec<Effect>) {
        let is_ice = message.message_type().is_some_and(|it| it == "ice")
            && message.action().is_some_and(|it| it == "client-candidate");
        let candidate = message.candidate(text).filter(|_| is_ice);
        let Some(candidate) = candidate else {
            let text = text.as_str();
            return self.refuse(&Cause::Unexpected { text }, out);
        };
        let payload = wire::client_candidate(self.worker, &candidate);
        out.push(Effect::Hub(Command::ToServer { payload }));
    }

    fn said(&mut self, step: &Step, payload: Payload, out: &mut Vec<Effect>) {
        let frame = match step {
            Step::Answer { .. } => {
                wire::worker_hello(self.worker, &payload, self.settings.ice_servers.as_ref())
            }
            Step::Message => wire::worker_candidate(self.worker, &payload),
            Step::Connected | Step::Failed => payload,
            Step::Mistake => {
                let text = payload.as_str();
                return self.refuse(&Cause::GeckoMistake { text }, out);
            }
            Step::FatalMistake => {
                let text = payload.as_str();
                return self.refuse(&Cause::GeckoNotJson { text }, out);
            }
        };
        out.push(Effect::Send(frame));
        if step.ends() {
            self.close(1000, "", out);
        }
    }

    fn refuse(&mut self, cause: &Cause<'_>, out: &mut Vec<Effect>) {
        report(cause, out);
        let row = cause.row();
        // As the reference server: what isn't about a worker that there is has no id.
        let is_of_worker = matches!(
            cause,
            Cause::GeckoMistake { .. }
                | Cause::Unanswered { .. }
                | Cause::Unconnected { .. }
                | Cause::GeckoLeft
                | Cause::Congested
                | Cause::TooManyCandidates { .. }
        );
        let id = is_of_worker.then(|| self.worker.to_string());
        if let Some(reason) = &row.gecko.text {
            out.push(Effect::Send(if self.settings.legacy_progress_errors {
                wire::progress(id.as_deref(), reason)
            } else {
                wire::worker_error(id.as_deref(), row.errno, reason)
            }));
        }
        if let Some(code) = row.gecko.close {
            self.close(code, row.gecko.reason, out);
        }
    }

    fn close(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        self.state = State::Closed;
        out.push(Effect::Close { code, reason });
    }
}

impl Session for ClientSession {
    fn dialect(&self) -> Dialect {
        Dialect::Gecko
    }

    fn role(&self) -> &'static str {
        "client"
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.frame(frame, out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match event {
            Event::SessionSaid { step, payload } => self.said(&step, payload, out),
            Event::SessionEnded(error) => self.refuse(&Cause::from(&error), out),
            // The carrier's, an endpoint's, and those of calls, pairs and rooms.
            _ => {}
        }
    }

    fn verified(&mut self, outcome: Result<AccountId, Unverified>, out: &mut Vec<Effect>) {
        let State::Verifying { source, offer } = &mut self.state else {
            return;
        };
        let demand = match (&outcome, source.take(), offer.take()) {
            (Err(error), ..) => Err(error.into()),
            (Ok(_), None, _) => Err(Cause::MissingField { name: "source" }),
            (Ok(_), _, None) => Err(Cause::MissingField {
                name: "webrtcOffer",
            }),
            (Ok(account), Some(source), Some(offer)) => Ok(Demand {
                session: self.worker,
                access: wire::access(&source),
                payload: wire::new_worker(
                    account,
                    self.worker,
                    &source,
                    &offer,
                    self.settings.ice_servers.as_ref(),
                ),
                account: account.clone(),
            }),
        };
        match demand {
            Ok(demand) => {
                self.state = State::Demanded;
                out.push(Effect::Hub(Command::Demand(demand)));
            }
            Err(cause) => self.refuse(&cause, out),
        }
    }
}

/// The token of an authorization: a scheme in whatever case, one space, and the token.
fn token(authorization: Option<String>) -> Result<Secret, Cause<'static>> {
    let authorization = authorization.filter(|it| !it.is_empty());
    let authorization = authorization.ok_or(Cause::NoAuthorization)?;
    match authorization.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() =>
        {
            Ok(Secret::new(token.trim()))
        }
        _ => Err(Cause::NotBearer),
    }
}

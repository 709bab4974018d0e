//! What a device's viewers and a gecko's pages have in common: one session, what receives its media,
//! and what is done in it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::events::Events;
use super::link::{Link, LinkError};
use super::observe::Moment;
use super::reception::{Receiver, Reception};
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::media::{MediaError, Session, SessionConfig, SessionEvent, SessionEvents, Stats};

/// How long the other side may take to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broken connection may take to mend itself.
const MEND_TIMEOUT: Duration = Duration::from_secs(15);

/// Something to do in the session.
#[derive(Debug)]
pub enum Order {
    /// Send a text on the channel of this label.
    Text(String, String),
    /// Send bytes on the channel of this label.
    Binary(String, Bytes),
    /// Offer anew, as a page does for its microphone.
    Offer,
    /// Tell how the session is doing.
    Stats(oneshot::Sender<Stats>),
}

/// Why nothing is seen, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// There is no connection to the server.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server, or through it the other side, refused.
    #[error("{0}")]
    Refused(String),
    /// No gecko is registered.
    #[error("the server has no gecko")]
    NoGecko,
    /// The session failed here.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// No connection came about, or it broke.
    #[error("{0}")]
    NotConnected(String),
}

/// The session.
pub(super) struct Watching {
    pub(super) session: Session,
    events: SessionEvents,
    pub(super) receiver: Receiver,
    connected: bool,
    /// When to give up.
    deadline: Option<Instant>,
    told: Option<mpsc::Sender<SessionEvent>>,
}

/// What happens in the session.
pub(super) enum Happening {
    /// Something of the session's own.
    Event(SessionEvent),
    /// It is time to tell how the session is doing.
    Report,
    /// It took too long.
    Late,
    /// It is over.
    Over,
}

/// Ends what is left of a conversation, whose outcome is `result`.
pub(super) async fn finish(
    result: Result<(), WatchError>,
    watching: Option<Watching>,
    link: Option<Link>,
) -> Result<(), WatchError> {
    if let Some(watching) = watching {
        watching.close(result.as_ref().err()).await?;
    }
    if let Some(link) = link {
        link.close().await;
    }
    result
}

impl Watching {
    /// Starts a session that receives as `reception` says. `told` is told what happens in it, and
    /// misses what it doesn't take.
    pub(super) async fn start(
        reception: &Reception,
        config: SessionConfig,
        told: Option<mpsc::Sender<SessionEvent>>,
    ) -> Result<Self, MediaError> {
        let receiver = reception.start(None);
        let receive = receiver.receive();
        let (session, events) = Session::start(SessionConfig { receive, ..config }).await?;
        Ok(Self {
            session,
            events,
            receiver,
            connected: false,
            deadline: Some(Instant::now() + CONNECT_TIMEOUT),
            told,
        })
    }

    /// Whether there ever was a connection.
    pub(super) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Happening {
        let deadline = self.deadline;
        tokio::select! {
            event = self.events.recv() => event.map_or(Happening::Over, Happening::Event),
            () = self.receiver.due() => Happening::Report,
            () = super::conversation::until(deadline) => Happening::Late,
        }
    }

    /// Takes note; a candidate of ours that is to be sent.
    pub(super) async fn happened(
        &mut self,
        happening: Happening,
    ) -> Result<Option<Candidate>, WatchError> {
        let event = match happening {
            Happening::Event(event) => event,
            Happening::Report => {
                // Nobody listens to lines: who watches is told in person.
                let events = Events::new(Vec::new());
                self.receiver.report(&self.session, &events).await;
                return Ok(None);
            }
            Happening::Late => {
                let verdict = self.session.give_up();
                let why = verdict.to_string();
                self.receiver
                    .tell_sight(|| Some(Moment::Trouble(Box::new(verdict))));
                return Err(WatchError::NotConnected(why));
            }
            Happening::Over => {
                return Err(WatchError::NotConnected("the session is over".to_owned()));
            }
        };
        self.receiver.tell_sight(|| Moment::of(&event));
        match event {
            SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } => {
                return Ok(Some(Candidate {
                    candidate,
                    mid,
                    mline_index: Some(mline_index),
                }));
            }
            SessionEvent::Connected => (self.connected, self.deadline) = (true, None),
            SessionEvent::Disconnected => {
                self.deadline = Some(Instant::now() + MEND_TIMEOUT);
            }
            SessionEvent::Failed { ref why } => {
                return Err(WatchError::NotConnected(why.clone()));
            }
            _ => {}
        }
        if let Some(told) = &self.told {
            let _ = told.try_send(event);
        }
        Ok(None)
    }

    /// Answers an offer.
    pub(super) async fn answer(&mut self, offer: &Sdp) -> Result<Sdp, MediaError> {
        let answer = self.session.answer(offer.as_str()).await?;
        self.receiver.tell_sight(|| Some(Moment::Negotiated));
        Ok(Sdp::new(answer))
    }

    /// Takes the answer to our offer.
    pub(super) async fn accept_answer(&mut self, answer: &Sdp) -> Result<(), MediaError> {
        self.session.accept_answer(answer.as_str()).await?;
        self.receiver.tell_sight(|| Some(Moment::Negotiated));
        Ok(())
    }

    /// Takes a candidate of the other side.
    pub(super) fn candidate(&mut self, it: &Candidate) {
        let line = &it.candidate;
        self.receiver
            .tell_sight(|| Some(Moment::RemoteCandidate(line.clone())));
        let index = it.mline_index.unwrap_or(0);
        self.session.add_candidate(index, it.mid.as_deref(), line);
    }

    /// Does something in the session; an offer that is to be sent.
    pub(super) async fn obey(&mut self, order: Order) -> Result<Option<Sdp>, MediaError> {
        let sent = match order {
            Order::Text(channel, text) => self.session.send_text(&channel, &text),
            Order::Binary(channel, bytes) => self.session.send_binary(&channel, bytes),
            Order::Offer => return Ok(Some(Sdp::new(self.session.offer().await?))),
            Order::Stats(tell) => {
                let _ = tell.send(self.session.stats().await?);
                return Ok(None);
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a message was not sent");
        }
        Ok(None)
    }

    /// Ends the session; `failed` is why.
    pub(super) async fn close(self, failed: Option<&WatchError>) -> Result<(), MediaError> {
        if let Some(error) = failed {
            let why = error.to_string();
            self.receiver.tell_sight(|| Some(Moment::Failed(why)));
        }
        self.session.close().await;
        self.receiver.finish(&Events::new(Vec::new())).await
    }
}

/// What happens in the session; never without one. Cancel-safe.
pub(super) async fn next(watching: &mut Option<Watching>) -> Happening {
    match watching {
        Some(watching) => watching.next().await,
        None => std::future::pending().await,
    }
}

/// The next frame; never without a connection. Cancel-safe.
pub(super) async fn receive(link: &mut Option<Link>) -> Result<String, LinkError> {
    match link {
        Some(link) => link.receive().await.map(|frame| frame.as_str().to_owned()),
        None => std::future::pending().await,
    }
}

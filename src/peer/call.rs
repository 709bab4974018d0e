//! A peer for calls between two, in GStreamer's dialect: it waits for a call or makes one.
//!
//! One task owns the signaling connection, another the media. The two end together: the dialect
//! hangs up by closing the connection, and to be available again a peer registers anew.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, error_span};

use super::backoff::Backoff;
use super::conversation::{Conversation, INBOX, Number, Opening, Outcome, Shared, until};
use super::events::Events;
use super::link::{Dialer, Link, LinkError};
use crate::dialect::gstreamer::client::{self, CallClient, CallEvent, PeerId, Refusal};
use crate::dialect::gstreamer::payload::{Message, PayloadError};
use crate::media::{Codec, MediaError};

pub use super::conversation::{Lines, Media};

/// Where peers register; the reference server takes every path.
pub const PATH: &str = "/";

/// Messages that wait to be sent to the server; more are lost.
const OUTBOX: usize = 256;
/// How long the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the media of a call may take to end, with its file.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(12);

/// What a caller or callee is.
pub struct Options {
    /// The id to register under.
    pub id: PeerId,
    /// Whom to call; without it, a call is waited for.
    pub partner: Option<PeerId>,
    /// Ask the partner of our call to make the offer.
    pub remote_offers: bool,
    /// Try until there is a server, and the partner is there and free.
    pub wait: bool,
    /// After a call, register again.
    pub keep: bool,
    /// The label of the data channel that comes with our offer. Without one the offer doesn't bundle
    /// either, because old peers can't.
    pub channel: Option<String>,
    /// What is sent and received.
    pub media: Media,
    /// What to send over the data channel.
    pub lines: Lines,
    /// Who gets channel messages and reports, as lines of JSON.
    pub events: Vec<mpsc::Sender<Arc<str>>>,
}

/// Why there was no call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The id isn't free.
    #[error("the id {0} is taken at this server; choose another one with --id")]
    IdTaken(PeerId),
    /// Nobody has the partner's id.
    #[error("{0} is not registered at this server; add --wait to wait for it")]
    NotFound(PeerId),
    /// The partner is in another call, or in a room.
    #[error("{0} is busy, in another call or in a room; add --wait to try until it is free")]
    Busy(PeerId),
    /// The server refused something else.
    #[error("the server says: {0}")]
    Server(String),
    /// The connection to the server failed or ended before there was a call.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// There was a call, but media never flowed.
    #[error("the call did not come about: {0}")]
    NotConnected(String),
    /// The call is over, but its recording isn't complete.
    #[error("the recording is not complete")]
    Recording(#[source] MediaError),
}

/// A peer for calls, ready to register.
pub struct Caller {
    id: PeerId,
    partner: Option<PeerId>,
    opening: Opening,
    wait: bool,
    keep: bool,
    shared: Arc<Shared>,
    lines: Lines,
    number: Number,
}

/// The end of the process's work, whoever asks for it.
type Stop<'a, F> = Pin<&'a mut F>;

/// How one registration ended.
enum End {
    /// We were asked to stop, and did.
    Stopped(Result<(), CallError>),
    /// There was a call.
    Hung(Result<(), CallError>),
    /// There was none.
    Idle(CallError),
}

/// One registration.
struct Registration {
    client: CallClient,
    outgoing: mpsc::Receiver<(Number, Message)>,
    replies: mpsc::Sender<(Number, Message)>,
    call: Option<Call>,
    /// Until when the server has to answer.
    answer_by: Option<Instant>,
    /// When to call once more.
    again: Option<Instant>,
    backoff: Backoff,
}

/// The call's conversation.
struct Call {
    inbox: Option<mpsc::Sender<Message>>,
    task: JoinHandle<Outcome>,
    /// What the partner did wrong.
    fault: Option<String>,
}

impl Caller {
    /// Prepares a peer.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            id: options.id,
            partner: options.partner,
            opening: if options.remote_offers {
                Opening::AskForOffer
            } else {
                Opening::Offer
            },
            wait: options.wait,
            keep: options.keep,
            shared: Arc::new(Shared {
                media: options.media,
                events: Arc::new(Events::new(options.events)),
                // Old peers can take neither.
                bundle: options.channel.is_some(),
                tcp: false,
                channel: options.channel,
                codec: None,
                wanted: Codec::ALL.to_vec(),
                sound_first: false,
            }),
            lines: options.lines,
            number: 0,
        }
    }

    /// Registers, and calls or waits; until the call is over, or for ever if it was told to keep on,
    /// or until `shutdown` ends. Then the partner is told goodbye and files are complete.
    ///
    /// # Errors
    /// If there was no call, or its recording isn't complete.
    #[tracing::instrument(level = "error", name = "call", skip_all, fields(id = %self.id))]
    pub async fn run<F: Future<Output = ()>>(
        mut self,
        dialer: Dialer,
        shutdown: F,
    ) -> Result<(), CallError> {
        tokio::pin!(shutdown);
        let mut backoff = Backoff::default();
        let mut recorded = Ok(());
        loop {
            let error = match self.register(&dialer, shutdown.as_mut()).await {
                End::Stopped(result) => return recorded.and(result),
                End::Hung(result) if !self.keep => return result,
                End::Hung(Err(error @ CallError::Recording(_))) => {
                    // It is logged; there may be better luck with the next call.
                    recorded = recorded.and(Err(error));
                    backoff.reset();
                    None
                }
                End::Hung(Ok(())) => {
                    backoff.reset();
                    None
                }
                End::Hung(Err(error)) => Some(error),
                End::Idle(error) if self.keep || self.wait => Some(error),
                End::Idle(error) => return Err(error),
            };
            // Even after a good call: two peers that keep calling each other shall not spin.
            let wait = backoff.next(fastrand::f64());
            if let Some(error) = error {
                tracing::warn!(%error, retry_ms = wait.as_millis(), "no call");
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.as_mut() => return recorded,
            }
        }
    }

    async fn register<F: Future<Output = ()>>(
        &mut self,
        dialer: &Dialer,
        mut stop: Stop<'_, F>,
    ) -> End {
        let dialed = tokio::select! {
            dialed = dialer.dial() => dialed,
            () = stop.as_mut() => return End::Stopped(Ok(())),
        };
        let mut link = match dialed {
            Ok(link) => link,
            Err(error) => return End::Idle(error.into()),
        };
        self.shared.media.ice.renew();
        let (replies, outgoing) = mpsc::channel(OUTBOX);
        let mut registration = Registration {
            client: CallClient::new(&self.id),
            outgoing,
            replies,
            call: None,
            answer_by: None,
            again: None,
            backoff: Backoff::default(),
        };
        let error = tokio::select! {
            error = self.serve(&mut registration, dialer, &mut link) => Some(error),
            () = stop.as_mut() => None,
        };
        let (ended, ()) = tokio::join!(self.hang_up(registration.call), link.close());
        match (error, ended) {
            (None, Some(Err(error @ CallError::Recording(_)))) => End::Stopped(Err(error)),
            (None, _) => End::Stopped(Ok(())),
            (Some(_), Some(ended)) => End::Hung(ended),
            (Some(error), None) => End::Idle(error),
        }
    }

    /// Serves one connection until it or the call ends; why, if there was no call.
    async fn serve(
        &mut self,
        registration: &mut Registration,
        dialer: &Dialer,
        link: &mut Link,
    ) -> CallError {
        registration.answer_by = Some(Instant::now() + ANSWER_TIMEOUT);
        if let Err(error) = link.send(registration.client.opened()).await {
            return error.into();
        }
        loop {
            let (again, answer_by) = (registration.again, registration.answer_by);
            let mut frames = Vec::new();
            tokio::select! {
                frame = link.receive() => match frame {
                    Ok(frame) => {
                        let event = registration.client.frame(&frame);
                        match self.event(registration, dialer, event) {
                            Ok(reply) => frames.extend(reply),
                            Err(error) => return error,
                        }
                    }
                    Err(LinkError::Closed { code, reason })
                        if client::is_id_refused(code, &reason) =>
                    {
                        return CallError::IdTaken(self.id.clone());
                    }
                    Err(error) => return error.into(),
                },
                Some((_, message)) = registration.outgoing.recv() => frames.push(message.to_text()),
                () = over(&registration.call) => return CallError::NotConnected(String::new()),
                () = until(again) => {
                    registration.again = None;
                    frames.extend(self.dial_partner(registration));
                }
                () = until(answer_by) => return LinkError::Timeout(ANSWER_TIMEOUT).into(),
            }
            for frame in frames {
                if let Err(error) = link.send(frame).await {
                    return error.into();
                }
            }
        }
    }

    /// What happens at the server; a frame to answer with, or why this registration ends.
    fn event(
        &mut self,
        registration: &mut Registration,
        dialer: &Dialer,
        event: CallEvent,
    ) -> Result<Option<String>, CallError> {
        registration.answer_by = None;
        match event {
            CallEvent::Registered => {
                tracing::info!(id = %self.id, server = %dialer.url(), "registered");
                self.shared.media.reception.registered();
                return Ok(self.dial_partner(registration));
            }
            CallEvent::Opened => {
                let partner = self.partner.clone();
                registration.call = Some(self.start(registration, partner, self.opening));
            }
            CallEvent::Refused(refusal) => {
                let error = self.refused(refusal);
                if !self.wait && !self.keep {
                    return Err(error);
                }
                let wait = registration.backoff.next(fastrand::f64());
                tracing::info!(%error, retry_ms = wait.as_millis(), "no call yet");
                registration.again = Some(Instant::now() + wait);
            }
            CallEvent::FromPartner(message) => {
                if registration.call.is_none() {
                    tracing::info!("called");
                    registration.call = Some(self.start(registration, None, Opening::Listen));
                }
                if let Some(call) = &mut registration.call {
                    call.deliver(message);
                }
            }
            CallEvent::ServerError(text) => return Err(CallError::Server(text)),
            CallEvent::Unreadable(why) => return Err(CallError::Server(why)),
        }
        Ok(None)
    }

    fn dial_partner(&self, registration: &mut Registration) -> Option<String> {
        let call = registration.client.call(self.partner.as_ref()?)?;
        registration.answer_by = Some(Instant::now() + ANSWER_TIMEOUT);
        Some(call)
    }

    fn refused(&self, refusal: Refusal) -> CallError {
        match (refusal, self.partner.clone()) {
            (Refusal::NotFound, Some(partner)) => CallError::NotFound(partner),
            (Refusal::Busy, Some(partner)) => CallError::Busy(partner),
            (Refusal::Other(text), _) => CallError::Server(text),
            (refusal, None) => CallError::Server(format!("{refusal:?}")),
        }
    }

    fn start(
        &mut self,
        registration: &Registration,
        partner: Option<PeerId>,
        opening: Opening,
    ) -> Call {
        self.number += 1;
        let (inbox, messages) = mpsc::channel(INBOX);
        let lines = std::mem::replace(&mut self.lines, Lines::Ended);
        let session = error_span!(
            "session",
            peer = partner.as_ref().map_or("caller", PeerId::as_str)
        );
        let conversation = Conversation::new(
            self.number,
            partner.map(|partner| partner.as_str().into()),
            Arc::clone(&self.shared),
            registration.replies.clone(),
            lines,
        );
        Call {
            inbox: Some(inbox),
            task: tokio::spawn(conversation.run(opening, messages).instrument(session)),
            fault: None,
        }
    }

    /// Ends the conversation and waits for its files. `None` if there was no call.
    async fn hang_up(&mut self, call: Option<Call>) -> Option<Result<(), CallError>> {
        let Call { inbox, task, fault } = call?;
        drop(inbox);
        let not_connected = |why: &str| Some(Err(CallError::NotConnected(why.to_owned())));
        let outcome = match timeout(HANG_UP_TIMEOUT, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => return not_connected(&format!("its session died: {error}")),
            Err(_) => return not_connected("its session did not end in time"),
        };
        self.lines = outcome.lines;
        if let Some(error) = outcome.recording {
            return Some(Err(CallError::Recording(error)));
        }
        if outcome.connected {
            return Some(Ok(()));
        }
        let why = outcome.why.or(fault);
        not_connected(why.as_deref().unwrap_or("the other side hung up"))
    }
}

impl Call {
    /// Passes a partner's message to the conversation. What the conversation can't take ends it.
    fn deliver(&mut self, message: Result<Message, PayloadError>) {
        let why = match (message, &self.inbox) {
            // Others may do.
            (Err(error @ PayloadError::Candidate(_)), _) => {
                return tracing::debug!(%error, "a candidate is left out");
            }
            (Ok(message), Some(inbox)) => match inbox.try_send(message) {
                Ok(()) => return,
                // It is over; that is noticed elsewhere.
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    "the other side sends more than its session takes".to_owned()
                }
            },
            (Err(error), _) => error.to_string(),
            (Ok(_), None) => return,
        };
        tracing::warn!(%why, "the call ends");
        self.fault.get_or_insert(why);
        self.inbox = None;
    }
}

/// Waits until the conversation is over, or to be ended; never without one.
async fn over(call: &Option<Call>) {
    let Some(call) = call else {
        return std::future::pending().await;
    };
    // A conversation drops its inbox when it ends, before its files are complete.
    if let Some(inbox) = &call.inbox {
        inbox.closed().await;
    }
}

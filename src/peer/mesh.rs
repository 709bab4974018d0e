//! A peer in a multi-party room of GStreamer's dialect: media goes directly to every member.
//!
//! One task owns the signaling connection and joins anew for ever; one task for each member owns its
//! media session. All of them share the encoders. Media with a member goes on while the server is
//! away; who meets again in the room starts over with each other. So do members whose connection with
//! each other broke: who made the first offer makes another one, until the other leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, error_span};

use super::backoff::Backoff;
use super::conversation::{Conversation, INBOX, Lines, Number, Opening, Outcome, Shared, until};
use super::events::Events;
use super::link::{Dialer, Link, LinkError};
use crate::dialect::gstreamer::client::{self, PeerId, RoomClient, RoomEvent, RoomId};
use crate::dialect::gstreamer::payload::{Message, PayloadError};
use crate::media::{Codec, MediaError};

pub use super::conversation::Media;

/// Where peers register; the reference server takes every path.
pub const PATH: &str = "/";

/// Members at once; more are not talked to. A full mesh of so many is beyond any machine.
const MAX_MEMBERS: usize = 64;
/// Messages to all members that wait to be sent to the server; more are lost.
const OUTBOX: usize = 1024;
/// How long the server may take to let us in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long all sessions may take to end, with their files.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);

/// What a member is.
pub struct Options {
    /// The id to register under.
    pub id: PeerId,
    /// The room to join.
    pub room: RoomId,
    /// What is sent and received.
    pub media: Media,
    /// Who gets channel messages and reports, as lines of JSON.
    pub events: Vec<mpsc::Sender<Arc<str>>>,
}

/// Why a peer can't be in its room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The id isn't free.
    #[error("the id {0} is taken at this server; choose another one with --id")]
    IdTaken(PeerId),
    /// The server doesn't let us in.
    #[error("the server doesn't let us into the room {room}: {why}")]
    Refused {
        /// The room.
        room: RoomId,
        /// In the server's words.
        why: String,
    },
    /// We left, but a recording isn't complete.
    #[error("a recording is not complete")]
    Recording(#[source] MediaError),
}

/// A peer for rooms, ready to join.
pub struct Mesh {
    id: PeerId,
    room: RoomId,
    shared: Arc<Shared>,
}

/// The running peer.
struct Running {
    id: PeerId,
    room: RoomId,
    client: RoomClient,
    shared: Arc<Shared>,
    members: HashMap<PeerId, Member>,
    /// Members whose connection broke, and when to offer them another one.
    broken: HashMap<PeerId, Broken>,
    sessions: JoinSet<Outcome>,
    replies: mpsc::Sender<(Number, Message)>,
    number: Number,
    /// The number of this connection to the server.
    stay: u64,
    /// Until when the server has to answer.
    answer_by: Option<Instant>,
    /// Whether we were ever in the room.
    welcome: bool,
    /// The first recording that is not complete.
    recording: Option<MediaError>,
}

/// A member that we talk with.
struct Member {
    number: Number,
    inbox: mpsc::Sender<Message>,
    /// The connection in which it began; the server knows nothing of earlier ones.
    stay: u64,
    /// Whether we made the first offer.
    is_ours: bool,
    /// Which of the member's sessions it is, once the member said it.
    theirs: Option<String>,
}

/// A connection that broke.
#[derive(Default)]
struct Broken {
    backoff: Backoff,
    /// When to try again; nothing while we do.
    again: Option<Instant>,
}

/// Why one connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error("the server says: {0}")]
    Server(String),
}

impl Mesh {
    /// Prepares a peer.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            id: options.id,
            room: options.room,
            shared: Arc::new(Shared {
                media: options.media,
                events: Arc::new(Events::new(options.events)),
                channel: None,
                bundle: false,
                tcp: false,
                codec: None,
                wanted: Codec::ALL.to_vec(),
                // mp-webrtc-sendrecv.c sends nothing but Opus as 96.
                sound_first: true,
            }),
        }
    }

    /// Joins the room, talks with everyone in it, and joins anew whenever the connection is lost,
    /// until `shutdown` ends. Then the others are told goodbye and files are complete.
    ///
    /// # Errors
    /// If the server refuses the id or the room at the first time, or a recording isn't complete.
    #[tracing::instrument(level = "error", name = "mesh", skip_all, fields(id = %self.id, room = %self.room))]
    pub async fn run(
        self,
        dialer: Dialer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), MeshError> {
        let (replies, mut outgoing) = mpsc::channel(OUTBOX);
        let mut running = Running {
            client: RoomClient::new(&self.id, &self.room),
            id: self.id,
            room: self.room,
            shared: self.shared,
            members: HashMap::new(),
            broken: HashMap::new(),
            sessions: JoinSet::new(),
            replies,
            number: 0,
            stay: 0,
            answer_by: None,
            welcome: false,
            recording: None,
        };
        let result = tokio::select! {
            error = running.stay_joined(&dialer, &mut outgoing) => Err(error),
            () = shutdown => Ok(()),
        };
        result.and(running.stop().await)
    }
}

impl Running {
    async fn stay_joined(
        &mut self,
        dialer: &Dialer,
        outgoing: &mut mpsc::Receiver<(Number, Message)>,
    ) -> MeshError {
        let mut backoff = Backoff::default();
        loop {
            let mut joined = false;
            let lost = match dialer.dial().await {
                Ok(mut link) => {
                    let lost = self.serve(dialer, &mut link, outgoing).await;
                    joined = self.answer_by.is_none();
                    link.close().await;
                    lost
                }
                Err(error) => error.into(),
            };
            let error = match lost {
                Lost::Mesh(error) if !self.welcome => return error,
                lost => lost,
            };
            if joined {
                backoff.reset();
            }
            let wait = backoff.next(fastrand::f64());
            tracing::warn!(server = %dialer.url(), %error, retry_ms = wait.as_millis(), "no signaling");
            sleep(wait).await;
        }
    }

    /// Serves one connection; why it ended.
    async fn serve(
        &mut self,
        dialer: &Dialer,
        link: &mut Link,
        outgoing: &mut mpsc::Receiver<(Number, Message)>,
    ) -> Lost {
        self.stay += 1;
        self.shared.media.ice.renew();
        self.answer_by = Some(Instant::now() + ANSWER_TIMEOUT);
        let mut reply = Some(self.client.opened());
        loop {
            if let Some(frame) = reply.take()
                && let Err(error) = link.send(frame).await
            {
                return error.into();
            }
            let again = self.broken.values().filter_map(|it| it.again).min();
            tokio::select! {
                frame = link.receive() => match frame {
                    Ok(frame) => {
                        let event = self.client.frame(&frame);
                        match self.event(dialer, event) {
                            Ok(frame) => reply = frame,
                            Err(lost) => return lost,
                        }
                    }
                    Err(LinkError::Closed { code, reason })
                        if client::is_id_refused(code, &reason) =>
                    {
                        return MeshError::IdTaken(self.id.clone()).into();
                    }
                    Err(error) => return error.into(),
                },
                Some((number, message)) = outgoing.recv() => reply = self.envelope(number, &message),
                Some(ended) = self.sessions.join_next() => self.forget(ended),
                () = until(again) => self.mend(),
                () = until(self.answer_by) => return LinkError::Timeout(ANSWER_TIMEOUT).into(),
            }
        }
    }

    /// What happens in the room; a frame to answer with, or why this connection ends.
    fn event(&mut self, dialer: &Dialer, event: RoomEvent) -> Result<Option<String>, Lost> {
        match event {
            RoomEvent::Registered => return Ok(Some(self.client.join())),
            RoomEvent::Joined(others) => {
                (self.welcome, self.answer_by) = (true, None);
                self.shared.media.reception.registered();
                tracing::info!(id = %self.id, room = %self.room, server = %dialer.url(), members = others.len(), "joined the room");
                self.broken.clear();
                for other in others {
                    self.talk(other, Opening::Offer);
                }
            }
            RoomEvent::Refused(why) => {
                let room = self.room.clone();
                return Err(MeshError::Refused { room, why }.into());
            }
            RoomEvent::PeerJoined(peer) => {
                tracing::info!(%peer, "joined");
                // It starts over, if it is one that we know.
                self.gone(&peer);
            }
            RoomEvent::PeerLeft(peer) => {
                tracing::info!(%peer, "left");
                self.gone(&peer);
            }
            RoomEvent::FromPeer { from, message } => self.message(&from, message),
            RoomEvent::ServerError(error) if self.answer_by.is_some() => {
                return Err(Lost::Server(error));
            }
            // A message crossed the goodbye of its addressee.
            RoomEvent::ServerError(error) => tracing::debug!(%error, "the server reports an error"),
            RoomEvent::Unreadable(why) if self.answer_by.is_some() => {
                return Err(Lost::Server(why));
            }
            RoomEvent::Unreadable(why) => tracing::warn!(%why, "an unreadable message"),
        }
        Ok(None)
    }

    /// Passes a member's message to its session. Only an offer, or the wish for one, begins one.
    fn message(&mut self, from: &PeerId, message: Result<Message, PayloadError>) {
        let message = match message {
            Ok(message) => message,
            // Others may do.
            Err(error @ PayloadError::Candidate(_)) => {
                return tracing::debug!(peer = %from, %error, "a candidate is left out");
            }
            Err(error) => {
                tracing::warn!(peer = %from, %error, "the member's session ends");
                self.members.remove(from);
                return;
            }
        };
        let theirs = match &message {
            Message::Offer(sdp) | Message::Answer(sdp) => sdp.session_id().map(String::from),
            _ => None,
        };
        let is_offer = matches!(message, Message::Offer(_));
        let current = self.members.get(from).is_some_and(|member| {
            // For the member the connection broke, and for us not yet.
            let starts_over = is_offer && member.theirs.is_some() && member.theirs != theirs;
            member.stay == self.stay && !member.inbox.is_closed() && !starts_over
        });
        if !current {
            if !is_offer && !matches!(message, Message::OfferRequest) {
                tracing::debug!(peer = %from, "a message without an offer before it");
                return;
            }
            self.broken.remove(from);
            self.talk(from.clone(), Opening::Listen);
        }
        let Some(member) = self.members.get_mut(from) else {
            return;
        };
        member.theirs = theirs.or(member.theirs.take());
        if let Err(mpsc::error::TrySendError::Full(_)) = member.inbox.try_send(message) {
            tracing::warn!(peer = %from, "the member sends more than its session takes; it is dropped");
            self.members.remove(from);
        }
    }

    /// Begins a session with a member, in place of an old one.
    fn talk(&mut self, peer: PeerId, opening: Opening) {
        self.members.remove(&peer);
        if self.sessions.len() >= MAX_MEMBERS {
            tracing::warn!(%peer, MAX_MEMBERS, "too many members; this one is not talked to");
            return;
        }
        self.number += 1;
        let (inbox, messages) = mpsc::channel(INBOX);
        let conversation = Conversation::new(
            self.number,
            Some(peer.as_str().into()),
            Arc::clone(&self.shared),
            self.replies.clone(),
            Lines::Ended,
        );
        let session = error_span!("session", peer = peer.as_str());
        self.sessions
            .spawn(conversation.run(opening, messages).instrument(session));
        let member = Member {
            number: self.number,
            inbox,
            stay: self.stay,
            is_ours: opening == Opening::Offer,
            theirs: None,
        };
        self.members.insert(peer, member);
    }

    /// Forgets a member.
    fn gone(&mut self, peer: &PeerId) {
        self.members.remove(peer);
        self.broken.remove(peer);
    }

    /// Offers new sessions in place of broken ones.
    fn mend(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (peer, broken) in &mut self.broken {
            if broken.again.take_if(|again| *again <= now).is_some() {
                due.push(peer.clone());
            }
        }
        for peer in due {
            self.talk(peer, Opening::Offer);
        }
    }

    /// The frame that brings a session's message to its member; `None` from a session that is not
    /// the member's any more.
    fn envelope(&self, number: Number, message: &Message) -> Option<String> {
        let (peer, _) = self
            .members
            .iter()
            .find(|(_, member)| member.number == number && member.stay == self.stay)?;
        Some(self.client.to_peer(peer, message))
    }

    fn forget(&mut self, ended: Result<Outcome, JoinError>) {
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(error) => return tracing::error!(%error, "a member's session died"),
        };
        if self.recording.is_none() {
            self.recording = outcome.recording;
        }
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.number == outcome.number);
        let Some(peer) = found.map(|(peer, _)| peer.clone()) else {
            return;
        };
        let member = self.members.remove(&peer);
        let is_ours = member.is_some_and(|it| it.is_ours && it.stay == self.stay);
        // What never worked isn't a broken connection.
        let worked = outcome.connected || self.broken.contains_key(&peer);
        if is_ours && worked && outcome.why.is_some() {
            let broken = self.broken.entry(peer).or_default();
            if outcome.connected {
                broken.backoff.reset();
            }
            let wait = broken.backoff.next(fastrand::f64());
            broken.again = Some(Instant::now() + wait);
        }
    }

    /// Lets every session end.
    async fn stop(mut self) -> Result<(), MeshError> {
        self.members.clear();
        let all = async {
            while let Some(ended) = self.sessions.join_next().await {
                self.forget(ended);
            }
        };
        if timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        self.recording
            .map_or(Ok(()), |error| Err(MeshError::Recording(error)))
    }
}

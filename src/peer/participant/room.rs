//! The room as one participant knows it: who publishes, and the media sessions with the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument as _, error_span};

use super::{Lost, Options, RoomError};
use crate::dialect::gstreamer::payload::Message;
use crate::dialect::kurento::client::{Event, Output, Publisher, Refusal, RoomClient};
use crate::dialect::kurento::errors::Code;
use crate::dialect::negotiation::Sdp;
use crate::media::{Codec, Kind, MediaError};
use crate::peer::backoff::Backoff;
use crate::peer::conversation::{
    Conversation, INBOX, Lines, Media, Number, Opening, Outcome, Shared,
};
use crate::peer::events::Events;

/// Publishers from which we receive at once; the others wait until one of these leaves.
const RECEPTIONS: usize = 64;
/// Sessions at once, with those that are about to end; no more are begun.
const SESSIONS: usize = 2 * RECEPTIONS;
/// Publishers that are known; more are ignored.
const KNOWN: usize = 1024;
/// Being put out so soon after an error of our media means that it was because of that.
const CONSEQUENCE: Duration = Duration::from_secs(5);
/// How often in a row the server may refuse a publisher's media, until it isn't asked again.
const REFUSALS: u32 = 5;

/// See the module.
pub(super) struct Room {
    options: Options,
    wanted: Vec<Codec>,
    events: Arc<Events>,
    client: RoomClient,
    /// What is to be done.
    out: Vec<Output>,
    publishers: BTreeMap<String, Known>,
    received: HashMap<String, Live>,
    published: Option<Live>,
    air: Air,
    /// Or the number of the session that has them.
    lines: Result<Lines, Number>,
    pub(super) sessions: JoinSet<Outcome>,
    replies: mpsc::Sender<(Number, Message)>,
    number: Number,
    /// Whether we were ever in the room.
    welcome: bool,
    /// Whether we were in it over this connection.
    met: bool,
    /// When the server told of an error of our media.
    failed: Option<Instant>,
    /// The first recording that is not complete.
    pub(super) recording: Option<MediaError>,
}

/// A publisher that we know of.
struct Known {
    publisher: Publisher,
    retry: Retry,
    refusals: u32,
}

/// What is published.
struct Air {
    /// The codecs for pictures that can be tried; none without pictures.
    codecs: Vec<Codec>,
    /// How many of them were tried in vain.
    tried: usize,
    retry: Retry,
    /// Whether the room ever took it.
    taken: bool,
}

/// When to try something again.
#[derive(Default)]
struct Retry {
    /// Whether it was tried before, so that the server may still have a part of it.
    tried: bool,
    backoff: Backoff,
    /// At once if there is no time.
    not_before: Option<Instant>,
}

/// A session that goes on.
struct Live {
    number: Number,
    inbox: mpsc::Sender<Message>,
}

/// What somebody wrote.
#[derive(Serialize)]
struct Chat<'a> {
    peer: &'a str,
    chat: &'a str,
}

impl Retry {
    fn later(&mut self) {
        let wait = self.backoff.next(fastrand::f64());
        self.not_before = Some(Instant::now() + wait);
    }

    /// A session ended: it was a good one, or none came about.
    fn after(&mut self, connected: bool) {
        if connected {
            self.backoff.reset();
        }
        self.later();
    }

    fn is_due(&self) -> bool {
        self.not_before.is_none_or(|at| at <= Instant::now())
    }
}

impl Room {
    pub(super) fn new(
        mut options: Options,
        wanted: Vec<Codec>,
        replies: mpsc::Sender<(Number, Message)>,
    ) -> Self {
        let listeners = std::mem::take(&mut options.events);
        let user = options.is_one_of_many.then(|| options.user.as_str().into());
        let source = options.media.source.as_ref();
        let codecs = source.map_or_else(Vec::new, |source| source.codecs(Kind::Video));
        let now = Instant::now().into_std();
        let channels = options.channel.is_some();
        Self {
            events: Arc::new(Events::new(listeners).of(user)),
            client: RoomClient::new(&options.user, &options.room, channels, now),
            lines: Ok(std::mem::replace(&mut options.lines, Lines::Ended)),
            options,
            wanted,
            out: Vec::new(),
            publishers: BTreeMap::new(),
            received: HashMap::new(),
            published: None,
            air: Air {
                codecs,
                tried: 0,
                retry: Retry::default(),
                taken: false,
            },
            sessions: JoinSet::new(),
            replies,
            number: 0,
            welcome: false,
            met: false,
            failed: None,
            recording: None,
        }
    }

    /// Whether we are in the room, and the server hears us.
    pub(super) fn is_in(&self) -> bool {
        self.client.is_in()
    }

    /// Whether we were in the room over this connection.
    pub(super) const fn met(&self) -> bool {
        self.met
    }

    /// Whether the server hasn't let us leave yet.
    pub(super) fn is_leaving(&self) -> bool {
        self.client.next_timeout().is_some()
    }

    pub(super) fn connected(&mut self) {
        self.met = false;
        self.options.media.ice.renew();
        self.client.opened(now(), &mut self.out);
    }

    /// The connection is gone. What waited to be sent is lost, what happened counts.
    pub(super) fn disconnected(&mut self) {
        self.client.closed(&mut self.out);
        for output in self.outputs() {
            if let Output::Event(event @ Event::Answered { .. }) = output
                && let Err(error) = self.event(event)
            {
                tracing::debug!(%error, "a request is lost with the connection");
            }
        }
    }

    pub(super) fn frame(&mut self, frame: &str) {
        self.client.frame(now(), frame, &mut self.out);
    }

    pub(super) fn tick(&mut self) {
        self.client.tick(now(), &mut self.out);
    }

    pub(super) fn leave(&mut self) {
        self.client.leave(now(), &mut self.out);
    }

    /// What is to be done now.
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// When the client wants to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.client.next_timeout().map(Instant::from_std)
    }

    /// When something is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let retries = self.publishers.values().map(|known| &known.retry);
        retries
            .chain([&self.air.retry])
            .filter(|retry| !retry.is_due())
            .filter_map(|retry| retry.not_before)
            .min()
    }

    /// Begins what should go on and doesn't.
    pub(super) fn fill(&mut self) {
        if !self.is_in() {
            return;
        }
        self.publish();
        if !self.options.media.reception.is_wanted() {
            return;
        }
        let free = RECEPTIONS.saturating_sub(self.received.len());
        let waiting: Vec<_> = self
            .publishers
            .iter()
            .filter(|(user, known)| {
                !self.received.contains_key(*user)
                    && known.refusals < REFUSALS
                    && known.retry.is_due()
            })
            .map(|(user, _)| user.clone())
            .take(free)
            .collect();
        for user in waiting {
            let shared = self.receiving();
            if let Some(known) = self.publishers.get_mut(&user)
                && std::mem::replace(&mut known.retry.tried, true)
            {
                self.client.unsubscribe(&known.publisher, &mut self.out);
            }
            if let Some(live) = self.begin(&user, shared) {
                self.received.insert(user, live);
            }
        }
    }

    /// What happened in the room; why this connection ends.
    pub(super) fn event(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Joined(publishers) => self.joined(publishers),
            Event::Resumed => {
                self.met = true;
                tracing::info!(user = self.options.user, "back in the room");
            }
            Event::Refused(why) => return Err(self.refused(why)),
            Event::Answered { tag, outcome } => return self.answered(tag, outcome),
            Event::Came(peer) => tracing::info!(peer, "joined"),
            Event::Published(publisher) => self.appeared(publisher),
            Event::Unpublished(peer) => {
                tracing::info!(peer, "publishes no more");
                self.vanished(&peer);
            }
            Event::Left(peer) => {
                tracing::info!(peer, "left");
                self.vanished(&peer);
            }
            Event::Candidate { user, candidate } => {
                self.pass(&user, Message::Candidate(candidate));
            }
            Event::Message { user, text } => self.events.tell(&Chat {
                peer: &user,
                chat: &text,
            }),
            Event::MediaError(error) => {
                self.failed = Some(Instant::now());
                tracing::warn!(user = self.options.user, error, "the server's media failed");
            }
            Event::Evicted if self.failed.is_some_and(|at| at.elapsed() < CONSEQUENCE) => {
                return Err(Lost::Server("what we published was dead".to_owned()));
            }
            Event::Evicted => {
                let (user, room) = self.names();
                return Err(RoomError::Evicted { user, room }.into());
            }
            Event::Closed => {
                let (_, room) = self.names();
                return Err(RoomError::Closed { room }.into());
            }
            Event::Gone => {}
            Event::Objection(why) => tracing::debug!(%why, "the server refuses a request"),
            Event::Lost(why) => return Err(Lost::Server(why.to_owned())),
            Event::Unreadable => tracing::debug!("an unreadable message"),
        }
        Ok(())
    }

    /// A session wants something said to the server.
    pub(super) fn said(&mut self, number: Number, message: Message) {
        let is = |live: &Live| live.number == number;
        let out = &mut self.out;
        if self.published.as_ref().is_some_and(is) {
            match message {
                Message::Offer(sdp) => {
                    let loopback = self.options.loopback;
                    self.client.publish(now(), number, &sdp, loopback, out);
                }
                Message::Candidate(it) => self.client.candidate(&self.options.user, &it, out),
                _ => {}
            }
            return;
        }
        let found = self.received.iter().find(|(_, live)| is(live));
        let Some(known) = found.and_then(|(user, _)| self.publishers.get(user)) else {
            return;
        };
        let publisher = &known.publisher;
        match message {
            Message::Offer(sdp) => self.client.receive(now(), number, publisher, &sdp, out),
            Message::Candidate(it) => self.client.candidate(&publisher.user, &it, out),
            _ => {}
        }
    }

    /// A session is over.
    pub(super) fn ended(&mut self, ended: Result<Outcome, JoinError>) {
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(error) => return tracing::error!(%error, "a session died"),
        };
        if self.recording.is_none() {
            self.recording = outcome.recording;
        }
        if matches!(self.lines, Err(number) if number == outcome.number) {
            self.lines = Ok(outcome.lines);
        }
        let is = |live: &Live| live.number == outcome.number;
        if self.published.as_ref().is_some_and(is) {
            self.published = None;
            self.air.retry.after(outcome.connected);
            if self.is_in() {
                // At once: a publisher without media would be put out of its room.
                self.client.unpublish(&mut self.out);
                self.air.retry.tried = false;
            }
            return;
        }
        let user = self.received.iter().find(|(_, live)| is(live));
        let Some(user) = user.map(|(user, _)| user.clone()) else {
            return;
        };
        self.received.remove(&user);
        if let Some(known) = self.publishers.get_mut(&user) {
            known.retry.after(outcome.connected);
        }
    }

    /// Lets every session end; those that are to be waited for.
    pub(super) fn hang_up(&mut self) -> JoinSet<Outcome> {
        self.received.clear();
        self.published = None;
        std::mem::take(&mut self.sessions)
    }

    fn joined(&mut self, publishers: Vec<Publisher>) {
        let Options { user, room, .. } = &self.options;
        tracing::info!(user, room, publishers = publishers.len(), "joined the room");
        (self.welcome, self.met) = (true, true);
        self.options.media.reception.registered();
        self.published = None;
        self.received.clear();
        self.publishers.clear();
        self.air.tried = 0;
        self.air.retry = Retry::default();
        for publisher in publishers {
            self.appeared(publisher);
        }
    }

    fn appeared(&mut self, publisher: Publisher) {
        let user = publisher.user.clone();
        tracing::info!(peer = user, "publishes");
        if self.publishers.len() >= KNOWN && !self.publishers.contains_key(&user) {
            return tracing::warn!(
                peer = user,
                KNOWN,
                "too many publishers; this one is ignored"
            );
        }
        // Some servers tell once more of who published while we joined (kurento.md A7).
        let tried = self.received.remove(&user).is_some();
        let known = Known {
            publisher,
            retry: Retry {
                tried,
                ..Retry::default()
            },
            refusals: 0,
        };
        self.publishers.insert(user, known);
    }

    fn vanished(&mut self, user: &str) {
        self.publishers.remove(user);
        self.received.remove(user);
    }

    fn refused(&self, why: Refusal) -> Lost {
        if self.welcome {
            return Lost::Server(why.to_string());
        }
        let (user, room) = self.names();
        Lost::Room(if why.code() == Some(Code::EXISTING_USER_IN_ROOM) {
            RoomError::NameTaken { user, room }
        } else {
            RoomError::Refused { user, room, why }
        })
    }

    fn answered(&mut self, number: Number, outcome: Result<Sdp, Refusal>) -> Result<(), Lost> {
        let is = |live: &Live| live.number == number;
        if self.published.as_ref().is_some_and(is) {
            return match outcome {
                Ok(sdp) => {
                    tracing::info!(user = self.options.user, "publishing");
                    self.air.taken = true;
                    let user = self.options.user.clone();
                    self.pass(&user, Message::Answer(sdp));
                    Ok(())
                }
                Err(why) => self.not_published(why),
            };
        }
        let found = self.received.iter().find(|(_, live)| is(live));
        let Some(user) = found.map(|(user, _)| user.clone()) else {
            return Ok(());
        };
        match outcome {
            Ok(sdp) => {
                if let Some(known) = self.publishers.get_mut(&user) {
                    known.refusals = 0;
                }
                self.pass(&user, Message::Answer(sdp));
            }
            Err(why) => {
                // So that it says why it ends.
                self.pass(&user, Message::Error(why.to_string()));
                self.received.remove(&user);
                if let Some(known) = self.publishers.get_mut(&user) {
                    known.refusals += 1;
                    known.retry.later();
                    let last = known.refusals >= REFUSALS;
                    tracing::warn!(peer = user, %why, last, "its media is refused");
                }
            }
        }
        Ok(())
    }

    /// The room doesn't take what we publish: in this codec, or not now, or not at all.
    fn not_published(&mut self, why: Refusal) -> Result<(), Lost> {
        self.published = None;
        self.air.tried += 1;
        let wrong_codec = why.code() == Some(Code::MEDIA_SDP);
        if wrong_codec && self.air.tried < self.air.codecs.len() {
            tracing::info!(%why, "publishing in another codec");
            return Ok(());
        }
        self.air.tried = 0;
        if !self.air.taken && matches!(why, Refusal::Server { .. }) {
            let (user, room) = self.names();
            return Err(RoomError::NotPublished { user, room, why }.into());
        }
        tracing::warn!(user = self.options.user, %why, "what we publish is refused");
        self.air.retry.later();
        Ok(())
    }

    /// Publishes, if there is something to publish, and it isn't published.
    fn publish(&mut self) {
        let media = &self.options.media;
        if media.source.is_none() || self.published.is_some() || !self.air.retry.is_due() {
            return;
        }
        if self.options.channel.is_some() && self.lines.is_err() {
            // The session before still has them, and ends.
            return;
        }
        let reception = match self.options.loopback {
            true => media.reception.clone(),
            false => media.reception.without_media(),
        };
        let media = Media {
            reception,
            ..media.clone()
        };
        let shared = Shared {
            codec: self.air.codecs.get(self.air.tried).copied(),
            channel: self.options.channel.clone(),
            ..self.shared(media)
        };
        if std::mem::replace(&mut self.air.retry.tried, true) {
            // The server may still have the one before.
            self.client.unpublish(&mut self.out);
        }
        let user = self.options.user.clone();
        self.published = self.begin(&user, shared);
    }

    /// For a session that receives.
    fn receiving(&self) -> Shared {
        let media = Media {
            source: None,
            ..self.options.media.clone()
        };
        Shared {
            wanted: self.wanted.clone(),
            ..self.shared(media)
        }
    }

    fn shared(&self, media: Media) -> Shared {
        Shared {
            media,
            events: Arc::clone(&self.events),
            channel: None,
            bundle: true,
            tcp: true,
            codec: None,
            wanted: Vec::new(),
            // As browsers do (kurento.md B).
            sound_first: true,
        }
    }

    /// Begins a session; `None` if there are too many.
    fn begin(&mut self, user: &str, shared: Shared) -> Option<Live> {
        if self.sessions.len() >= SESSIONS {
            return None;
        }
        self.number += 1;
        let lines = match (&shared.channel, &mut self.lines) {
            (Some(_), Ok(_)) => std::mem::replace(&mut self.lines, Err(self.number)),
            _ => Ok(Lines::Ended),
        };
        let lines = lines.unwrap_or(Lines::Ended);
        let (inbox, messages) = mpsc::channel(INBOX);
        let conversation = Conversation::new(
            self.number,
            Some(user.into()),
            Arc::new(shared),
            self.replies.clone(),
            lines,
        );
        let session = error_span!("session", peer = user);
        let run = conversation.run(Opening::Offer, messages);
        self.sessions.spawn(run.instrument(session));
        Some(Live {
            number: self.number,
            inbox,
        })
    }

    /// Passes a message to the session of this user. What one that doesn't keep up misses, it misses.
    fn pass(&mut self, user: &str, message: Message) {
        let live = match user == self.options.user {
            true => self.published.as_ref(),
            false => self.received.get(user),
        };
        if let Some(live) = live
            && let Err(mpsc::error::TrySendError::Full(_)) = live.inbox.try_send(message)
        {
            tracing::warn!(peer = user, "the server sends more than a session takes");
        }
    }

    fn names(&self) -> (String, String) {
        (self.options.user.clone(), self.options.room.clone())
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

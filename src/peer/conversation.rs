//! One partner, in a call or in a room: the media session with it, from the first message to the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::events::{Content, Event, Events};
use super::ice::Ice;
use super::observe::Moment;
use super::reception::{Receiver, Reception};
use crate::dialect::gstreamer::payload::Message;
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::media::{
    Codec, Kind, MediaError, Session, SessionConfig, SessionEvent, SessionEvents, Source,
    StreamConfig, Verdict,
};

/// Messages that wait for one session; a partner that sends more is dropped.
pub(super) const INBOX: usize = 256;
/// How long a partner may take from the first message to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broken connection may take to mend itself.
const MEND_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that wait in a channel before reading more lines pauses.
const CHANNEL_BUFFER: u64 = 1024 * 1024;
/// How often a paused reader looks again.
const CHANNEL_PAUSE: Duration = Duration::from_millis(10);
/// Channels that are known as open at once; more are read, but nothing is sent to them.
const CHANNELS: usize = 64;

/// Told when a partner never offers.
const NO_OFFER: &str = "the other side made no offer within 30 s";

/// What a peer sends, and what it does with what it receives.
#[derive(Clone)]
pub struct Media {
    /// What is played to every partner; nothing if there is none.
    pub source: Option<Arc<Source>>,
    /// What becomes of received media.
    pub reception: Reception,
    /// How it finds its way; this dialect tells nothing of ICE servers.
    pub ice: Arc<Ice>,
}

/// What all conversations of a peer share.
pub(super) struct Shared {
    pub(super) media: Media,
    pub(super) events: Arc<Events>,
    /// The label of the data channel that comes with our offers.
    pub(super) channel: Option<String>,
    /// Whether our offers put everything on one transport. Old peers can't take that.
    pub(super) bundle: bool,
    /// Whether the partner is a server, which takes media over TCP.
    pub(super) tcp: bool,
    /// The codec that our pictures are sent in, whatever the source prefers.
    pub(super) codec: Option<Codec>,
    /// What our offers ask for where we send nothing of the kind ourselves.
    pub(super) wanted: Vec<Codec>,
    /// Whether sound comes first in our offers, and so gets the first payload type.
    pub(super) sound_first: bool,
}

/// Who begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// We offer.
    Offer,
    /// We ask the partner to offer.
    AskForOffer,
    /// The partner offers, or asks us to.
    Listen,
}

/// Lines to send over a data channel. Reading starts with the first one that is wanted.
pub enum Lines {
    /// Not read yet; this starts it.
    Waiting(fn() -> mpsc::Receiver<String>),
    /// Being read.
    Open(mpsc::Receiver<String>),
    /// There are none (any more).
    Ended,
}

/// A conversation is known by its number, so that what an old one still has to say isn't taken for
/// a new one's.
pub(super) type Number = u64;

/// See the module.
pub(super) struct Conversation {
    number: Number,
    /// Unknown to who is called.
    partner: Option<Arc<str>>,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<(Number, Message)>,
    lines: Lines,
    live: Option<Live>,
    /// Open channels, the first one first.
    channels: Vec<String>,
    connected: bool,
    /// When to give up.
    deadline: Option<Instant>,
    began: Instant,
}

/// The session, and what receives its media.
struct Live {
    session: Session,
    events: SessionEvents,
    receiver: Receiver,
    /// An offer was made or answered.
    negotiated: bool,
}

/// How a conversation ended.
pub(super) struct Outcome {
    pub(super) number: Number,
    /// Whether media could ever flow.
    pub(super) connected: bool,
    /// What went wrong; `None` if the partner or we just left.
    pub(super) why: Option<String>,
    /// Why there is no complete recording.
    pub(super) recording: Option<MediaError>,
    /// The lines that were not sent.
    pub(super) lines: Lines,
}

/// What happens in a session.
enum Happening {
    Event(SessionEvent),
    /// It is time to tell what was counted.
    Report,
    /// A line is to be sent.
    Line(String),
    Over,
}

/// The conversation is over.
enum End {
    Left,
    Failed(String),
}

impl From<MediaError> for End {
    fn from(error: MediaError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Lines {
    /// The next line; never if there is none. Cancel-safe.
    async fn next(&mut self) -> String {
        if let Self::Waiting(start) = self {
            *self = Self::Open(start());
        }
        if let Self::Open(lines) = self {
            match lines.recv().await {
                Some(line) => return line,
                None => *self = Self::Ended,
            }
        }
        std::future::pending().await
    }
}

impl Conversation {
    pub(super) fn new(
        number: Number,
        partner: Option<Arc<str>>,
        shared: Arc<Shared>,
        outgoing: mpsc::Sender<(Number, Message)>,
        lines: Lines,
    ) -> Self {
        Self {
            number,
            partner,
            shared,
            outgoing,
            lines,
            live: None,
            channels: Vec::new(),
            connected: false,
            deadline: None,
            began: Instant::now(),
        }
    }

    /// Talks until `inbox` ends, the connection does, or something fails.
    pub(super) async fn run(
        mut self,
        opening: Opening,
        mut inbox: mpsc::Receiver<Message>,
    ) -> Outcome {
        let end = match self.open(opening).await {
            Ok(()) => self.talk(&mut inbox).await,
            Err(end) => end,
        };
        // Tells the task that owns the signaling, before files are complete.
        drop(inbox);
        let why = match end {
            End::Left => {
                tracing::info!("conversation ended");
                None
            }
            End::Failed(why) => {
                tracing::warn!(%why, "conversation ended");
                Some(why)
            }
        };
        let mut recording = None;
        if let Some(mut live) = self.live.take() {
            if let Some(why) = &why {
                live.receiver
                    .tell_sight(|| Some(Moment::Failed(why.clone())));
            }
            live.receiver.look(&live.session);
            live.session.close().await;
            recording = live.receiver.finish(&self.shared.events).await.err();
        }
        Outcome {
            number: self.number,
            connected: self.connected,
            why,
            recording,
            lines: self.lines,
        }
    }

    async fn open(&mut self, opening: Opening) -> Result<(), End> {
        match opening {
            Opening::Offer => return self.offer().await,
            Opening::AskForOffer => self.send(Message::OfferRequest),
            Opening::Listen => {}
        }
        self.deadline = Some(self.began + CONNECT_TIMEOUT);
        Ok(())
    }

    async fn talk(&mut self, inbox: &mut mpsc::Receiver<Message>) -> End {
        loop {
            let deadline = self.deadline;
            let result = tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.message(message).await,
                    None => Err(End::Left),
                },
                happening = next(&mut self.live, &mut self.lines, &self.channels) => {
                    self.happening(happening).await
                }
                () = until(deadline) => Err(self.give_up()),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// The time is over.
    fn give_up(&self) -> End {
        let Some(live) = &self.live else {
            return End::Failed(NO_OFFER.to_owned());
        };
        let verdict = live.session.give_up();
        live.receiver
            .tell_sight(|| Some(Moment::Trouble(Box::new(verdict.clone()))));
        self.trouble(&verdict);
        End::Failed(verdict.to_string())
    }

    async fn happening(&mut self, happening: Happening) -> Result<(), End> {
        match happening {
            Happening::Event(event) => return self.event(event),
            Happening::Over => return Err(End::Left),
            Happening::Report => {
                if let Some(live) = &mut self.live {
                    let Live {
                        receiver, session, ..
                    } = live;
                    receiver.report(session, &self.shared.events).await;
                }
            }
            Happening::Line(line) => self.line(&line),
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<(), End> {
        let negotiated = self.live.as_ref().is_some_and(|live| live.negotiated);
        match (message, &mut self.live) {
            (Message::Offer(sdp), _) => return self.answer(&sdp).await,
            (Message::OfferRequest, _) if negotiated => {
                tracing::debug!("an offer is asked for once more");
            }
            (Message::OfferRequest, _) => return self.offer().await,
            (Message::Answer(sdp), Some(live)) => {
                live.session.accept_answer(sdp.as_str()).await?;
                live.receiver.tell_sight(|| Some(Moment::Negotiated));
            }
            (Message::Answer(_), None) => {
                return Err(End::Failed(
                    "the other side answers an offer that was never made".to_owned(),
                ));
            }
            (Message::Candidate(it), Some(live)) => {
                live.receiver
                    .tell_sight(|| Some(Moment::RemoteCandidate(it.candidate.clone())));
                live.session.add_candidate(
                    it.mline_index.unwrap_or(0),
                    it.mid.as_deref(),
                    &it.candidate,
                );
            }
            (Message::Candidate(_), None) => {
                tracing::debug!("a candidate before any description");
            }
            (Message::Error(error), _) => {
                return Err(End::Failed(format!("the other side gives up: {error}")));
            }
            (Message::Other, _) => tracing::debug!("an unknown message"),
        }
        Ok(())
    }

    async fn offer(&mut self) -> Result<(), End> {
        let live = self.live(true).await?;
        live.negotiated = true;
        let offer = live.session.offer().await?;
        self.send(Message::Offer(Sdp::new(offer)));
        Ok(())
    }

    async fn answer(&mut self, offer: &Sdp) -> Result<(), End> {
        let live = self.live(false).await?;
        live.negotiated = true;
        let answer = live.session.answer(offer.as_str()).await?;
        live.receiver.tell_sight(|| Some(Moment::Negotiated));
        self.send(Message::Answer(Sdp::new(answer)));
        Ok(())
    }

    /// The session, made now if there is none.
    async fn live(&mut self, ours: bool) -> Result<&mut Live, End> {
        if self.live.is_none() {
            self.began = Instant::now();
            self.deadline = Some(self.began + CONNECT_TIMEOUT);
            let partner = self.partner.as_deref();
            let receiver = self.shared.media.reception.start(partner);
            // Only who offers makes a channel; two of one label would only confuse.
            let channel = self.shared.channel.clone().filter(|_| ours);
            let config = SessionConfig {
                name: self.name(),
                channels: channel.into_iter().collect(),
                bundle: self.shared.bundle,
                ..self.shared.session(receiver.receive()).await
            };
            let (session, events) = Session::start(config).await?;
            self.live = Some(Live {
                session,
                events,
                receiver,
                negotiated: false,
            });
        }
        self.live.as_mut().ok_or(End::Left)
    }

    fn event(&mut self, event: SessionEvent) -> Result<(), End> {
        if let Some(live) = &self.live {
            live.receiver.tell_sight(|| Moment::of(&event));
        }
        match event {
            SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } => self.send(Message::Candidate(Candidate {
                candidate,
                mid,
                mline_index: Some(mline_index),
            })),
            SessionEvent::Connected => {
                let is_back = std::mem::replace(&mut self.connected, true);
                self.deadline = None;
                let milliseconds = self.began.elapsed().as_millis();
                match is_back {
                    false => tracing::info!(milliseconds, "connected"),
                    true => tracing::info!("the connection is back"),
                }
            }
            SessionEvent::Disconnected => {
                tracing::info!("the connection is lost, for now");
                self.deadline = Some(Instant::now() + MEND_TIMEOUT);
            }
            SessionEvent::Failed { why } => return Err(End::Failed(why)),
            SessionEvent::ChannelOpen { label } => {
                tracing::info!(channel = label, "channel opened");
                if self.channels.len() < CHANNELS {
                    self.channels.push(label);
                }
            }
            SessionEvent::ChannelClosed { label } => self.channels.retain(|open| *open != label),
            SessionEvent::Text { label, text } => self.tell(&label, Content::of_text(&text)),
            SessionEvent::Binary { label, bytes } => self.tell(&label, Content::Bytes(bytes.len())),
            SessionEvent::Track { kind, .. } => {
                tracing::info!(kind = kind.name(), "media comes");
            }
            SessionEvent::Trouble { verdict } => self.trouble(&verdict),
            SessionEvent::GatheringDone | SessionEvent::Checked => {}
        }
        Ok(())
    }

    fn line(&self, line: &str) {
        if let (Some(live), Some(channel)) = (&self.live, self.channels.first())
            && let Err(error) = live.session.send_text(channel, line)
        {
            tracing::warn!(%error, "a line was not sent");
        }
    }

    fn trouble(&self, verdict: &Verdict) {
        let peer = self.partner.as_deref();
        self.shared.events.trouble(None, peer, verdict);
    }

    fn tell(&self, channel: &str, content: Content<'_>) {
        self.shared.events.tell(&Event {
            client: None,
            peer: self.partner.as_deref(),
            channel,
            content,
        });
    }

    /// Sends a message to the partner. Without signaling, or when it is far behind, there is no way.
    fn send(&self, message: Message) {
        if self.outgoing.try_send((self.number, message)).is_err() {
            tracing::debug!("a message is lost: there is no signaling");
        }
    }

    /// For the log.
    fn name(&self) -> String {
        self.partner.as_deref().unwrap_or("caller").to_owned()
    }
}

impl Shared {
    /// What a session sends and takes. Our offers invite the other side's media only if it is wanted.
    async fn session(&self, receive: crate::media::Receive) -> SessionConfig {
        let media = &self.media;
        let mut streams = streams(media.source.as_ref());
        let is_wanted = media.reception.is_wanted();
        for stream in &mut streams {
            stream.codecs = self.codec.into_iter().collect();
            stream.codecs.retain(|codec| codec.kind() == stream.kind);
        }
        let mut wanted = self.wanted.clone();
        wanted.retain(|codec| is_wanted && !streams.iter().any(|sent| sent.kind == codec.kind()));
        if self.sound_first {
            streams.reverse();
            wanted.sort_by_key(|codec| codec.kind() == Kind::Video);
        }
        SessionConfig {
            wanted,
            streams,
            invite: is_wanted,
            tcp: self.tcp,
            receive,
            ..media.ice.session(&[]).await
        }
    }
}

/// A source's pictures, then its sound.
pub(super) fn streams(source: Option<&Arc<Source>>) -> Vec<StreamConfig> {
    let there = |kind: &Kind| source.is_some_and(|source| source.has(*kind));
    let stream = |kind| {
        Some(StreamConfig {
            source: Arc::clone(source?),
            // One for both, so that a page keeps sound and pictures together.
            stream_id: "stream_0".to_owned(),
            kind,
            codecs: Vec::new(),
        })
    };
    let kinds = [Kind::Video, Kind::Audio].into_iter();
    kinds.filter(there).filter_map(stream).collect()
}

/// What happens in the session, or with it; never without one.
async fn next(live: &mut Option<Live>, lines: &mut Lines, channels: &[String]) -> Happening {
    let Some(Live {
        session,
        events,
        receiver,
        ..
    }) = live
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        event = events.recv() => event.map_or(Happening::Over, Happening::Event),
        () = receiver.due() => Happening::Report,
        line = next_line(lines, session, channels.first()) => Happening::Line(line),
    }
}

/// The next line to send, once a channel is open and takes more.
async fn next_line(lines: &mut Lines, session: &Session, channel: Option<&String>) -> String {
    let Some(channel) = channel else {
        return std::future::pending().await;
    };
    while session
        .buffered_amount(channel)
        .is_some_and(|bytes| bytes > CHANNEL_BUFFER)
    {
        sleep(CHANNEL_PAUSE).await;
    }
    lines.next().await
}

/// Ends at the deadline; never without one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

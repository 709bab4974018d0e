//! A worker that was answered: its session, its script, and what goes between them.

mod steer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::steer::Recordings;
use super::Shared;
use super::bridge::{self, CONTROL, Choice, Lines};
use super::run::{End, Run, Told, send};
use super::start::{Refusal, Started};
use crate::dialect::cause::Errno;
use crate::dialect::gecko::client::WorkerId;
use crate::dialect::gecko::wire;
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::hub::Payload;
use crate::media::{ChannelError, Session, SessionEvent, SessionEvents, Verdict};
use crate::peer::conversation::until;
use crate::peer::observe::Moment;
use crate::peer::reception::Receiver;
use crate::worker::{self, Ended, Level, Limits, Message, PostError, Worker};

/// How long a client may take from its answer to a connection, with its channel.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broken connection may take to mend itself.
const MEND_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that wait in the channel before the worker's next message waits.
const CHANNEL_BUFFER: u64 = 1024 * 1024;
/// How often a channel that has something to send is looked at.
const CHANNEL_PAUSE: Duration = Duration::from_millis(10);
/// Messages each way that are passed on before the task looks at everything else again.
const BATCH: usize = 64;

/// Told when there is a connection, but no way to the worker.
const NO_CHANNEL: &str = "the client connected, but opened no data channel within 30 s";

/// See the module.
pub(super) struct Live {
    id: WorkerId,
    shared: Arc<Shared>,
    replies: mpsc::Sender<Payload>,
    began: Instant,
    session: Session,
    events: SessionEvents,
    receiver: Option<Receiver>,
    recordings: Recordings,
    script: Option<Script>,
    has_channels: bool,
    /// The server and the client know that they are connected.
    is_connected: bool,
    lines: Lines,
    /// When to give up.
    deadline: Option<Instant>,
}

/// A running script and its channel.
struct Script {
    worker: Worker,
    events: worker::Events,
    channel: Choice,
    /// What the client posted and the worker hasn't taken.
    pending: Option<Message>,
    /// What the script posted before there was a channel.
    early: Vec<Message>,
    early_bytes: usize,
    media: worker::Media,
    /// The script is to be told of its media.
    media_changed: bool,
    outlet: Outlet,
}

/// What waits in the worker's channel. The channel itself is not asked for every message.
#[derive(Default)]
struct Outlet {
    /// Bytes that waited at the last look, and all that were sent since.
    held: u64,
    /// When to look, and to tell the script.
    look_at: Option<Instant>,
}

/// What happens to a worker.
enum Happening {
    Told(Option<Told>),
    Session(Option<SessionEvent>),
    Worker(Option<worker::Event>),
    /// The worker has taken what was pending, or the news of its media.
    Posted(Result<(), PostError>),
    /// It is time to look how much waits in the channel.
    Look,
    /// It is time to take another channel.
    Choose,
    /// It is time to tell how the session is doing.
    Report,
    Late,
}

impl Live {
    pub(super) fn new(run: Run, started: Started) -> Self {
        let media = started.media;
        let script = started.script.map(|(worker, events)| Script {
            worker,
            events,
            channel: Choice::default(),
            pending: None,
            early: Vec::new(),
            early_bytes: 0,
            media,
            media_changed: false,
            outlet: Outlet::default(),
        });
        Self {
            id: run.id,
            shared: run.shared,
            replies: run.replies,
            began: run.began,
            session: started.session,
            events: started.events,
            receiver: started.receiver,
            recordings: Recordings::default(),
            script,
            has_channels: started.has_channels,
            is_connected: false,
            lines: Lines::default(),
            deadline: None,
        }
    }

    /// Answers the client's offer.
    pub(super) async fn answer(
        &mut self,
        offer: &Sdp,
        candidates: Vec<Candidate>,
    ) -> Result<(), End> {
        let answer = self.session.answer(offer.as_str()).await;
        let answer = Sdp::new(answer.map_err(Refusal::from)?);
        self.see(|| Some(Moment::Negotiated));
        self.reply(wire::worker_created(self.id.as_str(), &answer));
        for candidate in candidates {
            self.candidate(&candidate);
        }
        self.deadline = Some(Instant::now() + CONNECT_TIMEOUT);
        Ok(())
    }

    /// Lives until it, its channel, its connection or `inbox` ends.
    pub(super) async fn talk(&mut self, inbox: &mut mpsc::Receiver<Told>) -> End {
        loop {
            let happening = self.next(inbox).await;
            if let (Happening::Report, Some(receiver)) = (&happening, &mut self.receiver) {
                receiver.report(&self.session, &self.shared.events).await;
                continue;
            }
            if let Err(end) = self.happening(happening).and_then(|()| self.pass_on()) {
                return end;
            }
        }
    }

    /// What happens next. The client's messages wait while one of them does.
    async fn next(&mut self, inbox: &mut mpsc::Receiver<Told>) -> Happening {
        let deadline = self.deadline;
        let Some(script) = &mut self.script else {
            return tokio::select! {
                told = inbox.recv() => Happening::Told(told),
                event = self.events.recv() => Happening::Session(event),
                () = due(&mut self.receiver) => Happening::Report,
                () = until(deadline) => Happening::Late,
            };
        };
        let choose = script.channel.deadline();
        let is_busy = script.pending.is_some();
        let has_room = script.has_room(&self.shared.limits);
        let news = script.media_changed.then_some(&script.media);
        tokio::select! {
            told = inbox.recv() => Happening::Told(told),
            event = self.events.recv(), if !is_busy => Happening::Session(event),
            posted = post(&script.worker, script.pending.as_ref(), news) => Happening::Posted(posted),
            event = script.events.recv(), if has_room => Happening::Worker(event),
            () = until(script.outlet.look_at) => Happening::Look,
            () = until(choose) => Happening::Choose,
            () = due(&mut self.receiver) => Happening::Report,
            () = until(deadline) => Happening::Late,
        }
    }

    fn happening(&mut self, happening: Happening) -> Result<(), End> {
        match happening {
            Happening::Told(told) => {
                match told {
                    Some(Told::Candidate(candidate)) => self.candidate(&candidate),
                    // A connection that stands outlives the client's connection to the server.
                    Some(Told::Closed(_)) if self.is_connected => {}
                    Some(Told::Closed(why)) => return Err(End::Left(why)),
                    None => return Err(End::dismissed()),
                }
            }
            Happening::Session(Some(event)) => return self.event(event),
            Happening::Session(None) => return Err(End::Left("its session ended".to_owned())),
            Happening::Worker(Some(event)) => return self.worker_event(event),
            Happening::Worker(None) => return Err(End::Left("it ended".to_owned())),
            Happening::Posted(posted) => return self.posted(posted),
            Happening::Look => self.look(),
            Happening::Choose => {
                let spare = self.script.as_ref().and_then(|it| it.channel.spare(None));
                return spare.map_or(Ok(()), |label| self.choose(label));
            }
            Happening::Report => {}
            Happening::Late => return Err(self.give_up()),
        }
        Ok(())
    }

    /// Tells who looks at the session, if anybody does.
    fn see(&self, moment: impl FnOnce() -> Option<Moment>) {
        if let Some(receiver) = &self.receiver {
            receiver.tell_sight(moment);
        }
    }
}

/// Waits until it is time to tell how the session is doing; for ever if nobody wants to know.
async fn due(receiver: &mut Option<Receiver>) {
    match receiver {
        Some(receiver) => receiver.due().await,
        None => std::future::pending().await,
    }
}

impl Script {
    /// Whether the script may say something: there is a channel with room, or room to wait for one.
    fn has_room(&self, limits: &Limits) -> bool {
        match self.channel.chosen() {
            Some(_) => self.outlet.held <= CHANNEL_BUFFER,
            None => {
                self.early.len() < limits.queue_messages && self.early_bytes < limits.queue_bytes
            }
        }
    }
}

impl Live {
    /// Tells a client that is connected why its worker ends; whether it is.
    pub(super) fn tell_fatal(&mut self, why: &str) -> bool {
        self.control(bridge::fatal(why));
        self.is_connected
    }

    /// Ends the session and the script, and completes the recording.
    pub(super) async fn close(self) {
        let script = async {
            if let Some(script) = self.script {
                script.worker.stop().await;
            }
        };
        let session = async {
            self.session.close().await;
            if let Some(receiver) = self.receiver
                && let Err(error) = receiver.finish(&self.shared.events).await
            {
                tracing::warn!(%error, "the recording is not complete");
            }
            self.recordings.complete().await;
        };
        tokio::join!(script, session);
    }

    fn reply(&self, frame: Payload) {
        send(&self.replies, &self.id, frame);
    }

    fn candidate(&mut self, candidate: &Candidate) {
        let index = candidate.mline_index.unwrap_or(0);
        let mid = candidate.mid.as_deref();
        self.see(|| Some(Moment::RemoteCandidate(candidate.candidate.clone())));
        self.session.add_candidate(index, mid, &candidate.candidate);
    }

    fn event(&mut self, event: SessionEvent) -> Result<(), End> {
        self.see(|| Moment::of(&event));
        match event {
            // Later ones have no way: the client has left the server.
            SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } if !self.is_connected => {
                let candidate = Candidate {
                    candidate,
                    mid,
                    mline_index: Some(mline_index),
                };
                self.reply(wire::gecko_candidate(self.id.as_str(), &candidate));
            }
            SessionEvent::Connected if self.has_channels && !self.is_connected => {}
            SessionEvent::Connected => self.connected(),
            SessionEvent::Disconnected if self.is_connected => {
                self.deadline = Some(Instant::now() + MEND_TIMEOUT);
            }
            SessionEvent::Trouble { verdict } => self.trouble(&verdict),
            SessionEvent::Failed { why } if self.is_connected => return Err(End::Left(why)),
            SessionEvent::Failed { why } => return Err(End::failed(Errno::INTERNAL, why)),
            SessionEvent::ChannelOpen { label } => return self.opened(&label),
            SessionEvent::ChannelClosed { label } => return self.closed(&label),
            SessionEvent::Text { label, text } => return self.text(&label, text),
            SessionEvent::Binary { label, bytes } => {
                return self.post(&label, |_| Message::Binary(bytes));
            }
            SessionEvent::Track { kind, .. } => {
                tracing::info!(kind = kind.name(), "media comes");
            }
            _ => {}
        }
        Ok(())
    }

    /// The time is over.
    fn give_up(&self) -> End {
        if self.session.is_connected() && !self.is_connected {
            return End::failed(Errno::GECKO_TIMEOUT, NO_CHANNEL);
        }
        let verdict = self.session.give_up();
        self.trouble(&verdict);
        End::failed(Errno::GECKO_TIMEOUT, verdict.to_string())
    }

    fn trouble(&self, verdict: &Verdict) {
        let peer = Some(self.id.as_str());
        self.shared.events.trouble(None, peer, verdict);
    }

    /// The client can be reached, and is told so once.
    fn connected(&mut self) {
        self.deadline = None;
        if !self.is_connected {
            self.is_connected = true;
            self.reply(wire::connected(self.id.as_str()));
            let milliseconds = self.began.elapsed().as_millis();
            tracing::info!(milliseconds, "connected");
        }
    }

    fn opened(&mut self, label: &str) -> Result<(), End> {
        if label == CONTROL {
            for line in self.lines.open() {
                self.control(line);
            }
        }
        let script = self.script.as_mut();
        match script.is_some_and(|it| it.channel.opened(Instant::now(), label)) {
            true => self.choose(label.to_owned()),
            false => Ok(()),
        }
    }

    fn closed(&mut self, label: &str) -> Result<(), End> {
        if label == CONTROL {
            self.lines.close();
        }
        let chosen = self.script.as_ref().and_then(|it| it.channel.chosen());
        // A pipeline has no use for a channel, but its client may say goodbye with one.
        let own = chosen.map_or(bridge::WORKER, |channel| channel.label.as_str());
        match own == label {
            true => Err(End::Left("its channel was closed".to_owned())),
            false => Ok(()),
        }
    }

    /// Takes a channel for the worker, and sends what waited for it.
    fn choose(&mut self, label: String) -> Result<(), End> {
        let Some(script) = &mut self.script else {
            return Ok(());
        };
        let protocol = self.session.channel_protocol(&label).unwrap_or_default();
        tracing::debug!(channel = label, protocol, "channel opened");
        script.channel.choose(label, &protocol);
        let early = std::mem::take(&mut script.early);
        self.connected();
        early.into_iter().try_for_each(|message| self.send(message))
    }

    fn text(&mut self, label: &str, text: String) -> Result<(), End> {
        self.post(label, |channel| channel.inward(text))
    }

    /// Passes a message of the client to the worker; it waits if the worker has too many.
    fn post(
        &mut self,
        label: &str,
        message: impl FnOnce(&bridge::Channel) -> Message,
    ) -> Result<(), End> {
        // Who speaks on a channel means it.
        let spare = self.script.as_ref().map(|it| it.channel.spare(Some(label)));
        if let Some(Some(spare)) = spare {
            self.choose(spare)?;
        }
        let Some(script) = &mut self.script else {
            return Ok(());
        };
        let channel = script.channel.chosen();
        let Some(channel) = channel.filter(|channel| channel.label == label) else {
            tracing::debug!(channel = label, "a message on another channel");
            return Ok(());
        };
        let message = message(channel);
        match script.worker.try_post(message.clone()) {
            Err(PostError::Full) => script.pending = Some(message),
            Err(error) => return refused(error),
            Ok(()) => {}
        }
        Ok(())
    }

    /// The worker has taken the news of its media, or what was pending.
    fn posted(&mut self, posted: Result<(), PostError>) -> Result<(), End> {
        if let Some(script) = &mut self.script
            && !std::mem::take(&mut script.media_changed)
        {
            script.pending = None;
        }
        posted.or_else(refused)
    }

    fn worker_event(&mut self, event: worker::Event) -> Result<(), End> {
        match event {
            worker::Event::Message(message) => return self.send(message),
            worker::Event::Console { level, text } => {
                log(&self.id, level, &text);
                self.control(bridge::console(level, &text));
            }
            worker::Event::Error(error) => {
                tracing::warn!(%error, "uncaught");
                self.control(bridge::uncaught(&error));
            }
            worker::Event::Media(command) => self.steer(command),
            worker::Event::Ended(ended @ Ended::Closed) if self.is_connected => {
                return Err(End::Left(ended.to_string()));
            }
            worker::Event::Ended(ended) => {
                let errno = Errno::UNCAUGHT_EXCEPTION_IN_WORKER_CODE;
                return Err(End::failed(errno, ended.to_string()));
            }
        }
        Ok(())
    }

    /// Passes on what is there already. To wait for each message would cost more than the message.
    fn pass_on(&mut self) -> Result<(), End> {
        for _ in 0..BATCH {
            let Some(script) = &mut self.script else {
                break;
            };
            let theirs = match script.pending {
                Some(_) => None,
                None => self.events.try_recv(),
            };
            let has_room = script.has_room(&self.shared.limits);
            let ours = has_room.then(|| script.events.try_recv()).flatten();
            if theirs.is_none() && ours.is_none() {
                break;
            }
            theirs.map_or(Ok(()), |event| self.event(event))?;
            ours.map_or(Ok(()), |event| self.worker_event(event))?;
        }
        Ok(())
    }

    /// Looks how much waits in the channel, and tells the script.
    fn look(&mut self) {
        let Some(script) = &mut self.script else {
            return;
        };
        let channel = script.channel.chosen();
        let held = channel.and_then(|it| self.session.buffered_amount(&it.label));
        let held = held.unwrap_or(0);
        script.worker.buffered(held);
        script.outlet = Outlet {
            held,
            look_at: (held > 0).then(|| Instant::now() + CHANNEL_PAUSE),
        };
    }

    /// Sends what the script posted, or keeps it until there is a channel.
    fn send(&mut self, message: Message) -> Result<(), End> {
        let Some(script) = &mut self.script else {
            return Ok(());
        };
        let Some(channel) = script.channel.chosen() else {
            if self.has_channels {
                script.early_bytes += message.len();
                script.early.push(message);
            }
            return Ok(());
        };
        script.outlet.held += message.len() as u64;
        let is_full = script.outlet.held > CHANNEL_BUFFER;
        let look_at = &mut script.outlet.look_at;
        look_at.get_or_insert_with(|| Instant::now() + CHANNEL_PAUSE);
        let sent = match message {
            Message::Binary(bytes) => self.session.send_binary(&channel.label, bytes),
            Message::Text(text) => match channel.outward(text) {
                Ok(text) => self.session.send_text(&channel.label, &text),
                Err(error) => return self.worker_event(worker::Event::Error(error)),
            },
        };
        match sent {
            // Most of it may have left already.
            Ok(()) if is_full => {
                self.look();
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(ChannelError::NotOpen(_)) => {
                Err(End::Left("its channel is open no longer".to_owned()))
            }
            Err(error @ ChannelError::Full { .. }) => {
                Err(End::failed(Errno::LIMIT, error.to_string()))
            }
            Err(error) => {
                let message = format!("DataError: {error}");
                let uncaught = worker::Uncaught {
                    message,
                    ..worker::Uncaught::default()
                };
                self.worker_event(worker::Event::Error(uncaught))
            }
        }
    }

    /// Sends a line over the control channel, once there is one.
    fn control(&mut self, line: String) {
        if let Some(line) = self.lines.add(line)
            && let Err(error) = self.session.send_text(CONTROL, &line)
        {
            tracing::debug!(%error, "a line for the client is lost");
        }
    }
}

/// The worker takes no message.
fn refused(error: PostError) -> Result<(), End> {
    match error {
        // Its last event says why.
        PostError::Ended => Ok(()),
        error => Err(End::failed(Errno::LIMIT, error.to_string())),
    }
}

/// Posts the news of the media, or what is pending; never if there is nothing. Cancel-safe.
async fn post(
    worker: &Worker,
    pending: Option<&Message>,
    news: Option<&worker::Media>,
) -> Result<(), PostError> {
    match (news, pending) {
        (Some(media), _) => worker.media(media.clone()).await,
        (None, Some(message)) => worker.post(message.clone()).await,
        (None, None) => std::future::pending().await,
    }
}

fn log(worker: &WorkerId, level: Level, text: &str) {
    match level {
        Level::Debug => tracing::debug!(%worker, text, "console"),
        Level::Info => tracing::info!(%worker, text, "console"),
        Level::Warn => tracing::warn!(%worker, text, "console"),
        Level::Error => tracing::error!(%worker, text, "console"),
    }
}

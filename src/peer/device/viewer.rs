//! One viewer of a device: its media session, its data channels, and what it asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::adb::Adb;
use super::gate::Gate;
use super::{Shared, ViewerKey};
use crate::config::IceServer;
use crate::dialect::cuttlefish::channels::{self, Control, ControlEvent, Input, Setting};
use crate::dialect::cuttlefish::payload::{FromClient, FromDevice};
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::hub::{Access, CallNumber};
use crate::media::{MediaError, Session, SessionConfig, SessionEvent, SessionEvents, Verdict};
use crate::peer::conversation::until;
use crate::peer::events::{Content, Event};
use crate::peer::observe::{Moment, Sight};

/// How long a viewer may take from its request to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broken connection may take to mend itself.
const MEND_TIMEOUT: Duration = Duration::from_secs(15);
/// How often who looks at the session is told how it is doing.
const STATS: Duration = Duration::from_secs(1);
/// Bytes that wait in the adb channel before reading from TCP pauses.
const ADB_BUFFER: u64 = 1024 * 1024;
/// How often a paused adb transport looks again.
const ADB_PAUSE: Duration = Duration::from_millis(10);

/// Messages of one viewer that make no sense and that are told; it may send any number of them.
const COMPLAINTS: u32 = 5;

/// One viewer, from its first message to its end.
pub(super) struct Viewer {
    key: ViewerKey,
    client: CallNumber,
    gate: Gate,
    shared: Arc<Shared>,
    /// The servers of the device's own `config`.
    ice_servers: Vec<IceServer>,
    replies: mpsc::Sender<(ViewerKey, FromDevice)>,
    adb: Option<Adb>,
    /// Bytes of the photo that is arriving.
    photo: usize,
    /// How many of its messages made no sense.
    complaints: u32,
    /// When to give up.
    deadline: Option<Instant>,
    asked: Instant,
    /// Who looks at the session, and when to tell how it is doing.
    sight: Option<(Arc<dyn Sight>, Interval)>,
}

/// The viewer is over.
enum End {
    /// The viewer is gone, or the device stops.
    Left,
    /// Something failed; the viewer is told.
    Failed(String),
}

impl Viewer {
    pub(super) fn new(
        key: ViewerKey,
        access: Access,
        shared: Arc<Shared>,
        ice_servers: Vec<IceServer>,
        replies: mpsc::Sender<(ViewerKey, FromDevice)>,
    ) -> Self {
        Self {
            key,
            client: key.1,
            gate: Gate::new(access, key.1, shared.ice.metrics().cloned()),
            shared,
            ice_servers,
            replies,
            adb: None,
            photo: 0,
            complaints: 0,
            deadline: None,
            asked: Instant::now(),
            sight: None,
        }
    }

    /// Serves the viewer until `inbox` ends, its connection does, or something fails.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<FromClient>) {
        let mut session = None;
        let end = self.serve(&mut session, &mut inbox).await;
        if let Some(session) = session {
            session.close().await;
        }
        if let End::Failed(why) = &end {
            self.see(|| Some(Moment::Failed(why.clone())));
        }
        self.see(|| Some(Moment::Ended));
        match end {
            End::Left => {
                let refused = self.gate.refused();
                tracing::info!(refused, "viewer left");
            }
            End::Failed(why) => {
                tracing::warn!(%why, "the viewer's session ended");
                self.reply(FromDevice::Error(why));
            }
        }
    }

    async fn serve(
        &mut self,
        session: &mut Option<Session>,
        inbox: &mut mpsc::Receiver<FromClient>,
    ) -> End {
        let mut events = None;
        loop {
            let deadline = self.deadline;
            let result = tokio::select! {
                message = inbox.recv() => match message {
                    Some(FromClient::RequestOffer { ice_servers }) => {
                        self.begin(session, &mut events, ice_servers).await
                    }
                    Some(message) => self.message(session.as_mut(), message).await,
                    None => Err(End::Left),
                },
                event = next_event(&mut events) => match (event, session.as_ref()) {
                    (Some(event), Some(session)) => self.event(session, event),
                    _ => Err(End::Left),
                },
                bytes = next_adb(&mut self.adb, session.as_ref()) => {
                    self.adb_bytes(session.as_ref(), bytes);
                    Ok(())
                }
                () = until(deadline) => match session.as_ref() {
                    Some(session) => {
                        let verdict = session.give_up();
                        self.trouble(&verdict);
                        Err(End::Failed(verdict.to_string()))
                    }
                    None => Err(End::Left),
                },
                () = next_look(&mut self.sight) => {
                    self.look(session.as_ref()).await;
                    Ok(())
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn message(
        &mut self,
        session: Option<&mut Session>,
        message: FromClient,
    ) -> Result<(), End> {
        match (message, session) {
            (FromClient::Answer(sdp), Some(session)) => {
                session.accept_answer(sdp.as_str()).await?;
                self.see(|| Some(Moment::Negotiated));
            }
            (FromClient::Offer(sdp), Some(session)) => {
                let answer = session.answer(sdp.as_str()).await?;
                self.reply(FromDevice::Answer(Sdp::new(answer)));
            }
            (FromClient::IceCandidate(it), Some(session)) => {
                self.see(|| Some(Moment::RemoteCandidate(it.candidate.clone())));
                session.add_candidate(
                    it.mline_index.unwrap_or(0),
                    it.mid.as_deref(),
                    &it.candidate,
                );
            }
            (FromClient::Error(error), _) => {
                self.complain(&format_args!("the viewer reports an error: {error}"));
            }
            (FromClient::Unknown(kind), _) => {
                self.reply(FromDevice::Error(format!("unknown message type {kind:?}")));
            }
            // A request for an offer is taken before, and without a session there is nothing to do.
            (_, _) => {}
        }
        Ok(())
    }

    /// Makes a new session, in place of an old one, and offers it.
    async fn begin(
        &mut self,
        session: &mut Option<Session>,
        events: &mut Option<SessionEvents>,
        ice_servers: Vec<IceServer>,
    ) -> Result<(), End> {
        if let Some(old) = session.take() {
            old.close().await;
        }
        (self.adb, self.asked) = (None, Instant::now());
        self.sight = self.shared.observer.as_ref().map(|observer| {
            let mut ticks = interval(STATS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (observer.begins(Some(&self.client.to_string())), ticks)
        });
        self.deadline = Some(self.asked + CONNECT_TIMEOUT);
        // The viewer has its list from the same server, and later: its credentials last longer.
        let told = [&ice_servers[..], &self.ice_servers[..]];
        let ice = self.shared.ice.session(&told).await;
        let config = SessionConfig {
            name: self.client.to_string(),
            streams: self.shared.streams.clone(),
            channels: vec![channels::DEVICE_CONTROL.to_owned()],
            ..ice
        };
        let (started, told) = Session::start(config).await?;
        *events = Some(told);
        let offer = session.insert(started).offer().await?;
        self.reply(FromDevice::Offer(Sdp::new(offer)));
        Ok(())
    }

    fn event(&mut self, session: &Session, event: SessionEvent) -> Result<(), End> {
        self.see(|| Moment::of(&event));
        match event {
            SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } => self.reply(FromDevice::IceCandidate(Candidate {
                candidate,
                mid,
                mline_index: Some(mline_index),
            })),
            SessionEvent::Connected => {
                self.deadline = None;
                let milliseconds = self.asked.elapsed().as_millis();
                tracing::info!(milliseconds, "viewer connected");
            }
            SessionEvent::Disconnected => self.deadline = Some(Instant::now() + MEND_TIMEOUT),
            SessionEvent::Trouble { verdict } => self.trouble(&verdict),
            SessionEvent::Failed { why } => return Err(End::Failed(why)),
            SessionEvent::ChannelOpen { label } => self.channel_open(session, &label),
            SessionEvent::ChannelClosed { label } if label == channels::ADB => self.adb = None,
            SessionEvent::Text { label, text } => self.text(session, &label, &text),
            SessionEvent::Binary { label, bytes } => self.binary(&label, bytes),
            _ => {}
        }
        Ok(())
    }

    /// Tells who looks at the session, if anybody does.
    fn see(&self, moment: impl FnOnce() -> Option<Moment>) {
        if let Some((sight, _)) = &self.sight
            && let Some(moment) = moment()
        {
            sight.tell(moment);
        }
    }

    /// Tells who looks at the session how it is doing.
    async fn look(&self, session: Option<&Session>) {
        if let (Some((sight, _)), Some(session)) = (&self.sight, session)
            && let Ok(stats) = session.stats().await
        {
            sight.stats(stats);
        }
    }

    fn channel_open(&mut self, session: &Session, label: &str) {
        match label {
            channels::DEVICE_CONTROL => {
                let greeting = [ControlEvent::BootStarted, ControlEvent::BootCompleted];
                let limited = self.gate.is_shut().then_some(ControlEvent::ViewOnly);
                for event in greeting.into_iter().chain(limited) {
                    if let Ok(text) = serde_json::to_string(&event) {
                        self.send_text(session, label, &text);
                    }
                }
            }
            channels::ADB if !self.gate.is_shut() => {
                self.adb = self.shared.adb.clone().map(Adb::open);
            }
            _ => {}
        }
    }

    fn text(&mut self, session: &Session, label: &str, text: &str) {
        if !self.gate.takes_text(label, text) {
            return;
        }
        match label {
            channels::INPUT => match serde_json::from_str::<Input>(text) {
                Ok(input) => self.input(&input),
                Err(error) => self.complain(&format_args!("no input event: {error}")),
            },
            channels::DEVICE_CONTROL => match serde_json::from_str::<Control>(text) {
                Ok(Control::Setting(Setting::RefreshDisplay { .. })) => session.refresh(),
                Ok(_) => {}
                Err(error) => self.complain(&format_args!("no command: {error}")),
            },
            channels::CAMERA if text == "EOF" => {
                let bytes = std::mem::take(&mut self.photo);
                return self.tell(label, Content::Bytes(bytes));
            }
            _ => {}
        }
        self.tell(label, Content::of_text(text));
    }

    fn binary(&mut self, label: &str, bytes: Bytes) {
        if !self.gate.takes_binary(label) {
            return;
        }
        match label {
            channels::ADB => {
                if self.adb.as_ref().is_some_and(|adb| !adb.send(bytes)) {
                    tracing::warn!("the adb transport takes no more and is closed");
                    self.adb = None;
                }
            }
            // A photo comes in pieces, and a text that ends it.
            channels::CAMERA => self.photo = self.photo.saturating_add(bytes.len()),
            channels::INPUT => self.complain(&"binary input events are not taken"),
            _ => self.tell(label, Content::Bytes(bytes.len())),
        }
    }

    /// Shows touches on the picture.
    fn input(&self, input: &Input) {
        let Input::MultiTouch {
            x,
            y,
            down,
            device_label,
            ..
        } = input
        else {
            return;
        };
        if let Some(source) = self.shared.display(device_label) {
            for (x, y) in x.iter().zip(y) {
                // Saturating; what lies outside of the picture isn't shown.
                source.touch(*x as i32, *y as i32, *down);
            }
        }
    }

    fn adb_bytes(&mut self, session: Option<&Session>, bytes: Option<Bytes>) {
        let sent = match (bytes, session) {
            (Some(bytes), Some(session)) => session.send_binary(channels::ADB, bytes),
            _ => {
                self.adb = None;
                return;
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "the viewer's adb channel takes nothing");
            self.adb = None;
        }
    }

    fn send_text(&self, session: &Session, label: &str, text: &str) {
        if let Err(error) = session.send_text(label, text) {
            tracing::debug!(label, %error, "the viewer's channel takes nothing");
        }
    }

    /// Tells of a message that makes no sense; of the first ones only, so that the log stays short.
    fn complain(&mut self, why: &dyn std::fmt::Display) {
        self.complaints = self.complaints.saturating_add(1);
        match self.complaints {
            ..COMPLAINTS => tracing::warn!("{why}"),
            COMPLAINTS => {
                tracing::warn!("{why}; more of this viewer's are told at debug only");
            }
            _ => tracing::debug!("{why}"),
        }
    }

    fn trouble(&self, verdict: &Verdict) {
        let events = &self.shared.events;
        events.trouble(Some(self.client.0), None, verdict);
    }

    fn tell(&self, channel: &str, content: Content<'_>) {
        self.shared.events.tell(&Event {
            client: Some(self.client.0),
            peer: None,
            channel,
            content,
        });
    }

    /// Sends a message to the viewer. Without signaling, or when it is far behind, there is no way.
    fn reply(&self, message: FromDevice) {
        if self.replies.try_send((self.key, message)).is_err() {
            tracing::debug!("a message to the viewer is lost: there is no signaling");
        }
    }
}

impl From<MediaError> for End {
    fn from(error: MediaError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The next event of a session, `None` at its end; never without a session.
async fn next_event(events: &mut Option<SessionEvents>) -> Option<SessionEvent> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until who looks at the session is to be told how it is doing; never if nobody does.
async fn next_look(sight: &mut Option<(Arc<dyn Sight>, Interval)>) {
    match sight {
        Some((_, ticks)) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// What comes over adb next, as long as the viewer takes it; never without a transport.
async fn next_adb(adb: &mut Option<Adb>, session: Option<&Session>) -> Option<Bytes> {
    let (Some(adb), Some(session)) = (adb, session) else {
        return std::future::pending().await;
    };
    while session
        .buffered_amount(channels::ADB)
        .is_some_and(|bytes| bytes > ADB_BUFFER)
    {
        sleep(ADB_PAUSE).await;
    }
    adb.receive().await
}

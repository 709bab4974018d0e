//! A headless Cuttlefish device: it registers at a server, and plays its sources to every viewer.
//!
//! One task owns the signaling connection and connects anew for ever; one task for each viewer owns
//! its media session. A viewer outlives the signaling: its media goes on while the server is away.

mod adb;
mod gate;
pub mod hook;
mod viewer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::viewer::Viewer;
use super::backoff::Backoff;
use super::conversation::until;
use super::events::Events;
use super::ice::Ice;
use super::link::{Dialer, Link, LinkError};
use super::observe::Observer;
use crate::config::IceServer;
use crate::dialect::cuttlefish::client::{DeviceClient, DeviceEvent};
use crate::dialect::cuttlefish::device_info::{AudioStream, DeviceInfo, Display};
use crate::dialect::cuttlefish::payload::{FromClient, FromDevice};
use crate::hub::{Access, CallNumber, EndpointId};
use crate::media::{Kind, Source, StreamConfig};
use tracing::{Instrument as _, error_span};

/// Where devices register.
pub const PATH: &str = "/register_device";

/// Viewers at once; one more is told so.
const MAX_VIEWERS: usize = 500;
/// Messages that wait for one viewer's session; a viewer that sends more is dropped.
const INBOX: usize = 256;
/// Messages of all viewers that wait to be sent to the server; more are lost.
const OUTBOX: usize = 1024;
/// How long the server may take to answer the registration.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the viewers' sessions may take to end when the device stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// The web client finds exactly the displays 0 to 15 (cuttlefish.md B2).
const MAX_DISPLAYS: usize = 16;
/// What the web client is told of a display's density.
const DPI: u32 = 160;

/// What a device is.
pub struct Options {
    /// The id to register under.
    pub id: EndpointId,
    /// What it plays: each source with a picture is a display, each with sound an audio stream.
    pub sources: Vec<Arc<Source>>,
    /// Fields to add to, or to put in place of those of, the device's info.
    pub info: Map<String, Value>,
    /// Who gets the viewers' events, as lines of JSON.
    pub events: Vec<mpsc::Sender<Arc<str>>>,
    /// The TCP address of an adb daemon.
    pub adb: Option<String>,
    /// How media finds its way, beside what the server and the viewers tell of ICE servers.
    pub ice: Arc<Ice>,
    /// Who looks at the viewers' sessions, if anybody does.
    pub observer: Option<Arc<dyn Observer>>,
}

/// A device, ready to register.
pub struct Device {
    id: EndpointId,
    info: DeviceInfo,
    shared: Arc<Shared>,
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The web client would not show them all.
    #[error("a device has at most {MAX_DISPLAYS} displays, not {0}; leave out some --pipeline")]
    TooManyDisplays(usize),
    /// The user's fields don't fit.
    #[error("the device's info is not what clients take: {0}")]
    Info(#[from] serde_json::Error),
}

/// What all viewers of a device share.
struct Shared {
    streams: Vec<StreamConfig>,
    events: Events,
    adb: Option<String>,
    ice: Arc<Ice>,
    observer: Option<Arc<dyn Observer>>,
}

/// A viewer is known by the registration in which it came and its number there: a server that was
/// started anew numbers from 1 again while older viewers still watch (cuttlefish.md A2).
type ViewerKey = (u64, CallNumber);

/// The running device.
struct Running {
    client: DeviceClient,
    shared: Arc<Shared>,
    registration: u64,
    ice_servers: Vec<IceServer>,
    inboxes: HashMap<ViewerKey, mpsc::Sender<FromClient>>,
    viewers: JoinSet<ViewerKey>,
    replies: mpsc::Sender<(ViewerKey, FromDevice)>,
}

impl Device {
    /// Prepares a device.
    ///
    /// # Errors
    /// If a web client could not show it.
    pub fn new(options: Options) -> Result<Self, DeviceError> {
        let streams = streams(&options.sources);
        let info = info(&options.sources, &streams, options.info)?;
        Ok(Self {
            id: options.id,
            info,
            shared: Arc::new(Shared {
                streams,
                events: Events::new(options.events),
                adb: options.adb,
                ice: options.ice,
                observer: options.observer,
            }),
        })
    }

    /// Registers, serves viewers, and connects anew whenever the connection is lost, until
    /// `shutdown` ends. Then all viewers are told goodbye.
    #[tracing::instrument(level = "error", name = "device", skip_all, fields(id = %self.id))]
    pub async fn run(self, dialer: Dialer, shutdown: impl Future<Output = ()>) {
        let (replies, mut outgoing) = mpsc::channel(OUTBOX);
        let mut running = Running {
            client: DeviceClient::new(&self.id, &self.info),
            shared: self.shared,
            registration: 0,
            ice_servers: Vec::new(),
            inboxes: HashMap::new(),
            viewers: JoinSet::new(),
            replies,
        };
        tokio::select! {
            () = running.stay_registered(&self.id, &dialer, &mut outgoing) => {}
            () = shutdown => {}
        }
        running.stop().await;
    }
}

impl Shared {
    /// The source of a display, by the label of its stream.
    fn display(&self, label: &str) -> Option<&Source> {
        let stream = self
            .streams
            .iter()
            .find(|stream| stream.stream_id == label)?;
        Some(&stream.source)
    }
}

impl Running {
    async fn stay_registered(
        &mut self,
        id: &EndpointId,
        dialer: &Dialer,
        outgoing: &mut mpsc::Receiver<(ViewerKey, FromDevice)>,
    ) {
        let mut backoff = Backoff::default();
        loop {
            let error = match dialer.dial().await {
                Ok(mut link) => {
                    // What older viewers had to say was for the connection that is gone.
                    while outgoing.try_recv().is_ok() {}
                    let registered = self.registration;
                    let error = self.serve(id, dialer, &mut link, outgoing).await;
                    if self.registration != registered {
                        backoff.reset();
                    }
                    link.close().await;
                    error
                }
                Err(error) => error,
            };
            let wait = backoff.next(fastrand::f64());
            tracing::warn!(server = %dialer.url(), %error, retry_ms = wait.as_millis(), "no signaling");
            sleep(wait).await;
        }
    }

    /// Serves one connection; why it ended.
    async fn serve(
        &mut self,
        id: &EndpointId,
        dialer: &Dialer,
        link: &mut Link,
        outgoing: &mut mpsc::Receiver<(ViewerKey, FromDevice)>,
    ) -> LinkError {
        for frame in self.client.opened() {
            if let Err(error) = link.send(frame).await {
                return error;
            }
        }
        let (before, answer_by) = (self.registration, Instant::now() + ANSWER_TIMEOUT);
        loop {
            let unanswered = (self.registration == before).then_some(answer_by);
            tokio::select! {
                () = until(unanswered) => return LinkError::Timeout(ANSWER_TIMEOUT),
                frame = link.receive() => match frame {
                    Ok(frame) => if let Some(event) = self.client.frame(&frame) {
                        self.event(id, dialer, event);
                    },
                    Err(error) => return error,
                },
                Some(((registration, client), message)) = outgoing.recv() => {
                    if registration == self.registration
                        && let Err(error) = link.send(self.client.to_client(client, &message)).await
                    {
                        return error;
                    }
                }
                Some(ended) = self.viewers.join_next() => self.forget(ended),
            }
        }
    }

    fn event(&mut self, id: &EndpointId, dialer: &Dialer, event: DeviceEvent) {
        match event {
            DeviceEvent::Registered { ice_servers } => {
                self.registration += 1;
                self.ice_servers = ice_servers;
                tracing::info!(%id, server = %dialer.url(), "registered");
                if let Some(observer) = &self.shared.observer {
                    observer.registered();
                }
            }
            DeviceEvent::FromClient {
                client,
                access,
                message,
            } => self.message(client, access, message),
            // As real devices do (cuttlefish.md B1). A client may say any number of such things, so that
            // they are no lines of an operator's log.
            DeviceEvent::NotUnderstood { client, why } => {
                tracing::debug!(%client, why, "a viewer's message is not understood");
                let key = (self.registration, client);
                let _ = self.replies.try_send((key, FromDevice::Error(why)));
            }
            DeviceEvent::ClientLeft { client } => {
                self.inboxes.remove(&(self.registration, client));
            }
            DeviceEvent::ServerError(error) => {
                tracing::warn!(%error, "the server reports an error")
            }
            DeviceEvent::Unreadable(why) => tracing::warn!(%why, "an unreadable message"),
        }
    }

    /// Passes a message to its viewer, a new one if it asks for an offer.
    fn message(&mut self, client: CallNumber, access: Access, message: FromClient) {
        let key = (self.registration, client);
        let known = self
            .inboxes
            .get(&key)
            .is_some_and(|inbox| !inbox.is_closed());
        if !known && !matches!(message, FromClient::RequestOffer { .. }) {
            return tracing::debug!(%client, "a message for a session that is over is left out");
        }
        if !known && !self.admit(key, access) {
            return;
        }
        if let Some(inbox) = self.inboxes.get(&key)
            && inbox.try_send(message).is_err()
        {
            tracing::warn!(%client, "the viewer sends more than its session takes; it is dropped");
            self.inboxes.remove(&key);
        }
    }

    fn admit(&mut self, key: ViewerKey, access: Access) -> bool {
        if self.viewers.len() >= MAX_VIEWERS {
            let full = FromDevice::Error(format!(
                "the device has {MAX_VIEWERS} viewers, the most that it takes"
            ));
            let _ = self.replies.try_send((key, full));
            return false;
        }
        let (inbox, messages) = mpsc::channel(INBOX);
        let viewer = Viewer::new(
            key,
            access,
            Arc::clone(&self.shared),
            self.ice_servers.clone(),
            self.replies.clone(),
        );
        let run = async move {
            viewer.run(messages).await;
            key
        };
        let session = error_span!("session", client = %key.1);
        self.viewers.spawn(run.instrument(session));
        self.inboxes.insert(key, inbox);
        true
    }

    fn forget(&mut self, ended: Result<ViewerKey, tokio::task::JoinError>) {
        match ended {
            // A viewer that asked again meanwhile has a new inbox.
            Ok(key) => {
                if self.inboxes.get(&key).is_some_and(mpsc::Sender::is_closed) {
                    self.inboxes.remove(&key);
                }
            }
            Err(error) => tracing::error!(%error, "a viewer's session died"),
        }
    }

    /// Lets every viewer's session end.
    async fn stop(mut self) {
        self.inboxes.clear();
        let all = async { while self.viewers.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("some viewers' sessions did not end in time");
        }
    }
}

/// The streams that every viewer gets, by the names that the web client looks for (cuttlefish.md B2).
fn streams(sources: &[Arc<Source>]) -> Vec<StreamConfig> {
    let displays = sources
        .iter()
        .filter(|source| source.has_video())
        .enumerate();
    let sounds = sources
        .iter()
        .filter(|source| source.has_audio())
        .enumerate();
    let stream = |source: &Arc<Source>, kind, stream_id| StreamConfig {
        source: Arc::clone(source),
        stream_id,
        kind,
        codecs: Vec::new(),
    };
    displays
        .map(|(n, source)| stream(source, Kind::Video, format!("display_{n}")))
        .chain(sounds.map(|(n, source)| stream(source, Kind::Audio, format!("audio-{n}"))))
        .collect()
}

fn info(
    sources: &[Arc<Source>],
    streams: &[StreamConfig],
    extra: Map<String, Value>,
) -> Result<DeviceInfo, DeviceError> {
    let mut info = DeviceInfo {
        mouse_enabled: true,
        gamepad_enabled: true,
        ..DeviceInfo::default()
    };
    for (number, source) in sources.iter().enumerate() {
        info.hardware
            .insert(format!("Pipeline {number}"), source.file().title().into());
    }
    for stream in streams {
        match stream.kind {
            Kind::Audio => info.audio_streams.push(AudioStream {
                stream_id: stream.stream_id.clone(),
            }),
            Kind::Video => {
                let (x_res, y_res) = stream.source.video_size().unwrap_or_default();
                info.displays.push(Display {
                    stream_id: stream.stream_id.clone(),
                    x_res,
                    y_res,
                    dpi: DPI,
                    is_touch: true,
                });
            }
        }
    }
    if info.displays.len() > MAX_DISPLAYS {
        return Err(DeviceError::TooManyDisplays(info.displays.len()));
    }
    let mut value = serde_json::to_value(info)?;
    if let Value::Object(fields) = &mut value {
        fields.extend(extra);
    }
    Ok(serde_json::from_value(value)?)
}

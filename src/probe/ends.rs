//! The ends of each scenario: our own peers, with somebody who looks at their sessions.

mod echo;
mod gecko;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::outcome::Failure;
use super::plan::{Ends, Plan, Scenario};
use super::spectator::Spectator;
use crate::dialect::gstreamer::client::{PeerId, RoomId};
use crate::hub::{EndpointId, Namespace};
use crate::media::{Codec, Source};
use crate::peer::call::{self, Caller, Lines};
use crate::peer::device::{self, Device};
use crate::peer::link::Dialer;
use crate::peer::mesh::{self, Mesh};
use crate::peer::participant::{self, Participant};
use crate::peer::viewer::{self, Viewer};

pub(super) use echo::EchoCounter;

/// A peer that runs. It stops when dropped, or when told to.
pub(super) struct Peer {
    pub(super) spectator: Arc<Spectator>,
    /// Whose media it is to get.
    pub(super) expects: Expects,
    pub(super) echo: Option<Arc<EchoCounter>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), String>>,
    /// Its end, once it is known.
    ended: Option<Result<(), String>>,
}

/// Whose media a peer is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expects {
    /// Nobody's.
    Nothing,
    /// These partners', by their names; `None` where the dialect names none.
    These(Vec<Option<String>>),
    /// Whoever is there; one at least.
    Anyone,
}

impl Expects {
    /// Whether this partner's media is expected.
    pub(super) fn has(&self, partner: Option<&str>) -> bool {
        match self {
            Self::Nothing => false,
            Self::These(partners) => partners.iter().any(|it| it.as_deref() == partner),
            Self::Anyone => true,
        }
    }
}

/// Starts the ends.
pub(super) struct Stage {
    plan: Plan,
    /// What is sent, if anything is.
    source: Option<Arc<Source>>,
    /// What those send who join and send, too.
    second: Option<Arc<Source>>,
    /// In names, so that several probes of one server don't meet.
    tag: String,
    script: Option<gecko::Script>,
}

impl Peer {
    /// Runs a peer until it ends or is told to stop.
    fn spawn<R, E>(
        spectator: Arc<Spectator>,
        expects: Expects,
        run: impl FnOnce(Stopped) -> R,
    ) -> Self
    where
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let (stop, stopped) = oneshot::channel();
        let running = run(Stopped(stopped));
        Self {
            spectator,
            expects,
            echo: None,
            stop: Some(stop),
            task: tokio::spawn(async move { running.await.map_err(|error| error.to_string()) }),
            ended: None,
        }
    }

    /// Why it ended by itself, if it did.
    pub(super) async fn error(&mut self) -> Option<String> {
        if self.ended.is_none() && self.task.is_finished() {
            self.ended = Some(join(&mut self.task).await);
        }
        match self.ended.as_ref()? {
            Ok(()) => Some("it ended by itself".to_owned()),
            Err(error) => Some(error.clone()),
        }
    }

    /// Waits until the server has taken it in; false if it ended instead.
    pub(super) async fn registered(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        tokio::select! {
            ended = join(&mut self.task) => {
                self.ended = Some(ended);
                false
            }
            () = self.spectator.registered() => true,
        }
    }

    /// Tells it to stop, without waiting.
    pub(super) fn tell_to_stop(&mut self) {
        self.stop = None;
    }

    /// Stops it, and waits for its end. Peers end in bounded time.
    pub(super) async fn stop(mut self) {
        self.tell_to_stop();
        if self.ended.is_none()
            && let Err(error) = join(&mut self.task).await
        {
            tracing::debug!(peer = self.spectator.name(), error, "ended");
        }
    }
}

/// Ends when the peer is to stop.
struct Stopped(oneshot::Receiver<()>);

impl Stopped {
    async fn wait(self) {
        // Told by dropping the other side.
        let _ = self.0.await;
    }
}

async fn join(task: &mut JoinHandle<Result<(), String>>) -> Result<(), String> {
    match task.await {
        Ok(result) => result,
        Err(error) => Err(format!("its task died: {error}")),
    }
}

impl Stage {
    /// Prepares what all ends share.
    pub(super) async fn new(plan: &Plan) -> Result<Self, Failure> {
        // Before anything is asked of it, and so that loading it is no end's time.
        let ready = tokio::task::spawn_blocking(crate::media::init).await;
        let ready = ready.map_err(|error| wrong("GStreamer", error))?;
        ready.map_err(|error| wrong("GStreamer", error))?;
        let sends = !matches!(plan.ends, Ends::Receive { .. });
        let source = match sends {
            true => Some(open(plan, plan.media.codecs.clone(), 0).await?),
            false => None,
        };
        let second = match plan.media.receive_codec {
            Some(codec) if sends => Some(open(plan, vec![codec], 1).await?),
            _ => source.clone(),
        };
        let script = match (plan.scenario, sends) {
            (Scenario::Gecko { .. }, true) => Some(gecko::Script::serve().await?),
            _ => None,
        };
        Ok(Self {
            plan: plan.clone(),
            source,
            second,
            tag: match &plan.ends {
                Ends::Both => format!("probe-{}", fastrand::u32(1_000..1_000_000)),
                Ends::Send { id } => id.clone(),
                Ends::Receive { watch } => watch.clone(),
            },
            script,
        })
    }

    /// Where the peers of this scenario connect to first.
    pub(super) const fn path(&self) -> &'static str {
        match self.plan.scenario {
            Scenario::Device { .. } => viewer::PATH,
            Scenario::Room { .. } => participant::PATH,
            Scenario::Call | Scenario::Mesh { .. } => call::PATH,
            Scenario::Gecko { .. } => crate::peer::page::PATH,
        }
    }

    /// Starts the ends that are there first, one after the other: those that send.
    pub(super) async fn senders(&self) -> Result<Vec<Peer>, Failure> {
        if matches!(self.plan.ends, Ends::Receive { .. }) {
            return Ok(Vec::new());
        }
        match self.plan.scenario {
            Scenario::Device { .. } => Ok(vec![self.device()?]),
            Scenario::Call => Ok(vec![self.callee()?]),
            Scenario::Mesh { .. } => Ok(vec![self.member(1)?]),
            Scenario::Gecko { .. } => Ok(vec![self.gecko()?]),
            Scenario::Room { publishers, .. } => {
                let mut peers = Vec::new();
                for number in 1..=publishers {
                    peers.push(self.participant(number, true, true).await?);
                }
                Ok(peers)
            }
        }
    }

    /// Starts an end that comes later, above all to receive. `number` counts them from 1.
    pub(super) async fn receiver(&self, number: u32, judges: bool) -> Result<Peer, Failure> {
        match self.plan.scenario {
            Scenario::Device { .. } => self.viewer(number, judges),
            Scenario::Call => self.caller(),
            Scenario::Mesh { .. } => self.member(number + 1),
            Scenario::Gecko { .. } => self.page(number, judges),
            Scenario::Room { publishers, .. } => {
                let before = match self.plan.ends {
                    Ends::Receive { .. } => 0,
                    _ => publishers,
                };
                self.participant(before + number, false, judges).await
            }
        }
    }

    /// How many ends come later.
    pub(super) fn receivers(&self) -> u32 {
        match self.plan.ends {
            Ends::Both => self.plan.scenario.receivers(),
            Ends::Send { .. } => 0,
            Ends::Receive { .. } => match self.plan.scenario {
                Scenario::Device { .. } | Scenario::Gecko { .. } => self.plan.scenario.receivers(),
                _ => 1,
            },
        }
    }

    fn dialer(&self, path: &str) -> Result<Dialer, Failure> {
        self.plan.way.dialer(path)
    }

    fn device(&self) -> Result<Peer, Failure> {
        let spectator = Spectator::new("device", false);
        let dialer = self.dialer(device::PATH)?;
        let device = Device::new(device::Options {
            id: self.device_id()?,
            sources: self.source.iter().cloned().collect(),
            info: serde_json::Map::new(),
            events: Vec::new(),
            adb: None,
            ice: Arc::clone(&self.plan.way.ice),
            observer: Some(Arc::clone(&spectator) as Arc<dyn crate::peer::observe::Observer>),
        });
        let device = device.map_err(|error| wrong("the device", error))?;
        Ok(Peer::spawn(spectator, Expects::Nothing, |stop| async {
            device.run(dialer, stop.wait()).await;
            Ok::<_, String>(())
        }))
    }

    fn viewer(&self, number: u32, judges: bool) -> Result<Peer, Failure> {
        let spectator = Spectator::new(&format!("viewer {number}"), judges);
        let dialer = self.dialer(viewer::PATH)?;
        let (_, orders) = mpsc::channel(1);
        let viewer = Viewer::new(viewer::Options {
            device: self.device_id()?,
            reception: spectator.reception(true),
            accepts: self.plan.media.receive_codec.into_iter().collect(),
            channels: Vec::new(),
            ice: Arc::clone(&self.plan.way.ice),
            orders,
            events: None,
        });
        let expects = Expects::These(vec![None]);
        Ok(Peer::spawn(spectator, expects, |stop| {
            viewer.run(dialer, stop.wait())
        }))
    }

    /// Whoever waits for the call.
    fn callee(&self) -> Result<Peer, Failure> {
        let is_alone = matches!(self.plan.ends, Ends::Send { .. });
        let spectator = Spectator::new("callee", true);
        // The dialect doesn't tell who calls.
        let expects = match is_alone {
            true => Expects::Nothing,
            false => Expects::These(vec![None]),
        };
        let options = call::Options {
            id: self.peer_id(&self.tag)?,
            partner: None,
            remote_offers: false,
            wait: false,
            keep: is_alone,
            channel: None,
            media: self.call_media(&spectator, self.source.clone(), !is_alone),
            lines: Lines::Ended,
            events: Vec::new(),
        };
        self.in_call(spectator, expects, options)
    }

    fn caller(&self) -> Result<Peer, Failure> {
        let spectator = Spectator::new("caller", true);
        let expects = Expects::These(vec![Some(self.tag.clone())]);
        let name = format!("{}-caller-{}", self.tag, fastrand::u32(..));
        let options = call::Options {
            id: self.peer_id(&name)?,
            partner: Some(self.peer_id(&self.tag)?),
            remote_offers: false,
            wait: false,
            keep: false,
            channel: None,
            media: self.call_media(&spectator, self.second.clone(), true),
            lines: Lines::Ended,
            events: Vec::new(),
        };
        self.in_call(spectator, expects, options)
    }

    fn in_call(
        &self,
        spectator: Arc<Spectator>,
        expects: Expects,
        options: call::Options,
    ) -> Result<Peer, Failure> {
        let dialer = self.dialer(call::PATH)?;
        let caller = Caller::new(options);
        Ok(Peer::spawn(spectator, expects, |stop| {
            caller.run(dialer, stop.wait())
        }))
    }

    fn member(&self, number: u32) -> Result<Peer, Failure> {
        let name = |number: u32| format!("{}-{number}", self.tag);
        let (source, receives, expects) = match (&self.plan.ends, self.plan.scenario) {
            (Ends::Receive { .. }, _) => (None, true, Expects::Anyone),
            (Ends::Send { .. }, _) => (self.source.clone(), false, Expects::Nothing),
            (Ends::Both, Scenario::Mesh { members }) => {
                let others = (1..=members).filter(|other| *other != number);
                let expects = Expects::These(others.map(|other| Some(name(other))).collect());
                let source = if number == 1 {
                    &self.source
                } else {
                    &self.second
                };
                (source.clone(), true, expects)
            }
            _ => (None, false, Expects::Nothing),
        };
        let spectator = Spectator::new(&format!("member {number}"), receives);
        let room = RoomId::new(&self.tag)
            .ok_or_else(|| wrong("the room", "its name has blanks or is empty"))?;
        let own = match self.plan.ends {
            Ends::Both => name(number),
            _ => format!("probe-{}", fastrand::u32(..)),
        };
        let mesh = Mesh::new(mesh::Options {
            id: self.peer_id(&own)?,
            room,
            media: self.call_media(&spectator, source, receives),
            events: Vec::new(),
        });
        let dialer = self.dialer(mesh::PATH)?;
        Ok(Peer::spawn(spectator, expects, |stop| {
            mesh.run(dialer, stop.wait())
        }))
    }

    /// A participant of a room; everyone expects every publisher's media.
    async fn participant(
        &self,
        number: u32,
        publishes: bool,
        judges: bool,
    ) -> Result<Peer, Failure> {
        let name = |number: u32| format!("user-{number}");
        let expects = match (&self.plan.ends, self.plan.scenario) {
            (Ends::Both, Scenario::Room { publishers, .. }) => {
                let others = (1..=publishers).filter(|other| *other != number);
                Expects::These(others.map(|other| Some(name(other))).collect())
            }
            (Ends::Receive { .. }, _) => Expects::Anyone,
            _ => Expects::Nothing,
        };
        let user = match self.plan.ends {
            Ends::Both => name(number),
            _ => format!("probe-{}", fastrand::u32(..)),
        };
        let receives = expects != Expects::Nothing;
        let spectator = Spectator::new(&user, judges);
        let source = self.source.clone().filter(|_| publishes);
        let options = participant::Options {
            user,
            room: self.tag.clone(),
            media: self.call_media(&spectator, source, receives),
            loopback: false,
            codecs: self.plan.media.codecs.clone(),
            accepts: self.accepts(),
            channel: None,
            lines: Lines::Ended,
            is_one_of_many: false,
            events: Vec::new(),
        };
        let made = Participant::new(options).await;
        let participant = made.map_err(|error| wrong("GStreamer", error))?;
        let dialer = self.dialer(participant::PATH)?;
        Ok(Peer::spawn(spectator, expects, |stop| {
            participant.run(dialer, stop.wait())
        }))
    }

    /// The codecs that receiving ends take; empty for all.
    fn accepts(&self) -> Vec<Codec> {
        let sound = Some(Codec::Opus).filter(|_| self.plan.media.receive_codec.is_some());
        self.plan
            .media
            .receive_codec
            .into_iter()
            .chain(sound)
            .collect()
    }

    fn call_media(
        &self,
        spectator: &Arc<Spectator>,
        source: Option<Arc<Source>>,
        receives: bool,
    ) -> call::Media {
        call::Media {
            source,
            reception: spectator.reception(receives),
            ice: Arc::clone(&self.plan.way.ice),
        }
    }

    fn device_id(&self) -> Result<EndpointId, Failure> {
        EndpointId::new(Namespace::Device, &self.tag)
            .ok_or_else(|| wrong("the device's id", "it is empty or too long"))
    }

    fn peer_id(&self, name: &str) -> Result<PeerId, Failure> {
        PeerId::new(name).ok_or_else(|| wrong("the peer's id", "it has blanks, or is empty"))
    }
}

/// Coded pictures and sound; `number` tells one source from the other.
async fn open(plan: &Plan, codecs: Vec<Codec>, number: u8) -> Result<Arc<Source>, Failure> {
    let opened = super::media::source(&plan.media, codecs, number).await;
    opened.map_err(|error| wrong("the coded source", error))
}

/// Something that is wrong with this machine or the flags.
fn wrong(place: &str, why: impl std::fmt::Display) -> Failure {
    let advice = "switchboard doctor says what works on this machine";
    Failure::new(place, why.to_string(), advice)
}

//! What a session notes of itself, for a verdict, for the times of its beginning, and for metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::{WebRTCICEConnectionState, WebRTCICEGatheringState};

use super::SessionConfig;
use super::events::{Emitter, SessionEvent};
use super::stats::{Reply, Sent};
use super::verdict::{self, Facts, MOST_CANDIDATES, Stage, Verdict};
use crate::config::IceServer;
use crate::media::Kind;
use crate::media::metrics::{Instruments, Metrics};

/// How long checks and keys, or the first packet of promised media, may take before it is worth a
/// warning. A good connection takes less than half a second.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the other side may take to answer before it is worth a warning: a person may have to agree.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// How long it may be quiet after media or reports came. Reports come every six seconds or more often,
/// and libnice takes most of a minute to notice.
const SILENCE: Duration = Duration::from_secs(9);

/// How long the phases of a session's beginning took; `None` until one is over. Each is counted from
/// the end of the one before, but for gathering, which goes on beside the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the beginning until both descriptions were there.
    pub signaling: Option<Duration>,
    /// Looking for our addresses.
    pub gathering: Option<Duration>,
    /// Looking for a pair of addresses that works.
    pub checks: Option<Duration>,
    /// Agreeing on keys.
    pub dtls: Option<Duration>,
    /// From the connection to the first packet that came.
    pub first_packet: Option<Duration>,
    /// From the connection to the first whole frame that came.
    pub first_frame: Option<Duration>,
    /// From the connection to the first frame that left.
    pub first_sent: Option<Duration>,
}

/// The names of these in metrics.
pub(in crate::media) const PHASES: [&str; 7] = [
    "signaling",
    "gathering",
    "checks",
    "dtls",
    "first_packet",
    "first_frame",
    "first_sent",
];

/// Shared by a session and its callbacks, which note and never wait.
#[derive(Debug)]
pub(super) struct Witness {
    /// For the log.
    name: String,
    emitter: Emitter,
    metrics: Option<Metrics>,
    /// Received media is made use of.
    wants_media: bool,
    notes: Mutex<Notes>,
    sent: Mutex<Vec<Sent>>,
}

#[derive(Debug)]
struct Notes {
    facts: Facts,
    phases: Phases,
    began: Instant,
    gathering: Option<Instant>,
    /// When the present stage began.
    since: Instant,
    connected: Option<Instant>,
    /// What the other side says that it sends.
    promised: Vec<Kind>,
    /// Of what a packet came, and a whole frame.
    came: Vec<Kind>,
    framed: Vec<Kind>,
    /// The stage of the last warning.
    warned: Option<Stage>,
    is_over: bool,
    /// A number that changes when anything comes, and since when it is the same.
    pulse: (u64, Instant),
}

impl Witness {
    pub(super) fn new(config: &SessionConfig, emitter: Emitter) -> Arc<Self> {
        let facts = Facts {
            has_turn: config.ice_servers.iter().any(IceServer::has_turn),
            relay_only: config.relay_only,
            ..Facts::default()
        };
        let now = Instant::now();
        let this = Self {
            name: config.name.clone(),
            emitter,
            metrics: config.metrics.clone(),
            wants_media: matches!(config.receive, super::Receive::Into(_)),
            notes: Mutex::new(Notes {
                facts,
                phases: Phases::default(),
                began: now,
                gathering: None,
                since: now,
                connected: None,
                promised: Vec::new(),
                came: Vec::new(),
                framed: Vec::new(),
                warned: None,
                is_over: false,
                pulse: (0, now),
            }),
            sent: Mutex::default(),
        };
        if let Some(it) = this.instruments() {
            it.sessions_started.inc();
        }
        Arc::new(this)
    }

    /// For the log.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn instruments(&self) -> Option<&Instruments> {
        self.metrics.as_ref().map(Metrics::instruments)
    }

    /// The times so far.
    pub(super) fn phases(&self) -> Phases {
        self.notes().phases
    }

    // What is noted ------------------------------------------------------------------------------

    /// A candidate of the other side's.
    pub(super) fn remote_candidate(&self, candidate: &str) {
        remember(&mut self.notes().facts.remote, candidate);
    }

    /// A description of the other side's, and whether both are there now.
    pub(super) fn described(&self, sdp: &str, both: bool) {
        let mut notes = self.notes();
        for line in sdp.lines() {
            if let Some(candidate) = line.strip_prefix("a=")
                && candidate.starts_with("candidate:")
            {
                remember(&mut notes.facts.remote, candidate.trim_end());
            }
        }
        let sections = super::sdp::sections(sdp);
        // Who announces what it sends, and nothing of this, sends nothing of this: a room's server does so
        // for publishers without sound.
        let announces = sections.iter().any(|section| section.announced);
        let sends = |kind: &Kind| {
            sections.iter().any(|section| {
                section.kind == kind.name()
                    && !section.refused
                    && section.announced == announces
                    && matches!(section.direction, "sendrecv" | "sendonly")
            })
        };
        notes.promised = [Kind::Video, Kind::Audio]
            .into_iter()
            .filter(sends)
            .collect();
        if both && notes.facts.stage == Stage::Signaling {
            let took = notes.enter(Stage::Checks);
            notes.phases.signaling = Some(took);
            drop(notes);
            self.count("signaling", took);
        }
    }

    /// Every TURN server was asked in vain, or there is none to ask. The session is over if it may use
    /// nothing else.
    pub(super) fn no_relay(&self) {
        let relay_only = {
            let mut notes = self.notes();
            notes.facts.no_relay = true;
            notes.facts.relay_only
        };
        match relay_only {
            true => self.fail(),
            false => tracing::warn!(
                peer = self.name,
                "{}; {}",
                verdict::NO_RELAY,
                verdict::CHECK_TURN
            ),
        }
    }

    /// A pair of addresses works.
    fn checked(&self) {
        let mut notes = self.notes();
        // It may work before the answer is applied here.
        if matches!(notes.facts.stage, Stage::Signaling | Stage::Checks) {
            let took = notes.enter(Stage::Dtls);
            notes.phases.checks = Some(took);
            drop(notes);
            self.count("checks", took);
        }
    }

    /// Media can flow, for the first time or again.
    pub(super) fn connected(&self) {
        self.checked();
        let mut notes = self.notes();
        let again = notes.connected.is_some();
        let took = notes.enter(Stage::Connected);
        notes.warned = None;
        if again {
            return;
        }
        notes.connected = Some(Instant::now());
        notes.phases.dtls = Some(took);
        let phases = notes.phases;
        drop(notes);
        self.count("dtls", took);
        if let Some(it) = self.instruments() {
            it.sessions_connected.inc();
        }
        tracing::debug!(peer = self.name, ?phases, "a session's beginning");
    }

    /// A packet came, perhaps a frame's last one.
    pub(super) fn received(&self, kind: Kind, ends_frame: bool) {
        let mut notes = self.notes();
        for (kinds, is_news) in [(0, true), (1, ends_frame)] {
            let kinds = match kinds {
                0 => &mut notes.came,
                _ => &mut notes.framed,
            };
            if is_news && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let since = notes.since_connected();
        let first = |phase: &mut Option<Duration>| {
            let is_first = phase.is_none();
            is_first.then(|| *phase.insert(since))
        };
        let packet = first(&mut notes.phases.first_packet);
        let frame = ends_frame
            .then(|| first(&mut notes.phases.first_frame))
            .flatten();
        drop(notes);
        for (phase, took) in [("first_packet", packet), ("first_frame", frame)] {
            if let Some(took) = took {
                self.count(phase, took);
            }
        }
    }

    /// These are our streams now.
    pub(super) fn sends(&self, sent: Vec<Sent>) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }

    /// Our streams.
    pub(super) fn streams(&self) -> Vec<Sent> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.clone()
    }

    /// Our first frame left.
    pub(super) fn sent(&self) {
        let mut notes = self.notes();
        if notes.phases.first_sent.is_none() {
            let took = notes.since_connected();
            notes.phases.first_sent = Some(took);
            drop(notes);
            self.count("first_sent", took);
        }
    }

    /// Looks at the statistics: how many packets came, over which path, and whether anything still does.
    pub(super) fn look(&self, reply: &Reply) {
        let path = reply
            .path()
            .map(|(ours, theirs)| format!("{ours} → {theirs}"));
        let (packets, pulse) = (reply.arrived(), reply.pulse());
        let mut notes = self.notes();
        notes.facts.packets = packets;
        notes.facts.path = path.or(notes.facts.path.take());
        let (before, since) = notes.pulse;
        // A source that was silent for long is forgotten, and its numbers with it.
        if pulse != before && pulse != 0 {
            notes.pulse = (pulse, Instant::now());
            notes.facts.silent = None;
        } else if before != 0 && since.elapsed() >= SILENCE {
            let was_known = notes.facts.silent.replace(since.elapsed()).is_some();
            if !was_known && notes.facts.stage == Stage::Connected && !notes.is_over {
                let verdict = notes.verdict();
                drop(notes);
                self.tell(verdict);
            }
        }
    }

    // What comes of it ---------------------------------------------------------------------------

    /// Whether the next call of [`Self::warn`] is going to.
    pub(super) fn is_impatient(&self) -> bool {
        self.notes().is_impatient(self.wants_media)
    }

    /// Warns when something takes too long, once for each stage.
    pub(super) fn warn(&self) {
        let mut notes = self.notes();
        if notes.is_impatient(self.wants_media) {
            notes.warned = Some(notes.facts.stage);
            let verdict = notes.verdict();
            drop(notes);
            self.tell(verdict);
        }
    }

    /// The connection is lost for now.
    pub(super) fn lost(&self) {
        let mut notes = self.notes();
        if notes.lose() {
            let verdict = notes.verdict();
            drop(notes);
            self.tell(verdict);
        }
    }

    /// The session is over, and this is why.
    pub(super) fn give_up(&self) -> Verdict {
        let mut notes = self.notes();
        notes.lose();
        let verdict = notes.verdict();
        let was_over = std::mem::replace(&mut notes.is_over, true);
        drop(notes);
        if !was_over {
            let reason = verdict.reason.name();
            let tried = verdict.tried.join("; ");
            tracing::warn!(peer = self.name, reason, tried, "{verdict}");
            self.failed(reason);
        }
        verdict
    }

    /// The session is over: webrtcbin says so, and here is why.
    pub(super) fn fail(&self) {
        let verdict = self.give_up();
        self.emitter.emit(SessionEvent::Trouble {
            verdict: Box::new(verdict.clone()),
        });
        self.emitter.fail(verdict.to_string());
    }

    /// Counts a failure.
    pub(super) fn failed(&self, reason: &'static str) {
        if let Some(it) = self.instruments() {
            it.failed(reason);
        }
    }

    fn tell(&self, verdict: Verdict) {
        let reason = verdict.reason.name();
        let tried = verdict.tried.join("; ");
        tracing::warn!(peer = self.name, reason, tried, "{verdict}");
        if let Some(it) = self.instruments() {
            it.troubled(reason);
        }
        let verdict = Box::new(verdict);
        self.emitter.emit(SessionEvent::Trouble { verdict });
    }

    fn count(&self, phase: &'static str, took: Duration) {
        if let Some(it) = self.instruments() {
            it.phase(phase, took);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Enters a stage; how long the one before took.
    fn enter(&mut self, stage: Stage) -> Duration {
        let now = Instant::now();
        self.facts.stage = stage;
        now.duration_since(std::mem::replace(&mut self.since, now))
    }

    fn is_impatient(&self, wants_media: bool) -> bool {
        let stage = self.facts.stage;
        let patience = match stage {
            Stage::Signaling => ANSWER_PATIENCE,
            _ => PATIENCE,
        };
        let is_waited_for = match stage {
            Stage::Signaling | Stage::Checks | Stage::Dtls => true,
            Stage::Connected => wants_media && self.missing().is_some(),
            Stage::Lost => false,
        };
        is_waited_for
            && !self.is_over
            && self.warned != Some(stage)
            && self.since.elapsed() >= patience
    }

    /// A connection that stood is lost; whether that is news.
    fn lose(&mut self) -> bool {
        let stood = self.facts.stage == Stage::Connected;
        if stood {
            self.facts.lasted = self.enter(Stage::Lost);
        }
        stood
    }

    /// What was promised, and doesn't come as whole frames.
    fn missing(&self) -> Option<Kind> {
        let mut promised = self.promised.iter();
        promised.find(|kind| !self.framed.contains(kind)).copied()
    }

    fn since_connected(&self) -> Duration {
        self.connected.unwrap_or(self.began).elapsed()
    }

    fn verdict(&mut self) -> Verdict {
        // Of a lost connection it is how long it stood.
        if self.facts.stage != Stage::Lost {
            self.facts.lasted = self.since.elapsed();
        }
        self.facts.missing = self.missing();
        let came = self
            .facts
            .missing
            .is_some_and(|kind| self.came.contains(&kind));
        // What came of the other kind explains nothing; what belongs to none may.
        self.facts.has_packets = came || self.came.is_empty() && self.facts.packets > 0;
        verdict::judge(&self.facts)
    }
}

/// Listens to webrtcbin and the agent of libnice inside of it.
pub(super) fn listen(webrtc: &gst::Element, witness: &Arc<Witness>) {
    let to = Arc::clone(witness);
    webrtc.connect("on-ice-candidate", false, move |values| {
        if let Some(candidate) = values.get(2).and_then(|value| value.get::<&str>().ok()) {
            remember(&mut to.notes().facts.local, candidate);
        }
        None
    });
    let to = Arc::clone(witness);
    webrtc.connect_notify(Some("ice-connection-state"), move |webrtc, _| {
        use WebRTCICEConnectionState::{Completed, Connected};
        let state = webrtc.property::<WebRTCICEConnectionState>("ice-connection-state");
        if matches!(state, Connected | Completed) {
            to.checked();
        }
    });
    let to = Arc::clone(witness);
    webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
        let state = webrtc.property::<WebRTCICEGatheringState>("ice-gathering-state");
        let mut notes = to.notes();
        if state == WebRTCICEGatheringState::Gathering {
            notes.gathering.get_or_insert_with(Instant::now);
        } else if state == WebRTCICEGatheringState::Complete
            && notes.phases.gathering.is_none()
            && let Some(began) = notes.gathering
        {
            let took = began.elapsed();
            notes.phases.gathering = Some(took);
            drop(notes);
            to.count("gathering", took);
        }
    });
    let ice = webrtc.property::<Option<gst::glib::Object>>("ice-agent");
    let has_agent = ice.filter(|ice| ice.find_property("agent").is_some());
    let Some(agent) = has_agent.and_then(|ice| ice.property::<Option<gst::glib::Object>>("agent"))
    else {
        return;
    };
    // Another version of libnice may not have them.
    let has = |signal| gst::glib::subclass::SignalId::lookup(signal, agent.type_()).is_some();
    if has("initial-binding-request-received") {
        let to = Arc::clone(witness);
        agent.connect("initial-binding-request-received", false, move |_| {
            to.notes().facts.heard = true;
            None
        });
    }
    // Told only of addresses that checks reveal.
    if has("new-remote-candidate") {
        let to = Arc::clone(witness);
        agent.connect("new-remote-candidate", false, move |_| {
            let mut notes = to.notes();
            notes.facts.revealed = notes.facts.revealed.saturating_add(1);
            None
        });
    }
}

fn remember(candidates: &mut Vec<String>, candidate: &str) {
    let candidate = candidate.trim();
    let is_new = !candidates.iter().any(|known| known == candidate);
    if is_new && !candidate.is_empty() && candidates.len() < MOST_CANDIDATES {
        candidates.push(candidate.to_owned());
    }
}

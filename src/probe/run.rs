//! Runs one scenario: starts its ends, waits for media, lets it flow, stops, and says how it was.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::diagnosis::{self, Case, Sender};
use super::ends::{Expects, Peer, Stage};
use super::flow::{News, Tell, Watch, come_and_leave};
use super::judge::{Check, Report, Thresholds};
use super::now;
use super::outcome::{Echo, Failure, Outcome, SentReport};
use super::plan::{Ends, Plan};
use super::ramp;
use super::resources::Recorder;
use super::spectator::Progress;

/// How often it is looked whether media has come.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// How long an end of ours that sends waits for somebody who takes it, beside the time of the media.
const LONELY: Duration = Duration::from_secs(60);

/// Runs a scenario to its end, or until `stop` is true; what was seen until then is judged. What goes
/// wrong is part of the outcome.
pub async fn run(plan: &Plan, stop: &watch::Receiver<bool>, tell: Tell<'_>) -> Outcome {
    let began = now();
    let mut outcome = Outcome {
        name: plan.title(),
        scenario: plan.scenario.word(),
        description: plan.description(),
        server: plan.way.url.clone(),
        started: began.as_secs_f64(),
        seconds: 0.0,
        passed: false,
        failures: Vec::new(),
        thresholds: plan.thresholds.clone(),
        connections: Vec::new(),
        sent: Vec::new(),
        minutes: Vec::new(),
        churn: None,
        ramp: None,
        echo: None,
        resources: super::outcome::Resources::default(),
    };
    if let Err(failure) = attempt(plan, stop, &mut outcome, tell).await {
        outcome.failures.insert(0, failure);
    }
    if *stop.borrow() {
        let why = format!(
            "it was interrupted after {:.0} s",
            (now() - began).as_secs_f64()
        );
        let advice = "let it run to its end";
        outcome
            .failures
            .push(Failure::new("the probe", why, advice));
    }
    outcome.seconds = (now() - began).as_secs_f64();
    outcome.passed = outcome.failures.is_empty();
    outcome
}

async fn attempt(
    plan: &Plan,
    stop: &watch::Receiver<bool>,
    outcome: &mut Outcome,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    tell(News::Step("preparing the ends".to_owned()));
    let stage = Stage::new(plan).await?;
    reach(plan, stage.path()).await?;
    tell(News::Step("connecting".to_owned()));
    let mut cast = Cast {
        plan,
        stage,
        stop: stop.clone(),
        senders: Vec::new(),
        receivers: Vec::new(),
    };
    let result = match cast.begin().await {
        Ok(()) => match plan.ramp {
            Some(most) => ramp::run(&mut cast, most, outcome, tell).await,
            None => cast.play(outcome, tell).await,
        },
        Err(failure) => Err(failure),
    };
    cast.end().await;
    result
}

/// Whether the server is there at all.
async fn reach(plan: &Plan, path: &str) -> Result<(), Failure> {
    match plan.way.dialer(path)?.dial().await {
        Ok(link) => {
            link.close().await;
            Ok(())
        }
        Err(error) => Err(Failure::new(
            "the server",
            error.to_string(),
            "is it running, and is this its URL? `switchboard doctor` looks at the way to it",
        )),
    }
}

/// All ends of a scenario.
pub(super) struct Cast<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stage: Stage,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) senders: Vec<Peer>,
    pub(super) receivers: Vec<Peer>,
}

impl Cast<'_> {
    /// Starts those that send, and waits until the server has them.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.senders = self.stage.senders().await?;
        let patience = self.plan.patience();
        for peer in &mut self.senders {
            let registered = timeout(patience, peer.registered()).await;
            if registered.unwrap_or(false) {
                continue;
            }
            let name = peer.spectator.name().to_owned();
            let waited = patience.as_secs();
            let why = peer.error().await;
            let why =
                why.unwrap_or_else(|| format!("the server did not take it in within {waited} s"));
            let advice = "look at the server's log, and whether it speaks this dialect at this URL";
            return Err(Failure::new(name, why, advice));
        }
        Ok(())
    }

    /// Starts the ends that receive, and lets media flow.
    async fn play(&mut self, outcome: &mut Outcome, tell: Tell<'_>) -> Result<(), Failure> {
        for number in 1..=self.stage.receivers() {
            let peer = self.stage.receiver(number, true).await?;
            self.receivers.push(peer);
        }
        let (began, media) = (Instant::now(), self.first_media().await);
        if media {
            tell(News::Step("media flows".to_owned()));
            self.flow(outcome, tell).await;
        }
        self.conclude(began.elapsed(), outcome).await;
        Ok(())
    }

    /// Waits until everyone gets media, or it takes too long; whether anyone does.
    async fn first_media(&mut self) -> bool {
        let is_lonely = matches!(self.plan.ends, Ends::Send { .. });
        let patience = match is_lonely {
            true => LONELY,
            false => self.plan.patience(),
        };
        let deadline = Instant::now() + patience;
        loop {
            if is_lonely && self.sends() {
                return true;
            }
            let states = self.states().await;
            let any = states.contains(&State::Flows);
            let open = is_lonely || states.contains(&State::Open);
            if !open || Instant::now() > deadline || *self.stop.borrow() {
                return any;
            }
            sleep(LOOK).await;
        }
    }

    /// Whether somebody elsewhere takes what we send.
    fn sends(&self) -> bool {
        self.senders.iter().any(|peer| {
            let connections = peer.spectator.connections();
            connections
                .iter()
                .any(|(_, connection)| connection.progress().connected)
        })
    }

    async fn states(&mut self) -> Vec<State> {
        let mut states = Vec::new();
        for peer in self.senders.iter_mut().chain(&mut self.receivers) {
            peer.states(&mut states).await;
        }
        states
    }

    /// Lets media flow for the plan's time, and until all who come and leave have done so.
    async fn flow(&mut self, outcome: &mut Outcome, tell: Tell<'_>) {
        let plan = self.plan;
        let mut recorder = Recorder::new(plan.length);
        let Self {
            stage,
            stop,
            senders,
            receivers,
            ..
        } = self;
        let watch = Watch {
            plan,
            stop: stop.clone(),
            senders,
            receivers,
        };
        let churn = async {
            match plan.churn {
                0 => None,
                churn => Some(come_and_leave(stage, plan, stop, churn).await),
            }
        };
        let flow = watch.flow(&mut recorder, &mut outcome.minutes, tell);
        let (churned, ()) = tokio::join!(churn, flow);
        outcome.churn = churned;
        outcome.resources = recorder.finish();
    }

    /// Judges everything, while it still runs: what ends now, ends because we end it.
    async fn conclude(&mut self, waited: Duration, outcome: &mut Outcome) {
        let failures = self.unserved(waited).await;
        let broken: BTreeSet<_> = failures.iter().map(|it| it.place.clone()).collect();
        outcome.failures.extend(failures);
        let reports = self.reports();
        let lost = self.lost_on_the_way(&reports);
        for report in &reports {
            if !broken.contains(&report.name) {
                let mut found = judged(&self.plan.thresholds, report);
                found.retain(|failure| !self.is_left_out(failure, report, lost));
                outcome.failures.extend(found);
            }
        }
        outcome.connections = reports;
        outcome.sent = self.sent();
        if matches!(self.plan.ends, Ends::Send { .. }) && outcome.sent.is_empty() {
            outcome.failures.push(Failure::new(
                "this end",
                format!("nobody took what it sends within {} s", waited.as_secs()),
                "start the other end meanwhile, with the same id or room",
            ));
        }
        if let Some(churn) = &outcome.churn
            && churn.seen < churn.joins
        {
            outcome.failures.push(Failure::new(
                "those who came and left",
                format!(
                    "{} of {} saw no picture",
                    churn.joins - churn.seen,
                    churn.joins
                ),
                "look at the server's log for what it says of them",
            ));
        }
        outcome.failures.extend(grown(outcome));
        outcome.echo = self.echo();
        if let Some(Echo {
            sent, returned: 0, ..
        }) = outcome.echo
            && broken.is_empty()
        {
            outcome.failures.push(Failure::new(
                "the echo",
                format!("of {sent} messages over the data channel none came back"),
                "look at the gecko's log: does its worker run?",
            ));
        }
    }

    /// Of all pictures that left our senders, the percentage that never came; `None` if nothing is
    /// known of what was sent.
    fn lost_on_the_way(&self, reports: &[Report]) -> Option<f64> {
        let peers = || self.senders.iter().chain(&self.receivers);
        let mut sent = 0;
        for peer in peers() {
            for (partner, connection) in peer.spectator.connections() {
                let to_all = partner.as_deref() == Some(peer.spectator.name());
                // What a server forwards, it forwards to everyone who expects it.
                let takers = match to_all {
                    true => peers()
                        .filter(|other| other.expects.has(partner.as_deref()))
                        .count(),
                    false => 1,
                };
                sent += connection.progress().pictures * takers as u64;
            }
        }
        let videos = reports.iter().flat_map(Report::videos);
        let received = videos.map(|(_, video)| video.frames.received - video.frames.repeated);
        let lost = sent.saturating_sub(received.sum());
        (sent > 0).then(|| lost as f64 * 100.0 / sent as f64)
    }

    /// Whether a finding about lost pictures is about such as the sender left out, as our own do on a
    /// slow path: their numbers are missing, but nothing was lost on the way.
    fn is_left_out(&self, failure: &Failure, report: &Report, lost: Option<f64>) -> bool {
        let is_lost = failure
            .finding
            .as_ref()
            .is_some_and(|it| it.check == Check::Lost);
        is_lost
            && match lost {
                Some(percent) => percent <= self.plan.thresholds.lost_percent,
                None => {
                    let traffic = report.streams.iter().filter_map(|it| it.traffic.as_ref());
                    traffic.map(|it| it.lost).sum::<u64>() == 0
                }
            }
    }

    /// Who doesn't get what it should, and why.
    pub(super) async fn unserved(&mut self, waited: Duration) -> Vec<Failure> {
        let relay_only = self.plan.way.relay_only;
        let sender = match self.senders.first_mut() {
            Some(peer) => Some(Seen::of(peer).await),
            None => None,
        };
        // Where everyone is both, the first sender gets its media from the others.
        let other = match self.receivers.first_mut() {
            Some(peer) => Some(Seen::of(peer).await),
            None => None,
        };
        let mut failures = Vec::new();
        let senders = self.senders.iter_mut().map(|peer| (peer, &other));
        let receivers = self.receivers.iter_mut().map(|peer| (peer, &sender));
        for (peer, sender) in senders.chain(receivers) {
            let error = peer.error().await;
            for partner in peer.missing_from() {
                let connection = match &partner {
                    Some(partner) => peer.spectator.connection(partner.as_deref()),
                    None => None,
                };
                let named = partner.flatten();
                let place = match &named {
                    Some(partner) => format!("{} from {partner}", peer.spectator.name()),
                    None => peer.spectator.name().to_owned(),
                };
                let case = Case {
                    place,
                    waited,
                    relay_only,
                    registered: peer.spectator.is_registered(),
                    error: error.as_deref(),
                    decoded: connection.as_ref().is_some_and(|it| it.has_media()),
                    progress: connection.as_ref().map(|it| it.progress()),
                    sender: sender.as_ref().map(Seen::sender),
                };
                failures.extend(case.explain());
            }
        }
        failures
    }

    /// The reports of all that is judged.
    fn reports(&self) -> Vec<Report> {
        let all = self.senders.iter().chain(&self.receivers);
        all.flat_map(Peer::reports).collect()
    }

    fn sent(&self) -> Vec<SentReport> {
        let all = self.senders.iter().chain(&self.receivers);
        let mut sent = Vec::new();
        for peer in all {
            for (partner, connection) in peer.spectator.connections() {
                let progress = connection.progress();
                let name = peer.spectator.name();
                let name = match &partner {
                    Some(partner) if partner == name => format!("{name} to the server"),
                    Some(partner) => format!("{name} to {partner}"),
                    None => name.to_owned(),
                };
                sent.extend(sent_by(&name, &progress));
            }
        }
        sent
    }

    fn echo(&self) -> Option<Echo> {
        // Of several pages, the first: they share the way.
        let mut echoes = self.receivers.iter().filter_map(|peer| peer.echo.as_ref());
        echoes.next().map(|echo| echo.read())
    }

    /// Stops everyone: those first that came last.
    async fn end(&mut self) {
        for peers in [&mut self.receivers, &mut self.senders] {
            for peer in peers.iter_mut() {
                peer.tell_to_stop();
            }
            for peer in peers.drain(..) {
                peer.stop().await;
            }
        }
    }
}

/// How it stands with one expected connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It may still come.
    Open,
    /// Something is decoded.
    Flows,
    /// It won't come.
    Over,
}

impl Peer {
    /// Whose media is missing: an inner `None` is the partner without a name, an outer one anyone.
    fn missing_from(&self) -> Vec<Option<Option<String>>> {
        match &self.expects {
            Expects::Nothing => Vec::new(),
            Expects::These(partners) => partners
                .iter()
                .filter(|partner| {
                    let connection = self.spectator.connection(partner.as_deref());
                    !connection.is_some_and(|it| it.has_media() && !it.is_broken())
                })
                .map(|partner| Some(partner.clone()))
                .collect(),
            Expects::Anyone => {
                let connections = self.spectator.connections();
                match connections.iter().any(|(_, it)| it.has_media()) {
                    true => Vec::new(),
                    false => {
                        let first = connections.into_iter().next();
                        vec![first.map(|(partner, _)| partner)]
                    }
                }
            }
        }
    }

    pub(super) async fn states(&mut self, states: &mut Vec<State>) {
        let over = self.error().await.is_some();
        let missing = self.missing_from().len();
        let expected = match &self.expects {
            Expects::Nothing => 0,
            Expects::These(partners) => partners.len(),
            Expects::Anyone => 1,
        };
        let state = if over { State::Over } else { State::Open };
        states.extend(std::iter::repeat_n(state, missing));
        states.extend(std::iter::repeat_n(
            State::Flows,
            expected.saturating_sub(missing),
        ));
    }

    /// The reports of what it receives.
    pub(super) fn reports(&self) -> Vec<Report> {
        let connections = self.spectator.connections();
        connections
            .iter()
            .filter(|(partner, _)| self.expects.has(partner.as_deref()))
            .map(|(_, connection)| connection.report())
            .collect()
    }
}

/// What an end that sends is like, without holding on to it.
struct Seen {
    name: String,
    registered: bool,
    error: Option<String>,
    progress: Option<Progress>,
    packets: u64,
}

impl Seen {
    async fn of(peer: &mut Peer) -> Self {
        let error = peer.error().await;
        let connections = peer.spectator.connections();
        let all: Vec<_> = connections.iter().map(|(_, it)| it.progress()).collect();
        let packets = all.iter().flat_map(|it| &it.sent).map(|it| it.packets);
        Self {
            name: peer.spectator.name().to_owned(),
            registered: peer.spectator.is_registered(),
            error,
            packets: packets.sum(),
            progress: all
                .iter()
                .find(|it| it.failed.is_some())
                .or(all.first())
                .cloned(),
        }
    }

    fn sender(&self) -> Sender<'_> {
        Sender {
            name: &self.name,
            registered: self.registered,
            error: self.error.as_deref(),
            progress: self.progress.clone(),
            packets: self.packets,
        }
    }
}

/// What of a report isn't good enough.
pub(super) fn judged(thresholds: &Thresholds, report: &Report) -> Vec<Failure> {
    let findings = thresholds.verdict(report).into_iter();
    findings
        .map(|finding| Failure {
            place: finding.place.clone(),
            reason: finding.to_string(),
            advice: diagnosis::advice(finding.check).to_owned(),
            finding: Some(Box::new(finding)),
        })
        .collect()
}

/// What of this process grew.
fn grown(outcome: &Outcome) -> Vec<Failure> {
    let grown = outcome.resources.growth.iter().filter(|it| !it.flat);
    grown
        .map(|it| {
            Failure::new(
                "this process",
                format!(
                    "{} grew from {:.1} to {:.1} {}, more than to {:.1}",
                    it.what, it.before, it.after, it.unit, it.limit
                ),
                "the curve in the report shows when",
            )
        })
        .collect()
}

fn sent_by(name: &str, progress: &Progress) -> Vec<SentReport> {
    let seconds = progress.since.map_or(0.0, |at| (now() - at).as_secs_f64());
    let report = |it: &crate::media::OutboundStats| SentReport {
        name: name.to_owned(),
        codec: it.codec.name().to_owned(),
        packets: it.packets,
        bitrate: (it.bytes as f64 * 8.0 / seconds.max(0.001)).round(),
        lost: it.lost,
        nacks: it.nacks,
        picture_requests: it.picture_requests,
        round_trip_ms: (it.round_trip * 10_000.0).round() / 10.0,
    };
    progress.sent.iter().map(report).collect()
}

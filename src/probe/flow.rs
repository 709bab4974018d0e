//! While media flows: figures each second, a line each minute, and those who come and leave.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::ends::{Peer, Stage};
use super::outcome::{Churn, Minute};
use super::plan::Plan;
use super::resources::Recorder;
use super::run::{LOOK, State};
use crate::media::Kind;

/// The time between two figures.
const TICK: Duration = Duration::from_secs(1);
/// Numbers of the ends that come and leave begin here.
const CHURN_NUMBERS: u32 = 10_000;

/// What happens while a scenario runs, for who watches.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something begins.
    Step(String),
    /// Media has flowed for a while.
    Tick(Tick),
    /// A minute is over.
    Minute(Minute),
}

/// How it is now: of all streams, the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tick {
    /// How long media has flowed.
    pub elapsed: Duration,
    /// How long it is to flow.
    pub length: Duration,
    /// Connections that are up.
    pub connected: usize,
    /// The lowest frame rate in the last second.
    pub frame_rate: f64,
    /// The highest mean latency in the last second, in milliseconds.
    pub latency_ms: Option<f64>,
    /// All bits per second.
    pub bitrate: f64,
    /// All lost pictures.
    pub lost: u64,
}

/// Who is told what happens.
pub type Tell<'a> = &'a (dyn Fn(News) + Sync);

/// Who is looked at while media flows.
pub(super) struct Watch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) senders: &'a [Peer],
    pub(super) receivers: &'a [Peer],
}

impl Watch<'_> {
    pub(super) async fn flow(
        &self,
        recorder: &mut Recorder,
        minutes: &mut Vec<Minute>,
        tell: Tell<'_>,
    ) {
        let (start, length) = (Instant::now(), self.plan.length);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let (end, mut stop) = (start + length, self.stop.clone());
        let mut minute = start + Duration::from_secs(60);
        loop {
            recorder.tick(self.frame_age());
            if Instant::now() >= minute {
                minute += Duration::from_secs(60);
                let number = u32::try_from(minutes.len()).unwrap_or(u32::MAX);
                let over = self.minute(number.saturating_add(1));
                minutes.push(over);
                tell(News::Minute(over));
            }
            tell(News::Tick(self.tick(start.elapsed(), length)));
            tokio::select! {
                () = sleep_until(end) => break,
                _ = stop.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
        }
        recorder.tick(self.frame_age());
        tell(News::Tick(self.tick(length, length)));
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.senders.iter().chain(self.receivers)
    }

    /// How old the pictures were that were sent in the last second: of all streams, the worst mean.
    fn frame_age(&self) -> Option<Duration> {
        let connections = self.peers().flat_map(|peer| peer.spectator.connections());
        connections
            .flat_map(|(_, connection)| connection.progress().sent)
            .filter(|sent| sent.codec.kind() == Kind::Video && sent.frame_age.frames > 0)
            .map(|sent| sent.frame_age.mean)
            .max()
    }

    fn tick(&self, elapsed: Duration, length: Duration) -> Tick {
        let reports: Vec<_> = self.peers().flat_map(Peer::reports).collect();
        let mut tick = Tick {
            elapsed,
            length,
            connected: reports.len(),
            frame_rate: f64::INFINITY,
            ..Tick::default()
        };
        for stream in reports.iter().flat_map(|report| &report.streams) {
            // The last point may have just begun.
            let whole = stream.curve.points.iter().rev().nth(1);
            let Some(point) = whole.or(stream.curve.points.last()) else {
                continue;
            };
            tick.bitrate += point.bitrate.unwrap_or(0.0);
            if let Some(video) = &stream.video {
                tick.lost += video.frames.lost;
                tick.frame_rate = tick.frame_rate.min(point.frame_rate);
                tick.latency_ms = higher(tick.latency_ms, point.latency_ms);
            }
        }
        if !tick.frame_rate.is_finite() {
            tick.frame_rate = 0.0;
        }
        tick
    }

    fn minute(&self, number: u32) -> Minute {
        let mut minute = Minute {
            minute: number,
            frame_rate: f64::INFINITY,
            ..Minute::default()
        };
        let connections = self.peers().flat_map(|peer| peer.spectator.connections());
        for (_, connection) in connections {
            let report = connection.interval();
            minute.connected += usize::from(!report.streams.is_empty());
            for stream in &report.streams {
                minute.bitrate += stream.traffic.as_ref().map_or(0.0, |it| it.bitrate);
                let Some(video) = &stream.video else { continue };
                minute.lost += video.frames.lost;
                minute.frame_rate = minute.frame_rate.min(video.frame_rate);
                minute.longest_freeze_ms = minute.longest_freeze_ms.max(video.longest_freeze_ms);
                let latency = video.latency;
                minute.latency_p50_ms = higher(minute.latency_p50_ms, latency.map(|it| it.p50_ms));
                minute.latency_p95_ms = higher(minute.latency_p95_ms, latency.map(|it| it.p95_ms));
            }
        }
        if !minute.frame_rate.is_finite() {
            minute.frame_rate = 0.0;
        }
        minute
    }
}

/// Lets ends come, wait for their first picture, and leave, one after the other.
pub(super) async fn come_and_leave(
    stage: &Stage,
    plan: &Plan,
    stop: &watch::Receiver<bool>,
    joins: u32,
) -> Churn {
    let mut churn = Churn::default();
    let each = plan.length / joins;
    for number in 0..joins {
        if *stop.borrow() {
            break;
        }
        let next = Instant::now() + each;
        churn.joins += 1;
        match stage.receiver(CHURN_NUMBERS + number, true).await {
            Ok(mut peer) => {
                let first = timeout(plan.patience(), first_frame(&mut peer)).await;
                if let Ok(Some(first)) = first {
                    churn.seen += 1;
                    churn.first_frame_ms.push(first);
                }
                peer.stop().await;
            }
            Err(failure) => tracing::warn!(%failure, "nobody came"),
        }
        let mut stop = stop.clone();
        tokio::select! {
            () = sleep_until(next) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    churn
}

/// The time to the first picture from everyone; `None` if it won't come.
async fn first_frame(peer: &mut Peer) -> Option<f64> {
    loop {
        let mut states = Vec::new();
        peer.states(&mut states).await;
        if states.contains(&State::Over) {
            return None;
        }
        if !states.contains(&State::Open) {
            let reports = peer.reports();
            let times = reports.iter().filter_map(|it| it.phases.first_frame_ms);
            return times.reduce(f64::max);
        }
        sleep(LOOK).await;
    }
}

fn higher(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().reduce(f64::max)
}

//! What a peer does with the media that it receives, and what it says about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::events::Events;
use super::observe::{Moment, Observer, Sight};
use crate::media::{
    Container, Counter, Counts, InboundStats, Kind, MediaError, Receive, Recorder, Session, Tap,
    TrackCount,
};

/// How often the counts are told.
const REPORT: Duration = Duration::from_secs(1);
/// The longest part of a peer's id in the name of its file, in bytes.
const NAME: usize = 100;

/// What becomes of received media.
#[derive(Debug, Clone)]
pub enum Reception {
    /// It is thrown away, and not asked for.
    Nothing,
    /// It is counted, and the counts are told each second.
    Count,
    /// It is shown in windows and played.
    Display(Receive),
    /// It is written to this file.
    File(PathBuf, Container),
    /// It is written to files in this directory, one for each partner.
    Directory(PathBuf, Container),
    /// It is looked at.
    Observed(Observation),
}

/// See [`Reception::Observed`].
#[derive(Clone)]
pub struct Observation {
    /// Who looks.
    pub observer: Arc<dyn Observer>,
    /// Whether media is asked for; without, only the sessions are looked at.
    pub wants_media: bool,
}

/// What receives one partner's media.
pub(super) struct Receiver {
    partner: Option<Arc<str>>,
    work: Work,
    ticks: Interval,
    started: Reported,
    /// The last report.
    reported: Reported,
    /// The last look at the jitter buffers.
    buffered: Buffered,
}

/// What was counted until some time.
#[derive(Clone)]
struct Reported {
    at: Instant,
    counts: Counts,
    buffered: Buffered,
}

/// What the session's jitter buffers say.
#[derive(Clone, Default)]
struct Buffered {
    latency: Duration,
    inbound: Vec<InboundStats>,
}

enum Work {
    Nothing,
    Count(Counter),
    Display(Receive),
    Observed(Arc<dyn Sight>),
    Record {
        tap: Tap,
        /// `None` between two recordings.
        recorder: Option<Recorder>,
    },
}

/// A line about what was counted, or about a file.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(flatten)]
    report: Report<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Report<'a> {
    /// Since the last line.
    Count(Count),
    /// Of the whole call.
    Total(Count),
    File {
        path: &'a Path,
        seconds: f64,
    },
}

#[derive(Serialize)]
struct Count {
    seconds: f64,
    /// How long packets wait for late ones.
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Rate>,
}

#[derive(Serialize)]
struct Rate {
    codec: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i32>,
    /// In this time.
    frames: u64,
    /// Bits per second, without packet headers.
    bitrate: u64,
    /// Packets that didn't come in time, with the late ones.
    lost: u64,
    /// Packets that came after their time, and were dropped.
    late: u64,
    /// The mean deviation of the packets' arrival.
    jitter_ms: f64,
}

impl Reception {
    /// Whether media is wanted at all.
    pub(super) const fn is_wanted(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Observed(observation) => observation.wants_media,
            _ => true,
        }
    }

    /// Whether somebody looks at the sessions, with media or without.
    pub(super) const fn is_observed(&self) -> bool {
        matches!(self, Self::Observed(_))
    }

    /// For a session that gets no media: it can be looked at all the same.
    pub(super) fn without_media(&self) -> Self {
        match self {
            Self::Observed(observation) => Self::Observed(Observation {
                observer: Arc::clone(&observation.observer),
                wants_media: false,
            }),
            _ => Self::Nothing,
        }
    }

    /// The server has taken the peer in.
    pub(super) fn registered(&self) {
        if let Self::Observed(observation) = self {
            observation.observer.registered();
        }
    }

    /// The same for one of several peers in this process: with a directory of its own.
    ///
    /// # Errors
    /// If the directory can't be made.
    pub fn of(&self, user: &str) -> std::io::Result<Self> {
        let Self::Directory(directory, container) = self else {
            return Ok(self.clone());
        };
        let directory = directory.join(file_name(user));
        std::fs::create_dir_all(&directory)?;
        Ok(Self::Directory(directory, *container))
    }

    /// Prepares for one partner.
    pub(super) fn start(&self, partner: Option<&str>) -> Receiver {
        let work = match self {
            Self::Nothing => Work::Nothing,
            Self::Count => Work::Count(Counter::default()),
            Self::Display(receive) => Work::Display(receive.clone()),
            Self::Observed(observation) => Work::Observed(observation.observer.begins(partner)),
            Self::File(path, container) => Work::record(path.clone(), *container),
            Self::Directory(directory, container) => {
                let path = file_path(directory, partner.unwrap_or("peer"), *container);
                Work::record(path, *container)
            }
        };
        let mut ticks = interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Receiver {
            partner: partner.map(Arc::from),
            work,
            ticks,
            started: Reported::nothing(),
            reported: Reported::nothing(),
            buffered: Buffered::default(),
        }
    }
}

impl Receiver {
    /// For the session's configuration.
    pub(super) fn receive(&self) -> Receive {
        match &self.work {
            Work::Nothing => Receive::Drain,
            Work::Count(counter) => counter.receive(),
            Work::Display(receive) => receive.clone(),
            Work::Observed(sight) => sight.receive(),
            Work::Record { tap, .. } => tap.receive(),
        }
    }

    /// Waits until it is time for a report; for ever if there is none. Cancel-safe.
    pub(super) async fn due(&mut self) {
        match self.work {
            Work::Count(_) | Work::Observed(_) => {
                self.ticks.tick().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Tells who looks at the session, if anybody does.
    pub(super) fn tell_sight(&self, moment: impl FnOnce() -> Option<Moment>) {
        if let Work::Observed(sight) = &self.work
            && let Some(moment) = moment()
        {
            sight.tell(moment);
        }
    }

    /// Tells what was counted since the last report, or how the session is doing.
    pub(super) async fn report(&mut self, session: &Session, events: &Events) {
        match &self.work {
            Work::Count(counter) => {
                let buffered = Buffered::of(session);
                let counts = counter.counts();
                let count = self.reported.until((&counts, &buffered));
                self.buffered = buffered.clone();
                self.reported = Reported {
                    at: Instant::now(),
                    counts,
                    buffered,
                };
                self.tell(events, Report::Count(count));
            }
            Work::Observed(sight) => match session.stats().await {
                Ok(stats) => sight.stats(stats),
                Err(error) => tracing::debug!(%error, "no statistics"),
            },
            _ => {}
        }
    }

    /// The session is about to be closed: looks at it once more.
    pub(super) fn look(&mut self, session: &Session) {
        self.buffered = Buffered::of(session);
    }

    /// The session is closed: completes the file, or tells the sum.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) async fn finish(self, events: &Events) -> Result<(), MediaError> {
        let peer = self.partner;
        let peer = peer.as_deref();
        match self.work {
            Work::Nothing | Work::Display(_) => {}
            Work::Observed(sight) => sight.tell(Moment::Ended),
            Work::Count(counter) => {
                let total = self.started.until((&counter.counts(), &self.buffered));
                let report = Report::Total(total);
                events.tell(&Line { peer, report });
            }
            Work::Record { recorder, .. } => {
                if let Some(recorder) = recorder {
                    complete(recorder, peer, events).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends the recording and nothing else; what to [`complete`]. `None` if none runs.
    pub(super) fn end_recording(&mut self) -> Option<Recorder> {
        let Work::Record { recorder, .. } = &mut self.work else {
            return None;
        };
        recorder.take().inspect(Recorder::end)
    }

    /// Starts another recording in the directory where the last one is; false if there is none. One
    /// that runs should be ended before.
    pub(super) fn record(&mut self, reception: &Reception, name: &str) -> bool {
        let (Work::Record { tap, recorder }, Reception::Directory(directory, container)) =
            (&mut self.work, reception)
        else {
            return false;
        };
        let name = format!("{}-{name}", self.partner.as_deref().unwrap_or("peer"));
        let path = file_path(directory, &name, *container);
        *recorder = Some(Recorder::start(tap, path, *container));
        true
    }

    fn tell(&self, events: &Events, report: Report<'_>) {
        let peer = self.partner.as_deref();
        events.tell(&Line { peer, report });
    }
}

impl Work {
    fn record(path: PathBuf, container: Container) -> Self {
        let tap = Tap::default();
        let recorder = Some(Recorder::start(&tap, path, container));
        Self::Record { tap, recorder }
    }
}

/// Completes a recording, and tells where it is.
///
/// # Errors
/// If the file can't be written.
pub(super) async fn complete(
    recorder: Recorder,
    peer: Option<&str>,
    events: &Events,
) -> Result<(), MediaError> {
    match recorder.finish().await? {
        Some(recorded) => {
            let seconds = rounded(recorded.duration);
            let path = &recorded.path;
            let report = Report::File { path, seconds };
            events.tell(&Line { peer, report });
        }
        None => tracing::warn!("no media came; there is no recording"),
    }
    Ok(())
}

impl Buffered {
    fn of(session: &Session) -> Self {
        Self {
            latency: session.receive_latency(),
            inbound: session.inbound(),
        }
    }

    fn get(&self, kind: Kind) -> Option<&InboundStats> {
        self.inbound.iter().find(|inbound| inbound.kind == kind)
    }
}

impl Reported {
    fn nothing() -> Self {
        Self {
            at: Instant::now(),
            counts: Counts::default(),
            buffered: Buffered::default(),
        }
    }

    /// What was counted since.
    fn until(&self, (counts, buffered): (&Counts, &Buffered)) -> Count {
        let elapsed = self.at.elapsed();
        let rate = |kind, before: Option<TrackCount>, now: Option<TrackCount>| {
            let inbound = (self.buffered.get(kind), buffered.get(kind));
            now.map(|now| Rate::between(before, now, inbound, elapsed))
        };
        Count {
            seconds: rounded(elapsed),
            latency_ms: u64::try_from(buffered.latency.as_millis()).unwrap_or(u64::MAX),
            video: rate(Kind::Video, self.counts.video, counts.video),
            audio: rate(Kind::Audio, self.counts.audio, counts.audio),
        }
    }
}

impl Rate {
    fn between(
        before: Option<TrackCount>,
        now: TrackCount,
        inbound: (Option<&InboundStats>, Option<&InboundStats>),
        elapsed: Duration,
    ) -> Self {
        let (frames, bytes) = before.map_or((0, 0), |track| (track.frames, track.bytes));
        let bits = u128::from(now.bytes.saturating_sub(bytes)) * 8;
        let bitrate = bits * 1000 / elapsed.as_millis().max(1);
        let since = |of: fn(&InboundStats) -> u64| {
            let (before, now) = (inbound.0.map_or(0, of), inbound.1.map_or(0, of));
            now.saturating_sub(before)
        };
        Self {
            codec: now.codec.name(),
            width: now.size.map(|(width, _)| width),
            height: now.size.map(|(_, height)| height),
            frames: now.frames.saturating_sub(frames),
            bitrate: u64::try_from(bitrate).unwrap_or(u64::MAX),
            lost: since(|it| it.lost),
            late: since(|it| it.late),
            jitter_ms: rounded(inbound.1.map_or(Duration::ZERO, |it| it.jitter) * 1000),
        }
    }
}

/// Seconds, to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn file_path(directory: &Path, id: &str, container: Container) -> PathBuf {
    directory.join(format!("{}.{}", file_name(id), container.extension()))
}

/// A file's name for a peer's id, which a stranger chose: no path, nothing hidden, not too long.
fn file_name(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || b"-_".contains(&byte)
            || (byte == b'.' && !name.is_empty());
        if plain {
            name.push(char::from(byte));
        } else {
            name += &format!("%{byte:02X}");
        }
    }
    name.truncate(NAME);
    name
}

impl std::fmt::Debug for Observation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observation")
            .field("wants_media", &self.wants_media)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_id_makes_no_path() {
        assert_eq!(file_name("bob-1.2"), "bob-1.2");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(file_name(".hidden"), "%2Ehidden");
        assert_eq!(file_name("ä"), "%C3%A4");
        assert_eq!(file_name(&"x".repeat(5000)).len(), NAME);
    }
}

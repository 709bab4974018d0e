//! What a peer does with the media that it receives, and what it says about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::events::Events;
use crate::media::{Container, Counter, Counts, MediaError, Receive, Recorder, TrackCount};

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
}

/// What receives one partner's media.
pub(super) struct Receiver {
    partner: Option<Arc<str>>,
    work: Work,
    started: Instant,
    ticks: Interval,
    /// The time of the last report, and the counts then.
    reported: (Instant, Counts),
}

enum Work {
    Nothing,
    Count(Counter),
    Display(Receive),
    Record(Recorder),
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
}

impl Reception {
    /// Whether media is wanted at all.
    pub(super) const fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Prepares for one partner.
    pub(super) fn start(&self, partner: Option<&str>) -> Receiver {
        let work = match self {
            Self::Nothing => Work::Nothing,
            Self::Count => Work::Count(Counter::default()),
            Self::Display(receive) => Work::Display(receive.clone()),
            Self::File(path, container) => Work::Record(Recorder::start(path.clone(), *container)),
            Self::Directory(directory, container) => {
                let name = file_name(partner.unwrap_or("peer"));
                let path = directory.join(format!("{name}.{}", container.extension()));
                Work::Record(Recorder::start(path, *container))
            }
        };
        let mut ticks = interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Receiver {
            partner: partner.map(Arc::from),
            work,
            started: Instant::now(),
            ticks,
            reported: (Instant::now(), Counts::default()),
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
            Work::Record(recorder) => recorder.receive(),
        }
    }

    /// Waits until it is time for a report; for ever if there is none. Cancel-safe.
    pub(super) async fn due(&mut self) {
        match self.work {
            Work::Count(_) => {
                self.ticks.tick().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Tells what was counted since the last report.
    pub(super) fn report(&mut self, events: &Events) {
        if let Work::Count(counter) = &self.work {
            let (at, before) = self.reported;
            let counts = counter.counts();
            let count = Count::between(&before, &counts, at.elapsed());
            self.reported = (Instant::now(), counts);
            self.tell(events, Report::Count(count));
        }
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
            Work::Count(counter) => {
                let elapsed = self.started.elapsed();
                let total = Count::between(&Counts::default(), &counter.counts(), elapsed);
                let report = Report::Total(total);
                events.tell(&Line { peer, report });
            }
            Work::Record(recorder) => match recorder.finish().await? {
                Some(recorded) => {
                    let seconds = rounded(recorded.duration);
                    let path = &recorded.path;
                    let report = Report::File { path, seconds };
                    events.tell(&Line { peer, report });
                }
                None => tracing::warn!("no media came; there is no recording"),
            },
        }
        Ok(())
    }

    fn tell(&self, events: &Events, report: Report<'_>) {
        let peer = self.partner.as_deref();
        events.tell(&Line { peer, report });
    }
}

impl Count {
    fn between(before: &Counts, now: &Counts, elapsed: Duration) -> Self {
        Self {
            seconds: rounded(elapsed),
            video: now
                .video
                .map(|track| Rate::between(before.video, track, elapsed)),
            audio: now
                .audio
                .map(|track| Rate::between(before.audio, track, elapsed)),
        }
    }
}

impl Rate {
    fn between(before: Option<TrackCount>, now: TrackCount, elapsed: Duration) -> Self {
        let (frames, bytes) = before.map_or((0, 0), |track| (track.frames, track.bytes));
        let bits = u128::from(now.bytes.saturating_sub(bytes)) * 8;
        let bitrate = bits * 1000 / elapsed.as_millis().max(1);
        Self {
            codec: now.codec.name(),
            width: now.size.map(|(width, _)| width),
            height: now.size.map(|(_, height)| height),
            frames: now.frames.saturating_sub(frames),
            bitrate: u64::try_from(bitrate).unwrap_or(u64::MAX),
        }
    }
}

/// Seconds, to the millisecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
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

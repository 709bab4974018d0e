//! The judge: observations in, a report and a verdict out. Pure.
//!
//! A [`Judge`] judges what one end receives over one connection, stream by stream. Whoever watches the
//! connection tells it what is seen and when; it keeps counts, histograms and a curve of each
//! stream, in memory that doesn't grow with time. [`Judge::report`] says how all of it was,
//! [`Judge::interval`] how it was since the last interval (for a line every minute), and
//! [`Thresholds::verdict`] what of a report isn't good enough.
//!
//! All times are [`Duration`]s on one clock, the one by which frames are stamped: the time since the
//! Unix epoch (see [`super::now`]). A stream without marks (a foreign publisher's) is judged as far as
//! that goes: rate, freezes, loss.

mod order;
mod report;
mod series;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

pub use report::{
    AudioReport, Connection, Frames, Percentiles, PhaseTimes, Report, Span, StreamReport, Traffic,
    VideoReport,
};
pub use series::{Curve, Point};
pub use verdict::{Check, Finding, Thresholds};

use crate::media::Kind;
use stream::Stream;

/// Streams of one connection that are judged; what is seen of more is left out and counted.
pub const STREAMS: usize = 64;

/// Which stream, as the receiving end names it: the media stream's id, the `a=mid`, a user's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// By its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a connection has come. Each is taken at its first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The media was asked for: everything is counted from here.
    Requested,
    /// Both session descriptions are exchanged.
    Signaled,
    /// All own candidates are gathered.
    Gathered,
    /// A path works: the ICE checks are through.
    Checked,
    /// DTLS is through: media can flow.
    Connected,
    /// The first packet of media came.
    FirstPacket,
    /// The first picture was decoded (for a connection without pictures, the first sound).
    FirstFrame,
}

/// What a decoded picture says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoMark {
    /// Which source painted it.
    pub source: u8,
    /// Its number, counted up by one with each picture of the source; 24 bits, then from 0 again.
    pub number: u32,
    /// When it left its source.
    pub captured: Duration,
}

/// A decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// When it was to be shown by its timestamp, on a clock that it shares with the sound. It need not
    /// be the clock of the observations.
    pub due: Option<Duration>,
    /// What it says about itself; `None` if it can't be read.
    pub mark: Option<VideoMark>,
    /// The same for two pictures that look exactly the same.
    pub fingerprint: u64,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// A stretch of decoded sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Where it begins, by its timestamp (as [`Picture::due`]).
    pub due: Duration,
    /// How long it is.
    pub length: Duration,
    /// Whether anything is to be heard.
    pub audible: bool,
}

/// A mark in decoded sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioMark {
    /// Where it begins, by its timestamp (as [`Picture::due`]).
    pub due: Duration,
    /// Which source made it.
    pub source: u8,
    /// Its number, counted up by one with each mark; 12 bits, then from 0 again.
    pub index: u32,
    /// When it left its source.
    pub captured: Duration,
}

/// Statistics of a stream, counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamSample {
    /// The codec's name, as in SDP.
    pub codec: Option<String>,
    /// Bytes received.
    pub bytes: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that were sent or received a second time.
    pub retransmitted: u64,
}

/// Statistics of the connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectionSample {
    /// The kind of the own candidate in use: `host`, `srflx`, `prflx`, `relay`.
    pub local_candidate: String,
    /// The kind of the other side's candidate in use.
    pub remote_candidate: String,
    /// Round-trip time, if it is known.
    pub round_trip: Option<Duration>,
}

/// What was seen or heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The connection has come so far.
    Phase(Phase),
    /// A picture was decoded.
    Picture(StreamId, Picture),
    /// Sound was decoded.
    Sound(StreamId, Sound),
    /// A mark was heard.
    Mark(StreamId, AudioMark),
    /// A stream ended as it should: what follows is no freeze.
    Ended(StreamId),
    /// Statistics of a stream.
    Stream(StreamId, Kind, StreamSample),
    /// Statistics of the connection.
    Connection(ConnectionSample),
}

/// Judges what one end of a connection receives.
#[derive(Debug, Clone)]
pub struct Judge {
    name: String,
    /// When the first thing was observed.
    started: Option<Duration>,
    /// When the interval began.
    interval: Option<Duration>,
    phases: PhaseTimes,
    requested: Option<Duration>,
    connection: Connection,
    streams: Vec<Stream>,
    left_out: u64,
}

impl Judge {
    /// A judge that has seen nothing. `name` says in reports whose connection it is (`user 3 of room
    /// a`, `viewer`).
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            started: None,
            interval: None,
            phases: PhaseTimes::default(),
            requested: None,
            connection: Connection::default(),
            streams: Vec::new(),
            left_out: 0,
        }
    }

    /// Takes what was observed at a time. Observations of one stream come in the order of their times;
    /// small steps back (of several threads) do no harm.
    pub fn observe(&mut self, at: Duration, what: Observation) {
        let started = *self.started.get_or_insert(at);
        match what {
            Observation::Phase(phase) => self.phase(at, phase),
            Observation::Connection(sample) => self.connection.take(sample),
            Observation::Picture(id, picture) => {
                if let Some(stream) = self.stream(&id, Kind::Video, started) {
                    stream.picture(at, &picture);
                    self.phase(at, Phase::FirstFrame);
                }
            }
            Observation::Sound(id, sound) => {
                if let Some(stream) = self.stream(&id, Kind::Audio, started) {
                    stream.sound(at, sound);
                    self.first_sound(at);
                }
            }
            Observation::Ended(id) => {
                for stream in self.streams.iter_mut().filter(|stream| *stream.id() == id) {
                    stream.end(at);
                }
            }
            Observation::Mark(id, mark) => self.mark(at, &id, mark, started),
            Observation::Stream(id, kind, sample) => {
                if let Some(stream) = self.stream(&id, kind, started) {
                    stream.sample(at, sample);
                }
            }
        }
    }

    /// How everything was from the start to `now`.
    #[must_use]
    pub fn report(&self, now: Duration) -> Report {
        let since = self.started.unwrap_or(now);
        self.summary(Span::between(since, now), |stream| stream.report(now))
    }

    /// How it was since the last interval ended, or since the start; a new interval begins. Curves are
    /// left out.
    pub fn interval(&mut self, now: Duration) -> Report {
        let since = self.interval.or(self.started).unwrap_or(now);
        let report = self.summary(Span::between(since, now), |stream| {
            stream.interval_report(since, now)
        });
        self.interval = Some(now);
        for stream in &mut self.streams {
            stream.begin_interval();
        }
        report
    }

    fn summary(&self, span: Span, each: impl Fn(&Stream) -> StreamReport) -> Report {
        Report {
            name: self.name.clone(),
            span,
            phases: self.phases.clone(),
            connection: self.connection.clone(),
            streams: self.streams.iter().map(each).collect(),
            left_out: self.left_out,
        }
    }

    fn phase(&mut self, at: Duration, phase: Phase) {
        if phase == Phase::Requested {
            self.requested.get_or_insert(at);
            self.phases.requested = true;
        }
        let since = self.requested.or(self.started).unwrap_or(at);
        self.phases.reached(phase, at.saturating_sub(since));
    }

    /// For a connection without pictures, the first sound is what was waited for.
    fn first_sound(&mut self, at: Duration) {
        if self
            .streams
            .iter()
            .all(|stream| stream.kind() == Kind::Audio)
        {
            self.phase(at, Phase::FirstFrame);
        }
    }

    fn mark(&mut self, at: Duration, id: &StreamId, mark: AudioMark, started: Duration) {
        // Pictures and sound of one source belong together, whatever the streams are called.
        let video = self
            .streams
            .iter()
            .find_map(|stream| stream.timing_of(mark.source));
        if let Some(stream) = self.stream(id, Kind::Audio, started) {
            stream.mark(at, mark, video);
        }
    }

    fn stream(&mut self, id: &StreamId, kind: Kind, started: Duration) -> Option<&mut Stream> {
        let found = self
            .streams
            .iter()
            .position(|stream| stream.id() == id && stream.kind() == kind);
        if let Some(found) = found {
            return self.streams.get_mut(found);
        }
        if self.streams.len() >= STREAMS {
            self.left_out += 1;
            return None;
        }
        self.streams.push(Stream::new(id.clone(), kind, started));
        self.streams.last_mut()
    }
}

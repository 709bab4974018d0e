//! One stream: what was seen last, and what follows from what is seen next.

use std::time::Duration;

use super::order::{Order, Step};
use super::report::StreamReport;
use super::series::{Curve, Series};
use super::tally::{Tally, count_f64, micros};
use super::{AudioMark, Picture, Sound, StreamId, StreamSample};
use crate::media::Kind;

/// The bits of a picture's number.
const PICTURE_BITS: u32 = 24;
/// The bits of a sound mark's number.
const MARK_BITS: u32 = 12;
/// Sources of one stream that are told by name.
const SOURCES: usize = 8;
/// Steps between sound that are no gap: clocks differ a little, and timestamps are rounded.
const SEAM: Duration = Duration::from_millis(25);
/// Sound may come late by so much before its end counts as a gap that goes on.
const OVERDUE: Duration = Duration::from_millis(500);
/// Sound that goes back by more than this is on a new clock.
const BACK: Duration = Duration::from_secs(1);
/// Pictures whose timing is remembered, for the offset of the sound.
const TIMINGS: usize = 15;

/// A stream under judgement.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    id: StreamId,
    kind: Kind,
    total: Tally,
    interval: Tally,
    series: Series,
    /// Whether a mark was ever read.
    coded: bool,
    sources: Vec<u8>,
    order: Order,
    /// When the first of it came, and since when it has ended.
    first: Option<Duration>,
    ended: Option<Duration>,
    /// When the last new picture, or the last audible sound, came.
    fresh: Option<Duration>,
    pictures: Pictures,
    /// Until where the sound is whole, on its own clock.
    sounded: Option<Duration>,
    sample: Option<(Duration, StreamSample)>,
    codec: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Pictures {
    size: Option<(u32, u32)>,
    look: Option<u64>,
    /// Since when it looks the same.
    still: Option<Duration>,
    /// Unreadable pictures since the last readable one: they stand for numbers that are missing.
    unreadable: u64,
    /// When pictures were due after they were captured, in microseconds; a ring.
    timings: Vec<i64>,
    next_timing: usize,
}

impl Stream {
    pub(super) fn new(id: StreamId, kind: Kind, started: Duration) -> Self {
        let bits = match kind {
            Kind::Video => PICTURE_BITS,
            Kind::Audio => MARK_BITS,
        };
        Self {
            id,
            kind,
            total: Tally::new(),
            interval: Tally::new(),
            series: Series::new(started),
            coded: false,
            sources: Vec::new(),
            order: Order::new(bits),
            first: None,
            ended: None,
            fresh: None,
            pictures: Pictures::default(),
            sounded: None,
            sample: None,
            codec: None,
        }
    }

    pub(super) const fn id(&self) -> &StreamId {
        &self.id
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// A picture was decoded.
    pub(super) fn picture(&mut self, at: Duration, picture: &Picture) {
        self.resume(at);
        self.both(|tally| tally.received += 1);
        self.looks(at, picture);
        let Some(mark) = picture.mark else {
            self.both(|tally| tally.unreadable += 1);
            self.pictures.unreadable += 1;
            if !self.coded {
                self.fresh_picture(at, None);
            }
            return;
        };
        self.coded = true;
        let missing = self.pictures.unreadable;
        let step = self.step(mark.source, mark.number);
        self.pictures.unreadable = 0;
        match step {
            Step::Repeated => return self.both(|tally| tally.repeated += 1),
            Step::First => {}
            Step::Next(between) => {
                let lost = signed(between.saturating_sub(missing));
                self.both(|tally| tally.lost += lost);
            }
            Step::Late => self.both(|tally| {
                tally.late += 1;
                tally.lost -= 1;
            }),
            Step::Restart => self.both(|tally| tally.restarts += 1),
        }
        self.both(|tally| tally.new += 1);
        self.fresh_picture(at, Some(at.saturating_sub(mark.captured)));
        if let Some(due) = picture.due {
            self.pictures.timing(difference(due, mark.captured));
        }
    }

    /// Sound was decoded.
    pub(super) fn sound(&mut self, at: Duration, sound: Sound) {
        self.resume(at);
        self.both(|tally| tally.heard += sound.length);
        // Of foreign sound, silence is no fault.
        if !sound.audible && self.coded {
            return;
        }
        let end = sound.due + sound.length;
        match self.sounded {
            Some(until) if sound.due + BACK < until => self.sounded = Some(end),
            Some(until) => {
                let gap = sound.due.saturating_sub(until);
                if gap > SEAM {
                    self.both(|tally| tally.gap(gap));
                }
                self.sounded = Some(until.max(end));
            }
            // Decoders begin with silence.
            None if sound.audible => self.sounded = Some(end),
            None => return,
        }
        self.fresh = Some(at);
    }

    /// A mark was heard; `video` is when its source's pictures are due after they were captured.
    pub(super) fn mark(&mut self, at: Duration, mark: AudioMark, video: Option<i64>) {
        self.resume(at);
        self.coded = true;
        match self.step(mark.source, mark.index) {
            Step::Repeated => return,
            Step::First => {}
            Step::Next(lost) => self.both(|tally| tally.marks_lost += signed(lost)),
            Step::Late => self.both(|tally| tally.marks_lost -= 1),
            Step::Restart => self.both(|tally| tally.restarts += 1),
        }
        let latency = at.saturating_sub(mark.captured);
        self.series.frame(at, Some(latency));
        let offset = video.map(|video| difference(mark.due, mark.captured) - video);
        self.both(|tally| {
            tally.marks += 1;
            tally.latency(latency);
            if let Some(offset) = offset {
                tally.offset(offset);
            }
        });
    }

    /// Statistics.
    pub(super) fn sample(&mut self, at: Duration, sample: StreamSample) {
        let (since, before) = match self.sample.take() {
            Some((since, before)) => (Some(since), before),
            None => (None, StreamSample::default()),
        };
        // A count that goes back is a new one.
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let bits = count_f64(more(sample.bytes, before.bytes)) * 8.0;
        let over = since.map(|since| at.saturating_sub(since));
        if let Some(over) = over {
            self.series.bits(at, bits, over);
        }
        self.both(|tally| {
            if let Some(over) = over {
                tally.bits += bits;
                tally.sampled += over;
            }
            tally.packets += more(sample.packets, before.packets);
            tally.packets_lost += more(sample.lost, before.lost);
            tally.retransmitted += more(sample.retransmitted, before.retransmitted);
        });
        self.codec = sample.codec.clone().or(self.codec.take());
        self.sample = Some((at, sample));
    }

    /// The stream ended as it should.
    pub(super) fn end(&mut self, at: Duration) {
        self.keep_waiting(at);
        self.ended = Some(at);
    }

    /// When this source's pictures are due after they were captured, in microseconds.
    pub(super) fn timing_of(&self, source: u8) -> Option<i64> {
        let current = self.sources.last() == Some(&source) && self.ended.is_none();
        if self.kind == Kind::Video && current {
            self.pictures.median_timing()
        } else {
            None
        }
    }

    pub(super) fn report(&self, now: Duration) -> StreamReport {
        let mut report = self.of(&self.total, self.first.unwrap_or(now), now);
        report.curve = self.series.curve();
        if let Some(video) = &mut report.video
            && self.coded
        {
            video.latency_growth_ms = self.series.growth();
        }
        report
    }

    pub(super) fn interval_report(&self, since: Duration, now: Duration) -> StreamReport {
        let first = self.first.unwrap_or(now);
        self.of(&self.interval, since.max(first), now)
    }

    pub(super) fn begin_interval(&mut self) {
        self.interval = Tally::new();
    }

    fn of(&self, tally: &Tally, since: Duration, now: Duration) -> StreamReport {
        let now = self.ended.unwrap_or(now);
        let seconds = now.saturating_sub(since).as_secs_f64();
        let mut tally = tally.clone();
        // What is awaited still.
        if self.ended.is_none() {
            self.wait(&mut tally, now);
        }
        let video = (self.kind == Kind::Video).then(|| {
            let mut video = tally.video(self.coded);
            let new = if self.coded {
                tally.new
            } else {
                tally.received
            };
            video.frame_rate = match seconds > 0.0 {
                true => super::report::tenths(count_f64(new) / seconds),
                false => 0.0,
            };
            video.sources.clone_from(&self.sources);
            video.size = self.pictures.size;
            video
        });
        let audio = (self.kind == Kind::Audio).then(|| {
            let mut audio = tally.audio(self.coded);
            audio.sources.clone_from(&self.sources);
            audio
        });
        StreamReport {
            id: self.id.clone(),
            video,
            audio,
            traffic: self
                .sample
                .as_ref()
                .map(|_| tally.traffic(self.codec.clone())),
            curve: Curve::default(),
        }
    }

    /// Counts the freeze, or the gap, that goes on until now.
    fn wait(&self, tally: &mut Tally, now: Duration) {
        let Some(fresh) = self.fresh else { return };
        let waited = now.saturating_sub(fresh);
        match self.kind {
            Kind::Video => {
                tally.freeze = tally.freeze.max(waited);
                if let Some(still) = self.pictures.still {
                    tally.still = tally.still.max(now.saturating_sub(still));
                }
            }
            Kind::Audio if waited > OVERDUE => tally.gap(waited),
            Kind::Audio => {}
        }
    }

    fn keep_waiting(&mut self, at: Duration) {
        let (mut total, mut interval) = (self.total.clone(), self.interval.clone());
        self.wait(&mut total, at);
        self.wait(&mut interval, at);
        (self.total, self.interval) = (total, interval);
    }

    /// Something comes: if the stream had ended, it begins anew.
    fn resume(&mut self, at: Duration) {
        self.first.get_or_insert(at);
        if self.ended.take().is_some() {
            self.fresh = None;
            self.sounded = None;
            self.pictures.still = None;
        }
    }

    fn looks(&mut self, at: Duration, picture: &Picture) {
        let pictures = &mut self.pictures;
        let resized = pictures.size.replace(picture.size);
        let resized = resized.is_some_and(|before| before != picture.size);
        let same = pictures.look.replace(picture.fingerprint) == Some(picture.fingerprint);
        let since = *pictures.still.get_or_insert(at);
        if !same {
            pictures.still = Some(at);
        }
        self.both(|tally| {
            tally.size_changes += u64::from(resized);
            tally.same += u64::from(same);
            tally.still = tally.still.max(at.saturating_sub(since));
        });
    }

    fn fresh_picture(&mut self, at: Duration, latency: Option<Duration>) {
        let freeze = self
            .fresh
            .replace(at)
            .map_or(Duration::ZERO, |fresh| at.saturating_sub(fresh));
        self.series.frame(at, latency);
        self.both(|tally| {
            tally.freeze = tally.freeze.max(freeze);
            if let Some(latency) = latency {
                tally.latency(latency);
            }
        });
    }

    fn step(&mut self, source: u8, number: u32) -> Step {
        let changed = self.sources.last().is_some_and(|last| *last != source);
        self.sources.retain(|known| *known != source);
        // The current one last.
        if self.sources.len() == SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(source);
        if changed {
            self.order.forget();
            self.pictures.timings.clear();
            self.order.take(number);
            return Step::Restart;
        }
        self.order.take(number)
    }

    fn both(&mut self, count: impl Fn(&mut Tally)) {
        count(&mut self.total);
        count(&mut self.interval);
    }
}

impl Pictures {
    fn timing(&mut self, timing: i64) {
        if self.timings.len() < TIMINGS {
            self.timings.push(timing);
            return;
        }
        self.next_timing = (self.next_timing + 1) % TIMINGS;
        if let Some(oldest) = self.timings.get_mut(self.next_timing) {
            *oldest = timing;
        }
    }

    fn median_timing(&self) -> Option<i64> {
        let mut sorted = self.timings.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// How much later the first is than the second, in microseconds.
fn difference(later: Duration, earlier: Duration) -> i64 {
    signed(micros(later)) - signed(micros(earlier))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

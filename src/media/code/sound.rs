//! Sound's marks: tones that say when they left their source.
//!
//! A mark starts at each multiple of 400 ms since the Unix epoch and fills these 400 ms with eight tones
//! of 50 ms: one of 3500 Hz that occurs nowhere else, then seven that stand for 4 bits each
//! (700 Hz + 160 Hz × value), together 8 bits of the source, 12 of the mark's number (the 400 ms since the
//! epoch, modulo 4096) and 8 of a checksum. There is never silence, so silence is a fault.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::Duration;

/// The length of a mark.
pub(crate) const MARK: Duration = Duration::from_millis(400);
/// Marks are numbered modulo this.
pub(crate) const NUMBERS: u64 = 4096;
/// The length of a tone.
const TONE: Duration = Duration::from_millis(50);
/// A mark's tones that carry bits.
const DIGITS: usize = 7;
/// The first tone of each mark.
const START_HERTZ: f64 = 3500.0;
/// The tone of 0, and how much higher each next one is.
const DIGIT_HERTZ: (f64, f64) = (700.0, 160.0);
/// How loud, of 1.
const LOUDNESS: f64 = 0.25;
/// Tones swell and fade over this time, in seconds, so as not to click.
const FADE: f64 = 0.002;

/// The window by which the first tone is looked for, and the steps in which it is moved, in seconds.
const WINDOW: f64 = 0.01;
const STEP: f64 = 0.002;
/// Of a window's power, the part that must be the first tone's for the window to be half inside: half
/// of the amplitude.
const HALF_INSIDE: f64 = 0.25;
/// The lengths that are taken for a first tone's, in seconds.
const START_LENGTH: std::ops::Range<f64> = 0.04..0.06;
/// The part of a tone's middle that is looked at to tell which it is.
const MIDDLE: f64 = 0.6;
/// The mean power below which nothing is heard (-50 dB of full scale).
const SILENCE: f64 = 1e-5;
/// Chunks whose times are remembered, until the mark in them is complete.
const CHUNKS: usize = 512;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which source made it.
    pub(crate) source: u8,
    /// Its number: 12 bits.
    pub(crate) index: u32,
}

/// A mark that was heard, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) mark: Mark,
    /// Where it began, by the timestamps.
    pub(crate) due: Duration,
    /// When the sound of its beginning was decoded.
    pub(crate) at: Duration,
}

/// The sample (of ±1) at a time since the Unix epoch.
pub(crate) fn sample(source: u8, time: Duration) -> f64 {
    let nanos = time.as_nanos();
    let within = Duration::from_nanos(u64::try_from(nanos % MARK.as_nanos()).unwrap_or_default());
    let number = u64::try_from(nanos / MARK.as_nanos()).unwrap_or_default() % NUMBERS;
    let mark = Mark {
        source,
        index: u32::try_from(number).unwrap_or_default(),
    };
    let tone = usize::try_from(within.as_nanos() / TONE.as_nanos()).unwrap_or_default();
    let hertz = match tone {
        0 => START_HERTZ,
        digit => digit_hertz(mark.digit(digit - 1)),
    };
    let length = TONE.as_secs_f64();
    let at = within.as_secs_f64() - TONE.as_secs_f64() * small(tone);
    let swell = (at.min(length - at) / FADE).clamp(0.0, 1.0);
    LOUDNESS * swell * (TAU * hertz * at).sin()
}

/// Hears marks in samples, chunk by chunk. Its memory is bounded by a mark's length.
#[derive(Debug)]
pub(crate) struct Ear {
    rate: f64,
    /// The latest samples.
    samples: VecDeque<f32>,
    /// The position of the first of them in the whole sound.
    first: u64,
    /// Where each chunk began: position, timestamp, and when it was decoded.
    chunks: VecDeque<(u64, Duration, Duration)>,
    /// Where the next window begins.
    window: u64,
    search: Search,
}

#[derive(Debug, Clone, Copy)]
enum Search {
    /// No first tone is heard. The last window's part of it.
    Before(f64),
    /// One is heard, from this position (in samples) on.
    Inside(f64, f64),
    /// A mark began at this position; its end is awaited.
    Found(f64),
}

impl Ear {
    /// For so many samples per second.
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            samples: VecDeque::new(),
            first: 0,
            chunks: VecDeque::new(),
            window: 0,
            search: Search::Before(0.0),
        }
    }

    /// Takes a chunk of samples of ±1 that begins at this timestamp, decoded now. The marks that are
    /// complete with it.
    pub(crate) fn listen(
        &mut self,
        due: Duration,
        at: Duration,
        samples: impl IntoIterator<Item = f32>,
    ) -> Vec<Heard> {
        let end = self.end();
        let expected = self.chunks.back().map(|_| self.due(position(end)));
        // Sound that isn't continued where it ended: what was heard of a mark is worth nothing.
        if expected.is_some_and(|expected| expected.abs_diff(due) > TONE / 10) {
            self.forget();
        }
        if self.chunks.len() == CHUNKS {
            self.chunks.pop_front();
        }
        self.chunks.push_back((end, due, at));
        self.samples.extend(samples);
        let mut heard = Vec::new();
        while self.advance(&mut heard) {}
        self.tidy();
        heard
    }

    /// Whether the next step of the search could be made.
    fn advance(&mut self, heard: &mut Vec<Heard>) -> bool {
        if let Search::Found(start) = self.search {
            let end = start + MARK.as_secs_f64() * self.rate;
            if position(self.end()) < end {
                return false;
            }
            heard.extend(self.read(start));
            // The next one begins here; its first tone is looked for from a little before.
            let next = end - WINDOW * self.rate;
            self.window = self.window.max(whole(next.max(0.0)));
            self.search = Search::Before(0.0);
            return true;
        }
        let (window, step) = (whole(WINDOW * self.rate), whole(STEP * self.rate));
        if self.window + window > self.end() {
            return false;
        }
        let part = self.part(self.window, window, START_HERTZ);
        let middle = position(self.window) + position(window) / 2.0;
        self.search = self.search.next(part, middle, position(step), self.rate);
        self.window += step;
        true
    }

    /// Reads the digits of the mark that began at this position.
    fn read(&self, start: f64) -> Option<Heard> {
        let tone = TONE.as_secs_f64() * self.rate;
        let mut digits = [0; DIGITS];
        for (at, digit) in digits.iter_mut().enumerate() {
            let from = start + tone * (small(at + 1) + (1.0 - MIDDLE) / 2.0);
            let length = whole(tone * MIDDLE);
            let power = |value: u8| self.part(whole(from), length, digit_hertz(value));
            *digit = (0..16).max_by(|a, b| power(*a).total_cmp(&power(*b)))?;
        }
        let mark = Mark::from_digits(&digits)?;
        let (_, _, at) = self
            .chunks
            .iter()
            .rev()
            .find(|(first, ..)| position(*first) <= start)
            .or_else(|| self.chunks.front())?;
        Some(Heard {
            mark,
            due: self.due(start),
            at: *at,
        })
    }

    /// The part of the power of these samples that is of this frequency (Goertzel's algorithm), of 1.
    fn part(&self, from: u64, count: u64, hertz: f64) -> f64 {
        let from = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or_default();
        let turn = 2.0 * (TAU * hertz / self.rate).cos();
        let (mut last, mut before, mut power) = (0.0, 0.0, 0.0);
        for sample in self.samples.iter().skip(from).take(count) {
            let sample = f64::from(*sample);
            power += sample * sample;
            (last, before) = (sample + turn * last - before, last);
        }
        if power < SILENCE * small(count) {
            return 0.0;
        }
        let tone = last * last + before * before - turn * last * before;
        2.0 * tone / (small(count) * power)
    }

    /// The timestamp of a position.
    fn due(&self, position_: f64) -> Duration {
        let Some((first, due, _)) = self.chunks.back() else {
            return Duration::ZERO;
        };
        let seconds = (position_ - position(*first)) / self.rate;
        let apart = Duration::from_secs_f64(seconds.abs());
        if seconds < 0.0 {
            due.saturating_sub(apart)
        } else {
            *due + apart
        }
    }

    fn end(&self) -> u64 {
        self.first + self.samples.len() as u64
    }

    fn forget(&mut self) {
        self.first = self.end();
        self.window = self.first;
        self.samples.clear();
        self.chunks.clear();
        self.search = Search::Before(0.0);
    }

    /// Drops the samples that nothing needs any more.
    fn tidy(&mut self) {
        let needed = match self.search {
            Search::Found(start) => whole(start.max(0.0)).min(self.window),
            _ => self.window,
        };
        let done = usize::try_from(needed.saturating_sub(self.first)).unwrap_or_default();
        self.samples.drain(..done.min(self.samples.len()));
        self.first += done as u64;
    }
}

impl Search {
    /// The next window's part of the first tone; its middle, and the step to it from the last.
    fn next(self, part: f64, middle: f64, step: f64, rate: f64) -> Self {
        // Where between the two windows the part was half.
        let crossing = |before: f64| middle - step * (part - HALF_INSIDE) / (part - before);
        match self {
            Self::Before(before) if before < HALF_INSIDE && part >= HALF_INSIDE => {
                Self::Inside(crossing(before), part)
            }
            Self::Inside(start, before) if part < HALF_INSIDE => {
                let end = crossing(before);
                match START_LENGTH.contains(&((end - start) / rate)) {
                    // By its middle, which is independent of how sharp the edges are.
                    true => {
                        Self::Found(f64::midpoint(start, end) - TONE.as_secs_f64() * rate / 2.0)
                    }
                    false => Self::Before(part),
                }
            }
            Self::Inside(start, _) => Self::Inside(start, part),
            _ => Self::Before(part),
        }
    }
}

impl Mark {
    fn digit(self, at: usize) -> u8 {
        let word = u32::from(self.source) << 20 | (self.index & 0xfff) << 8 | u32::from(self.sum());
        let shift = 4 * (DIGITS - 1 - at.min(DIGITS - 1));
        u8::try_from(word >> shift & 0xf).unwrap_or_default()
    }

    fn from_digits(digits: &[u8; DIGITS]) -> Option<Self> {
        let word = digits
            .iter()
            .fold(0, |sum, digit| sum << 4 | u32::from(*digit));
        let mark = Self {
            source: u8::try_from(word >> 20).ok()?,
            index: word >> 8 & 0xfff,
        };
        (u32::from(mark.sum()) == word & 0xff).then_some(mark)
    }

    /// CRC-8 of the rest.
    fn sum(self) -> u8 {
        let [_, high, low, _] = (self.index << 8).to_be_bytes();
        [self.source, high, low].iter().fold(0xff, |sum, byte| {
            (0..8).fold(sum ^ byte, |sum, _| {
                let shifted = sum << 1;
                if sum & 0x80 == 0 {
                    shifted
                } else {
                    shifted ^ 0x07
                }
            })
        })
    }
}

/// Whether anything is to be heard in these samples of ±1.
pub(crate) fn is_audible(samples: &[f32]) -> bool {
    let power: f64 = samples
        .iter()
        .map(|&it| f64::from(it) * f64::from(it))
        .sum();
    power > SILENCE * small(samples.len())
}

fn digit_hertz(value: u8) -> f64 {
    DIGIT_HERTZ.0 + DIGIT_HERTZ.1 * f64::from(value)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "years of sound have fewer samples than 2^52"
)]
const fn position(samples: u64) -> f64 {
    samples as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts of samples in a chunk")]
const fn small(count: usize) -> f64 {
    count as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are not negative"
)]
const fn whole(position: f64) -> u64 {
    position as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    /// In the middle of a mark.
    const EPOCH: Duration = Duration::from_millis(1_763_713_200_070);

    /// So many milliseconds of a source's sound from a time on, in chunks of 20 ms.
    fn sound(source: u8, from: Duration, ms: u32) -> Vec<Vec<f32>> {
        let count = RATE / 50;
        (0..ms / 20)
            .map(|chunk| {
                (0..count)
                    .map(|at| {
                        let after = f64::from(chunk * count + at) / f64::from(RATE);
                        sample(source, from + Duration::from_secs_f64(after)) as f32
                    })
                    .collect()
            })
            .collect()
    }

    fn heard(ear: &mut Ear, chunks: &[Vec<f32>], due: Duration) -> Vec<Heard> {
        let mut all = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            let due = due + Duration::from_millis(20) * at as u32;
            all.extend(ear.listen(due, due + EPOCH, chunk.iter().copied()));
        }
        all
    }

    #[test]
    fn every_mark_is_heard_at_its_time() {
        for source in [0, 5, 255] {
            let mut ear = Ear::new(RATE);
            let marks = heard(&mut ear, &sound(source, EPOCH, 5000), Duration::ZERO);
            // The first that is whole begins 330 ms after the sound.
            assert_eq!(marks.len(), 11, "{marks:?}");
            let first = (EPOCH.as_millis() / 400 % 4096) as u32 + 1;
            for (at, heard) in marks.iter().enumerate() {
                let begins = Duration::from_millis(330 + 400 * at as u64);
                assert_eq!(
                    heard.mark,
                    Mark {
                        source,
                        index: (first + at as u32) % 4096
                    }
                );
                assert!(
                    heard.due.abs_diff(begins) < Duration::from_millis(1),
                    "{heard:?}"
                );
                assert_eq!(
                    heard.at,
                    EPOCH + Duration::from_millis(begins.as_millis() as u64 / 20 * 20)
                );
            }
        }
    }

    #[test]
    fn noise_and_a_lower_level_do_no_harm() {
        let mut ear = Ear::new(RATE);
        let mut noise = 1_u32;
        let mut chunks = sound(9, EPOCH, 3000);
        for sample in chunks.iter_mut().flatten() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = *sample / 4.0 + (noise as f32 / u32::MAX as f32 - 0.5) / 20.0;
        }
        assert_eq!(heard(&mut ear, &chunks, Duration::ZERO).len(), 6);
    }

    #[test]
    fn a_gap_takes_its_mark_and_no_other() {
        let mut ear = Ear::new(RATE);
        let mut chunks = sound(9, EPOCH, 4000);
        for chunk in &mut chunks[30..35] {
            chunk.fill(0.0);
        }
        let marks = heard(&mut ear, &chunks, Duration::ZERO);
        assert_eq!(marks.len(), 8, "{marks:?}");
        // A hole instead of silence.
        let mut ear = Ear::new(RATE);
        let chunks = sound(9, EPOCH, 4000);
        let mut marks = heard(&mut ear, &chunks[..30], Duration::ZERO);
        marks.extend(heard(&mut ear, &chunks[35..], Duration::from_millis(700)));
        assert_eq!(marks.len(), 8, "{marks:?}");
    }

    #[test]
    fn other_sounds_have_no_marks() {
        let mut ear = Ear::new(RATE);
        let tone = |hertz: f32| -> Vec<_> {
            (0..RATE)
                .map(|at| 0.3 * (at as f32 * hertz / RATE as f32 * std::f32::consts::TAU).sin())
                .collect()
        };
        let chunks = [vec![0.0; 48_000], tone(1000.0), tone(3500.0), tone(440.0)];
        for (at, chunk) in chunks.iter().enumerate() {
            let due = Duration::from_secs(at as u64);
            assert_eq!(ear.listen(due, due, chunk.iter().copied()), []);
        }
        assert!(ear.samples.len() < 48_000 && ear.chunks.len() <= CHUNKS);
        assert!(is_audible(&tone(440.0)) && !is_audible(&[0.0; 480]) && !is_audible(&[]));
    }
}

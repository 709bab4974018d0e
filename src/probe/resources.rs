//! What this process uses over time, and whether it grows.
//!
//! **The rule.** The first tenth of the time, but a minute at least, is the warm-up: caches fill, and
//! allocators find their size. Then the median of the last fifth is compared with the median of the
//! first fifth. Memory may be higher by a tenth, or by 16 MiB if that is more; threads by 4;
//! descriptors by 8; the age of frames by 100 ms. Runs of less than 5 minutes are not judged.

use std::fs;
use std::time::Duration;

use super::now;
use super::outcome::{Growth, Resources, Usage};
use crate::vitals::Vitals;

/// The shortest time that is judged.
const LONG_ENOUGH: Duration = Duration::from_secs(5 * 60);
/// Runs of less than this are sampled each second.
const EACH_SECOND: Duration = Duration::from_secs(10 * 60);
/// The time between samples of longer ones.
const SELDOM: Duration = Duration::from_secs(10);
/// Samples that are kept at most: a day of seldom ones.
const SAMPLES: usize = 8640;
/// The shortest warm-up.
const WARM_UP: Duration = Duration::from_secs(60);
/// What memory may grow by.
const MEMORY: f64 = 16.0 * 1024.0 * 1024.0;
/// What memory may grow by, of itself.
const MEMORY_SHARE: f64 = 0.1;
/// What the number of threads may grow by.
const THREADS: f64 = 4.0;
/// What the number of descriptors may grow by.
const DESCRIPTORS: f64 = 8.0;
/// What the age of frames may grow by, in milliseconds.
const FRAME_AGE_MS: f64 = 100.0;

/// Takes samples.
pub(super) struct Recorder {
    start: Duration,
    step: Duration,
    next: Duration,
    /// The processors' time at the last sample, and when that was.
    before: Option<(f64, Duration)>,
    samples: Vec<Usage>,
}

impl Recorder {
    /// For a run of so long, from now on.
    pub(super) fn new(length: Duration) -> Self {
        let step = match length < EACH_SECOND {
            true => Duration::from_secs(1),
            false => SELDOM,
        };
        Self {
            start: now(),
            step,
            next: now(),
            before: None,
            samples: Vec::new(),
        }
    }

    /// Takes a sample if it is time for one. `frame_age` is that of the oldest frame sent.
    pub(super) fn tick(&mut self, frame_age: Option<Duration>) {
        let at = now();
        if at < self.next || self.samples.len() >= SAMPLES {
            return;
        }
        self.next = at + self.step;
        let Some(read) = Vitals::read() else { return };
        let processors = self.before.map_or(0.0, |(before, when)| {
            (read.processor_seconds - before) / (at - when).as_secs_f64().max(0.001)
        });
        self.before = Some((read.processor_seconds, at));
        self.samples.push(Usage {
            at: at.saturating_sub(self.start).as_secs_f64(),
            memory: read.memory,
            threads: read.threads,
            descriptors: read.descriptors,
            processors,
            frame_age_ms: frame_age.map(|age| age.as_secs_f64() * 1000.0),
        });
    }

    /// All samples, judged.
    pub(super) fn finish(self) -> Resources {
        let growth = growth(&self.samples);
        Resources {
            step_seconds: self.step.as_secs_f64(),
            samples: self.samples,
            growth,
        }
    }
}

/// How busy the machine's processors were, of 100, since `before`; and the counts, for the next time.
pub(super) fn machine(before: Option<(u64, u64)>) -> (Option<f64>, Option<(u64, u64)>) {
    let counts = fs::read_to_string("/proc/stat").ok().and_then(|stat| {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // proc(5): user nice system idle iowait irq softirq steal.
        let times = times.get(..8)?;
        let idle = times[3] + times[4];
        Some((times.iter().sum::<u64>(), idle))
    });
    let percent = before
        .zip(counts)
        .map(|((all, idle), (all_now, idle_now))| {
            let passed = all_now.saturating_sub(all).max(1);
            let busy = passed.saturating_sub(idle_now.saturating_sub(idle));
            (busy * 1000 / passed) as f64 / 10.0
        });
    (percent, counts)
}

/// Judges samples by the rule above, in order of time; nothing for too short a time.
#[must_use]
pub fn growth(samples: &[Usage]) -> Vec<Growth> {
    let length = samples.last().map_or(0.0, |last| last.at);
    if length < LONG_ENOUGH.as_secs_f64() {
        return Vec::new();
    }
    let warm = (length / 10.0).max(WARM_UP.as_secs_f64());
    let fifth = (length - warm) / 5.0;
    let first: Vec<_> = samples
        .iter()
        .filter(|it| it.at >= warm && it.at < warm + fifth)
        .collect();
    let last: Vec<_> = samples
        .iter()
        .filter(|it| it.at >= length - fifth)
        .collect();
    let judged = |what, unit, of: fn(&Usage) -> Option<f64>, more: fn(f64) -> f64| {
        let (before, after) = (median(&first, of)?, median(&last, of)?);
        let limit = more(before);
        Some(Growth {
            what,
            before,
            after,
            limit,
            unit,
            flat: after <= limit,
        })
    };
    [
        judged(
            "memory",
            "bytes",
            |it| Some(it.memory as f64),
            |before| before + (before * MEMORY_SHARE).max(MEMORY),
        ),
        judged(
            "threads",
            "threads",
            |it| Some(it.threads as f64),
            |before| before + THREADS,
        ),
        judged(
            "descriptors",
            "descriptors",
            |it| Some(it.descriptors as f64),
            |before| before + DESCRIPTORS,
        ),
        judged(
            "frame_age",
            "ms",
            |it| it.frame_age_ms,
            |before| before + FRAME_AGE_MS,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn median(samples: &[&Usage], of: fn(&Usage) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().filter_map(|it| of(it)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of samples, one each second.
    fn samples(memory: impl Fn(u32) -> u64) -> Vec<Usage> {
        (0..=600)
            .map(|at| Usage {
                at: f64::from(at),
                memory: memory(at),
                threads: 20,
                descriptors: 30,
                ..Usage::default()
            })
            .collect()
    }

    #[test]
    fn what_grows_after_the_warm_up_is_not_flat() {
        let mib = 1024 * 1024;
        let flat = |samples: &[Usage]| -> Vec<_> {
            let grown = growth(samples);
            grown.iter().map(|it| (it.what, it.flat)).collect()
        };
        let steady = samples(|at| if at < 60 { mib } else { 100 * mib });
        let all = [("memory", true), ("threads", true), ("descriptors", true)];
        assert_eq!(flat(&steady), all);
        let leaks = samples(|at| (100 + u64::from(at) / 10) * mib);
        assert_eq!(flat(&leaks)[0], ("memory", false));
        assert!(growth(&steady[..200]).is_empty(), "too short to judge");
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let Some(now) = Vitals::read() else { return };
        assert!(now.memory > 0 && now.threads > 0 && now.descriptors > 2);
        let (_, counts) = machine(None);
        let (percent, _) = machine(counts);
        assert!(percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)));
    }
}

//! What the server uses, and how long its answers take, second by second.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use switchboard::probe::outcome::Usage;
use switchboard::probe::plot::{Curve, Panel, PlotError, draw};

use super::report::{milliseconds, quantile};

/// How long rounds took since they were asked for last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Vec<Duration>>>);

impl Waits {
    pub(crate) fn note(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait);
    }
}

pub(crate) struct Recorder {
    process: u32,
    start: Instant,
    /// The processors' time until the last sample, and when that was.
    before: Option<(f64, f64)>,
    pub(crate) samples: Vec<Usage>,
    /// All waits, in the order in which they ended.
    pub(crate) waits: Vec<Duration>,
    /// When, and the waits' median and 99th of a hundred in milliseconds.
    steps: Vec<(f64, f64, f64)>,
}

impl Recorder {
    pub(crate) fn new(process: u32) -> Self {
        Self {
            process,
            start: Instant::now(),
            before: None,
            samples: Vec::new(),
            waits: Vec::new(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, waits: &Waits) {
        let at = self.start.elapsed().as_secs_f64();
        let seconds = self.processor_seconds();
        let processors = self
            .before
            .map_or(0.0, |(before, when)| (seconds - before) / (at - when));
        self.before = Some((seconds, at));
        let status = std::fs::read_to_string(self.place("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|it| it.parse::<u64>().ok()).unwrap()
        };
        self.samples.push(Usage {
            at,
            memory: field("VmRSS:") * 1024,
            threads: field("Threads:"),
            descriptors: std::fs::read_dir(self.place("fd")).unwrap().count() as u64,
            processors,
            frame_age_ms: None,
        });
        let mut step = std::mem::take(&mut *waits.0.lock().unwrap());
        if !step.is_empty() {
            self.waits.extend(&step);
            let (p50, p99) = (quantile(&mut step, 0.5), quantile(&mut step, 0.99));
            self.steps.push((at, milliseconds(p50), milliseconds(p99)));
        }
    }

    /// The curves of everything.
    pub(crate) fn figure(&self, text: &[String]) -> Result<String, PlotError> {
        let used = |name: &str, value: fn(&Usage) -> f64| Curve {
            name: name.to_owned(),
            points: self.samples.iter().map(|it| (it.at, value(it))).collect(),
        };
        let waits = |name: &str, value: fn(&(f64, f64, f64)) -> f64| Curve {
            name: name.to_owned(),
            points: self.steps.iter().map(|it| (it.0, value(it))).collect(),
        };
        let panel = |title: &str, curves: Vec<Curve>| Panel {
            title: title.to_owned(),
            curves,
        };
        let panels = [
            panel(
                "resident memory, MiB",
                vec![used("memory", |it| it.memory as f64 / 1_048_576.0)],
            ),
            panel(
                "descriptors",
                vec![used("descriptors", |it| it.descriptors as f64)],
            ),
            panel(
                "a message to the other end and its answer, ms",
                vec![waits("p50", |it| it.1), waits("p99", |it| it.2)],
            ),
            panel(
                "busy processors",
                vec![used("processors", |it| it.processors)],
            ),
        ];
        draw(&panels, text)
    }

    fn place(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process)
    }

    /// How long the server's threads have run; those that ended aren't counted.
    fn processor_seconds(&self) -> f64 {
        let threads = std::fs::read_dir(self.place("task")).unwrap();
        let nanoseconds = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        nanoseconds.sum::<f64>() / 1e9
    }
}

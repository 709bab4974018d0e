//! What benchmarks say of what they measured: to the reader at once, and for later as
//! `target/bench/NAME.json`, with the machine.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What our own server is called among the measured ones.
pub(crate) const OURS: &str = "switchboard";

/// One benchmark's results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) bench: String,
    /// Seconds since the Unix epoch, at the end.
    pub(crate) time: u64,
    pub(crate) version: String,
    pub(crate) build: String,
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The load average of the last minute, at the end.
    pub(crate) load: f64,
}

/// One number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Under which load, or of what.
    pub(crate) case: String,
    /// Whose it is: [`OURS`], or what stands beside.
    pub(crate) subject: String,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What it should be, and whether it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) target: Option<(String, bool)>,
}

/// What was measured until now, and the case that comes next.
static NOTED: Mutex<(String, Vec<Figure>)> = Mutex::new((String::new(), Vec::new()));

/// What follows is about this.
pub(crate) fn case(name: &str) {
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    name.clone_into(&mut noted.0);
}

/// Keeps a number.
pub(crate) fn figure(subject: &str, name: &str, value: f64, unit: &str) {
    note(subject, name, value, unit, None);
}

/// Keeps a number of ours, and prints whether its target is met.
pub(crate) fn target(name: &str, found: f64, unit: &str, met: bool, wanted: &str) {
    let verdict = if met { "met" } else { "MISSED" };
    let shown = shown(found);
    println!("    {name}: {shown} {unit} (target {wanted}: {verdict})");
    note(OURS, name, found, unit, Some((wanted.to_owned(), met)));
}

fn note(subject: &str, name: &str, value: f64, unit: &str, target: Option<(String, bool)>) {
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let figure = Figure {
        case: noted.0.clone(),
        subject: subject.to_owned(),
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        target,
    };
    noted.1.push(figure);
}

/// A number with as many digits as say something.
pub(crate) fn shown(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Writes what was kept.
pub(crate) fn write(bench: &str) {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let results = Results {
        bench: bench.to_owned(),
        time: (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH))
            .map_or(0, |since| since.as_secs()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build().to_owned(),
        machine: Machine::this(),
        figures: noted.1.clone(),
    };
    std::fs::create_dir_all(directory()).unwrap();
    let text = serde_json::to_string_pretty(&results).unwrap();
    std::fs::write(directory().join(format!("{bench}.json")), text).unwrap();
}

/// Where results are kept.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

const fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kibibytes = memory
            .split(' ')
            .next()
            .and_then(|it| it.parse::<u64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| "unknown processor".to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or_default() * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: (read("/proc/loadavg").split(' ').next())
                .and_then(|it| it.parse().ok())
                .unwrap_or_default(),
        }
    }

    /// In one line, with the build.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} × {}, {:.0} GiB, Linux {}, load {}, {} build",
            self.processor,
            self.processors,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.load,
            build(),
        )
    }
}

/// The value that at least this share of them doesn't exceed; they are sorted then.
pub(crate) fn quantile(waits: &mut [Duration], share: f64) -> Duration {
    waits.sort_unstable();
    let rank = (share * waits.len() as f64).ceil() as usize;
    waits
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// The median and the 99th of a hundred.
pub(crate) fn percentiles(mut waits: Vec<Duration>) -> (Duration, Duration) {
    (quantile(&mut waits, 0.5), quantile(&mut waits, 0.99))
}

/// A time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! What the system knows of this process, and how Prometheus is told of it.

use std::fmt::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The upper bounds of times in histograms, in seconds: from a packet on a quick network to a
/// connection that is given up.
pub(crate) const TIMES: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// The type of the text that scrapers get.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What this process takes now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Vitals {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    /// Open ones.
    pub(crate) descriptors: u64,
    /// Of all processors, since the process began.
    pub(crate) processor_seconds: f64,
}

/// When this process began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    at: SystemTime,
    since: Instant,
}

impl Vitals {
    /// `None` where there is no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            memory: field("VmRSS:")? * 1024,
            threads: field("Threads:")?,
            descriptors: descriptors()?,
            processor_seconds: processor_seconds(),
        })
    }
}

impl Process {
    /// It begins now.
    pub(crate) fn begin() -> Self {
        Self {
            at: SystemTime::now(),
            since: Instant::now(),
        }
    }

    /// Writes what Prometheus calls by the same names for all programs, and which version this is.
    pub(crate) fn encode(&self, out: &mut String, prefix: &str) -> Result<(), Error> {
        let mut own = Registry::with_prefix(prefix);
        own.register(
            "build",
            "Which version this is",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        own.register_with_unit(
            "uptime",
            "How long it has run",
            Unit::Seconds,
            ConstGauge::new(self.since.elapsed().as_secs_f64()),
        );
        encode_registry(out, &own)?;
        let mut process = Registry::with_prefix("process");
        let started = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        process.register_with_unit(
            "start_time",
            "When it began, since 1970",
            Unit::Seconds,
            ConstGauge::new(started.as_secs_f64()),
        );
        if let Some(vitals) = Vitals::read() {
            vitals.register(&mut process);
        }
        encode_registry(out, &process)
    }
}

impl Vitals {
    fn register(&self, to: &mut Registry) {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        for (name, help, value) in [
            ("threads", "Threads", self.threads),
            ("open_fds", "Open descriptors", self.descriptors),
            ("max_fds", "How many descriptors may be open", most),
        ] {
            to.register(name, help, ConstGauge::new(value));
        }
        let memory = ConstGauge::new(self.memory);
        let help = "Resident memory";
        to.register_with_unit("resident_memory", help, Unit::Bytes, memory);
        let processor = ConstCounter::new(self.processor_seconds);
        let help = "Processor time, of all processors together";
        to.register_with_unit("cpu", help, Unit::Seconds, processor);
    }
}

/// How many descriptors are open. Linux 6.2 and later say so at once; where they don't, they are
/// counted.
fn descriptors() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.size() {
        // The directory that is read is open itself.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

fn processor_seconds() -> f64 {
    let time = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
    time.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_of_by_the_usual_names() {
        let mut text = String::new();
        Process::begin().encode(&mut text, "switchboard").unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
            line.trim_start().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6, "{text}");
        assert!(value("process_start_time_seconds ") > 1.7e9, "{text}");
        assert!(value("process_open_fds ") >= 3.0, "{text}");
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_threads ") >= 1.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        assert!(value("switchboard_uptime_seconds ") >= 0.0);
        let version = env!("CARGO_PKG_VERSION");
        let build = format!("switchboard_build_info{{version=\"{version}\"}} 1");
        assert!(text.contains(&build), "{text}");
    }
}

//! Flags for reports, and their files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::say;
use crate::probe::outcome::{Outcome, Summary};
use crate::probe::{html, junit, plot};

/// What becomes of the outcome.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub(super) struct Reports {
    /// Write everything that was measured as JSON, to a file or to standard output (-)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write a JUnit file, for continuous integration
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write one web page with tables and curves
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the curves of the first scenario, with what this process used, as an image
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Reports {
    /// Whether standard output is for JSON only.
    pub(super) fn wants_stdout(&self) -> bool {
        self.json.as_deref().is_some_and(is_stdout)
    }

    /// Writes all that are asked for.
    pub(super) fn write(&self, summary: &Summary) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(summary)?;
            match is_stdout(path) {
                true => say(text),
                false => write(path, &text)?,
            }
        }
        if let Some(path) = &self.junit {
            write(path, &junit::xml(summary)?)?;
        }
        if let Some(path) = &self.html {
            write(path, &html::page(summary)?)?;
        }
        if let (Some(path), Some(outcome)) = (&self.svg, summary.outcomes.first()) {
            write(path, &plot::figure(outcome, &head(outcome), true)?)?;
        }
        Ok(())
    }
}

/// What stands above an image, so that it can be made again: the command, the machine, and the rule.
fn head(outcome: &Outcome) -> Vec<String> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let verdict = if outcome.passed { "passed" } else { "failed" };
    let growth = outcome.resources.growth.iter().map(|it| {
        let (before, after, limit) = (it.before, it.after, it.limit);
        match it.unit {
            "bytes" => {
                let mib = 1_048_576.0;
                format!(
                    "{} {:.1} → {:.1} MiB (at most {:.1})",
                    it.what,
                    before / mib,
                    after / mib,
                    limit / mib
                )
            }
            unit => format!(
                "{} {before:.0} → {after:.0} {unit} (at most {limit:.0})",
                it.what
            ),
        }
    });
    let mut lines = vec![
        format!("switchboard {}: {verdict}", arguments.join(" ")),
        machine(),
    ];
    let growth: Vec<_> = growth.collect();
    if !growth.is_empty() {
        lines.push(
            "the median of the first fifth after the warm-up (a tenth) → of the last:".to_owned(),
        );
        lines.push(growth.join(", "));
    }
    lines
}

/// This machine, in a line.
fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = first("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!("{processors} processors ({model}), memory {memory}; {build} build")
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

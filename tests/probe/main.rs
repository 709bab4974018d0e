//! The built `switchboard probe`: each scenario through the built server, and each way to fail.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod field;
mod mute;
mod reports;
mod scenarios;

use serde_json::Value;

use common::process::Process;

/// Thresholds that a busy machine keeps, too: what is tested is whether the probe sees.
const LENIENT: &[&str] = &[
    "--max-connect",
    "20s",
    "--max-first-frame",
    "20s",
    "--min-fps",
    "1",
    "--max-freeze",
    "10s",
    "--max-lost",
    "100",
    "--max-latency-p95",
    "10s",
    "--max-audio-gap",
    "10s",
    "--max-silence",
    "100",
    "--max-av-offset",
    "10s",
];

/// What a probe said.
struct Probed {
    code: Option<i32>,
    /// The JSON of its only scenario.
    outcome: Value,
    log: String,
}

impl Probed {
    /// The reasons of its failures, one a line.
    fn reasons(&self) -> String {
        let failures = self.outcome["failures"].as_array().unwrap();
        let lines = failures.iter().map(|it| {
            let (place, reason) = (it["place"].as_str(), it["reason"].as_str());
            format!("{}: {}\n", place.unwrap(), reason.unwrap())
        });
        lines.collect()
    }

    /// Every video stream's report.
    fn videos(&self) -> Vec<&Value> {
        let connections = self.outcome["connections"].as_array().unwrap();
        let streams = connections
            .iter()
            .flat_map(|it| it["streams"].as_array().unwrap());
        streams
            .map(|it| &it["video"])
            .filter(|it| !it.is_null())
            .collect()
    }

    /// It passed, and judged coded pictures on so many streams.
    fn passed(&self, streams: usize) {
        assert_eq!(self.code, Some(0), "{}{}", self.reasons(), self.log);
        let videos = self.videos();
        assert_eq!(videos.len(), streams, "{:#}", self.outcome);
        for video in videos {
            assert_eq!(video["coded"], true, "{video:#}");
            assert!(video["frames"]["received"].as_u64() > Some(5), "{video:#}");
        }
    }
}

/// Runs a probe with lenient thresholds, and waits for its end.
async fn probe(arguments: &[&str]) -> Probed {
    strict(&[arguments, LENIENT].concat()).await
}

/// Runs a probe, and waits for its end.
async fn strict(arguments: &[&str]) -> Probed {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("probe.json");
    let json = ["--json", file.to_str().unwrap()];
    let mut process = Process::start(&[&["probe"], arguments, &json].concat());
    let code = process.exit_in(4 * common::PATIENCE).await.code();
    let log = process.log();
    let text = std::fs::read_to_string(&file);
    let text = text.unwrap_or_else(|error| panic!("{error}; {code:?}: {log}"));
    let summary: Value = serde_json::from_str(&text).unwrap();
    Probed {
        code,
        outcome: summary["outcomes"][0].clone(),
        log,
    }
}

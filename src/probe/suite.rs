//! A list of scenarios, as a TOML file.
//!
//! ```toml
//! url = "wss://example.org"        # for all scenarios; without, the command line's
//! seconds = 10
//!
//! [thresholds]                     # for all scenarios
//! latency_p95_ms = 300
//!
//! [[scenario]]
//! kind = "device"                  # device, room, call, mesh, gecko
//! name = "three viewers"
//! viewers = 3
//!
//! [[scenario]]
//! kind = "room"
//! users = 4
//! publishers = 2
//! churn = 5
//! [scenario.thresholds]            # instead of those for all, each by itself
//! min_frame_rate = 25
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::judge::Thresholds;
use super::plan::{Ends, Media, Plan, Scenario, Way};
use crate::media::{Codec, Kind};

/// How long a scenario's media flows if nothing else is said.
pub const SECONDS: f64 = 10.0;
/// Scenarios in one file.
const SCENARIOS: usize = 1000;

/// A suite, read and checked.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The server, if the file names one.
    pub url: Option<String>,
    scenarios: Vec<Listed>,
}

/// What is wrong with a suite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// It isn't what it should be.
    #[error("{0}")]
    Syntax(String),
    /// One of its scenarios makes no sense.
    #[error("scenario {number}: {why}")]
    Scenario {
        /// Which; the first is 1.
        number: usize,
        /// Why.
        why: String,
    },
}

#[derive(Debug, Clone)]
struct Listed {
    name: Option<String>,
    scenario: Scenario,
    ends: Ends,
    media: Media,
    length: Duration,
    churn: u32,
    ramp: Option<u32>,
    thresholds: Thresholds,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<String>,
    seconds: Option<f64>,
    #[serde(default)]
    thresholds: toml::Table,
    scenario: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    name: Option<String>,
    viewers: Option<u32>,
    users: Option<u32>,
    publishers: Option<u32>,
    members: Option<u32>,
    pages: Option<u32>,
    send_only: Option<String>,
    receive_only: Option<String>,
    seconds: Option<f64>,
    churn: Option<u32>,
    ramp: Option<u32>,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<u32>,
    codec: Option<String>,
    receive_codec: Option<String>,
    #[serde(default)]
    thresholds: toml::Table,
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// [`SuiteError`], with the line or the scenario.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        let syntax = |error: toml::de::Error| SuiteError::Syntax(error.to_string());
        let written: Written = toml::from_str(text).map_err(syntax)?;
        if written.scenario.is_empty() || written.scenario.len() > SCENARIOS {
            let why = format!("it has no [[scenario]], or more than {SCENARIOS}");
            return Err(SuiteError::Syntax(why));
        }
        let mut scenarios = Vec::new();
        for (index, entry) in written.scenario.into_iter().enumerate() {
            let listed = entry.read(written.seconds, &written.thresholds);
            scenarios.push(listed.map_err(|why| SuiteError::Scenario {
                number: index + 1,
                why,
            })?);
        }
        Ok(Self {
            url: written.url,
            scenarios,
        })
    }

    /// One of each scenario, with thresholds that any machine that isn't overloaded keeps.
    #[must_use]
    pub fn of_all(length: Duration, thresholds: &Thresholds) -> Self {
        let all = [
            Scenario::Device { viewers: 1 },
            Scenario::Call,
            Scenario::Mesh { members: 2 },
            Scenario::Room {
                users: 2,
                publishers: 1,
            },
            Scenario::Gecko { pages: 1 },
        ];
        let listed = |scenario| Listed {
            name: None,
            scenario,
            ends: Ends::Both,
            media: Media::default(),
            length,
            churn: 0,
            ramp: None,
            thresholds: thresholds.clone(),
        };
        Self {
            url: None,
            scenarios: all.map(listed).to_vec(),
        }
    }

    /// What is to be run, through this server.
    #[must_use]
    pub fn plans(&self, way: &Way) -> Vec<Plan> {
        let plan = |it: &Listed| Plan {
            name: it.name.clone(),
            scenario: it.scenario,
            ends: it.ends.clone(),
            way: way.clone(),
            media: it.media.clone(),
            length: it.length,
            churn: it.churn,
            ramp: it.ramp,
            thresholds: it.thresholds.clone(),
        };
        self.scenarios.iter().map(plan).collect()
    }
}

impl Entry {
    fn read(self, seconds: Option<f64>, common: &toml::Table) -> Result<Listed, String> {
        let scenario = self.scenario()?;
        let seconds = self.seconds.or(seconds).unwrap_or(SECONDS);
        let length = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|length| !length.is_zero())
            .ok_or("`seconds` takes more than 0")?;
        let mut thresholds = common.clone();
        thresholds.extend(self.thresholds);
        let thresholds = thresholds.try_into::<Thresholds>();
        let defaults = Media::default();
        let media = Media {
            size: (
                self.width.unwrap_or(defaults.size.0),
                self.height.unwrap_or(defaults.size.1),
            ),
            frame_rate: self.frame_rate.unwrap_or(defaults.frame_rate),
            codecs: self
                .codec
                .as_deref()
                .map(codec)
                .transpose()?
                .into_iter()
                .collect(),
            encoder: defaults.encoder,
            receive_codec: self.receive_codec.as_deref().map(codec).transpose()?,
        };
        let ends = match (self.send_only, self.receive_only) {
            (None, None) => Ends::Both,
            (Some(id), None) => Ends::Send { id },
            (None, Some(watch)) => Ends::Receive { watch },
            (Some(_), Some(_)) => return Err("give `send_only` or `receive_only`".to_owned()),
        };
        let listed = Listed {
            name: self.name,
            scenario,
            ends,
            media,
            length,
            churn: self.churn.unwrap_or(0),
            ramp: self.ramp,
            thresholds: thresholds.map_err(|error| error.to_string())?,
        };
        check(listed.scenario, &listed.ends, listed.churn, listed.ramp)?;
        Ok(listed)
    }

    fn scenario(&self) -> Result<Scenario, String> {
        let counts = [
            ("viewers", self.viewers, "device"),
            ("users", self.users, "room"),
            ("publishers", self.publishers, "room"),
            ("members", self.members, "mesh"),
            ("pages", self.pages, "gecko"),
        ];
        for (name, value, kind) in counts {
            if value.is_some() && self.kind != kind {
                return Err(format!("`{name}` is for kind = \"{kind}\""));
            }
        }
        Ok(match self.kind.as_str() {
            "device" => Scenario::Device {
                viewers: self.viewers.unwrap_or(1),
            },
            "room" => Scenario::Room {
                users: self.users.unwrap_or(2),
                publishers: self.publishers.unwrap_or(1),
            },
            "call" => Scenario::Call,
            "mesh" => Scenario::Mesh {
                members: self.members.unwrap_or(2),
            },
            "gecko" => Scenario::Gecko {
                pages: self.pages.unwrap_or(1),
            },
            other => {
                return Err(format!(
                    "`kind` is device, room, call, mesh or gecko, not {other:?}"
                ));
            }
        })
    }
}

/// Whether a scenario makes sense.
///
/// # Errors
/// What doesn't.
pub fn check(scenario: Scenario, ends: &Ends, churn: u32, ramp: Option<u32>) -> Result<(), String> {
    let wrong = match scenario {
        Scenario::Device { viewers: 0 } => "a device needs a viewer",
        Scenario::Gecko { pages: 0 } => "a gecko needs a page",
        Scenario::Mesh { members: 0 | 1 } => "a mesh needs two members",
        Scenario::Room { publishers: 0, .. } => "a room needs a publisher",
        Scenario::Room { users: 0 | 1, .. } => "a room needs two users",
        Scenario::Room { users, publishers } if publishers > users => {
            "a room has no more publishers than users"
        }
        _ if ramp == Some(0) => "a ramp goes up to one receiving end at least",
        _ if (churn > 0 || ramp.is_some()) && !scenario.takes_more() => {
            "in a call are two: nobody can come and leave, and there is no ramp"
        }
        _ if (churn > 0 || ramp.is_some()) && matches!(ends, Ends::Send { .. }) => {
            "who only sends has nobody who comes and leaves, and no ramp"
        }
        _ if churn > 0 && ramp.is_some() => "a ramp has no churn beside it",
        _ => return Ok(()),
    };
    Err(wrong.to_owned())
}

/// A codec for pictures by its name.
///
/// # Errors
/// If there is none.
pub fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name)
        .filter(|codec| codec.kind() == Kind::Video)
        .ok_or_else(|| format!("{name:?} is no codec for pictures; write VP8, H264, VP9 or AV1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_read_with_what_is_common() {
        let suite = Suite::parse(
            "url = 'ws://h'\nseconds = 3\n[thresholds]\nlatency_p95_ms = 300\nfreeze_ms = 700\n\
             [[scenario]]\nkind = 'device'\nviewers = 3\n\
             [[scenario]]\nkind = 'room'\nname = 'crowd'\nusers = 4\nseconds = 8\nchurn = 2\n\
             [scenario.thresholds]\nlatency_p95_ms = 900\n",
        )
        .unwrap();
        assert_eq!(suite.url.as_deref(), Some("ws://h"));
        let [device, room] = &suite.scenarios[..] else {
            panic!("{suite:?}");
        };
        assert_eq!(device.scenario, Scenario::Device { viewers: 3 });
        assert_eq!(device.length, Duration::from_secs(3));
        assert!((device.thresholds.latency_p95_ms - 300.0).abs() < 1e-9);
        let crowd = Scenario::Room {
            users: 4,
            publishers: 1,
        };
        assert_eq!((room.scenario, room.churn), (crowd, 2));
        assert!((room.thresholds.latency_p95_ms - 900.0).abs() < 1e-9);
        assert!((room.thresholds.freeze_ms - 700.0).abs() < 1e-9);
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_place() {
        for (text, why) in [
            ("", "scenario"),
            ("scenario = []", "no [[scenario]]"),
            ("[[scenario]]\nkind = 'devise'", "scenario 1: `kind` is"),
            (
                "[[scenario]]\nkind = 'call'\nusers = 2",
                "for kind = \"room\"",
            ),
            (
                "[[scenario]]\nkind = 'call'\nchurn = 2",
                "in a call are two",
            ),
            ("[[scenario]]\nkind = 'call'\nsecond = 2", "unknown field"),
            ("[[scenario]]\nkind = 'call'\ncodec = 'opus'", "no codec"),
            ("[[scenario]]\nkind = 'mesh'\nmembers = 1", "two members"),
            (
                "[[scenario]]\nkind = 'call'\n[scenario.thresholds]\nx = 1",
                "unknown field",
            ),
        ] {
            let error = Suite::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

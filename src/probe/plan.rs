//! What is to be probed.

use std::sync::Arc;
use std::time::Duration;

use super::judge::Thresholds;
use super::outcome::Failure;
use crate::config::Secret;
use crate::media::{Codec, EncoderChoice};
use crate::peer::ice::Ice;
use crate::peer::link::{Dialer, ServerUrl, Trust};

/// One scenario, with everything that it needs.
#[derive(Clone)]
pub struct Plan {
    /// What reports call it; without, the scenario's own name.
    pub name: Option<String>,
    /// Who talks with whom.
    pub scenario: Scenario,
    /// Which of them are ours.
    pub ends: Ends,
    /// Through which server, and on which ways.
    pub way: Way,
    /// What is sent and taken.
    pub media: Media,
    /// How long media flows, once it does; of each level of a ramp.
    pub length: Duration,
    /// Ends that come and leave meanwhile, one after the other.
    pub churn: u32,
    /// Instead: raise the number of receiving ends up to this, until something breaks.
    pub ramp: Option<u32>,
    /// What is good enough.
    pub thresholds: Thresholds,
}

/// Who talks with whom, by which dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A Cuttlefish device and viewers of it.
    Device {
        /// How many viewers.
        viewers: u32,
    },
    /// A Kurento room, whose media the server forwards.
    Room {
        /// How many participants.
        users: u32,
        /// How many of them publish.
        publishers: u32,
    },
    /// Two peers of GStreamer's dialect in a call.
    Call,
    /// Peers of GStreamer's dialect in a multi-party room.
    Mesh {
        /// How many.
        members: u32,
    },
    /// A gecko, and pages that have workers there: an echo script and media.
    Gecko {
        /// How many pages.
        pages: u32,
    },
}

/// Which ends are this process's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// All of them.
    Both,
    /// Only those that send. Whoever receives is elsewhere.
    Send {
        /// The id, name or room to be found by.
        id: String,
    },
    /// Only those that receive; what is received needn't be coded.
    Receive {
        /// The id of the device, peer or room to watch; of a gecko, what is to run.
        watch: String,
    },
}

/// How to the server and how to the other side.
#[derive(Clone)]
pub struct Way {
    /// The server's URL.
    pub url: String,
    /// Whom to trust.
    pub trust: Trust,
    /// What to show to the server.
    pub token: Option<Secret>,
    /// How media finds its way, with all ends of this process.
    pub ice: Arc<Ice>,
    /// Whether media goes through TURN servers only.
    pub relay_only: bool,
}

/// What is sent and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Width and height of the pictures.
    pub size: (u32, u32),
    /// Pictures per second.
    pub frame_rate: u32,
    /// What is sent in, the preferred codec first; without, what the source prefers.
    pub codecs: Vec<Codec>,
    /// What encodes.
    pub encoder: EncoderChoice,
    /// What pictures are taken in; without, whatever comes. In calls and meshes, where everyone sends
    /// too, what those send in who come later.
    pub receive_codec: Option<Codec>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            size: (640, 480),
            frame_rate: 30,
            codecs: Vec::new(),
            encoder: EncoderChoice::default(),
            receive_codec: None,
        }
    }
}

impl Scenario {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::Room { .. } => "room",
            Self::Call => "call",
            Self::Mesh { .. } => "mesh",
            Self::Gecko { .. } => "gecko",
        }
    }

    /// Ends that receive only, or join later, if both ends are ours.
    pub(super) const fn receivers(self) -> u32 {
        match self {
            Self::Device { viewers } => viewers,
            Self::Room { users, publishers } => users.saturating_sub(publishers),
            Self::Call => 1,
            Self::Mesh { members } => members.saturating_sub(1),
            Self::Gecko { pages } => pages,
        }
    }

    /// Whether further ends can come at any time.
    #[must_use]
    pub const fn takes_more(self) -> bool {
        !matches!(self, Self::Call)
    }
}

impl Plan {
    /// What it is, in words.
    #[must_use]
    pub fn description(&self) -> String {
        let seconds = self.length.as_secs_f64();
        let who = match (&self.ends, self.scenario) {
            (Ends::Send { id }, scenario) => format!("{} {id:?}, sending only", scenario.word()),
            (Ends::Receive { watch }, scenario) => {
                format!("{} {watch:?}, receiving only", scenario.word())
            }
            (Ends::Both, Scenario::Device { viewers }) => {
                format!("a device and {}", some(viewers, "viewer"))
            }
            (Ends::Both, Scenario::Room { users, publishers }) => {
                format!("a room of {users} with {}", some(publishers, "publisher"))
            }
            (Ends::Both, Scenario::Call) => "a call".to_owned(),
            (Ends::Both, Scenario::Mesh { members }) => format!("a mesh of {members}"),
            (Ends::Both, Scenario::Gecko { pages }) => {
                format!("a gecko and {}", some(pages, "page"))
            }
        };
        match (self.ramp, self.churn) {
            (Some(most), _) => format!("{who}, raised to {most} at most, {seconds} s each"),
            (None, 0) => format!("{who}, {seconds} s"),
            (None, churn) => format!("{who}, {seconds} s, {churn} more that come and leave"),
        }
    }

    /// What reports call it.
    #[must_use]
    pub fn title(&self) -> String {
        let word = || self.scenario.word().to_owned();
        self.name.clone().unwrap_or_else(word)
    }

    /// How long each end may take to its first picture.
    pub(super) fn patience(&self) -> Duration {
        patience(&self.thresholds)
    }
}

fn patience(thresholds: &Thresholds) -> Duration {
    /// Longer than what is good enough, to tell what is slow from what never comes.
    const MORE: Duration = Duration::from_secs(5);
    /// If any time is good enough: longer than peers try to connect.
    const ANY: Duration = Duration::from_secs(40);
    /// Seconds beyond which nobody waits: a file may say infinity.
    const MOST: f64 = 86_400.0;
    let Thresholds {
        connect_ms,
        first_frame_ms,
        ..
    } = *thresholds;
    match connect_ms > 0.0 && first_frame_ms > 0.0 {
        true => {
            let seconds = connect_ms.max(first_frame_ms) / 1000.0;
            MORE + Duration::from_secs_f64(seconds.min(MOST))
        }
        false => ANY,
    }
}

impl Way {
    /// Connections to the server.
    ///
    /// # Errors
    /// If the URL, the token or a certificate can't be used.
    pub fn dialer(&self, path: &str) -> Result<Dialer, Failure> {
        let made = ServerUrl::new(&self.url, path).and_then(|url| Dialer::new(url, &self.trust));
        let made = made.and_then(|dialer| match &self.token {
            Some(token) => dialer.with_token(token),
            None => Ok(dialer),
        });
        made.map_err(|error| {
            let advice = "correct the URL, --token or --ca";
            Failure::new("the server", error.to_string(), advice)
        })
    }
}

/// `1 viewer`, `2 viewers`
fn some(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever_whatever_a_file_says() {
        let patience = |connect_ms, first_frame_ms| {
            patience(&Thresholds {
                connect_ms,
                first_frame_ms,
                ..Thresholds::default()
            })
            .as_secs()
        };
        assert_eq!(patience(1_000.0, 3_000.0), 8);
        assert_eq!(patience(0.0, 3_000.0), 40);
        assert_eq!(patience(f64::NAN, 3_000.0), 40);
        for endless in [f64::INFINITY, f64::MAX] {
            assert_eq!(patience(1_000.0, endless), 86_405);
        }
    }
}

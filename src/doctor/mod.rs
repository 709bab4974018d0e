//! What works on this machine and network, what doesn't, and what mends it.
//!
//! The edges look and ask (`machine`, `pair`, `stun`, `turn`, `server`), each with a deadline of
//! its own and all of them side by side; what they see are facts. `judge` makes findings of facts, and is
//! pure. Nothing that fails stops the rest, and no password or token is in any finding.

mod certificate;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod judge;
mod machine;
mod pair;
mod server;
mod stun;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::IceServer;
use crate::net::{Advertise, Advertised, Interface, InterfaceRules, interfaces};
use crate::peer::link::Dialer;

/// What to look at.
pub struct Plan {
    /// The signaling server, if one is to be looked at. A path other than `/` is tried by itself.
    pub server: Option<Dialer>,
    /// STUN and TURN servers beside those that the signaling server names.
    pub ice_servers: Vec<IceServer>,
    /// Which interfaces a peer would use.
    pub interfaces: InterfaceRules,
    /// What a peer would tell instead of its addresses.
    pub advertise: Vec<Advertise>,
    /// Who checks the certificates of TURN servers.
    pub tls: Arc<rustls::ClientConfig>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this program.
    pub version: String,
    /// The origin of the signaling server that was looked at (`https://example.org:443`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
    /// By topic; within a topic in the order in which a connection needs them.
    pub findings: Vec<Finding>,
}

/// One thing that works or doesn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// How bad it is.
    pub level: Level,
    /// What was seen.
    pub what: String,
    /// Why it matters; always there unless the level is [`Level::Ok`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it; always there unless the level is [`Level::Ok`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// A command, or a line of configuration, that does it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It works.
    Ok,
    /// Something doesn't work that not everybody needs, or wasn't tried.
    Warning,
    /// Calls will fail.
    Problem,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// GStreamer and its elements.
    Gstreamer,
    /// What encodes.
    Encoders,
    /// What the system allows.
    System,
    /// This machine's addresses.
    Addresses,
    /// A connection of this machine with itself.
    Loopback,
    /// How the outside sees this machine.
    Stun,
    /// Relays.
    Turn,
    /// The signaling server.
    Server,
}

/// What was seen. Parts that took too long or couldn't be tried say so.
struct Facts {
    machine: machine::Machine,
    addresses: Addresses,
    /// `None` if nobody is named who could be asked.
    stun: Option<stun::Stun>,
    turn: Vec<turn::Try>,
    server: Option<server::Server>,
    /// Seconds since 1970.
    now: i64,
}

/// This machine's addresses.
struct Addresses {
    all: Result<Vec<Interface>, String>,
    /// Those that media would use.
    chosen: Result<Vec<Interface>, String>,
    /// What would be told instead.
    advertised: Advertised,
}

impl Report {
    /// How many findings are of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|it| it.level == level).count()
    }
}

impl Topic {
    /// For a heading.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gstreamer => "GStreamer",
            Self::Encoders => "Encoders",
            Self::System => "System",
            Self::Addresses => "Addresses",
            Self::Loopback => "Connection with itself",
            Self::Stun => "Seen from outside (STUN)",
            Self::Turn => "Relays (TURN)",
            Self::Server => "Signaling server",
        }
    }
}

/// Looks at everything. Takes 15 s at most.
pub async fn examine(plan: Plan) -> Report {
    let started = Instant::now();
    let (machine, outside) = tokio::join!(machine::look(plan.interfaces.clone()), outside(&plan));
    let (addresses, stun, turn, server) = outside;
    let facts = Facts {
        machine,
        addresses,
        stun,
        turn,
        server,
        now: now(),
    };
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        server: plan.server.map(|dialer| dialer.url().origin()),
        milliseconds,
        findings: judge::findings(&facts),
    }
}

/// Everything that needs a network: the server first says whom else to ask.
async fn outside(
    plan: &Plan,
) -> (
    Addresses,
    Option<stun::Stun>,
    Vec<turn::Try>,
    Option<server::Server>,
) {
    let told = match &plan.server {
        Some(dialer) => Some(server::ice_servers(dialer).await),
        None => None,
    };
    let mut ice_servers = plan.ice_servers.clone();
    if let Some(server::Told::Servers(servers)) = &told {
        ice_servers.extend_from_slice(servers);
    }
    let server = async {
        match (&plan.server, told) {
            (Some(dialer), Some(told)) => Some(server::look(dialer, told).await),
            _ => None,
        }
    };
    tokio::join!(
        addresses(plan, &ice_servers),
        stun::ask(&ice_servers),
        turn::try_all(&ice_servers, &plan.tls),
        server,
    )
}

async fn addresses(plan: &Plan, ice_servers: &[IceServer]) -> Addresses {
    let all = interfaces().map_err(|error| error.to_string());
    let chosen = match &all {
        Ok(all) => plan
            .interfaces
            .choose(all)
            .map_err(|error| error.to_string()),
        Err(why) => Err(why.clone()),
    };
    let servers = crate::config::stun_servers(ice_servers);
    Addresses {
        all,
        chosen,
        advertised: Advertise::resolve(&plan.advertise, &servers).await,
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX)
}

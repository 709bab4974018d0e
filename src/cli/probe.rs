//! `switchboard probe`: media end to end, and a verdict.

mod console;
mod limits;
mod reports;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use tokio::sync::watch;

use super::access::Access;
use super::media::{Encoding, Ice};
use super::{Failure, Outcome, interrupted, say};
use crate::media::{Codec, SourceOptions};
use crate::peer::link::{Dialer, ServerUrl};
use crate::probe::judge::Thresholds;
use crate::probe::outcome::Summary;
use crate::probe::plan::{Ends, Media, Plan, Scenario, Way};
use crate::probe::suite::{self, Suite};
use console::Console;
use limits::Limits;
use reports::Reports;

/// The longest run.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The most receiving ends, and the most that come and leave.
const MOST: i64 = 10_000;
/// What each scenario of the self-test takes, in seconds.
const SELF_TEST_SECONDS: f64 = 5.0;

/// Send coded video and sound through a server, and judge what comes out at the other end
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Without a URL the probe starts a server of its own: a self-test of this machine. Without a scenario it
runs those of --suite, or each of them.

Exit codes: 0 passed, 1 failed, 2 wrong usage. A failure says what happened, and what to look at.

Examples:
  switchboard probe
  switchboard probe device wss://example.org --max-latency-p95 300ms --json -
  switchboard probe device ws://robot:8080 --receive-only --watch cam-1 --seconds 30
  switchboard probe room wss://example.org --users 6 --publishers 2 --minutes 10 --churn 20
  switchboard probe device wss://example.org --ramp 200 --seconds 5 --html report.html
  switchboard probe --suite nightly.toml wss://example.org --junit junit.xml"
)]
pub(super) struct Flags {
    #[command(subcommand)]
    scenario: Option<Subject>,
    /// Run the scenarios of this file (TOML)
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// A Cuttlefish-style device and viewers of it
    Device {
        /// How many viewers
        #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
        viewers: u32,
        #[command(flatten)]
        run: Box<Run>,
    },
    /// A Kurento room, whose media the server forwards
    Room {
        /// How many users
        #[arg(long, value_name = "N", default_value = "2", value_parser = count())]
        users: u32,
        /// How many of them publish
        #[arg(long, value_name = "M", default_value = "1", value_parser = count())]
        publishers: u32,
        #[command(flatten)]
        run: Box<Run>,
    },
    /// Two GStreamer peers in a call
    Call {
        #[command(flatten)]
        run: Box<Run>,
    },
    /// GStreamer peers in a multi-party room
    Mesh {
        /// How many peers
        #[arg(long, value_name = "N", default_value = "2", value_parser = count())]
        members: u32,
        #[command(flatten)]
        run: Box<Run>,
    },
    /// A gecko, and pages with workers there: an echo and media
    Gecko {
        /// How many pages
        #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
        pages: u32,
        #[command(flatten)]
        run: Box<Run>,
    },
}

/// What every scenario has.
#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    ends: EndFlags,
    /// How long media flows [default: 10]
    #[arg(long, value_name = "SECONDS", conflicts_with = "minutes")]
    seconds: Option<f64>,
    /// How long media flows, in minutes: a soak, with a line for each minute
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Let so many more come, wait for a picture, and leave, one after the other
    #[arg(long, value_name = "N", default_value = "0", value_parser = churn())]
    churn: u32,
    /// Raise the number of receiving ends, up to this, until a threshold breaks
    #[arg(long, value_name = "MOST", value_parser = count())]
    ramp: Option<u32>,
    #[command(flatten)]
    media: MediaFlags,
}

/// Which ends are this process's.
#[derive(Debug, Args)]
struct EndFlags {
    /// Be only the end that sends; who receives is elsewhere
    #[arg(long, conflicts_with = "receive_only")]
    send_only: bool,
    /// Be only the end that receives: judge a device, peer, room or gecko in the field
    #[arg(long, requires = "watch")]
    receive_only: bool,
    /// The id of the device, peer or room to watch; of a gecko, the script's URL or pipeline:NAME
    #[arg(long, value_name = "ID", requires = "receive_only")]
    watch: Option<String>,
    /// The id, or the room, to be found by with --send-only
    #[arg(long, value_name = "ID", default_value = "probe")]
    id: String,
}

/// What is sent.
#[derive(Debug, Args)]
struct MediaFlags {
    /// Width and height of the pictures
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480", value_parser = size)]
    size: (u32, u32),
    /// Pictures per second
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,
    #[command(flatten)]
    encoding: Encoding,
    /// What pictures are taken in; in calls and meshes, what those send in who come later
    #[arg(long, value_name = "CODEC", value_parser = suite::codec)]
    receive_codec: Option<Codec>,
}

/// What a suite has, too.
#[derive(Debug, Args)]
struct Common {
    /// The server's URL [default: a server of the probe's own]
    url: Option<String>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    ice: Ice,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    reports: Reports,
}

/// What is to be run, and what becomes of the outcome.
struct Job {
    plans: Vec<Plan>,
    reports: Reports,
    own: Option<OwnServer>,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    // Before anything starts that should end cleanly.
    let interrupted = interrupted();
    let Job {
        plans,
        reports,
        own,
    } = flags.prepare().await.map_err(Failure::Usage)?;
    let (stop, stopped) = watch::channel(false);
    let interrupt = async {
        interrupted.await;
        stop.send_replace(true);
        std::future::pending().await
    };
    let console = Console::new(reports.wants_stdout());
    let probe = async {
        let mut outcomes = Vec::new();
        for plan in &plans {
            console.begin(plan);
            let tell = |news| console.news(news);
            let outcome = crate::probe::run(plan, &stopped, &tell).await;
            console.end(&outcome);
            outcomes.push(outcome);
            if *stopped.borrow() {
                break;
            }
        }
        Summary::new(outcomes)
    };
    let summary = tokio::select! {
        summary = probe => summary,
        never = interrupt => never,
    };
    if let Some(own) = own {
        own.stop().await;
    }
    console.verdict(&summary);
    reports.write(&summary).map_err(Failure::Failed)?;
    match summary.passed {
        true => Ok(()),
        false => Err(Failure::Failed(anyhow!("the probe failed"))),
    }
}

impl Flags {
    async fn prepare(self) -> anyhow::Result<Job> {
        let Some(subject) = self.scenario else {
            return Self::of_suite(self.suite, self.common).await;
        };
        let (scenario, run) = subject.split();
        let length = run.length()?;
        let ends = run.ends.ends();
        suite::check(scenario, &ends, run.churn, run.ramp).map_err(|why| anyhow!(why))?;
        let Common {
            url,
            access,
            ice,
            limits,
            reports,
        } = run.common;
        if url.is_none() && ends != Ends::Both {
            bail!("with --send-only or --receive-only give the server's URL");
        }
        let thresholds = limits.thresholds(Thresholds::default())?;
        let (way, own) = way(url, &access, ice).await?;
        let plan = Plan {
            name: None,
            scenario,
            ends,
            way,
            media: run.media.media(),
            length,
            churn: run.churn,
            ramp: run.ramp,
            thresholds,
        };
        Ok(Job {
            plans: vec![plan],
            reports,
            own,
        })
    }

    async fn of_suite(file: Option<PathBuf>, common: Common) -> anyhow::Result<Job> {
        let Common {
            url,
            access,
            ice,
            limits,
            reports,
        } = common;
        let suite = match &file {
            Some(path) => {
                if limits.is_any() {
                    bail!("with --suite, the thresholds are in its file");
                }
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let suite = Suite::parse(&text);
                suite.with_context(|| path.display().to_string())?
            }
            None => {
                let length = Duration::from_secs_f64(SELF_TEST_SECONDS);
                Suite::of_all(length, &limits.thresholds(Thresholds::default())?)
            }
        };
        let url = url.or_else(|| suite.url.clone());
        let (way, own) = way(url, &access, ice).await?;
        Ok(Job {
            plans: suite.plans(&way),
            reports,
            own,
        })
    }
}

impl Subject {
    fn split(self) -> (Scenario, Run) {
        match self {
            Self::Device { viewers, run } => (Scenario::Device { viewers }, *run),
            Self::Room {
                users,
                publishers,
                run,
            } => (Scenario::Room { users, publishers }, *run),
            Self::Call { run } => (Scenario::Call, *run),
            Self::Mesh { members, run } => (Scenario::Mesh { members }, *run),
            Self::Gecko { pages, run } => (Scenario::Gecko { pages }, *run),
        }
    }
}

impl Run {
    fn length(&self) -> anyhow::Result<Duration> {
        let seconds = match (self.minutes, self.seconds) {
            (Some(minutes), _) => minutes * 60.0,
            (None, Some(seconds)) => seconds,
            (None, None) => suite::SECONDS,
        };
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|length| !length.is_zero() && *length <= LONGEST)
            .ok_or_else(|| anyhow!("media flows for more than 0 s, and for 30 days at most"))
    }
}

impl EndFlags {
    fn ends(&self) -> Ends {
        match &self.watch {
            Some(watch) => Ends::Receive {
                watch: watch.clone(),
            },
            None if self.send_only => Ends::Send {
                id: self.id.clone(),
            },
            None => Ends::Both,
        }
    }
}

impl MediaFlags {
    fn media(self) -> Media {
        let SourceOptions {
            codecs, encoder, ..
        } = self.encoding.options();
        Media {
            size: self.size,
            frame_rate: self.fps,
            codecs,
            encoder,
            receive_codec: self.receive_codec,
        }
    }
}

/// The way to the server, and the server if it is our own.
async fn way(
    url: Option<String>,
    access: &Access,
    ice: Ice,
) -> anyhow::Result<(Way, Option<OwnServer>)> {
    let mut trust = access.trust();
    let (url, own) = match url {
        Some(url) => (url, None),
        None => {
            let own = OwnServer::start().await?;
            trust.anyone = true;
            (own.url.clone(), Some(own))
        }
    };
    let dialer = Dialer::new(ServerUrl::new(&url, "/")?, &trust)?;
    let dialer = match access.token() {
        Some(token) => dialer.with_token(token).context("--token")?,
        None => dialer,
    };
    let relay_only = ice.is_relay_only();
    let way = Way {
        url,
        trust,
        token: access.token().cloned(),
        ice: Arc::new(ice.prepare(&dialer)?.asking(&dialer)),
        relay_only,
    };
    Ok((way, own))
}

/// A server in this process, on a port of its own.
struct OwnServer {
    url: String,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl OwnServer {
    #[cfg(feature = "server")]
    async fn start() -> anyhow::Result<Self> {
        let config = crate::config::Config::load(crate::config::Overrides {
            listen: vec!["127.0.0.1:0".to_owned()],
            ..crate::config::Overrides::default()
        })?;
        let server = crate::server::bind(config).await?;
        let bound = server.addresses().into_iter().next();
        let bound = bound.ok_or_else(|| anyhow!("the probe's own server has no address"))?;
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let end = async {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            server.run(end).await;
        });
        let url = format!("ws://{}", bound.address);
        Ok(Self { url, stop, task })
    }

    #[cfg(not(feature = "server"))]
    #[expect(clippy::unused_async, reason = "as with the server")]
    async fn start() -> anyhow::Result<Self> {
        bail!("this program was built without the server: give a server's URL")
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the probe's own server died");
        }
    }
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MOST)
}

fn churn() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=MOST)
}

/// As large as the marks need it (160×120), and not larger than encoders take.
fn size(text: &str) -> Result<(u32, u32), String> {
    let wrong = || "write WIDTHxHEIGHT, from 160x120 to 3840x2160, both even".to_owned();
    let (width, height) = text.split_once(['x', '×']).ok_or_else(wrong)?;
    let (width, height) = width
        .parse::<u32>()
        .ok()
        .zip(height.parse::<u32>().ok())
        .ok_or_else(wrong)?;
    let fits = (160..=3840).contains(&width) && (120..=2160).contains(&height);
    match fits && width % 2 == 0 && height % 2 == 0 {
        true => Ok((width, height)),
        false => Err(wrong()),
    }
}

//! `switchboard doctor`: what works here, what does not, and what mends it.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::Args;

use super::access::Access;
use super::addresses::Addresses;
use super::media::ice_server;
use super::{Failure, Outcome, say};
use crate::config::IceServer;
use crate::doctor::{self, Finding, Level, Plan, Report};
use crate::peer::link::{ServerUrl, client_config};

/// Tell what works on this machine and network, what does not, and the command that mends it
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at GStreamer and its encoders, this machine's addresses, a connection of two peers on it, what STUN
servers see of it, whether TURN servers relay (UDP, TCP, TLS), and the signaling server: port, certificate,
WebSockets of each dialect, clock. Takes 15 seconds at most, and changes nothing.

The exit code is 0 if there is no problem (warnings are none), 1 if there is one, 2 for wrong usage.

Examples:
  switchboard doctor
  switchboard doctor wss://example.org
  switchboard doctor --ice-server stun:stun.example.org --ice-server turn:me:secret@turn.example.org
  switchboard doctor wss://example.org --json | jq '.findings[] | select(.level != \"ok\")'")]
pub(super) struct Flags {
    /// The signaling server to look at, too
    #[arg(value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    access: Access,
    /// A STUN or TURN server to try, beside those that the signaling server names (repeatable):
    /// stun:HOST:PORT, or turn:USER:PASSWORD@HOST:PORT with ?transport=tcp, or turns: for TLS
    #[arg(long, value_name = "URL", value_parser = ice_server)]
    ice_server: Vec<IceServer>,
    #[command(flatten)]
    addresses: Addresses,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let json = flags.json;
    let report = doctor::examine(flags.prepare().map_err(Failure::Usage)?).await;
    let printed = match json {
        true => serde_json::to_string_pretty(&report).map_err(Failure::usage)?,
        false => text(&report),
    };
    say(printed.trim_end());
    match report.count(Level::Problem) {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow!("there is a problem"))),
        many => Err(Failure::Failed(anyhow!("there are {many} problems"))),
    }
}

impl Flags {
    fn prepare(self) -> anyhow::Result<Plan> {
        let server = match &self.url {
            Some(url) => Some(self.access.dialer(ServerUrl::new(url, "/")?)?),
            None => None,
        };
        let (interfaces, advertise) = self.addresses.into_rules();
        Ok(Plan {
            tls: client_config(&self.access.trust())?.into(),
            server,
            ice_servers: self.ice_server,
            interfaces,
            advertise,
        })
    }
}

/// For people: what is well in one line each.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut topic = None;
    for finding in &report.findings {
        if topic != Some(finding.topic) {
            topic = Some(finding.topic);
            // Writing to a text doesn't fail.
            let _ = writeln!(text, "{}", finding.topic.name());
        }
        print(&mut text, finding);
    }
    let (problems, warnings) = (report.count(Level::Problem), report.count(Level::Warning));
    let seconds = report.milliseconds.div_ceil(1000);
    let _ = write!(
        text,
        "{}, {}; looked for {seconds} s",
        counted(problems, "problem"),
        counted(warnings, "warning")
    );
    text
}

fn print(text: &mut String, finding: &Finding) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "WARNING",
        Level::Problem => "PROBLEM",
    };
    let _ = writeln!(text, "  {level:7}  {}", finding.what);
    let more = [
        ("why", &finding.why),
        ("do", &finding.fix),
        ("", &finding.command),
    ];
    for (word, more) in more {
        if let Some(more) = more {
            let word = if word.is_empty() {
                "$".to_owned()
            } else {
                format!("{word}:")
            };
            let _ = writeln!(text, "           {word:4} {more}");
        }
    }
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        0 => format!("no {thing}s"),
        1 => format!("1 {thing}"),
        many => format!("{many} {thing}s"),
    }
}

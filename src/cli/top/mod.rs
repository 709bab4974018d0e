//! `switchboard top`: what a server does and who is at it, in a terminal.

mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod model;
mod screen;
mod table;
mod units;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use self::client::{Client, TopError};
use self::model::{Model, View};
use self::table::Order;
use super::access::Access;
use super::{Failure, Outcome, interrupted, say};
use crate::web::dialer::ServerUrl;

/// How wide the lines are that don't go to a terminal.
const PLAIN_WIDTH: usize = 1_000;

/// Watch a server in the terminal: endpoints, calls, rooms and connections
#[derive(Debug, Args)]
#[command(after_help = "\
Keys:
  1 2 3 4, Tab        endpoints, calls, rooms, connections
  ↑ ↓ PgUp PgDn       choose a row
  < >                 sort by another column; r turns the order around
  k                   kick what is chosen, after a question: close its connection, end the call,
                      or put the participant out of its room
  q, Ctrl-C           quit

A server that asks for tokens wants one with the role admin. Where standard output is no terminal, this
is --once.

Exit codes: 0, 1 if the server doesn't answer or doesn't let this token, 2 for wrong usage.

Examples:
  switchboard top http://127.0.0.1:8080
  SWITCHBOARD_TOKEN=$(cat admin.token) switchboard top https://example.org
  switchboard top https://example.org --once --json | jq .rates")]
pub(super) struct Flags {
    /// The server's URL
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    access: Access,
    /// Seconds between two looks at the server
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// Look twice, an interval apart, print everything as text, and end
    #[arg(long)]
    once: bool,
    /// Print one JSON object instead: what the server told the second time, and the rates between
    #[arg(long, requires = "once")]
    json: bool,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let stopped = interrupted();
    let url = ServerUrl::new(&flags.url, "/").map_err(Failure::usage)?;
    let dialer = flags.access.dialer(url).map_err(Failure::Usage)?;
    let client = Client::new(dialer);
    let once = flags.once || !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal());
    let shown = async {
        if once {
            print_once(&client, flags.interval, flags.json).await
        } else {
            screen::show(&client, flags.interval).await
        }
    };
    tokio::select! {
        shown = shown => shown.map_err(|error| Failure::Failed(error.into())),
        () = stopped => Ok(()),
    }
}

async fn print_once(client: &Client, interval: Duration, json: bool) -> Result<(), TopError> {
    let mut model = Model::default();
    model.take(client.look(&View::ALL).await?);
    tokio::time::sleep(interval).await;
    model.take(client.look(&View::ALL).await?);
    if json {
        say(model.json());
        return Ok(());
    }
    for line in model.head(&client.url()) {
        say(line);
    }
    for view in View::ALL {
        let table = model.table(view, Order::FIRST);
        let (head, rows) = table.lines(None, PLAIN_WIDTH);
        say(format_args!("\n{} {}", model.count(view), view.name()));
        if rows.is_empty() {
            continue;
        }
        say(head);
        for row in rows {
            say(row);
        }
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.1..=3_600.0).contains(seconds));
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| "write seconds, from 0.1 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_some_seconds() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        for wrong in ["0", "-1", "NaN", "inf", "4000", "2s", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

//! `switchboard token`: tokens for a server with `[auth.local]`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, Outcome, say};
use crate::config::Secret;
use crate::hub::Grant;
use crate::server::tokens::{Minted, mint, show};

/// Make tokens for a server that asks for them, or look at one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchboard token mint --key token.key --user robot-7 --for 30d --grant 'device ids=robot-7'
  switchboard token mint --key token.key --user anna --grant 'participant rooms=lab publish=false'
  switchboard token show TOKEN")]
pub(super) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sign a token and print it
    Mint(Mint),
    /// Print what a token says; whether it is true isn't checked
    Show {
        /// The token
        #[arg(value_parser = secret)]
        token: Secret,
    },
}

#[derive(Debug, Args)]
struct Mint {
    /// The key that signs; made if there is no such file. The server's configuration names it, or
    /// its public half, as auth.local.key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Whom the token speaks for
    #[arg(long, value_name = "NAME")]
    user: String,
    /// How long it is good: 90s, 15m, 24h, 30d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = time)]
    lifetime: Duration,
    /// What it allows (repeatable): a role (device, gecko, peer, client, participant, admin), then
    /// its limits, as in "device ids=cam-*", "participant rooms=demo,lab publish=false"
    #[arg(long, value_name = "ROLE [KEY=VALUE…]", required = true, value_parser = grant)]
    grant: Vec<Grant>,
    /// Only to see and hear: clients may not control a device or run a worker, and participants may
    /// not publish or send messages. The same as control=false, and publish=false message=false
    #[arg(long)]
    view_only: bool,
}

pub(super) fn run(flags: Flags) -> Outcome {
    match flags.what {
        What::Mint(Mint {
            key,
            user,
            lifetime,
            grant,
            view_only,
        }) => {
            let grants = match view_only {
                true => grant
                    .into_iter()
                    .map(only_viewing)
                    .collect::<Result<_, _>>(),
                false => Ok(grant),
            };
            let what = Minted {
                user,
                lifetime,
                grants: grants.map_err(Failure::usage)?,
            };
            say(mint(&key, &what).map_err(Failure::usage)?.expose());
        }
        What::Show { token } => {
            let claims = show(&token).map_err(Failure::usage)?;
            let text = serde_json::to_string_pretty(&claims).map_err(Failure::usage)?;
            say(text);
        }
    }
    Ok(())
}

fn grant(text: &str) -> anyhow::Result<Grant> {
    let mut words = text.split_whitespace();
    let role = words.next().context("a grant begins with a role")?;
    let mut fields = Map::from_iter([("role".to_owned(), Value::from(role))]);
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| anyhow!("\"{word}\" is no KEY=VALUE"))?;
        let value = match value {
            "true" | "false" => Value::from(value == "true"),
            list => list.split(',').collect(),
        };
        fields.insert(key.to_owned(), value);
    }
    Ok(serde_json::from_value(Value::Object(fields))?)
}

fn only_viewing(grant: Grant) -> anyhow::Result<Grant> {
    let role = grant.role();
    grant.only_viewing().ok_or_else(|| {
        anyhow!("--view-only is for clients and participants, and the grant is for a {role}; leave one out")
    })
}

fn time(text: &str) -> anyhow::Result<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let read = units.into_iter().find_map(|(unit, seconds)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(u64::from(number) * seconds))
    });
    read.context("write a number and one of s, m, h and d, as in 24h")
}

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_role_and_its_limits() {
        let given = grant("participant rooms=demo,lab publish=false").unwrap();
        let json =
            serde_json::json!({"role": "participant", "rooms": ["demo", "lab"], "publish": false});
        assert_eq!(given, serde_json::from_value(json).unwrap());
        for wrong in [
            "",
            "king",
            "device rooms=x",
            "device ids",
            "device ids=true",
        ] {
            assert!(grant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(time("2h").unwrap(), Duration::from_secs(7_200));
        for wrong in ["", "h", "5", "-1s", "1y", "1.5h", "5ä"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}

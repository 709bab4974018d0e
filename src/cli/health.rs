//! `switchboard health`: whether the server of this machine answers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use hyper::{HeaderMap, Method, Uri};
use tokio::time::timeout;

use super::serve::Places;
use super::{Failure, Outcome, say};
use crate::config::{Config, Listen, Overrides, TlsFlag};
use crate::net;
use crate::web::{Ask, Web, trust_anyone, trusting};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes in an answer, which is a word.
const ANSWER_BYTES: usize = 4096;

/// Ask the server of this machine how it is, as containers and monitors do
#[derive(Debug, Args)]
#[command(after_help = "\
It is asked where its configuration or --listen says that it listens first, on this machine. A certificate
isn't looked at, because nothing is told to the server.

The exit code is 0 if it is well, 1 if it isn't or doesn't answer within 3 seconds.

Examples:
  switchboard health
  switchboard health --config /etc/switchboard/switchboard.toml --ready
  switchboard health --listen tls:0.0.0.0:8443")]
pub(super) struct Flags {
    /// Ask whether it takes newcomers, too; it doesn't once it was told to stop
    #[arg(long)]
    ready: bool,
    /// The server's configuration file
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let path = if flags.ready { "/ready" } else { "/health" };
    let url = flags.url(path).map_err(Failure::Usage)?;
    let asked = timeout(PATIENCE, ask(&url)).await;
    let said = asked
        .unwrap_or_else(|_| Err(anyhow!("it doesn't answer within {PATIENCE:?}")))
        .with_context(|| url.to_string())
        .map_err(Failure::Failed)?;
    say(said);
    Ok(())
}

impl Flags {
    fn url(self, path: &str) -> anyhow::Result<Uri> {
        let config = Config::load(Overrides {
            file: self.config,
            listen: self.places.listen,
            // What a server needs to be safe isn't asked of who only looks at it.
            insecure: true,
            tls: Some(TlsFlag::SelfSigned),
            ..Overrides::default()
        })?;
        let listen = config.listen.first().context("it listens nowhere")?;
        url(*listen, path)
    }
}

fn url(listen: Listen, path: &str) -> anyhow::Result<Uri> {
    if listen.address.port() == 0 {
        return Err(anyhow!(
            "the system chooses the server's port; give the one that it printed with --listen IP:PORT"
        ));
    }
    let scheme = if listen.tls { "https" } else { "http" };
    let address = net::from_here(listen.address);
    Ok(format!("{scheme}://{address}{path}").parse()?)
}

async fn ask(url: &Uri) -> anyhow::Result<String> {
    let mut tls = trusting(rustls::RootCertStore::empty())?;
    trust_anyone(&mut tls);
    let ask = Ask {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: hyper::body::Bytes::new(),
    };
    let answer = Web::new(tls, ANSWER_BYTES).send(ask, |_| Ok(())).await?;
    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
    match answer.status.is_success() {
        true => Ok(text),
        false => Err(anyhow!("{}: {text}", answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_on_this_machine_where_the_server_listens() {
        let url = |address: &str, tls| {
            let address = address.parse().unwrap();
            url(Listen { address, tls }, "/health").map(|url| url.to_string())
        };
        assert_eq!(
            url("0.0.0.0:80", false).unwrap(),
            "http://127.0.0.1:80/health"
        );
        assert_eq!(url("[::]:8443", true).unwrap(), "https://[::1]:8443/health");
        assert_eq!(
            url("192.0.2.1:8443", true).unwrap(),
            "https://192.0.2.1:8443/health"
        );
        assert!(url("127.0.0.1:0", false).is_err());
    }
}

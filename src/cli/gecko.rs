//! `switchboard gecko`: a gecko that runs workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::media::{Encoding, Ice, Printer, Server, pipeline};
use super::{Failure, Outcome, interrupted, mesh};
use crate::media::Source;
use crate::peer::call;
use crate::peer::gecko::{self, Gecko, Options};
use crate::peer::link::{Dialer, ServerUrl, Trust, client_config};
use crate::worker::Limits;
use crate::worker::fetch::{FetchLimits, Fetcher, NoOrigin, Origin, Origins};

/// The value of `--allow-origin` for all of them.
const ANY: &str = "*";
/// A mebibyte, in which flags count memory.
const MIB: usize = 1024 * 1024;

/// Register as a gecko, and run the workers that clients ask for
#[derive(Debug, Args)]
#[command(after_help = "\
A client names a worker script by its URL, or a pipeline to play as pipeline:NAME. Scripts run in
processes of their own without network and files; this gecko loads them, and what they import and
fetch, from allowed origins only. What they log goes to this gecko's log.

Examples:
  switchboard gecko ws://127.0.0.1:8080
  switchboard gecko wss://example.org --id lab-1 --allow-origin https://scripts.example.org
  switchboard gecko ws://127.0.0.1:8080 --allow-origin '*' --capacity 50
  switchboard gecko ws://127.0.0.1:8080 --pipeline test --pipeline camera --receive recordings")]
pub(super) struct Flags {
    #[command(flatten)]
    server: Server,
    /// The id to register under, which should stay the same [default: this machine's name]
    #[arg(long, value_parser = id)]
    id: Option<String>,
    #[command(flatten)]
    workers: Workers,
    /// A pipeline that clients and scripts may play: a name or a file, and values for its variables
    /// (repeatable); the first one plays where a client with a script offers media
    #[arg(long, value_name = "NAME [KEY=VALUE…]", default_value = "test")]
    pipeline: Vec<String>,
    #[command(flatten)]
    encoding: Encoding,
    /// Write the media that clients send to files in this directory, one for each worker
    #[arg(long, value_name = "DIRECTORY")]
    receive: Option<PathBuf>,
    #[command(flatten)]
    ice: Ice,
}

/// What workers may do.
#[derive(Debug, Args)]
struct Workers {
    /// Load scripts, and what they import and fetch, from this origin (repeatable; '*' for all on
    /// the Internet) [default: the server's own]
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Load from addresses inside this machine and its networks, too; origins that are given as an
    /// address or as localhost need no permission
    #[arg(long)]
    allow_private: bool,
    /// How many workers run at once
    #[arg(long, value_name = "N", default_value = "16")]
    capacity: usize,
    /// How much memory one script may use
    #[arg(long, value_name = "MIB", default_value = "32")]
    worker_memory: usize,
    /// How much processor time one script may use altogether
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    worker_cpu: u64,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let printer = Printer::start();
    let (dialer, gecko) = flags.prepare(&printer).await.map_err(Failure::Usage)?;
    let result = gecko.run(dialer, interrupted()).await;
    printer.finish().await;
    result.map_err(|error| Failure::Failed(error.into()))
}

impl Flags {
    async fn prepare(self, printer: &Printer) -> anyhow::Result<(Dialer, Gecko)> {
        let trust = self.server.trust();
        let (dialer, variables) = self.server.prepare(gecko::PATH)?;
        let limits = self.workers.limits()?;
        // Scripts come from other servers than the one that --insecure is about, and what they fetch isn't
        // fetched in this gecko's name.
        let trust = Trust {
            anyone: false,
            identity: None,
            ..trust
        };
        let origins = self.workers.origins(dialer.url())?;
        let fetcher = fetcher(&trust, origins, &limits)?;
        let options = self.encoding.options();
        let mut pipelines = Vec::new();
        for words in &self.pipeline {
            let file = pipeline("--pipeline", words, &variables)?;
            pipelines.push(Source::open(file, options.clone()).await?);
        }
        let reception = mesh::reception(self.receive.as_deref()).context("--receive")?;
        let options = Options {
            id: match self.id {
                Some(id) => id,
                None => gecko::machine_id(),
            },
            capacity: self.workers.capacity,
            media: call::Media {
                source: pipelines.first().cloned(),
                reception,
                ice: Arc::new(self.ice.prepare(&dialer)?),
            },
            pipelines,
            limits,
            fetcher,
            events: vec![printer.lines()],
        };
        Ok((dialer, Gecko::new(options)))
    }
}

impl Workers {
    fn limits(&self) -> anyhow::Result<Limits> {
        ensure!(self.capacity > 0, "--capacity takes 1 or more");
        ensure!(self.worker_memory > 0, "--worker-memory takes 1 or more");
        ensure!(self.worker_cpu > 0, "--worker-cpu takes 1 or more");
        let defaults = Limits::default();
        let heap_bytes = self.worker_memory.saturating_mul(MIB);
        let around = defaults.process_bytes.saturating_sub(defaults.heap_bytes);
        Ok(Limits {
            heap_bytes,
            process_bytes: heap_bytes.saturating_add(around),
            total_cpu: Duration::from_secs(self.worker_cpu),
            ..defaults
        })
    }

    /// Without any flag the server's own: one talks to it anyway, wherever it is.
    fn origins(&self, server: &ServerUrl) -> anyhow::Result<Origins> {
        let listed = self.allow_origin.iter().filter(|text| *text != ANY);
        let mut listed = listed
            .map(|text| text.parse())
            .collect::<Result<Vec<Origin>, NoOrigin>>()
            .context("--allow-origin")?;
        if self.allow_origin.is_empty() {
            listed.push(server.origin().parse::<Origin>()?.trusted());
        }
        Ok(Origins {
            any: self.allow_origin.iter().any(|text| text == ANY),
            listed,
            private: self.allow_private,
        })
    }
}

/// What loads scripts.
pub(super) fn fetcher(trust: &Trust, origins: Origins, limits: &Limits) -> anyhow::Result<Fetcher> {
    let fetch_limits = FetchLimits {
        bytes: limits.load_bytes,
        time: limits.load_wall,
    };
    Ok(Fetcher::new(client_config(trust)?, origins, fetch_limits))
}

fn id(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("an id has at least one character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

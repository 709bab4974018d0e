//! `switchboard device`: a headless Cuttlefish-style device.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::{Failure, Outcome, interrupted, say};
use crate::hub::{EndpointId, Namespace};
use crate::media::pipeline::PipelineFile;
use crate::media::{Source, SourceOptions};
use crate::peer::device::{self, Device, hook};
use crate::peer::link::{Dialer, ServerUrl, Trust};

/// Events that wait to be printed; more are dropped.
const EVENT_QUEUE: usize = 256;

/// Register as a device, and play pipelines to every viewer
#[derive(Debug, Args)]
#[command(after_help = "\
The events of viewers (touches, keys, buttons, …) are printed as JSON, one a line.

Examples:
  switchboard device ws://127.0.0.1:8080
  switchboard device wss://example.org --id cam-1 --pipeline camera device=/dev/video2
  switchboard device ws://127.0.0.1:8080 --pipeline test --pipeline 'test pattern=snow'")]
pub(super) struct Flags {
    /// The server's URL, then values for the pipelines' variables
    #[arg(value_name = "URL [KEY=VALUE]", required = true)]
    words: Vec<String>,
    /// The id to register under
    #[arg(long, default_value = "cvd-1", value_parser = id)]
    id: EndpointId,
    #[command(flatten)]
    media: Media,
    /// Trust these certificates too (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate of the server
    #[arg(long)]
    insecure: bool,
}

/// What a device plays, and what it does with input.
#[derive(Debug, Args)]
pub(super) struct Media {
    /// A pipeline to play: a name or a file, and values for its variables (repeatable: display_0, display_1, …)
    #[arg(long, value_name = "NAME [KEY=VALUE…]", default_value = "test")]
    pipeline: Vec<String>,
    /// Fields to add to the device's info: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE")]
    info: Option<String>,
    /// Give each event, as a line of JSON, to this shell command's standard input
    #[arg(long, value_name = "CMD")]
    on_input: Option<String>,
    /// Connect viewers' adb channels to this TCP address
    #[arg(long, value_name = "HOST:PORT")]
    adb: Option<String>,
    /// How long to keep cameras and encoders running after the last viewer has left
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    linger: f64,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let (dialer, device) = flags.prepare().await.map_err(Failure::Usage)?;
    device.run(dialer, interrupted()).await;
    Ok(())
}

impl Flags {
    async fn prepare(self) -> anyhow::Result<(Dialer, Device)> {
        let (urls, variables): (Vec<_>, Vec<_>) =
            self.words.into_iter().partition(|word| is_url(word));
        let [url] = &urls[..] else {
            bail!("give one server's URL, as in ws://127.0.0.1:8080");
        };
        let url = ServerUrl::new(url, device::PATH)?;
        let trust = Trust {
            ca: self.ca,
            anyone: self.insecure,
        };
        let dialer = Dialer::new(url, &trust)?;
        let device = self.media.prepare(self.id, &variables).await?;
        Ok((dialer, device))
    }
}

impl Media {
    /// Checks everything and loads the pipelines; nothing plays yet.
    pub(super) async fn prepare(
        self,
        id: EndpointId,
        variables: &[String],
    ) -> anyhow::Result<Device> {
        let linger = Duration::try_from_secs_f64(self.linger)
            .context("--linger takes seconds, 0 or more")?;
        let info = self
            .info
            .as_deref()
            .map(read_info)
            .transpose()
            .context("--info")?;
        let mut sources = Vec::new();
        for words in &self.pipeline {
            sources
                .push(Source::open(pipeline(words, variables)?, SourceOptions { linger }).await?);
        }
        let mut events = vec![printer()];
        events.extend(self.on_input.map(hook::spawn));
        let options = device::Options {
            id,
            sources,
            info: info.unwrap_or_default(),
            events,
            adb: self.adb,
        };
        Ok(Device::new(options)?)
    }
}

/// `uri=file:///x` is no URL, `ws://x/?y=z` is.
fn is_url(word: &str) -> bool {
    word.find("://")
        .is_some_and(|at| word[..at].chars().all(|c| c.is_ascii_alphanumeric()))
}

/// A pipeline by its name or file, with its own variables after those for all.
fn pipeline(words: &str, variables: &[String]) -> anyhow::Result<PipelineFile> {
    let mut words = words.split_whitespace();
    let name = words
        .next()
        .ok_or_else(|| anyhow!("--pipeline needs a name"))?;
    let pairs = variables
        .iter()
        .map(String::as_str)
        .chain(words)
        .map(key_value)
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(PipelineFile::find(name, &pairs)?)
}

/// Splits `KEY=VALUE`.
pub(super) fn key_value(word: &str) -> anyhow::Result<(String, String)> {
    word.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| anyhow!("\"{word}\" is no KEY=VALUE for a pipeline's variable"))
}

fn read_info(text: &str) -> anyhow::Result<Map<String, Value>> {
    let json = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?
    };
    serde_json::from_str(&json).context("the device's info must be a JSON object")
}

fn printer() -> mpsc::Sender<Arc<str>> {
    let (lines, mut receiver) = mpsc::channel::<Arc<str>>(EVENT_QUEUE);
    // A thread of its own: standard output may block for as long as its reader likes.
    std::thread::spawn(move || {
        while let Some(line) = receiver.blocking_recv() {
            say(line);
        }
    });
    lines
}

pub(super) fn id(text: &str) -> Result<EndpointId, String> {
    EndpointId::new(Namespace::Device, text)
        .ok_or_else(|| "an id has at least one character".to_owned())
}

//! `switchboard device`: a headless Cuttlefish-style device.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value};

use super::media::{self, Printer, Server, pipeline};
use super::{Failure, Outcome, interrupted};
use crate::hub::{EndpointId, Namespace};
use crate::media::{Source, SourceOptions};
use crate::peer::device::{self, Device, hook};
use crate::peer::ice::Ice;
use crate::peer::link::Dialer;

/// Register as a device, and play pipelines to every viewer
#[derive(Debug, Args)]
#[command(after_help = "\
The events of viewers (touches, keys, buttons, …) are printed as JSON, one a line.

Examples:
  switchboard device ws://127.0.0.1:8080
  switchboard device wss://example.org --id cam-1 --pipeline camera device=/dev/video2
  switchboard device ws://127.0.0.1:8080 --pipeline test --pipeline 'test pattern=snow'")]
pub(super) struct Flags {
    #[command(flatten)]
    server: Server,
    /// The id to register under
    #[arg(long, default_value = "cvd-1", value_parser = id)]
    id: EndpointId,
    #[command(flatten)]
    media: Media,
    #[command(flatten)]
    ice: media::Ice,
}

/// What a device plays, and what it does with input.
#[derive(Debug, Args)]
pub(super) struct Media {
    /// A pipeline to play: a name or a file, and values for its variables (repeatable: display_0, display_1, …)
    #[arg(long, value_name = "NAME [KEY=VALUE…]", default_value = "test")]
    pipeline: Vec<String>,
    #[command(flatten)]
    encoding: media::Encoding,
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
        let (dialer, variables) = self.server.prepare(device::PATH)?;
        let ice = self.ice.prepare(&dialer)?;
        let device = self.media.prepare(self.id, &variables, ice).await?;
        Ok((dialer, device))
    }
}

impl Media {
    /// Checks everything and loads the pipelines; nothing plays yet.
    pub(super) async fn prepare(
        self,
        id: EndpointId,
        variables: &[String],
        ice: Ice,
    ) -> anyhow::Result<Device> {
        let linger = Duration::try_from_secs_f64(self.linger)
            .context("--linger takes seconds, 0 or more")?;
        let info = self
            .info
            .as_deref()
            .map(read_info)
            .transpose()
            .context("--info")?;
        let options = SourceOptions {
            linger,
            ..self.encoding.options()
        };
        let mut sources = Vec::new();
        for words in &self.pipeline {
            let file = pipeline("--pipeline", words, variables)?;
            sources.push(Source::open(file, options.clone()).await?);
        }
        let mut events = vec![Printer::start().lines()];
        events.extend(self.on_input.map(hook::spawn));
        let options = device::Options {
            id,
            sources,
            info: info.unwrap_or_default(),
            events,
            adb: self.adb,
            ice: ice.into(),
            observer: None,
        };
        Ok(Device::new(options)?)
    }
}

fn read_info(text: &str) -> anyhow::Result<Map<String, Value>> {
    let json = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?
    };
    serde_json::from_str(&json).context("the device's info must be a JSON object")
}

pub(super) fn id(text: &str) -> Result<EndpointId, String> {
    EndpointId::new(Namespace::Device, text)
        .ok_or_else(|| "an id has at least one character".to_owned())
}

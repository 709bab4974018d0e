//! `switchboard call`: a GStreamer peer that waits for a call or makes one.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::sync::mpsc;

use super::media::{self, Printer, Send, Server};
use super::{Failure, Outcome, interrupted};
use crate::dialect::gstreamer::client::PeerId;
use crate::media::Container;
use crate::peer::call::{self, Caller, Lines, Options};
use crate::peer::link::Dialer;
use crate::peer::reception::Reception;

/// Lines of standard input that wait to be sent; then it isn't read on.
const LINE_QUEUE: usize = 16;

/// Wait for a call of a GStreamer peer, or make one
#[derive(Debug, Args)]
#[command(after_help = "\
Lines of standard input go to the other side over a data channel. What comes over data channels,
counts and finished files are printed as JSON, one a line.

The exit code is 0 after a call, and 1 if there was none.

Examples:
  switchboard call ws://127.0.0.1:8080 --id 1234
  switchboard call ws://127.0.0.1:8080 --peer 1234 --send camera --receive display
  switchboard call wss://example.org --peer 1234 --wait --send none --receive call.webm
  switchboard call ws://127.0.0.1:8080 --id 1234 --keep --receive count --send 'test pattern=snow'")]
pub(super) struct Flags {
    #[command(flatten)]
    server: Server,
    /// The id to register under [default: some number]
    #[arg(long, value_parser = media::peer_id)]
    id: Option<PeerId>,
    /// Call this peer
    #[arg(long, value_name = "ID", value_parser = media::peer_id)]
    peer: Option<PeerId>,
    #[command(flatten)]
    send: Send,
    /// What to do with the other side's media: write it to a file (.webm, .mkv, .mp4), display or
    /// count it; without this it is not asked for
    #[arg(long, value_name = "FILE|display|count")]
    receive: Option<PathBuf>,
    /// Let the other side make the offer
    #[arg(long, requires = "peer")]
    remote_offerer: bool,
    /// Try until the server is there, and the peer is there and free
    #[arg(long)]
    wait: bool,
    /// After a call, be available again
    #[arg(long)]
    keep: bool,
    /// The label of the data channel that comes with our offer; `none` for no channel and no
    /// bundling, which webrtc_sendrecv.py needs to answer
    #[arg(long, value_name = "LABEL", default_value = "data")]
    channel: String,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let printer = Printer::start();
    let (dialer, caller) = flags.prepare(&printer).await.map_err(Failure::Usage)?;
    let result = caller.run(dialer, interrupted()).await;
    printer.finish().await;
    result.map_err(|error| Failure::Failed(error.into()))
}

impl Flags {
    async fn prepare(self, printer: &Printer) -> anyhow::Result<(Dialer, Caller)> {
        let (dialer, variables) = self.server.prepare(call::PATH)?;
        let reception = reception(self.receive).context("--receive")?;
        let id = self.id.or_else(media::some_peer_id);
        let options = Options {
            id: id.ok_or_else(|| anyhow!("give an id with --id"))?,
            partner: self.peer,
            remote_offers: self.remote_offerer,
            wait: self.wait,
            keep: self.keep,
            channel: (self.channel != "none").then_some(self.channel),
            media: self.send.prepare(&dialer, &variables, reception).await?,
            lines: Lines::Waiting(read_lines),
            events: vec![printer.lines()],
        };
        Ok((dialer, Caller::new(options)))
    }
}

fn reception(receive: Option<PathBuf>) -> anyhow::Result<Reception> {
    let Some(path) = receive else {
        return Ok(Reception::Nothing);
    };
    if let Some(reception) = media::no_file(&path)? {
        return Ok(reception);
    }
    let Some(container) = Container::of(&path) else {
        bail!(
            "{} is no file for media; write NAME.webm, NAME.mkv, NAME.mp4, display or count",
            path.display()
        );
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        bail!("there is no directory {}", directory.display());
    }
    media::writable(directory.unwrap_or(Path::new(".")))?;
    Ok(Reception::File(path, container))
}

/// Reads standard input on a thread of its own, which may wait for ever.
pub(super) fn read_lines() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(LINE_QUEUE);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line {
                Ok(line) => {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(%error, "standard input is not read on"),
            }
        }
    });
    receiver
}

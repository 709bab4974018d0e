//! `switchboard mesh`: a GStreamer peer in a multi-party room.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;

use super::media::{self, Printer, Send, Server};
use super::{Failure, Outcome, interrupted};
use crate::dialect::gstreamer::client::{PeerId, RoomId};
use crate::media::Container;
use crate::peer::link::Dialer;
use crate::peer::mesh::{self, Mesh, Options};
use crate::peer::reception::Reception;

/// Join a multi-party room of GStreamer peers
#[derive(Debug, Args)]
#[command(after_help = "\
Media goes directly to every member, encoded once for all of them. Counts, finished files and what
comes over data channels are printed as JSON, one a line.

Examples:
  switchboard mesh ws://127.0.0.1:8080 --room kitchen
  switchboard mesh ws://127.0.0.1:8080 --room kitchen --send camera --receive display
  switchboard mesh wss://example.org --room 42 --id 7 --send none --receive recordings/")]
pub(super) struct Flags {
    #[command(flatten)]
    server: Server,
    /// The id to register under [default: some number]
    #[arg(long, value_parser = media::peer_id)]
    id: Option<PeerId>,
    /// The room to join
    #[arg(long, value_parser = room_id)]
    room: RoomId,
    #[command(flatten)]
    send: Send,
    /// What to do with the others' media: write it to WebM files in a directory, one for each member,
    /// display or count it; without this it is not asked for
    #[arg(long, value_name = "DIR|display|count")]
    receive: Option<PathBuf>,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let printer = Printer::start();
    let (dialer, mesh) = flags.prepare(&printer).await.map_err(Failure::Usage)?;
    let result = mesh.run(dialer, interrupted()).await;
    printer.finish().await;
    result.map_err(|error| Failure::Failed(error.into()))
}

impl Flags {
    async fn prepare(self, printer: &Printer) -> anyhow::Result<(Dialer, Mesh)> {
        let (dialer, variables) = self.server.prepare(mesh::PATH)?;
        let reception = reception(self.receive.as_deref()).context("--receive")?;
        let id = self.id.or_else(media::some_peer_id);
        let options = Options {
            id: id.ok_or_else(|| anyhow!("give an id with --id"))?,
            room: self.room,
            media: self.send.prepare(&dialer, &variables, reception).await?,
            events: vec![printer.lines()],
        };
        Ok((dialer, Mesh::new(options)))
    }
}

/// A file for each partner, in a directory that is made if need be.
pub(super) fn reception(receive: Option<&Path>) -> anyhow::Result<Reception> {
    let Some(directory) = receive else {
        return Ok(Reception::Nothing);
    };
    if let Some(reception) = media::no_file(directory)? {
        return Ok(reception);
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    media::writable(directory)?;
    Ok(Reception::Directory(directory.to_owned(), Container::Webm))
}

fn room_id(text: &str) -> Result<RoomId, String> {
    RoomId::new(text).ok_or_else(|| {
        "a room's id has at least one character, no blanks, and is not \"session\"".to_owned()
    })
}

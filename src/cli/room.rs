//! `switchboard room`: participants of a Kurento room.

use std::num::NonZeroU16;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::media::{self, Encoding, Ice, Printer, Server};
use super::{Failure, Outcome, call, interrupted, mesh};
use crate::peer::call::{Lines, Media};
use crate::peer::link::Dialer;
use crate::peer::participant::{self, Options, Participant, RoomError};

/// Join a Kurento room: publish a pipeline, receive from everyone
#[derive(Debug, Args)]
#[command(after_help = "\
What is published is encoded once and sent once; the server forwards it. Who publishes later is received
as well. After a lost connection the room is taken up again. Counts, finished files, chat and what comes
over data channels are printed as JSON, one a line. All publishers of a room send pictures in one codec,
that of the first one.

The exit code is 1 if the server doesn't let us in (the name is taken, the room is full), doesn't take
what is published, puts us out or closes the room.

Examples:
  switchboard room ws://127.0.0.1:8080 --room lab --user cam --publish camera
  switchboard room ws://127.0.0.1:8080 --room lab --user film --publish file uri=file:///home/me/film.mp4
  switchboard room wss://example.org:8443 --room lab --user recorder --receive recordings/
  switchboard room ws://127.0.0.1:8080 --room lab --user crowd --users 20 --publish test --receive count")]
pub(super) struct Flags {
    #[command(flatten)]
    server: Server,
    /// The room to join
    #[arg(long, value_parser = name)]
    room: String,
    /// The name to join under
    #[arg(long, value_parser = name)]
    user: String,
    /// The pipeline to publish: a name or a file, and values for its variables; or `none`
    #[arg(long, value_name = "NAME [KEY=VALUE…]", default_value = "none")]
    publish: String,
    /// What to do with the others' media: write it to WebM files in a directory, one for each
    /// publisher, display or count it; without this, or with `none`, it is not asked for
    #[arg(long, value_name = "DIR|display|count|none")]
    receive: Option<PathBuf>,
    /// Ask the server for what is published back, and receive it like the others' media
    #[arg(long, requires = "receive")]
    loopback: bool,
    /// Join so many times, as USER-1, USER-2, …, all with the one encoded stream
    #[arg(long, value_name = "N")]
    users: Option<NonZeroU16>,
    #[command(flatten)]
    encoding: Encoding,
    /// Publish a data channel of this label too: lines of standard input go to the other participants
    #[arg(long, value_name = "LABEL")]
    channel: Option<String>,
    #[command(flatten)]
    ice: Ice,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let printer = Printer::start();
    let (dialer, participants) = flags.prepare(&printer).await.map_err(Failure::Usage)?;
    let (stop, stopped) = watch::channel(false);
    let interrupt = interrupted();
    let running: FuturesUnordered<_> = participants
        .into_iter()
        .map(|participant| {
            let mut stopped = stopped.clone();
            participant.run(dialer.clone(), async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
        })
        .collect();
    let interrupt = async {
        interrupt.await;
        stop.send_replace(true);
        std::future::pending().await
    };
    let result = tokio::select! {
        result = all(running) => result,
        never = interrupt => never,
    };
    printer.finish().await;
    result.map_err(|error| Failure::Failed(error.into()))
}

/// Waits for all participants. One that is out disturbs no other.
async fn all(
    mut running: FuturesUnordered<impl Future<Output = Result<(), RoomError>>>,
) -> Result<(), RoomError> {
    let mut result = Ok(());
    while let Some(ended) = running.next().await {
        if let Err(error) = &ended
            && !running.is_empty()
        {
            tracing::error!(%error, "a participant is out");
        }
        result = result.and(ended);
    }
    result
}

impl Flags {
    async fn prepare(self, printer: &Printer) -> anyhow::Result<(Dialer, Vec<Participant>)> {
        let (dialer, variables) = self.server.prepare(participant::PATH)?;
        let receive = self.receive.as_deref();
        let receive = receive.filter(|word| word.to_str() != Some("none"));
        let reception = mesh::reception(receive).context("--receive")?;
        let codecs = self.encoding.codecs().to_vec();
        let source = media::source("--publish", &self.publish, &variables, self.encoding).await?;
        if source.is_none() && (self.loopback || self.channel.is_some()) {
            bail!("--loopback and --channel need something that is published; add --publish");
        }
        let media = self.ice.media(&dialer, source, reception)?;
        let users = match self.users {
            None => vec![self.user],
            Some(users) => (1..=users.get())
                .map(|number| format!("{}-{number}", self.user))
                .collect(),
        };
        let is_one_of_many = users.len() > 1;
        let mut participants = Vec::new();
        for user in users {
            let reception = match is_one_of_many {
                true => media.reception.of(&user).context("--receive")?,
                false => media.reception.clone(),
            };
            // Standard input can be read once only.
            let lines = match (&self.channel, participants.is_empty()) {
                (Some(_), true) => Lines::Waiting(call::read_lines),
                _ => Lines::Ended,
            };
            let options = Options {
                user,
                room: self.room.clone(),
                media: Media {
                    reception,
                    ..media.clone()
                },
                loopback: self.loopback,
                codecs: codecs.clone(),
                accepts: Vec::new(),
                channel: self.channel.clone(),
                lines,
                is_one_of_many,
                events: vec![printer.lines()],
            };
            participants.push(Participant::new(options).await?);
        }
        Ok((dialer, participants))
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a name has at least one character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

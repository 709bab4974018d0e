//! A participant of a Kurento room: it publishes a pipeline to the room, and receives from everyone
//! who publishes.
//!
//! One task owns the signaling connection and takes it up again for ever; one task for each media
//! session, the published one and those that receive, owns that. A session that fails is begun anew
//! and disturbs no other. Media goes on while the server's WebSocket is away: within ten seconds the
//! server lets us go on as before, later we join anew.

mod room;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::conversation::{Lines, Media, Number, until};
use super::link::{Dialer, Link, LinkError};
use crate::dialect::gstreamer::payload::Message;
use crate::dialect::kurento::client::{Output, Refusal};
use crate::dialect::kurento::errors::Code;
use crate::media::{self, Codec, MediaError};
use room::Room;

/// Where the reference server takes participants.
pub const PATH: &str = "/room";

/// Messages of all sessions that wait to be sent to the server; more are lost.
const OUTBOX: usize = 1024;
/// How long the server may take to let us leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long all sessions may take to end, with their files.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);

/// What a participant is.
pub struct Options {
    /// The name to join under.
    pub user: String,
    /// The room to join.
    pub room: String,
    /// What is published, and what becomes of what the others publish.
    pub media: Media,
    /// Ask for what we publish back, and treat it as the others'.
    pub loopback: bool,
    /// The codecs that we prefer to receive, the best one first. What is published is in the first of
    /// its source's codecs that the room takes.
    pub codecs: Vec<Codec>,
    /// The codecs that are received and no others; empty for all that can be.
    pub accepts: Vec<Codec>,
    /// The label of a data channel beside what is published.
    pub channel: Option<String>,
    /// What to send over the data channel.
    pub lines: Lines,
    /// Whether every event says who tells it, because there are several in this process.
    pub is_one_of_many: bool,
    /// Who gets channel messages, chat and reports, as lines of JSON.
    pub events: Vec<mpsc::Sender<Arc<str>>>,
}

/// Why a participant can't be in its room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The name isn't free.
    #[error(
        "the name {user} is taken in the room {room}; choose another one with --user, or wait: who \
         loses its connection keeps its name for 10 s"
    )]
    NameTaken {
        /// The name.
        user: String,
        /// The room.
        room: String,
    },
    /// The server doesn't let us in.
    #[error("the server doesn't let {user} into the room {room}: {why}")]
    Refused {
        /// The name.
        user: String,
        /// The room.
        room: String,
        /// Why.
        why: Refusal,
    },
    /// The server doesn't take what we publish.
    #[error("the room {room} doesn't take what {user} publishes: {why}{}", codec_hint(.why))]
    NotPublished {
        /// The name.
        user: String,
        /// The room.
        room: String,
        /// Why.
        why: Refusal,
    },
    /// The server put us out.
    #[error("{user} was put out of the room {room} by its operator")]
    Evicted {
        /// The name.
        user: String,
        /// The room.
        room: String,
    },
    /// There is no such room any more.
    #[error("the room {room} was closed by its operator")]
    Closed {
        /// The room.
        room: String,
    },
    /// We left, but a recording isn't complete.
    #[error("a recording is not complete")]
    Recording(#[source] MediaError),
}

/// A participant, ready to join.
pub struct Participant {
    options: Options,
    /// What we ask others for, in order.
    wanted: Vec<Codec>,
}

/// The running participant.
struct Running {
    link: Option<Link>,
    room: Room,
    outgoing: mpsc::Receiver<(Number, Message)>,
}

/// Why one connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Waiting doesn't help.
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("{0}")]
    Server(String),
}

impl Participant {
    /// Prepares a participant.
    ///
    /// # Errors
    /// If [`media::init`] fails.
    pub async fn new(options: Options) -> Result<Self, MediaError> {
        tokio::task::spawn_blocking(media::init)
            .await
            .map_err(|error| MediaError::Run(error.to_string()))??;
        let mut wanted = Codec::ALL.to_vec();
        let accepts = &options.accepts;
        wanted
            .retain(|codec| codec.can_receive() && (accepts.is_empty() || accepts.contains(codec)));
        // What isn't named comes last: a room's codec is one for all, whatever we would like.
        let place = |codec: &Codec| options.codecs.iter().position(|it| it == codec);
        wanted.sort_by_key(|codec| place(codec).unwrap_or(usize::MAX));
        Ok(Self { options, wanted })
    }

    /// Joins the room, publishes and receives, and takes up a lost connection again, until `shutdown`
    /// ends. Then the room is left and files are complete.
    ///
    /// # Errors
    /// If the server refuses us or what we publish at the first time, puts us out or closes the room;
    /// or if a recording isn't complete.
    #[tracing::instrument(level = "error", name = "participant", skip_all, fields(room = self.options.room, user = self.options.user))]
    pub async fn run(
        self,
        dialer: Dialer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RoomError> {
        let (replies, outgoing) = mpsc::channel(OUTBOX);
        let mut running = Running {
            link: None,
            room: Room::new(self.options, self.wanted, replies),
            outgoing,
        };
        let result = tokio::select! {
            error = running.stay(&dialer) => Err(error),
            () = shutdown => Ok(()),
        };
        let stopped = running.stop().await;
        result.and(stopped)
    }
}

impl Running {
    /// Keeps up the connection; why it can't.
    async fn stay(&mut self, dialer: &Dialer) -> RoomError {
        let mut backoff = Backoff::default();
        loop {
            let lost = match dialer.dial().await {
                Ok(link) => {
                    self.link = Some(link);
                    let lost = self.serve(dialer).await;
                    if self.room.met() {
                        backoff.reset();
                    }
                    lost
                }
                Err(error) => error.into(),
            };
            self.room.disconnected();
            if let Some(link) = self.link.take() {
                link.close().await;
            }
            let error = match lost {
                Lost::Room(error) => return error,
                lost => lost,
            };
            let wait = backoff.next(fastrand::f64());
            tracing::warn!(server = %dialer.url(), %error, retry_ms = wait.as_millis(), "no signaling");
            sleep(wait).await;
        }
    }

    /// Serves one connection; why it ended.
    async fn serve(&mut self, dialer: &Dialer) -> Lost {
        let Self {
            link,
            room,
            outgoing,
        } = self;
        let Some(link) = link else {
            return Lost::Server("there is no connection".to_owned());
        };
        tracing::debug!(server = %dialer.url(), "connected to the server");
        room.connected();
        loop {
            if let Err(lost) = flush(room, link).await {
                return lost;
            }
            let (timeout, again) = (room.next_timeout(), room.next_try());
            tokio::select! {
                frame = link.receive() => match frame {
                    Ok(frame) => room.frame(&frame),
                    Err(error) => return error.into(),
                },
                // Until we are in the room again, what sessions say waits.
                Some((number, message)) = outgoing.recv(), if room.is_in() => {
                    room.said(number, message);
                }
                Some(ended) = room.sessions.join_next() => room.ended(ended),
                () = until(timeout) => room.tick(),
                () = until(again) => {}
            }
        }
    }

    /// Leaves the room and lets every session end.
    async fn stop(self) -> Result<(), RoomError> {
        let Self { link, mut room, .. } = self;
        let mut sessions = room.hang_up();
        let leave = async {
            if let Some(link) = link {
                leave(&mut room, link).await;
            }
        };
        let all = async {
            let mut failed = None;
            while let Some(ended) = sessions.join_next().await {
                failed = failed.or(ended.ok().and_then(|outcome| outcome.recording));
            }
            failed
        };
        let ((), all) = tokio::join!(leave, timeout(STOP_TIMEOUT, all));
        if all.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        match room.recording.take().or(all.ok().flatten()) {
            Some(error) => Err(RoomError::Recording(error)),
            None => Ok(()),
        }
    }
}

/// Does everything that is to be done: sends frames, and takes note of what happened.
async fn flush(room: &mut Room, link: &mut Link) -> Result<(), Lost> {
    loop {
        let mut outputs = room.outputs();
        if outputs.is_empty() {
            // Only now: what happened decides what is missing.
            room.fill();
            outputs = room.outputs();
        }
        if outputs.is_empty() {
            return Ok(());
        }
        for output in outputs {
            match output {
                Output::Send(frame) => link.send(frame).await?,
                Output::Event(event) => room.event(event)?,
            }
        }
    }
}

/// Says goodbye, and waits until the server has taken note.
async fn leave(room: &mut Room, mut link: Link) {
    let deadline = Instant::now() + LEAVE_TIMEOUT;
    room.leave();
    loop {
        for output in room.outputs() {
            if let Output::Send(frame) = output
                && link.send(frame).await.is_err()
            {
                return;
            }
        }
        if !room.is_leaving() {
            return link.close().await;
        }
        tokio::select! {
            frame = link.receive() => match frame {
                Ok(frame) => room.frame(&frame),
                Err(_) => return,
            },
            () = until(Some(deadline)) => {
                tracing::warn!("the server did not let us leave in time");
                return link.close().await;
            }
        }
    }
}

/// What else may be wrong, unless it is that we may not.
fn codec_hint(why: &Refusal) -> &'static str {
    match why.code() {
        Some(Code::USER_GENERIC) => "",
        _ => "; a room has one codec for pictures, --codec chooses ours",
    }
}

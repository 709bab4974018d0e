//! The parent's side: starts the process, carries everything to and from it, and sees it end.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::pump::{End, Pump};
use super::queue::{self, NoRoom};
use super::wire::{Sent, Start, ToHost};
use super::{Ended, Event, HOST_ARGUMENT, Media, Message, Options, Overrun, PostError, StartError};

/// How long a process may take to go by itself after its end of the socket is closed: long enough
/// to learn how it ended.
const GOING: Duration = Duration::from_secs(1);
/// The only variable of the environment that a worker's process gets: without it, it may not even load.
const KEPT_VARIABLE: &str = "LD_LIBRARY_PATH";

/// A running worker. It ends, and its process with it, when this is dropped.
#[derive(Debug)]
pub struct Worker {
    posts: queue::Sender<ToHost>,
    message_bytes: usize,
    taken: Arc<AtomicU64>,
    sent: watch::Sender<Sent>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    process: Option<u32>,
}

/// What a worker tells, in order. The worker ends when this is dropped.
#[derive(Debug)]
pub struct Events {
    queue: queue::Receiver<Event>,
    taken: Arc<AtomicU64>,
}

impl Worker {
    /// Starts a process and runs the script in it, with its imports and what its top level awaits.
    /// What the script says meanwhile waits among the events; lines of its console for which there is
    /// no room any more are lost, and with other events the script waits, in vain.
    ///
    /// # Errors
    /// The script is at fault, it took too long, or the process doesn't start.
    pub async fn start(options: Options) -> Result<(Self, Events), StartError> {
        let (socket, child) =
            spawn(&options).map_err(|error| StartError::Process(error.to_string()))?;
        let process = child.id();
        let limits = &options.limits;
        let (posts, post_queue) = queue::bounded(limits.queue_messages, limits.queue_bytes);
        let (events, event_queue) = queue::bounded(limits.queue_messages, limits.queue_bytes);
        let (sent, sent_seen) = watch::channel(Sent::default());
        let (stop, stopped) = oneshot::channel();
        let (started, outcome) = oneshot::channel();
        let taken = Arc::default();
        let worker_limits = options.limits.clone();
        let pump = Pump::new(
            first_frame(&options),
            options,
            post_queue,
            events,
            sent_seen,
            started,
        );
        let task = tokio::spawn(supervise(child, socket, pump, stopped));
        let worker = Self {
            posts,
            message_bytes: worker_limits.message_bytes,
            taken: Arc::clone(&taken),
            sent,
            stop,
            task,
            process,
        };
        match outcome.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                worker.stop().await;
                return Err(error);
            }
            Err(_) => return Err(StartError::Process("its supervision ended".to_owned())),
        }
        let events = Events {
            queue: event_queue,
            taken,
        };
        Ok((worker, events))
    }

    /// Posts a message to the script; waits while too much waits already. Cancel-safe: a cancelled
    /// message isn't posted. Whoever waits here should not be the one who takes the events: the
    /// script doesn't take messages while nobody takes its own.
    ///
    /// # Errors
    /// The worker is over, or the message too long.
    pub async fn post(&self, message: Message) -> Result<(), PostError> {
        let bytes = self.bytes(&message)?;
        let place = self.posts.reserve(bytes).await.ok_or(PostError::Ended)?;
        place.put(ToHost::Message(message));
        Ok(())
    }

    /// Posts a message to the script if there is room.
    ///
    /// # Errors
    /// There is none, the worker is over, or the message too long.
    pub fn try_post(&self, message: Message) -> Result<(), PostError> {
        let bytes = self.bytes(&message)?;
        let place = self.posts.try_reserve(bytes).map_err(|why| match why {
            NoRoom::Full => PostError::Full,
            NoRoom::Closed => PostError::Ended,
        })?;
        place.put(ToHost::Message(message));
        Ok(())
    }

    /// Tells the script how many bytes of its messages still wait in the data channel: its
    /// `bufferedAmount`. To be called after a message was sent, and when the channel has drained;
    /// cheap, and as often as one likes.
    pub fn buffered(&self, bytes: u64) {
        self.sent.send_replace(Sent {
            taken: self.taken.load(Ordering::Relaxed),
            held: bytes,
        });
    }

    /// Tells the script what became of the client's media. Waits like [`Self::post`].
    ///
    /// # Errors
    /// The worker is over.
    pub async fn media(&self, media: Media) -> Result<(), PostError> {
        let place = self.posts.reserve(0).await.ok_or(PostError::Ended)?;
        place.put(ToHost::Media(media));
        Ok(())
    }

    /// The id of its process, for a log. It may be over already.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process
    }

    /// Ends the worker and waits until its process is gone.
    pub async fn stop(self) {
        drop(self.stop);
        // It fails only if the runtime ends, and the process with it.
        let _ = self.task.await;
    }

    fn bytes(&self, message: &Message) -> Result<usize, PostError> {
        let bytes = message.len();
        (bytes <= self.message_bytes)
            .then_some(bytes)
            .ok_or(PostError::TooLong)
    }
}

impl Events {
    /// The next event; `None` after [`Event::Ended`]. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.queue.recv().await?;
        if let Event::Message(message) = &event {
            self.taken
                .fetch_add(message.len() as u64, Ordering::Relaxed);
        }
        Some(event)
    }
}

fn spawn(options: &Options) -> std::io::Result<(UnixStream, Child)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(&options.program);
    command
        .arg(HOST_ARGUMENT)
        .env_clear()
        .envs(std::env::var_os(KEPT_VARIABLE).map(|value| (KEPT_VARIABLE, value)))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let child = command.spawn()?;
    Ok((UnixStream::from_std(ours)?, child))
}

fn first_frame(options: &Options) -> ToHost {
    let start = Start {
        url: options.script.url.clone(),
        kind: options.script.kind,
        encoding: options.encoding,
        limits: options.limits.clone(),
        user_agent: options.user_agent.clone(),
        media: options.media.clone(),
    };
    ToHost::Start(Box::new(start), options.script.text.clone().into())
}

async fn supervise(
    mut child: Child,
    socket: UnixStream,
    mut pump: Pump,
    stopped: oneshot::Receiver<()>,
) {
    let end = tokio::select! {
        biased;
        // Dropped, not sent.
        _ = stopped => End::Known(Ended::Stopped),
        end = pump.run(socket) => end,
    };
    let ended = match end {
        End::Known(ended) => {
            kill(&mut child).await;
            ended
        }
        End::Silent => explain(&mut child).await,
    };
    pump.finish(ended).await;
}

async fn kill(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "a worker's process can't be ended");
    }
}

/// Why the process closed its end of the socket without a word.
async fn explain(child: &mut Child) -> Ended {
    match tokio::time::timeout(GOING, child.wait()).await {
        Ok(Ok(status)) => of_status(status),
        Ok(Err(error)) => Ended::Crashed(error.to_string()),
        Err(_) => {
            kill(child).await;
            Ended::Crashed("it went silent".to_owned())
        }
    }
}

fn of_status(status: ExitStatus) -> Ended {
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        Ended::Overrun(Overrun::Cpu)
    } else {
        Ended::Crashed(status.to_string())
    }
}

/// How an end looks to whoever still waits for the start.
pub(super) fn as_start_error(ended: Ended) -> StartError {
    match ended {
        Ended::Overrun(what) => StartError::Overrun(what),
        Ended::Stopped | Ended::Closed => StartError::Process(ended.to_string()),
        Ended::Crashed(why) => StartError::Process(why),
    }
}

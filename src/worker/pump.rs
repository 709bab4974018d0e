//! Carries frames between a worker's process and its owner, both ways at once, each within bounds:
//! what the owner doesn't take isn't read, and what the process doesn't take isn't fetched from the
//! owner's queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::parent::as_start_error;
use super::queue::{self, NoRoom};
use super::wire::{self, FromHost, OVERHEAD, Sent, ToHost};
use super::{
    Ended, Event, Limits, LoadError, Loader, Options, Overrun, Purpose, Request, Response,
    StartError,
};

/// Bytes that are read, or written, at once.
const BATCH: usize = 64 * 1024;
/// How often the script is told how far its messages have come.
const SENT_EVERY: Duration = Duration::from_millis(10);

type Loaded = (u32, Purpose, Result<Response, String>);

/// How carrying ended.
#[derive(Debug)]
pub(super) enum End {
    /// It is known why; the process may still run.
    Known(Ended),
    /// The process closed its end.
    Silent,
}

pub(super) struct Pump {
    limits: Limits,
    loader: Arc<dyn Loader>,
    posts: queue::Receiver<ToHost>,
    events: queue::Sender<Event>,
    sent: watch::Receiver<Sent>,
    /// Whoever waits for the start.
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    start_by: Instant,
    /// What was read and not yet understood.
    input: BytesMut,
    /// What is to be written.
    output: BytesMut,
    /// An event for which there was no room. Nothing is read while it waits.
    waiting: Option<Event>,
    loads: FuturesUnordered<BoxFuture<'static, Loaded>>,
    /// The script waits for a load, and takes no messages.
    is_blocked: bool,
    /// When to tell the script how far its messages have come.
    tell_at: Option<Instant>,
    told_at: Instant,
}

impl Pump {
    pub(super) fn new(
        first: ToHost,
        options: Options,
        posts: queue::Receiver<ToHost>,
        events: queue::Sender<Event>,
        sent: watch::Receiver<Sent>,
        starting: oneshot::Sender<Result<(), StartError>>,
    ) -> Self {
        let mut output = BytesMut::new();
        first.put(&mut output);
        let now = Instant::now();
        Self {
            start_by: now + options.limits.start_wall,
            limits: options.limits,
            loader: options.loader,
            posts,
            events,
            sent,
            starting: Some(starting),
            input: BytesMut::new(),
            output,
            waiting: None,
            loads: FuturesUnordered::new(),
            is_blocked: false,
            tell_at: None,
            told_at: now,
        }
    }

    /// Carries until the worker ends.
    pub(super) async fn run(&mut self, mut socket: UnixStream) -> End {
        let (mut reader, mut writer) = socket.split();
        loop {
            let has_room = self.output.len() < BATCH;
            tokio::select! {
                read = reader.read_buf(&mut self.input), if self.waiting.is_none() => match read {
                    // A reset means that the process has gone without reading everything.
                    Ok(0) | Err(_) => return End::Silent,
                    Ok(_) => if let Err(ended) = self.understand() {
                        return End::Known(ended);
                    },
                },
                is_heard = deliver(&self.events, &mut self.waiting), if self.waiting.is_some() => {
                    if !is_heard {
                        return End::Known(Ended::Stopped);
                    }
                    if let Err(ended) = self.understand() {
                        return End::Known(ended);
                    }
                }
                written = writer.write_buf(&mut self.output), if !self.output.is_empty() => {
                    if written.is_err() {
                        return End::Silent;
                    }
                }
                post = self.posts.recv(), if has_room && !self.is_blocked => match post {
                    Some(post) => self.take(&post),
                    None => return End::Known(Ended::Stopped),
                },
                () = self.events.closed() => return End::Known(Ended::Stopped),
                Some(loaded) = self.loads.next() => self.loaded(loaded),
                Ok(()) = self.sent.changed(), if self.tell_at.is_none() => {
                    self.tell_at = Some(self.told_at + SENT_EVERY);
                }
                () = sleep_until(self.tell_at.unwrap_or(self.told_at)), if has_room && self.tell_at.is_some() => {
                    self.tell_at = None;
                    self.told_at = Instant::now();
                    ToHost::Sent(*self.sent.borrow_and_update()).put(&mut self.output);
                }
                () = sleep_until(self.start_by), if self.starting.is_some() => {
                    return End::Known(Ended::Overrun(Overrun::Start));
                }
            }
        }
    }

    /// Tells whoever still listens that the worker is over.
    pub(super) async fn finish(mut self, ended: Ended) {
        if let Some(starting) = self.starting.take() {
            // Whoever started it may have lost interest.
            let _ = starting.send(Err(as_start_error(ended)));
            return;
        }
        if self.waiting.is_some() {
            deliver(&self.events, &mut self.waiting).await;
        }
        self.waiting = Some(Event::Ended(ended));
        deliver(&self.events, &mut self.waiting).await;
    }

    /// A post, and those that wait behind it.
    fn take(&mut self, first: &ToHost) {
        first.put(&mut self.output);
        while self.output.len() < BATCH
            && let Some(next) = self.posts.try_recv()
        {
            next.put(&mut self.output);
        }
    }

    /// Handles each whole frame that was read, until one has to wait.
    fn understand(&mut self) -> Result<(), Ended> {
        let longest = self.limits.message_bytes + OVERHEAD;
        while self.waiting.is_none() {
            let nonsense = |error: wire::WireError| Ended::Crashed(format!("it sent {error}"));
            let Some(frame) = wire::split(&mut self.input, longest).map_err(nonsense)? else {
                break;
            };
            self.handle(FromHost::parse(frame).map_err(nonsense)?)?;
        }
        Ok(())
    }

    fn handle(&mut self, frame: FromHost) -> Result<(), Ended> {
        match frame {
            FromHost::Started => {
                if let Some(starting) = self.starting.take() {
                    let _ = starting.send(Ok(()));
                }
                Ok(())
            }
            FromHost::Failed(error) => {
                if let Some(starting) = self.starting.take() {
                    let _ = starting.send(Err(error));
                }
                Err(Ended::Stopped)
            }
            FromHost::Message(message) => self.tell(Event::Message(message)),
            FromHost::Console(level, text) => self.tell(Event::Console { level, text }),
            FromHost::Error(uncaught) => self.tell(Event::Error(uncaught)),
            FromHost::Media(command) => self.tell(Event::Media(command)),
            FromHost::Load(id, request) => self.load(id, request),
            FromHost::Ended(ended) => Err(ended),
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), Ended> {
        match self.events.try_reserve(weight(Some(&event))) {
            Ok(place) => place.put(event),
            // Nobody takes events before the start, and it shall not fail for lines of a log.
            Err(NoRoom::Full) if self.starting.is_some() && is_line(&event) => {}
            Err(NoRoom::Full) => self.waiting = Some(event),
            Err(NoRoom::Closed) => return Err(Ended::Stopped),
        }
        Ok(())
    }

    fn load(&mut self, id: u32, request: Request) -> Result<(), Ended> {
        if self.loads.len() >= self.limits.loads {
            return Err(Ended::Crashed("it sent too many requests".to_owned()));
        }
        self.is_blocked |= request.purpose != Purpose::Fetch;
        let loader = Arc::clone(&self.loader);
        let (wall, longest) = (self.limits.load_wall, self.limits.load_bytes);
        self.loads.push(Box::pin(async move {
            let purpose = request.purpose;
            let outcome = timeout(wall, loader.load(request)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(LoadError("it took too long".into())));
            let outcome = outcome.and_then(|response| within(response, longest));
            (id, purpose, outcome.map_err(|error| error.0))
        }));
        Ok(())
    }

    fn loaded(&mut self, (id, purpose, outcome): Loaded) {
        if purpose != Purpose::Fetch {
            self.is_blocked = false;
        }
        ToHost::Loaded(id, outcome).put(&mut self.output);
    }
}

/// Puts the event into the queue when there is room; false when nobody will take it. Cancel-safe.
async fn deliver(events: &queue::Sender<Event>, waiting: &mut Option<Event>) -> bool {
    let Some(place) = events.reserve(weight(waiting.as_ref())).await else {
        return false;
    };
    if let Some(event) = waiting.take() {
        place.put(event);
    }
    true
}

fn is_line(event: &Event) -> bool {
    matches!(event, Event::Console { .. })
}

fn within(response: Response, longest: usize) -> Result<Response, LoadError> {
    let head: usize = response
        .headers
        .iter()
        .map(|(k, v)| k.len() + v.len())
        .sum();
    if response.body.len() + head > longest {
        return Err(LoadError("it is too long".into()));
    }
    Ok(response)
}

fn weight(event: Option<&Event>) -> usize {
    match event {
        Some(Event::Message(message)) => message.len(),
        Some(Event::Console { text, .. }) => text.len(),
        Some(Event::Error(error)) => error.message.len() + error.file.len() + error.stack.len(),
        Some(Event::Media(_) | Event::Ended(_)) | None => 0,
    }
}

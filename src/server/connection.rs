//! One WebSocket: a task that owns a dialect's session, and all that is between it and the socket.

mod end;
mod timers;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::TokioAdapter;
use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use prometheus_client::metrics::gauge::Gauge;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{Span, debug, error_span, info, warn};

use end::{End, close, end_by, end_of, too_slow};

use super::outbox::{Ended, Load, Outbox};
use super::pace::Pace;
use super::stream::Stream;
use super::upgrade::{Guest, Places};
use super::{App, accounts, hook};
use crate::dialect::cause::Level;
use crate::dialect::{Dialect, Effect, Session, Unverified};
use crate::hub::{AccountId, Command, ConnectionId, Event, Payload};

/// Idle connections are many and cost this much each; a message that is larger gets its own memory.
const READ_BUFFER: usize = 2048;
/// A batch is written when it is complete, or when it is this large.
const WRITE_BUFFER: usize = 64 * 1024;
/// Effects that a connection keeps memory for.
const KEPT_EFFECTS: usize = 4;
/// Frames that are read before the hub's events have their turn, so that neither a busy peer nor a
/// busy hub starves the other.
const IN_A_ROW: usize = 16;
/// So much of an unfinished message counts as a message, for who sends too fast.
const PART: usize = 64 * 1024;
/// After this many frames a task lets others run. Whoever a burst is for couldn't take it otherwise,
/// however fast it reads: its queue would overflow while its own task waits for this one.
const FRAMES_PER_TURN: u32 = 32;

/// Talks to one WebSocket until it is closed.
pub(super) async fn run(
    stream: Stream,
    read_ahead: Bytes,
    session: Box<dyn Session>,
    guest: Guest,
    app: Arc<App>,
) {
    // What is over soon, or comes at the end only, is boxed: the task of an idle connection keeps no
    // room for it.
    let mut connection = Box::pin(Connection::open(stream, read_ahead, session, guest, app)).await;
    let end = connection.talk().await;
    // Afterwards the switch knows nothing of it.
    let span = connection.span();
    connection.command(Instant::now(), Command::Leave);
    connection.report(&end, &span);
    drop(span);
    Box::pin(connection.close(end)).await;
    connection.counted.dec();
}

struct Connection {
    id: ConnectionId,
    app: Arc<App>,
    socket: WebSocketStream<TokioAdapter<Stream>>,
    session: Box<dyn Session>,
    outbox: Arc<Outbox>,
    places: Places,
    pace: Pace,
    // Nothing is read before, because the other side sends too fast.
    held_until: Option<Instant>,
    effects: Vec<Effect>,
    // Taken from the outbox, to be given to the session.
    events: VecDeque<Event>,
    // Whether the socket holds frames that aren't flushed yet.
    unflushed: bool,
    // Answers to the other side's own messages since the last flush.
    replies: Load,
    // Frames of the other side since the hub was asked last.
    in_a_row: usize,
    opened: Instant,
    spoke: bool,
    // The gauge of the dialect's and role's open WebSockets, in which this one is counted.
    counted: Gauge,
    // Nothing is read until it is known whose token the session has.
    verifying: Option<Verifying>,
    // What the operator's hook is asked for the session.
    asking: Option<Asking>,
    heard: Instant,
    pinged: Option<Instant>,
    // Since when the hub waits for a sign of life.
    probed: Option<Instant>,
    ping_after: Duration,
    ping_timeout: Duration,
}

/// Finds out whose token it is.
type Verifying = Pin<Box<dyn Future<Output = Result<AccountId, Unverified>> + Send>>;

/// Asks the operator's hook.
type Asking = Pin<Box<dyn Future<Output = Result<Payload, String>> + Send>>;

/// What a connection waits for.
enum Step {
    Frame(Option<Result<Message, Error>>),
    Verified(Result<AccountId, Unverified>),
    Custom(Result<Payload, String>),
    Events,
    Ended(Ended),
    WriteFailed(Error),
    Timer,
}

impl Connection {
    async fn open(
        stream: Stream,
        read_ahead: Bytes,
        session: Box<dyn Session>,
        guest: Guest,
        app: Arc<App>,
    ) -> Self {
        let Guest {
            id,
            member,
            pass,
            places,
        } = guest;
        let limits = &app.config.limits;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limits.message_bytes))
            .max_frame_size(Some(limits.message_bytes));
        let socket = WebSocketStream::from_partially_read(
            TokioAdapter::new(stream),
            read_ahead.into(),
            Role::Server,
            Some(config),
        )
        .await;
        let (ping_after, ping_timeout) = if member.role == "device" {
            (limits.device_ping_after, limits.device_ping_timeout)
        } else {
            (limits.ping_after, limits.ping_timeout)
        };
        let outbox = Arc::new(Outbox::new(queue_limit(&app)));
        let now = Instant::now();
        let counted = app.metrics.websockets(member.dialect_name(), member.role);
        counted.inc();
        app.join(id, member, pass, Arc::clone(&outbox) as _);
        Self {
            counted,
            verifying: None,
            asking: None,
            id,
            app,
            socket,
            session,
            outbox,
            places,
            pace: Pace::new(now.into_std()),
            held_until: None,
            effects: Vec::new(),
            events: VecDeque::new(),
            unflushed: false,
            replies: Load::default(),
            in_a_row: 0,
            opened: now,
            spoke: false,
            heard: now,
            pinged: None,
            probed: None,
            ping_after,
            ping_timeout,
        }
    }

    async fn talk(&mut self) -> End {
        self.spoke = !self.session.expects_first_message();
        self.session.opened(&mut self.effects);
        if let Err(end) = self.obey(self.opened) {
            return end;
        }
        let mut timer = pin!(sleep_until(self.deadline()));
        let mut frames_in_turn = 0;
        loop {
            if frames_in_turn >= FRAMES_PER_TURN {
                frames_in_turn = 0;
                yield_now().await;
            }
            let step = poll_fn(|cx| {
                let step = self.poll_step(cx, timer.as_mut());
                if step.is_pending() {
                    // Others run now.
                    frames_in_turn = 0;
                }
                step
            });
            let step = step.await;
            let result = match step {
                Step::Frame(frame) => {
                    frames_in_turn += 1;
                    self.frame_in_turn(frame, timer.as_mut())
                }
                Step::Verified(outcome) => {
                    let result = self.verified(outcome);
                    timer.as_mut().reset(self.deadline());
                    result
                }
                Step::Custom(outcome) => {
                    self.session.custom(outcome, &mut self.effects);
                    self.obey(Instant::now())
                }
                Step::Events => {
                    let result = self.hub_events();
                    if self.probed.is_some() {
                        timer.as_mut().reset(self.deadline());
                    }
                    result
                }
                Step::Timer => {
                    let result = self.timeouts(Instant::now());
                    timer.as_mut().reset(self.deadline());
                    result
                }
                Step::Ended(ended) => Err(end_by(ended)),
                Step::WriteFailed(error) => {
                    self.span().in_scope(|| debug!(%error, "write failed"));
                    Err(End::Lost)
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Takes a frame, and sets the timer anew if there may be something to do sooner.
    fn frame_in_turn(
        &mut self,
        frame: Option<Result<Message, Error>>,
        timer: Pin<&mut Sleep>,
    ) -> Result<(), End> {
        let was_pinged = self.pinged.is_some();
        let result = self.frame(frame);
        let is_sooner = self
            .session_deadline()
            .is_some_and(|at| at < timer.deadline());
        if was_pinged || is_sooner || self.held_until.is_some() {
            timer.reset(self.deadline());
        }
        result
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Step> {
        let mut nothing_from_peer = false;
        if self.in_a_row < IN_A_ROW && !self.unflushed {
            if let Poll::Ready(step) = self.poll_peer(cx) {
                self.in_a_row += 1;
                return Poll::Ready(step);
            }
            nothing_from_peer = true;
        }
        self.in_a_row = 0;
        if timer.poll(cx).is_ready() {
            return Poll::Ready(Step::Timer);
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(outcome) = asking.as_mut().poll(cx)
        {
            self.asking = None;
            return Poll::Ready(Step::Custom(outcome));
        }
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    self.replies = Load::default();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Step::WriteFailed(error)),
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(step) = self.poll_hub(cx) {
            return Poll::Ready(step);
        }
        if nothing_from_peer {
            Poll::Pending
        } else {
            self.poll_peer(cx)
        }
    }

    fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Some(verifying) = &mut self.verifying {
            return verifying.as_mut().poll(cx).map(Step::Verified);
        }
        if self.held_until.is_some() || !self.session.takes_more() {
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.socket).poll_next(cx);
        // Not before all that came is read: the last of it may be the end.
        if frame.is_pending() && self.probed.is_some_and(|probed| self.heard > probed) {
            self.answer_probe();
        }
        if frame.is_pending() && self.socket.get_ref().get_ref().unpaid() >= PART {
            self.pay(Instant::now());
            if self.held_until.is_some() {
                // It is to be set for when more may be read.
                return Poll::Ready(Step::Timer);
            }
        }
        frame.map(Step::Frame)
    }

    /// Takes events only when the last batch is written: until then they wait in the outbox, which
    /// is bounded.
    fn poll_hub(&mut self, cx: &Context<'_>) -> Poll<Step> {
        if self.unflushed {
            return self.outbox.poll_ended(cx).map(Step::Ended);
        }
        self.outbox
            .poll_take(cx, &mut self.events)
            .map(|taken| taken.map_or_else(Step::Ended, |()| Step::Events))
    }

    fn hub_events(&mut self) -> Result<(), End> {
        let now = Instant::now();
        for event in std::mem::take(&mut self.events) {
            if event == Event::Probe {
                self.probe(now)?;
            } else {
                self.session.event(event, &mut self.effects);
                self.obey(now)?;
            }
        }
        Ok(())
    }

    fn verified(&mut self, outcome: Result<AccountId, Unverified>) -> Result<(), End> {
        self.verifying = None;
        // What the other side sent meanwhile is still to be read.
        self.heard = Instant::now();
        self.session.verified(outcome, &mut self.effects);
        self.obey(self.heard)
    }

    fn frame(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = match frame {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(end_of(&error)),
            None => return Err(End::Lost),
        };
        self.heard = Instant::now();
        self.pinged = None;
        self.pay(self.heard);
        match message {
            Message::Text(text) => {
                // The library has checked that it is UTF-8.
                let text = Payload::checked_text(text.into());
                self.session.tell_time(self.heard.into_std());
                self.session.text(&text, &mut self.effects);
                self.spoken();
            }
            Message::Binary(bytes) => {
                let bytes = Payload::binary(bytes);
                self.session.tell_time(self.heard.into_std());
                self.session.binary(&bytes, &mut self.effects);
                self.spoken();
            }
            Message::Close(frame) => {
                return Err(End::PeerClosed(
                    frame.map_or(1005, |frame| frame.code.into()),
                ));
            }
            Message::Ping(said) => {
                // The library answers, with the same words.
                self.bound_reply(said.len())?;
                self.unflushed = true;
            }
            Message::Pong(_) | Message::Frame(_) => {}
        }
        self.bound_replies()?;
        self.obey(self.heard)
    }

    /// Notes a message with all bytes that came since the last one, and reads no more for a while if
    /// that was too fast.
    fn pay(&mut self, now: Instant) {
        let now = now.into_std();
        let bytes = self.socket.get_mut().get_mut().pay();
        self.outbox.traffic.received(bytes);
        let rate = match self.session.dialect() {
            Dialect::Kurento => self.app.kurento_rate,
            _ => self.app.rate,
        };
        let own = self.pace.note(rate, bytes, now);
        let until = own.max(self.places.note(bytes, now));
        if until.is_some() {
            self.app.metrics.held_back.inc();
            self.held_until = until.map(Instant::from_std);
        }
    }

    /// The first message may have told which dialect it is.
    fn spoken(&mut self) {
        if self.spoke {
            return;
        }
        self.spoke = true;
        let (dialect, role) = (self.session.dialect(), self.session.role());
        self.counted.dec();
        self.counted = self.app.metrics.websockets(dialect.name(), role);
        self.counted.inc();
        self.app.switch.identify(self.id, dialect, role);
    }

    /// Events are bounded by the outbox that they come from; what the other side causes by its own
    /// messages, and doesn't take, is bounded here.
    fn bound_replies(&mut self) -> Result<(), End> {
        let effects = std::mem::take(&mut self.effects);
        let mut lengths = effects.iter().filter_map(|effect| match effect {
            Effect::Send(text) => Some(text.len()),
            _ => None,
        });
        let result = lengths.try_for_each(|bytes| self.bound_reply(bytes));
        self.effects = effects;
        result
    }

    fn bound_reply(&mut self, bytes: usize) -> Result<(), End> {
        if !self.replies.has_room_in(queue_limit(&self.app)) {
            self.app.metrics.queue_overflows.inc();
            return Err(too_slow());
        }
        self.replies.add(bytes);
        Ok(())
    }

    fn obey(&mut self, now: Instant) -> Result<(), End> {
        let mut effects = std::mem::take(&mut self.effects);
        let result = effects.drain(..).try_for_each(|effect| match effect {
            Effect::Send(payload) => {
                self.outbox.traffic.sent(payload.len());
                let kind = if payload.is_binary() {
                    Data::Binary
                } else {
                    Data::Text
                };
                // Text is known to be UTF-8: as a raw frame it isn't checked again.
                let frame = Frame::message(payload.into_bytes(), OpCode::Data(kind), true);
                self.send(Message::Frame(frame))
            }
            Effect::Close { code, reason } => Err(close(code, reason)),
            Effect::Hub(command) => {
                self.command(now, command);
                Ok(())
            }
            Effect::Report { label, level } => {
                self.app.metrics.refused(label);
                self.span().in_scope(|| log_refusal(label, level));
                Ok(())
            }
            Effect::Handled { method, outcome } => {
                let dialect = self.session.dialect().name();
                self.app.metrics.handled(dialect, method, outcome);
                Ok(())
            }
            Effect::Custom(request) => {
                self.asking = Some(Box::pin(hook::ask(Arc::clone(&self.app), request)));
                Ok(())
            }
            Effect::FilesPort(port) => {
                self.app.switch.set_files_port(self.id, port);
                Ok(())
            }
            Effect::Verify(token) => {
                self.verifying = Some(Box::pin(accounts::verify(Arc::clone(&self.app), token)));
                Ok(())
            }
        });
        // A burst's memory isn't kept for an idle time.
        effects.shrink_to(KEPT_EFFECTS);
        self.effects = effects;
        result
    }

    fn send(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(|_| End::Lost)
    }

    /// What log lines about it carry.
    fn span(&self) -> Span {
        self.app.switch.span(self.id).unwrap_or_else(|| {
            let (dialect, role) = (self.session.dialect().name(), self.session.role());
            error_span!("connection", id = self.id.0, dialect, role)
        })
    }

    fn command(&self, now: Instant, command: Command) {
        self.app.switch.command_at(now.into_std(), self.id, command);
    }
}

fn log_refusal(cause: &'static str, level: Level) {
    match level {
        Level::Debug => debug!(cause, "refused"),
        Level::Info => info!(cause, "refused"),
        Level::Warn => warn!(cause, "refused"),
    }
}

fn queue_limit(app: &App) -> Load {
    Load {
        messages: app.config.limits.queue_messages,
        bytes: app.config.limits.queue_bytes,
    }
}

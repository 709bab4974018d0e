//! The hub, and the way from it to every connection.

mod delivery;
mod roster;

pub(super) use roster::{CallView, ConnectionView, EndpointView, RoomView};

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tracing::{Span, debug, error_span, info, warn};

use super::auth::Pass;
use super::media::Media;
use super::metrics::{Beginning, Metrics};
use super::outbox::{Ended, Outbox, Overflow};
use super::traffic::Usage;
use crate::config;
use crate::dialect::Dialect;
use crate::hub::{
    self, ByConnection, CallNumber, Command, ConnectionId, Counts, EndpointId, Event, Granted, Hub,
    MediaCommand, MediaEvent, MediaLoss, MediaOwner, Offer, Output, Reached, SessionId, Told,
};

/// Where the hub's events for one connection go.
pub(super) trait Inbox: Send + Sync {
    /// Adds an event, or gives it back if there is no room; must not block, and must not call the
    /// switch.
    fn push(&self, event: Event) -> Result<(), Overflow>;
    /// Drops what waits of a call.
    fn forget(&self, call: CallNumber);
    /// Nothing more comes.
    fn end(&self, why: Ended);
    /// What the connection has sent and been sent, and what waits for it.
    fn usage(&self) -> Usage;
}

/// What the edge knows of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) dialect: Dialect,
    pub(super) role: &'static str,
    /// The address of the other end of its socket.
    pub(super) peer: IpAddr,
    /// Whether it came through a proxy, so that `peer` isn't its own address, or from a web page.
    pub(super) indirect: bool,
    /// Whether it came by TLS.
    pub(super) secure: bool,
    /// The port of its own machine where it serves files for its callers' pages.
    pub(super) files_port: Option<u16>,
}

/// The one place where connections meet.
///
/// One lock covers the hub and the table of inboxes, so that all connections see events in one
/// order. It is held for the time of one command only, and never across an await.
pub(super) struct Switch {
    state: Mutex<State>,
    last_id: AtomicU64,
    metrics: Arc<Metrics>,
    media: Arc<Media>,
    changes: watch::Sender<()>,
    deadline: watch::Sender<Option<Instant>>,
}

struct State {
    hub: Hub,
    seats: ByConnection<Seat>,
    stopping: bool,
    /// Ends of media, and what is muted, that the plane couldn't be told of yet. No more than two for
    /// each media endpoint.
    overdue: VecDeque<MediaCommand>,
    /// What [`Switch::keep_time`] was told last.
    deadline: Option<Instant>,
    // Empty; kept between commands for its memory.
    outputs: Vec<Output>,
}

struct Seat {
    member: Member,
    /// What its token says, where tokens are asked for.
    pass: Option<Arc<Pass>>,
    inbox: Arc<dyn Inbox>,
    since: Instant,
    /// What it registers as, or calls, for the log.
    id: Option<EndpointId>,
    /// What else the log says of it. Boxed, because the many that only wait have nothing here.
    whose: Option<Box<Whose>>,
    is_registered: bool,
    /// What is timed of it.
    beginning: Beginning,
}

/// What log lines about a connection name beside its endpoint.
#[derive(Default)]
struct Whose {
    call: Option<CallNumber>,
    /// The room, and the name there.
    place: Option<(Arc<str>, Arc<str>)>,
    worker: Option<SessionId>,
}

impl Switch {
    pub(super) fn new(limits: &config::Limits, metrics: Arc<Metrics>, media: Arc<Media>) -> Self {
        let hub = Hub::new(hub::Limits {
            endpoints: limits.endpoints,
            calls_per_endpoint: limits.calls_per_endpoint,
            waiting_calls: limits.waiting_calls,
            waiting_calls_per_endpoint: limits.waiting_calls_per_endpoint,
            remembered_endpoints: limits.remembered_endpoints,
            rooms: limits.rooms,
            members_per_room: limits.members_per_room,
            just_left: limits.just_left,
            probe: limits.probe,
            pool: hub::PoolLimits {
                sessions_per_endpoint: limits.gecko_sessions,
                queue_messages: limits.gecko_queue_messages,
                queue_bytes: limits.gecko_queue_bytes,
                candidates: limits.gecko_candidates,
                accounts: limits.gecko_accounts,
                grace: limits.gecko_grace,
                answer: limits.gecko_answer,
                connect: limits.gecko_connect,
            },
            conference: hub::ConferenceLimits {
                visitors: limits.kurento_sessions,
                rooms: limits.rooms,
                participants_per_room: limits.participants_per_room,
                publishers_per_room: limits.publishers_per_room,
                resume: limits.kurento_resume,
                answer: limits.media_answer,
                farewell: limits.media_farewell,
            },
        });
        Self {
            state: Mutex::new(State {
                hub,
                seats: ByConnection::default(),
                stopping: false,
                overdue: VecDeque::new(),
                deadline: None,
                outputs: Vec::new(),
            }),
            last_id: AtomicU64::new(0),
            metrics,
            media,
            changes: watch::Sender::new(()),
            deadline: watch::Sender::new(None),
        }
    }

    /// A number that no connection has had.
    pub(super) fn number(&self) -> ConnectionId {
        ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Adds a connection. It stays until [`Command::Leave`], its own or one that the switch gives
    /// because of an inbox that is full.
    pub(super) fn join(
        &self,
        id: ConnectionId,
        member: Member,
        pass: Option<Arc<Pass>>,
        inbox: Arc<dyn Inbox>,
    ) {
        let mut state = self.lock();
        if state.stopping {
            inbox.end(Ended::ShuttingDown);
        }
        let seat = Seat {
            member,
            pass,
            inbox,
            since: Instant::now(),
            id: None,
            whose: None,
            is_registered: false,
            beginning: Beginning::new(Instant::now()),
        };
        state.seats.insert(id, seat);
    }

    /// What log lines about a connection carry, if it is here. Made for each line: a connection that
    /// has nothing to say takes no memory for it, and a message no time.
    pub(super) fn span(&self, of: ConnectionId) -> Option<Span> {
        let state = self.lock();
        state.seats.get(&of).map(|seat| seat.span(of))
    }

    /// Obeys a connection's command and delivers what follows from it.
    pub(super) fn command(&self, from: ConnectionId, command: Command) {
        self.command_at(Instant::now(), from, command);
    }

    /// The same, for who knows the time already.
    pub(super) fn command_at(&self, now: Instant, from: ConnectionId, command: Command) {
        let mut state = self.lock();
        let State { hub, seats, .. } = &mut *state;
        // A connection that was thrown out may not have heard of it yet.
        let Some(seat) = seats.get_mut(&from) else {
            return;
        };
        if let Some((phase, took)) = seat.beginning.asks(now, &command) {
            self.metrics.set_up(seat.member.dialect, phase, took);
        }
        let checked = match &seat.pass {
            Some(pass) => pass.grants.check(command, |it| hub.visitor_place(it)),
            None => Ok(command),
        };
        let mut outputs = std::mem::take(&mut state.outputs);
        let command = match checked {
            Ok(command) => command,
            Err(event) => {
                outputs.push(Output { to: from, event });
                return self.deliver(now, &mut state, outputs, false);
            }
        };
        // What else these may do shows in what follows from them.
        let changes = match &command {
            Command::Conference(asked) => asked.ask.changes(),
            command => !is_relayed(command),
        };
        state.obey(now, from, command, &mut outputs);
        self.deliver(now, &mut state, outputs, changes);
    }

    /// Tells the hub what the media plane says.
    pub(super) fn media(&self, event: MediaEvent) {
        self.change(|now, state, outputs| {
            if let MediaEvent::Failed { end, why, loss } = &event
                && *loss != MediaLoss::Closed
                && let Some(MediaOwner { room, user, of }) = state.hub.media_owner(*end)
            {
                warn!(media = end.0, room = &*room, user = &*user, of = of.as_deref(), %why, "a participant's media failed");
            }
            state.hub.handle_media(now, event, outputs);
        });
    }

    /// Puts a participant out of a room. False if there is no such one.
    pub(super) fn evict(&self, room: &str, user: &str) -> bool {
        self.change(|_, state, outputs| state.hub.evict(room, user, outputs))
    }

    /// Closes a room whose media this server forwards. How many were in it; `None` if there is no
    /// such one.
    pub(super) fn close_room(&self, room: &str) -> Option<usize> {
        self.change(|_, state, outputs| state.hub.close_room(room, outputs))
    }

    /// Changes the hub, and delivers what follows from it.
    fn change<T>(&self, change: impl FnOnce(Instant, &mut State, &mut Vec<Output>) -> T) -> T {
        let mut state = self.lock();
        let mut outputs = std::mem::take(&mut state.outputs);
        let now = Instant::now();
        let result = change(now, &mut state, &mut outputs);
        self.deliver(now, &mut state, outputs, true);
        result
    }

    /// Notes which dialect a connection has turned out to speak.
    pub(super) fn identify(&self, who: ConnectionId, dialect: Dialect, role: &'static str) {
        if let Some(seat) = self.lock().seats.get_mut(&who) {
            seat.member.dialect = dialect;
            seat.member.role = role;
        }
    }

    /// Notes where an endpoint serves files.
    pub(super) fn set_files_port(&self, of: ConnectionId, port: u16) {
        if let Some(seat) = self.lock().seats.get_mut(&of) {
            seat.member.files_port = Some(port);
        }
    }

    /// Drives the hub's timeouts. Runs for ever.
    pub(super) async fn keep_time(&self) {
        let mut deadlines = self.deadline.subscribe();
        loop {
            let deadline = *deadlines.borrow_and_update();
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    self.change(|now, state, outputs| state.hub.handle_timeout(now, outputs));
                }
                // The sender lives as long as `self`.
                _ = deadlines.changed() => {}
            }
        }
    }

    /// Tells every connection, and each that still comes, that the server stops.
    pub(super) fn shut_down(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for seat in state.seats.values() {
            seat.inbox.end(Ended::ShuttingDown);
        }
    }

    /// Ends the connections whose tokens are meant. How many. Who takes part in a forwarded room, and
    /// whose token has only expired, is awaited back with another one.
    pub(super) fn expel(&self, is_meant: impl Fn(&Pass) -> bool, why: Ended) -> usize {
        let mut state = self.lock();
        let is_meant = |seat: &Seat| seat.pass.as_deref().is_some_and(&is_meant);
        let meant = state.seats.iter().filter(|(_, seat)| is_meant(seat));
        let meant: Vec<_> = meant.map(|(id, _)| *id).collect();
        for id in &meant {
            if why == Ended::TokenRevoked {
                self.put_out(&mut state, *id, why.clone());
            } else if let Some(seat) = state.seats.get(id) {
                seat.inbox.end(why.clone());
            }
        }
        meant.len()
    }

    /// How many of each there are.
    pub(super) fn counts(&self) -> Counts {
        self.lock().hub.counts()
    }

    /// How often limits were met that refuse nobody.
    pub(super) fn reached(&self) -> Reached {
        self.lock().hub.reached()
    }

    /// Marks each change of the endpoints and their calls.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn obey(
        &mut self,
        now: Instant,
        from: ConnectionId,
        command: Command,
        outputs: &mut Vec<Output>,
    ) {
        match &command {
            Command::Leave => {
                if let Some(seat) = self.seats.remove(&from).filter(|seat| seat.is_registered) {
                    seat.span(from).in_scope(|| info!("endpoint left"));
                }
            }
            Command::Register { id, .. }
            | Command::Serve(Offer { id, .. })
            | Command::Call { endpoint: id, .. } => {
                if let Some(seat) = self.seats.get_mut(&from).filter(|seat| !seat.is_registered) {
                    seat.id = Some(id.clone());
                }
            }
            Command::Demand(demand) => {
                if let Some(seat) = self.seats.get_mut(&from) {
                    seat.whose().worker = Some(demand.session);
                }
            }
            _ => {}
        }
        self.hub.handle(now, from, command, outputs);
    }

    /// Logs what changes for a connection, with whom it is.
    fn log(&mut self, to: ConnectionId, event: &Event) {
        if event.is_message() && !matches!(event, Event::Conference(_)) {
            return;
        }
        let Self { hub, seats, .. } = self;
        let Some(seat) = seats.get_mut(&to) else {
            return;
        };
        match event {
            Event::Registered => seat.is_registered = true,
            Event::Replaced | Event::Evicted => seat.is_registered = false,
            Event::CallOpened { call, .. } => seat.whose().call = Some(*call),
            Event::Conference(Told::Answer {
                visitor,
                outcome: Ok(Granted::Entered { .. } | Granted::Resumed),
            }) => {
                if let Some(place) = hub.visitor_place(*visitor) {
                    seat.whose().place = Some(place);
                }
            }
            _ => {}
        }
        tell(seat, to, event);
    }
}

/// Logs what changes for a connection.
fn tell(seat: &Seat, to: ConnectionId, event: &Event) {
    let in_span = |log: &dyn Fn()| seat.span(to).in_scope(log);
    match event {
        Event::Registered => in_span(&|| info!("endpoint registered")),
        Event::Replaced => in_span(&|| info!("endpoint replaced")),
        Event::Evicted => in_span(&|| info!("endpoint evicted: no answer")),
        Event::CallOpened { .. } => in_span(&|| debug!("call opened")),
        Event::Paired => in_span(&|| debug!("pair made")),
        Event::Joined { members } => {
            in_span(&|| debug!(others = members.len(), "room joined"));
        }
        Event::Conference(Told::Answer { outcome, .. }) => match outcome {
            Ok(Granted::Entered { others }) => {
                in_span(&|| info!(others = others.len(), "participant joined"));
            }
            Ok(Granted::Resumed) => in_span(&|| info!("participant is back")),
            _ => {}
        },
        Event::Conference(told @ (Told::Evicted | Told::MediaFailed { .. })) => {
            in_span(&|| info!(?told, "participant lost something"));
        }
        _ => {}
    }
}

/// Whether a command only passes a message on.
const fn is_relayed(command: &Command) -> bool {
    matches!(
        command,
        Command::ToCaller { .. }
            | Command::ToEndpoint { .. }
            | Command::ToPartner { .. }
            | Command::ToServer { .. }
            | Command::ToSession { .. }
            | Command::Taken(_)
    )
}

impl Seat {
    fn whose(&mut self) -> &mut Whose {
        self.whose.get_or_insert_default()
    }

    /// What log lines about it carry. Of the loudest level, so that it is there whatever is logged.
    fn span(&self, id: ConnectionId) -> Span {
        let whose = self.whose.as_deref();
        let place = whose.and_then(|it| it.place.as_ref());
        error_span!(
            "connection",
            id = id.0,
            dialect = self.member.dialect_name(),
            role = self.member.role,
            endpoint = self.id.as_ref().map(EndpointId::as_str),
            call = whose.and_then(|it| it.call).map(|call| call.0),
            room = place.map(|(room, _)| &**room),
            user = place.map(|(_, user)| &**user),
            worker = whose.and_then(|it| it.worker).map(tracing::field::display),
        )
    }
}

impl Member {
    /// The dialect's name in logs, metrics and the admin API.
    pub(super) const fn dialect_name(&self) -> &'static str {
        self.dialect.name()
    }
}

impl Inbox for Outbox {
    fn push(&self, event: Event) -> Result<(), Overflow> {
        Self::push(self, event)
    }

    fn forget(&self, call: CallNumber) {
        Self::forget(self, call);
    }

    fn end(&self, why: Ended) {
        Self::end(self, why);
    }

    fn usage(&self) -> Usage {
        Self::usage(self)
    }
}

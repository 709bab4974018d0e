//! The hub's rules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conference::{
    Conference, ConferenceLimits, MediaCommand, MediaEnd, MediaEvent, MediaOwner, MemberView,
    MuteChange, Muted,
};
use super::pool::Pool;
use super::store::{Call, EndedCall, LAST_NUMBER, Newcomer, Registration, Seat, Store};
use super::{
    Access, CallError, CallNumber, Command, ConnectionId, EndpointId, Event, Namespace, Payload,
    PoolLimits, RegistrationError, RoomId, Undelivered, Visitor, WhenAbsent,
};

/// How much the hub takes. All but the durations bound its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Registered endpoints at once; one more is refused.
    pub endpoints: usize,
    /// Open calls at one endpoint at once; one more is refused.
    pub calls_per_endpoint: usize,
    /// Callers at once that wait for an absent endpoint; one more is refused.
    pub waiting_calls: usize,
    /// Those of them that wait for the same one.
    pub waiting_calls_per_endpoint: usize,
    /// Ids whose last call number is remembered after the endpoint has left. One more pushes out
    /// the id that left longest ago; from then on, ids that aren't remembered start above its last
    /// number instead of at 1, so that a number still is never reused for one id.
    pub remembered_endpoints: usize,
    /// Rooms at once; one more is refused. An empty room is none.
    pub rooms: usize,
    /// Members of one room at once; one more is refused.
    pub members_per_room: usize,
    /// How long a message to a member that has left is dropped without a word.
    pub just_left: Duration,
    /// How long a connection may take to answer [`Event::Probe`].
    pub probe: Duration,
    /// How much the pool takes, beside `endpoints`.
    pub pool: PoolLimits,
    /// How much the rooms take whose media the server forwards.
    pub conference: ConferenceLimits,
}

/// An event and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The connection to tell.
    pub to: ConnectionId,
    /// What to tell it.
    pub event: Event,
}

/// A registered endpoint, as the admin pages show it.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Its id.
    pub id: &'a EndpointId,
    /// The connection that holds the registration.
    pub connection: ConnectionId,
    /// What it said of itself.
    pub info: Option<&'a Payload>,
    /// How many calls are open; for an endpoint of the pool, sessions.
    pub calls: usize,
    /// How many sessions an endpoint of the pool takes at once, if it said so.
    pub capacity: Option<usize>,
    /// When it registered.
    pub since: Instant,
    /// Whether it has a partner, or a room.
    pub place: Place,
}

/// Where an endpoint is, beside its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it may be asked for a pair.
    Idle,
    /// In a pair.
    Pair,
    /// In a room.
    Room,
}

/// A room, as the admin pages show it.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// Its id.
    pub id: &'a RoomId,
    members: &'a super::rooms::Members,
}

/// How many of each there are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Registered endpoints.
    pub endpoints: usize,
    /// Open calls, and pairs.
    pub calls: usize,
    /// Callers that wait for an absent endpoint.
    pub waiting_calls: usize,
    /// Rooms.
    pub rooms: usize,
    /// Endpoints of the pool, which are among the registered ones.
    pub serving: usize,
    /// Endpoints of the pool that are awaited back; they aren't among the registered ones.
    pub endpoints_away: usize,
    /// Sessions with endpoints of the pool.
    pub sessions: usize,
    /// Holders of an id that are being probed for a newcomer.
    pub probes: usize,
    /// Visitors of rooms whose media the server forwards, in one or not.
    pub visitors: usize,
    /// Rooms whose media the server forwards.
    pub forwarding_rooms: usize,
    /// Members of these.
    pub participants: usize,
    /// Those of them that publish.
    pub publishers: usize,
    /// Who receives whom.
    pub subscriptions: usize,
}

/// How often limits were met, since the beginning, that refuse nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Ids whose last call number was forgotten.
    pub remembered_endpoints: u64,
    /// Accounts whose endpoint was forgotten.
    pub accounts: u64,
    /// Publishers that closed their peer connection without a word, and were put out.
    pub farewells: u64,
}

/// Who is here, and who talks to whom.
///
/// It learns of connections from their commands, and forgets one when it neither holds nor wants
/// anything. A connection may be an endpoint, a caller, or both, even of itself.
#[derive(Debug)]
pub struct Hub {
    pub(super) limits: Limits,
    pub(super) store: Store,
    pub(super) pool: Pool,
    conference: Conference,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            store: Store::default(),
            pool: Pool::new(limits.pool),
            conference: Conference::new(limits.conference),
        }
    }

    /// Obeys a command and appends who is to be told what.
    pub fn handle(
        &mut self,
        now: Instant,
        from: ConnectionId,
        command: Command,
        out: &mut Vec<Output>,
    ) {
        match command {
            Command::Register {
                id,
                info,
                holds_viewers,
            } => self.register(now, from, id, (info, holds_viewers), out),
            Command::Call {
                endpoint,
                when_absent,
                access,
            } => self.call(now, from, &endpoint, when_absent, access, out),
            Command::ToCaller { call, payload } => self.tell_caller(from, call, payload, out),
            Command::ToEndpoint { payload } => self.tell_endpoint(from, payload, out),
            Command::ToPartner { frame, otherwise } => {
                self.relay_or_obey(now, from, frame, otherwise, out);
            }
            Command::Serve(offer) => {
                let endpoints = self.store.endpoints().len() + self.pool.len();
                let limit = self.limits.endpoints;
                let full = (endpoints >= limit).then_some(limit);
                self.pool.serve(now, from, offer, full, out);
            }
            Command::Demand(demand) => self.pool.demand(now, from, demand, out),
            Command::ToServer { payload } => self.pool.pass_on(from, payload, out),
            Command::Taken(ticket) => self.pool.taken(from, ticket),
            Command::ToSession { to, step, payload } => {
                self.pool.reply(now, from, &to, step, payload, out);
            }
            Command::Conference(asked) => self.conference.ask(now, from, asked, out),
            Command::Alive => self.alive(from, out),
            Command::Leave => {
                self.conference.leave(now, from);
                self.pool.leave(now, from, out);
                self.end(now, from, out);
            }
        }
    }

    /// What the media plane says.
    pub fn handle_media(&mut self, now: Instant, event: MediaEvent, out: &mut Vec<Output>) {
        self.conference.media(now, event, out);
    }

    /// What the media plane is to do, since this was asked last.
    pub fn take_media_commands(&mut self) -> Vec<MediaCommand> {
        std::mem::take(&mut self.conference.commands)
    }

    /// Puts whoever a connection brings out of its room, for good: that one isn't awaited back.
    pub fn dismiss(&mut self, connection: ConnectionId, out: &mut Vec<Output>) {
        self.conference.dismiss(connection, out);
    }

    /// Stops, or no longer, what a member of a room publishes whose media the server forwards; what
    /// isn't named stays as it is. How that is now; `None` if there is no such member.
    pub fn mute(&mut self, room: &str, user: &str, change: MuteChange) -> Option<Muted> {
        self.conference.mute(room, user, change)
    }

    /// One room whose media the server forwards: its members.
    #[must_use]
    pub fn forwarding_room(&self, room: &str) -> Option<Vec<MemberView>> {
        self.conference.room(room)
    }

    /// Puts a member out of a room whose media the server forwards. False if there is no such one.
    pub fn evict(&mut self, room: &str, user: &str, out: &mut Vec<Output>) -> bool {
        self.conference.evict(room, user, out)
    }

    /// Closes a room whose media the server forwards. How many were in it; `None` if there is no
    /// such one.
    pub fn close_room(&mut self, room: &str, out: &mut Vec<Output>) -> Option<usize> {
        self.conference.close_room(room, out)
    }

    /// Every room whose media the server forwards, in order of name, with its members.
    pub fn forwarding_rooms(&self) -> impl Iterator<Item = (&Arc<str>, Vec<MemberView>)> {
        self.conference.rooms()
    }

    /// The room of a visitor, and its name there.
    #[must_use]
    pub fn visitor_place(&self, visitor: Visitor) -> Option<(Arc<str>, Arc<str>)> {
        self.conference.place(visitor)
    }

    /// Who has a media endpoint.
    #[must_use]
    pub fn media_owner(&self, end: MediaEnd) -> Option<MediaOwner> {
        self.conference.media_owner(end)
    }

    /// When [`Self::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let probe = self.store.next_probe().map(|(deadline, _)| deadline);
        let others = [self.pool.next_timeout(), self.conference.next_timeout()];
        others.into_iter().flatten().chain(probe).min()
    }

    /// Evicts every holder whose time to answer a probe has passed, and ends every session whose
    /// time has.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.pool.handle_timeout(now, out);
        self.conference.handle_timeout(now, out);
        while let Some((deadline, id)) = self.store.next_probe() {
            let Some(holder) = self.store.endpoint(id).map(|endpoint| endpoint.connection) else {
                return;
            };
            if deadline > now {
                return;
            }
            tell(out, holder, Event::Evicted);
            self.pool.leave(now, holder, out);
            self.end(now, holder, out);
        }
    }

    /// Every registered endpoint, in order of namespace and id.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint<'_>> {
        self.store
            .endpoints()
            .map(|(id, registration)| self.shown(id, registration))
            // Of the last namespace, all of them.
            .chain(self.pool.endpoints())
    }

    /// The registered endpoints of a namespace, in order of id.
    pub fn endpoints_in(&self, space: Namespace) -> impl Iterator<Item = Endpoint<'_>> {
        self.endpoints().filter(move |it| it.id.space() == space)
    }

    /// One registered endpoint.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<Endpoint<'_>> {
        self.store
            .entry(id)
            .map(|(id, registration)| self.shown(id, registration))
            .or_else(|| self.pool.endpoint(id))
    }

    /// Every room, in order of namespace and id.
    pub fn rooms(&self) -> impl Iterator<Item = Room<'_>> {
        self.store
            .rooms
            .iter()
            .map(|(id, members)| Room { id, members })
    }

    /// How often limits were met that refuse nobody.
    #[must_use]
    pub const fn reached(&self) -> Reached {
        Reached {
            remembered_endpoints: self.store.forgotten(),
            accounts: self.pool.forgotten(),
            farewells: self.conference.farewells,
        }
    }

    /// How many of each there are now. Walks over all endpoints: for metrics, not for each message.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            endpoints: self.store.endpoints().len() + self.pool.here(),
            calls: self
                .store
                .endpoints()
                .map(|(_, registration)| registration.calls.len())
                .sum::<usize>()
                + self.store.pairs(),
            waiting_calls: self.store.waiting_calls(),
            rooms: self.store.rooms.len(),
            serving: self.pool.here(),
            endpoints_away: self.pool.away(),
            sessions: self.pool.sessions(),
            probes: self.store.probes(),
            ..Counts::default()
        };
        self.conference.count(&mut counts);
        counts
    }

    fn register(
        &mut self,
        now: Instant,
        from: ConnectionId,
        id: EndpointId,
        (info, holds_viewers): (Option<Payload>, bool),
        out: &mut Vec<Output>,
    ) {
        let refuse =
            |out: &mut Vec<Output>, error| tell(out, from, Event::RegistrationRefused(error));
        if let Some(Seat::Holder(id) | Seat::Newcomer(id)) =
            self.store.connection(from).and_then(|it| it.seat.as_ref())
        {
            return refuse(out, RegistrationError::AlreadyRegistered(id.clone()));
        }
        if self.store.endpoint(&id).is_some() {
            let newcomer = Newcomer {
                connection: from,
                info,
                holds_viewers,
                deadline: now + self.limits.probe,
            };
            return match self.store.add_newcomer(&id, newcomer) {
                Some(holder) => tell(out, holder, Event::Probe),
                None => refuse(out, RegistrationError::Taken(id)),
            };
        }
        if self.store.endpoints().len() + self.pool.len() >= self.limits.endpoints {
            return refuse(out, RegistrationError::Full(self.limits.endpoints));
        }
        self.seat(now, from, &id, (info, holds_viewers), out);
    }

    /// Gives a free id to a connection, and connects those who wait for it.
    fn seat(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        id: &EndpointId,
        (info, holds_viewers): (Option<Payload>, bool),
        out: &mut Vec<Output>,
    ) {
        self.store
            .register(now, connection, id, info, holds_viewers);
        tell(out, connection, Event::Registered);
        for (caller, access) in self.store.take_waiting(id) {
            self.open(now, caller, id, access, out);
        }
    }

    fn call(
        &mut self,
        now: Instant,
        from: ConnectionId,
        endpoint: &EndpointId,
        when_absent: WhenAbsent,
        access: Access,
        out: &mut Vec<Output>,
    ) {
        let refused = if self
            .store
            .connection(from)
            .is_some_and(|it| it.call.is_some())
        {
            CallError::AlreadyInCall
        } else if self.store.endpoint(endpoint).is_some() {
            return self.open(now, from, endpoint, access, out);
        } else if when_absent == WhenAbsent::Refuse {
            CallError::Absent(endpoint.clone())
        } else if self.store.waiting_calls() >= self.limits.waiting_calls {
            CallError::Full(self.limits.waiting_calls)
        } else if self.store.waiting_for(endpoint) >= self.limits.waiting_calls_per_endpoint {
            CallError::Full(self.limits.waiting_calls_per_endpoint)
        } else {
            self.store.wait(endpoint, from, access);
            return tell(out, from, Event::CallWaiting);
        };
        tell(out, from, Event::CallRefused(refused));
    }

    /// Opens a call to an endpoint that is registered.
    fn open(
        &mut self,
        now: Instant,
        caller: ConnectionId,
        id: &EndpointId,
        access: Access,
        out: &mut Vec<Output>,
    ) {
        let Some(registration) = self.store.endpoint(id) else {
            return;
        };
        if access == Access::View && !registration.holds_viewers {
            let unguarded = CallError::Unguarded(id.clone());
            return tell(out, caller, Event::CallRefused(unguarded));
        }
        let info = registration.info.clone();
        if registration.calls.len() >= self.limits.calls_per_endpoint {
            let full = CallError::Full(self.limits.calls_per_endpoint);
            return tell(out, caller, Event::CallRefused(full));
        }
        let event = match self.store.open_call(now, id, caller, access) {
            Some(call) => Event::CallOpened { call, info },
            None => Event::CallRefused(CallError::Full(LAST_NUMBER as usize)),
        };
        tell(out, caller, event);
    }

    fn tell_caller(
        &mut self,
        from: ConnectionId,
        call: CallNumber,
        payload: Payload,
        out: &mut Vec<Output>,
    ) {
        let registration = match self.store.connection(from).and_then(|it| it.seat.as_ref()) {
            Some(Seat::Holder(id)) => self.store.endpoint(id),
            Some(Seat::Newcomer(_)) | None => None,
        };
        let why = match registration {
            Some(registration) => match registration.calls.get(&call) {
                Some(&caller) => {
                    if let Some(talk) = self.store.talk(caller) {
                        talk.received += 1;
                    }
                    return tell(out, caller, Event::FromEndpoint { payload });
                }
                None if registration.issued(call) => Undelivered::CallerLeft,
                None => Undelivered::NoSuchCall,
            },
            None => Undelivered::NoSuchCall,
        };
        tell(out, from, Event::NotDelivered { call, why });
    }

    fn tell_endpoint(&mut self, from: ConnectionId, payload: Payload, out: &mut Vec<Output>) {
        if let Some(Call::Open(id, call, access)) =
            self.store.connection(from).and_then(|it| it.call.as_ref())
            && let Some(registration) = self.store.endpoint(id)
        {
            let event = Event::FromCaller {
                call: *call,
                access: *access,
                payload,
            };
            let to = registration.connection;
            if let Some(talk) = self.store.talk(from) {
                talk.sent += 1;
            }
            tell(out, to, event);
        }
    }

    fn alive(&mut self, from: ConnectionId, out: &mut Vec<Output>) {
        if let Some(Seat::Holder(id)) = self.store.connection(from).and_then(|it| it.seat.clone())
            && let Some(newcomer) = self.store.remove_newcomer(&id)
        {
            tell(
                out,
                newcomer,
                Event::RegistrationRefused(RegistrationError::Taken(id)),
            );
        }
    }

    /// Ends everything that a connection holds or wants, and tells everyone but itself. The other
    /// end of a pair ends with it.
    pub(super) fn end(&mut self, now: Instant, who: ConnectionId, out: &mut Vec<Output>) {
        let Some(seat) = self.store.connection(who).map(|it| it.seat.clone()) else {
            return;
        };
        match self.store.end_call(who) {
            Some(EndedCall::Open(endpoint, call)) if endpoint != who => {
                tell(out, endpoint, Event::CallerLeft { call });
            }
            Some(EndedCall::Paired(partner)) if partner != who => {
                tell(out, partner, Event::PartnerLeft);
                self.end(now, partner, out);
            }
            Some(EndedCall::Member(room)) => self.leave_room(now, &room, seat.as_ref(), out),
            Some(EndedCall::Open(..) | EndedCall::Paired(_)) | None => {}
        }
        match seat {
            Some(Seat::Holder(id)) => self.vacate(now, &id, out),
            Some(Seat::Newcomer(id)) => {
                self.store.remove_newcomer(&id);
            }
            None => {}
        }
    }

    /// Ends a registration, tells its callers, and gives the id to the newcomer if there is one.
    fn vacate(&mut self, now: Instant, id: &EndpointId, out: &mut Vec<Output>) {
        let Some(registration) = self.store.unregister(id, self.limits.remembered_endpoints) else {
            return;
        };
        for caller in registration.calls.into_values() {
            tell(out, caller, Event::EndpointLeft);
        }
        if let Some(newcomer) = registration.newcomer {
            let said = (newcomer.info, newcomer.holds_viewers);
            self.seat(now, newcomer.connection, id, said, out);
        }
    }

    fn shown<'a>(&'a self, id: &'a EndpointId, registration: &'a Registration) -> Endpoint<'a> {
        Endpoint {
            id,
            connection: registration.connection,
            info: registration.info.as_ref(),
            calls: registration.calls.len(),
            capacity: None,
            since: registration.since,
            place: self.place(registration.connection),
        }
    }
}

impl<'a> Room<'a> {
    /// Its members, in order of id.
    pub fn members(self) -> impl Iterator<Item = &'a EndpointId> {
        self.members.ids()
    }
}

pub(super) fn tell(out: &mut Vec<Output>, to: ConnectionId, event: Event) {
    out.push(Output { to, event });
}

#[cfg(any(test, feature = "fuzzing"))]
impl Hub {
    pub(super) fn entries(&self) -> usize {
        self.store.entries() + self.pool.entries() + self.conference.entries()
    }

    pub(super) fn remembered(&self) -> usize {
        self.store.remembered()
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, id: &EndpointId, last: u32) {
        self.store.skip_to(id, last);
    }
}

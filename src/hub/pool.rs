//! The hub's rules about sessions with endpoints of a pool (gecko.md A6, A7, with the decisions).
//!
//! Sessions belong to an endpoint's id, not to its connection: an endpoint that comes back in time,
//! or on a second connection, goes on where it was, and gets what it hasn't been sent yet.

mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::core::{Endpoint, Output, Place, tell};
use super::sessions::{
    AccountId, Addressee, Closed, Demand, Offer, PoolLimits, SessionError, SessionId, Step, Ticket,
};
use super::{
    ByConnection, CallId, ConnectionId, EndpointId, Event, OpenCall, Payload, RegistrationError,
};
use tables::{Content, Holder, Item, Server, Session, Stage, Ties, Timer};

/// The endpoints that serve, and their sessions.
#[derive(Debug)]
pub(super) struct Pool {
    limits: PoolLimits,
    servers: BTreeMap<EndpointId, Server>,
    sessions: HashMap<SessionId, Session>,
    /// Who serves.
    holders: ByConnection<EndpointId>,
    /// Who has a session.
    callers: ByConnection<SessionId>,
    ties: Ties,
    timers: BTreeSet<(Instant, Timer)>,
    last_ticket: u64,
    /// Counts answers, to know the latest.
    answers: u64,
}

impl Pool {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            servers: BTreeMap::new(),
            sessions: HashMap::new(),
            holders: ByConnection::default(),
            callers: ByConnection::default(),
            ties: Ties::default(),
            timers: BTreeSet::new(),
            last_ticket: 0,
            answers: 0,
        }
    }

    /// Endpoints, whether here or awaited.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn here(&self) -> usize {
        self.holders.len()
    }

    pub(super) fn away(&self) -> usize {
        self.servers.len() - self.holders.len()
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many accounts were forgotten to make room for others.
    pub(super) const fn forgotten(&self) -> u64 {
        self.ties.pushed_out
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint<'_>> {
        self.servers.iter().filter_map(shown)
    }

    pub(super) fn endpoint(&self, id: &EndpointId) -> Option<Endpoint<'_>> {
        self.servers.get_key_value(id).and_then(shown)
    }

    pub(super) fn registered_as(&self, connection: ConnectionId) -> Option<&EndpointId> {
        self.holders.get(&connection)
    }

    pub(super) fn session_ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    pub(super) fn session(&self, id: SessionId) -> Option<OpenCall> {
        let session = self.sessions.get(&id)?;
        let server = self.servers.get(&session.endpoint)?;
        Some(OpenCall {
            id: CallId::Session(id),
            endpoint: session.endpoint.clone(),
            endpoint_connection: server.connection(),
            caller: session.caller,
            since: session.since,
            to_endpoint: 1 + session.candidates as u64,
            to_caller: session.to_caller,
        })
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, timer));
                return;
            }
            match timer {
                Timer::Session(id) => self.time_out(id, out),
                Timer::Away(id) => self.abandon(&id, out),
            }
        }
    }

    /// `full` is the limit of endpoints, if it is reached.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        from: ConnectionId,
        offer: Offer,
        full: Option<usize>,
        out: &mut Vec<Output>,
    ) {
        let refuse =
            |error, out: &mut Vec<Output>| tell(out, from, Event::RegistrationRefused(error));
        if let Some(id) = self.holders.get(&from) {
            return refuse(RegistrationError::AlreadyRegistered(id.clone()), out);
        }
        match self.servers.get_mut(&offer.id) {
            Some(server) if server.owner != offer.owner => {
                return refuse(RegistrationError::Taken(offer.id), out);
            }
            Some(server) => {
                match server.holder {
                    Holder::Here(old) => {
                        self.holders.remove(&old);
                        tell(out, old, Event::Replaced);
                    }
                    Holder::Away { until } => {
                        self.timers.remove(&(until, Timer::Away(offer.id.clone())));
                    }
                }
                server.come_back(now, from, &offer);
            }
            None => {
                if let Some(limit) = full {
                    return refuse(RegistrationError::Full(limit), out);
                }
                self.servers
                    .insert(offer.id.clone(), Server::new(now, from, &offer));
            }
        }
        self.holders.insert(from, offer.id.clone());
        tell(out, from, Event::Registered);
        if let Some(server) = self.servers.get(&offer.id) {
            for item in &server.queue {
                tell(out, from, item.event());
            }
        }
    }

    pub(super) fn demand(
        &mut self,
        now: Instant,
        from: ConnectionId,
        demand: Demand,
        out: &mut Vec<Output>,
    ) {
        let id = demand.session;
        let refuse = |error, out: &mut Vec<Output>| tell(out, from, Event::SessionEnded(error));
        if self.callers.contains_key(&from) || self.sessions.contains_key(&id) {
            return refuse(SessionError::AlreadyOpen, out);
        }
        let endpoint = match self.choose(&demand.account) {
            Ok(endpoint) => endpoint,
            Err(error) => return refuse(error, out),
        };
        let server = self.servers.get(&endpoint);
        if !server.is_some_and(|server| server.may_queue(&self.limits)) {
            return refuse(SessionError::Congested, out);
        }
        let deadline = now + self.limits.answer;
        self.timers.insert((deadline, Timer::Session(id)));
        self.callers.insert(from, id);
        let session = Session {
            caller: from,
            endpoint: endpoint.clone(),
            account: demand.account,
            stage: Stage::Queued,
            deadline,
            tags: Vec::new(),
            since: now,
            candidates: 0,
            to_caller: 0,
        };
        self.sessions.insert(id, session);
        self.settle(id, &endpoint);
        self.enqueue(id, Content::Demand(demand.payload), out);
    }

    pub(super) fn pass_on(&mut self, from: ConnectionId, payload: Payload, out: &mut Vec<Output>) {
        let Some(id) = self.callers.get(&from).copied() else {
            return;
        };
        let limit = self.limits.candidates;
        if let Some(session) = self.sessions.get_mut(&id) {
            if session.candidates >= limit {
                return self.end(id, SessionError::TooManyCandidates(limit), out);
            }
            session.candidates += 1;
        }
        self.enqueue(id, Content::Message(payload), out);
    }

    pub(super) fn taken(&mut self, from: ConnectionId, ticket: Ticket) {
        let holder = self.holders.get(&from);
        let Some(server) = holder.and_then(|id| self.servers.get_mut(id)) else {
            return;
        };
        while let Some(item) = server.pop_until(ticket) {
            if let (Content::Demand(_), Some(session)) =
                (item.content, self.sessions.get_mut(&item.session))
                && session.stage == Stage::Queued
            {
                session.stage = Stage::Demanded;
            }
        }
    }

    pub(super) fn reply(
        &mut self,
        now: Instant,
        from: ConnectionId,
        to: &Addressee,
        step: Step,
        payload: Payload,
        out: &mut Vec<Output>,
    ) {
        // Of a connection that was replaced nothing counts any more.
        let holder = self.holders.get(&from);
        let Some((endpoint, server)) =
            holder.and_then(|endpoint| self.servers.get_key_value(endpoint))
        else {
            return;
        };
        let found = match *to {
            Addressee::Session(id) => self
                .sessions
                .get(&id)
                .filter(|session| session.endpoint == *endpoint)
                .map(|_| id),
            Addressee::Tagged(ref tag) => self.tagged(server, tag).or_else(|| self.latest(server)),
            Addressee::Latest => self.latest(server),
            Addressee::Only => server.only(),
        };
        let Some(id) = found else {
            let session = match *to {
                Addressee::Session(id) if server.has_ended(id) => return,
                Addressee::Session(id) => Some(id),
                Addressee::Only => return,
                Addressee::Tagged(_) | Addressee::Latest => None,
            };
            return tell(out, from, Event::NoSession { session });
        };
        self.step(now, id, step, payload, out);
    }

    /// Ends everything that a connection holds. An endpoint is awaited back if that can matter.
    pub(super) fn leave(&mut self, now: Instant, from: ConnectionId, out: &mut Vec<Output>) {
        // Its endpoint goes first: it isn't told that its own caller leaves with it.
        self.part(now, from);
        if let Some(session) = self.callers.get(&from) {
            self.close(*session, Closed::CallerLeft, out);
        }
    }

    /// The connection of an endpoint is gone.
    fn part(&mut self, now: Instant, from: ConnectionId) {
        let Some(id) = self.holders.remove(&from) else {
            return;
        };
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if server.sessions.is_empty() && server.accounts.is_empty() {
            self.servers.remove(&id);
            return;
        }
        let until = now + self.limits.grace;
        server.holder = Holder::Away { until };
        server.keep(|item| self.sessions.contains_key(&item.session) || item.is_close());
        self.timers.insert((until, Timer::Away(id)));
    }

    fn step(
        &mut self,
        now: Instant,
        id: SessionId,
        step: Step,
        payload: Payload,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Step::Answer { tags } = &step {
            session.tags = tags.iter().take(Step::TAGS).cloned().collect();
            if !matches!(session.stage, Stage::Answered(_)) {
                self.timers.remove(&(session.deadline, Timer::Session(id)));
                session.deadline = now + self.limits.connect;
                self.timers.insert((session.deadline, Timer::Session(id)));
            }
            self.answers += 1;
            session.stage = Stage::Answered(self.answers);
        }
        let caller = session.caller;
        session.to_caller += 1;
        if step.ends() {
            self.remove(id);
        }
        tell(out, caller, Event::SessionSaid { step, payload });
    }

    fn time_out(&mut self, id: SessionId, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let why = match session.stage {
            Stage::Queued | Stage::Demanded => SessionError::Unanswered(self.limits.answer),
            Stage::Answered(_) => SessionError::Unconnected(self.limits.connect),
        };
        tell(out, session.caller, Event::SessionEnded(why));
        self.close(id, Closed::TimedOut, out);
    }

    /// An endpoint didn't come back. Whatever it hasn't been sent goes to another one.
    fn abandon(&mut self, id: &EndpointId, out: &mut Vec<Output>) {
        let Some(mut server) = self.servers.remove(id) else {
            return;
        };
        for account in &server.accounts {
            self.ties.forget(account);
        }
        for session in std::mem::take(&mut server.sessions) {
            let is_queued = |session: &Session| session.stage == Stage::Queued;
            if !self.sessions.get(&session).is_some_and(is_queued) {
                self.end(session, SessionError::EndpointLeft, out);
            }
        }
        for item in server.queue {
            let Some(session) = self.sessions.get(&item.session) else {
                continue;
            };
            if let Content::Demand(_) = item.content {
                match self.choose(&session.account.clone()) {
                    Ok(endpoint) => self.settle(item.session, &endpoint),
                    Err(_) => {
                        self.end(item.session, SessionError::EndpointLeft, out);
                        continue;
                    }
                }
            }
            self.enqueue(item.session, item.content, out);
        }
    }

    /// The endpoint of an account: its own one, or that with the least to do.
    fn choose(&self, account: &AccountId) -> Result<EndpointId, SessionError> {
        let most = self.limits.sessions_per_endpoint;
        let own = self.ties.get(account);
        let found = match own.and_then(|id| self.servers.get_key_value(id)) {
            Some(own) => own,
            None => self
                .servers
                .iter()
                .filter(|(_, server)| server.connection().is_some())
                .min_by_key(|(_, server)| {
                    let load = (server.sessions.len(), server.accounts.len());
                    (!server.has_room(most), load)
                })
                .ok_or(SessionError::NoEndpoint)?,
        };
        let (id, server) = found;
        if server.has_room(most) {
            Ok(id.clone())
        } else {
            Err(SessionError::Full(server.most(most)))
        }
    }

    /// Gives a session to an endpoint, and its account with it.
    fn settle(&mut self, id: SessionId, endpoint: &EndpointId) {
        let (Some(session), Some(server)) =
            (self.sessions.get_mut(&id), self.servers.get_mut(endpoint))
        else {
            return;
        };
        session.endpoint = endpoint.clone();
        server.sessions.insert(id);
        server.accounts.insert(session.account.clone());
        let pushed_out = self.ties.tie(
            session.account.clone(),
            endpoint.clone(),
            self.limits.accounts,
        );
        for (account, endpoint) in pushed_out {
            if let Some(server) = self.servers.get_mut(&endpoint) {
                server.accounts.remove(&account);
            }
        }
    }

    /// Adds to what an endpoint gets. If it is too much, the session ends.
    fn enqueue(&mut self, id: SessionId, content: Content, out: &mut Vec<Output>) {
        let session = self.sessions.get(&id);
        let Some(server) = session.and_then(|it| self.servers.get_mut(&it.endpoint)) else {
            return;
        };
        if !server.may_queue(&self.limits) {
            return self.end(id, SessionError::Congested, out);
        }
        self.last_ticket += 1;
        let item = Item {
            ticket: Ticket(self.last_ticket),
            session: id,
            content,
        };
        server.push(item, out);
    }

    /// Tells a caller that there is no session, and the endpoint that the caller is gone.
    pub(super) fn end(&mut self, id: SessionId, why: SessionError, out: &mut Vec<Output>) {
        if let Some(session) = self.sessions.get(&id) {
            tell(out, session.caller, Event::SessionEnded(why));
            self.close(id, Closed::CallerLeft, out);
        }
    }

    /// Ends a session that the endpoint didn't end.
    fn close(&mut self, id: SessionId, why: Closed, out: &mut Vec<Output>) {
        let Some(session) = self.remove(id) else {
            return;
        };
        let Some(server) = self.servers.get_mut(&session.endpoint) else {
            return;
        };
        let knows = server.connection().is_some() || session.stage != Stage::Queued;
        if server.hears_closes && knows {
            self.last_ticket += 1;
            let item = Item {
                ticket: Ticket(self.last_ticket),
                session: id,
                content: Content::Close(why),
            };
            server.push(item, out);
        }
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.callers.remove(&session.caller);
        self.timers.remove(&(session.deadline, Timer::Session(id)));
        if let Some(server) = self.servers.get_mut(&session.endpoint) {
            server.forget(id);
        }
        Some(session)
    }

    fn tagged(&self, server: &Server, tag: &str) -> Option<SessionId> {
        let mut tagged = server.sessions.iter().filter(|id| {
            let session = self.sessions.get(id);
            session.is_some_and(|it| it.tags.iter().any(|known| **known == *tag))
        });
        let found = tagged.next();
        found.filter(|_| tagged.next().is_none()).copied()
    }

    fn latest(&self, server: &Server) -> Option<SessionId> {
        let answered = server.sessions.iter().filter_map(|id| {
            let Stage::Answered(order) = self.sessions.get(id)?.stage else {
                return None;
            };
            Some((order, *id))
        });
        answered.max().map(|(_, id)| id).or_else(|| server.only())
    }
}

fn shown<'a>((id, server): (&'a EndpointId, &'a Server)) -> Option<Endpoint<'a>> {
    Some(Endpoint {
        id,
        connection: server.connection()?,
        info: None,
        calls: server.sessions.len(),
        capacity: server.capacity,
        since: server.since,
        place: Place::Idle,
    })
}

#[cfg(any(test, feature = "fuzzing"))]
impl Pool {
    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        assert_eq!(self.callers.len(), self.sessions.len());
        self.servers.len()
            + self.sessions.len()
            + self.holders.len()
            + self.timers.len()
            + self.ties.len()
    }
}

//! The hub's rules about rooms whose media the server forwards (kurento.md A2, A3, A7, with the
//! decisions).
//!
//! A **visitor** asks, and may be a member of one room. It isn't its connection: when that is lost,
//! the visitor stays where it is for a while, and can go on by another one. What the media plane is
//! to do is collected beside what connections are told; what it says comes back as [`MediaEvent`]s.

mod asks;
mod away;
mod media;
mod tables;
mod words;

use std::sync::Arc;
use std::time::Instant;

use super::core::{Counts, Output, tell};
use super::{ConnectionId, Event};
pub use asks::{Ask, Asked, Rights, Visitor};
use tables::{Guest, Member, Room, Tables, Timer};
pub use words::{
    ConferenceLimits, Denied, Granted, MediaCandidate, MediaCommand, MediaEnd, MediaEvent,
    MediaLoss, MediaOwner, MediaRefusal, MediaRoom, MemberView, MuteChange, Muted, Told,
};

/// Visitors and their rooms.
#[derive(Debug)]
pub(super) struct Conference {
    limits: ConferenceLimits,
    tables: Tables,
    /// What the media plane is still to be told.
    pub(super) commands: Vec<MediaCommand>,
    /// How many publishers were put out that closed without a word.
    pub(super) farewells: u64,
}

/// A request that is being obeyed.
#[derive(Debug, Clone, Copy)]
struct Request {
    now: Instant,
    connection: ConnectionId,
    visitor: Visitor,
}

type Outcome = Result<Granted, Denied>;

impl Conference {
    pub(super) fn new(limits: ConferenceLimits) -> Self {
        Self {
            limits,
            tables: Tables::default(),
            commands: Vec::new(),
            farewells: 0,
        }
    }

    /// Obeys a request. What others hear of it comes before the answer where it happens first, and
    /// after it where it follows from it.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        from: ConnectionId,
        asked: Asked,
        out: &mut Vec<Output>,
    ) {
        if let Some(named) = asked.named
            && let Some(member) = self.tables.member(named)
            && !asked.rights.cover(member.rights)
        {
            let what = format!("be \"{}\" with all its rights", member.user);
            return answer(out, from, named, Err(Denied::Forbidden(what.into())));
        }
        let visitor = match (&asked.ask, asked.named) {
            (Ask::Resume, Some(named)) => return self.resume(now, from, named, out),
            (_, Some(named)) if self.tables.guests.contains_key(&named) => Ok(named),
            _ => self.visitor_of(from, asked.own, out),
        };
        let visitor = match visitor {
            Ok(visitor) => visitor,
            Err(denied) => return answer(out, from, asked.own, Err(denied)),
        };
        let request = Request {
            now,
            connection: from,
            visitor,
        };
        let outcome = match asked.ask {
            Ask::Begin | Ask::Resume => Ok(Granted::Done),
            Ask::Enter { room, user, rights } => self.enter(request, &room, user, rights, out),
            Ask::Publish { offer, loopback } => match self.publish(request, offer, loopback) {
                Ok(()) => return,
                Err(denied) => Err(denied),
            },
            Ask::Receive { from, offer } => match self.receive(request, from, offer) {
                Ok(()) => return,
                Err(denied) => Err(denied),
            },
            Ask::Unpublish => return self.unpublish(request, out),
            Ask::Unsubscribe { from } => self.unsubscribe(visitor, &from, out),
            Ask::Candidate => match self.tables.member(visitor) {
                Some(_) => Ok(Granted::Done),
                None => Err(Denied::NotInRoom(visitor)),
            },
            Ask::Say {
                user,
                room,
                message,
            } => return self.say(request, user, room, message, out),
            Ask::Locate => Ok(Granted::Place(self.place(visitor))),
            Ask::Exit => self.exit(visitor, out),
            Ask::End => {
                self.end(visitor, out);
                Ok(Granted::Done)
            }
        };
        answer(out, from, visitor, outcome);
    }

    /// A connection is gone. Its visitor is awaited back.
    pub(super) fn leave(&mut self, now: Instant, connection: ConnectionId) {
        self.tables.forget_asker(connection);
        if let Some(visitor) = self.tables.bound.get(&connection).copied() {
            self.await_back(now, visitor);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.tables.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some((at, timer)) = self.tables.timers.first().copied() {
            if at > now {
                return;
            }
            self.tables.timers.pop_first();
            match timer {
                Timer::Away(visitor) => self.end(visitor, out),
                Timer::End(end) => self.time_out(end, out),
            }
        }
    }

    /// Puts a member out of its room. False if there is no such one.
    pub(super) fn evict(&mut self, room: &str, user: &str, out: &mut Vec<Output>) -> bool {
        let member = self.tables.rooms.get(room);
        let Some(visitor) = member.and_then(|room| room.members.get(user)).copied() else {
            return false;
        };
        self.put_out(visitor, out);
        self.tell(visitor, Told::Evicted, out);
        true
    }

    /// Puts whoever a connection brings out of its room, and ends that one.
    pub(super) fn dismiss(&mut self, connection: ConnectionId, out: &mut Vec<Output>) {
        let Some(visitor) = self.tables.bound.get(&connection).copied() else {
            return;
        };
        if self.tables.member(visitor).is_some() {
            self.put_out(visitor, out);
            self.tell(visitor, Told::Evicted, out);
        }
        self.end(visitor, out);
    }

    /// Puts everyone out of a room. How many; `None` if there is no such one.
    pub(super) fn close_room(&mut self, name: &str, out: &mut Vec<Output>) -> Option<usize> {
        let (name, room) = self.tables.rooms.remove_entry(name)?;
        let count = room.members.len();
        self.commands.push(MediaCommand::CloseRoom(room.key));
        for visitor in room.members.into_values() {
            let member = self.tables.guests.get_mut(&visitor);
            let Some(member) = member.and_then(|guest| guest.member.take()) else {
                continue;
            };
            let gone = Denied::Gone(Arc::clone(&member.user));
            for end in member.publishing.iter().chain(member.receiving.values()) {
                self.drop_end(visitor, end, &gone, out);
            }
            let room = Arc::clone(&name);
            self.tell(visitor, Told::Closed { room }, out);
        }
        Some(count)
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = (&Arc<str>, Vec<MemberView>)> {
        let rooms = self.tables.rooms.iter();
        rooms.map(|(name, room)| (name, self.views(room)))
    }

    pub(super) fn room(&self, name: &str) -> Option<Vec<MemberView>> {
        self.tables.rooms.get(name).map(|room| self.views(room))
    }

    /// Who has a media endpoint.
    pub(super) fn media_owner(&self, end: MediaEnd) -> Option<MediaOwner> {
        let owner = self.tables.ends.get(&end)?;
        let (room, user) = self.place(owner.visitor)?;
        let of = owner.from.clone();
        Some(MediaOwner { room, user, of })
    }

    pub(super) fn count(&self, counts: &mut Counts) {
        let members = self.tables.guests.values();
        counts.visitors = self.tables.guests.len();
        counts.forwarding_rooms = self.tables.rooms.len();
        for member in members.filter_map(|guest| guest.member.as_ref()) {
            counts.participants += 1;
            counts.publishers += usize::from(member.is_publishing());
            counts.subscriptions += member.receiving.len();
        }
    }

    /// Everything that is remembered.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn entries(&self) -> usize {
        let tables = &self.tables;
        let visitors = tables.guests.len() + tables.bound.len();
        visitors + tables.rooms.len() + tables.ends.len() + tables.timers.len() + tables.asked()
    }

    /// The visitor that a connection brings; a new one if it brought none yet.
    fn visitor_of(
        &mut self,
        connection: ConnectionId,
        own: Visitor,
        out: &mut Vec<Output>,
    ) -> Result<Visitor, Denied> {
        if let Some(visitor) = self.tables.bound.get(&connection) {
            return Ok(*visitor);
        }
        // It went on by another connection, and this one has not heard of it.
        if self.tables.guests.contains_key(&own) {
            return Ok(own);
        }
        let limit = self.limits.visitors;
        if self.tables.guests.len() >= limit {
            let oldest = self.tables.longest_away();
            self.end(oldest.ok_or(Denied::VisitorsFull(limit))?, out);
        }
        self.tables.guests.insert(own, Guest::default());
        self.tables.bind(own, Ok(connection));
        Ok(own)
    }

    fn resume(&mut self, now: Instant, from: ConnectionId, named: Visitor, out: &mut Vec<Output>) {
        let Some(guest) = self.tables.guests.get(&named) else {
            return answer(out, from, named, Err(Denied::UnknownVisitor));
        };
        let before = guest.connection;
        if before != Some(from) {
            if let Some(other) = self.tables.bound.get(&from).copied() {
                self.await_back(now, other);
            }
            self.tables.bind(named, Ok(from));
            if let Some(before) = before {
                tell(out, before, Event::Conference(Told::Moved));
            }
        }
        answer(out, from, named, Ok(Granted::Resumed));
        let guest = self.tables.guests.get_mut(&named);
        if let Some(known) = guest.and_then(|guest| guest.known.take()) {
            self.catch_up(named, &known, out);
        }
    }

    fn await_back(&mut self, now: Instant, visitor: Visitor) {
        let known = self.known_to(visitor);
        self.tables.bind(visitor, Err(now + self.limits.resume));
        if let Some(guest) = self.tables.guests.get_mut(&visitor) {
            guest.known = known;
        }
    }

    fn enter(
        &mut self,
        request: Request,
        name: &Arc<str>,
        user: Arc<str>,
        rights: Rights,
        out: &mut Vec<Output>,
    ) -> Outcome {
        let (tables, limits) = (&mut self.tables, &self.limits);
        let (room, taken) = (Arc::clone(name), Arc::clone(&user));
        if user.is_empty() {
            return Err(Denied::EmptyName);
        }
        if let Some(member) = tables.member(request.visitor) {
            if member.room == *name && member.user == user {
                return Err(Denied::NameTaken { room, user: taken });
            }
            let (room, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
            return Err(Denied::InRoom { room, user });
        }
        match tables.rooms.get(name) {
            Some(found) if found.members.contains_key(&user) => {
                return Err(Denied::NameTaken { room, user: taken });
            }
            Some(found) if found.members.len() >= limits.participants_per_room => {
                let limit = limits.participants_per_room;
                return Err(Denied::RoomFull { room, limit });
            }
            None if tables.rooms.len() >= limits.rooms => {
                return Err(Denied::TooManyRooms(limits.rooms));
            }
            None => {
                let new = tables.new_room();
                tables.rooms.insert(Arc::clone(name), new);
            }
            Some(_) => {}
        }
        let others = self.others(name);
        for to in self.tables.connections(name, None) {
            let user = Arc::clone(&user);
            tell(out, to, Event::Conference(Told::Joined { user }));
        }
        if let Some(found) = self.tables.rooms.get_mut(name) {
            found.members.insert(Arc::clone(&user), request.visitor);
        }
        if let Some(guest) = self.tables.guests.get_mut(&request.visitor) {
            guest.member = Some(Member::new(room, user, rights));
        }
        Ok(Granted::Entered { others })
    }

    /// The members of a room, and whether they publish.
    fn others(&self, room: &str) -> Vec<(Arc<str>, bool)> {
        let room = self.tables.rooms.get(room).into_iter();
        let members = room.flat_map(|room| room.members.iter());
        let shown = members.map(|(user, visitor)| {
            let member = self.tables.member(*visitor);
            (Arc::clone(user), member.is_some_and(Member::is_publishing))
        });
        shown.collect()
    }

    fn say(
        &self,
        request: Request,
        user: Arc<str>,
        room: Arc<str>,
        message: Arc<str>,
        out: &mut Vec<Output>,
    ) {
        let outcome = match self.tables.member(request.visitor) {
            None => Err(Denied::NotInRoom(request.visitor)),
            Some(member) if member.user != user => Err(Denied::NotOwnName(Arc::clone(&user))),
            Some(member) if member.room != room => Err(Denied::NotOwnRoom(Arc::clone(&room))),
            Some(member) if !member.rights.message => {
                Err(Denied::Forbidden("send messages".into()))
            }
            Some(_) => Ok(Granted::Done),
        };
        let is_said = outcome.is_ok();
        answer(out, request.connection, request.visitor, outcome);
        if !is_said {
            return;
        }
        for to in self.tables.connections(&room, None) {
            let (room, user) = (Arc::clone(&room), Arc::clone(&user));
            let message = Arc::clone(&message);
            let said = Told::Said {
                room,
                user,
                message,
            };
            tell(out, to, Event::Conference(said));
        }
    }

    pub(super) fn place(&self, visitor: Visitor) -> Option<(Arc<str>, Arc<str>)> {
        let member = self.tables.member(visitor)?;
        Some((Arc::clone(&member.room), Arc::clone(&member.user)))
    }

    fn exit(&mut self, visitor: Visitor, out: &mut Vec<Output>) -> Outcome {
        if self.tables.member(visitor).is_none() {
            return Err(Denied::NotInRoom(visitor));
        }
        self.end(visitor, out);
        Ok(Granted::Done)
    }

    /// Ends a visitor, wherever it is.
    fn end(&mut self, visitor: Visitor, out: &mut Vec<Output>) {
        self.put_out(visitor, out);
        self.tables.remove_guest(visitor);
    }

    /// Takes a visitor out of its room, if it is in one, and tells the others. The last one takes
    /// the room with it.
    fn put_out(&mut self, visitor: Visitor, out: &mut Vec<Output>) {
        let guest = self.tables.guests.get_mut(&visitor);
        let Some(mut member) = guest.and_then(|guest| guest.member.take()) else {
            return;
        };
        let gone = Denied::Gone(Arc::clone(&member.user));
        if let Some(end) = member.publishing.take() {
            self.drop_end(visitor, &end, &gone, out);
            // Its own loop goes with it, as one of the room's.
            let own = member.receiving.remove(&member.user);
            if let Some(end) = own {
                self.drop_end(visitor, &end, &gone, out);
            }
            self.stopped(&member.room, &member.user, end.key, out);
        }
        let (name, user) = (&member.room, &member.user);
        let Some(room) = self.tables.rooms.get_mut(name) else {
            return;
        };
        let key = room.key;
        room.members.remove(user);
        let is_empty = room.members.is_empty();
        for end in member.receiving.values() {
            self.commands.push(MediaCommand::Remove {
                room: key,
                end: end.key,
            });
            self.drop_end(visitor, end, &gone, out);
        }
        if is_empty {
            self.tables.rooms.remove(name);
            self.commands.push(MediaCommand::CloseRoom(key));
        }
        for to in self.tables.connections(name, None) {
            let user = Arc::clone(user);
            tell(out, to, Event::Conference(Told::Left { user }));
        }
    }

    fn tell(&self, visitor: Visitor, told: Told, out: &mut Vec<Output>) {
        let guest = self.tables.guests.get(&visitor);
        if let Some(connection) = guest.and_then(|guest| guest.connection) {
            tell(out, connection, Event::Conference(told));
        }
    }

    fn views(&self, room: &Room) -> Vec<MemberView> {
        let members = room.members.values();
        members.filter_map(|visitor| self.view(*visitor)).collect()
    }

    fn view(&self, visitor: Visitor) -> Option<MemberView> {
        let guest = self.tables.guests.get(&visitor)?;
        let member = guest.member.as_ref()?;
        Some(MemberView {
            user: Arc::clone(&member.user),
            publishing: member.is_publishing(),
            receives: member.receiving.keys().cloned().collect(),
            connection: guest.connection,
            muted: member.muted,
            ends: member.ends().collect(),
        })
    }
}

impl Member {
    fn new(room: Arc<str>, user: Arc<str>, rights: Rights) -> Self {
        Self {
            room,
            user,
            muted: Muted::default(),
            rights,
            publishing: None,
            receiving: std::collections::BTreeMap::new(),
        }
    }
}

fn answer(out: &mut Vec<Output>, to: ConnectionId, visitor: Visitor, outcome: Outcome) {
    let told = Told::Answer { visitor, outcome };
    tell(out, to, Event::Conference(told));
}

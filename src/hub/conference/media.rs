//! The rules about who sends and who gets media.

use std::sync::Arc;
use std::time::Instant;

use super::asks::Visitor;
use super::tables::{End, Owner, Stage};
use super::words::{
    Denied, Granted, MediaCandidate, MediaCommand, MediaEnd, MediaEvent, MediaLoss, MediaRefusal,
    MuteChange, Muted, Told,
};
use super::{Conference, Outcome, Request, answer};
use crate::hub::Event;
use crate::hub::core::{Output, tell};

impl Conference {
    /// The plane says something. Of ends that are over meanwhile, nothing is heard.
    pub(in crate::hub) fn media(&mut self, now: Instant, event: MediaEvent, out: &mut Vec<Output>) {
        match event {
            MediaEvent::Answered { end, sdp } => self.answered(end, sdp, out),
            MediaEvent::Refused { end, why } => self.refused(end, why, out),
            MediaEvent::Candidate { end, candidate } => self.found(end, candidate, out),
            MediaEvent::Failed { end, why, loss } => self.failed(now, end, why, loss, out),
        }
    }

    pub(super) fn publish(
        &mut self,
        request: Request,
        offer: String,
        loopback: bool,
    ) -> Result<(), Denied> {
        let limit = self.limits.publishers_per_room;
        let Request {
            now,
            connection,
            visitor,
        } = request;
        let member = self.tables.member(visitor);
        let member = member.ok_or(Denied::NotInRoom(visitor))?;
        let (name, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
        let rights = member.rights;
        if !rights.publish {
            return Err(Denied::Forbidden("publish".into()));
        }
        if member.publishing.is_some() {
            return Err(Denied::Publishing(user));
        }
        let room = self.tables.rooms.get_mut(&name);
        let room = room.ok_or(Denied::NotInRoom(visitor))?;
        if room.publishers >= limit {
            return Err(Denied::PublishersFull(limit));
        }
        room.publishers += 1;
        let room = room.key;
        let owner = Owner {
            visitor,
            from: None,
        };
        let end = self
            .tables
            .new_end(owner, connection, now + self.limits.answer);
        self.commands.push(MediaCommand::Publish {
            room,
            end: end.key,
            offer,
            loopback,
            rights,
        });
        let key = end.key;
        let Some(member) = self.tables.member_mut(visitor) else {
            return Ok(());
        };
        member.publishing = Some(end);
        let muted = member.muted;
        if muted != Muted::default() {
            let end = key;
            self.commands.push(MediaCommand::Mute { room, end, muted });
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        request: Request,
        from: Arc<str>,
        offer: String,
    ) -> Result<(), Denied> {
        let Request {
            now,
            connection,
            visitor,
        } = request;
        let member = self.tables.member(visitor);
        let member = member.ok_or(Denied::NotInRoom(visitor))?;
        let (name, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
        if !member.rights.subscribe {
            return Err(Denied::Forbidden("receive".into()));
        }
        let is_receiving = member.receiving.contains_key(&from);
        let room = self.tables.rooms.get(&name);
        let room = room.ok_or(Denied::NotInRoom(visitor))?;
        let Some(publisher) = room.members.get(&from) else {
            let (room, user) = (name, from);
            return Err(Denied::NoSuchUser { room, user });
        };
        let publisher = self.tables.member(*publisher);
        let publishing = publisher.filter(|member| member.is_publishing());
        let Some(source) = publishing.and_then(|member| member.publishing.as_ref()) else {
            let (room, user) = (name, from);
            return Err(Denied::NothingToReceive { room, user });
        };
        if is_receiving {
            return Err(Denied::Receiving { user, from });
        }
        let (room, source) = (room.key, source.key);
        let owner = Owner {
            visitor,
            from: Some(Arc::clone(&from)),
        };
        let end = self
            .tables
            .new_end(owner, connection, now + self.limits.answer);
        self.commands.push(MediaCommand::Receive {
            room,
            end: end.key,
            from: source,
            offer,
        });
        if let Some(member) = self.tables.member_mut(visitor) {
            member.receiving.insert(from, end);
        }
        Ok(())
    }

    /// Lets the others get less, or more, of a member. `None` if there is no such one.
    pub(in crate::hub) fn mute(
        &mut self,
        room: &str,
        user: &str,
        change: MuteChange,
    ) -> Option<Muted> {
        let room = self.tables.rooms.get(room)?;
        let (room, visitor) = (room.key, *room.members.get(user)?);
        let member = self.tables.member_mut(visitor)?;
        let muted = member.muted.with(change);
        let end = member.published().filter(|_| member.muted != muted);
        member.muted = muted;
        if let Some(end) = end {
            self.commands.push(MediaCommand::Mute { room, end, muted });
        }
        Some(muted)
    }

    pub(super) fn unpublish(&mut self, request: Request, out: &mut Vec<Output>) {
        let Request {
            connection,
            visitor,
            ..
        } = request;
        let Some(member) = self.tables.member_mut(visitor) else {
            return answer(out, connection, visitor, Err(Denied::NotInRoom(visitor)));
        };
        if !member.is_publishing() {
            let user = Arc::clone(&member.user);
            return answer(out, connection, visitor, Err(Denied::NotPublishing(user)));
        }
        answer(out, connection, visitor, Ok(Granted::Done));
        self.withdraw(visitor, out);
    }

    /// Takes what a member publishes away from the others.
    fn withdraw(&mut self, visitor: Visitor, out: &mut Vec<Output>) {
        let Some(member) = self.tables.member_mut(visitor) else {
            return;
        };
        let (room, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
        let Some(end) = member.publishing.take() else {
            return;
        };
        self.tables.forget(&end);
        self.stopped(&room, &user, end.key, out);
        for to in self.tables.connections(&room, Some(visitor)) {
            let user = Arc::clone(&user);
            tell(out, to, Event::Conference(Told::Unpublished { user }));
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        visitor: Visitor,
        from: &Arc<str>,
        out: &mut Vec<Output>,
    ) -> Outcome {
        let member = self.tables.member_mut(visitor);
        let member = member.ok_or(Denied::NotInRoom(visitor))?;
        let (name, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
        let end = member.receiving.remove(from);
        let room = self.tables.rooms.get(&name);
        let room = room.ok_or(Denied::NotInRoom(visitor))?;
        if let Some(end) = end {
            self.commands.push(MediaCommand::Remove {
                room: room.key,
                end: end.key,
            });
            self.drop_end(visitor, &end, &Denied::Gone(user), out);
        } else if !room.members.contains_key(from) {
            let (room, user) = (name, Arc::clone(from));
            return Err(Denied::NoSuchUser { room, user });
        }
        Ok(Granted::Done)
    }

    /// Forgets an end that was taken out of its member; whoever waits for its answer gets this one.
    pub(super) fn drop_end(
        &mut self,
        visitor: Visitor,
        end: &End,
        why: &Denied,
        out: &mut Vec<Output>,
    ) {
        self.tables.forget(end);
        if let Some(asker) = end.stage.asker() {
            answer(out, asker, visitor, Err(why.clone()));
        }
    }

    /// A publisher's end is over, and with it the ends of all that receive it.
    pub(super) fn stopped(
        &mut self,
        name: &Arc<str>,
        user: &Arc<str>,
        end: MediaEnd,
        out: &mut Vec<Output>,
    ) {
        let Some(room) = self.tables.rooms.get_mut(name) else {
            return;
        };
        room.publishers = room.publishers.saturating_sub(1);
        let key = room.key;
        self.commands.push(MediaCommand::Remove { room: key, end });
        let receivers: Vec<_> = room.members.values().copied().collect();
        let why = Denied::NothingToReceive {
            room: Arc::clone(name),
            user: Arc::clone(user),
        };
        for visitor in receivers {
            let member = self.tables.member_mut(visitor);
            if let Some(end) = member.and_then(|member| member.receiving.remove(user)) {
                self.drop_end(visitor, &end, &why, out);
            }
        }
    }

    pub(super) fn time_out(&mut self, end: MediaEnd, out: &mut Vec<Output>) {
        match self.tables.end_mut(end).map(|end| end.stage) {
            Some(Stage::Asked(..)) => {
                let why = MediaRefusal::Late(self.limits.answer);
                // It may still come.
                let owner = self.tables.ends.get(&end);
                let member = owner.and_then(|owner| self.tables.member(owner.visitor));
                let room = member.and_then(|member| self.tables.rooms.get(&member.room));
                if let Some(room) = room.map(|room| room.key) {
                    self.commands.push(MediaCommand::Remove { room, end });
                }
                self.refused(end, why, out);
            }
            Some(Stage::Closed(_)) => {
                self.farewells += 1;
                self.lost(end, "the peer closed its connection".into(), out);
            }
            Some(Stage::Open) | None => {}
        }
    }

    fn answered(&mut self, key: MediaEnd, sdp: String, out: &mut Vec<Output>) {
        let stage = self.tables.end_mut(key).map(|end| end.stage);
        let Some(Stage::Asked(asker, _)) = stage else {
            return;
        };
        self.tables.set_stage(key, Stage::Open);
        let Some(owner) = self.tables.ends.get(&key).cloned() else {
            return;
        };
        if let Some(asker) = asker {
            answer(out, asker, owner.visitor, Ok(Granted::Sdp(sdp)));
        }
        let Some(member) = self.tables.member(owner.visitor) else {
            return;
        };
        if owner.from.is_none() {
            for to in self.tables.connections(&member.room, Some(owner.visitor)) {
                let user = Arc::clone(&member.user);
                tell(out, to, Event::Conference(Told::Published { user }));
            }
        }
    }

    fn refused(&mut self, key: MediaEnd, why: MediaRefusal, out: &mut Vec<Output>) {
        let Some((owner, end)) = self.take_end(key) else {
            return;
        };
        let Some(member) = self.tables.member(owner.visitor) else {
            return;
        };
        let (room, user) = (Arc::clone(&member.room), Arc::clone(&member.user));
        let denied = match owner.from {
            None => {
                if let Some(room) = self.tables.rooms.get_mut(&room) {
                    room.publishers = room.publishers.saturating_sub(1);
                }
                Denied::NotPublished { user, why }
            }
            Some(user) if why == MediaRefusal::NoPublisher => {
                Denied::NothingToReceive { room, user }
            }
            Some(from) => Denied::NotReceived { user, from, why },
        };
        self.drop_end(owner.visitor, &end, &denied, out);
    }

    fn found(&mut self, key: MediaEnd, candidate: MediaCandidate, out: &mut Vec<Output>) {
        let Some(owner) = self.tables.ends.get(&key) else {
            return;
        };
        let Some(member) = self.tables.member(owner.visitor) else {
            return;
        };
        let of = owner.from.as_ref().unwrap_or(&member.user);
        let of = Arc::clone(of);
        self.tell(owner.visitor, Told::Candidate { of, candidate }, out);
    }

    fn failed(
        &mut self,
        now: Instant,
        key: MediaEnd,
        why: Arc<str>,
        loss: MediaLoss,
        out: &mut Vec<Output>,
    ) {
        let Some(owner) = self.tables.ends.get(&key).cloned() else {
            return;
        };
        match loss {
            _ if owner.from.is_some() => {}
            MediaLoss::Closed => {
                // Clients close first, and say that they unpublish or leave then.
                let until = now + self.limits.farewell;
                return self.tables.set_stage(key, Stage::Closed(until));
            }
            MediaLoss::Lost => return self.lost(key, why, out),
            MediaLoss::Unconnected => {
                // It is there, and may still talk, receive, or try again.
                self.tell(owner.visitor, Told::MediaFailed { why }, out);
                return self.withdraw(owner.visitor, out);
            }
        }
        let Some((owner, end)) = self.take_end(key) else {
            return;
        };
        let user = self.tables.member(owner.visitor);
        let user = user.map(|member| Arc::clone(&member.user));
        let gone = Denied::Gone(user.unwrap_or_default());
        self.drop_end(owner.visitor, &end, &gone, out);
        if loss != MediaLoss::Closed {
            self.tell(owner.visitor, Told::MediaFailed { why }, out);
        }
    }

    /// What a member publishes is dead, and the member with it.
    fn lost(&mut self, key: MediaEnd, why: Arc<str>, out: &mut Vec<Output>) {
        let Some(owner) = self.tables.ends.get(&key).cloned() else {
            return;
        };
        self.tell(owner.visitor, Told::MediaFailed { why }, out);
        self.put_out(owner.visitor, out);
        self.tell(owner.visitor, Told::Evicted, out);
    }

    /// Takes an end out of its member.
    fn take_end(&mut self, key: MediaEnd) -> Option<(Owner, End)> {
        let owner = self.tables.ends.get(&key)?.clone();
        let member = self.tables.member_mut(owner.visitor)?;
        let end = match &owner.from {
            None => member.publishing.take()?,
            Some(from) => member.receiving.remove(from)?,
        };
        Some((owner, end))
    }
}

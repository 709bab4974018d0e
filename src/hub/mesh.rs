//! The hub's rules about endpoints that talk with their equals: in pairs, and in rooms.

use std::time::Instant;

use super::core::{Hub, Output, Place, tell};
use super::rooms::Members;
use super::store::{Call, Seat};
use super::{
    ConnectionId, EndpointId, Event, JoinError, NotGranted, PairError, Payload, Request, RoomId,
    Unreached,
};

impl Hub {
    /// Every frame of such an endpoint comes here, so that a frame that crosses another one's
    /// [`Request::Pair`] goes to the partner, whatever it says.
    pub(super) fn relay_or_obey(
        &mut self,
        now: Instant,
        from: ConnectionId,
        frame: Payload,
        otherwise: Option<Request>,
        out: &mut Vec<Output>,
    ) {
        let call = self.store.connection(from).and_then(|it| it.call.as_ref());
        if let Some(&Call::Paired(partner)) = call {
            if let Some(talk) = self.store.talk(from) {
                talk.sent += 1;
            }
            return tell(out, partner, Event::FromPartner { payload: frame });
        }
        match otherwise {
            Some(Request::Pair(with)) => self.pair(now, from, with, out),
            Some(Request::Join(room)) => self.join(from, &room, out),
            Some(Request::ToMember { to, payload }) => match self.room_of(from) {
                Some(room) => self.to_member(now, room, to, payload, from, out),
                None => self.no_partner(from, frame, out),
            },
            Some(Request::Members) => match self.room_of(from) {
                Some((own, members)) => tell(out, from, Event::Members(others(members, own))),
                None => self.no_partner(from, frame, out),
            },
            Some(Request::NotGranted(NotGranted::Pair(error))) => {
                tell(out, from, Event::PairRefused(error));
            }
            Some(Request::NotGranted(NotGranted::Join(error))) => {
                tell(out, from, Event::JoinRefused(error));
            }
            None => self.no_partner(from, frame, out),
        }
    }

    /// Takes a member out of its room, and tells the others.
    pub(super) fn leave_room(
        &mut self,
        now: Instant,
        room: &RoomId,
        seat: Option<&Seat>,
        out: &mut Vec<Output>,
    ) {
        // Every member is registered.
        let Some(Seat::Holder(id)) = seat else { return };
        let since = now.checked_sub(self.limits.just_left);
        if let Some(members) = self.store.rooms.remove(now, since, room, id) {
            for member in members.connections() {
                tell(out, member, Event::MemberLeft(id.clone()));
            }
        }
    }

    pub(super) fn place(&self, of: ConnectionId) -> Place {
        match self.store.connection(of).and_then(|it| it.call.as_ref()) {
            Some(Call::Paired(_)) => Place::Pair,
            Some(Call::Member(_)) => Place::Room,
            Some(Call::Open(..) | Call::Waiting(_)) | None => Place::Idle,
        }
    }

    fn pair(&mut self, now: Instant, from: ConnectionId, with: EndpointId, out: &mut Vec<Output>) {
        let refused = if self.holder(from).is_none() {
            PairError::NotRegistered
        } else if self.is_engaged(from) {
            PairError::Engaged
        } else {
            match self.store.endpoint(&with).map(|it| it.connection) {
                None => PairError::Absent(with),
                Some(other) if self.is_engaged(other) => PairError::Busy(with),
                Some(other) => {
                    self.store.pair(now, from, other);
                    tell(out, from, Event::Paired);
                    if other != from {
                        tell(out, other, Event::PairedBy);
                    }
                    return;
                }
            }
        };
        tell(out, from, Event::PairRefused(refused));
    }

    fn join(&mut self, from: ConnectionId, room: &RoomId, out: &mut Vec<Output>) {
        let refuse = |error, out: &mut Vec<Output>| tell(out, from, Event::JoinRefused(error));
        let Some(own) = self.holder(from).cloned() else {
            return refuse(JoinError::NotRegistered, out);
        };
        if self.is_engaged(from) {
            return refuse(JoinError::Engaged, out);
        }
        let members = match self.store.rooms.get(room) {
            Some(members) if members.len() >= self.limits.members_per_room => {
                return refuse(JoinError::Full(self.limits.members_per_room), out);
            }
            None if self.store.rooms.len() >= self.limits.rooms => {
                return refuse(JoinError::TooManyRooms(self.limits.rooms), out);
            }
            found => found,
        };
        let ids = members.map_or_else(Vec::new, |members| members.ids().cloned().collect());
        tell(out, from, Event::Joined { members: ids });
        for member in members.into_iter().flat_map(Members::connections) {
            tell(out, member, Event::MemberJoined(own.clone()));
        }
        self.store.join(room, own, from);
    }

    fn to_member(
        &self,
        now: Instant,
        (own, members): (&EndpointId, &Members),
        to: EndpointId,
        payload: Payload,
        from: ConnectionId,
        out: &mut Vec<Output>,
    ) {
        if let Some(member) = members.get(&to) {
            let from = own.clone();
            return tell(out, member, Event::FromMember { from, payload });
        }
        let left = members.left_at(&to);
        if left.is_some_and(|at| now.duration_since(at) < self.limits.just_left) {
            return;
        }
        let why = match self.store.endpoint(&to) {
            Some(_) => Unreached::NotInRoom,
            None => Unreached::Absent,
        };
        tell(out, from, Event::NotReached { to, why });
    }

    fn no_partner(&self, from: ConnectionId, frame: Payload, out: &mut Vec<Output>) {
        let place = self.place(from);
        tell(out, from, Event::NoPartner { frame, place });
    }

    /// A connection talks in one place only.
    fn is_engaged(&self, who: ConnectionId) -> bool {
        self.store
            .connection(who)
            .is_some_and(|it| it.call.is_some())
    }

    fn holder(&self, of: ConnectionId) -> Option<&EndpointId> {
        match self.store.connection(of)?.seat.as_ref()? {
            Seat::Holder(id) => Some(id),
            Seat::Newcomer(_) => None,
        }
    }

    /// A member's own id and its room.
    fn room_of(&self, member: ConnectionId) -> Option<(&EndpointId, &Members)> {
        let connection = self.store.connection(member)?;
        match (&connection.seat, &connection.call) {
            (Some(Seat::Holder(id)), Some(Call::Member(room))) => {
                Some((id, self.store.rooms.get(room)?))
            }
            _ => None,
        }
    }
}

fn others(members: &Members, own: &EndpointId) -> Vec<EndpointId> {
    members.ids().filter(|id| *id != own).cloned().collect()
}

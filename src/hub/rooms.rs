//! The hub's table of rooms, in memory. It keeps itself consistent and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{ConnectionId, EndpointId, RoomId};

/// Members that a room remembers after they left. One more pushes out the one that left longest ago;
/// a message to that one is answered as if it had never been there.
const REMEMBERED_LEFT: usize = 64;

/// Every room that has a member.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<RoomId, Members>);

/// A room's members, and who was one until a moment ago.
#[derive(Debug, Default)]
pub(super) struct Members {
    here: BTreeMap<EndpointId, ConnectionId>,
    /// When each left, in that order.
    left: VecDeque<(Instant, EndpointId)>,
}

impl Rooms {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RoomId, &Members)> {
        self.0.iter()
    }

    pub(super) fn get(&self, room: &RoomId) -> Option<&Members> {
        self.0.get(room)
    }

    /// Adds a member, and the room if this is its first.
    pub(super) fn add(&mut self, room: &RoomId, id: EndpointId, member: ConnectionId) {
        let members = self.0.entry(room.clone()).or_default();
        members.here.insert(id, member);
    }

    /// Takes a member out of a room, and gives those that stay. The last one takes the room with it.
    /// Who left before `since` is forgotten.
    pub(super) fn remove(
        &mut self,
        now: Instant,
        since: Option<Instant>,
        room: &RoomId,
        id: &EndpointId,
    ) -> Option<&Members> {
        let members = self.0.get_mut(room)?;
        members.here.remove(id)?;
        if members.here.is_empty() {
            self.0.remove(room);
            return None;
        }
        members.left.push_back((now, id.clone()));
        let over = members.left.len().saturating_sub(REMEMBERED_LEFT);
        members.left.drain(..over);
        while members
            .left
            .front()
            .is_some_and(|(at, _)| since.is_some_and(|since| *at < since))
        {
            members.left.pop_front();
        }
        self.0.get(room)
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.here.len()
    }

    pub(super) fn get(&self, id: &EndpointId) -> Option<ConnectionId> {
        self.here.get(id).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &EndpointId> {
        self.here.keys()
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.here.values().copied()
    }

    /// When a former member left last, if that is remembered.
    pub(super) fn left_at(&self, id: &EndpointId) -> Option<Instant> {
        let last = self.left.iter().rev().find(|(_, left)| left == id);
        last.map(|(at, _)| *at)
    }
}

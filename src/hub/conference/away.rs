//! What a visitor missed while it had no connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asks::Visitor;
use super::words::{MediaEnd, Told};
use super::{Conference, Member, Output};

/// Whom a visitor knows in its room, by name, and what each publishes.
pub(super) type Known = BTreeMap<Arc<str>, (Visitor, Option<MediaEnd>)>;

impl Conference {
    /// What a visitor has been told of the others. `None` if it is in no room.
    pub(super) fn known_to(&self, visitor: Visitor) -> Option<Known> {
        let room = &self.tables.member(visitor)?.room;
        let others = self.tables.rooms.get(room)?.members.iter();
        let others = others.filter(|(_, other)| **other != visitor);
        let known = others.map(|(user, other)| {
            let member = self.tables.member(*other);
            let publishing = member.filter(|member| member.is_publishing());
            let end = publishing.and_then(Member::published);
            (Arc::clone(user), (*other, end))
        });
        Some(known.collect())
    }

    /// Tells a visitor that is back what has changed since it knew this. What was said meanwhile is
    /// lost.
    pub(super) fn catch_up(&self, visitor: Visitor, known: &Known, out: &mut Vec<Output>) {
        let Some(now) = self.known_to(visitor) else {
            return self.tell(visitor, Told::Evicted, out);
        };
        for (user, (who, _)) in known {
            if now.get(user).is_none_or(|(other, _)| other != who) {
                let user = Arc::clone(user);
                self.tell(visitor, Told::Left { user }, out);
            }
        }
        for (user, (who, published)) in now {
            let before = known.get(&user).filter(|(other, _)| *other == who);
            if before.is_none() {
                let user = Arc::clone(&user);
                self.tell(visitor, Told::Joined { user }, out);
            }
            let before = before.and_then(|(_, published)| *published);
            if before == published {
                continue;
            }
            if before.is_some() {
                let user = Arc::clone(&user);
                self.tell(visitor, Told::Unpublished { user }, out);
            }
            if published.is_some() {
                self.tell(visitor, Told::Published { user }, out);
            }
        }
    }
}

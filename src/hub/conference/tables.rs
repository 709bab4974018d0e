//! The conference's tables. They keep themselves consistent and decide nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::asks::{Rights, Visitor};
use super::away::Known;
use super::words::{MediaEnd, MediaRoom, Muted};
use crate::hub::{ByConnection, ConnectionId};

/// Everyone and everything.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) rooms: BTreeMap<Arc<str>, Room>,
    pub(super) guests: HashMap<Visitor, Guest>,
    /// Whose visitor a connection brings.
    pub(super) bound: ByConnection<Visitor>,
    /// Whose each end is.
    pub(super) ends: HashMap<MediaEnd, Owner>,
    /// For which ends' answers a connection waits.
    asked: BTreeSet<(ConnectionId, MediaEnd)>,
    pub(super) timers: BTreeSet<(Instant, Timer)>,
    last_key: u64,
}

/// Made by its first member, and gone with its last.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) key: MediaRoom,
    pub(super) members: BTreeMap<Arc<str>, Visitor>,
    /// Those that publish, or wait for the plane's answer to that.
    pub(super) publishers: usize,
}

/// A visitor.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// `None` while it is awaited back.
    pub(super) connection: Option<ConnectionId>,
    /// Until when it is.
    pub(super) away_until: Option<Instant>,
    /// Whom it knew in its room when its connection was lost.
    pub(super) known: Option<Known>,
    pub(super) member: Option<Member>,
}

/// A visitor in a room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) room: Arc<str>,
    pub(super) user: Arc<str>,
    /// What of it the others don't get.
    pub(super) muted: Muted,
    pub(super) rights: Rights,
    pub(super) publishing: Option<End>,
    /// By whom it receives.
    pub(super) receiving: BTreeMap<Arc<str>, End>,
}

/// The server's end of a peer connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) key: MediaEnd,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// This connection, if it is still there, waits for the plane's answer, until then.
    Asked(Option<ConnectionId>, Instant),
    /// It is answered.
    Open,
    /// The other side closed it; until then it may say so in words.
    Closed(Instant),
}

/// Whose an end is, and what for.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) visitor: Visitor,
    /// From whom it receives; `None` for what it publishes.
    pub(super) from: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A visitor isn't awaited any longer.
    Away(Visitor),
    /// The plane took too long for an answer, or a publisher for a word.
    End(MediaEnd),
}

impl Tables {
    pub(super) fn new_room(&mut self) -> Room {
        self.last_key += 1;
        Room {
            key: MediaRoom(self.last_key),
            members: BTreeMap::new(),
            publishers: 0,
        }
    }

    /// A new end that waits for its answer.
    pub(super) fn new_end(&mut self, owner: Owner, asker: ConnectionId, until: Instant) -> End {
        self.last_key += 1;
        let key = MediaEnd(self.last_key);
        self.ends.insert(key, owner);
        self.timers.insert((until, Timer::End(key)));
        self.asked.insert((asker, key));
        End {
            key,
            stage: Stage::Asked(Some(asker), until),
        }
    }

    /// A connection is gone, and waits for no answer any more.
    pub(super) fn forget_asker(&mut self, asker: ConnectionId) {
        let all = (asker, MediaEnd(0))..=(asker, MediaEnd(u64::MAX));
        while let Some(&(_, key)) = self.asked.range(all.clone()).next() {
            self.asked.remove(&(asker, key));
            if let Some(Stage::Asked(asker, _)) = self.end_mut(key).map(|end| &mut end.stage) {
                *asker = None;
            }
        }
    }

    /// For how many answers someone waits.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn member(&self, visitor: Visitor) -> Option<&Member> {
        self.guests.get(&visitor)?.member.as_ref()
    }

    pub(super) fn member_mut(&mut self, visitor: Visitor) -> Option<&mut Member> {
        self.guests.get_mut(&visitor)?.member.as_mut()
    }

    /// The end, if there still is one under this key.
    pub(super) fn end_mut(&mut self, key: MediaEnd) -> Option<&mut End> {
        let owner = self.ends.get(&key)?;
        let (visitor, from) = (owner.visitor, owner.from.clone());
        let member = self.member_mut(visitor)?;
        match from {
            None => member.publishing.as_mut(),
            Some(from) => member.receiving.get_mut(&from),
        }
    }

    /// Gives an end another stage, and its timer with it.
    pub(super) fn set_stage(&mut self, key: MediaEnd, stage: Stage) {
        let Some(end) = self.end_mut(key) else { return };
        let old = std::mem::replace(&mut end.stage, stage);
        self.unset(key, old);
        if let Some(at) = stage.deadline() {
            self.timers.insert((at, Timer::End(key)));
        }
    }

    /// Forgets an end that was taken out of its member.
    pub(super) fn forget(&mut self, end: &End) {
        self.ends.remove(&end.key);
        self.unset(end.key, end.stage);
    }

    /// An end isn't in this stage any more.
    fn unset(&mut self, key: MediaEnd, stage: Stage) {
        if let Some(at) = stage.deadline() {
            self.timers.remove(&(at, Timer::End(key)));
        }
        if let Some(asker) = stage.asker() {
            self.asked.remove(&(asker, key));
        }
    }

    /// The connections of a room's members, but for one member's.
    pub(super) fn connections<'a>(
        &'a self,
        room: &str,
        except: Option<Visitor>,
    ) -> impl Iterator<Item = ConnectionId> + 'a {
        let members = self.rooms.get(room).into_iter();
        members
            .flat_map(|room| room.members.values())
            .filter(move |visitor| Some(**visitor) != except)
            .filter_map(|visitor| self.guests.get(visitor)?.connection)
    }

    /// Lets a visitor's connection be known, or that it has none until then.
    pub(super) fn bind(&mut self, visitor: Visitor, to: Result<ConnectionId, Instant>) {
        let Some(guest) = self.guests.get_mut(&visitor) else {
            return;
        };
        if let Some(at) = guest.away_until.take() {
            self.timers.remove(&(at, Timer::Away(visitor)));
        }
        if let Some(old) = guest.connection.take() {
            self.bound.remove(&old);
        }
        match to {
            Ok(connection) => {
                guest.connection = Some(connection);
                self.bound.insert(connection, visitor);
            }
            Err(until) => {
                guest.away_until = Some(until);
                self.timers.insert((until, Timer::Away(visitor)));
            }
        }
    }

    /// Forgets a visitor that is in no room any more.
    pub(super) fn remove_guest(&mut self, visitor: Visitor) {
        let Some(guest) = self.guests.remove(&visitor) else {
            return;
        };
        if let Some(connection) = guest.connection {
            self.bound.remove(&connection);
        }
        if let Some(at) = guest.away_until {
            self.timers.remove(&(at, Timer::Away(visitor)));
        }
    }

    /// The visitor whose connection was lost longest ago.
    pub(super) fn longest_away(&self) -> Option<Visitor> {
        self.timers.iter().find_map(|(_, timer)| match timer {
            Timer::Away(visitor) => Some(*visitor),
            Timer::End(_) => None,
        })
    }
}

impl Stage {
    const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Asked(_, at) | Self::Closed(at) => Some(at),
            Self::Open => None,
        }
    }

    /// Who waits for the plane's answer.
    pub(super) const fn asker(self) -> Option<ConnectionId> {
        match self {
            Self::Asked(asker, _) => asker,
            Self::Open | Self::Closed(_) => None,
        }
    }
}

impl Member {
    /// Under which key it publishes, or is about to.
    pub(super) fn published(&self) -> Option<MediaEnd> {
        self.publishing.as_ref().map(|end| end.key)
    }

    /// Its media endpoints, each with whom it receives there.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Option<Arc<str>>, MediaEnd)> {
        let publishing = self.publishing.iter().map(|end| (None, end.key));
        let receiving = self.receiving.iter();
        publishing.chain(receiving.map(|(user, end)| (Some(Arc::clone(user)), end.key)))
    }

    /// Whether the others may know that it publishes.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishing
            .as_ref()
            .is_some_and(|end| !matches!(end.stage, Stage::Asked(..)))
    }
}

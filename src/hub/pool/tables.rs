//! The pool's tables, in memory. They decide nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::hub::core::{Output, tell};
use crate::hub::sessions::{AccountId, Closed, Offer, PoolLimits, SessionId, Ticket};
use crate::hub::{ConnectionId, EndpointId, Event, Payload};

/// Sessions that an endpoint had, to tell a late message from a wrong one. One more pushes out the
/// one that ended longest ago.
const REMEMBERED_ENDED: usize = 64;

/// An endpoint, here or awaited.
#[derive(Debug)]
pub(in crate::hub) struct Server {
    pub(super) holder: Holder,
    pub(super) owner: Option<AccountId>,
    pub(super) capacity: Option<usize>,
    pub(super) hears_closes: bool,
    pub(super) since: Instant,
    pub(super) sessions: BTreeSet<SessionId>,
    /// The accounts that stay here.
    pub(super) accounts: BTreeSet<AccountId>,
    /// What the endpoint hasn't been sent yet, as far as is known; if it is here, all of this was
    /// told its connection.
    pub(super) queue: VecDeque<Item>,
    queued_bytes: usize,
    ended: VecDeque<SessionId>,
}

/// Who has an endpoint's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Holder {
    Here(ConnectionId),
    /// Nobody; it may come back until then.
    Away {
        until: Instant,
    },
}

#[derive(Debug)]
pub(in crate::hub) struct Session {
    pub(super) caller: ConnectionId,
    pub(super) endpoint: EndpointId,
    pub(super) account: AccountId,
    pub(super) stage: Stage,
    /// When its timer runs out.
    pub(super) deadline: Instant,
    pub(super) tags: Vec<Box<str>>,
    /// When it was asked for.
    pub(super) since: Instant,
    /// Messages of its caller, after the demand.
    pub(super) candidates: usize,
    /// Messages of its endpoint.
    pub(super) to_caller: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Stage {
    /// The demand is in the endpoint's queue.
    Queued,
    /// The endpoint was sent the demand.
    Demanded,
    /// The endpoint has answered; the number orders the answers.
    Answered(u64),
}

/// Something for an endpoint.
#[derive(Debug)]
pub(in crate::hub) struct Item {
    pub(super) ticket: Ticket,
    pub(super) session: SessionId,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(in crate::hub) enum Content {
    Demand(Payload),
    Message(Payload),
    Close(Closed),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::hub) enum Timer {
    Session(SessionId),
    Away(EndpointId),
}

/// Which account stays at which endpoint.
#[derive(Debug, Default)]
pub(in crate::hub) struct Ties {
    by_account: HashMap<AccountId, (u64, EndpointId)>,
    /// The same accounts, by when they asked last.
    order: BTreeMap<u64, AccountId>,
    next: u64,
    /// How many were forgotten to make room for others.
    pub(super) pushed_out: u64,
}

impl Server {
    pub(super) fn new(now: Instant, connection: ConnectionId, offer: &Offer) -> Self {
        Self {
            holder: Holder::Here(connection),
            owner: offer.owner.clone(),
            capacity: offer.capacity,
            hears_closes: offer.hears_closes,
            since: now,
            sessions: BTreeSet::new(),
            accounts: BTreeSet::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            ended: VecDeque::new(),
        }
    }

    pub(super) fn come_back(&mut self, now: Instant, connection: ConnectionId, offer: &Offer) {
        self.holder = Holder::Here(connection);
        self.since = now;
        self.capacity = offer.capacity;
        self.hears_closes = offer.hears_closes;
        if !offer.hears_closes {
            self.keep(|item| !item.is_close());
        }
    }

    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        match self.holder {
            Holder::Here(connection) => Some(connection),
            Holder::Away { .. } => None,
        }
    }

    /// How many sessions it takes, of those that the server allows.
    pub(super) fn most(&self, allowed: usize) -> usize {
        self.capacity.map_or(allowed, |own| own.min(allowed))
    }

    pub(super) fn has_room(&self, allowed: usize) -> bool {
        self.sessions.len() < self.most(allowed)
    }

    pub(super) fn only(&self) -> Option<SessionId> {
        let mut sessions = self.sessions.iter();
        let first = sessions.next();
        first.filter(|_| sessions.next().is_none()).copied()
    }

    pub(super) fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains(&session)
    }

    pub(super) fn may_queue(&self, limits: &PoolLimits) -> bool {
        self.queue.len() < limits.queue_messages && self.queued_bytes <= limits.queue_bytes
    }

    /// Queues an item, and tells the connection if there is one.
    pub(super) fn push(&mut self, item: Item, out: &mut Vec<Output>) {
        if let Some(connection) = self.connection() {
            tell(out, connection, item.event());
        }
        self.queued_bytes += item.bytes();
        self.queue.push_back(item);
    }

    /// The next item up to a ticket.
    pub(super) fn pop_until(&mut self, ticket: Ticket) -> Option<Item> {
        self.queue.front().filter(|item| item.ticket <= ticket)?;
        let item = self.queue.pop_front()?;
        self.queued_bytes -= item.bytes();
        Some(item)
    }

    /// Drops what waits and isn't to be kept. Only for items that no connection was told, or one
    /// that is no longer there.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&Item) -> bool) {
        self.queue.retain(is_kept);
        self.queued_bytes = self.queue.iter().map(Item::bytes).sum();
    }

    /// Drops a session. What waits of it is dropped too, unless it is on its way already.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        if self.connection().is_none() {
            self.keep(|item| item.session != session);
        }
        if self.ended.len() >= REMEMBERED_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(session);
    }
}

impl Item {
    pub(super) fn event(&self) -> Event {
        let ticket = self.ticket;
        match &self.content {
            Content::Demand(payload) | Content::Message(payload) => Event::FromSession {
                ticket,
                payload: payload.clone(),
            },
            Content::Close(why) => Event::SessionClosed {
                ticket,
                session: self.session,
                why: *why,
            },
        }
    }

    pub(super) const fn is_close(&self) -> bool {
        matches!(self.content, Content::Close(_))
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Demand(payload) | Content::Message(payload) => payload.len(),
            Content::Close(_) => 0,
        }
    }
}

impl Ties {
    pub(super) fn get(&self, account: &AccountId) -> Option<&EndpointId> {
        self.by_account.get(account).map(|(_, endpoint)| endpoint)
    }

    /// Ties an account to an endpoint, and gives those that are tied no longer.
    pub(super) fn tie(
        &mut self,
        account: AccountId,
        endpoint: EndpointId,
        limit: usize,
    ) -> Vec<(AccountId, EndpointId)> {
        let mut untied = Vec::new();
        if let Some((order, old)) = self.by_account.remove(&account) {
            self.order.remove(&order);
            if old != endpoint {
                untied.push((account.clone(), old));
            }
        }
        self.next += 1;
        self.order.insert(self.next, account.clone());
        self.by_account.insert(account, (self.next, endpoint));
        while self.by_account.len() > limit {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some((_, endpoint)) = self.by_account.remove(&oldest) {
                untied.push((oldest, endpoint));
                self.pushed_out += 1;
            }
        }
        untied
    }

    pub(super) fn forget(&mut self, account: &AccountId) {
        if let Some((order, _)) = self.by_account.remove(account) {
            self.order.remove(&order);
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_account.len(), self.order.len());
        self.order.len()
    }
}

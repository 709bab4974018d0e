//! The hub's tables, in memory. They keep themselves consistent and decide nothing: the rules are in
//! [`super::core`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::rooms::Rooms;
use super::{Access, ByConnection, CallNumber, ConnectionId, EndpointId, Payload, RoomId};

/// Ids longer than this are not remembered after they left, so that the memory is bounded in bytes too.
const REMEMBERED_ID_BYTES: usize = 256;

/// The last call number that is issued: old devices read a number into 32 signed bits (cuttlefish.md A2).
pub(super) const LAST_NUMBER: u32 = i32::MAX.unsigned_abs();

/// Who is here, and who talks to whom.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Connections that hold or want something; the others are not in the table.
    connections: ByConnection<Connection>,
    endpoints: BTreeMap<EndpointId, Registration>,
    /// Callers of absent endpoints, in order of arrival. No queue is empty.
    waiting: HashMap<EndpointId, VecDeque<(ConnectionId, Access)>>,
    /// How many these are.
    waiting_calls: usize,
    /// When the holders' time to answer ends; one entry for each newcomer.
    probes: BTreeSet<(Instant, EndpointId)>,
    numbers: Numbers,
    pub(super) rooms: Rooms,
}

/// What one connection holds or wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection {
    pub(super) seat: Option<Seat>,
    pub(super) call: Option<Call>,
    /// What has been said in it.
    pub(super) talk: Talk,
}

/// What a connection has said and heard in its call or pair.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Talk {
    /// When it was opened.
    pub(super) since: Option<Instant>,
    /// Whether this connection asked for it.
    pub(super) began: bool,
    /// Messages from this connection.
    pub(super) sent: u64,
    /// Messages to it; in a pair they count as sent by the partner.
    pub(super) received: u64,
}

/// A connection's part as an endpoint.
#[derive(Debug, Clone)]
pub(super) enum Seat {
    /// It is registered.
    Holder(EndpointId),
    /// It waits for the holder of the id to fail a probe.
    Newcomer(EndpointId),
}

/// With whom a connection talks, of its own will or, in a pair, perhaps of the other's.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// It talks with the endpoint.
    Open(EndpointId, CallNumber, Access),
    /// It waits for the endpoint to register.
    Waiting(EndpointId),
    /// It is one end of a pair, and this is the other one.
    Paired(ConnectionId),
    /// It is a member of the room.
    Member(RoomId),
}

/// What [`Store::end_call`] ended, and who is to be told.
#[derive(Debug)]
pub(super) enum EndedCall {
    /// An open call: who the endpoint is, and the call's number there.
    Open(ConnectionId, CallNumber),
    /// A pair: the other end, which is in no pair any more.
    Paired(ConnectionId),
    /// A membership: the room.
    Member(RoomId),
}

/// A registered endpoint.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) connection: ConnectionId,
    pub(super) info: Option<Payload>,
    /// Whether it holds its callers to their [`Access`].
    pub(super) holds_viewers: bool,
    pub(super) since: Instant,
    pub(super) calls: BTreeMap<CallNumber, ConnectionId>,
    pub(super) newcomer: Option<Newcomer>,
    issued: Issued,
}

/// A connection that wants an id which another one holds.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) connection: ConnectionId,
    pub(super) info: Option<Payload>,
    pub(super) holds_viewers: bool,
    /// When the holder's silence means death.
    pub(super) deadline: Instant,
}

/// The numbers given to an id's callers so far: all from `first` to `last`; none if `last < first`.
#[derive(Debug, Clone, Copy)]
struct Issued {
    first: u32,
    last: u32,
}

/// The numbers of the ids that have left.
#[derive(Debug, Default)]
struct Numbers {
    /// No id that isn't remembered has had a number above this.
    floor: u32,
    left: HashMap<EndpointId, (u64, Issued)>,
    /// The same ids by when they left.
    order: BTreeMap<u64, EndpointId>,
    /// The next key in `order`.
    next: u64,
    /// How many ids were forgotten to make room for others.
    forgotten: u64,
}

impl Store {
    pub(super) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.connections.iter().map(|(id, it)| (*id, it))
    }

    /// What a connection says and hears in its call or pair.
    pub(super) fn talk(&mut self, id: ConnectionId) -> Option<&mut Talk> {
        Some(&mut self.connections.get_mut(&id)?.talk)
    }

    pub(super) fn endpoint(&self, id: &EndpointId) -> Option<&Registration> {
        self.endpoints.get(id)
    }

    pub(super) fn entry(&self, id: &EndpointId) -> Option<(&EndpointId, &Registration)> {
        self.endpoints.get_key_value(id)
    }

    pub(super) fn endpoints(&self) -> impl ExactSizeIterator<Item = (&EndpointId, &Registration)> {
        self.endpoints.iter()
    }

    pub(super) const fn waiting_calls(&self) -> usize {
        self.waiting_calls
    }

    /// How many callers wait for one endpoint.
    pub(super) fn waiting_for(&self, id: &EndpointId) -> usize {
        self.waiting.get(id).map_or(0, VecDeque::len)
    }

    /// How many ids of those who left were forgotten to make room for others.
    pub(super) const fn forgotten(&self) -> u64 {
        self.numbers.forgotten
    }

    pub(super) fn probes(&self) -> usize {
        self.probes.len()
    }

    /// The probe that ends first.
    pub(super) fn next_probe(&self) -> Option<(Instant, &EndpointId)> {
        self.probes.first().map(|(deadline, id)| (*deadline, id))
    }

    /// Gives a free id to a connection.
    pub(super) fn register(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        id: &EndpointId,
        info: Option<Payload>,
        holds_viewers: bool,
    ) {
        let issued = self.numbers.recall(id);
        let registration = Registration {
            connection,
            info,
            holds_viewers,
            since: now,
            calls: BTreeMap::new(),
            newcomer: None,
            issued,
        };
        self.endpoints.insert(id.clone(), registration);
        self.connections.entry(connection).or_default().seat = Some(Seat::Holder(id.clone()));
    }

    /// Takes an id away from its holder, and its callers' calls from them. The newcomer, if there
    /// is one, keeps its seat for [`Self::register`].
    pub(super) fn unregister(&mut self, id: &EndpointId, limit: usize) -> Option<Registration> {
        let registration = self.endpoints.remove(id)?;
        if let Some(newcomer) = &registration.newcomer {
            self.probes.remove(&(newcomer.deadline, id.clone()));
        }
        for caller in registration.calls.values() {
            self.set_call(*caller, None);
        }
        self.set_seat(registration.connection, None);
        self.numbers.remember(id, registration.issued, limit);
        Some(registration)
    }

    /// Lets a connection wait for the id of a registered endpoint. Says who holds it; `None` if
    /// nobody does, or if someone waits already.
    pub(super) fn add_newcomer(
        &mut self,
        id: &EndpointId,
        newcomer: Newcomer,
    ) -> Option<ConnectionId> {
        let registration = self.endpoints.get_mut(id)?;
        if registration.newcomer.is_some() {
            return None;
        }
        let connection = newcomer.connection;
        self.probes.insert((newcomer.deadline, id.clone()));
        registration.newcomer = Some(newcomer);
        let holder = registration.connection;
        self.connections.entry(connection).or_default().seat = Some(Seat::Newcomer(id.clone()));
        Some(holder)
    }

    pub(super) fn remove_newcomer(&mut self, id: &EndpointId) -> Option<ConnectionId> {
        let newcomer = self.endpoints.get_mut(id)?.newcomer.take()?;
        self.probes.remove(&(newcomer.deadline, id.clone()));
        self.set_seat(newcomer.connection, None);
        Some(newcomer.connection)
    }

    /// Opens a call to a registered endpoint. `None` if there is no such endpoint or no number left.
    pub(super) fn open_call(
        &mut self,
        now: Instant,
        id: &EndpointId,
        caller: ConnectionId,
        access: Access,
    ) -> Option<CallNumber> {
        let registration = self.endpoints.get_mut(id)?;
        if registration.issued.last >= LAST_NUMBER {
            return None;
        }
        registration.issued.last += 1;
        let number = CallNumber(registration.issued.last);
        registration.calls.insert(number, caller);
        let connection = self.connections.entry(caller).or_default();
        connection.call = Some(Call::Open(id.clone(), number, access));
        connection.talk = Talk::new(now, true);
        Some(number)
    }

    pub(super) fn wait(&mut self, id: &EndpointId, caller: ConnectionId, access: Access) {
        self.waiting_calls += 1;
        self.waiting
            .entry(id.clone())
            .or_default()
            .push_back((caller, access));
        self.connections.entry(caller).or_default().call = Some(Call::Waiting(id.clone()));
    }

    /// Everyone who waits for an endpoint, in order of arrival; they wait no longer.
    pub(super) fn take_waiting(&mut self, id: &EndpointId) -> VecDeque<(ConnectionId, Access)> {
        let callers = self.waiting.remove(id).unwrap_or_default();
        self.waiting_calls -= callers.len();
        for (caller, _) in &callers {
            self.set_call(*caller, None);
        }
        callers
    }

    /// Makes a pair of two registered connections, or of one with itself.
    pub(super) fn pair(&mut self, now: Instant, one: ConnectionId, other: ConnectionId) {
        for (who, partner, began) in [(other, one, false), (one, other, true)] {
            self.set_call(who, Some(Call::Paired(partner)));
            if let Some(talk) = self.talk(who) {
                *talk = Talk::new(now, began);
            }
        }
    }

    /// Ends an open call. Who the endpoint is, and the call's number there.
    pub(super) fn hang_up(&mut self, caller: ConnectionId) -> Option<(ConnectionId, CallNumber)> {
        match self.end_call(caller)? {
            EndedCall::Open(endpoint, number) => Some((endpoint, number)),
            EndedCall::Paired(_) | EndedCall::Member(_) => None,
        }
    }

    /// Makes a registered connection a member of a room.
    pub(super) fn join(&mut self, room: &RoomId, id: EndpointId, member: ConnectionId) {
        self.rooms.add(room, id, member);
        self.set_call(member, Some(Call::Member(room.clone())));
    }

    /// Ends whatever call, pair or membership a connection has. A member's place in the room's own
    /// list isn't touched.
    pub(super) fn end_call(&mut self, who: ConnectionId) -> Option<EndedCall> {
        let call = self.connections.get_mut(&who)?.call.take()?;
        self.set_call(who, None);
        match call {
            Call::Open(id, number, _) => {
                let registration = self.endpoints.get_mut(&id)?;
                registration.calls.remove(&number)?;
                Some(EndedCall::Open(registration.connection, number))
            }
            Call::Waiting(id) => {
                if let Some(queue) = self.waiting.get_mut(&id) {
                    queue.retain(|(waiting, _)| *waiting != who);
                    self.waiting_calls -= 1;
                    if queue.is_empty() {
                        self.waiting.remove(&id);
                    }
                }
                None
            }
            Call::Paired(partner) => {
                self.set_call(partner, None);
                Some(EndedCall::Paired(partner))
            }
            Call::Member(room) => Some(EndedCall::Member(room)),
        }
    }

    /// How many pairs there are.
    pub(super) fn pairs(&self) -> usize {
        let is_first = |(id, it): &(&ConnectionId, &Connection)| matches!(it.call, Some(Call::Paired(other)) if **id <= other);
        self.connections.iter().filter(is_first).count()
    }

    fn set_seat(&mut self, id: ConnectionId, seat: Option<Seat>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.seat = seat;
            self.drop_idle(id);
        }
    }

    fn set_call(&mut self, id: ConnectionId, call: Option<Call>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.call = call;
            self.drop_idle(id);
        }
    }

    fn drop_idle(&mut self, id: ConnectionId) {
        if let Some(Connection {
            seat: None,
            call: None,
            ..
        }) = self.connections.get(&id)
        {
            self.connections.remove(&id);
        }
    }
}

impl Talk {
    const fn new(now: Instant, began: bool) -> Self {
        Self {
            since: Some(now),
            began,
            sent: 0,
            received: 0,
        }
    }
}

impl Registration {
    /// Whether a caller of this id has, or had, the number.
    pub(super) fn issued(&self, number: CallNumber) -> bool {
        (self.issued.first..=self.issued.last).contains(&number.0)
    }
}

impl Numbers {
    /// Where the numbers of an id go on.
    fn recall(&mut self, id: &EndpointId) -> Issued {
        match self.left.remove(id) {
            Some((order, issued)) => {
                self.order.remove(&order);
                issued
            }
            None => Issued {
                first: self.floor + 1,
                last: self.floor,
            },
        }
    }

    /// Keeps the numbers of an id that leaves. When `limit` ids are kept, the one that left longest
    /// ago is forgotten, and the floor rises to its last number: should it come back, it starts
    /// above the floor, so that a number is still never reused.
    fn remember(&mut self, id: &EndpointId, issued: Issued, limit: usize) {
        if issued.last < issued.first {
            return;
        }
        if id.as_str().len() > REMEMBERED_ID_BYTES {
            self.floor = self.floor.max(issued.last);
            return;
        }
        self.left.insert(id.clone(), (self.next, issued));
        self.order.insert(self.next, id.clone());
        self.next += 1;
        while self.left.len() > limit {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some((_, forgotten)) = self.left.remove(&oldest) {
                self.floor = self.floor.max(forgotten.last);
                self.forgotten += 1;
            }
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Store {
    /// How many entries there are, beside the bounded memory of numbers.
    pub(super) fn entries(&self) -> usize {
        self.connections.len()
            + self.endpoints.len()
            + self.waiting.len()
            + self.probes.len()
            + self.rooms.len()
    }

    /// How many ids are remembered.
    pub(super) fn remembered(&self) -> usize {
        assert_eq!(self.numbers.left.len(), self.numbers.order.len());
        self.numbers.left.len()
    }

    /// Pretends that an endpoint has had callers up to this number.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, id: &EndpointId, last: u32) {
        if let Some(registration) = self.endpoints.get_mut(id) {
            registration.issued.last = last;
        }
    }
}

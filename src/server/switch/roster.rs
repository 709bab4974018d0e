//! What operators see of connections and calls, and do to them.
//!
//! A long list is read in two steps, so that others wait as little as possible: which entries there
//! are, and then those of one page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Inbox, Member, State, Switch};
use crate::dialect::Dialect;
use crate::hub::{
    self, CallId, Command, ConnectionId, EndpointId, MemberView, MuteChange, Muted, Namespace,
    OpenCall, Payload, Place, RoomId,
};
use crate::server::admin::Reason;
use crate::server::auth::Pass;
use crate::server::outbox::Ended;
use crate::server::traffic::Usage;

/// A registered endpoint, as the HTTP interfaces show it.
#[derive(Debug, Clone)]
pub(in crate::server) struct EndpointView {
    pub(in crate::server) member: Member,
    pub(in crate::server) connection: ConnectionId,
    pub(in crate::server) id: EndpointId,
    pub(in crate::server) info: Option<Payload>,
    pub(in crate::server) calls: usize,
    pub(in crate::server) capacity: Option<usize>,
    pub(in crate::server) registered_for: Duration,
    pub(in crate::server) place: Place,
}

/// A room, as the HTTP interfaces show it.
#[derive(Debug, Clone)]
pub(in crate::server) struct RoomView {
    pub(in crate::server) id: RoomId,
    pub(in crate::server) members: Vec<EndpointId>,
}

/// A connection.
pub(in crate::server) struct ConnectionView {
    pub(in crate::server) id: ConnectionId,
    pub(in crate::server) member: Member,
    pub(in crate::server) pass: Option<Arc<Pass>>,
    /// As what it is registered.
    pub(in crate::server) endpoint: Option<EndpointId>,
    pub(in crate::server) since: Instant,
    inbox: Arc<dyn Inbox>,
}

/// A call, and its caller's token.
pub(in crate::server) struct CallView {
    pub(in crate::server) call: OpenCall,
    pub(in crate::server) pass: Option<Arc<Pass>>,
}

impl ConnectionView {
    /// What it has sent and been sent until now.
    pub(in crate::server) fn usage(&self) -> Usage {
        self.inbox.usage()
    }
}

impl Switch {
    /// Every registered endpoint and every room, in order of namespace and id.
    pub(in crate::server) fn everything(&self) -> (Vec<EndpointView>, Vec<RoomView>) {
        let state = self.lock();
        let endpoints = state.hub.endpoints();
        let rooms = state.hub.rooms().map(|room| RoomView {
            id: room.id.clone(),
            members: room.members().cloned().collect(),
        });
        let endpoints = endpoints.filter_map(|found| state.view(found));
        (endpoints.collect(), rooms.collect())
    }

    /// The registered endpoints of a namespace, in order of id.
    pub(in crate::server) fn endpoints_in(&self, space: Namespace) -> Vec<EndpointView> {
        let state = self.lock();
        let endpoints = state.hub.endpoints_in(space);
        endpoints.filter_map(|found| state.view(found)).collect()
    }

    /// One registered endpoint.
    pub(in crate::server) fn endpoint(&self, id: &EndpointId) -> Option<EndpointView> {
        let state = self.lock();
        state.hub.endpoint(id).and_then(|found| state.view(found))
    }

    /// Every room whose media this server forwards, with its participants, in order of name.
    pub(in crate::server) fn forwarding_rooms(&self) -> Vec<(Arc<str>, Vec<MemberView>)> {
        let state = self.lock();
        let rooms = state.hub.forwarding_rooms();
        rooms
            .map(|(name, members)| (Arc::clone(name), members))
            .collect()
    }

    /// The participants of one of them.
    pub(in crate::server) fn forwarding_room(&self, room: &str) -> Option<Vec<MemberView>> {
        self.lock().hub.forwarding_room(room)
    }

    /// The numbers of the connections that are wanted, by dialect and registration; in no order.
    pub(in crate::server) fn connection_ids(
        &self,
        is_wanted: impl Fn(Dialect, Option<&EndpointId>) -> bool,
    ) -> Vec<u64> {
        let state = self.lock();
        let seats = state.seats.iter().filter(|(id, seat)| {
            let endpoint = state.hub.registered_as(**id);
            is_wanted(seat.member.dialect, endpoint)
        });
        seats.map(|(id, _)| id.0).collect()
    }

    /// These connections, but for those that are gone meanwhile.
    pub(in crate::server) fn connections(&self, ids: &[u64]) -> Vec<ConnectionView> {
        let state = self.lock();
        let view = |id: &u64| {
            let id = ConnectionId(*id);
            let seat = state.seats.get(&id)?;
            Some(ConnectionView {
                id,
                member: seat.member,
                pass: seat.pass.clone(),
                endpoint: state.hub.registered_as(id).cloned(),
                since: seat.since,
                inbox: Arc::clone(&seat.inbox),
            })
        };
        ids.iter().filter_map(view).collect()
    }

    /// How many connections there are.
    pub(in crate::server) fn connection_count(&self) -> usize {
        self.lock().seats.len()
    }

    /// The names of all calls, pairs and sessions, in no order.
    pub(in crate::server) fn call_ids(&self) -> Vec<CallId> {
        self.lock().hub.call_ids().collect()
    }

    /// These calls, but for those that are over meanwhile.
    pub(in crate::server) fn calls(&self, ids: &[CallId]) -> Vec<CallView> {
        let state = self.lock();
        let view = |id: &CallId| {
            let call = state.hub.open_call(*id)?;
            let seat = state.seats.get(&call.caller);
            let pass = seat.and_then(|seat| seat.pass.clone());
            Some(CallView { call, pass })
        };
        ids.iter().filter_map(view).collect()
    }

    /// Ends a call; each side hears what it would if the other one had gone. False if there is no
    /// such one.
    pub(in crate::server) fn end_call(&self, id: CallId) -> bool {
        self.change(|now, state, outputs| state.hub.end_call(now, id, outputs))
    }

    /// Ends a connection: at once for everyone else, and for itself with a reason, after what it was
    /// told before. Who takes part in a forwarded room isn't awaited back. False if there is no such
    /// connection.
    pub(in crate::server) fn kick(&self, who: ConnectionId, reason: Reason) -> bool {
        self.put_out(&mut self.lock(), who, Ended::Kicked(reason))
    }

    /// The same, for whatever reason.
    pub(super) fn put_out(&self, state: &mut State, who: ConnectionId, why: Ended) -> bool {
        let Some(inbox) = state.seats.get(&who).map(|seat| Arc::clone(&seat.inbox)) else {
            return false;
        };
        let now = Instant::now();
        let mut outputs = std::mem::take(&mut state.outputs);
        state.hub.dismiss(who, &mut outputs);
        self.deliver(now, state, outputs, true);
        inbox.end(why);
        let mut outputs = std::mem::take(&mut state.outputs);
        state.obey(now, who, Command::Leave, &mut outputs);
        self.deliver(now, state, outputs, true);
        true
    }

    /// Keeps what a participant publishes from the others, or no longer. How that is now; `None` if
    /// there is no such one.
    pub(in crate::server) fn mute(
        &self,
        room: &str,
        user: &str,
        change: MuteChange,
    ) -> Option<Muted> {
        self.change(|_, state, _| state.hub.mute(room, user, change))
    }
}

impl State {
    fn view(&self, endpoint: hub::Endpoint<'_>) -> Option<EndpointView> {
        Some(EndpointView {
            member: self.seats.get(&endpoint.connection)?.member,
            connection: endpoint.connection,
            id: endpoint.id.clone(),
            info: endpoint.info.cloned(),
            calls: endpoint.calls,
            capacity: endpoint.capacity,
            registered_for: endpoint.since.elapsed(),
            place: endpoint.place,
        })
    }
}

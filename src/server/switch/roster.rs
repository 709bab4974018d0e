//! What operators see of connections and calls, and do to them.
//!
//! A long list is read in two steps, so that others wait as little as possible: which entries there
//! are, and then those of one page.

use std::sync::Arc;
use std::time::Instant;

use super::{Inbox, Member, Switch};
use crate::dialect::Dialect;
use crate::hub::{CallId, Command, ConnectionId, EndpointId, MuteChange, Muted, OpenCall};
use crate::server::admin::Reason;
use crate::server::auth::Pass;
use crate::server::outbox::Ended;
use crate::server::traffic::Usage;

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
        let mut state = self.lock();
        let Some(inbox) = state.seats.get(&who).map(|seat| Arc::clone(&seat.inbox)) else {
            return false;
        };
        let now = Instant::now();
        let mut outputs = std::mem::take(&mut state.outputs);
        state.hub.dismiss(who, &mut outputs);
        self.deliver(now, &mut state, outputs, true);
        inbox.end(Ended::Kicked(reason));
        let mut outputs = std::mem::take(&mut state.outputs);
        state.obey(now, who, Command::Leave, &mut outputs);
        self.deliver(now, &mut state, outputs, true);
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

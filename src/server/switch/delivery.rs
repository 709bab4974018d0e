//! What follows from commands goes to whom it is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{State, Switch};
use crate::hub::{
    Caller, Command, ConnectionId, Event, MediaCommand, MediaEvent, MediaOwner, MediaRefusal,
    Output,
};
use crate::server::metrics::Receiver;
use crate::server::outbox::{Ended, Overflow, bytes_of};

/// How long the media plane is left alone that couldn't be told that something is over.
const RETRY: Duration = Duration::from_millis(100);

impl Switch {
    /// Delivers until nothing follows. A full inbox costs its owner or who filled it the seat, and
    /// its partners hear of it at once.
    pub(super) fn deliver(
        &self,
        now: Instant,
        state: &mut State,
        mut outputs: Vec<Output>,
        mut changed: bool,
    ) {
        let mut following = Vec::new();
        loop {
            self.instruct(now, state, &mut outputs);
            if outputs.is_empty() {
                break;
            }
            for Output { to, event } in outputs.drain(..) {
                changed |= !event.is_message();
                self.observe(state, to, &event);
                let Some(seat) = state.seats.get_mut(&to) else {
                    continue;
                };
                if let Some((phase, took)) = seat.beginning.hears(now, &event) {
                    self.metrics.set_up(seat.member.dialect, phase, took);
                }
                if let Err(overflow) = seat.inbox.push(event) {
                    self.make_room(now, state, to, overflow, &mut following);
                    changed = true;
                }
            }
            std::mem::swap(&mut outputs, &mut following);
        }
        state.outputs = outputs;
        // A message may start a timer, too: a gecko's answer does.
        let retry = (!state.overdue.is_empty()).then(|| now + RETRY);
        let deadline = state.hub.next_timeout().into_iter().chain(retry).min();
        if deadline != state.deadline {
            state.deadline = deadline;
            self.deadline.send_replace(deadline);
        }
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Delivers what didn't fit an endpoint's inbox that is mostly full of one caller's messages, if
    /// others talk with that endpoint, too: that caller goes, and its messages with it. Otherwise the
    /// owner of the inbox goes, who is too slow.
    fn make_room(
        &self,
        now: Instant,
        state: &mut State,
        to: ConnectionId,
        mut overflow: Overflow,
        following: &mut Vec<Output>,
    ) {
        // Each round takes what waits of a call.
        while let Some(seat) = state.seats.get(&to) {
            let Overflow { event, mostly } = overflow;
            let of = mostly.and_then(|call| Some((call, state.hub.one_of_several(to, call)?)));
            let Some((call, caller)) = of else {
                self.metrics.queue_overflows.inc();
                seat.inbox.end(Ended::Overflowed);
                seat.span(to)
                    .in_scope(|| warn!("takes its messages too slowly; closed"));
                return state.obey(now, to, Command::Leave, following);
            };
            let inbox = Arc::clone(&seat.inbox);
            inbox.forget(call);
            if let Caller::Here(caller) = caller
                && let Some(seat) = state.seats.get(&caller)
            {
                self.metrics.flooding_callers.inc();
                seat.inbox.end(Ended::Flooded);
                seat.span(caller)
                    .in_scope(|| warn!("sends its endpoint more than that takes; closed"));
                state.obey(now, caller, Command::Leave, following);
            }
            if matches!(&*event, Event::FromCaller { call: of, .. } if *of == call) {
                return;
            }
            match inbox.push(*event) {
                Ok(()) => return,
                Err(again) => overflow = again,
            }
        }
    }

    /// Tells the media plane what follows. What it can't take is refused; an end is told later.
    fn instruct(&self, now: Instant, state: &mut State, outputs: &mut Vec<Output>) {
        while let Some(over) = state.overdue.pop_front() {
            if self.media.pass(over.clone()).is_err() {
                state.overdue.push_front(over);
                break;
            }
        }
        let commands = state.hub.take_media_commands();
        for command in commands {
            let end = match &command {
                MediaCommand::Publish { end, .. } | MediaCommand::Receive { end, .. } => Ok(*end),
                MediaCommand::Remove { .. } | MediaCommand::CloseRoom(_) => Err(command.clone()),
                MediaCommand::Mute { end, .. } => {
                    // What was said of it before doesn't count any more.
                    let of_it = |it: &MediaCommand| matches!(it, MediaCommand::Mute { end: of, .. } if of == end);
                    state.overdue.retain(|it| !of_it(it));
                    Err(command.clone())
                }
            };
            if let Ok(end) = end
                && let Some(MediaOwner { room, user, of }) = state.hub.media_owner(end)
            {
                debug!(
                    media = end.0,
                    room = &*room,
                    user = &*user,
                    of = of.as_deref(),
                    "media is offered"
                );
            }
            let Err(busy) = self.media.pass(command) else {
                continue;
            };
            match end {
                Ok(end) => {
                    let why = MediaRefusal::Full(busy.to_string().into());
                    let refused = MediaEvent::Refused { end, why };
                    state.hub.handle_media(now, refused, outputs);
                }
                Err(over) => state.overdue.push_back(over),
            }
        }
    }

    fn observe(&self, state: &mut State, to: ConnectionId, event: &Event) {
        match event {
            Event::FromCaller { .. } => self.metrics.relayed(Receiver::Endpoint, bytes_of(event)),
            Event::FromEndpoint { .. } => self.metrics.relayed(Receiver::Caller, bytes_of(event)),
            Event::FromPartner { .. } => self.metrics.relayed(Receiver::Partner, bytes_of(event)),
            Event::FromMember { .. } => self.metrics.relayed(Receiver::Member, bytes_of(event)),
            Event::FromSession { .. } => self.metrics.relayed(Receiver::Gecko, bytes_of(event)),
            Event::SessionSaid { .. } => {
                self.metrics.relayed(Receiver::GeckoClient, bytes_of(event));
            }
            _ => state.log(to, event),
        }
    }
}

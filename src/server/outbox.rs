//! What waits to be sent to one WebSocket: bounded, and never in the sender's way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::admin::Reason;
use super::traffic::{Traffic, Usage};
use crate::hub::{CallNumber, Event};

/// What a message takes beside its bytes, about: its place in the queue, and its part of what the
/// frame that it came in takes for itself.
const EACH: usize = 128;

/// The queue between the switch, which pushes, and one connection's task, which takes.
///
/// The bounds are [`Limits::queue_messages`](crate::config::Limits::queue_messages) and
/// [`Limits::queue_bytes`](crate::config::Limits::queue_bytes). One event more isn't taken: the switch
/// makes room by [`Self::forget`], or ends the queue; then what waits is dropped, and the task learns
/// why.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    max: Load,
    /// What went through the connection; counted by its task.
    pub(super) traffic: Traffic,
}

/// Why an [`Outbox`] gives no more events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The connection took its events too slowly.
    Overflowed,
    /// The connection sent more than the other side takes, which others talk with, too.
    Flooded,
    /// The server is shutting down.
    ShuttingDown,
    /// The connection's token has expired.
    TokenExpired,
    /// The connection's token was revoked.
    TokenRevoked,
    /// The operator closes it, after what waits.
    Kicked(Reason),
}

/// An event didn't fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow {
    pub(super) event: Box<Event>,
    /// The call that more than half of what waits is from, by the measure that is full.
    pub(super) mostly: Option<CallNumber>,
}

/// How much waits somewhere, or may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    load: Load,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

impl Outbox {
    pub(super) fn new(max: Load) -> Self {
        Self {
            queue: Mutex::default(),
            max,
            traffic: Traffic::default(),
        }
    }

    /// Adds an event, or gives it back if there is no room.
    pub(super) fn push(&self, event: Event) -> Result<(), Overflow> {
        let mut queue = self.lock();
        if queue.ended.is_some() {
            return Ok(());
        }
        if !queue.load.has_room_in(self.max) {
            return Err(Overflow {
                event: Box::new(event),
                mostly: queue.mostly(self.max),
            });
        }
        queue.load.add(bytes_of(&event));
        queue.events.push_back(event);
        queue.wake();
        Ok(())
    }

    /// Drops what waits of a call.
    pub(super) fn forget(&self, call: CallNumber) {
        let mut queue = self.lock();
        queue.events.retain(|event| call_of(event) != Some(call));
        queue.load = Load::default();
        let Queue { events, load, .. } = &mut *queue;
        events.iter().for_each(|event| load.add(bytes_of(event)));
    }

    /// What went through the connection, and what waits for it.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            traffic: self.traffic.counted(),
            queued: self.lock().load,
        }
    }

    /// Ends the queue. Events that wait are dropped, but for [`Ended::Kicked`].
    pub(super) fn end(&self, why: Ended) {
        self.lock().end(why);
    }

    /// Moves everything that waits into `into`, which must be empty, or waits for something.
    pub(super) fn poll_take(
        &self,
        cx: &Context<'_>,
        into: &mut VecDeque<Event>,
    ) -> Poll<Result<(), Ended>> {
        let mut queue = self.lock();
        if queue.events.is_empty() {
            if let Some(ended) = &queue.ended {
                return Poll::Ready(Err(ended.clone()));
            }
            queue.wait(cx);
            return Poll::Pending;
        }
        // With its memory: an empty queue takes none.
        *into = std::mem::take(&mut queue.events);
        queue.load = Load::default();
        Poll::Ready(Ok(()))
    }

    /// Waits for the end, and takes nothing.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<Ended> {
        let mut queue = self.lock();
        match &queue.ended {
            Some(ended) => Poll::Ready(ended.clone()),
            None => {
                queue.wait(cx);
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Whether one more message may be added. Its size doesn't matter, so that one message of any
    /// size fits an empty queue; memory is bounded by `max` and one message.
    pub(super) const fn has_room_in(self, max: Self) -> bool {
        self.messages < max.messages && self.memory() <= max.bytes
    }

    const fn memory(self) -> usize {
        self.bytes + self.messages * EACH
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

impl Queue {
    /// The call that more than half of what waits is from, by the measure that is full. Looks
    /// through all of it.
    fn mostly(&self, max: Load) -> Option<CallNumber> {
        let mut of_calls: HashMap<CallNumber, Load> = HashMap::new();
        for event in &self.events {
            if let Some(call) = call_of(event) {
                of_calls.entry(call).or_default().add(bytes_of(event));
            }
        }
        let is_most = |share: &Load| {
            let by_messages = self.load.messages >= max.messages;
            let by_bytes = self.load.memory() > max.bytes;
            by_messages && share.messages > self.load.messages / 2
                || by_bytes && share.memory() > self.load.memory() / 2
        };
        let most = of_calls.into_iter().find(|(_, share)| is_most(share));
        most.map(|(call, _)| call)
    }

    fn end(&mut self, why: Ended) {
        if self.ended.is_none() {
            if !matches!(why, Ended::Kicked(_)) {
                self.events = VecDeque::new();
            }
            self.ended = Some(why);
            self.wake();
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The call that an event is a message of.
fn call_of(event: &Event) -> Option<CallNumber> {
    match event {
        Event::FromCaller { call, .. } => Some(*call),
        _ => None,
    }
}

/// How many bytes of others' frames and ids an event carries.
pub(super) fn bytes_of(event: &Event) -> usize {
    match event {
        Event::FromCaller { payload, .. }
        | Event::FromEndpoint { payload }
        | Event::FromPartner { payload }
        | Event::FromMember { payload, .. }
        | Event::FromSession { payload, .. }
        | Event::SessionSaid { payload, .. }
        | Event::NoPartner { frame: payload, .. } => payload.len(),
        Event::Conference(told) => told.bytes(),
        Event::CallOpened { info, .. } => info.as_ref().map_or(0, crate::hub::Payload::len),
        Event::Joined { members } | Event::Members(members) => {
            members.iter().map(|id| id.as_str().len()).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Access, Payload};

    fn message(bytes: usize) -> Event {
        Event::FromEndpoint {
            payload: Payload::from("x".repeat(bytes)),
        }
    }

    fn of_call(call: u32, bytes: usize) -> Event {
        Event::FromCaller {
            call: CallNumber(call),
            access: Access::Control,
            payload: Payload::from("x".repeat(bytes)),
        }
    }

    /// Whose most of a queue of so much is, in which this waits, when one more comes; then without it.
    fn mostly(messages: usize, bytes: usize, waiting: &[(u32, usize)]) -> Option<u32> {
        let outbox = Outbox::new(Load { messages, bytes });
        for (call, bytes) in waiting {
            assert_eq!(outbox.push(of_call(*call, *bytes)), Ok(()));
        }
        let Overflow { event, mostly } = outbox.push(message(1)).unwrap_err();
        let call = mostly?;
        outbox.forget(call);
        assert_eq!(outbox.push(*event), Ok(()), "there is room now");
        let left = waiting.iter().filter(|(of, _)| *of != call.0);
        let (messages, bytes) = left.fold((1, 1), |(n, sum), (_, bytes)| (n + 1, sum + bytes));
        assert_eq!(outbox.usage().queued, Load { messages, bytes });
        assert_eq!(take(&outbox), Poll::Ready(Ok(messages)));
        Some(call.0)
    }

    fn take(outbox: &Outbox) -> Poll<Result<usize, Ended>> {
        let mut events = VecDeque::new();
        let poll = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut events);
        poll.map_ok(|()| events.len())
    }

    #[test]
    fn gives_all_that_waits_at_once() {
        let outbox = Outbox::new(Load {
            messages: 3,
            bytes: 1_000,
        });
        assert_eq!(take(&outbox), Poll::Pending);
        for _ in 0..3 {
            assert_eq!(outbox.push(message(1)), Ok(()));
        }
        assert_eq!(take(&outbox), Poll::Ready(Ok(3)));
        assert_eq!(take(&outbox), Poll::Pending);
    }

    #[test]
    fn one_message_too_many_ends_it() {
        let outbox = Outbox::new(Load {
            messages: 2,
            bytes: 1_000,
        });
        assert_eq!(outbox.push(message(1)), Ok(()));
        assert_eq!(outbox.push(message(1)), Ok(()));
        let overflow = Overflow {
            event: Box::new(message(7)),
            mostly: None,
        };
        assert_eq!(outbox.push(message(7)), Err(overflow));
        outbox.end(Ended::Overflowed);
        assert_eq!(take(&outbox), Poll::Ready(Err(Ended::Overflowed)));
    }

    #[test]
    fn who_has_more_than_half_of_the_messages_is_known_and_forgotten() {
        assert_eq!(mostly(3, 9_999, &[(1, 1), (2, 50), (1, 1)]), Some(1));
        assert_eq!(mostly(4, 9_999, &[(1, 1), (2, 1), (2, 1), (1, 1)]), None);
        assert_eq!(mostly(3, 9_999, &[(1, 1), (2, 1), (3, 1)]), None);
        assert_eq!(mostly(1, 9_999, &[(7, 1)]), Some(7));
    }

    #[test]
    fn who_has_more_than_half_of_the_bytes_is_known_and_forgotten() {
        assert_eq!(
            mostly(9, 10_000, &[(1, 1_000), (1, 1_000), (2, 9_000)]),
            Some(2)
        );
        assert_eq!(mostly(9, 10_000, &[(1, 6_000), (2, 6_000)]), None);
        // One message of any size.
        assert_eq!(mostly(9, 10_000, &[(1, 9_000), (2, 1_000_000)]), Some(2));
        // Both measures are full.
        assert_eq!(
            mostly(3, 10_000, &[(1, 1_000), (2, 5_000), (3, 5_000)]),
            None
        );
    }

    #[test]
    fn too_many_bytes_end_it_but_one_message_of_any_size_fits() {
        let outbox = Outbox::new(Load {
            messages: 9,
            bytes: 10,
        });
        assert_eq!(outbox.push(message(1_000)), Ok(()));
        assert_eq!(take(&outbox), Poll::Ready(Ok(1)));
        assert_eq!(outbox.push(message(1_000)), Ok(()));
        assert!(outbox.push(message(1)).is_err());
        outbox.end(Ended::Overflowed);
        assert_eq!(
            outbox.poll_ended(&Context::from_waker(Waker::noop())),
            Poll::Ready(Ended::Overflowed)
        );
    }

    #[test]
    fn small_messages_count_by_what_they_take() {
        assert!(size_of::<Event>() < EACH);
        let outbox = Outbox::new(Load {
            messages: 9_999,
            bytes: 10 * EACH,
        });
        for _ in 0..=10 {
            assert_eq!(outbox.push(Event::CallWaiting), Ok(()));
        }
        assert!(outbox.push(Event::CallWaiting).is_err());
    }

    #[test]
    fn shutdown_drops_what_waits() {
        let outbox = Outbox::new(Load {
            messages: 9,
            bytes: 10,
        });
        assert_eq!(outbox.push(message(1)), Ok(()));
        outbox.end(Ended::ShuttingDown);
        assert_eq!(outbox.push(message(1)), Ok(()));
        assert_eq!(take(&outbox), Poll::Ready(Err(Ended::ShuttingDown)));
    }
}

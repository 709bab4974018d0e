//! The hub's rules, one by one; [`schedule`] and [`mesh_schedule`] let them meet in any order.

mod calls;
mod conference;
mod conference_schedule;
mod mesh;
mod mesh_schedule;
mod pool;
mod pool_schedule;
mod schedule;

use std::time::{Duration, Instant};

use super::*;

const LIMITS: Limits = Limits {
    endpoints: 4,
    calls_per_endpoint: 3,
    waiting_calls: 2,
    waiting_calls_per_endpoint: 2,
    remembered_endpoints: 2,
    rooms: 2,
    members_per_room: 3,
    just_left: Duration::from_secs(5),
    probe: Duration::from_secs(2),
    pool: PoolLimits {
        sessions_per_endpoint: 3,
        queue_messages: 6,
        queue_bytes: 1_000,
        candidates: 40,
        accounts: 3,
        grace: Duration::from_secs(30),
        answer: Duration::from_secs(30),
        connect: Duration::from_secs(20),
    },
    conference: ConferenceLimits {
        visitors: 6,
        rooms: 2,
        participants_per_room: 3,
        publishers_per_room: 2,
        resume: Duration::from_secs(10),
        answer: Duration::from_secs(10),
        farewell: Duration::from_secs(5),
    },
};

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);
const D: ConnectionId = ConnectionId(4);

/// A hub and its clock.
struct Town {
    hub: Hub,
    now: Instant,
}

impl Town {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        Self {
            hub: Hub::new(limits),
            now: Instant::now(),
        }
    }

    /// A town in which A is registered as `x`.
    fn with_endpoint() -> Self {
        let mut town = Self::new();
        assert_eq!(town.register(A, "x"), [(A, Event::Registered)]);
        town
    }

    fn says(&mut self, from: ConnectionId, command: Command) -> Vec<(ConnectionId, Event)> {
        let mut out = Vec::new();
        self.hub.handle(self.now, from, command, &mut out);
        out.into_iter()
            .map(|output| (output.to, output.event))
            .collect()
    }

    fn register(&mut self, from: ConnectionId, id: &str) -> Vec<(ConnectionId, Event)> {
        let info = Some(Payload::from(format!("info of {}", from.0)));
        self.says(
            from,
            Command::Register {
                id: endpoint(id),
                info,
                holds_viewers: true,
            },
        )
    }

    fn call(&mut self, from: ConnectionId, id: &str) -> Vec<(ConnectionId, Event)> {
        self.says(
            from,
            Command::Call {
                endpoint: endpoint(id),
                when_absent: WhenAbsent::Refuse,
                access: Access::Control,
            },
        )
    }

    fn wait_for(&mut self, from: ConnectionId, id: &str) -> Vec<(ConnectionId, Event)> {
        self.says(
            from,
            Command::Call {
                endpoint: endpoint(id),
                when_absent: WhenAbsent::Wait,
                access: Access::Control,
            },
        )
    }

    fn leave(&mut self, from: ConnectionId) -> Vec<(ConnectionId, Event)> {
        self.says(from, Command::Leave)
    }

    fn tell_caller(&mut self, from: ConnectionId, call: u32) -> Vec<(ConnectionId, Event)> {
        self.says(
            from,
            Command::ToCaller {
                call: CallNumber(call),
                payload: Payload::from("hello"),
            },
        )
    }

    fn tell_endpoint(&mut self, from: ConnectionId) -> Vec<(ConnectionId, Event)> {
        self.says(
            from,
            Command::ToEndpoint {
                payload: Payload::from("hello"),
            },
        )
    }

    fn pass(&mut self, time: Duration) -> Vec<(ConnectionId, Event)> {
        self.now += time;
        let mut out = Vec::new();
        self.hub.handle_timeout(self.now, &mut out);
        out.into_iter()
            .map(|output| (output.to, output.event))
            .collect()
    }

    fn assert_empty(&self) {
        assert_eq!(self.hub.counts(), Counts::default());
        assert_eq!(self.hub.entries(), 0);
        assert_eq!(self.hub.next_timeout(), None);
    }
}

fn endpoint(id: &str) -> EndpointId {
    EndpointId::new(Namespace::Device, id).unwrap()
}

fn opened(caller: ConnectionId, call: u32, of: ConnectionId) -> (ConnectionId, Event) {
    let info = Some(Payload::from(format!("info of {}", of.0)));
    (
        caller,
        Event::CallOpened {
            call: CallNumber(call),
            info,
        },
    )
}

fn caller_left(endpoint: ConnectionId, call: u32) -> (ConnectionId, Event) {
    (
        endpoint,
        Event::CallerLeft {
            call: CallNumber(call),
        },
    )
}

fn undelivered(endpoint: ConnectionId, call: u32, why: Undelivered) -> (ConnectionId, Event) {
    (
        endpoint,
        Event::NotDelivered {
            call: CallNumber(call),
            why,
        },
    )
}

fn taken(newcomer: ConnectionId, id: &str) -> (ConnectionId, Event) {
    (
        newcomer,
        Event::RegistrationRefused(RegistrationError::Taken(endpoint(id))),
    )
}

#[test]
fn messages_pass_both_ways_in_an_open_call() {
    let mut town = Town::with_endpoint();
    assert_eq!(town.call(B, "x"), [opened(B, 1, A)]);
    assert_eq!(town.call(C, "x"), [opened(C, 2, A)]);
    let payload = Payload::from("hello");
    assert_eq!(
        town.tell_endpoint(C),
        [(
            A,
            Event::FromCaller {
                call: CallNumber(2),
                access: Access::Control,
                payload: payload.clone()
            }
        )]
    );
    assert_eq!(
        town.tell_caller(A, 1),
        [(B, Event::FromEndpoint { payload })]
    );
}

#[test]
fn callers_are_told_once_that_the_endpoint_left() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    town.call(C, "x");
    assert_eq!(
        town.leave(A),
        [(B, Event::EndpointLeft), (C, Event::EndpointLeft)]
    );
    assert_eq!(town.tell_endpoint(B), []);
    assert_eq!(town.leave(B), []);
    assert_eq!(town.leave(A), []);
    town.assert_empty();
}

#[test]
fn endpoint_is_told_once_that_a_caller_left_even_a_silent_one() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    assert_eq!(town.leave(B), [caller_left(A, 1)]);
    assert_eq!(town.leave(B), []);
    assert_eq!(
        town.tell_caller(A, 1),
        [undelivered(A, 1, Undelivered::CallerLeft)]
    );
}

#[test]
fn numbers_that_were_never_given_are_told_from_those_that_left() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    for never in [0, 2, u32::MAX] {
        assert_eq!(
            town.tell_caller(A, never),
            [undelivered(A, never, Undelivered::NoSuchCall)]
        );
    }
    assert_eq!(
        town.tell_caller(B, 1),
        [undelivered(B, 1, Undelivered::NoSuchCall)]
    );
    assert_eq!(
        town.tell_caller(D, 1),
        [undelivered(D, 1, Undelivered::NoSuchCall)]
    );
}

#[test]
fn numbers_go_on_when_the_endpoint_registers_anew() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    town.leave(A);
    town.register(C, "x");
    assert_eq!(town.call(B, "x"), [opened(B, 2, C)]);
    assert_eq!(
        town.tell_caller(C, 1),
        [undelivered(C, 1, Undelivered::CallerLeft)]
    );
}

#[test]
fn forgotten_ids_start_above_the_floor() {
    let mut town = Town::new();
    for (id, calls) in [("many", 3), ("few", 1), ("one", 1)] {
        town.register(A, id);
        for caller in [B, C, D].into_iter().take(calls) {
            town.call(caller, id);
        }
        town.leave(A);
    }
    assert_eq!(town.hub.remembered(), 2);
    assert_eq!(town.hub.reached().remembered_endpoints, 1);
    town.register(A, "many");
    assert_eq!(town.call(B, "many"), [opened(B, 4, A)]);
    assert_eq!(
        town.tell_caller(A, 3),
        [undelivered(A, 3, Undelivered::NoSuchCall)]
    );
    town.register(C, "few");
    assert_eq!(town.call(D, "few"), [opened(D, 2, C)]);
}

#[test]
fn long_ids_are_not_remembered_but_their_numbers_are_not_reused() {
    let mut town = Town::new();
    let long = "x".repeat(300);
    town.register(A, &long);
    town.call(B, &long);
    town.leave(A);
    assert_eq!(town.hub.remembered(), 0);
    town.register(A, &long);
    assert_eq!(town.call(B, &long), [opened(B, 2, A)]);
}

#[test]
fn endpoints_without_a_call_take_no_memory_of_the_left() {
    let mut town = Town::with_endpoint();
    town.leave(A);
    assert_eq!(town.hub.remembered(), 0);
    town.assert_empty();
}

#[test]
fn a_number_beyond_32_signed_bits_is_refused() {
    let mut town = Town::with_endpoint();
    town.hub
        .skip_to(&endpoint("x"), i32::MAX.unsigned_abs() - 1);
    assert_eq!(town.call(B, "x"), [opened(B, i32::MAX.unsigned_abs(), A)]);
    assert!(matches!(
        town.call(C, "x")[..],
        [(C, Event::CallRefused(CallError::Full(_)))]
    ));
}

#[test]
fn a_live_holder_keeps_its_id() {
    let mut town = Town::with_endpoint();
    assert_eq!(town.register(B, "x"), [(A, Event::Probe)]);
    assert_eq!(town.register(C, "x"), [taken(C, "x")]);
    assert_eq!(town.says(A, Command::Alive), [taken(B, "x")]);
    assert_eq!(town.hub.next_timeout(), None);
    assert_eq!(town.says(A, Command::Alive), []);
    assert_eq!(town.pass(LIMITS.probe), []);
    assert_eq!(town.call(C, "x"), [opened(C, 1, A)]);
}

#[test]
fn a_silent_holder_is_evicted() {
    let mut town = Town::with_endpoint();
    town.call(C, "x");
    town.register(B, "x");
    assert_eq!(town.hub.next_timeout(), Some(town.now + LIMITS.probe));
    assert_eq!(town.pass(LIMITS.probe - Duration::from_millis(1)), []);
    assert_eq!(
        town.pass(Duration::from_millis(1)),
        [
            (A, Event::Evicted),
            (C, Event::EndpointLeft),
            (B, Event::Registered)
        ]
    );
    assert_eq!(town.leave(A), []);
    assert_eq!(town.call(C, "x"), [opened(C, 2, B)]);
}

#[test]
fn an_evicted_connection_loses_its_own_call_too() {
    let mut town = Town::with_endpoint();
    town.register(D, "y");
    town.call(A, "y");
    town.register(B, "x");
    assert_eq!(
        town.pass(LIMITS.probe),
        [
            (A, Event::Evicted),
            caller_left(D, 1),
            (B, Event::Registered)
        ]
    );
}

#[test]
fn a_newcomer_follows_a_holder_that_leaves() {
    let mut town = Town::with_endpoint();
    town.call(C, "x");
    town.register(B, "x");
    assert_eq!(
        town.leave(A),
        [(C, Event::EndpointLeft), (B, Event::Registered)]
    );
    assert_eq!(town.hub.next_timeout(), None);
}

#[test]
fn a_newcomer_that_leaves_is_forgotten() {
    let mut town = Town::with_endpoint();
    town.register(B, "x");
    assert_eq!(town.leave(B), []);
    assert_eq!(town.hub.next_timeout(), None);
    assert_eq!(town.pass(LIMITS.probe), []);
    assert_eq!(town.register(C, "x"), [(A, Event::Probe)]);
}

#[test]
fn waiting_callers_are_connected_in_order_of_arrival() {
    let mut town = Town::new();
    assert_eq!(town.wait_for(C, "x"), [(C, Event::CallWaiting)]);
    assert_eq!(town.wait_for(B, "x"), [(B, Event::CallWaiting)]);
    let full = Event::CallRefused(CallError::Full(2));
    assert_eq!(town.wait_for(D, "y"), [(D, full)]);
    assert_eq!(
        town.register(A, "x"),
        [(A, Event::Registered), opened(C, 1, A), opened(B, 2, A)]
    );
    assert_eq!(town.wait_for(D, "y"), [(D, Event::CallWaiting)]);
}

#[test]
fn a_waiting_caller_that_leaves_is_forgotten() {
    let mut town = Town::new();
    town.wait_for(B, "x");
    town.wait_for(C, "x");
    assert_eq!(town.leave(B), []);
    assert_eq!(
        town.register(A, "x"),
        [(A, Event::Registered), opened(C, 1, A)]
    );
    town.wait_for(B, "y");
    for who in [A, B, C] {
        town.leave(who);
    }
    town.assert_empty();
}

#[test]
fn limits_refuse_with_the_limit() {
    let mut town = Town::new();
    for (number, id) in [(11, "a"), (12, "b"), (13, "c"), (14, "d")] {
        town.register(ConnectionId(number), id);
    }
    let full = Event::RegistrationRefused(RegistrationError::Full(4));
    assert_eq!(town.register(A, "e"), [(A, full)]);
    for caller in [B, C, D] {
        town.call(caller, "a");
    }
    assert_eq!(
        town.call(A, "a"),
        [(A, Event::CallRefused(CallError::Full(3)))]
    );
}

#[test]
fn one_connection_has_one_registration_and_one_call() {
    let mut town = Town::with_endpoint();
    let registered =
        Event::RegistrationRefused(RegistrationError::AlreadyRegistered(endpoint("x")));
    assert_eq!(town.register(A, "y"), [(A, registered.clone())]);
    town.register(B, "x");
    assert_eq!(town.register(B, "y"), [(B, registered)]);
    town.call(C, "x");
    assert_eq!(
        town.call(C, "x"),
        [(C, Event::CallRefused(CallError::AlreadyInCall))]
    );
    assert_eq!(
        town.call(D, "y"),
        [(D, Event::CallRefused(CallError::Absent(endpoint("y"))))]
    );
}

#[test]
fn an_endpoint_may_call_itself_and_leaves_without_a_word() {
    let mut town = Town::with_endpoint();
    assert_eq!(town.call(A, "x"), [opened(A, 1, A)]);
    assert!(matches!(
        town.tell_endpoint(A)[..],
        [(A, Event::FromCaller { .. })]
    ));
    assert!(matches!(
        town.tell_caller(A, 1)[..],
        [(A, Event::FromEndpoint { .. })]
    ));
    assert_eq!(town.leave(A), []);
    town.assert_empty();
}

#[test]
fn endpoints_are_listed_in_order_with_their_facts() {
    let mut town = Town::new();
    town.register(B, "y");
    town.register(A, "x");
    town.call(C, "y");
    let listed: Vec<_> = town
        .hub
        .endpoints()
        .map(|it| (it.id.as_str(), it.connection, it.calls))
        .collect();
    assert_eq!(listed, [("x", A, 0), ("y", B, 1)]);
    let one = town.hub.endpoint(&endpoint("x")).unwrap();
    assert_eq!(
        (one.since, one.info.map(Payload::as_str)),
        (town.now, Some("info of 1"))
    );
    assert_eq!(
        town.hub.counts(),
        Counts {
            endpoints: 2,
            calls: 1,
            ..Counts::default()
        }
    );
}

#[test]
fn who_may_only_view_calls_no_endpoint_that_does_not_hold_it_to_that() {
    let mut town = Town::new();
    let view = |id: &str, when_absent| Command::Call {
        endpoint: endpoint(id),
        when_absent,
        access: Access::View,
    };
    let register = |id: &str, holds_viewers| Command::Register {
        id: endpoint(id),
        info: None,
        holds_viewers,
    };
    let refused = |who, id: &str| {
        let why = CallError::Unguarded(endpoint(id));
        (who, Event::CallRefused(why))
    };
    // Whether it is there already or comes later.
    town.says(A, register("old", false));
    assert_eq!(
        town.says(B, view("old", WhenAbsent::Wait)),
        [refused(B, "old")]
    );
    town.says(B, view("older", WhenAbsent::Wait));
    let told = town.says(C, register("older", false));
    assert_eq!(told, [(C, Event::Registered), refused(B, "older")]);
    assert!(matches!(
        town.call(D, "old")[..],
        [(D, Event::CallOpened { .. })]
    ));

    let (device, viewer) = (ConnectionId(10), ConnectionId(11));
    town.says(viewer, view("new", WhenAbsent::Wait));
    town.says(device, register("new", true));
    let payload = Payload::from("{}");
    let message = Command::ToEndpoint {
        payload: payload.clone(),
    };
    let (call, access) = (CallNumber(1), Access::View);
    let expected = Event::FromCaller {
        call,
        access,
        payload,
    };
    assert_eq!(town.says(viewer, message), [(device, expected)]);
}

#[test]
fn so_many_wait_for_one_endpoint_and_so_many_for_all() {
    let mut town = Town::with(Limits {
        waiting_calls: 3,
        waiting_calls_per_endpoint: 2,
        ..LIMITS
    });
    let full = |who, limit| vec![(who, Event::CallRefused(CallError::Full(limit)))];
    for caller in [1, 2] {
        let told = town.wait_for(ConnectionId(caller), "a");
        assert_eq!(told, [(ConnectionId(caller), Event::CallWaiting)]);
    }
    assert_eq!(
        town.wait_for(ConnectionId(3), "a"),
        full(ConnectionId(3), 2)
    );
    town.wait_for(ConnectionId(3), "b");
    assert_eq!(
        town.wait_for(ConnectionId(4), "b"),
        full(ConnectionId(4), 3)
    );
    town.leave(ConnectionId(1));
    let told = town.wait_for(ConnectionId(4), "b");
    assert_eq!(told, [(ConnectionId(4), Event::CallWaiting)]);
    town.register(ConnectionId(5), "b");
    assert_eq!(town.hub.counts().waiting_calls, 1);
}

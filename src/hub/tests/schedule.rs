//! Any commands in any order. A ledger is kept from what the hub tells, and compared with what it
//! must have told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SLOTS: usize = 6;
const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// What happens. Connections are named by slot: who leaves is replaced by a new connection.
#[derive(Debug, Clone)]
enum Step {
    Register(usize, usize),
    Call(usize, usize, bool),
    ToCaller(usize, u32),
    ToEndpoint(usize),
    Alive(usize),
    Leave(usize),
    /// From now on it is silent.
    Crash(usize),
    /// Everyone who is probed and isn't silent answers, then time passes.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, id) = (0..SLOTS, 0..IDS.len());
    prop_oneof![
        4 => (slot.clone(), id.clone()).prop_map(|(slot, id)| Step::Register(slot, id)),
        6 => (slot.clone(), id, any::<bool>()).prop_map(|(slot, id, wait)| Step::Call(slot, id, wait)),
        3 => (slot.clone(), 0..12_u32).prop_map(|(slot, call)| Step::ToCaller(slot, call)),
        3 => slot.clone().prop_map(Step::ToEndpoint),
        1 => slot.clone().prop_map(Step::Alive),
        3 => slot.clone().prop_map(Step::Leave),
        1 => slot.prop_map(Step::Crash),
        2 => (0..3000_u64).prop_map(Step::Pass),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..5_usize, 1..5_usize, 1..4_usize, 1..4_usize).prop_map(
        |(endpoints, calls, waiting, remembered)| Limits {
            endpoints,
            calls_per_endpoint: calls,
            waiting_calls: waiting,
            waiting_calls_per_endpoint: waiting,
            remembered_endpoints: remembered,
            ..LIMITS
        },
    )
}

/// An open call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Talk {
    endpoint: ConnectionId,
    number: CallNumber,
    caller: ConnectionId,
}

/// The world as the hub tells it.
struct Ledger {
    hub: Hub,
    now: Instant,
    slots: Vec<ConnectionId>,
    next: u64,
    silent: BTreeSet<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
    /// Asked, and not answered yet.
    registering: BTreeMap<ConnectionId, EndpointId>,
    calling: BTreeMap<ConnectionId, EndpointId>,
    probed: BTreeSet<ConnectionId>,
    /// Who holds an id, and the last number before.
    holders: BTreeMap<EndpointId, (ConnectionId, u32)>,
    talks: BTreeSet<Talk>,
    /// All numbers ever given.
    numbers: BTreeMap<EndpointId, BTreeSet<u32>>,
    said: u32,
}

impl Ledger {
    fn new(limits: Limits) -> Self {
        Self {
            hub: Hub::new(limits),
            now: Instant::now(),
            slots: (0..SLOTS as u64).map(ConnectionId).collect(),
            next: SLOTS as u64,
            silent: BTreeSet::new(),
            gone: BTreeSet::new(),
            registering: BTreeMap::new(),
            calling: BTreeMap::new(),
            probed: BTreeSet::new(),
            holders: BTreeMap::new(),
            talks: BTreeSet::new(),
            numbers: BTreeMap::new(),
            said: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Register(slot, id) => {
                let Some(who) = self.awake(slot) else { return };
                if !self.holders.values().any(|(holder, _)| *holder == who) {
                    self.registering
                        .entry(who)
                        .or_insert_with(|| endpoint(IDS[id]));
                }
                self.says(
                    who,
                    Command::Register {
                        id: endpoint(IDS[id]),
                        info: None,
                        holds_viewers: true,
                    },
                );
            }
            Step::Call(slot, id, wait) => {
                let Some(who) = self.awake(slot) else { return };
                if !self.talks.iter().any(|talk| talk.caller == who) {
                    self.calling.entry(who).or_insert_with(|| endpoint(IDS[id]));
                }
                let when_absent = if wait {
                    WhenAbsent::Wait
                } else {
                    WhenAbsent::Refuse
                };
                self.says(
                    who,
                    Command::Call {
                        endpoint: endpoint(IDS[id]),
                        when_absent,
                        access: Access::Control,
                    },
                );
            }
            Step::ToCaller(slot, number) => self.tell_caller(slot, CallNumber(number)),
            Step::ToEndpoint(slot) => self.tell_endpoint(slot),
            Step::Alive(slot) => {
                if let Some(who) = self.awake(slot) {
                    self.probed.remove(&who);
                    self.says(who, Command::Alive);
                }
            }
            Step::Leave(slot) => self.leave(slot),
            Step::Crash(slot) => {
                self.silent.insert(self.slots[slot]);
            }
            Step::Pass(milliseconds) => self.pass(Duration::from_millis(milliseconds)),
        }
    }

    fn awake(&self, slot: usize) -> Option<ConnectionId> {
        Some(self.slots[slot]).filter(|who| !self.silent.contains(who))
    }

    fn says(&mut self, who: ConnectionId, command: Command) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(self.now, who, command, &mut out);
        self.note(&out);
        out
    }

    fn tagged(&mut self, from: ConnectionId, to: Option<ConnectionId>) -> Payload {
        self.said += 1;
        Payload::from(format!("{from:?} to {to:?}, message {}", self.said))
    }

    fn tell_caller(&mut self, slot: usize, call: CallNumber) {
        let Some(who) = self.awake(slot) else { return };
        let talk = self
            .talks
            .iter()
            .find(|talk| talk.endpoint == who && talk.number == call)
            .copied();
        let payload = self.tagged(who, talk.map(|talk| talk.caller));
        let out = self.says(
            who,
            Command::ToCaller {
                call,
                payload: payload.clone(),
            },
        );
        if let Some(talk) = talk {
            assert_eq!(
                out,
                [Output {
                    to: talk.caller,
                    event: Event::FromEndpoint { payload }
                }]
            );
            return;
        }
        let held = self.holders.iter().find(|(_, (holder, _))| *holder == who);
        let ever = held
            .and_then(|(id, _)| self.numbers.get(id))
            .is_some_and(|all| all.contains(&call.0));
        let now = ever && held.is_some_and(|(_, (_, before))| call.0 > *before);
        match out.as_slice() {
            [
                Output {
                    to,
                    event: Event::NotDelivered { call: named, why },
                },
            ] => {
                assert_eq!((*to, *named), (who, call));
                match why {
                    Undelivered::CallerLeft => assert!(ever, "{call} was never given"),
                    Undelivered::NoSuchCall => {
                        assert!(!now, "{call} was given in this registration")
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn tell_endpoint(&mut self, slot: usize) {
        let Some(who) = self.awake(slot) else { return };
        let talk = self.talks.iter().find(|talk| talk.caller == who).copied();
        let payload = self.tagged(who, talk.map(|talk| talk.endpoint));
        let out = self.says(
            who,
            Command::ToEndpoint {
                payload: payload.clone(),
            },
        );
        let expected = talk.map(|talk| Output {
            to: talk.endpoint,
            event: Event::FromCaller {
                call: talk.number,
                access: Access::Control,
                payload,
            },
        });
        assert_eq!(out, Vec::from_iter(expected));
    }

    fn leave(&mut self, slot: usize) {
        let who = self.slots[slot];
        self.go(who);
        self.says(who, Command::Leave);
    }

    fn pass(&mut self, time: Duration) {
        for who in std::mem::take(&mut self.probed) {
            if !self.silent.contains(&who) && !self.gone.contains(&who) {
                self.says(who, Command::Alive);
            }
        }
        self.now += time;
        let mut out = Vec::new();
        self.hub.handle_timeout(self.now, &mut out);
        self.note(&out);
        assert!(
            self.hub
                .next_timeout()
                .is_none_or(|deadline| deadline > self.now)
        );
    }

    /// A connection ends: nothing may go to it any more.
    fn go(&mut self, who: ConnectionId) {
        self.gone.insert(who);
        self.registering.remove(&who);
        self.calling.remove(&who);
        self.holders.retain(|_, (holder, _)| *holder != who);
        self.talks
            .retain(|talk| !(talk.caller == who && talk.endpoint == who));
        for slot in &mut self.slots {
            if *slot == who {
                *slot = ConnectionId(self.next);
                self.next += 1;
            }
        }
    }

    fn note(&mut self, out: &[Output]) {
        for Output { to, event } in out {
            assert!(
                !self.gone.contains(to),
                "{event:?} to {to:?}, which is gone"
            );
            self.note_one(*to, event);
        }
        // Whoever is gone has no open call left: every goodbye was said.
        for talk in &self.talks {
            assert!(
                !self.gone.contains(&talk.caller) && !self.gone.contains(&talk.endpoint),
                "lost goodbye: {talk:?}"
            );
        }
        let waiting = self
            .calling
            .values()
            .inspect(|id| assert!(!self.holders.contains_key(*id)));
        assert_eq!(
            self.hub.counts(),
            Counts {
                endpoints: self.holders.len(),
                calls: self.talks.len(),
                waiting_calls: waiting.count(),
                rooms: 0,
                probes: self.registering.len(),
                ..Counts::default()
            }
        );
    }

    fn note_one(&mut self, to: ConnectionId, event: &Event) {
        match event {
            Event::Registered => {
                let id = self.registering.remove(&to).unwrap();
                let before = self
                    .numbers
                    .get(&id)
                    .and_then(BTreeSet::last)
                    .copied()
                    .unwrap_or_default();
                assert_eq!(self.holders.insert(id, (to, before)), None);
            }
            Event::RegistrationRefused(RegistrationError::AlreadyRegistered(_)) => {}
            Event::RegistrationRefused(_) => assert!(self.registering.remove(&to).is_some()),
            Event::Probe => {
                assert!(self.holders.values().any(|(holder, _)| *holder == to));
                self.probed.insert(to);
            }
            Event::Evicted => {
                assert!(self.silent.contains(&to), "{to:?} lives");
                self.go(to);
            }
            Event::CallOpened { call, .. } => {
                let id = self.calling.remove(&to).unwrap();
                let endpoint = self.holders[&id].0;
                let numbers = self.numbers.entry(id).or_default();
                assert!(
                    numbers.last().is_none_or(|last| *last < call.0),
                    "{call} again"
                );
                numbers.insert(call.0);
                self.talks.insert(Talk {
                    endpoint,
                    number: *call,
                    caller: to,
                });
            }
            Event::CallRefused(CallError::AlreadyInCall) | Event::CallWaiting => {}
            Event::CallRefused(_) => assert!(self.calling.remove(&to).is_some()),
            Event::CallerLeft { call } => {
                let talk = self
                    .talks
                    .iter()
                    .find(|talk| talk.endpoint == to && talk.number == *call)
                    .copied();
                let talk = talk.unwrap_or_else(|| panic!("goodbye of nobody: {call} to {to:?}"));
                assert!(self.gone.contains(&talk.caller));
                self.talks.remove(&talk);
            }
            Event::EndpointLeft => {
                let talk = self.talks.iter().find(|talk| talk.caller == to).copied();
                let talk = talk.unwrap_or_else(|| panic!("goodbye of nobody to {to:?}"));
                assert!(self.gone.contains(&talk.endpoint));
                self.talks.remove(&talk);
            }
            Event::FromCaller { .. } | Event::FromEndpoint { .. } | Event::NotDelivered { .. } => {}
            other => panic!("{other:?} in a world without pairs and rooms"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_promises(limits in limits(), steps in prop::collection::vec(step(), 1..120)) {
        let mut ledger = Ledger::new(limits);
        for step in &steps {
            ledger.run(step);
        }
        for slot in 0..SLOTS {
            ledger.leave(slot);
        }
        prop_assert_eq!(ledger.hub.counts(), Counts::default());
        prop_assert_eq!(ledger.hub.entries(), 0);
        prop_assert!(ledger.hub.remembered() <= limits.remembered_endpoints);
    }
}

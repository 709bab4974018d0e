//! Peers that do anything in any order. A ledger is kept from what the hub tells each of them, and
//! compared with who is really there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SLOTS: usize = 8;
const IDS: usize = 5;
const ROOMS: usize = 3;

/// What happens. Connections are named by slot: who ends is replaced by a new connection, so that an
/// id comes back on another one.
#[derive(Debug, Clone)]
enum Step {
    Hello(usize, usize),
    Session(usize, usize),
    Room(usize, usize),
    ToMember(usize, usize),
    Members(usize),
    Frame(usize),
    Leave(usize),
    /// From now on it is silent, and doesn't answer probes.
    Crash(usize),
    /// These all go at once.
    Vanish(Vec<usize>),
    /// Everyone who is probed and isn't silent answers, then time passes.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, id) = (0..SLOTS, 0..IDS);
    prop_oneof![
        6 => (slot.clone(), id.clone()).prop_map(|(slot, id)| Step::Hello(slot, id)),
        3 => (slot.clone(), id.clone()).prop_map(|(slot, id)| Step::Session(slot, id)),
        5 => (slot.clone(), 0..ROOMS).prop_map(|(slot, room)| Step::Room(slot, room)),
        5 => (slot.clone(), id).prop_map(|(slot, id)| Step::ToMember(slot, id)),
        1 => slot.clone().prop_map(Step::Members),
        4 => slot.clone().prop_map(Step::Frame),
        2 => slot.clone().prop_map(Step::Leave),
        1 => slot.clone().prop_map(Step::Crash),
        1 => prop::collection::vec(slot, 1..6).prop_map(Step::Vanish),
        2 => (0..4000_u64).prop_map(Step::Pass),
    ]
}

/// What one connection has been told of itself.
#[derive(Debug, Default)]
struct View {
    wants: Option<EndpointId>,
    id: Option<EndpointId>,
    partner: Option<ConnectionId>,
    room: Option<RoomId>,
    /// The members that it knows of.
    others: BTreeSet<EndpointId>,
}

struct Ledger {
    hub: Hub,
    limits: Limits,
    now: Instant,
    slots: Vec<ConnectionId>,
    next: u64,
    views: BTreeMap<ConnectionId, View>,
    silent: BTreeSet<ConnectionId>,
    probed: BTreeSet<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
    left: BTreeMap<(RoomId, EndpointId), Instant>,
    said: u32,
}

impl Ledger {
    fn new(limits: Limits) -> Self {
        Self {
            hub: Hub::new(limits),
            limits,
            now: Instant::now(),
            slots: (0..SLOTS as u64).map(ConnectionId).collect(),
            next: SLOTS as u64,
            views: BTreeMap::new(),
            silent: BTreeSet::new(),
            probed: BTreeSet::new(),
            gone: BTreeSet::new(),
            left: BTreeMap::new(),
            said: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Hello(slot, n) => self.hello(*slot, *n),
            Step::Session(slot, n) => self.session(*slot, id(*n)),
            Step::Room(slot, n) => self.join(*slot, room(*n)),
            Step::ToMember(slot, n) => self.tell_member(*slot, id(*n)),
            Step::Members(slot) => self.members(*slot),
            Step::Frame(slot) => self.frame(*slot),
            Step::Leave(slot) => self.leave(*slot),
            Step::Crash(slot) => {
                self.silent.insert(self.slots[*slot]);
            }
            Step::Vanish(slots) => {
                let all: BTreeSet<_> = slots.iter().map(|slot| self.slots[*slot]).collect();
                for who in all {
                    if let Some(slot) = self.slots.iter().position(|it| *it == who) {
                        self.leave(slot);
                    }
                }
            }
            Step::Pass(milliseconds) => self.pass(Duration::from_millis(*milliseconds)),
        }
    }

    fn awake(&self, slot: usize) -> Option<ConnectionId> {
        Some(self.slots[slot]).filter(|who| !self.silent.contains(who))
    }

    fn view(&mut self, who: ConnectionId) -> &mut View {
        self.views.entry(who).or_default()
    }

    fn holder(&self, id: &EndpointId) -> Option<ConnectionId> {
        let found = self.views.iter().find(|(_, it)| it.id.as_ref() == Some(id));
        found.map(|(who, _)| *who)
    }

    fn says(&mut self, who: ConnectionId, command: Command) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(self.now, who, command, &mut out);
        self.note(&out);
        out
    }

    /// Sends a frame that nobody has sent before, and what it asks for. If there is a partner, it
    /// must be what the partner gets, and nothing else happens.
    fn sends(&mut self, who: ConnectionId, otherwise: Option<Request>) -> Option<Vec<Output>> {
        self.said += 1;
        let frame = Payload::from(format!("frame {}", self.said));
        let partner = self.view(who).partner;
        let payload = frame.clone();
        let out = self.says(who, Command::ToPartner { frame, otherwise });
        match partner {
            Some(to) => {
                let event = Event::FromPartner { payload };
                assert_eq!(out, [Output { to, event }]);
                None
            }
            None => Some(out),
        }
    }

    fn hello(&mut self, slot: usize, n: usize) {
        let Some(who) = self.awake(slot) else { return };
        let view = self.view(who);
        if view.id.is_none() && view.wants.is_none() {
            view.wants = Some(id(n));
        }
        let (id, info) = (id(n), None);
        self.says(
            who,
            Command::Register {
                id,
                info,
                holds_viewers: false,
            },
        );
    }

    fn session(&mut self, slot: usize, with: EndpointId) {
        let Some(who) = self.awake(slot) else { return };
        let holder = self.holder(&with);
        let is_free = |it: &View| it.partner.is_none() && it.room.is_none();
        let other_is_free = holder.is_some_and(|other| is_free(self.view(other)));
        let (is_registered, in_room) = {
            let view = self.view(who);
            (view.id.is_some(), view.room.is_some())
        };
        let Some(out) = self.sends(who, Some(Request::Pair(with.clone()))) else {
            return;
        };
        let refused = match holder {
            _ if !is_registered => PairError::NotRegistered,
            _ if in_room => PairError::Engaged,
            None => PairError::Absent(with),
            Some(_) if !other_is_free => PairError::Busy(with),
            Some(other) => {
                let mut told = vec![(who, Event::Paired)];
                told.extend((other != who).then_some((other, Event::PairedBy)));
                let told = told.into_iter().map(|(to, event)| Output { to, event });
                assert_eq!(out, told.collect::<Vec<_>>());
                self.view(who).partner = Some(other);
                self.view(other).partner = Some(who);
                return self.compare();
            }
        };
        let event = Event::PairRefused(refused);
        assert_eq!(out, [Output { to: who, event }]);
    }

    fn join(&mut self, slot: usize, room: RoomId) {
        let Some(who) = self.awake(slot) else { return };
        let rooms: BTreeSet<_> = self
            .views
            .values()
            .filter_map(|it| it.room.clone())
            .collect();
        let here = self.in_room(&room);
        let view = self.view(who);
        let (is_registered, in_room) = (view.id.is_some(), view.room.is_some());
        let Some(out) = self.sends(who, Some(Request::Join(room.clone()))) else {
            return;
        };
        let refused = if !is_registered {
            JoinError::NotRegistered
        } else if in_room {
            JoinError::Engaged
        } else if here.len() >= self.limits.members_per_room {
            JoinError::Full(self.limits.members_per_room)
        } else if here.is_empty() && rooms.len() >= self.limits.rooms {
            JoinError::TooManyRooms(self.limits.rooms)
        } else {
            let [first, rest @ ..] = &out[..] else {
                panic!("no answer")
            };
            let members = here.keys().cloned().collect();
            let event = Event::Joined { members };
            assert_eq!(*first, Output { to: who, event });
            let own = self.view(who).id.clone().unwrap();
            let view = self.view(who);
            view.room = Some(room);
            view.others = here.keys().cloned().collect();
            let joined = |to: &ConnectionId| Output {
                to: *to,
                event: Event::MemberJoined(own.clone()),
            };
            assert_eq!(rest, here.values().map(joined).collect::<Vec<_>>());
            return self.compare();
        };
        let event = Event::JoinRefused(refused);
        assert_eq!(out, [Output { to: who, event }]);
    }

    fn tell_member(&mut self, slot: usize, to: EndpointId) {
        let Some(who) = self.awake(slot) else { return };
        self.said += 1;
        let payload = Payload::from(format!("message {}", self.said));
        let request = Request::ToMember {
            to: to.clone(),
            payload: payload.clone(),
        };
        let Some(out) = self.sends(who, Some(request)) else {
            return;
        };
        let Some(room) = self.view(who).room.clone() else {
            assert!(matches!(
                out[..],
                [Output {
                    event: Event::NoPartner { .. },
                    ..
                }]
            ));
            return;
        };
        let from = self.view(who).id.clone().unwrap();
        let left = self.left.get(&(room.clone(), to.clone())).copied();
        let expected = match self.in_room(&room).get(&to) {
            Some(member) => Some((*member, Event::FromMember { from, payload })),
            None if left.is_some_and(|at| self.now - at < self.limits.just_left) => None,
            None => {
                let why = match self.holder(&to) {
                    Some(_) => Unreached::NotInRoom,
                    None => Unreached::Absent,
                };
                Some((who, Event::NotReached { to, why }))
            }
        };
        let expected = expected.map(|(to, event)| Output { to, event });
        assert_eq!(out, Vec::from_iter(expected));
    }

    fn members(&mut self, slot: usize) {
        let Some(who) = self.awake(slot) else { return };
        if let Some(out) = self.sends(who, Some(Request::Members))
            && let view = self.view(who)
            && view.room.is_some()
        {
            let event = Event::Members(view.others.iter().cloned().collect());
            assert_eq!(out, [Output { to: who, event }]);
        }
    }

    fn frame(&mut self, slot: usize) {
        let Some(who) = self.awake(slot) else { return };
        if let Some(out) = self.sends(who, None) {
            let place = match self.view(who).room {
                Some(_) => Place::Room,
                None => Place::Idle,
            };
            assert!(
                matches!(&out[..], [Output { event: Event::NoPartner { place: told, .. }, .. }] if *told == place)
            );
        }
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
    }

    /// A connection ends: nothing may go to it any more, and it is nowhere.
    fn go(&mut self, who: ConnectionId) {
        self.gone.insert(who);
        if let Some(view) = self.views.remove(&who)
            && let (Some(room), Some(id)) = (view.room, view.id)
        {
            // With its last member a room forgets who was there.
            if self.in_room(&room).is_empty() {
                self.left.retain(|(left, _), _| *left != room);
            } else {
                self.left.insert((room, id), self.now);
            }
        }
        for slot in &mut self.slots {
            if *slot == who {
                *slot = ConnectionId(self.next);
                self.next += 1;
            }
        }
    }

    fn in_room(&self, room: &RoomId) -> BTreeMap<EndpointId, ConnectionId> {
        let members = self
            .views
            .iter()
            .filter(|(_, it)| it.room.as_ref() == Some(room));
        members
            .map(|(who, it)| (it.id.clone().unwrap(), *who))
            .collect()
    }

    fn note(&mut self, out: &[Output]) {
        for Output { to, event } in out {
            assert!(
                !self.gone.contains(to),
                "{event:?} to {to:?}, which is gone"
            );
            self.note_one(*to, event);
        }
        // Who asked for these notes them.
        let first = out.first().map(|output| &output.event);
        if !matches!(first, Some(Event::Joined { .. } | Event::Paired)) {
            self.compare();
        }
    }

    fn note_one(&mut self, to: ConnectionId, event: &Event) {
        match event {
            Event::Registered => {
                let wanted = self.view(to).wants.take().unwrap();
                assert_eq!(self.holder(&wanted), None, "two hold {wanted}");
                self.view(to).id = Some(wanted);
            }
            Event::RegistrationRefused(RegistrationError::AlreadyRegistered(_)) => {}
            Event::RegistrationRefused(_) => assert!(self.view(to).wants.take().is_some()),
            Event::Probe => {
                self.probed.insert(to);
            }
            Event::Evicted => {
                assert!(self.silent.contains(&to), "{to:?} lives");
                self.go(to);
            }
            Event::PartnerLeft => {
                let partner = self.view(to).partner.unwrap();
                assert!(self.gone.contains(&partner), "{partner:?} is still here");
                self.go(to);
            }
            Event::MemberJoined(member) => {
                assert!(
                    self.view(to).others.insert(member.clone()),
                    "{member} again"
                );
            }
            Event::MemberLeft(member) => {
                assert!(self.view(to).others.remove(member), "{member} again");
            }
            Event::FromMember { from, .. } => {
                let view = self.view(to);
                assert!(view.others.contains(from) || view.id.as_ref() == Some(from));
            }
            _ => {}
        }
    }

    /// What everyone was told is what is.
    fn compare(&self) {
        for (who, view) in &self.views {
            let partner_is_gone = view.partner.is_some_and(|it| self.gone.contains(&it));
            assert!(!partner_is_gone, "lost goodbye to {who:?}");
            let Some(room) = &view.room else { continue };
            let mut others: BTreeSet<_> = self.in_room(room).into_keys().collect();
            assert!(others.remove(view.id.as_ref().unwrap()));
            assert_eq!(
                view.others, others,
                "{who:?} knows of others than those that are there"
            );
        }
        let registered = self.views.values().filter(|it| it.id.is_some()).count();
        let rooms: BTreeSet<_> = self
            .views
            .values()
            .filter_map(|it| it.room.as_ref())
            .collect();
        let pairs = self
            .views
            .iter()
            .filter(|(who, it)| it.partner.is_some_and(|other| **who <= other));
        assert_eq!(
            self.hub.counts(),
            Counts {
                endpoints: registered,
                calls: pairs.count(),
                waiting_calls: 0,
                rooms: rooms.len(),
                probes: self.views.values().filter(|it| it.wants.is_some()).count(),
                ..Counts::default()
            }
        );
    }
}

fn id(n: usize) -> EndpointId {
    EndpointId::new(Namespace::Peer, &format!("p{n}")).unwrap()
}

fn room(n: usize) -> RoomId {
    RoomId::new(Namespace::Peer, &format!("r{n}")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_of_peers_keeps_the_promises(
        (endpoints, rooms, members_per_room) in (2..6_usize, 1..4_usize, 1..6_usize),
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut ledger = Ledger::new(Limits { endpoints, rooms, members_per_room, ..LIMITS });
        for step in &steps {
            ledger.run(step);
        }
        for slot in 0..SLOTS {
            ledger.leave(slot);
        }
        prop_assert_eq!(ledger.hub.counts(), Counts::default());
        prop_assert_eq!(ledger.hub.entries(), 0);
    }
}

//! The rules of pairs and rooms, one by one.

use super::*;

/// A town of peers, named like their connections.
struct Peers(Town);

impl Peers {
    fn new(count: u64) -> Self {
        let mut peers = Self(Town::new());
        for n in 1..=count {
            let id = peer(ConnectionId(n));
            let told = peers.says(
                ConnectionId(n),
                Command::Register {
                    id,
                    info: None,
                    holds_viewers: false,
                },
            );
            assert_eq!(told, [(ConnectionId(n), Event::Registered)]);
        }
        peers
    }

    fn says(&mut self, from: ConnectionId, command: Command) -> Vec<(ConnectionId, Event)> {
        self.0.says(from, command)
    }

    fn asks(&mut self, from: ConnectionId, request: Request) -> Vec<(ConnectionId, Event)> {
        let frame = Payload::from("a command");
        let otherwise = Some(request);
        self.says(from, Command::ToPartner { frame, otherwise })
    }

    fn tells_partner(&mut self, from: ConnectionId) -> Vec<(ConnectionId, Event)> {
        let frame = Payload::binary("a frame".into());
        let otherwise = None;
        self.says(from, Command::ToPartner { frame, otherwise })
    }

    fn pairs(&mut self, from: ConnectionId, with: ConnectionId) -> Vec<(ConnectionId, Event)> {
        self.asks(from, Request::Pair(peer(with)))
    }

    fn joins(&mut self, from: ConnectionId, id: &str) -> Vec<(ConnectionId, Event)> {
        self.asks(from, Request::Join(room(id)))
    }

    fn tells_member(&mut self, from: ConnectionId, to: ConnectionId) -> Vec<(ConnectionId, Event)> {
        let payload = Payload::from("hello");
        let to = peer(to);
        self.asks(from, Request::ToMember { to, payload })
    }
}

fn peer(connection: ConnectionId) -> EndpointId {
    EndpointId::new(Namespace::Peer, &format!("p{}", connection.0)).unwrap()
}

fn room(id: &str) -> RoomId {
    RoomId::new(Namespace::Peer, id).unwrap()
}

fn joined(to: ConnectionId, members: &[ConnectionId]) -> (ConnectionId, Event) {
    let members = members.iter().map(|member| peer(*member)).collect();
    (to, Event::Joined { members })
}

fn heard(to: ConnectionId, from: ConnectionId) -> (ConnectionId, Event) {
    let payload = Payload::from("hello");
    let from = peer(from);
    (to, Event::FromMember { from, payload })
}

fn unreached(from: ConnectionId, to: ConnectionId, why: Unreached) -> (ConnectionId, Event) {
    (from, Event::NotReached { to: peer(to), why })
}

#[test]
fn a_pair_passes_frames_both_ways_and_takes_no_other() {
    let mut peers = Peers::new(3);
    assert_eq!(
        peers.pairs(A, B),
        [(A, Event::Paired), (B, Event::PairedBy)]
    );
    let payload = Payload::binary("a frame".into());
    let from_partner = Event::FromPartner { payload };
    assert_eq!(peers.tells_partner(A), [(B, from_partner.clone())]);
    assert_eq!(peers.tells_partner(B), [(A, from_partner)]);
    for with in [A, B] {
        let busy = Event::PairRefused(PairError::Busy(peer(with)));
        assert_eq!(peers.pairs(C, with), [(C, busy)]);
    }
    assert_eq!(peers.0.hub.counts().calls, 1);
}

#[test]
fn what_a_paired_endpoint_asks_for_is_a_frame_for_its_partner() {
    let mut peers = Peers::new(3);
    peers.pairs(A, B);
    let payload = Payload::from("a command");
    let relayed = [(A, Event::FromPartner { payload })];
    assert_eq!(peers.pairs(B, A), relayed);
    assert_eq!(peers.joins(B, "r"), relayed);
    assert_eq!(peers.tells_member(B, C), relayed);
    assert_eq!(peers.asks(B, Request::Members), relayed);
    assert_eq!(peers.0.hub.counts().rooms, 0);
}

#[test]
fn the_end_of_one_is_the_end_of_both() {
    let mut peers = Peers::new(2);
    peers.pairs(A, B);
    assert_eq!(peers.says(A, Command::Leave), [(B, Event::PartnerLeft)]);
    // Both ids are free, and the old connection can't harm the new one.
    for (new, old) in [(C, A), (D, B)] {
        let id = peer(old);
        let told = peers.says(
            new,
            Command::Register {
                id,
                info: None,
                holds_viewers: false,
            },
        );
        assert_eq!(told, [(new, Event::Registered)]);
    }
    assert_eq!(peers.tells_partner(B).len(), 1);
    assert_eq!(peers.says(B, Command::Leave), []);
    assert_eq!(peers.0.hub.counts().endpoints, 2);
}

#[test]
fn a_partner_of_the_evicted_ends_too_and_newcomers_follow_both() {
    let mut peers = Peers::new(2);
    peers.pairs(A, B);
    for (new, old) in [(C, A), (D, B)] {
        let id = peer(old);
        let told = peers.says(
            new,
            Command::Register {
                id,
                info: None,
                holds_viewers: false,
            },
        );
        assert_eq!(told, [(old, Event::Probe)]);
    }
    assert_eq!(
        peers.0.pass(LIMITS.probe),
        [
            (A, Event::Evicted),
            (B, Event::PartnerLeft),
            (D, Event::Registered),
            (C, Event::Registered)
        ]
    );
    assert_eq!(peers.0.hub.next_timeout(), None);
}

#[test]
fn one_may_be_its_own_partner() {
    let mut peers = Peers::new(1);
    assert_eq!(peers.pairs(A, A), [(A, Event::Paired)]);
    assert!(matches!(
        peers.tells_partner(A)[..],
        [(A, Event::FromPartner { .. })]
    ));
    assert_eq!(peers.says(A, Command::Leave), []);
    peers.0.assert_empty();
}

#[test]
fn who_is_absent_busy_or_not_registered_makes_no_pair() {
    let mut peers = Peers::new(2);
    let refused = |error| [(A, Event::PairRefused(error))];
    assert_eq!(peers.pairs(A, D), refused(PairError::Absent(peer(D))));
    peers.joins(B, "r");
    assert_eq!(peers.pairs(A, B), refused(PairError::Busy(peer(B))));
    peers.joins(A, "r");
    assert_eq!(peers.pairs(A, B), refused(PairError::Engaged));
    let unknown = Event::PairRefused(PairError::NotRegistered);
    assert_eq!(peers.pairs(C, A), [(C, unknown)]);
    let unknown = Event::JoinRefused(JoinError::NotRegistered);
    assert_eq!(peers.joins(C, "r"), [(C, unknown)]);
}

#[test]
fn the_same_name_in_two_namespaces_is_two_endpoints() {
    let mut peers = Peers::new(1);
    assert_eq!(peers.0.register(B, "p1"), [(B, Event::Registered)]);
    let absent = Event::CallRefused(CallError::Absent(endpoint("p2")));
    assert_eq!(peers.0.call(C, "p2"), [(C, absent)]);
    let hub = &peers.0.hub;
    let devices: Vec<_> = hub.endpoints_in(Namespace::Device).collect();
    assert_eq!((devices.len(), devices[0].connection), (1, B));
    assert_eq!(hub.endpoints().count(), 2);
}

#[test]
fn a_caller_in_a_call_joins_nothing_else() {
    let mut peers = Peers::new(2);
    peers.0.register(C, "x");
    peers.0.call(A, "x");
    let engaged = Event::PairRefused(PairError::Engaged);
    assert_eq!(peers.pairs(A, B), [(A, engaged)]);
    let busy = Event::PairRefused(PairError::Busy(peer(A)));
    assert_eq!(peers.pairs(B, A), [(B, busy)]);
    let engaged = Event::JoinRefused(JoinError::Engaged);
    assert_eq!(peers.joins(A, "r"), [(A, engaged)]);
}

#[test]
fn members_know_of_each_other_from_the_first_to_the_last() {
    let mut peers = Peers::new(3);
    assert_eq!(peers.joins(B, "r"), [joined(B, &[])]);
    assert_eq!(
        peers.joins(C, "r"),
        [joined(C, &[B]), (B, Event::MemberJoined(peer(C)))]
    );
    assert_eq!(
        peers.joins(A, "r"),
        [
            joined(A, &[B, C]),
            (B, Event::MemberJoined(peer(A))),
            (C, Event::MemberJoined(peer(A)))
        ]
    );
    let others = Event::Members(vec![peer(A), peer(C)]);
    assert_eq!(peers.asks(B, Request::Members), [(B, others)]);
    assert_eq!(peers.tells_member(A, C), [heard(C, A)]);
    assert_eq!(peers.tells_member(A, A), [heard(A, A)]);
    assert_eq!(
        peers.says(B, Command::Leave),
        [
            (A, Event::MemberLeft(peer(B))),
            (C, Event::MemberLeft(peer(B)))
        ]
    );
    assert_eq!(
        peers.says(C, Command::Leave),
        [(A, Event::MemberLeft(peer(C)))]
    );
    assert_eq!(peers.says(A, Command::Leave), []);
    peers.0.assert_empty();
}

#[test]
fn rooms_are_listed_with_their_members() {
    let mut peers = Peers::new(3);
    for (who, id) in [(A, "s"), (B, "r"), (C, "s")] {
        peers.joins(who, id);
    }
    let listed: Vec<_> = peers
        .0
        .hub
        .rooms()
        .map(|room| (room.id.as_str(), room.members().cloned().collect()))
        .collect();
    assert_eq!(
        listed,
        [("r", vec![peer(B)]), ("s", vec![peer(A), peer(C)])]
    );
    let places: Vec<_> = peers.0.hub.endpoints().map(|it| it.place).collect();
    assert_eq!(places, [Place::Room; 3]);
}

#[test]
fn a_message_to_a_non_member_says_why_it_reached_nobody() {
    let mut peers = Peers::new(3);
    peers.joins(A, "r");
    peers.joins(B, "s");
    for other in [B, C] {
        assert_eq!(
            peers.tells_member(A, other),
            [unreached(A, other, Unreached::NotInRoom)]
        );
    }
    assert_eq!(
        peers.tells_member(A, D),
        [unreached(A, D, Unreached::Absent)]
    );
    let frame = Payload::from("a command");
    let place = Place::Idle;
    let no_partner = Event::NoPartner { frame, place };
    assert_eq!(peers.tells_member(C, A), [(C, no_partner.clone())]);
    assert_eq!(peers.asks(C, Request::Members), [(C, no_partner)]);
    let frame = Payload::binary("a frame".into());
    let place = Place::Room;
    assert_eq!(
        peers.tells_partner(A),
        [(A, Event::NoPartner { frame, place })]
    );
}

#[test]
fn a_message_that_crosses_a_goodbye_is_dropped_for_a_while() {
    let mut peers = Peers::new(3);
    for who in [A, B, C] {
        peers.joins(who, "r");
    }
    peers.says(B, Command::Leave);
    assert_eq!(peers.tells_member(A, B), []);
    peers.0.pass(LIMITS.just_left - Duration::from_millis(1));
    assert_eq!(peers.tells_member(A, B), []);
    peers.0.pass(Duration::from_millis(1));
    assert_eq!(
        peers.tells_member(A, B),
        [unreached(A, B, Unreached::Absent)]
    );
}

#[test]
fn a_room_remembers_only_the_last_goodbyes() {
    let mut peers = Peers::new(1);
    peers.joins(A, "r");
    let come_and_go = |peers: &mut Peers, n| {
        let who = ConnectionId(n);
        let id = peer(who);
        peers.says(
            who,
            Command::Register {
                id,
                info: None,
                holds_viewers: false,
            },
        );
        peers.joins(who, "r");
        peers.says(who, Command::Leave);
    };
    for n in 100..200 {
        come_and_go(&mut peers, n);
    }
    assert_eq!(peers.tells_member(A, ConnectionId(199)), []);
    let oldest = ConnectionId(100);
    assert_eq!(
        peers.tells_member(A, oldest),
        [unreached(A, oldest, Unreached::Absent)]
    );
}

#[test]
fn a_full_room_and_too_many_rooms_refuse_with_the_limit() {
    let mut peers = Peers::new(4);
    for who in [A, B, C] {
        peers.joins(who, "r");
    }
    let full = Event::JoinRefused(JoinError::Full(3));
    assert_eq!(peers.joins(D, "r"), [(D, full)]);
    let mut peers = Peers::new(3);
    peers.joins(A, "r");
    peers.joins(B, "s");
    let too_many = Event::JoinRefused(JoinError::TooManyRooms(2));
    assert_eq!(peers.joins(C, "t"), [(C, too_many)]);
    // The last one takes its room with it.
    peers.says(A, Command::Leave);
    assert_eq!(peers.joins(C, "t"), [joined(C, &[])]);
}

#[test]
fn an_evicted_member_leaves_its_room_for_the_newcomer_to_join_again() {
    let mut peers = Peers::new(2);
    peers.joins(A, "r");
    peers.joins(B, "r");
    let id = peer(A);
    peers.says(
        C,
        Command::Register {
            id,
            info: None,
            holds_viewers: false,
        },
    );
    assert_eq!(
        peers.0.pass(LIMITS.probe),
        [
            (A, Event::Evicted),
            (B, Event::MemberLeft(peer(A))),
            (C, Event::Registered)
        ]
    );
    assert_eq!(
        peers.joins(C, "r"),
        [joined(C, &[B]), (B, Event::MemberJoined(peer(A)))]
    );
    assert_eq!(peers.tells_member(B, A), [heard(C, B)]);
}

//! Rooms whose media the server forwards (kurento.md A2, A3, A7).

mod operators;
mod visitors;

use std::sync::Arc;

use super::*;

/// What A, B, … are told.
type Heard = Vec<(ConnectionId, Told)>;

/// A hub, and what its media plane is told.
struct Hall {
    town: Town,
    commands: Vec<MediaCommand>,
}

impl Hall {
    fn new() -> Self {
        Self {
            town: Town::new(),
            commands: Vec::new(),
        }
    }

    /// A and B are in room `r` as `a` and `b`.
    fn of_two() -> Self {
        let mut hall = Self::new();
        assert_eq!(hall.enter(A, "r", "a"), [entered(A, &[])]);
        let told = hall.enter(B, "r", "b");
        assert_eq!(told, [joined(A, "b"), entered(B, &[("a", false)])]);
        hall
    }

    /// The same, and `a` publishes.
    fn with_publisher() -> (Self, MediaEnd) {
        let mut hall = Self::of_two();
        let end = hall.publish(A);
        assert_eq!(hall.answered(end), [sdp(A), published(B, "a")]);
        (hall, end)
    }

    fn ask_as(&mut self, from: ConnectionId, named: Option<Visitor>, ask: Ask) -> Heard {
        self.ask_with(Rights::ALL, from, named, ask)
    }

    fn ask_with(
        &mut self,
        rights: Rights,
        from: ConnectionId,
        named: Option<Visitor>,
        ask: Ask,
    ) -> Heard {
        let asked = Asked {
            named,
            own: own(from),
            rights,
            ask,
        };
        let heard = self.town.says(from, Command::Conference(asked));
        self.note(heard)
    }

    fn ask(&mut self, from: ConnectionId, ask: Ask) -> Heard {
        self.ask_as(from, None, ask)
    }

    fn enter(&mut self, from: ConnectionId, room: &str, user: &str) -> Heard {
        let (room, user) = (room.into(), user.into());
        self.ask(
            from,
            Ask::Enter {
                room,
                user,
                rights: Rights::ALL,
            },
        )
    }

    /// Asks to publish, and gives the end.
    fn publish(&mut self, from: ConnectionId) -> MediaEnd {
        assert_eq!(self.ask(from, publish()), []);
        let Some(MediaCommand::Publish { end, .. }) = self.commands.pop() else {
            panic!("nothing is published");
        };
        end
    }

    fn receive(&mut self, by: ConnectionId, from: &str) -> MediaEnd {
        assert_eq!(self.ask(by, receive(from)), []);
        let Some(MediaCommand::Receive { end, .. }) = self.commands.pop() else {
            panic!("nothing is received");
        };
        end
    }

    fn answered(&mut self, end: MediaEnd) -> Heard {
        let sdp = "answer".to_owned();
        self.media(MediaEvent::Answered { end, sdp })
    }

    fn failed(&mut self, end: MediaEnd, loss: MediaLoss) -> Heard {
        let why = "why".into();
        self.media(MediaEvent::Failed { end, why, loss })
    }

    fn media(&mut self, event: MediaEvent) -> Heard {
        let mut out = Vec::new();
        self.town.hub.handle_media(self.town.now, event, &mut out);
        self.note(out.into_iter().map(|it| (it.to, it.event)).collect())
    }

    fn evict(&mut self, room: &str, user: &str) -> Option<Heard> {
        let mut out = Vec::new();
        let is_done = self.town.hub.evict(room, user, &mut out);
        let told = self.note(out.into_iter().map(|it| (it.to, it.event)).collect());
        is_done.then_some(told)
    }

    fn close_room(&mut self, room: &str) -> Option<Heard> {
        let mut out = Vec::new();
        let is_done = self.town.hub.close_room(room, &mut out);
        let told = self.note(out.into_iter().map(|it| (it.to, it.event)).collect());
        is_done.map(|_| told)
    }

    fn leave(&mut self, who: ConnectionId) -> Heard {
        let told = self.town.says(who, Command::Leave);
        self.note(told)
    }

    fn pass(&mut self, time: Duration) -> Heard {
        self.town.now += time;
        let mut out = Vec::new();
        self.town.hub.handle_timeout(self.town.now, &mut out);
        self.note(out.into_iter().map(|it| (it.to, it.event)).collect())
    }

    fn note(&mut self, heard: Vec<(ConnectionId, Event)>) -> Heard {
        self.commands.extend(self.town.hub.take_media_commands());
        let told = heard.into_iter().map(|(to, event)| match event {
            Event::Conference(told) => (to, told),
            other => panic!("{other:?} in a world of rooms"),
        });
        told.collect()
    }

    fn counts(&self) -> (usize, usize, usize, usize) {
        let counts = self.town.hub.counts();
        (
            counts.forwarding_rooms,
            counts.participants,
            counts.publishers,
            counts.subscriptions,
        )
    }
}

fn own(of: ConnectionId) -> Visitor {
    Visitor(of.0.into())
}

fn publish() -> Ask {
    Ask::Publish {
        offer: "offer".to_owned(),
        loopback: false,
    }
}

fn receive(from: &str) -> Ask {
    Ask::Receive {
        from: from.into(),
        offer: "offer".to_owned(),
    }
}

fn granted(to: ConnectionId, granted: Granted) -> (ConnectionId, Told) {
    let visitor = own(to);
    let outcome = Ok(granted);
    (to, Told::Answer { visitor, outcome })
}

fn denied(to: ConnectionId, denied: Denied) -> (ConnectionId, Told) {
    let visitor = own(to);
    let outcome = Err(denied);
    (to, Told::Answer { visitor, outcome })
}

fn done(to: ConnectionId) -> (ConnectionId, Told) {
    granted(to, Granted::Done)
}

fn sdp(to: ConnectionId) -> (ConnectionId, Told) {
    granted(to, Granted::Sdp("answer".to_owned()))
}

fn entered(to: ConnectionId, others: &[(&str, bool)]) -> (ConnectionId, Told) {
    let others = others
        .iter()
        .map(|(user, publishes)| (Arc::from(*user), *publishes));
    let others = others.collect();
    granted(to, Granted::Entered { others })
}

fn joined(to: ConnectionId, user: &str) -> (ConnectionId, Told) {
    (to, Told::Joined { user: user.into() })
}

fn published(to: ConnectionId, user: &str) -> (ConnectionId, Told) {
    (to, Told::Published { user: user.into() })
}

fn unpublished(to: ConnectionId, user: &str) -> (ConnectionId, Told) {
    (to, Told::Unpublished { user: user.into() })
}

fn left(to: ConnectionId, user: &str) -> (ConnectionId, Told) {
    (to, Told::Left { user: user.into() })
}

#[test]
fn rooms_know_nothing_of_each_other() {
    let mut hall = Hall::of_two();
    assert_eq!(hall.enter(C, "s", "a"), [entered(C, &[])]);
    let end = hall.publish(C);
    assert_eq!(hall.answered(end), [sdp(C)]);
    assert_eq!(hall.ask(C, Ask::Exit), [done(C)]);
    assert_eq!(hall.counts(), (1, 2, 0, 0));
}

#[test]
fn a_name_is_taken_once_and_a_visitor_is_in_one_room() {
    let mut hall = Hall::of_two();
    let taken = |to| {
        let (room, user) = ("r".into(), "a".into());
        [denied(to, Denied::NameTaken { room, user })]
    };
    assert_eq!(hall.enter(A, "r", "a"), taken(A));
    assert_eq!(hall.enter(C, "r", "a"), taken(C));
    for (room, user) in [("r", "z"), ("s", "a")] {
        let (in_room, as_user) = ("r".into(), "a".into());
        let in_room = Denied::InRoom {
            room: in_room,
            user: as_user,
        };
        assert_eq!(hall.enter(A, room, user), [denied(A, in_room)]);
    }
    assert_eq!(hall.enter(C, "t", ""), [denied(C, Denied::EmptyName)]);
    assert_eq!(
        hall.counts(),
        (1, 2, 0, 0),
        "no room is made by a join that fails"
    );
}

#[test]
fn limits_hold() {
    let mut hall = Hall::of_two();
    assert_eq!(
        hall.enter(C, "r", "c").last(),
        Some(&entered(C, &[("a", false), ("b", false)]))
    );
    let full = Denied::RoomFull {
        room: "r".into(),
        limit: 3,
    };
    assert_eq!(hall.enter(D, "r", "d"), [denied(D, full)]);
    assert_eq!(hall.enter(D, "s", "d"), [entered(D, &[])]);
    let e = ConnectionId(5);
    assert_eq!(
        hall.enter(e, "t", "e"),
        [denied(e, Denied::TooManyRooms(2))]
    );
    hall.publish(A);
    hall.publish(B);
    assert_eq!(
        hall.ask(C, publish()),
        [denied(C, Denied::PublishersFull(2))]
    );
    // The sixth visitor, and the seventh.
    let f = ConnectionId(6);
    assert_eq!(hall.ask(f, Ask::Begin), [done(f)]);
    let g = ConnectionId(7);
    assert_eq!(
        hall.ask(g, Ask::Begin),
        [denied(g, Denied::VisitorsFull(6))]
    );
    assert_eq!(hall.leave(D), []);
    assert_eq!(hall.ask(g, Ask::Begin), [done(g)], "who is away makes room");
    assert_eq!(hall.counts().0, 1);
}

#[test]
fn others_hear_of_a_publisher_when_there_is_an_answer() {
    let mut hall = Hall::of_two();
    let end = hall.publish(A);
    let told = hall.enter(C, "r", "c");
    assert_eq!(
        told.last(),
        Some(&entered(C, &[("a", false), ("b", false)]))
    );
    let told = hall.ask(B, receive("a"));
    let (room, user) = ("r".into(), "a".into());
    assert_eq!(told, [denied(B, Denied::NothingToReceive { room, user })]);
    assert_eq!(
        hall.ask(A, publish()),
        [denied(A, Denied::Publishing("a".into()))]
    );
    let told = hall.answered(end);
    assert_eq!(told, [sdp(A), published(B, "a"), published(C, "a")]);
    assert_eq!(hall.answered(end), [], "once");
    assert_eq!(hall.counts(), (1, 3, 1, 0));
}

#[test]
fn a_refused_offer_leaves_the_room_as_it_was() {
    let mut hall = Hall::of_two();
    let end = hall.publish(A);
    let why = MediaRefusal::Offer("bad".into());
    let told = hall.media(MediaEvent::Refused {
        end,
        why: why.clone(),
    });
    let user = "a".into();
    assert_eq!(told, [denied(A, Denied::NotPublished { user, why })]);
    assert_eq!(hall.counts(), (1, 2, 0, 0));
    let end = hall.publish(A);
    assert_eq!(hall.answered(end), [sdp(A), published(B, "a")]);
}

#[test]
fn a_plane_that_does_not_answer_is_given_up() {
    let mut hall = Hall::of_two();
    let end = hall.publish(A);
    let late = MediaRefusal::Late(LIMITS.conference.answer);
    let told = hall.pass(LIMITS.conference.answer);
    let (user, why) = ("a".into(), late);
    assert_eq!(told, [denied(A, Denied::NotPublished { user, why })]);
    let room = MediaRoom(1);
    assert_eq!(
        hall.commands.pop(),
        Some(MediaCommand::Remove { room, end })
    );
    assert_eq!(hall.answered(end), []);
    assert_eq!(hall.town.hub.next_timeout(), None);
}

#[test]
fn one_receives_each_publisher_once_and_oneself_too() {
    let (mut hall, _) = Hall::with_publisher();
    let end = hall.receive(B, "a");
    let (user, from) = ("b".into(), "a".into());
    let again = Denied::Receiving { user, from };
    assert_eq!(hall.ask(B, receive("a")), [denied(B, again.clone())]);
    assert_eq!(hall.answered(end), [sdp(B)]);
    assert_eq!(hall.ask(B, receive("a")), [denied(B, again)]);
    let own = hall.receive(A, "a");
    assert_eq!(hall.answered(own), [sdp(A)]);
    let (room, user) = (Arc::from("r"), Arc::from("z"));
    let absent = Denied::NoSuchUser { room, user };
    assert_eq!(hall.ask(B, receive("z")), [denied(B, absent.clone())]);
    let from = "z".into();
    assert_eq!(hall.ask(B, Ask::Unsubscribe { from }), [denied(B, absent)]);
    assert_eq!(hall.counts(), (1, 2, 1, 2));
    for _ in 0..2 {
        let from = "a".into();
        assert_eq!(hall.ask(B, Ask::Unsubscribe { from }), [done(B)]);
    }
    assert_eq!(hall.counts(), (1, 2, 1, 1));
    hall.receive(B, "a");
}

#[test]
fn who_unpublishes_takes_the_subscriptions_along_and_may_publish_again() {
    let (mut hall, end) = Hall::with_publisher();
    let received = hall.receive(B, "a");
    assert_eq!(hall.answered(received), [sdp(B)]);
    hall.receive(A, "a");
    let told = hall.ask(A, Ask::Unpublish);
    let gone = Denied::NothingToReceive {
        room: "r".into(),
        user: "a".into(),
    };
    assert_eq!(told, [done(A), denied(A, gone), unpublished(B, "a")]);
    let room = MediaRoom(1);
    assert_eq!(hall.commands, [MediaCommand::Remove { room, end }]);
    assert_eq!(hall.counts(), (1, 2, 0, 0));
    let told = hall.ask(A, Ask::Unpublish);
    assert_eq!(told, [denied(A, Denied::NotPublishing("a".into()))]);
    let end = hall.publish(A);
    assert_eq!(hall.answered(end), [sdp(A), published(B, "a")]);
}

#[test]
fn who_leaves_is_told_last_and_the_last_one_takes_the_room_along() {
    let (mut hall, end) = Hall::with_publisher();
    hall.receive(B, "a");
    let told = hall.ask(A, Ask::Exit);
    let gone = Denied::NothingToReceive {
        room: "r".into(),
        user: "a".into(),
    };
    assert_eq!(told, [denied(B, gone), left(B, "a"), done(A)]);
    let room = MediaRoom(1);
    assert_eq!(hall.commands, [MediaCommand::Remove { room, end }]);
    let told = hall.ask(A, Ask::Exit);
    assert_eq!(told, [denied(A, Denied::NotInRoom(own(A)))]);
    assert_eq!(hall.ask(B, Ask::End), [done(B)]);
    assert_eq!(hall.commands.pop(), Some(MediaCommand::CloseRoom(room)));
    assert_eq!(hall.counts(), (0, 0, 0, 0));
}

#[test]
fn outside_of_rooms_nothing_works() {
    let mut hall = Hall::new();
    let say = Ask::Say {
        user: "a".into(),
        room: "r".into(),
        message: "m".into(),
    };
    let from = "b".into();
    let unsubscribe = Ask::Unsubscribe { from };
    for ask in [
        publish(),
        Ask::Unpublish,
        receive("b"),
        unsubscribe,
        Ask::Candidate,
        say,
        Ask::Exit,
    ] {
        assert_eq!(hall.ask(A, ask), [denied(A, Denied::NotInRoom(own(A)))]);
    }
    assert_eq!(hall.ask(A, Ask::Locate), [granted(A, Granted::Place(None))]);
}

#[test]
fn what_is_said_is_heard_by_all_and_only_under_the_own_name() {
    let mut hall = Hall::of_two();
    let say = |user: &str, room: &str| Ask::Say {
        user: user.into(),
        room: room.into(),
        message: "m".into(),
    };
    let said = |to| {
        let (room, user, message) = ("r".into(), "a".into(), "m".into());
        (
            to,
            Told::Said {
                room,
                user,
                message,
            },
        )
    };
    assert_eq!(hall.ask(A, say("a", "r")), [done(A), said(A), said(B)]);
    assert_eq!(
        hall.ask(A, say("b", "r")),
        [denied(A, Denied::NotOwnName("b".into()))]
    );
    assert_eq!(
        hall.ask(A, say("a", "s")),
        [denied(A, Denied::NotOwnRoom("s".into()))]
    );
}

#[test]
fn candidates_go_to_the_owner_of_their_end() {
    let (mut hall, end) = Hall::with_publisher();
    let received = hall.receive(B, "a");
    let candidate = MediaCandidate {
        mid: "0".to_owned(),
        line: 0,
        candidate: "candidate:1".to_owned(),
    };
    for (end, to) in [(end, A), (received, B)] {
        let event = MediaEvent::Candidate {
            end,
            candidate: candidate.clone(),
        };
        let of = "a".into();
        let candidate = candidate.clone();
        assert_eq!(hall.media(event), [(to, Told::Candidate { of, candidate })]);
    }
    assert_eq!(hall.ask(A, Ask::Candidate), [done(A)]);
}

#[test]
fn the_evicted_is_told_after_the_others_and_may_come_back() {
    let (mut hall, _) = Hall::with_publisher();
    assert_eq!(hall.evict("r", "z"), None);
    assert_eq!(hall.evict("s", "a"), None);
    let told = hall.evict("r", "a").unwrap();
    assert_eq!(told, [left(B, "a"), (A, Told::Evicted)]);
    assert_eq!(
        hall.ask(A, publish()),
        [denied(A, Denied::NotInRoom(own(A)))]
    );
    assert_eq!(
        hall.enter(A, "r", "a").last(),
        Some(&entered(A, &[("b", false)]))
    );
}

#[test]
fn a_closed_room_tells_everyone_once() {
    let (mut hall, _) = Hall::with_publisher();
    hall.receive(B, "a");
    assert_eq!(hall.close_room("s"), None);
    let closed = |to| (to, Told::Closed { room: "r".into() });
    let gone = denied(B, Denied::Gone("b".into()));
    assert_eq!(hall.close_room("r").unwrap(), [closed(A), gone, closed(B)]);
    assert_eq!(
        hall.commands.pop(),
        Some(MediaCommand::CloseRoom(MediaRoom(1)))
    );
    assert_eq!(
        hall.ask(A, publish()),
        [denied(A, Denied::NotInRoom(own(A)))]
    );
    assert_eq!(hall.counts(), (0, 0, 0, 0));
}

#[test]
fn a_publisher_whose_media_dies_is_put_out() {
    let (mut hall, end) = Hall::with_publisher();
    let told = hall.failed(end, MediaLoss::Lost);
    let failed = (A, Told::MediaFailed { why: "why".into() });
    assert_eq!(told, [failed, left(B, "a"), (A, Told::Evicted)]);
    assert_eq!(hall.failed(end, MediaLoss::Lost), []);
    assert_eq!(hall.counts(), (1, 1, 0, 0));
}

#[test]
fn a_publisher_that_could_not_connect_stays_and_may_try_again() {
    let (mut hall, end) = Hall::with_publisher();
    hall.receive(B, "a");
    let told = hall.failed(end, MediaLoss::Unconnected);
    let failed = (A, Told::MediaFailed { why: "why".into() });
    let (room, user) = ("r".into(), "a".into());
    let nothing = denied(B, Denied::NothingToReceive { room, user });
    assert_eq!(told, [failed, nothing, unpublished(B, "a")]);
    assert_eq!(hall.counts(), (1, 2, 0, 0));
    let end = hall.publish(A);
    assert_eq!(hall.answered(end).len(), 2);
    assert_eq!(hall.counts(), (1, 2, 1, 0));
}

#[test]
fn a_publisher_that_closes_may_say_so_in_time() {
    let (mut hall, end) = Hall::with_publisher();
    assert_eq!(hall.failed(end, MediaLoss::Closed), []);
    assert_eq!(hall.ask(A, Ask::Unpublish), [done(A), unpublished(B, "a")]);
    assert_eq!(hall.pass(LIMITS.conference.farewell), []);
    let end = hall.publish(A);
    hall.answered(end);
    assert_eq!(hall.failed(end, MediaLoss::Closed), []);
    assert_eq!(hall.town.hub.reached().farewells, 0);
    let told = hall.pass(LIMITS.conference.farewell);
    assert_eq!(hall.town.hub.reached().farewells, 1);
    let why = "the peer closed its connection".into();
    let failed = (A, Told::MediaFailed { why });
    assert_eq!(told, [failed, left(B, "a"), (A, Told::Evicted)]);
}

#[test]
fn only_the_receiver_is_told_that_its_own_end_failed() {
    let (mut hall, _) = Hall::with_publisher();
    let end = hall.receive(B, "a");
    hall.answered(end);
    let failed = (B, Told::MediaFailed { why: "why".into() });
    assert_eq!(hall.failed(end, MediaLoss::Lost), [failed]);
    let end = hall.receive(B, "a");
    hall.answered(end);
    assert_eq!(hall.failed(end, MediaLoss::Closed), [], "it knows");
    assert_eq!(hall.counts(), (1, 2, 1, 0));
}

#[test]
fn a_member_does_what_its_rights_allow() {
    let (mut hall, _) = Hall::with_publisher();
    hall.commands.clear();
    let enter = Ask::Enter {
        room: "r".into(),
        user: "c".into(),
        rights: Rights::NONE,
    };
    hall.ask(C, enter);
    let say = Ask::Say {
        user: "c".into(),
        room: "r".into(),
        message: "hello".into(),
    };
    for (ask, what) in [
        (publish(), "publish"),
        (receive("a"), "receive"),
        (say, "send messages"),
    ] {
        let forbidden = Denied::Forbidden(what.into());
        assert_eq!(hall.ask(C, ask), [denied(C, forbidden)]);
    }
    assert!(hall.commands.is_empty());
}

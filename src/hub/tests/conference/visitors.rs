//! Visitors and their connections: lost, taken over, spoken for.

use super::*;

#[test]
fn a_lost_connection_is_awaited_and_then_its_visitor_is_gone() {
    let (mut hall, _) = Hall::with_publisher();
    let resume = LIMITS.conference.resume;
    assert_eq!(hall.leave(A), []);
    assert_eq!(hall.pass(resume - Duration::from_millis(1)), []);
    let (room, user) = ("r".into(), "a".into());
    let taken = Denied::NameTaken { room, user };
    assert_eq!(hall.enter(C, "r", "a"), [denied(C, taken)]);
    hall.receive(B, "a");
    let gone = Denied::NothingToReceive {
        room: "r".into(),
        user: "a".into(),
    };
    let told = hall.pass(Duration::from_millis(1));
    assert_eq!(told, [denied(B, gone), left(B, "a")]);
    assert_eq!(hall.counts(), (1, 1, 0, 0));
}

#[test]
fn who_left_is_not_told_what_it_waited_for() {
    let mut hall = Hall::of_two();
    let end = hall.publish(A);
    assert_eq!(hall.leave(A), []);
    assert_eq!(hall.answered(end), [published(B, "a")]);
    // Nor that it has none.
    let mut hall = Hall::of_two();
    hall.publish(A);
    assert_eq!(hall.leave(A), []);
    let told = hall.pass(LIMITS.conference.answer.max(LIMITS.conference.resume));
    assert_eq!(told, [left(B, "a")]);
}

#[test]
fn a_visitor_goes_on_by_another_connection() {
    let (mut hall, _) = Hall::with_publisher();
    let resumed = |to| {
        let (visitor, outcome) = (own(A), Ok(Granted::Resumed));
        (to, Told::Answer { visitor, outcome })
    };
    assert_eq!(hall.leave(A), []);
    assert_eq!(hall.ask_as(C, Some(own(A)), Ask::Resume), [resumed(C)]);
    assert_eq!(hall.pass(LIMITS.conference.resume), []);
    // Without naming it, too.
    let told = hall.ask(C, Ask::Unpublish);
    let (visitor, outcome) = (own(A), Ok(Granted::Done));
    assert_eq!(
        told,
        [(C, Told::Answer { visitor, outcome }), unpublished(B, "a")]
    );
    // From a connection that lives.
    let told = hall.ask_as(D, Some(own(A)), Ask::Resume);
    assert_eq!(told, [(C, Told::Moved), resumed(D)]);
    assert_eq!(hall.leave(C), []);
    assert_eq!(hall.pass(LIMITS.conference.resume), []);
    let unknown = Visitor(99);
    let (visitor, outcome) = (unknown, Err(Denied::UnknownVisitor));
    let told = hall.ask_as(B, Some(unknown), Ask::Resume);
    assert_eq!(told, [(B, Told::Answer { visitor, outcome })]);
    assert_eq!(hall.counts(), (1, 2, 0, 0));
}

#[test]
fn who_may_do_less_than_a_visitor_does_not_speak_for_it() {
    let mut hall = Hall::of_two();
    let less = Rights {
        publish: false,
        ..Rights::ALL
    };
    for ask in [Ask::Resume, Ask::Exit] {
        let told = hall.ask_with(less, C, Some(own(A)), ask);
        assert!(
            matches!(
                &told[..],
                [(
                    C,
                    Told::Answer {
                        outcome: Err(Denied::Forbidden(_)),
                        ..
                    }
                )]
            ),
            "{told:?}"
        );
    }
    // Nor did `a` come to harm.
    let told = hall.ask(A, Ask::Locate);
    let place = Some(("r".into(), "a".into()));
    let (visitor, outcome) = (own(A), Ok(Granted::Place(place)));
    assert_eq!(told, [(A, Told::Answer { visitor, outcome })]);
}

#[test]
fn who_comes_back_is_told_what_has_changed() {
    let (mut hall, _) = Hall::with_publisher();
    let resumed = |of, to| {
        let (visitor, outcome) = (own(of), Ok(Granted::Resumed));
        (to, Told::Answer { visitor, outcome })
    };
    // Nothing has.
    assert_eq!(hall.leave(B), []);
    assert_eq!(hall.ask_as(C, Some(own(B)), Ask::Resume), [resumed(B, C)]);
    assert_eq!(hall.leave(C), []);
    // `a` publishes again, and `d` comes and publishes.
    hall.ask(A, Ask::Unpublish);
    let end = hall.publish(A);
    hall.answered(end);
    hall.enter(D, "r", "d");
    let end = hall.publish(D);
    hall.answered(end);
    let told = hall.ask_as(C, Some(own(B)), Ask::Resume);
    let missed = [
        resumed(B, C),
        unpublished(C, "a"),
        published(C, "a"),
        joined(C, "d"),
        published(C, "d"),
    ];
    assert_eq!(told, missed);
    // `a` leaves and somebody else comes under that name.
    assert_eq!(hall.leave(C), []);
    hall.ask(A, Ask::Exit);
    hall.enter(ConnectionId(5), "r", "a");
    let told = hall.ask_as(C, Some(own(B)), Ask::Resume);
    let missed = [resumed(B, C), left(C, "a"), joined(C, "a")];
    assert_eq!(told, missed);
    // It was put out itself.
    assert_eq!(hall.leave(C), []);
    hall.evict("r", "b").unwrap();
    let told = hall.ask_as(C, Some(own(B)), Ask::Resume);
    assert_eq!(told, [resumed(B, C), (C, Told::Evicted)]);
}

#[test]
fn who_names_a_visitor_speaks_for_it_and_gets_the_answer() {
    let mut hall = Hall::of_two();
    let told = hall.ask_as(C, Some(own(A)), Ask::Locate);
    let (visitor, place) = (own(A), Some((Arc::from("r"), Arc::from("a"))));
    let outcome = Ok(Granted::Place(place));
    assert_eq!(told, [(C, Told::Answer { visitor, outcome })]);
    // One that nobody knows: the own one.
    let told = hall.ask_as(C, Some(Visitor(99)), Ask::Locate);
    assert_eq!(told, [granted(C, Granted::Place(None))]);
}

//! What the edge asks of conversations.

use super::*;

fn ids(town: &Town) -> Vec<CallId> {
    let mut ids: Vec<_> = town.hub.call_ids().collect();
    ids.sort_unstable();
    ids
}

fn end(town: &mut Town, id: CallId) -> Option<Vec<(ConnectionId, Event)>> {
    let mut out = Vec::new();
    let is_done = town.hub.end_call(town.now, id, &mut out);
    let told = out.into_iter().map(|it| (it.to, it.event)).collect();
    is_done.then_some(told)
}

fn counted(town: &Town, id: CallId) -> (u64, u64) {
    let call = town.hub.open_call(id).unwrap();
    (call.to_endpoint, call.to_caller)
}

/// Two peers, B and C, of which B has called.
fn paired(town: &mut Town) {
    for (who, name) in [(B, "b"), (C, "c")] {
        let id = EndpointId::new(Namespace::Peer, name).unwrap();
        town.says(
            who,
            Command::Register {
                id,
                info: None,
                holds_viewers: false,
            },
        );
    }
    let with = EndpointId::new(Namespace::Peer, "c").unwrap();
    let frame = Payload::from("SESSION c");
    let otherwise = Some(Request::Pair(with));
    let told = town.says(B, Command::ToPartner { frame, otherwise });
    assert_eq!(told, [(B, Event::Paired), (C, Event::PairedBy)]);
}

fn say(town: &mut Town, who: ConnectionId) {
    let frame = Payload::from("hello");
    let otherwise = None;
    town.says(who, Command::ToPartner { frame, otherwise });
}

#[test]
fn ids_are_read_as_they_are_printed() {
    let session = SessionId::from_random([7; 16]);
    for id in [CallId::Call(A), CallId::Pair(B), CallId::Session(session)] {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for text in [
        "",
        "17",
        "call",
        "call-",
        "call--1",
        "call-x",
        "room-1",
        "session-1",
    ] {
        assert_eq!(text.parse::<CallId>(), Err(NoCallId), "{text}");
    }
}

#[test]
fn a_call_is_shown_with_what_is_said_and_ends_for_both() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    town.call(C, "x");
    let (first, second) = (CallId::Call(B), CallId::Call(C));
    assert_eq!(ids(&town), [first, second]);
    town.tell_endpoint(B);
    town.tell_endpoint(B);
    town.tell_caller(A, 1);
    town.tell_caller(A, 2);
    assert_eq!(
        (counted(&town, first), counted(&town, second)),
        ((2, 1), (0, 1))
    );
    let call = town.hub.open_call(first).unwrap();
    assert_eq!((call.caller, call.endpoint_connection), (B, Some(A)));
    assert_eq!((call.endpoint, call.since), (endpoint("x"), town.now));
    let told = end(&mut town, first).unwrap();
    assert_eq!(told, [(B, Event::EndpointLeft), caller_left(A, 1)]);
    assert_eq!(end(&mut town, first), None);
    assert_eq!(ids(&town), [second]);
    // Nothing of it is left, and the caller may call again.
    assert_eq!(town.tell_endpoint(B), []);
    assert_eq!(town.call(B, "x"), [opened(B, 3, A)]);
    assert_eq!(counted(&town, first), (0, 0));
    for who in [A, B, C] {
        town.leave(who);
    }
    town.assert_empty();
}

#[test]
fn who_waits_or_is_in_a_room_is_in_no_call() {
    let mut town = Town::new();
    town.wait_for(A, "x");
    assert_eq!(ids(&town), []);
    assert_eq!(end(&mut town, CallId::Call(A)), None);
    assert_eq!(end(&mut town, CallId::Pair(A)), None);
}

#[test]
fn a_pair_goes_by_who_asked_for_it_and_ends_for_both() {
    let mut town = Town::new();
    paired(&mut town);
    for who in [B, B, C] {
        say(&mut town, who);
    }
    assert_eq!(ids(&town), [CallId::Pair(B)]);
    assert_eq!(counted(&town, CallId::Pair(B)), (2, 1));
    assert_eq!(town.hub.open_call(CallId::Pair(C)), None);
    assert_eq!(end(&mut town, CallId::Pair(C)), None);
    let told = end(&mut town, CallId::Pair(B)).unwrap();
    assert_eq!(told, [(B, Event::PartnerLeft), (C, Event::PartnerLeft)]);
    town.assert_empty();
}

#[test]
fn a_pair_with_oneself_ends_once() {
    let mut town = Town::new();
    let id = EndpointId::new(Namespace::Peer, "a").unwrap();
    town.says(
        A,
        Command::Register {
            id: id.clone(),
            info: None,
            holds_viewers: false,
        },
    );
    let frame = Payload::from("SESSION a");
    let otherwise = Some(Request::Pair(id));
    town.says(A, Command::ToPartner { frame, otherwise });
    assert_eq!(ids(&town), [CallId::Pair(A)]);
    let told = end(&mut town, CallId::Pair(A)).unwrap();
    assert_eq!(told, [(A, Event::PartnerLeft)]);
    town.assert_empty();
}

#[test]
fn a_session_is_shown_with_what_is_said_and_ends_for_both() {
    let mut town = Town::new();
    let gecko = EndpointId::new(Namespace::Gecko, "g").unwrap();
    town.says(
        A,
        Command::Serve(Offer {
            id: gecko.clone(),
            owner: None,
            capacity: None,
            hears_closes: true,
        }),
    );
    let session = SessionId(7);
    let demand = Demand {
        session,
        account: AccountId::new("b"),
        access: Access::Control,
        payload: Payload::from("demand"),
    };
    town.says(B, Command::Demand(demand));
    let payload = Payload::from("candidate");
    town.says(
        B,
        Command::ToServer {
            payload: payload.clone(),
        },
    );
    let (to, step) = (Addressee::Session(session), Step::Message);
    town.says(A, Command::ToSession { to, step, payload });
    let id = CallId::Session(session);
    assert_eq!((ids(&town), counted(&town, id)), (vec![id], (2, 1)));
    let call = town.hub.open_call(id).unwrap();
    assert_eq!((call.endpoint, call.endpoint_connection), (gecko, Some(A)));
    let told = end(&mut town, id).unwrap();
    let gone = Event::SessionEnded(SessionError::EndpointLeft);
    assert_eq!(told[0], (B, gone));
    let is_told = matches!(told[1], (A, Event::SessionClosed { session: it, .. }) if it == session);
    assert!(is_told, "{told:?}");
    assert_eq!((ids(&town), end(&mut town, id)), (vec![], None));
}

#[test]
fn a_connection_is_known_by_what_it_registered_as() {
    let mut town = Town::with_endpoint();
    town.call(B, "x");
    assert_eq!(town.hub.registered_as(A), Some(&endpoint("x")));
    assert_eq!(town.hub.registered_as(B), None);
    town.register(C, "x");
    assert_eq!(town.hub.registered_as(C), None, "it only wants to be");
    town.leave(A);
    assert_eq!(town.hub.registered_as(C), Some(&endpoint("x")));
}

#[test]
fn the_caller_of_a_call_among_several_is_known_even_when_it_has_left() {
    let mut town = Town::with_endpoint();
    let who = |town: &Town, call| town.hub.one_of_several(A, CallNumber(call));
    assert_eq!(town.call(B, "x"), [opened(B, 1, A)]);
    assert_eq!(who(&town, 1), None, "nobody else calls");
    assert_eq!(town.call(C, "x"), [opened(C, 2, A)]);
    assert_eq!(who(&town, 1), Some(Caller::Here(B)));
    assert_eq!(who(&town, 2), Some(Caller::Here(C)));
    assert_eq!(who(&town, 3), None, "there was no such call");
    assert_eq!(town.hub.one_of_several(B, CallNumber(1)), None);
    town.leave(B);
    assert_eq!(who(&town, 1), Some(Caller::Gone));
    assert_eq!(who(&town, 2), None);
    town.leave(C);
    assert_eq!(who(&town, 1), None, "nobody calls");
}

#[test]
fn who_calls_itself_is_nobody_to_send_away() {
    let mut town = Town::with_endpoint();
    town.call(A, "x");
    town.call(B, "x");
    assert_eq!(town.hub.one_of_several(A, CallNumber(1)), None);
    let other = town.hub.one_of_several(A, CallNumber(2));
    assert_eq!(other, Some(Caller::Here(B)));
}

//! Sessions with endpoints of a pool.

use super::*;

const E: ConnectionId = ConnectionId(5);

fn gecko(id: &str) -> EndpointId {
    EndpointId::new(Namespace::Gecko, id).unwrap()
}

fn offer(id: &str) -> Offer {
    Offer {
        id: gecko(id),
        owner: None,
        capacity: None,
        hears_closes: true,
    }
}

/// What a gecko was told, without the tickets.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Text(String),
    Closed(u128, Closed),
}

impl Town {
    /// A town in which A serves as `x`.
    fn with_server() -> Self {
        let mut town = Self::new();
        assert_eq!(town.serve(A, "x"), [(A, Event::Registered)]);
        town
    }

    fn serve(&mut self, from: ConnectionId, id: &str) -> Vec<(ConnectionId, Event)> {
        self.says(from, Command::Serve(offer(id)))
    }

    /// A demand of the connection, whose session has its number.
    fn demand(&mut self, from: ConnectionId, account: &str) -> Vec<(ConnectionId, Event)> {
        self.says(
            from,
            Command::Demand(Demand {
                access: Access::Control,
                session: session(from),
                account: AccountId::new(account),
                payload: Payload::from(format!("demand {}", from.0)),
            }),
        )
    }

    fn tell_server(&mut self, from: ConnectionId, text: &str) -> Vec<(ConnectionId, Event)> {
        let payload = Payload::from(text);
        self.says(from, Command::ToServer { payload })
    }

    fn reply(
        &mut self,
        from: ConnectionId,
        to: Addressee,
        step: Step,
    ) -> Vec<(ConnectionId, Event)> {
        let payload = Payload::from("reply");
        self.says(from, Command::ToSession { to, step, payload })
    }

    fn answer(&mut self, from: ConnectionId, to: ConnectionId) {
        let out = self.reply(from, of(to), answered(&[]));
        assert_eq!(out, [said(to, answered(&[]))]);
    }

    /// Takes what the endpoint was told.
    fn take(&mut self, events: Vec<(ConnectionId, Event)>, who: ConnectionId) -> Vec<Told> {
        let mine = events.into_iter().filter(|(to, _)| *to == who);
        let told: Vec<_> = mine
            .filter_map(|(_, event)| match event {
                Event::FromSession { ticket, payload } => {
                    Some((ticket, Told::Text(payload.as_str().to_owned())))
                }
                Event::SessionClosed {
                    ticket,
                    session,
                    why,
                } => Some((ticket, Told::Closed(session.0, why))),
                _ => None,
            })
            .collect();
        told.into_iter()
            .map(|(ticket, told)| {
                assert_eq!(self.says(who, Command::Taken(ticket)), []);
                told
            })
            .collect()
    }
}

fn session(of: ConnectionId) -> SessionId {
    SessionId(of.0.into())
}

fn of(who: ConnectionId) -> Addressee {
    Addressee::Session(session(who))
}

fn answered(tags: &[&str]) -> Step {
    Step::Answer {
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
    }
}

fn said(to: ConnectionId, step: Step) -> (ConnectionId, Event) {
    let payload = Payload::from("reply");
    (to, Event::SessionSaid { step, payload })
}

fn ended(who: ConnectionId, why: SessionError) -> (ConnectionId, Event) {
    (who, Event::SessionEnded(why))
}

fn text(text: &str) -> Told {
    Told::Text(text.to_owned())
}

#[test]
fn who_leaves_as_an_endpoint_and_its_own_caller_is_told_nothing() {
    let mut town = Town::new();
    let listening = Offer {
        hears_closes: true,
        ..offer("x")
    };
    town.says(A, Command::Serve(listening));
    town.demand(A, "a");
    assert_eq!(town.leave(A), []);
}

#[test]
fn a_session_goes_from_demand_to_connected() {
    let mut town = Town::with_server();
    let demand = town.demand(B, "b");
    assert_eq!(town.take(demand, A), [text("demand 2")]);
    let message = town.tell_server(B, "candidate");
    assert_eq!(town.take(message, A), [text("candidate")]);
    town.answer(A, B);
    let out = town.reply(A, of(B), Step::Message);
    assert_eq!(out, [said(B, Step::Message)]);
    let out = town.reply(A, of(B), Step::Connected);
    assert_eq!(out, [said(B, Step::Connected)]);
    assert_eq!(town.tell_server(B, "late"), []);
    assert_eq!(town.leave(B), []);
    assert_eq!(town.reply(A, of(B), Step::Message), []);
    // The account is remembered, so the endpoint is awaited for its sake only.
    assert_eq!(town.leave(A), []);
    assert_eq!(town.hub.counts().endpoints_away, 1);
    assert_eq!(town.pass(LIMITS.pool.grace), []);
    town.assert_empty();
}

#[test]
fn without_endpoints_there_is_no_session() {
    let mut town = Town::new();
    assert_eq!(town.demand(B, "b"), [ended(B, SessionError::NoEndpoint)]);
    town.assert_empty();
}

#[test]
fn an_answer_is_awaited_from_the_demand_and_a_connection_from_the_first_answer() {
    let mut town = Town::with_server();
    let (answer, connect) = (LIMITS.pool.answer, LIMITS.pool.connect);
    town.demand(B, "b");
    town.demand(C, "c");
    assert_eq!(town.pass(answer / 2), []);
    town.answer(A, C);
    assert_eq!(town.pass(connect / 2), []);
    town.answer(A, C);
    let out = town.pass(answer / 2 - connect / 2);
    assert_eq!(out[0], ended(B, SessionError::Unanswered(answer)));
    let out = town.pass(connect);
    assert_eq!(out[0], ended(C, SessionError::Unconnected(connect)));
    assert!(matches!(
        out[1],
        (
            A,
            Event::SessionClosed {
                why: Closed::TimedOut,
                ..
            }
        )
    ));
}

#[test]
fn an_endpoint_in_another_s_name_or_of_nobody_reaches_nobody() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    town.serve(D, "y");
    let none = |session| Event::NoSession { session };
    let out = town.reply(D, of(B), Step::Failed);
    assert_eq!(out, [(D, none(Some(session(B))))]);
    let out = town.reply(D, Addressee::Latest, Step::Message);
    assert_eq!(out, [(D, none(None))]);
    assert_eq!(town.reply(D, Addressee::Only, Step::FatalMistake), []);
    assert_eq!(town.reply(E, of(B), Step::Failed), []);
    town.answer(A, B);
}

#[test]
fn an_endpoint_may_leave_out_the_session() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    let latest = |town: &mut Town| town.reply(A, Addressee::Latest, Step::Message);
    assert_eq!(latest(&mut town), [said(B, Step::Message)]);
    town.demand(C, "c");
    assert_eq!(latest(&mut town), [(A, Event::NoSession { session: None })]);
    town.reply(A, of(C), answered(&["both", "c"]));
    town.reply(A, of(B), answered(&["both", "b"]));
    assert_eq!(latest(&mut town), [said(B, Step::Message)]);
    for (tag, to) in [("c", C), ("b", B), ("both", B), ("other", B)] {
        let out = town.reply(A, Addressee::Tagged(tag.into()), Step::Message);
        assert_eq!(out, [said(to, Step::Message)], "{tag}");
    }
    town.reply(A, of(B), Step::Connected);
    assert_eq!(latest(&mut town), [said(C, Step::Message)]);
}

#[test]
fn the_newest_registration_gets_the_sessions_and_what_was_not_taken() {
    let mut town = Town::with_server();
    let demand = town.demand(B, "b");
    town.take(demand, A);
    town.tell_server(B, "one");
    town.tell_server(B, "two");
    let out = town.serve(D, "x");
    assert_eq!(out[..2], [(A, Event::Replaced), (D, Event::Registered)]);
    assert_eq!(town.take(out, D), [text("one"), text("two")]);
    // The old connection counts no more.
    assert_eq!(town.reply(A, of(B), Step::Failed), []);
    assert_eq!(town.leave(A), []);
    town.answer(D, B);
    let out = town.serve(A, "x");
    assert_eq!(town.take(out, A), []);
}

#[test]
fn what_waits_for_an_absent_endpoint_comes_once_and_in_order() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    town.reply(A, of(B), Step::Connected);
    town.leave(A);
    assert_eq!(town.demand(B, "b"), []);
    assert_eq!(town.tell_server(B, "one"), []);
    assert_eq!(town.demand(C, "b"), []);
    assert_eq!(town.demand(D, "b"), []);
    assert_eq!(town.leave(C), []);
    assert_eq!(town.pass(LIMITS.pool.grace - Duration::from_millis(1)), []);
    let out = town.serve(E, "x");
    let told = town.take(out, E);
    assert_eq!(told, [text("demand 2"), text("one"), text("demand 4")]);
    let out = town.serve(A, "x");
    assert_eq!(town.take(out, A), []);
}

#[test]
fn an_endpoint_that_does_not_come_back_ends_what_it_was_told_and_leaves_the_rest_to_others() {
    let mut town = Town::with_server();
    let demand = town.demand(B, "b");
    town.take(demand, A);
    town.demand(C, "c");
    town.tell_server(C, "one");
    town.leave(A);
    town.serve(D, "y");
    let out = town.pass(LIMITS.pool.grace);
    assert_eq!(
        out[0],
        ended(B, SessionError::Unanswered(LIMITS.pool.answer))
    );
    // Both timers end at once here: the demand has waited too long.
    assert_eq!(
        out[1],
        ended(C, SessionError::Unanswered(LIMITS.pool.answer))
    );
    town.demand(B, "b");
    town.leave(D);
    assert_eq!(town.pass(Duration::from_secs(1)), []);
    let demand = town.demand(C, "b");
    assert_eq!(demand, []);
    town.tell_server(C, "two");
    town.serve(E, "z");
    let out = town.pass(LIMITS.pool.grace - Duration::from_secs(1));
    // B's demand was on its way and not taken: it moves too, as C's.
    let told = town.take(out, E);
    assert!(
        told.contains(&text("demand 3")) && told.contains(&text("two")),
        "{told:?}"
    );
    town.answer(E, C);
}

#[test]
fn nobody_else_means_the_end_after_the_grace() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    town.pass(Duration::from_secs(1));
    town.leave(A);
    town.pass(Duration::from_secs(28));
    town.demand(C, "b");
    let out = town.pass(Duration::from_secs(1));
    assert_eq!(
        out,
        [ended(B, SessionError::Unanswered(LIMITS.pool.answer))]
    );
    let out = town.pass(Duration::from_secs(1));
    assert_eq!(out, [ended(C, SessionError::EndpointLeft)]);
    town.assert_empty();
}

#[test]
fn an_account_stays_and_new_ones_go_where_least_is() {
    let mut town = Town::with_server();
    town.serve(D, "y");
    for account in ["a", "a", "b"] {
        let to = if account == "a" { A } else { D };
        let out = town.demand(B, account);
        assert_eq!(town.take(out, to), [text("demand 2")], "{account}");
        town.reply(to, of(B), Step::Connected);
    }
    town.demand(B, "b");
    let out = town.demand(C, "c");
    assert_eq!(town.take(out, A), [text("demand 3")]);
}

#[test]
fn accounts_are_forgotten_in_the_order_in_which_they_asked() {
    let mut town = Town::with_server();
    for account in ["a", "b", "c"] {
        town.demand(B, account);
        town.reply(A, of(B), Step::Connected);
    }
    town.serve(D, "y");
    town.demand(B, "a");
    town.reply(A, of(B), Step::Connected);
    assert_eq!(town.hub.reached().accounts, 0);
    // Pushes out b.
    let out = town.demand(B, "d");
    assert_eq!(town.take(out, D), [text("demand 2")]);
    assert_eq!(town.hub.reached().accounts, 1);
    town.reply(D, of(B), Step::Connected);
    let out = town.demand(B, "b");
    assert_eq!(town.take(out, D), [text("demand 2")]);
}

#[test]
fn an_endpoint_may_take_less_than_the_limit_but_not_more() {
    for (capacity, most) in [(Some(1), 1), (Some(9), 3), (None, 3), (Some(0), 0)] {
        let mut town = Town::new();
        town.says(
            A,
            Command::Serve(Offer {
                capacity,
                ..offer("x")
            }),
        );
        for n in 0..most {
            let out = town.demand(ConnectionId(10 + n), "b");
            assert!(matches!(out[..], [(A, Event::FromSession { .. })]));
        }
        let full = ended(B, SessionError::Full(usize::try_from(most).unwrap()));
        assert_eq!(town.demand(B, "b"), [full]);
        assert_eq!(town.hub.endpoint(&gecko("x")).unwrap().capacity, capacity);
    }
}

#[test]
fn too_much_for_an_endpoint_ends_its_sender_s_session() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    for _ in 1..LIMITS.pool.queue_messages {
        assert_eq!(town.tell_server(B, "more").len(), 1);
    }
    let out = town.tell_server(B, "too much");
    assert_eq!(out[0], ended(B, SessionError::Congested));
    assert_eq!(town.demand(C, "c"), [ended(C, SessionError::Congested)]);
    let mut town = Town::with_server();
    town.demand(B, "b");
    town.tell_server(B, &"x".repeat(LIMITS.pool.queue_bytes + 1));
    assert_eq!(
        town.tell_server(B, "more")[0],
        ended(B, SessionError::Congested)
    );
}

#[test]
fn an_endpoint_that_did_not_ask_is_told_of_no_close() {
    let mut town = Town::new();
    town.says(
        A,
        Command::Serve(Offer {
            hears_closes: false,
            ..offer("x")
        }),
    );
    town.demand(B, "b");
    assert_eq!(town.leave(B), []);
    let mut town = Town::with_server();
    town.demand(B, "b");
    let out = town.leave(B);
    assert_eq!(town.take(out, A), [Told::Closed(2, Closed::CallerLeft)]);
}

#[test]
fn only_its_owner_takes_an_id_over() {
    let mut town = Town::new();
    let owned = |who: &str| Offer {
        owner: Some(AccountId::new(who)),
        ..offer("x")
    };
    town.says(A, Command::Serve(owned("anna")));
    let taken = Event::RegistrationRefused(RegistrationError::Taken(gecko("x")));
    let out = town.says(B, Command::Serve(owned("bert")));
    assert_eq!(out, [(B, taken)]);
    let out = town.says(C, Command::Serve(owned("anna")));
    assert_eq!(out, [(A, Event::Replaced), (C, Event::Registered)]);
}

#[test]
fn endpoints_of_the_pool_count_and_are_shown_with_the_others() {
    let mut town = Town::with_endpoint();
    for (n, id) in [(10, "x"), (11, "y"), (12, "z")] {
        town.serve(ConnectionId(n), id);
    }
    let full = Event::RegistrationRefused(RegistrationError::Full(4));
    assert_eq!(town.serve(B, "w"), [(B, full.clone())]);
    assert_eq!(town.register(B, "w"), [(B, full)]);
    // One that is here already may come again.
    assert_eq!(town.serve(B, "x").len(), 2);
    let shown: Vec<_> = town.hub.endpoints().map(|it| it.id.to_string()).collect();
    assert_eq!(shown, ["x", "x", "y", "z"]);
    assert_eq!(town.hub.counts().endpoints, 4);
}

#[test]
fn one_connection_has_one_session_and_serves_once() {
    let mut town = Town::with_server();
    town.demand(B, "b");
    assert_eq!(town.demand(B, "b"), [ended(B, SessionError::AlreadyOpen)]);
    let again = Event::RegistrationRefused(RegistrationError::AlreadyRegistered(gecko("x")));
    assert_eq!(town.serve(A, "y"), [(A, again)]);
    // It may do both, even with itself.
    let out = town.demand(A, "a");
    assert_eq!(town.take(out, A), [text("demand 2"), text("demand 1")][1..]);
    town.answer(A, A);
    town.leave(A);
    town.leave(B);
    town.pass(LIMITS.pool.grace);
    town.assert_empty();
}

#[test]
fn a_caller_sends_so_many_candidates_and_no_more() {
    let mut town = Town::with(Limits {
        pool: PoolLimits {
            candidates: 2,
            ..LIMITS.pool
        },
        ..LIMITS
    });
    town.serve(A, "x");
    town.demand(B, "b");
    town.demand(C, "c");
    for _ in 0..2 {
        assert_eq!(town.tell_server(B, "candidate").len(), 1);
    }
    let out = town.tell_server(B, "candidate");
    assert_eq!(out[0], ended(B, SessionError::TooManyCandidates(2)));
    assert_eq!(town.take(out, A), [Told::Closed(2, Closed::CallerLeft)]);
    // Nobody else's.
    assert_eq!(town.tell_server(C, "candidate").len(), 1);
}

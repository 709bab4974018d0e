//! Sessions and their endpoints in any order. A ledger is kept from what the hub tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const GECKOS: usize = 3;
const CLIENTS: usize = 5;
const ACCOUNTS: usize = 4;
const IDS: [&str; 3] = ["x", "y", "z"];

#[derive(Debug, Clone)]
enum Happening {
    Serve(usize, usize),
    /// The endpoint's connection takes so many events.
    Take(usize, usize),
    Answer(usize, usize),
    Finish(usize, usize),
    GeckoLeaves(usize),
    Demand(usize, usize),
    Say(usize),
    ClientLeaves(usize),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let (gecko, client) = (0..GECKOS, 0..CLIENTS);
    prop_oneof![
        3 => (gecko.clone(), 0..IDS.len()).prop_map(|(g, id)| Happening::Serve(g, id)),
        5 => (gecko.clone(), 1..6_usize).prop_map(|(g, n)| Happening::Take(g, n)),
        3 => (gecko.clone(), client.clone()).prop_map(|(g, c)| Happening::Answer(g, c)),
        2 => (gecko.clone(), client.clone()).prop_map(|(g, c)| Happening::Finish(g, c)),
        2 => gecko.prop_map(Happening::GeckoLeaves),
        5 => (client.clone(), 0..ACCOUNTS).prop_map(|(c, a)| Happening::Demand(c, a)),
        5 => client.clone().prop_map(Happening::Say),
        2 => client.prop_map(Happening::ClientLeaves),
        2 => (0..20_000_u64).prop_map(Happening::Pass),
    ]
}

/// A gecko's connection.
#[derive(Debug)]
struct Gecko {
    connection: ConnectionId,
    id: Option<EndpointId>,
    told: VecDeque<(Ticket, Option<(SessionId, u32)>)>,
}

/// A session that a caller believes to have.
#[derive(Debug)]
struct Talk {
    session: SessionId,
    account: usize,
    said: u32,
    /// What an endpoint has taken of it.
    taken: u32,
    /// Whose endpoint took the demand.
    server: Option<EndpointId>,
    /// Whose must, because it has the account.
    expected: Option<EndpointId>,
}

struct Ledger {
    hub: Hub,
    now: Instant,
    next: u64,
    geckos: Vec<Gecko>,
    clients: Vec<(ConnectionId, Option<Talk>)>,
    gone: BTreeSet<ConnectionId>,
    /// Sessions that ended; what is still taken of them doesn't matter.
    over: BTreeSet<SessionId>,
    /// The endpoint that took an account's last demand, unless that was gone for too long since.
    homes: BTreeMap<usize, EndpointId>,
    /// Since when an endpoint is gone.
    away: BTreeMap<EndpointId, Instant>,
}

impl Ledger {
    fn new(limits: Limits) -> Self {
        let mut ledger = Self {
            hub: Hub::new(limits),
            now: Instant::now(),
            next: 0,
            geckos: Vec::new(),
            clients: Vec::new(),
            gone: BTreeSet::new(),
            over: BTreeSet::new(),
            homes: BTreeMap::new(),
            away: BTreeMap::new(),
        };
        for _ in 0..GECKOS {
            let connection = ledger.connection();
            ledger.geckos.push(Gecko {
                connection,
                id: None,
                told: VecDeque::new(),
            });
        }
        for _ in 0..CLIENTS {
            let connection = ledger.connection();
            ledger.clients.push((connection, None));
        }
        ledger
    }

    fn connection(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    fn run(&mut self, happening: &Happening) {
        match *happening {
            Happening::Serve(gecko, id) => {
                let id = EndpointId::new(Namespace::Gecko, IDS[id]).unwrap();
                let offer = Offer {
                    id: id.clone(),
                    owner: None,
                    capacity: None,
                    hears_closes: true,
                };
                let gecko = &mut self.geckos[gecko];
                if gecko.id.is_none() {
                    gecko.id = Some(id);
                }
                let who = gecko.connection;
                self.says(who, Command::Serve(offer));
            }
            Happening::Take(gecko, n) => self.take(gecko, n),
            Happening::Answer(gecko, client) => {
                self.reply(gecko, client, Step::Answer { tags: Vec::new() });
            }
            Happening::Finish(gecko, client) => self.reply(gecko, client, Step::Connected),
            Happening::GeckoLeaves(gecko) => self.gecko_leaves(gecko),
            Happening::Demand(client, account) => self.demand(client, account),
            Happening::Say(client) => {
                let (who, talk) = &mut self.clients[client];
                let who = *who;
                if let Some(talk) = talk {
                    talk.said += 1;
                    let payload = tagged(talk.session, talk.said);
                    self.says(who, Command::ToServer { payload });
                }
            }
            Happening::ClientLeaves(client) => self.client_leaves(client),
            Happening::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                let mut out = Vec::new();
                self.hub.handle_timeout(self.now, &mut out);
                self.note(out);
                self.forget_homes();
                assert!(self.hub.next_timeout().is_none_or(|at| at > self.now));
            }
        }
    }

    fn demand(&mut self, client: usize, account: usize) {
        let (who, talk) = &mut self.clients[client];
        if talk.is_some() {
            return;
        }
        let who = *who;
        self.next += 1;
        let session = SessionId(self.next.into());
        self.clients[client].1 = Some(Talk {
            session,
            account,
            said: 0,
            taken: 0,
            server: None,
            expected: self.homes.get(&account).cloned(),
        });
        self.says(
            who,
            Command::Demand(Demand {
                access: Access::Control,
                session,
                account: AccountId::new(&account.to_string()),
                payload: tagged(session, 0),
            }),
        );
    }

    fn take(&mut self, gecko: usize, n: usize) {
        for _ in 0..n {
            let gecko = &mut self.geckos[gecko];
            let Some((ticket, message)) = gecko.told.pop_front() else {
                return;
            };
            let (who, id) = (gecko.connection, gecko.id.clone().unwrap());
            if let Some((session, number)) = message {
                self.taken(&id, session, number);
            }
            self.says(who, Command::Taken(ticket));
        }
    }

    /// Each message once, in order, and all to one endpoint.
    fn taken(&mut self, by: &EndpointId, session: SessionId, number: u32) {
        let mut talks = self.clients.iter_mut().filter_map(|it| it.1.as_mut());
        let Some(talk) = talks.find(|talk| talk.session == session) else {
            assert!(self.over.contains(&session), "of an unknown session");
            return;
        };
        assert_eq!(number, talk.taken, "in order and once");
        talk.taken += 1;
        let server = talk.server.get_or_insert_with(|| by.clone());
        assert_eq!(server, by, "a session has one endpoint");
        if number == 0 {
            if let Some(home) = &talk.expected {
                assert_eq!(home, by, "an account stays");
            }
            self.homes.insert(talk.account, by.clone());
        }
    }

    fn reply(&mut self, gecko: usize, client: usize, step: Step) {
        let gecko = &self.geckos[gecko];
        let (who, id) = (gecko.connection, gecko.id.clone());
        let (caller, talk) = &self.clients[client];
        let (caller, session) = (*caller, talk.as_ref().map(|talk| talk.session));
        let server = talk.as_ref().and_then(|talk| talk.server.clone());
        let Some(session) = session else { return };
        let out = self.says(
            who,
            Command::ToSession {
                to: Addressee::Session(session),
                step,
                payload: Payload::from("reply"),
            },
        );
        let reached = out.iter().any(|output| output.to == caller);
        if reached {
            assert!(id.is_some(), "nobody's reply arrived");
            assert!(
                server.is_none() || server == id,
                "another one's reply arrived"
            );
        } else if server.is_some() {
            assert_ne!(server, id, "the endpoint's own reply was lost");
        }
    }

    fn forget_homes(&mut self) {
        let grace = LIMITS.pool.grace;
        let given_up = |since: &Instant| *since + grace <= self.now;
        let is_lost = |id: &EndpointId| self.away.get(id).is_some_and(given_up);
        self.homes.retain(|_, id| !is_lost(id));
        for talk in self.clients.iter_mut().filter_map(|it| it.1.as_mut()) {
            talk.expected.take_if(|id| is_lost(id));
        }
    }

    fn gecko_leaves(&mut self, gecko: usize) {
        let connection = self.connection();
        let fresh = Gecko {
            connection,
            id: None,
            told: VecDeque::new(),
        };
        let old = std::mem::replace(&mut self.geckos[gecko], fresh);
        self.gone.insert(old.connection);
        if let Some(id) = old.id {
            self.away.insert(id, self.now);
        }
        self.says(old.connection, Command::Leave);
    }

    fn client_leaves(&mut self, client: usize) {
        let connection = self.connection();
        let (old, talk) = std::mem::replace(&mut self.clients[client], (connection, None));
        self.over.extend(talk.map(|talk| talk.session));
        self.gone.insert(old);
        self.says(old, Command::Leave);
    }

    fn says(&mut self, who: ConnectionId, command: Command) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(self.now, who, command, &mut out);
        self.note(out.clone());
        out
    }

    fn note(&mut self, out: Vec<Output>) {
        for Output { to, event } in out {
            assert!(
                !self.gone.contains(&to),
                "{event:?} to {to:?}, which is gone"
            );
            match event {
                Event::FromSession { ticket, payload } => {
                    let message = untagged(&payload);
                    self.gecko(to).told.push_back((ticket, Some(message)));
                }
                Event::SessionClosed { ticket, .. } => {
                    self.gecko(to).told.push_back((ticket, None))
                }
                Event::Replaced => {
                    let connection = self.connection();
                    let gecko = self.gecko(to);
                    gecko.connection = connection;
                    gecko.id = None;
                    gecko.told.clear();
                    self.gone.insert(to);
                }
                Event::RegistrationRefused(RegistrationError::AlreadyRegistered(_)) => {}
                Event::RegistrationRefused(_) => self.gecko(to).id = None,
                Event::SessionEnded(_) => self.end(to),
                Event::SessionSaid { step, .. } => {
                    assert!(
                        self.clients
                            .iter()
                            .any(|(who, talk)| *who == to && talk.is_some())
                    );
                    if step.ends() {
                        self.end(to);
                    }
                }
                Event::Registered => {
                    let id = self.gecko(to).id.clone().unwrap();
                    self.away.remove(&id);
                }
                Event::NoSession { .. } => {}
                other => panic!("{other:?} in a world of pools"),
            }
        }
        let talks = self.clients.iter().filter(|(_, talk)| talk.is_some());
        let counts = self.hub.counts();
        assert_eq!(
            counts.sessions,
            talks.count(),
            "each session ends once, for both"
        );
        let here = self.geckos.iter().filter(|it| it.id.is_some()).count();
        assert_eq!(counts.endpoints, here);
    }

    fn gecko(&mut self, who: ConnectionId) -> &mut Gecko {
        self.geckos
            .iter_mut()
            .find(|it| it.connection == who)
            .expect("an event of an endpoint for a caller")
    }

    fn end(&mut self, who: ConnectionId) {
        let (_, talk) = self.clients.iter_mut().find(|it| it.0 == who).unwrap();
        let talk = talk.take().expect("the end of a session that there isn't");
        self.over.insert(talk.session);
    }
}

fn tagged(session: SessionId, number: u32) -> Payload {
    Payload::from(format!("{session} {number}"))
}

fn untagged(payload: &Payload) -> (SessionId, u32) {
    let (session, number) = payload.as_str().split_once(' ').unwrap();
    (SessionId::parse(session).unwrap(), number.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_promises(
        limits in (1..4_usize, 3..12_usize),
        happenings in prop::collection::vec(happening(), 1..150),
    ) {
        let (sessions_per_endpoint, queue_messages) = limits;
        let pool = PoolLimits { sessions_per_endpoint, queue_messages, accounts: ACCOUNTS, ..LIMITS.pool };
        let mut ledger = Ledger::new(Limits { pool, ..LIMITS });
        for happening in &happenings {
            ledger.run(happening);
        }
        // Whoever is left is told in time.
        ledger.now += LIMITS.pool.answer.max(LIMITS.pool.connect);
        ledger.run(&Happening::Pass(0));
        prop_assert!(ledger.clients.iter().all(|(_, talk)| talk.is_none()));
        for gecko in 0..GECKOS {
            ledger.gecko_leaves(gecko);
        }
        for client in 0..CLIENTS {
            ledger.client_leaves(client);
        }
        ledger.now += LIMITS.pool.grace;
        ledger.run(&Happening::Pass(0));
        prop_assert_eq!(ledger.hub.counts(), Counts::default());
        prop_assert_eq!(ledger.hub.entries(), 0);
    }
}

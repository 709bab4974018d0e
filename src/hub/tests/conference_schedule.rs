//! Visitors, rooms and media in any order. A ledger is kept of what each connection believes from
//! what it is told, and compared with what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const CLIENTS: usize = 5;
const ROOMS: [&str; 3] = ["r", "s", "t"];
const USERS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Happening {
    Enter(usize, usize, usize),
    Publish(usize),
    Unpublish(usize),
    Receive(usize, usize),
    Unsubscribe(usize, usize),
    Exit(usize),
    End(usize),
    /// The connection is lost, and another one comes, which may go on as the old visitor.
    Drop(usize, bool),
    Resume(usize),
    /// The plane answers, refuses or fails one of its ends.
    Answer(usize),
    Refuse(usize),
    Fail(usize, MediaLoss),
    Evict(usize, usize),
    CloseRoom(usize),
    Mute(usize, usize, bool, bool),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let (client, user, room) = (0..CLIENTS, 0..USERS.len(), 0..ROOMS.len());
    let end = 0..8_usize;
    let losses = vec![MediaLoss::Closed, MediaLoss::Lost, MediaLoss::Unconnected];
    let loss = prop::sample::select(losses);
    prop_oneof![
        6 => (client.clone(), room.clone(), user.clone()).prop_map(|(c, r, u)| Happening::Enter(c, r, u)),
        5 => client.clone().prop_map(Happening::Publish),
        2 => client.clone().prop_map(Happening::Unpublish),
        5 => (client.clone(), user.clone()).prop_map(|(c, u)| Happening::Receive(c, u)),
        1 => (client.clone(), user.clone()).prop_map(|(c, u)| Happening::Unsubscribe(c, u)),
        2 => client.clone().prop_map(Happening::Exit),
        1 => client.clone().prop_map(Happening::End),
        2 => (client.clone(), any::<bool>()).prop_map(|(c, resumes)| Happening::Drop(c, resumes)),
        1 => client.prop_map(Happening::Resume),
        8 => end.clone().prop_map(Happening::Answer),
        1 => end.clone().prop_map(Happening::Refuse),
        1 => (end, loss).prop_map(|(e, loss)| Happening::Fail(e, loss)),
        1 => (room.clone(), user.clone()).prop_map(|(r, u)| Happening::Evict(r, u)),
        2 => (room.clone(), user, any::<bool>(), any::<bool>())
            .prop_map(|(r, u, is_video, is_on)| Happening::Mute(r, u, is_video, is_on)),
        1 => room.prop_map(Happening::CloseRoom),
        2 => (0..12_000_u64).prop_map(Happening::Pass),
    ]
}

/// What a client knows of its room.
#[derive(Debug, Clone, Default, PartialEq)]
struct Belief {
    room: Option<Arc<str>>,
    user: Option<Arc<str>>,
    /// The others, and whether they publish.
    others: BTreeMap<Arc<str>, bool>,
}

struct Client {
    connection: ConnectionId,
    visitor: Visitor,
    /// Requests that aren't answered yet.
    open: usize,
    /// `None` after it missed something.
    belief: Option<Belief>,
    /// What it asked to enter.
    wanted: Option<(Arc<str>, Arc<str>)>,
    /// Whether it asked to leave.
    is_leaving: bool,
}

/// An end at the plane.
#[derive(Debug)]
struct Live {
    room: MediaRoom,
    publisher: Option<MediaEnd>,
    is_answered: bool,
    muted: Muted,
}

struct Ledger {
    hub: Hub,
    now: Instant,
    next: u64,
    clients: Vec<Client>,
    gone: BTreeSet<ConnectionId>,
    plane: BTreeMap<MediaEnd, Live>,
}

impl Ledger {
    fn new(limits: Limits) -> Self {
        let mut ledger = Self {
            hub: Hub::new(limits),
            now: Instant::now(),
            next: 0,
            clients: Vec::new(),
            gone: BTreeSet::new(),
            plane: BTreeMap::new(),
        };
        for _ in 0..CLIENTS {
            let client = ledger.fresh();
            ledger.clients.push(client);
        }
        ledger
    }

    fn fresh(&mut self) -> Client {
        self.next += 1;
        Client {
            connection: ConnectionId(self.next),
            visitor: Visitor(self.next.into()),
            open: 0,
            belief: Some(Belief::default()),
            wanted: None,
            is_leaving: false,
        }
    }

    fn run(&mut self, happening: &Happening) {
        let user = |user: usize| Arc::<str>::from(USERS[user]);
        let offer = String::new;
        match *happening {
            Happening::Enter(client, room, name) => {
                let (room, name) = (Arc::<str>::from(ROOMS[room]), user(name));
                self.clients[client].wanted = Some((Arc::clone(&room), Arc::clone(&name)));
                let (user, rights) = (name, Rights::ALL);
                self.ask(client, None, Ask::Enter { room, user, rights });
            }
            Happening::Publish(client) => {
                let (offer, loopback) = (offer(), false);
                self.ask(client, None, Ask::Publish { offer, loopback });
            }
            Happening::Unpublish(client) => self.ask(client, None, Ask::Unpublish),
            Happening::Receive(client, from) => {
                let (from, offer) = (user(from), offer());
                self.ask(client, None, Ask::Receive { from, offer });
            }
            Happening::Unsubscribe(client, from) => {
                let from = user(from);
                self.ask(client, None, Ask::Unsubscribe { from });
            }
            Happening::Exit(client) => self.ask(client, None, Ask::Exit),
            Happening::End(client) => self.ask(client, None, Ask::End),
            Happening::Drop(client, resumes) => self.drop_connection(client, resumes),
            Happening::Resume(client) => {
                let own = self.clients[client].visitor;
                self.ask(client, Some(own), Ask::Resume);
            }
            Happening::Answer(_) | Happening::Refuse(_) | Happening::Fail(..) => {
                self.plane_says(happening);
            }
            Happening::Evict(room, user) => {
                self.change(|hub, out| hub.evict(ROOMS[room], USERS[user], out));
            }
            Happening::CloseRoom(room) => {
                self.change(|hub, out| hub.close_room(ROOMS[room], out));
            }
            Happening::Mute(room, user, is_video, is_on) => {
                let change = MuteChange {
                    audio: (!is_video).then_some(is_on),
                    video: is_video.then_some(is_on),
                };
                self.change(|hub, _| hub.mute(ROOMS[room], USERS[user], change));
            }
            Happening::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                let now = self.now;
                self.change(|hub, out| hub.handle_timeout(now, out));
                assert!(self.hub.next_timeout().is_none_or(|at| at > self.now));
            }
        }
    }

    fn plane_says(&mut self, happening: &Happening) {
        match *happening {
            Happening::Answer(nth) => {
                if let Some(end) = self.nth(nth, false) {
                    if let Some(live) = self.plane.get_mut(&end) {
                        live.is_answered = true;
                    }
                    let sdp = String::new();
                    self.media(MediaEvent::Answered { end, sdp });
                }
            }
            Happening::Refuse(nth) => {
                if let Some(end) = self.nth(nth, false) {
                    self.plane.remove(&end);
                    let why = MediaRefusal::Offer("no".into());
                    self.media(MediaEvent::Refused { end, why });
                }
            }
            Happening::Fail(nth, loss) => {
                if let Some(end) = self.nth(nth, true) {
                    self.plane
                        .retain(|key, live| *key != end && live.publisher != Some(end));
                    let why = "lost".into();
                    self.media(MediaEvent::Failed { end, why, loss });
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, client: usize, named: Option<Visitor>, ask: Ask) {
        let client = &mut self.clients[client];
        // Dialects let a connection wait for each answer.
        if client.open > 0 {
            return;
        }
        client.open = 1;
        client.is_leaving = matches!(ask, Ask::Exit | Ask::End);
        let (from, own) = (client.connection, client.visitor);
        let asked = Asked {
            named,
            own,
            rights: Rights::ALL,
            ask,
        };
        self.says(from, Command::Conference(asked));
    }

    fn drop_connection(&mut self, client: usize, resumes: bool) {
        let fresh = self.fresh();
        let old = std::mem::replace(&mut self.clients[client], fresh);
        self.gone.insert(old.connection);
        self.says(old.connection, Command::Leave);
        if resumes {
            // What happened meanwhile it doesn't know.
            self.clients[client].visitor = old.visitor;
            self.clients[client].belief = None;
            self.ask(client, Some(old.visitor), Ask::Resume);
        }
    }

    fn says(&mut self, from: ConnectionId, command: Command) {
        let now = self.now;
        self.change(|hub, out| hub.handle(now, from, command, out));
    }

    fn media(&mut self, event: MediaEvent) {
        let now = self.now;
        self.change(|hub, out| hub.handle_media(now, event, out));
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Hub, &mut Vec<Output>) -> T) {
        let mut out = Vec::new();
        change(&mut self.hub, &mut out);
        let commands = self.hub.take_media_commands();
        for command in commands {
            self.obey(command);
        }
        for Output { to, event } in out {
            let Event::Conference(told) = event else {
                panic!("{event:?} in a world of rooms");
            };
            self.hear(to, told);
        }
        self.compare();
    }

    /// The nth end that is answered, or not.
    fn nth(&self, nth: usize, is_answered: bool) -> Option<MediaEnd> {
        let ends = self.plane.iter();
        let ends: Vec<_> = ends
            .filter(|(_, live)| live.is_answered == is_answered)
            .collect();
        Some(*ends.get(nth % ends.len().max(1))?.0)
    }

    /// The plane as it promises to be.
    fn obey(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Publish { room, end, .. } => self.add(room, end, None),
            MediaCommand::Receive {
                room, end, from, ..
            } => self.add(room, end, Some(from)),
            MediaCommand::Remove { end, .. } => {
                self.plane
                    .retain(|key, live| *key != end && live.publisher != Some(end));
            }
            MediaCommand::Mute { end, muted, .. } => {
                if let Some(live) = self.plane.get_mut(&end) {
                    live.muted = muted;
                }
            }
            MediaCommand::CloseRoom(room) => self.plane.retain(|_, live| live.room != room),
        }
    }

    fn add(&mut self, room: MediaRoom, end: MediaEnd, publisher: Option<MediaEnd>) {
        let live = Live {
            room,
            publisher,
            is_answered: false,
            muted: Muted::default(),
        };
        assert!(self.plane.insert(end, live).is_none(), "a key is used once");
    }

    fn hear(&mut self, to: ConnectionId, told: Told) {
        if self.gone.contains(&to) {
            let is_answer = matches!(told, Told::Answer { .. });
            assert!(is_answer, "{told:?} to a connection that is gone");
            return;
        }
        let client = self.clients.iter_mut().find(|it| it.connection == to);
        let client = client.expect("a connection that is here");
        let belief = client.belief.as_mut();
        match told {
            Told::Answer { outcome, .. } => {
                assert_eq!(client.open, 1, "each request is answered once");
                client.open = 0;
                if client.is_leaving && outcome.is_ok() {
                    client.belief = Some(Belief::default());
                }
                if let Ok(Granted::Entered { others }) = outcome {
                    let (room, user) = client.wanted.take().expect("a request to enter");
                    client.belief = Some(Belief {
                        room: Some(room),
                        user: Some(user),
                        others: others.into_iter().collect(),
                    });
                }
            }
            Told::Joined { user } => {
                let before = belief.map(|it| it.others.insert(user, false));
                assert!(before.is_none_or(|it| it.is_none()), "joined twice");
            }
            Told::Published { user } => {
                let before = belief.map(|it| it.others.insert(user, true));
                assert!(
                    before.is_none_or(|it| it == Some(false)),
                    "published twice, or unknown"
                );
            }
            Told::Unpublished { user } => {
                let before = belief.map(|it| it.others.insert(user, false));
                assert!(
                    before.is_none_or(|it| it == Some(true)),
                    "unpublished twice, or unknown"
                );
            }
            Told::Left { user } => {
                let before = belief.map(|it| it.others.remove(&user));
                assert!(before.is_none_or(|it| it.is_some()), "an unknown one left");
            }
            Told::Evicted | Told::Closed { .. } => client.belief = Some(Belief::default()),
            Told::Said { .. } | Told::Candidate { .. } | Told::MediaFailed { .. } => {}
            Told::Moved => panic!("nobody takes over from a living connection here"),
        }
    }

    /// Whoever has heard everything knows how it is.
    fn compare(&self) {
        let rooms: BTreeMap<_, _> = self.hub.forwarding_rooms().collect();
        let mut shown = (0, 0);
        for members in rooms.values() {
            shown.0 += members.iter().filter(|it| it.publishing).count();
            shown.1 += members.iter().map(|it| it.receives.len()).sum::<usize>();
            for member in members {
                let publishing = member.ends.iter().find(|(of, _)| of.is_none());
                let live = publishing.and_then(|(_, end)| self.plane.get(end));
                assert!(live.is_none_or(|live| live.muted == member.muted));
                for from in &member.receives {
                    let from = members.iter().find(|it| it.user == *from);
                    assert!(from.is_some_and(|it| it.publishing), "received from nobody");
                }
            }
        }
        let counts = self.hub.counts();
        assert_eq!(shown, (counts.publishers, counts.subscriptions));
        for client in &self.clients {
            let Some(Belief {
                room: Some(room),
                user,
                others,
            }) = &client.belief
            else {
                continue;
            };
            let members = rooms.get(room).expect("a room with a member");
            assert!(
                members
                    .iter()
                    .any(|it| Some(&it.user) == user.as_ref() && it.connection.is_some())
            );
            let known = members.iter().filter(|it| Some(&it.user) != user.as_ref());
            let known: BTreeMap<_, _> = known
                .map(|it| (Arc::clone(&it.user), it.publishing))
                .collect();
            assert_eq!(*others, known, "what {user:?} in {room:?} believes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_promises(happenings in prop::collection::vec(happening(), 1..120)) {
        let conference = ConferenceLimits { rooms: 3, ..LIMITS.conference };
        let mut ledger = Ledger::new(Limits { conference, ..LIMITS });
        for happening in &happenings {
            ledger.run(happening);
        }
        // Whoever waits is told in time.
        ledger.run(&Happening::Pass(LIMITS.conference.answer.as_millis() as u64));
        prop_assert!(ledger.clients.iter().all(|client| client.open == 0));
        for client in 0..CLIENTS {
            ledger.drop_connection(client, false);
        }
        ledger.run(&Happening::Pass(LIMITS.conference.resume.as_millis() as u64));
        prop_assert_eq!(ledger.hub.counts(), Counts::default());
        prop_assert_eq!(ledger.hub.entries(), 0);
        prop_assert!(ledger.plane.is_empty(), "the plane keeps {:?}", ledger.plane);
    }
}

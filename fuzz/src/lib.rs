//! What the targets have in common: a hub with small limits, connections that speak to it, and a media
//! plane that is played.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use switchboard::dialect::{Effect, Session, Unverified};
use switchboard::fuzzing;
use switchboard::hub::{
    AccountId, Command, ConferenceLimits, ConnectionId, Counts, Event, Grants, Hub, Limits,
    MediaCommand, MediaEnd, MediaEvent, MediaLoss, MediaRefusal, MediaRoom, Output, Payload, PoolLimits,
};

/// Connections at once.
pub const CONNECTIONS: usize = 6;
/// Longer than everything that the hub waits for.
pub const LONG: Duration = Duration::from_secs(60);
/// Events and commands that one step may lead to.
const STEPS: usize = 10_000;

/// Small, so that all of them are reached.
pub const LIMITS: Limits = Limits {
    endpoints: 5,
    calls_per_endpoint: 3,
    waiting_calls: 2,
    waiting_calls_per_endpoint: 1,
    remembered_endpoints: 2,
    rooms: 2,
    members_per_room: 4,
    just_left: Duration::from_secs(5),
    probe: Duration::from_millis(500),
    pool: PoolLimits {
        sessions_per_endpoint: 2,
        queue_messages: 8,
        queue_bytes: 1_000,
        candidates: 40,
        accounts: 2,
        grace: Duration::from_secs(30),
        answer: Duration::from_secs(30),
        connect: Duration::from_secs(30),
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

/// The hub, and what must hold of it after every change.
pub struct House {
    pub hub: Hub,
    pub now: Instant,
    left: BTreeSet<ConnectionId>,
    plane: BTreeMap<MediaEnd, End>,
}

/// An end at the media plane.
struct End {
    room: MediaRoom,
    publisher: Option<MediaEnd>,
    is_answered: bool,
}

/// What the media plane does.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Media {
    Answer { nth: u8 },
    Refuse { nth: u8 },
    Fail { nth: u8, loss: u8 },
}

impl House {
    pub fn new() -> Self {
        Self {
            hub: Hub::new(LIMITS),
            now: Instant::now(),
            left: BTreeSet::new(),
            plane: BTreeMap::new(),
        }
    }

    /// A command of a connection.
    pub fn command(&mut self, from: ConnectionId, command: Command) -> Vec<Output> {
        let leaves = command == Command::Leave;
        let out = self.change(|now, hub, out| hub.handle(now, from, command, out));
        if leaves {
            self.left.insert(from);
            assert!(
                out.iter().all(|it| it.to != from),
                "{from:?} left and is told of it"
            );
        }
        out
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        let out = self.change(|now, hub, out| hub.handle_timeout(now, out));
        let next = self.hub.next_timeout();
        assert!(
            next.is_none_or(|next| next > self.now),
            "the next time doesn't move on"
        );
        out
    }

    /// The media plane does something.
    pub fn media(&mut self, media: Media) -> Vec<Output> {
        let event = match media {
            Media::Answer { nth } => self.end_of(nth, false).map(|end| {
                self.plane.entry(end).and_modify(|it| it.is_answered = true);
                let sdp = "a".to_owned();
                MediaEvent::Answered { end, sdp }
            }),
            Media::Refuse { nth } => self.end_of(nth, false).map(|end| {
                self.remove(end);
                let why = MediaRefusal::NoPublisher;
                MediaEvent::Refused { end, why }
            }),
            Media::Fail { nth, loss } => self.end_of(nth, true).map(|end| {
                self.remove(end);
                let why = "w".into();
                let losses = [MediaLoss::Lost, MediaLoss::Closed, MediaLoss::Unconnected];
                let loss = losses[usize::from(loss) % losses.len()];
                MediaEvent::Failed { end, why, loss }
            }),
        };
        event.map_or_else(Vec::new, |event| {
            self.change(|now, hub, out| hub.handle_media(now, event, out))
        })
    }

    /// Someone changes the hub.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(Instant, &mut Hub, &mut Vec<Output>) -> T,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        change(self.now, &mut self.hub, &mut out);
        for output in &out {
            assert!(
                !self.left.contains(&output.to),
                "{output:?} to one that left"
            );
        }
        let commands = self.hub.take_media_commands();
        // Each connection and each of its things is told of at most a few times.
        assert!(
            out.len() + commands.len() <= 200,
            "{} events at once",
            out.len()
        );
        for command in commands {
            self.obey(command);
        }
        self.check();
        out
    }

    /// When all have left and everything has had its time, nothing is left.
    pub fn end(mut self) {
        self.wait(LONG);
        self.wait(LONG);
        assert_eq!(self.hub.counts(), Counts::default());
        assert!(self.plane.is_empty(), "the media plane keeps something");
        assert_eq!(fuzzing::hub::entries(&self.hub), 0);
        assert!(fuzzing::hub::remembered(&self.hub) <= LIMITS.remembered_endpoints);
        assert_eq!(self.hub.next_timeout(), None);
    }

    fn obey(&mut self, command: MediaCommand) {
        let (end, room, publisher) = match command {
            MediaCommand::Publish { room, end, .. } => (end, room, None),
            MediaCommand::Receive {
                room, end, from, ..
            } => (end, room, Some(from)),
            MediaCommand::Remove { end, .. } => return self.remove(end),
            // Whom it lets through is the plane's.
            MediaCommand::Mute { .. } => return,
            MediaCommand::CloseRoom(room) => return self.plane.retain(|_, it| it.room != room),
        };
        let is_answered = false;
        let old = self.plane.insert(
            end,
            End {
                room,
                publisher,
                is_answered,
            },
        );
        assert!(old.is_none(), "{end:?} is used twice");
    }

    fn remove(&mut self, end: MediaEnd) {
        self.plane
            .retain(|key, it| *key != end && it.publisher != Some(end));
    }

    /// One of the ends that are answered, or not.
    fn end_of(&self, nth: u8, is_answered: bool) -> Option<MediaEnd> {
        let ends: Vec<_> = self
            .plane
            .iter()
            .filter(|(_, it)| it.is_answered == is_answered)
            .collect();
        Some(*ends.get(usize::from(nth) % ends.len().max(1))?.0)
    }

    fn check(&self) {
        let counts = self.hub.counts();
        let Limits {
            pool, conference, ..
        } = LIMITS;
        let many = CONNECTIONS + 1;
        for (name, count, limit) in [
            (
                "endpoints",
                counts.endpoints + counts.endpoints_away,
                LIMITS.endpoints,
            ),
            (
                "calls",
                counts.calls,
                LIMITS.endpoints * LIMITS.calls_per_endpoint,
            ),
            ("waiting calls", counts.waiting_calls, LIMITS.waiting_calls),
            ("rooms", counts.rooms, LIMITS.rooms),
            (
                "sessions",
                counts.sessions,
                LIMITS.endpoints * pool.sessions_per_endpoint,
            ),
            ("probes", counts.probes, many),
            ("visitors", counts.visitors, conference.visitors),
            (
                "forwarding rooms",
                counts.forwarding_rooms,
                conference.rooms,
            ),
            (
                "participants",
                counts.participants,
                conference.rooms * conference.participants_per_room,
            ),
            (
                "publishers",
                counts.publishers,
                conference.rooms * conference.publishers_per_room,
            ),
        ] {
            assert!(count <= limit, "{count} {name}, and the limit is {limit}");
        }
        for endpoint in self.hub.endpoints() {
            assert!(endpoint.calls <= LIMITS.calls_per_endpoint.max(pool.sessions_per_endpoint));
            assert!(
                !self.left.contains(&endpoint.connection),
                "{endpoint:?} left"
            );
            assert!(self.hub.endpoint(endpoint.id).is_some());
        }
        for room in self.hub.rooms() {
            assert!((1..=LIMITS.members_per_room).contains(&room.members().count()));
        }
        for (_, members) in self.hub.forwarding_rooms() {
            assert!((1..=conference.participants_per_room).contains(&members.len()));
        }
        // What is kept is bounded by who is here, and by the limits.
        assert!(fuzzing::hub::entries(&self.hub) <= 200);
    }
}

impl Default for House {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the server's side of the connection at a place.
pub type Join = Box<dyn Fn(usize, ConnectionId, Instant) -> Box<dyn Session>>;

/// Connections of one or several dialects at one hub. Who leaves is replaced.
pub struct World {
    pub house: House,
    seats: Vec<Seat>,
    connections: u64,
    join: Join,
    check: fn(&Payload, bool),
}

struct Seat {
    id: ConnectionId,
    session: Box<dyn Session>,
    /// What a token allows; by default everything.
    grants: Grants,
    /// Events that wait, because its task had no turn yet.
    mail: VecDeque<Event>,
    sleeps: bool,
}

impl World {
    /// `check`: what must hold of a frame that is sent; true: it is another peer's own.
    pub fn new(join: Join, check: fn(&Payload, bool)) -> Self {
        let mut world = Self {
            house: House::new(),
            seats: Vec::new(),
            connections: 0,
            join,
            check,
        };
        for place in 0..CONNECTIONS {
            let seat = world.seat(place);
            world.seats.push(seat);
            world.open(place);
        }
        world
    }

    /// A text frame comes.
    pub fn text(&mut self, who: u8, text: &str) {
        self.frame(who, &Payload::from(text));
    }

    /// A frame comes.
    pub fn frame(&mut self, who: u8, frame: &Payload) {
        let place = usize::from(who) % CONNECTIONS;
        let (mut effects, now) = (Vec::new(), self.house.now);
        let session = &mut self.seats[place].session;
        if !session.takes_more() {
            return;
        }
        session.tell_time(now);
        if frame.is_binary() {
            session.binary(frame, &mut effects);
        } else {
            session.text(frame, &mut effects);
        }
        self.obey(place, effects, false);
        self.settle();
    }

    /// The connection of whoever is at a place.
    pub fn connection(&self, who: u8) -> ConnectionId {
        self.seats[usize::from(who) % CONNECTIONS].id
    }

    /// Who sits there has a token.
    pub fn grant(&mut self, who: u8, grants: Grants) {
        self.seats[usize::from(who) % CONNECTIONS].grants = grants;
    }

    /// The other side answers a probe.
    pub fn alive(&mut self, who: u8) {
        self.command(usize::from(who) % CONNECTIONS, Command::Alive);
        self.settle();
    }

    /// The task of a connection gets no turn any more, or gets it.
    pub fn sleep(&mut self, who: u8, sleeps: bool) {
        self.seats[usize::from(who) % CONNECTIONS].sleeps = sleeps;
        self.settle();
    }

    /// A connection ends, and another begins.
    pub fn leave(&mut self, who: u8) {
        self.replace(usize::from(who) % CONNECTIONS);
        self.settle();
    }

    /// The media plane does something.
    pub fn media(&mut self, media: Media) {
        let out = self.house.media(media);
        self.deliver(out);
        self.settle();
    }

    /// The operator changes something.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Hub, &mut Vec<Output>) -> T) {
        let out = self.house.change(|_, hub, out| change(hub, out));
        self.deliver(out);
        self.settle();
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        let out = self.house.wait(time);
        self.deliver(out);
        let now = self.house.now;
        for place in 0..CONNECTIONS {
            let (mut effects, session) = (Vec::new(), &mut self.seats[place].session);
            session.handle_timeout(now, &mut effects);
            assert!(session.next_timeout().is_none_or(|next| next > now));
            self.obey(place, effects, false);
        }
        self.settle();
    }

    /// All leave, and nothing is left.
    pub fn end(mut self) {
        for place in 0..CONNECTIONS {
            self.command(place, Command::Leave);
            self.seats[place].mail.clear();
            self.seats[place].sleeps = true;
        }
        for seat in &mut self.seats {
            seat.mail.clear();
        }
        self.house.end();
    }

    fn seat(&mut self, place: usize) -> Seat {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        Seat {
            id,
            session: (self.join)(place, id, self.house.now),
            grants: Grants::default(),
            mail: VecDeque::new(),
            sleeps: false,
        }
    }

    fn open(&mut self, place: usize) {
        let mut effects = Vec::new();
        self.seats[place].session.opened(&mut effects);
        self.obey(place, effects, false);
    }

    fn replace(&mut self, place: usize) {
        let fresh = self.seat(place);
        let old = std::mem::replace(&mut self.seats[place], fresh);
        let out = self.house.command(old.id, Command::Leave);
        self.deliver(out);
        self.open(place);
    }

    fn command(&mut self, place: usize, command: Command) {
        let seat = &mut self.seats[place];
        let place = |visitor| self.house.hub.visitor_place(visitor);
        match seat.grants.check(command, place) {
            Ok(command) => {
                let out = self.house.command(seat.id, command);
                self.deliver(out);
            }
            Err(event) => seat.mail.push_back(event),
        }
    }

    fn deliver(&mut self, out: Vec<Output>) {
        for Output { to, event } in out {
            if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == to) {
                seat.mail.push_back(event);
            }
        }
    }

    /// Gives everyone a turn who doesn't sleep, until nothing more comes of it.
    fn settle(&mut self) {
        for _ in 0..STEPS {
            let busy = self
                .seats
                .iter()
                .position(|seat| !seat.sleeps && !seat.mail.is_empty());
            let Some(place) = busy else {
                return;
            };
            let Some(event) = self.seats[place].mail.pop_front() else {
                return;
            };
            let is_relayed = matches!(event, Event::FromPartner { .. });
            let mut effects = Vec::new();
            self.seats[place].session.event(event, &mut effects);
            self.obey(place, effects, is_relayed);
        }
        panic!("there is no end to it");
    }

    fn obey(&mut self, place: usize, effects: Vec<Effect>, is_relayed: bool) {
        for effect in effects {
            let mut more = Vec::new();
            match effect {
                Effect::Send(frame) => (self.check)(&frame, is_relayed),
                Effect::Close { reason, .. } => {
                    assert!(reason.len() <= 123, "{reason}");
                    return self.replace(place);
                }
                Effect::Hub(command) => self.command(place, command),
                Effect::Custom(request) => self.seats[place].session.custom(Ok(request), &mut more),
                Effect::Verify(token) => {
                    let token = token.expose();
                    let outcome = match token.len() % 4 {
                        3 => Err(Unverified::Refused("no".to_owned())),
                        _ => Ok(AccountId::new(token)),
                    };
                    self.seats[place].session.verified(outcome, &mut more);
                }
                Effect::Report { .. } | Effect::Handled { .. } | Effect::FilesPort(_) => {}
            }
            self.obey(place, more, false);
        }
    }
}

/// A frame that is JSON.
pub fn is_json(frame: &Payload, _: bool) {
    let read = serde_json::from_str::<serde_json::Value>(frame.as_str());
    assert!(read.is_ok(), "a frame that is no JSON: {}", frame.as_str());
}

/// One of these grants, by their number.
pub fn grants(nth: u8) -> Grants {
    const TOKENS: [&str; 6] = [
        "[]",
        r#"[{"role":"device","ids":["1","g*"]},{"role":"client","ids":["1"]}]"#,
        r#"[{"role":"gecko","ids":["1"]},{"role":"client"}]"#,
        r#"[{"role":"peer","ids":["1*"],"calls":["2"],"rooms":["1"]}]"#,
        r#"[{"role":"participant","rooms":["r1"],"publish":false}]"#,
        r#"[{"role":"participant","ids":["u*"],"subscribe":false},{"role":"admin"}]"#,
    ];
    match TOKENS.get(usize::from(nth % 8)) {
        Some(token) => Grants::new(serde_json::from_str(token).expect("grants")),
        None => Grants::default(),
    }
}

/// What peers offer: a browser that sends, one that receives, one with simulcast, and GStreamer.
pub const OFFERS: [&str; 4] = [
    include_str!("../offers/sending.sdp"),
    include_str!("../offers/receiving.sdp"),
    include_str!("../offers/simulcast.sdp"),
    include_str!("../offers/gstreamer.sdp"),
];

/// A panic in str0m isn't the end: the plane guards itself against them, at the price of one endpoint. One
/// that nobody catches still is.
pub fn spare_str0m() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let crates = ["/str0m-", "/is-", "/sctp-proto-", "/dimpl-"];
        let place = panic.location().map_or("", |location| location.file());
        if !crates.iter().any(|it| place.contains(it)) {
            abort(panic);
        }
    }));
}

//! Kurento's clients at one hub, each sending whatever it likes, and a media plane that answers,
//! refuses and fails as it likes: nothing panics, every frame that is sent is one that clients can
//! read, and when all have left and some time has passed nothing is left, at the plane neither.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::kurento::server::{ClientSession, Settings, session_id};
use switchboard::dialect::kurento::wire::ServerMessage;
use switchboard::dialect::{Effect, Session};
use switchboard::hub::{
    Command, ConferenceLimits, ConnectionId, Counts, Hub, Limits, MediaCommand, MediaEnd,
    MediaEvent, MediaRefusal, MediaRoom, Output, Payload, PoolLimits, Visitor,
};

const CONNECTIONS: usize = 5;
const TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed messages, so that deep states are reached.
    Join { who: u8, user: u8, room: u8 },
    Publish { who: u8, loopback: bool },
    Receive { who: u8, from: u8 },
    Plain { who: u8, method: u8 },
    Connect { who: u8, session: u8 },
    Say { who: u8, user: u8, room: u8 },
    Ping { who: u8, interval: u32 },
    Custom { who: u8 },
    /// Anything.
    Text { who: u8, text: String },
    Binary { who: u8, bytes: Vec<u8> },
    Answered { nth: u8 },
    Refused { nth: u8 },
    Failed { nth: u8, closed: bool },
    Close { room: u8 },
    Evict { room: u8, user: u8 },
    /// Who left is replaced.
    Leave { who: u8 },
    Wait { milliseconds: u16 },
}

/// An end at the plane: its room, its publisher, and whether it is answered.
type End = (MediaRoom, Option<MediaEnd>, bool);

struct World {
    hub: Hub,
    now: Instant,
    settings: Arc<Settings>,
    connections: u64,
    sessions: Vec<(ConnectionId, ClientSession)>,
    plane: BTreeMap<MediaEnd, End>,
}

impl World {
    fn text(&mut self, who: u8, text: &str) {
        self.frame(who, &Payload::from(text));
    }

    fn frame(&mut self, who: u8, frame: &Payload) {
        let who = usize::from(who) % CONNECTIONS;
        let mut effects = Vec::new();
        let session = &mut self.sessions[who].1;
        session.tell_time(self.now);
        if frame.is_binary() {
            session.binary(frame, &mut effects);
        } else {
            session.text(frame, &mut effects);
        }
        self.effects(who, effects);
    }

    fn effects(&mut self, who: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    ServerMessage::parse(frame.as_str()).expect("a frame that no client can read");
                }
                Effect::Close { .. } => return self.leave(who),
                Effect::Hub(command) => {
                    let from = self.sessions[who].0;
                    self.change(|now, hub, out| hub.handle(now, from, command, out));
                }
                Effect::Custom(request) => {
                    let mut effects = Vec::new();
                    self.sessions[who].1.custom(Ok(request), &mut effects);
                    self.effects(who, effects);
                }
                _ => {}
            }
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(Instant, &mut Hub, &mut Vec<Output>) -> T) {
        let mut out = Vec::new();
        change(self.now, &mut self.hub, &mut out);
        let commands: Vec<_> = self.hub.take_media_commands().collect();
        for command in commands {
            match command {
                MediaCommand::Publish { room, end, .. } => {
                    self.plane.insert(end, (room, None, false));
                }
                MediaCommand::Receive { room, end, from, .. } => {
                    self.plane.insert(end, (room, Some(from), false));
                }
                MediaCommand::Remove { end, .. } => self.remove(end),
                MediaCommand::CloseRoom(room) => self.plane.retain(|_, it| it.0 != room),
            }
        }
        for Output { to, event } in out {
            let Some(who) = self.sessions.iter().position(|(id, _)| *id == to) else {
                continue;
            };
            let mut effects = Vec::new();
            self.sessions[who].1.event(event, &mut effects);
            self.effects(who, effects);
        }
    }

    fn remove(&mut self, end: MediaEnd) {
        self.plane.retain(|key, it| *key != end && it.1 != Some(end));
    }

    /// One of the ends that are answered, or not.
    fn end(&self, nth: u8, is_answered: bool) -> Option<MediaEnd> {
        let ends: Vec<_> = self.plane.iter().filter(|(_, it)| it.2 == is_answered).collect();
        Some(*ends.get(usize::from(nth) % ends.len().max(1))?.0)
    }

    fn media(&mut self, event: MediaEvent) {
        self.change(|now, hub, out| hub.handle_media(now, event, out));
    }

    fn join(&mut self) -> (ConnectionId, ClientSession) {
        self.connections += 1;
        let own = Visitor(self.connections.into());
        let session = ClientSession::new(Arc::clone(&self.settings), own, self.now);
        (ConnectionId(self.connections), session)
    }

    fn leave(&mut self, who: usize) {
        let fresh = self.join();
        let (old, _) = std::mem::replace(&mut self.sessions[who], fresh);
        self.change(|now, hub, out| hub.handle(now, old, Command::Leave, out));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.change(|now, hub, out| hub.handle_timeout(now, out));
        for who in 0..CONNECTIONS {
            let mut effects = Vec::new();
            self.sessions[who].1.handle_timeout(self.now, &mut effects);
            self.effects(who, effects);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join { who, user, room } => self.text(
                who,
                &format!(r#"{{"id":1,"method":"joinRoom","params":{{"user":"u{}","room":"r{}"}}}}"#, user % 4, room % 3),
            ),
            Step::Publish { who, loopback } => self.text(
                who,
                &format!(r#"{{"id":2,"method":"publishVideo","params":{{"sdpOffer":"o","doLoopback":{loopback}}}}}"#),
            ),
            Step::Receive { who, from } => self.text(
                who,
                &format!(r#"{{"id":3,"method":"receiveVideoFrom","params":{{"sdpOffer":"o","sender":"u{}_webcam"}}}}"#, from % 4),
            ),
            Step::Plain { who, method } => {
                let methods = ["unpublishVideo", "leaveRoom", "closeSession", "connect"];
                let method = methods[usize::from(method) % methods.len()];
                self.text(who, &format!(r#"{{"id":4,"method":"{method}"}}"#));
            }
            Step::Connect { who, session } => {
                let id = session_id(Visitor(session.into()));
                self.text(who, &format!(r#"{{"id":5,"method":"connect","params":{{"sessionId":"{id}"}}}}"#));
            }
            Step::Say { who, user, room } => self.text(
                who,
                &format!(
                    r#"{{"id":6,"method":"sendMessage","params":{{"message":"m","userMessage":"u{}","roomMessage":"r{}"}}}}"#,
                    user % 4,
                    room % 3
                ),
            ),
            Step::Ping { who, interval } => {
                self.text(who, &format!(r#"{{"id":7,"method":"ping","params":{{"interval":{interval}}}}}"#));
            }
            Step::Custom { who } => self.text(who, r#"{"id":8,"method":"customRequest","params":{"hat":true}}"#),
            Step::Text { who, text } => self.text(who, &text),
            Step::Binary { who, bytes } => self.frame(who, &Payload::binary(bytes.into())),
            Step::Answered { nth } => {
                if let Some(end) = self.end(nth, false) {
                    self.plane.entry(end).and_modify(|it| it.2 = true);
                    let sdp = "a".to_owned();
                    self.media(MediaEvent::Answered { end, sdp });
                }
            }
            Step::Refused { nth } => {
                if let Some(end) = self.end(nth, false) {
                    self.remove(end);
                    let why = MediaRefusal::NoPublisher;
                    self.media(MediaEvent::Refused { end, why });
                }
            }
            Step::Failed { nth, closed } => {
                if let Some(end) = self.end(nth, true) {
                    self.remove(end);
                    let why = "w".into();
                    self.media(MediaEvent::Failed { end, why, closed });
                }
            }
            Step::Close { room } => {
                self.change(|_, hub, out| hub.close_room(&format!("r{}", room % 3), out));
            }
            Step::Evict { room, user } => {
                let (room, user) = (format!("r{}", room % 3), format!("u{}", user % 4));
                self.change(|_, hub, out| hub.evict(&room, &user, out));
            }
            Step::Leave { who } => self.leave(usize::from(who) % CONNECTIONS),
            Step::Wait { milliseconds } => self.wait(Duration::from_millis(milliseconds.into())),
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let limits = Limits {
        endpoints: 1,
        calls_per_endpoint: 1,
        waiting_calls: 1,
        waiting_calls_per_endpoint: 1,
        remembered_endpoints: 1,
        rooms: 1,
        members_per_room: 1,
        just_left: TIME,
        probe: TIME,
        pool: PoolLimits {
            sessions_per_endpoint: 1,
            queue_messages: 1,
            queue_bytes: 1,
            candidates: 40,
            accounts: 1,
            grace: TIME,
            answer: TIME,
            connect: TIME,
        },
        conference: ConferenceLimits {
            visitors: 6,
            rooms: 2,
            participants_per_room: 3,
            publishers_per_room: 2,
            resume: TIME,
            answer: TIME,
            farewell: TIME / 2,
        },
    };
    let mut world = World {
        hub: Hub::new(limits),
        now: Instant::now(),
        settings: Arc::new(Settings {
            name_bytes: 10,
            requests: 10,
            waiting: 4,
            waiting_bytes: 500,
            has_hook: steps.len() % 2 == 0,
        }),
        connections: 0,
        sessions: Vec::new(),
        plane: BTreeMap::new(),
    };
    for _ in 0..CONNECTIONS {
        let fresh = world.join();
        world.sessions.push(fresh);
    }
    for step in steps {
        world.step(step);
    }
    for who in 0..CONNECTIONS {
        world.leave(who);
    }
    world.wait(TIME);
    assert_eq!(world.hub.counts(), Counts::default());
    assert!(world.plane.is_empty());
});

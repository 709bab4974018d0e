//! Geckos and their clients at one hub, each sending whatever it likes: nothing panics, every frame
//! that is sent is JSON, and when all have left and some time has passed nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::gecko::server::{ClientSession, GeckoSession, Settings};
use switchboard::dialect::{Effect, Session};
use switchboard::hub::{
    AccountId, Command, ConferenceLimits, ConnectionId, Counts, Hub, Limits, Output, Payload,
    PoolLimits, SessionId,
};

const CONNECTIONS: usize = 6;
const TIME: Duration = Duration::from_secs(30);

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed messages, so that deep states are reached.
    GeckoHello { who: u8, id: u8 },
    ClientHello { who: u8, account: u8 },
    ClientIce { who: u8 },
    GeckoIce { who: u8, worker: Option<u8> },
    Created { who: u8, worker: u8 },
    Connected { who: u8, worker: u8 },
    /// Anything.
    Text { who: u8, text: String },
    Binary { who: u8, bytes: Vec<u8> },
    /// Who left is replaced.
    Leave { who: u8 },
    Wait { milliseconds: u16 },
}

struct World {
    hub: Hub,
    now: Instant,
    settings: Arc<Settings>,
    connections: u64,
    sessions: Vec<(ConnectionId, Box<dyn Session>)>,
}

impl World {
    fn text(&mut self, who: u8, text: &str) {
        self.frame(who, &Payload::from(text));
    }

    fn frame(&mut self, who: u8, frame: &Payload) {
        let who = usize::from(who) % CONNECTIONS;
        let mut effects = Vec::new();
        let session = &mut self.sessions[who].1;
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
                    serde_json::from_str::<serde_json::Value>(frame.as_str()).expect("a frame that is no JSON");
                }
                Effect::Close { .. } => return self.leave(who),
                Effect::Hub(command) => self.command(self.sessions[who].0, command),
                Effect::Verify(token) => {
                    let mut effects = Vec::new();
                    let account = AccountId::new(token.expose());
                    self.sessions[who].1.verified(Ok(account), &mut effects);
                    self.effects(who, effects);
                }
                _ => {}
            }
        }
    }

    fn command(&mut self, who: ConnectionId, command: Command) {
        let mut out = Vec::new();
        self.hub.handle(self.now, who, command, &mut out);
        self.deliver(out);
    }

    fn deliver(&mut self, out: Vec<Output>) {
        for Output { to, event } in out {
            let Some(who) = self.sessions.iter().position(|(id, _)| *id == to) else {
                continue;
            };
            let mut effects = Vec::new();
            self.sessions[who].1.event(event, &mut effects);
            self.effects(who, effects);
        }
    }

    /// Geckos are at even places.
    fn join(&mut self, who: usize) -> (ConnectionId, Box<dyn Session>) {
        self.connections += 1;
        let settings = Arc::clone(&self.settings);
        let session: Box<dyn Session> = if who % 2 == 0 {
            Box::new(GeckoSession::new(settings, None))
        } else {
            Box::new(ClientSession::new(settings, SessionId(self.connections.into())))
        };
        (ConnectionId(self.connections), session)
    }

    fn leave(&mut self, who: usize) {
        let fresh = self.join(who);
        let (old, _) = std::mem::replace(&mut self.sessions[who], fresh);
        self.command(old, Command::Leave);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let mut out = Vec::new();
        self.hub.handle_timeout(self.now, &mut out);
        self.deliver(out);
    }

    /// A worker of one of the clients that are here now.
    fn worker(&self, worker: u8) -> SessionId {
        SessionId(self.sessions[usize::from(worker % 3) * 2 + 1].0.0.into())
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let limits = Limits {
        endpoints: 3,
        calls_per_endpoint: 3,
        waiting_calls: 2,
        waiting_calls_per_endpoint: 2,
        remembered_endpoints: 2,
        rooms: 2,
        members_per_room: 2,
        just_left: Duration::from_secs(5),
        probe: Duration::from_millis(500),
        pool: PoolLimits {
            sessions_per_endpoint: 2,
            queue_messages: 8,
            queue_bytes: 1_000,
            candidates: 40,
            accounts: 2,
            grace: TIME,
            answer: TIME,
            connect: TIME,
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
    let mut world = World {
        hub: Hub::new(limits),
        now: Instant::now(),
        settings: Arc::new(Settings {
            legacy_progress_errors: steps.len() % 2 == 0,
            id_bytes: 100,
            ice_servers: None,
        }),
        connections: 0,
        sessions: Vec::new(),
    };
    for who in 0..CONNECTIONS {
        let fresh = world.join(who);
        world.sessions.push(fresh);
    }
    for step in steps {
        match step {
            Step::GeckoHello { who, id } => world.text(
                who,
                &format!(r#"{{"action":"worker-hello","geckoId":"{}","capabilities":["worker-closed"]}}"#, id % 3),
            ),
            Step::ClientHello { who, account } => world.text(
                who,
                &format!(
                    r#"{{"action":"client-hello","authorization":"Bearer {}","source":"s","webrtcOffer":"o"}}"#,
                    account % 3
                ),
            ),
            Step::ClientIce { who } => {
                world.text(who, r#"{"messageType":"ice","action":"client-candidate","candidate":{}}"#);
            }
            Step::GeckoIce { who, worker } => {
                let id = worker.map_or("null".to_owned(), |it| format!("\"{}\"", world.worker(it)));
                world.text(who, &format!(r#"{{"messageType":"ice","workerId":{id},"candidate":{{}}}}"#));
            }
            Step::Created { who, worker } => {
                let id = world.worker(worker);
                world.text(
                    who,
                    &format!(r#"{{"messageType":"worker-created","workerId":"{id}","webrtcAnswer":"a=ice-ufrag:u"}}"#),
                );
            }
            Step::Connected { who, worker } => {
                let id = world.worker(worker);
                world.text(who, &format!(r#"{{"messageType":"connected","workerId":"{id}"}}"#));
            }
            Step::Text { who, text } => world.text(who, &text),
            Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
            Step::Leave { who } => world.leave(usize::from(who) % CONNECTIONS),
            Step::Wait { milliseconds } => world.wait(Duration::from_millis(milliseconds.into())),
        }
    }
    for who in 0..CONNECTIONS {
        world.leave(who);
    }
    world.wait(TIME);
    assert_eq!(world.hub.counts(), Counts::default());
});

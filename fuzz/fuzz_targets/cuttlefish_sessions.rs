//! Many Cuttlefish connections at one hub, each sending whatever it likes: nothing panics, every
//! frame that the server sends is JSON, and when all have left nobody is registered or in a call.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::config::Cuttlefish;
use switchboard::dialect::cuttlefish::server::{ClientSession, DeviceSession, Settings};
use switchboard::dialect::{Effect, Session};
use switchboard::hub::{
    Command, ConferenceLimits, ConnectionId, Hub, Limits, Output, Payload, PoolLimits,
};

const CONNECTIONS: usize = 6;

#[derive(Debug, Arbitrary)]
enum Step {
    /// A well-formed message, so that deep states are reached.
    Register { who: u8, id: u8 },
    Connect { who: u8, id: u8 },
    Forward { who: u8, client: u8 },
    /// Anything.
    Text { who: u8, text: String },
    Binary { who: u8 },
    Alive { who: u8 },
    Leave { who: u8 },
    Wait { milliseconds: u16 },
}

struct World {
    hub: Hub,
    now: Instant,
    sessions: Vec<Option<Box<dyn Session>>>,
}

impl World {
    fn frame(&mut self, who: u8, text: &str) {
        let who = usize::from(who) % CONNECTIONS;
        let mut effects = Vec::new();
        if let Some(session) = &mut self.sessions[who] {
            session.text(&Payload::from(text), &mut effects);
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
                Effect::Hub(command) => self.command(who, command),
                _ => {}
            }
        }
    }

    fn command(&mut self, who: usize, command: Command) {
        let mut out = Vec::new();
        self.hub.handle(self.now, ConnectionId(who as u64), command, &mut out);
        self.deliver(out);
    }

    fn deliver(&mut self, out: Vec<Output>) {
        for Output { to, event } in out {
            let who = to.0 as usize;
            let mut effects = Vec::new();
            if let Some(session) = &mut self.sessions[who] {
                session.event(event, &mut effects);
            }
            self.effects(who, effects);
        }
    }

    fn leave(&mut self, who: usize) {
        if self.sessions[who].take().is_some() {
            self.command(who, Command::Leave);
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let settings = Arc::new(Settings::new(
        &[],
        &Cuttlefish {
            wait_for_device: steps.len() % 2 == 0,
            ..Cuttlefish::default()
        },
    ));
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
    let mut world = World {
        hub: Hub::new(limits),
        now: Instant::now(),
        sessions: (0..CONNECTIONS)
            .map(|n| -> Option<Box<dyn Session>> {
                Some(if n % 2 == 0 {
                    Box::new(DeviceSession::new(settings.clone()))
                } else {
                    Box::new(ClientSession::new(settings.clone()))
                })
            })
            .collect(),
    };
    for step in steps {
        match step {
            Step::Register { who, id } => world.frame(
                who,
                &format!(r#"{{"message_type":"register","device_id":"{}","device_info":{{}}}}"#, id % 4),
            ),
            Step::Connect { who, id } => {
                world.frame(who, &format!(r#"{{"message_type":"connect","device_id":"{}"}}"#, id % 4))
            }
            Step::Forward { who, client } => world.frame(
                who,
                &format!(r#"{{"message_type":"forward","client_id":{},"payload":[1]}}"#, client % 8),
            ),
            Step::Text { who, text } => world.frame(who, &text),
            Step::Binary { who } => {
                let who = usize::from(who) % CONNECTIONS;
                let mut effects = Vec::new();
                if let Some(session) = &mut world.sessions[who] {
                    session.binary(&Payload::binary(Default::default()), &mut effects);
                }
                world.effects(who, effects);
            }
            Step::Alive { who } => world.command(usize::from(who) % CONNECTIONS, Command::Alive),
            Step::Leave { who } => world.leave(usize::from(who) % CONNECTIONS),
            Step::Wait { milliseconds } => {
                world.now += Duration::from_millis(milliseconds.into());
                let mut out = Vec::new();
                world.hub.handle_timeout(world.now, &mut out);
                world.deliver(out);
            }
        }
    }
    for who in 0..CONNECTIONS {
        world.leave(who);
        world.command(who, Command::Leave);
    }
    let counts = world.hub.counts();
    assert_eq!((counts.endpoints, counts.calls, counts.waiting_calls), (0, 0, 0));
});

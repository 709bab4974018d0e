//! Many GStreamer peers at one hub, each sending whatever it likes: nothing panics, a peer in a room
//! or in none is sent only lines of the protocol, and when all have left nobody and no room is left.

#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::gstreamer::server::PeerSession;
use switchboard::dialect::{Effect, Session};
use switchboard::hub::{
    Command, ConferenceLimits, ConnectionId, Counts, Event, Hub, Limits, Output, Payload,
    PoolLimits,
};

const CONNECTIONS: usize = 6;
const WORDS: [&str; 4] = ["HELLO", "ERROR ", "SESSION_OK", "ROOM_"];

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed lines, so that deep states are reached.
    Hello { who: u8, id: u8 },
    Session { who: u8, id: u8 },
    Room { who: u8, id: u8 },
    Message { who: u8, id: u8 },
    List { who: u8 },
    /// Anything.
    Text { who: u8, text: String },
    Binary { who: u8, bytes: Vec<u8> },
    Alive { who: u8 },
    Leave { who: u8 },
    Wait { milliseconds: u16 },
}

struct World {
    hub: Hub,
    now: Instant,
    sessions: Vec<Option<PeerSession>>,
}

impl World {
    fn text(&mut self, who: u8, text: &str) {
        self.frame(who, &Payload::from(text));
    }

    fn frame(&mut self, who: u8, frame: &Payload) {
        let who = usize::from(who) % CONNECTIONS;
        let mut effects = Vec::new();
        if let Some(session) = &mut self.sessions[who] {
            if frame.is_binary() {
                session.binary(frame, &mut effects);
            } else {
                session.text(frame, &mut effects);
            }
        }
        self.effects(who, effects, false);
    }

    fn effects(&mut self, who: usize, effects: Vec<Effect>, is_relayed: bool) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    let line = frame.as_str();
                    let is_ours = WORDS.iter().any(|word| line.starts_with(word));
                    assert!(is_relayed || is_ours, "no line of the protocol: {line}");
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
            let is_relayed = matches!(event, Event::FromPartner { .. });
            if let Some(session) = &mut self.sessions[who] {
                session.event(event, &mut effects);
            }
            self.effects(who, effects, is_relayed);
        }
    }

    fn leave(&mut self, who: usize) {
        if self.sessions[who].take().is_some() {
            self.command(who, Command::Leave);
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let limits = Limits {
        endpoints: 5,
        calls_per_endpoint: 3,
        waiting_calls: 2,
        waiting_calls_per_endpoint: 2,
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
    let mut world = World {
        hub: Hub::new(limits),
        now: Instant::now(),
        sessions: (0..CONNECTIONS).map(|_| Some(PeerSession::new(1_000))).collect(),
    };
    for step in steps {
        match step {
            Step::Hello { who, id } => world.text(who, &format!("HELLO {}", id % 6)),
            Step::Session { who, id } => world.text(who, &format!("SESSION {}", id % 6)),
            Step::Room { who, id } => world.text(who, &format!("ROOM {}", id % 3)),
            Step::Message { who, id } => world.text(who, &format!("ROOM_PEER_MSG {} x", id % 6)),
            Step::List { who } => world.text(who, "ROOM_PEER_LIST"),
            Step::Text { who, text } => world.text(who, &text),
            Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
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
    assert_eq!(world.hub.counts(), Counts::default());
});

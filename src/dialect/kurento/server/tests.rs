//! What a client is sent, with the hub that it talks to.

use std::time::Duration;

use super::*;
use crate::hub::{
    ConferenceLimits, ConnectionId, Hub, Limits, MediaCommand, MediaEvent, Output, PoolLimits,
};

const TIME: Duration = Duration::from_secs(10);
const ME: ConnectionId = ConnectionId(1);

/// A client, another one, and their hub. The media plane answers when it is told to.
struct World {
    hub: Hub,
    now: Instant,
    sessions: Vec<ClientSession>,
    asked: Vec<Payload>,
    reports: Vec<(&'static str, &'static str)>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let settings = Arc::new(settings);
        let session = |id| ClientSession::new(Arc::clone(&settings), Visitor(id), now);
        Self {
            hub: Hub::new(limits()),
            now,
            sessions: vec![session(1), session(2)],
            asked: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// The first client's request, and what it is sent.
    fn send(&mut self, text: &str) -> Vec<String> {
        self.send_from(ME, text)
    }

    fn send_from(&mut self, from: ConnectionId, text: &str) -> Vec<String> {
        let session = &mut self.sessions[index(from)];
        let mut effects = Vec::new();
        session.tell_time(self.now);
        session.text(&Payload::from(text), &mut effects);
        self.obey(from, effects)
    }

    fn join(&mut self, from: ConnectionId, user: &str) -> Vec<String> {
        let join = r#"{"id":1,"method":"joinRoom","params":{"room":"r","user":"USER"}}"#;
        self.send_from(from, &join.replace("USER", user))
    }

    /// What the first client is sent.
    fn obey(&mut self, from: ConnectionId, effects: Vec<Effect>) -> Vec<String> {
        let mut sent = Vec::new();
        for effect in effects {
            let heard = match effect {
                Effect::Send(frame) if from == ME => vec![frame.as_str().to_owned()],
                Effect::Close { code, reason } if from == ME => vec![format!("{code} {reason}")],
                Effect::Hub(command) => {
                    let mut out = Vec::new();
                    self.hub.handle(self.now, from, command, &mut out);
                    self.deliver(out)
                }
                Effect::Custom(request) => {
                    self.asked.push(request);
                    Vec::new()
                }
                Effect::Handled { method, outcome } => {
                    self.reports.push((method, outcome));
                    Vec::new()
                }
                _ => Vec::new(),
            };
            sent.extend(heard);
        }
        sent
    }

    fn deliver(&mut self, out: Vec<Output>) -> Vec<String> {
        let mut sent = Vec::new();
        for Output { to, event } in out {
            let mut effects = Vec::new();
            self.sessions[index(to)].event(event, &mut effects);
            sent.extend(self.obey(to, effects));
        }
        sent
    }

    /// The plane answers everything that it was asked.
    fn answer(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        let commands = self.hub.take_media_commands();
        for command in commands {
            if let MediaCommand::Publish { end, .. } | MediaCommand::Receive { end, .. } = command {
                let sdp = "answer".to_owned();
                let event = MediaEvent::Answered { end, sdp };
                self.hub.handle_media(self.now, event, &mut out);
            }
        }
        self.deliver(out)
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        let mut effects = Vec::new();
        self.sessions[0].handle_timeout(self.now, &mut effects);
        self.obey(ME, effects)
    }
}

fn index(connection: ConnectionId) -> usize {
    usize::try_from(connection.0).unwrap() - 1
}

fn settings() -> Settings {
    Settings {
        name_bytes: 10,
        waiting: 3,
        waiting_bytes: 1_000,
        has_hook: true,
    }
}

fn limits() -> Limits {
    Limits {
        endpoints: 1,
        calls_per_endpoint: 1,
        waiting_calls: 1,
        waiting_calls_per_endpoint: 1,
        remembered_endpoints: 1,
        rooms: 2,
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
            visitors: 4,
            rooms: 2,
            participants_per_room: 3,
            publishers_per_room: 2,
            resume: TIME,
            answer: TIME,
            farewell: TIME,
        },
    }
}

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"id":{id},"method":"{method}"}}"#)
}

const PUBLISH: &str = r#"{"id":7,"method":"publishVideo","params":{"sdpOffer":"offer"}}"#;

#[test]
fn a_sessions_id_has_26_digits_and_can_be_read_again() {
    for number in [0, 1, 31, 32, u128::MAX, 1 << 127] {
        let id = session_id(Visitor(number));
        assert_eq!(id.len(), 26, "{id}");
        assert_eq!(visitor(&id), Some(Visitor(number)));
    }
    for id in [
        "",
        "1",
        "-0000000000000000000000001",
        "zzzzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        assert_eq!(visitor(id), None, "{id}");
    }
}

#[test]
fn answers_keep_the_order_of_their_requests() {
    let mut world = World::new(settings());
    assert_eq!(world.join(ME, "a").len(), 1);
    assert_eq!(world.send(PUBLISH), [""; 0], "the plane has not answered");
    assert_eq!(world.send(&request(8, "unpublishVideo")), [""; 0]);
    assert_eq!(world.send("{"), [""; 0]);
    let sent = world.answer();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(
        sent[0].starts_with(r#"{"id":7,"result":{"sdpAnswer":"answer""#),
        "{sent:?}"
    );
    assert!(
        sent[1].starts_with(r#"{"id":8,"result":{"sessionId""#),
        "{sent:?}"
    );
    assert!(
        sent[2].starts_with(r#"{"id":null,"error":{"code":-32700"#),
        "{sent:?}"
    );
}

#[test]
fn a_ping_is_answered_at_once_and_makes_no_session() {
    let mut world = World::new(settings());
    let pong = r#"{"id":0,"result":{"value":"pong"},"jsonrpc":"2.0"}"#;
    assert_eq!(world.send(&request(0, "ping")), [pong]);
    assert_eq!(world.hub.counts().visitors, 0);
    world.join(ME, "a");
    world.send(PUBLISH);
    assert_eq!(world.send(&request(0, "ping")), [pong]);
    let ping = r#"{"id":0,"method":"ping","params":{"sessionId":"s"}}"#;
    let pong = r#"{"id":0,"result":{"sessionId":"s","value":"pong"},"jsonrpc":"2.0"}"#;
    assert_eq!(world.send(ping), [pong]);
}

#[test]
fn the_first_pings_interval_is_kept() {
    let mut world = World::new(settings());
    world.join(ME, "a");
    assert_eq!(
        world.pass(TIME * 100),
        [""; 0],
        "who never pings is never timed out"
    );
    world.send(r#"{"id":0,"method":"ping","params":{"interval":3000}}"#);
    let second = Duration::from_secs(1);
    assert_eq!(world.pass(second * 8), [""; 0]);
    world.send(r#"{"id":0,"method":"ping","params":{"interval":60000}}"#);
    assert_eq!(world.pass(second * 8), [""; 0]);
    assert_eq!(
        world.pass(second),
        ["1000 no ping came for three intervals"]
    );
    assert_eq!(world.sessions[0].next_timeout(), None);
    // Without one.
    let mut world = World::new(settings());
    world.send(&request(0, "ping"));
    assert_eq!(world.pass(second * 59), [""; 0]);
    assert_eq!(world.pass(second).len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut world = World::new(settings());
    world.join(ME, "a");
    world.send(PUBLISH);
    for id in 0..3 {
        assert!(world.sessions[0].takes_more());
        assert_eq!(world.send(&request(id, "unpublishVideo")), [""; 0]);
    }
    assert!(!world.sessions[0].takes_more());
    assert_eq!(world.answer().len(), 4);
    assert!(world.sessions[0].takes_more());

    let mut world = World::new(settings());
    world.join(ME, "a");
    world.send(PUBLISH);
    let long = PUBLISH.replace("offer", &"x".repeat(2_000));
    assert_eq!(world.send(&long), [""; 0]);
    assert!(!world.sessions[0].takes_more());
}

#[test]
fn a_custom_request_is_answered_by_the_hook() {
    let mut world = World::new(settings());
    world.join(ME, "a");
    let custom = r#"{"id":3,"method":"customRequest","params":{"hat":true}}"#;
    assert_eq!(world.send(custom), [""; 0]);
    assert_eq!(world.send(&request(4, "connect")), [""; 0]);
    let asked: Value = serde_json::from_str(world.asked[0].as_str()).unwrap();
    let id = session_id(Visitor(1));
    let expected = json!({"room": "r", "user": "a", "sessionId": id, "params": {"hat": true}});
    assert_eq!(asked, expected);
    let mut effects = Vec::new();
    world.sessions[0].custom(Ok(Payload::from(r#"{"on":1}"#)), &mut effects);
    let sent = world.obey(ME, effects);
    let on = format!(r#"{{"id":3,"result":{{"on":1,"sessionId":"{id}"}},"jsonrpc":"2.0"}}"#);
    assert_eq!(sent[0], on);
    assert!(sent[1].starts_with(r#"{"id":4,"#), "{sent:?}");
    for outcome in [Err("why".to_owned()), Ok(Payload::from("[]"))] {
        world.send(custom);
        let mut effects = Vec::new();
        world.sessions[0].custom(outcome, &mut effects);
        let sent = world.obey(ME, effects);
        assert!(
            sent[0].starts_with(r#"{"id":3,"error":{"code":-1,"#),
            "{sent:?}"
        );
    }
    let settings = Settings {
        has_hook: false,
        ..settings()
    };
    let sent = World::new(settings).send(custom);
    assert!(
        sent[0].contains("java.lang.RuntimeException:Unsupported method"),
        "{sent:?}"
    );
}

#[test]
fn leaving_is_answered_before_the_close_and_told_before_both() {
    let mut world = World::new(settings());
    let other = ConnectionId(2);
    world.join(ME, "a");
    let heard = world.join(other, "b");
    assert_eq!(
        heard,
        [r#"{"method":"participantJoined","params":{"id":"b"},"jsonrpc":"2.0"}"#]
    );
    let heard = world.send_from(other, &request(2, "leaveRoom"));
    assert_eq!(
        heard,
        [r#"{"method":"participantLeft","params":{"name":"b"},"jsonrpc":"2.0"}"#]
    );
    let id = session_id(Visitor(1));
    let done = format!(r#"{{"id":2,"result":{{"sessionId":"{id}"}},"jsonrpc":"2.0"}}"#);
    assert_eq!(
        world.send(&request(2, "leaveRoom")),
        [done, "1000 ".to_owned()]
    );
}

#[test]
fn names_have_a_limit_and_senders_a_stream() {
    let mut world = World::new(settings());
    let sent = world.join(ME, "an endless name");
    assert!(sent[0].contains(r#""code":-1"#), "{sent:?}");
    world.join(ME, "a");
    let sent = world
        .send(r#"{"id":1,"method":"receiveVideoFrom","params":{"sender":"b","sdpOffer":"o"}}"#);
    assert!(sent[0].contains(r#""code":-1"#), "{sent:?}");
    assert_eq!(
        world.reports.last(),
        Some(&("receiveVideoFrom", "bad_sender"))
    );
}

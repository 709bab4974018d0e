use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A client and what it wants done, in virtual time.
struct World {
    client: RoomClient,
    now: Instant,
    out: Vec<Output>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            client: RoomClient::new("me", "r", false, now),
            now,
            out: Vec::new(),
        }
    }

    /// In the room, with nobody else, as session `s`.
    fn joined() -> Self {
        let mut world = Self::new();
        world.open();
        world.frame(&json!({"id":0,"result":{"value":[],"sessionId":"s"},"jsonrpc":"2.0"}));
        assert_eq!(world.events(), [Event::Joined(Vec::new())]);
        world
    }

    fn open(&mut self) -> Vec<Value> {
        self.client.opened(self.now, &mut self.out);
        self.sent()
    }

    fn frame(&mut self, frame: &Value) {
        self.client
            .frame(self.now, &frame.to_string(), &mut self.out);
    }

    fn told(&mut self, method: &str, params: &Value) -> Vec<Event> {
        self.frame(&json!({"method":method,"params":params,"jsonrpc":"2.0"}));
        self.events()
    }

    /// Lets time pass, tick by tick, while the server says something each second.
    fn wait(&mut self, seconds: u64, heard: bool) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            let next = self.client.next_timeout().unwrap_or(end).min(end);
            let next = next.min(self.now + Duration::from_secs(1));
            self.now = next.max(self.now + Duration::from_millis(1));
            if heard {
                self.frame(&json!({"id":-1,"result":{"value":"pong"},"jsonrpc":"2.0"}));
            }
            self.client.tick(self.now, &mut self.out);
        }
    }

    fn sent(&mut self) -> Vec<Value> {
        let frames = self.out.extract_if(.., |it| matches!(it, Output::Send(_)));
        frames
            .map(|output| match output {
                Output::Send(frame) => serde_json::from_str(&frame).unwrap(),
                Output::Event(_) => Value::Null,
            })
            .collect()
    }

    fn methods(&mut self) -> Vec<String> {
        let method = |frame: Value| frame["method"].as_str().unwrap().to_owned();
        self.sent().into_iter().map(method).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let events = self.out.extract_if(.., |it| matches!(it, Output::Event(_)));
        events
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                Output::Send(_) => None,
            })
            .collect()
    }
}

fn publisher(user: &str) -> Publisher {
    Publisher {
        user: user.to_owned(),
        stream: "webcam".to_owned(),
    }
}

fn refusal(code: i32, message: &str) -> Refusal {
    Refusal::Server {
        code: Code(code),
        message: message.to_owned(),
    }
}

#[test]
fn it_joins_and_learns_who_publishes() {
    let mut world = World::new();
    assert_eq!(
        world.open(),
        [
            json!({"jsonrpc":"2.0","id":0,"method":"joinRoom","params":{"user":"me","room":"r","dataChannels":false}}),
            json!({"jsonrpc":"2.0","id":1,"method":"ping","params":{"interval":3000}}),
        ]
    );
    let streams = json!([{"id":"webcam"}]);
    let others =
        json!([{"id":"a_b","streams":streams},{"id":"quiet"},{"id":"me","streams":streams}]);
    world.frame(&json!({"id":0,"result":{"value":others,"sessionId":"s"},"jsonrpc":"2.0"}));
    assert_eq!(world.events(), [Event::Joined(vec![publisher("a_b")])]);

    let came = world.told("participantJoined", &json!({"id":"bob"}));
    assert_eq!(came, [Event::Came("bob".to_owned())]);
    let params = json!({"id":"bob","streams":streams});
    let published = world.told("participantPublished", &params);
    assert_eq!(published, [Event::Published(publisher("bob"))]);
    let gone = world.told("participantUnpublished", &json!({"name":"bob"}));
    assert_eq!(gone, [Event::Unpublished("bob".to_owned())]);
    let left = world.told("participantLeft", &json!({"name":"bob"}));
    assert_eq!(left, [Event::Left("bob".to_owned())]);
}

#[test]
fn media_is_asked_for_and_answers_find_who_asked() {
    let mut world = World::joined();
    let offer = Sdp::new("v=0");
    let (now, out) = (world.now, &mut world.out);
    world.client.publish(now, 7, &offer, true, out);
    world.client.receive(now, 8, &publisher("a_b"), &offer, out);
    let candidate = Candidate {
        candidate: "candidate:1".to_owned(),
        mid: Some("audio0".to_owned()),
        mline_index: Some(0),
    };
    world.client.candidate("a_b", &candidate, out);
    let sent = world.sent();
    assert_eq!(
        sent[0]["params"],
        json!({"sdpOffer":"v=0","doLoopback":true})
    );
    assert_eq!(
        sent[1]["params"],
        json!({"sender":"a_b_webcam","sdpOffer":"v=0"})
    );
    assert_eq!(
        sent[2]["params"],
        json!({"endpointName":"a_b","candidate":"candidate:1","sdpMid":"audio0","sdpMLineIndex":0})
    );
    world.frame(&json!({"id":sent[1]["id"],"error":{"code":105,"message":"no"},"jsonrpc":"2.0"}));
    world.frame(
        &json!({"id":sent[0]["id"],"result":{"sdpAnswer":"a","sessionId":"s"},"jsonrpc":"2.0"}),
    );
    world.frame(&json!({"id":sent[2]["id"],"result":{"sessionId":"s"},"jsonrpc":"2.0"}));
    let answered = |tag, outcome| Event::Answered { tag, outcome };
    assert_eq!(
        world.events(),
        [
            answered(8, Err(refusal(105, "no"))),
            answered(7, Ok(Sdp::new("a")))
        ]
    );
    let params = json!({"endpointName":"a_b","sdpMLineIndex":0,"sdpMid":"audio0","candidate":"c"});
    let told = world.told("iceCandidate", &params);
    assert!(matches!(&told[..], [Event::Candidate { user, .. }] if user == "a_b"));
}

#[test]
fn what_is_not_answered_fails_after_its_time() {
    let mut world = World::joined();
    let (now, out) = (world.now, &mut world.out);
    world.client.publish(now, 1, &Sdp::new("v=0"), false, out);
    world.wait(14, true);
    assert_eq!(world.events(), []);
    world.wait(2, true);
    let outcome = Err(Refusal::Silence);
    assert_eq!(world.events(), [Event::Answered { tag: 1, outcome }]);
    assert!(world.client.is_in());
}

#[test]
fn it_pings_and_gives_a_silent_server_up() {
    let mut world = World::joined();
    world.sent();
    world.wait(7, true);
    assert_eq!(world.methods(), ["ping", "ping"]);
    world.wait(8, false);
    assert_eq!(world.events(), []);
    world.wait(2, false);
    assert!(matches!(world.events()[..], [Event::Lost(_)]));
    assert_eq!(world.client.next_timeout(), None);
}

#[test]
fn a_lost_connection_is_resumed_or_else_joined_anew() {
    let mut world = World::joined();
    let (now, out) = (world.now, &mut world.out);
    world.client.publish(now, 1, &Sdp::new("v=0"), false, out);
    world.client.closed(&mut world.out);
    let outcome = Err(Refusal::Silence);
    assert_eq!(world.events(), [Event::Answered { tag: 1, outcome }]);
    world.sent();

    let sent = world.open();
    assert_eq!(sent[0]["method"], "connect");
    assert_eq!(sent[0]["params"], json!({"sessionId":"s"}));
    let id = &sent[0]["id"];
    world.frame(
        &json!({"id":id,"result":{"value":"reconnection successful","sessionId":"s"},"jsonrpc":"2.0"}),
    );
    assert_eq!(world.events(), [Event::Resumed]);

    world.client.closed(&mut world.out);
    let sent = world.open();
    let id = &sent[0]["id"];
    world.frame(
        &json!({"id":id,"error":{"code":40007,"message":"reconnection error"},"jsonrpc":"2.0"}),
    );
    let sent = world.sent();
    assert_eq!(sent[0]["method"], "joinRoom");
    let id = &sent[0]["id"];
    world.frame(&json!({"id":id,"result":{"value":[],"sessionId":"t"},"jsonrpc":"2.0"}));
    assert_eq!(world.events(), [Event::Joined(Vec::new())]);

    // A server that doesn't know `connect` may say nothing; then it isn't asked once more.
    world.client.closed(&mut world.out);
    world.open();
    world.wait(16, true);
    assert!(matches!(world.events()[..], [Event::Lost(_)]));
    world.client.closed(&mut world.out);
    world.sent();
    assert_eq!(world.open()[0]["method"], "joinRoom");
}

#[test]
fn a_refused_join_says_why() {
    let mut world = World::new();
    world.open();
    world.frame(
        &json!({"id":0,"error":{"code":104,"message":"taken","sessionId":"s"},"jsonrpc":"2.0"}),
    );
    assert_eq!(world.events(), [Event::Refused(refusal(104, "taken"))]);
    assert!(!world.client.is_in());
}

#[test]
fn who_is_put_out_asks_for_nothing_more() {
    for (method, params, event) in [
        ("participantEvicted", json!({}), Event::Evicted),
        ("roomClosed", json!({"room":"r"}), Event::Closed),
    ] {
        let mut world = World::joined();
        assert_eq!(world.told(method, &params), [event]);
        world.sent();
        world.client.unpublish(&mut world.out);
        assert!(world.sent().is_empty());
        world.client.closed(&mut world.out);
        assert_eq!(world.open()[0]["method"], "joinRoom");
    }
}

#[test]
fn leaving_ends_with_the_servers_answer_or_without() {
    for answered in [true, false] {
        let mut world = World::joined();
        world.sent();
        world.client.leave(world.now, &mut world.out);
        let sent = world.sent();
        assert_eq!(sent[0]["method"], "leaveRoom");
        if answered {
            let id = &sent[0]["id"];
            world.frame(&json!({"id":id,"result":{"sessionId":"s"},"jsonrpc":"2.0"}));
        } else {
            world.client.closed(&mut world.out);
        }
        assert_eq!(world.events(), [Event::Gone]);
        assert_eq!(world.client.next_timeout(), None);
    }
}

#[test]
fn a_server_that_never_answers_fills_nothing() {
    let mut world = World::joined();
    let (now, out) = (world.now, &mut world.out);
    for tag in 0..1000 {
        world
            .client
            .receive(now, tag, &publisher("b"), &Sdp::new("v=0"), out);
    }
    assert_eq!(world.client.pending.len(), PENDING);
    let refused = world.events();
    assert_eq!(refused.len(), 1000 - PENDING);
    let outcome = Err(Refusal::TooMany);
    assert_eq!(refused.last(), Some(&Event::Answered { tag: 999, outcome }));
}

#[test]
fn ids_stay_within_what_other_servers_read() {
    let mut world = World::joined();
    world.sent();
    world.client.next_id = i64::from(i32::MAX);
    world.client.unpublish(&mut world.out);
    world.client.unpublish(&mut world.out);
    let sent = world.sent();
    assert_eq!(
        (&sent[0]["id"], &sent[1]["id"]),
        (&json!(i32::MAX), &json!(0))
    );
}

/// Frames that are nearly right, so that deep states are reached.
fn frame() -> impl Strategy<Value = String> {
    let id = 0_i64..6;
    let value = prop_oneof![
        Just(json!([])),
        Just(json!("reconnection successful")),
        Just(json!([{"id":"b","streams":[{"id":"webcam"}]}])),
        Just(json!([{"id":1}])),
    ];
    let method = prop_oneof![
        Just("participantPublished"),
        Just("participantLeft"),
        Just("participantEvicted"),
        Just("roomClosed"),
        Just("iceCandidate"),
        Just("mediaError"),
    ];
    prop_oneof![
        ".*",
        (id.clone(), value).prop_map(|(id, value)| {
            json!({"id":id,"result":{"value":value,"sessionId":"s","sdpAnswer":"v"}}).to_string()
        }),
        id.prop_map(|id| json!({"id":id,"error":{"code":40007,"message":"m"}}).to_string()),
        (method, any::<bool>()).prop_map(|(method, good)| {
            let name = if good { json!("b") } else { json!({}) };
            json!({"method":method,"params":{"id":name,"name":name,"error":name,"streams":[{"id":"webcam"}]}})
                .to_string()
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_the_server_says_it_goes_on(steps in prop::collection::vec((0_u8..6, frame()), 0..60)) {
        let mut world = World::new();
        for (step, frame) in steps {
            let (now, out) = (world.now, &mut world.out);
            match step {
                0 => world.client.opened(now, out),
                1 => world.client.closed(out),
                2 => world.client.publish(now, 1, &Sdp::new("v"), false, out),
                3 => {
                    world.now += Duration::from_secs(4);
                    world.client.tick(world.now, &mut world.out);
                }
                4 => world.client.leave(now, out),
                _ => world.client.frame(now, &frame, out),
            }
            prop_assert!(world.client.pending.len() <= PENDING);
            for frame in world.sent() {
                let text = frame.to_string();
                prop_assert!(Request::parse(&text).is_ok(), "{}", text);
            }
            world.events();
        }
    }
}

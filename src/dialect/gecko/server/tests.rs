use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::dialect::front::FrontSession;
use crate::dialect::gstreamer::server::PeerSession;
use crate::dialect::{Dialect, Session, Unverified};
use crate::hub::{
    AccountId, Addressee, Closed, Command, ConferenceLimits, Event, Limits, Offer, PoolLimits,
    SessionError, SessionId, Step,
};

const WORKER: SessionId = SessionId(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
const ID: &str = "01234567-89ab-4def-8123-456789abcdef";
const HELLO: &str =
    r#"{"action":"client-hello","authorization":"Bearer SECRET","source":"s","webrtcOffer":"o"}"#;

fn settings(legacy_progress_errors: bool) -> Arc<Settings> {
    Arc::new(Settings {
        legacy_progress_errors,
        id_bytes: 10,
        ice_servers: None,
    })
}

fn client() -> ClientSession {
    ClientSession::new(settings(false), WORKER)
}

fn hears(session: &mut dyn Session, text: &str) -> Vec<Effect> {
    let mut out = Vec::new();
    session.text(&Payload::from(text), &mut out);
    out
}

fn told(session: &mut dyn Session, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    session.event(event, &mut out);
    out
}

fn verified(session: &mut dyn Session, outcome: Result<AccountId, Unverified>) -> Vec<Effect> {
    let mut out = Vec::new();
    session.verified(outcome, &mut out);
    out
}

/// A client whose demand the hub has.
fn demanded() -> ClientSession {
    let mut client = client();
    hears(&mut client, HELLO);
    let out = verified(&mut client, Ok(AccountId::new("anna")));
    assert!(
        matches!(out[..], [Effect::Hub(Command::Demand(_))]),
        "{out:?}"
    );
    client
}

fn registered() -> GeckoSession {
    let mut gecko = GeckoSession::new(settings(false), None);
    let out = hears(&mut gecko, r#"{"action":"worker-hello","geckoId":"g"}"#);
    assert!(
        matches!(out[..], [Effect::Hub(Command::Serve(_))]),
        "{out:?}"
    );
    gecko
}

/// The frames, as JSON, and the close code.
fn shown(out: &[Effect]) -> (Vec<Value>, Option<u16>) {
    let mut frames = Vec::new();
    let mut code = None;
    for effect in out {
        match effect {
            Effect::Send(frame) => frames.push(serde_json::from_str(frame.as_str()).unwrap()),
            Effect::Close { code: given, .. } => code = Some(*given),
            _ => {}
        }
    }
    (frames, code)
}

#[test]
fn a_client_waits_for_its_token_to_be_checked() {
    let mut client = client();
    let out = hears(&mut client, HELLO);
    let [Effect::Verify(token)] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(token.expose(), "SECRET");
    assert!(!format!("{out:?} {client:?}").contains("SECRET"));
    // Whoever carries it gives it nothing before.
    assert_eq!(hears(&mut client, "?"), []);
    let out = verified(&mut client, Ok(AccountId::new("a\"b")));
    let [Effect::Hub(Command::Demand(demand))] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(demand.session, WORKER);
    let sent: Value = serde_json::from_str(demand.payload.as_str()).unwrap();
    let expected = json!({"messageType": "new-worker", "userId": "a\"b", "workerId": ID, "source": "s", "webrtcOffer": "o"});
    assert_eq!(sent, expected);
    assert_eq!(verified(&mut client, Ok(AccountId::new("again"))), []);
}

#[test]
fn a_token_that_is_not_verified_ends_the_conversation() {
    for (outcome, errno) in [
        (Unverified::Refused("no good".to_owned()), 102),
        (Unverified::Unavailable("not now".to_owned()), 503),
    ] {
        let mut client = client();
        hears(&mut client, HELLO);
        let (frames, code) = shown(&verified(&mut client, Err(outcome)));
        assert_eq!((&frames[0]["errno"], code), (&json!(errno), Some(1000)));
        assert_eq!(hears(&mut client, HELLO), []);
    }
}

#[test]
fn every_end_of_a_session_has_its_number() {
    let time = Duration::from_secs(30);
    for (error, errno, id) in [
        (SessionError::NoEndpoint, 301, None),
        (SessionError::Unanswered(time), 302, Some(ID)),
        (SessionError::Unconnected(time), 302, Some(ID)),
        (SessionError::EndpointLeft, 303, Some(ID)),
        (SessionError::Full(3), 429, None),
        (SessionError::Congested, 429, Some(ID)),
    ] {
        let mut client = demanded();
        let (frames, code) = shown(&told(&mut client, Event::SessionEnded(error.clone())));
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["messageType"], "worker-error");
        assert_eq!(
            (&frames[0]["errno"], code),
            (&json!(errno), Some(1000)),
            "{error:?}"
        );
        assert_eq!(frames[0]["workerId"], json!(id), "{error:?}");
        assert_eq!(told(&mut client, Event::SessionEnded(error)), []);
    }
}

#[test]
fn a_client_is_closed_after_what_ends_its_session() {
    for (step, code) in [
        (Step::Answer { tags: Vec::new() }, None),
        (Step::Message, None),
        (Step::Mistake, None),
        (Step::FatalMistake, Some(1000)),
        (Step::Connected, Some(1000)),
        (Step::Failed, Some(1000)),
    ] {
        let mut client = demanded();
        let payload = Payload::from("{}");
        let event = Event::SessionSaid {
            step: step.clone(),
            payload,
        };
        let (frames, closed) = shown(&told(&mut client, event));
        assert_eq!((frames.len(), closed), (1, code), "{step:?}");
    }
}

#[test]
fn a_gecko_says_what_it_can() {
    let mut gecko = GeckoSession::new(settings(false), Some(AccountId::new("anna")));
    let hello = r#"{"action":"worker-hello","geckoId":"g","capacity":3,"capabilities":["x","worker-closed"]}"#;
    let out = hears(&mut gecko, hello);
    let [Effect::Hub(Command::Serve(offer))] = &out[..] else {
        panic!("{out:?}");
    };
    let Offer {
        id,
        owner,
        capacity,
        hears_closes,
    } = offer;
    assert_eq!(
        (id.as_str(), *capacity, *hears_closes),
        ("g", Some(3), true)
    );
    assert_eq!(owner.as_ref().map(AccountId::as_str), Some("anna"));
    for odd in ["7", "\"worker-closed\"", "[1]", "null"] {
        let mut gecko = GeckoSession::new(settings(false), None);
        let hello = format!(r#"{{"action":"worker-hello","geckoId":"g","capabilities":{odd}}}"#);
        let out = hears(&mut gecko, &hello);
        let is_plain = |effect: &Effect| matches!(effect, Effect::Hub(Command::Serve(offer)) if !offer.hears_closes);
        assert!(out.iter().any(is_plain), "{odd}: {out:?}");
    }
}

#[test]
fn a_gecko_means_a_session_by_id_by_ufrag_or_not_at_all() {
    let mut gecko = registered();
    let line = "candidate:1 1 UDP 1 192.0.2.1 9 typ host ufrag abcd";
    for (message, expected) in [
        (
            json!({"workerId": ID, "candidate": {}}),
            Addressee::Session(WORKER),
        ),
        (
            json!({"workerId": null, "candidate": {}}),
            Addressee::Latest,
        ),
        (
            json!({"candidate": {"candidate": line}}),
            Addressee::Tagged("abcd".into()),
        ),
        (
            json!({"candidate": {"candidate": line, "usernameFragment": "efgh"}}),
            Addressee::Tagged("efgh".into()),
        ),
        (
            json!({"candidate": {"candidate": "candidate:1 ufrag"}}),
            Addressee::Latest,
        ),
        (json!({"candidate": "text"}), Addressee::Latest),
        (json!({"candidate": null}), Addressee::Latest),
    ] {
        let mut message = message;
        message["messageType"] = "ice".into();
        let out = hears(&mut gecko, &message.to_string());
        let [Effect::Hub(Command::ToSession { to, step, .. })] = &out[..] else {
            panic!("{message}: {out:?}");
        };
        assert_eq!((to, step), (&expected, &Step::Message), "{message}");
    }
}

#[test]
fn the_ufrags_of_an_answer_are_its_tags_and_bounded() {
    let mut gecko = registered();
    let lines: Vec<String> = (0..9).map(|n| format!("a=ice-ufrag:u{}", n / 2)).collect();
    let long = format!("a=ice-ufrag:{}", "x".repeat(300));
    let answer = format!("v=0\r\n{long}\r\n{}\r\n", lines.join("\r\n"));
    let created = json!({"messageType": "worker-created", "workerId": ID, "webrtcAnswer": answer});
    let out = hears(&mut gecko, &created.to_string());
    let [
        Effect::Hub(Command::ToSession {
            step: Step::Answer { tags },
            payload,
            ..
        }),
    ] = &out[..]
    else {
        panic!("{out:?}");
    };
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    assert_eq!(tags, ["u0", "u1", "u2", "u3"]);
    assert_eq!(payload.as_str(), json!(answer).to_string());
}

fn limits() -> Limits {
    Limits {
        endpoints: 9,
        calls_per_endpoint: 9,
        waiting_calls: 9,
        waiting_calls_per_endpoint: 9,
        remembered_endpoints: 9,
        rooms: 9,
        members_per_room: 9,
        just_left: Duration::from_secs(1),
        probe: Duration::from_secs(1),
        pool: PoolLimits {
            sessions_per_endpoint: 9,
            queue_messages: 9,
            queue_bytes: 999,
            candidates: 40,
            accounts: 9,
            grace: Duration::from_secs(1),
            answer: Duration::from_secs(1),
            connect: Duration::from_secs(1),
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
    }
}

#[test]
fn a_gecko_takes_what_it_is_sent() {
    let mut hub = crate::hub::Hub::new(limits());
    let now = std::time::Instant::now();
    let (one, other) = (crate::hub::ConnectionId(1), crate::hub::ConnectionId(2));
    let mut gecko = GeckoSession::new(settings(false), None);
    let hello = r#"{"action":"worker-hello","geckoId":"g","capabilities":["worker-closed"]}"#;
    let mut out = Vec::new();
    for effect in hears(&mut gecko, hello) {
        if let Effect::Hub(command) = effect {
            hub.handle(now, one, command, &mut out);
        }
    }
    let mut client = client();
    hears(&mut client, HELLO);
    for effect in verified(&mut client, Ok(AccountId::new("anna"))) {
        if let Effect::Hub(command) = effect {
            hub.handle(now, other, command, &mut out);
        }
    }
    hub.handle(now, other, Command::Leave, &mut out);
    let mut sent = Vec::new();
    for output in out {
        for effect in told(&mut gecko, output.event) {
            match effect {
                Effect::Send(frame) => sent.push(frame.as_str().to_owned()),
                Effect::Hub(Command::Taken(ticket)) => {
                    hub.handle(now, one, Command::Taken(ticket), &mut Vec::new());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(
        sent[0].contains("new-worker") && sent[1].contains("worker-closed"),
        "{sent:?}"
    );
    assert_eq!(
        wire::worker_closed(WORKER, Closed::CallerLeft).as_str(),
        sent[1]
    );
    // All was taken: the next connection gets nothing.
    let mut out = Vec::new();
    let offer = Offer {
        id: crate::hub::EndpointId::new(crate::hub::Namespace::Gecko, "g").unwrap(),
        owner: None,
        capacity: None,
        hears_closes: true,
    };
    hub.handle(now, other, Command::Serve(offer), &mut out);
    assert_eq!(out.len(), 2, "{out:?}");
}

#[test]
fn of_a_field_that_comes_twice_the_last_counts() {
    let mut gecko = registered();
    let text = format!(
        r#"{{"messageType":"hello","messageType":"connected","workerId":"x","workerId":"{ID}"}}"#
    );
    let out = hears(&mut gecko, &text);
    assert!(
        matches!(
            &out[..],
            [Effect::Hub(Command::ToSession {
                step: Step::Connected,
                ..
            })]
        ),
        "{out:?}"
    );
}

#[test]
fn a_closed_session_does_nothing_more() {
    let mut gecko = registered();
    let (frames, code) = shown(&told(&mut gecko, Event::Replaced));
    assert_eq!((frames.len(), code), (0, Some(4001)));
    assert_eq!(hears(&mut gecko, "?"), []);
    assert_eq!(told(&mut gecko, Event::Replaced), []);
    let mut client = client();
    hears(&mut client, "{}");
    assert_eq!(hears(&mut client, HELLO), []);
}

#[test]
fn the_first_frame_tells_the_dialect() {
    for (first, dialect, role) in [
        ("{}", Dialect::Gecko, "client"),
        ("\r\n {", Dialect::Gecko, "client"),
        ("HELLO a", Dialect::GStreamer, "peer"),
        ("[1]", Dialect::GStreamer, "peer"),
        ("", Dialect::GStreamer, "peer"),
    ] {
        for is_binary in [false, true] {
            let mut front = FrontSession::new(PeerSession::new(10), settings(false), WORKER);
            assert_eq!(front.dialect(), Dialect::GStreamer);
            let mut out = Vec::new();
            if is_binary {
                front.binary(&Payload::binary(first.as_bytes().to_vec().into()), &mut out);
            } else {
                front.text(&Payload::from(first), &mut out);
            }
            assert_eq!((front.dialect(), front.role()), (dialect, role), "{first}");
            assert!(!out.is_empty());
        }
    }
}

#[test]
fn a_binary_frame_that_is_no_text_is_a_mistake() {
    let bytes = || Payload::binary(vec![b'{', 0xff, b'}'].into());
    let mut out = Vec::new();
    client().binary(&bytes(), &mut out);
    let (frames, code) = shown(&out);
    assert_eq!((&frames[0]["errno"], code), (&json!(400), Some(1000)));
    let mut out = Vec::new();
    registered().binary(&bytes(), &mut out);
    assert_eq!(shown(&out).0[0]["errno"], 400);
}

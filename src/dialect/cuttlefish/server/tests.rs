//! Every row of cuttlefish.md A2, A3 and A6, and the decisions about them.

mod clients;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::Cuttlefish;
use crate::dialect::Session;
use crate::hub::{
    Access, CallError, CallNumber, Command, EndpointId, Event, Namespace, RegistrationError,
    Undelivered, WhenAbsent,
};

const CONFIG: &str = r#"{"message_type":"config","ice_servers":[{"urls":["stun:s"]}]}"#;
const REGISTER: &str =
    r#"{"message_type":"register","device_id":"cvd-1","device_info":{ "a": 1 }}"#;
const CONNECT: &str = r#"{"message_type":"connect","device_id":"cvd-1"}"#;

/// What a session did, in short: `> frame`, `close code`, or a hub command as below. Reports are
/// left out, but every error has one.
fn told(out: Vec<Effect>) -> Vec<String> {
    let errors =
        |e: &&Effect| matches!(e, Effect::Send(frame) if frame.as_str().starts_with(r#"{"error""#));
    let reports = |e: &&Effect| matches!(e, Effect::Report { .. });
    assert!(
        out.iter().filter(errors).count() <= out.iter().filter(reports).count(),
        "{out:?}"
    );
    out.into_iter()
        .filter_map(|effect| match effect {
            Effect::Send(frame) => {
                serde_json::from_str::<serde_json::Value>(frame.as_str())
                    .unwrap_or_else(|e| panic!("{e}: {}", frame.as_str()));
                Some(format!("> {}", frame.as_str()))
            }
            Effect::Close { code, reason } => Some(format!("close {code}{reason}")),
            Effect::Hub(Command::Register {
                id,
                info,
                holds_viewers,
            }) => Some(format!(
                "register {id} {}{}",
                info.as_ref().map_or("-", Payload::as_str),
                if holds_viewers { " guarded" } else { "" }
            )),
            Effect::Hub(Command::Call {
                endpoint,
                when_absent,
                access: Access::Control,
            }) => Some(format!("call {endpoint} {when_absent:?}")),
            Effect::Hub(Command::ToCaller { call, payload }) => {
                Some(format!("to {call} {}", payload.as_str()))
            }
            Effect::Hub(Command::ToEndpoint { payload }) => {
                Some(format!("to device {}", payload.as_str()))
            }
            Effect::Hub(command) => Some(format!("{command:?}")),
            Effect::Report { .. } => None,
            Effect::FilesPort(port) => Some(format!("files {port}")),
            Effect::Verify(_) | Effect::Handled { .. } | Effect::Custom(_) => {
                panic!("{effect:?} of a Cuttlefish session")
            }
        })
        .collect()
}

fn settings(wait_for_device: bool) -> Arc<Settings> {
    let stun = IceServer {
        urls: vec!["stun:s".into()],
        username: None,
        credential: None,
    };
    Arc::new(Settings::new(&[stun], &chosen(wait_for_device)))
}

fn chosen(wait_for_device: bool) -> Cuttlefish {
    Cuttlefish {
        wait_for_device,
        ..Cuttlefish::default()
    }
}

fn say(session: &mut dyn Session, frame: &str) -> Vec<String> {
    let mut out = Vec::new();
    session.text(&Payload::from(frame), &mut out);
    told(out)
}

fn hear(session: &mut dyn Session, event: Event) -> Vec<String> {
    let mut out = Vec::new();
    session.event(event, &mut out);
    told(out)
}

fn error_and_close(text: &str) -> Vec<String> {
    vec![
        format!("> {}", wire::error(text).as_str()),
        "close 1000".to_owned(),
    ]
}

fn error(text: &str) -> Vec<String> {
    vec![format!("> {}", wire::error(text).as_str())]
}

fn id(text: &str) -> EndpointId {
    EndpointId::new(Namespace::Device, text).unwrap()
}

fn registered() -> DeviceSession {
    let mut device = DeviceSession::new(settings(false));
    assert_eq!(say(&mut device, REGISTER), [r#"register cvd-1 { "a": 1 }"#]);
    assert_eq!(
        hear(&mut device, Event::Registered),
        [format!("> {CONFIG}")]
    );
    device
}

fn connected() -> ClientSession {
    let mut client = ClientSession::new(settings(false));
    assert_eq!(
        say(&mut client, CONNECT),
        [format!("> {CONFIG}"), "call cvd-1 Refuse".into()]
    );
    let opened = Event::CallOpened {
        call: CallNumber(1),
        info: Some(Payload::from("{ }")),
    };
    assert_eq!(
        hear(&mut client, opened),
        [r#"> {"message_type":"device_info","device_info":{ }}"#]
    );
    client
}

#[test]
fn malformed_frames_are_answered_alike_on_both_sides_and_close() {
    let rows: &[(&str, &str)] = &[
        ("", "Received Invalid JSON"),
        ("{", "Received Invalid JSON"),
        ("nonsense", "Received Invalid JSON"),
        (r#"{"message_type":"forward"} x"#, "Received Invalid JSON"),
        ("[} ", "Received Invalid JSON"),
        ("[]", "Invalid message format: '[]'"),
        ("7", "Invalid message format: '7'"),
        (r#""te\"xt""#, r#"Invalid message format: '"te\"xt"'"#),
        ("null", "Invalid message format: 'null'"),
        ("{}", "Invalid message format: '{}'"),
        (
            r#"{"message_type":1}"#,
            r#"Invalid message format: '{"message_type":1}'"#,
        ),
        (
            r#"{"message_type":null}"#,
            r#"Invalid message format: '{"message_type":null}'"#,
        ),
    ];
    for (frame, text) in rows {
        let mut fresh: [Box<dyn Session>; 4] = [
            Box::new(DeviceSession::new(settings(false))),
            Box::new(registered()),
            Box::new(ClientSession::new(settings(false))),
            Box::new(connected()),
        ];
        for session in &mut fresh {
            assert_eq!(
                say(session.as_mut(), frame),
                error_and_close(text),
                "{frame}"
            );
        }
    }
}

#[test]
fn binary_is_refused_and_closes() {
    let mut sessions: [Box<dyn Session>; 3] = [
        Box::new(registered()),
        Box::new(connected()),
        Box::new(BareClientSession::new(id("cvd-1"))),
    ];
    for session in &mut sessions {
        let mut out = Vec::new();
        session.binary(&Payload::binary("{}".into()), &mut out);
        assert_eq!(told(out), error_and_close("Received a binary message"));
    }
}

#[test]
fn unknown_message_type_is_an_error_and_the_connection_stays() {
    let rows = [
        (r#"{"message_type":"bogus"}"#, "Unknown message type: bogus"),
        (
            r#"{"message_type":"bo\"gus"}"#,
            "Unknown message type: bo\"gus",
        ),
        (r#"{"message_type":""}"#, "Unknown message type: "),
    ];
    for (frame, text) in rows {
        let (mut device, mut client) = (
            DeviceSession::new(settings(false)),
            ClientSession::new(settings(false)),
        );
        assert_eq!(say(&mut device, frame), error(text));
        assert_eq!(say(&mut device, REGISTER).len(), 1);
        assert_eq!(say(&mut device, frame), error(text));
        assert_eq!(say(&mut client, frame), error(text));
        assert_eq!(say(&mut client, CONNECT).len(), 2);
        assert_eq!(say(&mut client, frame), error(text));
    }
}

#[test]
fn device_registers_with_whatever_info() {
    let rows = [
        (
            r#"{"message_type":"register","device_id":"d"}"#,
            "register d -",
        ),
        (
            r#"{"message_type":"register","device_id":"d","device_info":null}"#,
            "register d null",
        ),
        (
            r#"{"message_type":"register","device_id":"d","device_info": "t\u0041" }"#,
            r#"register d "t\u0041""#,
        ),
        (
            r#"{"message_type":"register","device_id":"d","device_info":false,"device_info":[1, 2]}"#,
            "register d [1, 2]",
        ),
        (
            r#"{"device_id":"\u00e4 \"x\" '","x":{},"message_type":"register","device_info":7}"#,
            "register ä \"x\" ' 7",
        ),
    ];
    for (frame, command) in rows {
        let mut device = DeviceSession::new(settings(false));
        assert_eq!(say(&mut device, frame), [command]);
    }
    let mut device = DeviceSession::new(settings(false));
    let frame = r#"{"message_type":"register","device_id":"d","device_port":1443}"#;
    assert_eq!(say(&mut device, frame), ["files 1443", "register d -"]);
    for port in ["0", "65536", "\"80\"", "null"] {
        let frame =
            format!(r#"{{"message_type":"register","device_id":"d","device_port":{port}}}"#);
        assert_eq!(
            say(&mut DeviceSession::new(settings(false)), &frame),
            ["register d -"]
        );
    }
}

#[test]
fn refused_registrations_say_why_and_close() {
    for missing in [
        r#"{"message_type":"register"}"#,
        r#"{"message_type":"register","device_id":""}"#,
        r#"{"message_type":"register","device_id":7}"#,
        r#"{"message_type":"register","device_id":null}"#,
    ] {
        let mut device = DeviceSession::new(settings(false));
        assert_eq!(
            say(&mut device, missing),
            error_and_close("Missing device id in registration request")
        );
    }
    assert_eq!(
        say(&mut registered(), REGISTER),
        error_and_close("Device already registered: cvd-1")
    );
    let rows = [
        (
            RegistrationError::Taken(id("du\"p")),
            "Device id already taken: 'du\"p'",
        ),
        (
            RegistrationError::AlreadyRegistered(id("d")),
            "Device already registered: d",
        ),
        (
            RegistrationError::Full(3),
            "Registration failed: This server takes no more than 3 devices",
        ),
    ];
    for (reason, text) in rows {
        let mut device = DeviceSession::new(settings(false));
        say(&mut device, REGISTER);
        assert_eq!(
            hear(&mut device, Event::RegistrationRefused(reason)),
            error_and_close(text)
        );
    }
}

#[test]
fn device_forwards() {
    let forward = |fields: &str| {
        say(
            &mut registered(),
            &format!(r#"{{"message_type":"forward"{fields}}}"#),
        )
    };
    assert_eq!(
        forward(r#","client_id":1,"payload":{ "x" : [] }"#),
        [r#"to 1 { "x" : [] }"#]
    );
    assert_eq!(forward(r#","client_id":1,"payload":null"#), ["to 1 null"]);
    assert_eq!(forward(r#","client_id":1.0,"payload":1"#), ["to 1 1"]);
    assert_eq!(
        forward(r#","client_id":2,"client_id":1e0,"payload":1"#),
        ["to 1 1"]
    );
    assert_eq!(forward(r#","client_id":0,"payload":1"#), ["to 0 1"]);
    for number in ["-1", "4294967296", "1e300", "99999999999999999999"] {
        assert_eq!(
            forward(&format!(r#","client_id":{number},"payload":1"#)),
            error(&format!("Forward failed: Unknown client {number}"))
        );
    }
    for invalid in [
        "",
        r#","client_id":"1""#,
        r#","client_id":1.5"#,
        r#","client_id":null"#,
        r#","client_id":1e999"#,
    ] {
        assert_eq!(
            forward(&format!(r#"{invalid},"payload":1"#)),
            error_and_close("Forward failed: Missing or invalid client id")
        );
    }
    assert_eq!(
        forward(r#","client_id":1"#),
        error_and_close("Forward failed: Missing payload")
    );
    let mut fresh = DeviceSession::new(settings(false));
    let early = say(
        &mut fresh,
        r#"{"message_type":"forward","client_id":1,"payload":1}"#,
    );
    assert_eq!(
        early,
        error_and_close("Forward failed: The device must register first")
    );
    assert!(say(&mut fresh, REGISTER).is_empty());
}

#[test]
fn device_hears_of_its_clients() {
    let mut device = registered();
    let call = CallNumber(4);
    let gone = [r#"> {"message_type":"client_disconnected","client_id":4}"#];
    assert_eq!(
        hear(
            &mut device,
            Event::FromCaller {
                call,
                access: Access::Control,
                payload: Payload::from("{ }")
            }
        ),
        [r#"> {"message_type":"client_msg","client_id":4,"payload":{ }}"#]
    );
    assert_eq!(
        hear(
            &mut device,
            Event::FromCaller {
                call,
                access: Access::View,
                payload: Payload::from("{ }")
            }
        ),
        [r#"> {"message_type":"client_msg","client_id":4,"access":"view","payload":{ }}"#]
    );
    assert_eq!(hear(&mut device, Event::CallerLeft { call }), gone);
    assert_eq!(
        hear(
            &mut device,
            Event::NotDelivered {
                call,
                why: Undelivered::CallerLeft
            }
        ),
        gone
    );
    assert_eq!(
        hear(
            &mut device,
            Event::NotDelivered {
                call,
                why: Undelivered::NoSuchCall
            }
        ),
        error("Forward failed: Unknown client 4")
    );
    assert!(hear(&mut device, Event::Probe).is_empty());
    assert_eq!(hear(&mut device, Event::Evicted), ["close 1011"]);
    assert!(hear(&mut device, Event::CallerLeft { call }).is_empty());
}

#[test]
fn relayed_text_shares_the_memory_of_its_frame() {
    let frame = Payload::from(r#"{"message_type":"forward","payload": {"sdp":"\u0000"} }"#);
    let mut out = Vec::new();
    connected().text(&frame, &mut out);
    let Some(Effect::Hub(Command::ToEndpoint { payload })) = out.pop() else {
        panic!("{out:?}")
    };
    assert!(
        frame
            .as_str()
            .as_bytes()
            .as_ptr_range()
            .contains(&payload.as_str().as_ptr())
    );
}

#[test]
fn config_has_turn_credentials_and_urls_as_arrays() {
    let turn = IceServer {
        urls: vec!["turn:t".into()],
        username: Some("u".into()),
        credential: Some("c".into()),
    };
    assert_eq!(
        Settings::new(&[turn], &chosen(false))
            .infra_config()
            .as_str(),
        r#"{"message_type":"config","ice_servers":[{"credential":"c","urls":["turn:t"],"username":"u"}]}"#
    );
    assert_eq!(
        Settings::new(&[], &chosen(false)).config.as_str(),
        r#"{"message_type":"config","ice_servers":[]}"#
    );
}

/// Pieces of frames, so that random ones come near to being messages.
fn frame() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        " ",
        "\"",
        "\\",
        "\\ud800",
        "null",
        "1",
        "-1.5e3",
        "\"message_type\":",
        "\"register\"",
        "\"connect\"",
        "\"forward\"",
        "\"device_id\":",
        "\"client_id\":",
        "\"payload\":",
        "\"x\"",
        "é",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    ]
}

proptest! {
    #[test]
    fn any_text_is_answered_with_json_or_not_at_all(frames in prop::collection::vec(frame(), 1..6)) {
        let mut sessions: [Box<dyn Session>; 3] =
            [Box::new(registered()), Box::new(connected()), Box::new(BareClientSession::new(id("cvd-1")))];
        for session in &mut sessions {
            let mut closed = false;
            for frame in &frames {
                let told = say(session.as_mut(), frame);
                prop_assert!(!closed || told.is_empty(), "{told:?} after the close");
                closed |= told.iter().any(|what| what.starts_with("close"));
            }
        }
    }
}

#[test]
fn a_device_says_that_it_holds_viewers_or_its_operator_takes_the_risk() {
    let register = |more: &str| {
        format!(r#"{{"message_type":"register","device_id":"d","device_info":1{more}}}"#)
    };
    let guarded = register(r#","capabilities":["x","view-only"]"#);
    let strange = register(r#","capabilities":"view-only""#);
    for (frame, expected) in [
        (&register(""), "register d 1"),
        (&guarded, "register d 1 guarded"),
        (&strange, "register d 1"),
    ] {
        assert_eq!(
            say(&mut DeviceSession::new(settings(false)), frame),
            [expected]
        );
    }
    let risky = Cuttlefish {
        unguarded_devices: true,
        ..Cuttlefish::default()
    };
    let mut device = DeviceSession::new(Arc::new(Settings::new(&[], &risky)));
    assert_eq!(say(&mut device, &register("")), ["register d 1 guarded"]);
}

//! Clients, of both kinds (cuttlefish.md A3, A6).

use super::*;

#[test]
fn client_connects_forwards_and_hears() {
    let mut client = connected();
    let forward = r#"{"message_type":"forward","payload":{"type": "x"}}"#;
    assert_eq!(say(&mut client, forward), [r#"to device {"type": "x"}"#]);
    assert_eq!(
        say(&mut client, r#"{"message_type":"forward","payload":null}"#),
        ["to device null"]
    );
    assert_eq!(
        hear(
            &mut client,
            Event::FromEndpoint {
                payload: Payload::from("[ ]")
            }
        ),
        [r#"> {"message_type":"device_msg","payload":[ ]}"#]
    );
    assert_eq!(
        hear(&mut client, Event::EndpointLeft),
        error_and_close("Device disconnected")
    );
    assert!(say(&mut client, forward).is_empty());
}

#[test]
fn client_mistakes_are_answered_and_close() {
    let forward = r#"{"message_type":"forward","payload":1}"#;
    let fresh = || ClientSession::new(settings(false));
    assert_eq!(
        say(&mut fresh(), forward),
        error_and_close("Forward failed: No device associated to client")
    );
    for missing in [
        r#"{"message_type":"connect"}"#,
        r#"{"message_type":"connect","device_id":1}"#,
    ] {
        assert_eq!(
            say(&mut fresh(), missing),
            error_and_close("Invalid connection request: Missing device id")
        );
    }
    assert_eq!(
        say(&mut connected(), r#"{"message_type":"forward"}"#),
        error_and_close("Forward failed: No payload present in message")
    );
    assert_eq!(
        say(&mut connected(), CONNECT),
        error_and_close("Attempt to connect to multiple devices over same websocket")
    );
}

#[test]
fn client_of_an_absent_device_gets_config_and_then_an_error() {
    let rows = [
        (
            CallError::Absent(id("no'\"pe")),
            "Connection failed: Device not found: 'no'\"pe'",
        ),
        (
            CallError::Full(5),
            "Connection failed: No more than 5 clients are taken",
        ),
    ];
    for (reason, text) in rows {
        let mut client = ClientSession::new(settings(false));
        assert_eq!(say(&mut client, CONNECT)[0], format!("> {CONFIG}"));
        assert_eq!(
            hear(&mut client, Event::CallRefused(reason)),
            error_and_close(text)
        );
    }
}

#[test]
fn held_client_gets_config_now_and_device_info_when_the_device_registers() {
    let mut client = ClientSession::new(settings(true));
    assert_eq!(
        say(&mut client, CONNECT),
        [
            format!("> {CONFIG}"),
            format!("call cvd-1 {:?}", WhenAbsent::Wait)
        ]
    );
    assert!(hear(&mut client, Event::CallWaiting).is_empty());
    assert_eq!(
        hear(
            &mut client,
            Event::CallOpened {
                call: CallNumber(1),
                info: None
            }
        ),
        [r#"> {"message_type":"device_info","device_info":null}"#]
    );
    let mut early = ClientSession::new(settings(true));
    say(&mut early, CONNECT);
    hear(&mut early, Event::CallWaiting);
    assert_eq!(
        say(&mut early, r#"{"message_type":"forward","payload":1}"#),
        error_and_close("Forward failed: No device associated to client")
    );
}

#[test]
fn bare_client_speaks_payloads_without_an_envelope() {
    let mut client = BareClientSession::new(id("cvd-1"));
    let mut out = Vec::new();
    client.opened(&mut out);
    assert_eq!(told(out), ["call cvd-1 Refuse"]);
    let opened = Event::CallOpened {
        call: CallNumber(1),
        info: Some(Payload::from("{ }")),
    };
    assert_eq!(hear(&mut client, opened), [r#"> {"device_info":{ }}"#]);
    assert_eq!(
        say(&mut client, " {\"type\": \"x\"}\n"),
        [r#"to device {"type": "x"}"#]
    );
    assert_eq!(
        hear(
            &mut client,
            Event::FromEndpoint {
                payload: Payload::from("{}")
            }
        ),
        [r#"> {"message_type":"device_msg","payload":{}}"#]
    );
    assert_eq!(
        say(&mut client, "[1]"),
        error_and_close("Invalid message format: '[1]'")
    );

    let fresh = || BareClientSession::new(id("cvd-1"));
    assert_eq!(
        say(&mut fresh(), "{"),
        error_and_close("Received Invalid JSON")
    );
    let absent = Event::CallRefused(CallError::Absent(id("cvd-1")));
    assert_eq!(
        hear(&mut fresh(), absent),
        error_and_close("Connection failed: Device not found: 'cvd-1'")
    );
    assert_eq!(
        hear(&mut fresh(), Event::EndpointLeft),
        error_and_close("Device disconnected")
    );
}

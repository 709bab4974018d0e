use serde_json::{Map, json};

use super::*;

fn read(text: &str) -> Request {
    Request::parse(text).unwrap()
}

#[test]
fn ids_are_read_as_whole_numbers() {
    for (id, read) in [
        ("0", RequestId::Number(0)),
        ("\"7\"", RequestId::Number(7)),
        ("1.5", RequestId::Number(1)),
        ("-3", RequestId::Number(-3)),
    ] {
        let text = format!(r#"{{"id":{id},"method":"unpublishVideo"}}"#);
        assert_eq!(self::read(&text).id, read, "{id}");
    }
    assert_eq!(read(r#"{"method":"leaveRoom"}"#).id, RequestId::Absent);
    for id in ["null", "\"x\"", "{}", "1e300"] {
        let text = format!(r#"{{"id":{id},"method":"unpublishVideo"}}"#);
        let refused = Unreadable::NotARequest(RequestId::Unusable);
        assert_eq!(Request::parse(&text), Err(refused), "{id}");
    }
}

#[test]
fn what_is_no_request_says_why() {
    assert_eq!(Request::parse("{"), Err(Unreadable::NotJson));
    for text in ["[]", "7", r#"["a"]"#, r#"[0,"ping"]"#] {
        let refused = Unreadable::NotARequest(RequestId::Unusable);
        assert_eq!(Request::parse(text), Err(refused), "{text}");
    }
    assert_eq!(
        Request::parse(r#"{"id":1,"method":"poll"}"#),
        Err(Unreadable::UnknownMethod {
            id: RequestId::Number(1),
            name: "poll".to_owned()
        })
    );
    let missing = Request::parse(r#"{"id":1,"method":"joinRoom","params":{"room":"r"}}"#);
    assert_eq!(
        missing,
        Err(Unreadable::BadParam {
            id: RequestId::Number(1),
            session: None,
            method: "joinRoom",
            what: BadParam::Missing("user"),
        })
    );
}

#[test]
fn loopback_stands_in_the_parameters_or_beside_them() {
    for (text, expected) in [
        (
            r#"{"id":1,"method":"publishVideo","params":{"sdpOffer":"v"},"doLoopback":true}"#,
            true,
        ),
        (
            r#"{"id":1,"method":"publishVideo","params":{"sdpOffer":"v","doLoopback":true}}"#,
            true,
        ),
        (
            r#"{"id":1,"method":"publishVideo","params":{"sdpOffer":"v"}}"#,
            false,
        ),
    ] {
        let expected = Method::PublishVideo {
            sdp_offer: "v".to_owned(),
            do_loopback: expected,
        };
        assert_eq!(read(text).method, expected, "{text}");
    }
}

#[test]
fn an_index_may_be_a_text() {
    for index in ["1", "\"1\""] {
        let text = format!(
            r#"{{"id":1,"method":"onIceCandidate","params":{{"endpointName":"b","candidate":"c","sdpMid":"1","sdpMLineIndex":{index}}}}}"#
        );
        let Method::OnIceCandidate(candidate) = read(&text).method else {
            panic!("{text}");
        };
        assert_eq!(candidate.sdp_m_line_index, 1);
    }
}

#[test]
fn every_request_survives_the_wire() {
    let candidate = IceCandidate {
        endpoint_name: "bob".to_owned(),
        sdp_m_line_index: 1,
        sdp_mid: "1".to_owned(),
        candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(),
    };
    let (user, room) = ("a_b".to_owned(), "r\"".to_owned());
    let methods = [
        Method::JoinRoom {
            user: user.clone(),
            room: room.clone(),
            data_channels: true,
        },
        Method::PublishVideo {
            sdp_offer: "v=0\r\n".to_owned(),
            do_loopback: true,
        },
        Method::UnpublishVideo,
        Method::ReceiveVideoFrom {
            sender: sender_of("bob"),
            sdp_offer: "v=0\r\n".to_owned(),
        },
        Method::UnsubscribeFromVideo {
            sender: sender_of("bob"),
        },
        Method::OnIceCandidate(candidate),
        Method::LeaveRoom,
        Method::SendMessage {
            message: "hi".to_owned(),
            user,
            room,
        },
        Method::CustomRequest(Map::from_iter([("hat".to_owned(), json!(true))])),
        Method::Connect,
        Method::Ping {
            interval: Some(3000),
        },
        Method::CloseSession,
    ];
    let names: Vec<_> = methods.iter().map(Method::name).collect();
    assert_eq!(names, Method::NAMES);
    for method in methods {
        for session in [None, Some("s".to_owned())] {
            let request = Request {
                id: RequestId::Number(5),
                session,
                method: method.clone(),
            };
            assert_eq!(read(&request.print()), request);
        }
    }
}

#[test]
fn replies_are_as_the_reference_servers() {
    let reply = |outcome, session: Option<&str>| Reply {
        id: RequestId::Number(1),
        session: session.map(str::to_owned),
        outcome,
    };
    let peers = [
        Participant {
            id: "u0".to_owned(),
            streams: vec![Stream::webcam()],
        },
        Participant {
            id: "u1".to_owned(),
            streams: Vec::new(),
        },
    ];
    let error = RpcError {
        code: 104,
        message: "User 'x' already exists in room 'r'".to_owned(),
    };
    for (reply, text) in [
        (
            reply(Ok(Success::joined(&peers)), Some("s")),
            r#"{"id":1,"result":{"sessionId":"s","value":[{"id":"u0","streams":[{"id":"webcam"}]},{"id":"u1"}]},"jsonrpc":"2.0"}"#,
        ),
        (
            reply(Ok(Success::text("pong")), None),
            r#"{"id":1,"result":{"value":"pong"},"jsonrpc":"2.0"}"#,
        ),
        (
            reply(Ok(Success::Bye), None),
            r#"{"id":1,"result":"bye","jsonrpc":"2.0"}"#,
        ),
        (
            reply(Err(error), Some("s")),
            r#"{"id":1,"error":{"code":104,"message":"User 'x' already exists in room 'r'","sessionId":"s"},"jsonrpc":"2.0"}"#,
        ),
    ] {
        assert_eq!(reply.clone().print(), text);
        assert_eq!(
            ServerMessage::parse(text),
            Some(ServerMessage::Reply(reply))
        );
    }
    let peers = peers.to_vec();
    assert_eq!(Success::joined(&peers).participants(), Some(peers));
}

#[test]
fn events_are_as_the_reference_servers() {
    for (event, text) in [
        (
            Event::ParticipantJoined { id: "u".to_owned() },
            r#"{"method":"participantJoined","params":{"id":"u"},"jsonrpc":"2.0"}"#,
        ),
        (
            Event::ParticipantEvicted {},
            r#"{"method":"participantEvicted","params":{},"jsonrpc":"2.0"}"#,
        ),
        (
            Event::Message {
                room: "r".to_owned(),
                user: "u".to_owned(),
                name: "u".to_owned(),
                message: "m".to_owned(),
            },
            r#"{"method":"sendMessage","params":{"room":"r","user":"u","name":"u","message":"m"},"jsonrpc":"2.0"}"#,
        ),
    ] {
        assert_eq!(event.print(), text);
        assert_eq!(
            ServerMessage::parse(text),
            Some(ServerMessage::Event(event))
        );
    }
}

#[test]
fn a_sender_is_cut_at_its_last_underscore() {
    assert_eq!(user_of("a_b_webcam"), Some("a_b"));
    assert_eq!(user_of("_webcam"), Some(""));
    assert_eq!(user_of("alice"), None);
}

//! Every row of gst.md A.3 to A.7, and the decisions about them, as far as one session sees them.

use super::*;
use crate::dialect::cause::Cause;
use crate::hub::{EndpointId, JoinError, Namespace, PairError, RegistrationError, Request, RoomId};

const ID_BYTES: usize = 20_000;

/// What a session did, in short.
fn told(out: Vec<Effect>) -> Vec<String> {
    let request = |request: Option<Request>| match request {
        None => "nothing".to_owned(),
        Some(Request::Pair(with)) => format!("pair with [{with}]"),
        Some(Request::Join(room)) => format!("join [{room}]"),
        Some(Request::ToMember { to, payload }) => format!("to [{to}]: [{}]", payload.as_str()),
        Some(Request::Members) => "members".to_owned(),
        Some(Request::NotGranted(what)) => format!("{what:?}"),
    };
    out.into_iter()
        .filter_map(|effect| match effect {
            Effect::Send(frame) => Some(format!("> {}", frame.as_str())),
            Effect::Close { code, reason } => Some(format!("close {code} {reason}")),
            Effect::Hub(Command::Register { id, info: None, .. }) => {
                Some(format!("register [{id}]"))
            }
            Effect::Hub(Command::ToPartner { otherwise, .. }) => Some(request(otherwise)),
            Effect::Report { .. } => None,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn say(session: &mut PeerSession, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    session.text(&Payload::from(text), &mut out);
    told(out)
}

fn hear(session: &mut PeerSession, event: Event) -> Vec<String> {
    let mut out = Vec::new();
    session.event(event, &mut out);
    told(out)
}

fn peer(id: &str) -> EndpointId {
    EndpointId::new(Namespace::Peer, id).unwrap()
}

fn registered() -> PeerSession {
    let mut session = PeerSession::new(ID_BYTES);
    assert_eq!(say(&mut session, "HELLO me"), ["register [me]"]);
    assert_eq!(hear(&mut session, Event::Registered), ["> HELLO"]);
    session
}

/// What a frame gets for an answer when the hub has no use for it.
fn mistaken(frame: &Payload, place: Place) -> Vec<String> {
    let frame = frame.clone();
    hear(&mut registered(), Event::NoPartner { frame, place })
}

#[test]
fn a_peer_registers_with_any_one_word() {
    for (frame, id) in [
        ("HELLO bob", "bob"),
        ("  HELLO \t bob", "bob"),
        ("\u{a0}HELLO\x1cbob", "bob"),
        ("HELLO session", "session"),
        ("HELLO ERROR", "ERROR"),
        ("HELLO ünï→😀", "ünï→😀"),
        ("HELLO HELLO", "HELLO"),
    ] {
        let mut session = PeerSession::new(ID_BYTES);
        assert_eq!(say(&mut session, frame), [format!("register [{id}]")]);
    }
    let long = "é".repeat(5_000);
    let mut session = PeerSession::new(ID_BYTES);
    assert_eq!(
        say(&mut session, &format!("HELLO {long}")),
        [format!("register [{long}]")]
    );
}

#[test]
fn a_wrong_first_frame_closes_with_1002() {
    for (frame, reason) in [
        ("HELLO", "invalid peer uid"),
        ("HELLO ", "invalid peer uid"),
        ("HELLO a b", "invalid peer uid"),
        ("HELLO a ", "invalid peer uid"),
        ("HELLO a\n", "invalid peer uid"),
        ("HELLO a\u{a0}b", "invalid peer uid"),
        ("hello a", "invalid protocol"),
        ("HELLOa b", "invalid protocol"),
        ("SESSION a", "invalid protocol"),
        ("a", "invalid protocol"),
        ("", "invalid protocol"),
        ("{\"a\": 1}", "invalid protocol"),
    ] {
        let mut session = PeerSession::new(ID_BYTES);
        assert_eq!(
            say(&mut session, frame),
            [format!("close 1002 {reason}")],
            "{frame:?}"
        );
        assert!(say(&mut session, "HELLO a").is_empty());
    }
    let mut out = Vec::new();
    let binary = Payload::binary("HELLO a".into());
    PeerSession::new(ID_BYTES).binary(&binary, &mut out);
    assert_eq!(told(out), ["close 1002 invalid protocol"]);
    let long = format!("HELLO {}", "x".repeat(11));
    assert_eq!(
        say(&mut PeerSession::new(10), &long),
        ["close 1002 invalid peer uid"]
    );
}

#[test]
fn a_refused_registration_closes_without_a_word() {
    for (error, close) in [
        (
            RegistrationError::Taken(peer("me")),
            "close 1002 invalid peer uid",
        ),
        (RegistrationError::Full(7), "close 1013 too many peers"),
    ] {
        let mut session = PeerSession::new(ID_BYTES);
        say(&mut session, "HELLO me");
        assert_eq!(
            hear(&mut session, Event::RegistrationRefused(error)),
            [close]
        );
    }
}

#[test]
fn commands_are_read_as_the_reference_server_reads_them() {
    for (frame, request) in [
        ("SESSION bob", "pair with [bob]"),
        ("SESSION \t bob", "pair with [bob]"),
        ("SESSION a b", "pair with [a b]"),
        ("SESSION a ", "pair with [a ]"),
        ("ROOM r", "join [r]"),
        ("ROOM   r", "join [r]"),
        ("ROOM SESSION", "join [SESSION]"),
        ("ROOM_PEER_LIST", "members"),
        ("ROOM_PEER_MSG bob hi", "to [bob]: [hi]"),
        ("ROOM_PEER_MSG  bob \t a  b ", "to [bob]: [a  b ]"),
    ] {
        assert_eq!(say(&mut registered(), frame), [request], "{frame:?}");
    }
    for frame in [
        "SESSION",
        "SESSION ",
        " SESSION bob",
        "session bob",
        "SESSIONX bob",
        "ROOM",
        "ROOM  ",
        "ROOM session",
        "ROOM a b",
        "ROOM a ",
        "ROOM_FOO r",
        "ROOM_PEER_LIST ",
        "ROOM_PEER_MSG",
        "ROOM_PEER_MSG bob",
        "ROOM_PEER_MSG bob ",
        "HELLO again",
        "OFFER_REQUEST",
        "",
    ] {
        assert_eq!(say(&mut registered(), frame), ["nothing"], "{frame:?}");
    }
}

#[test]
fn an_idle_peer_hears_of_mistakes_but_not_of_noise() {
    for (frame, answer) in [
        (
            "SESSION",
            Some("ERROR invalid msg, SESSION needs the id of a peer"),
        ),
        (
            "SESSION  ",
            Some("ERROR invalid msg, SESSION needs the id of a peer"),
        ),
        (
            "SESSIONX bob",
            Some("ERROR invalid msg, unknown command 'SESSIONX'"),
        ),
        ("ROOM", Some("ERROR invalid room id ''")),
        ("ROOM  ", Some("ERROR invalid room id ''")),
        ("ROOM session", Some("ERROR invalid room id 'session'")),
        ("ROOM a b", Some("ERROR invalid room id 'a b'")),
        ("ROOM it's ", Some("ERROR invalid room id \"it's \"")),
        (
            "ROOM_FOO r",
            Some("ERROR invalid msg, unknown command 'ROOM_FOO'"),
        ),
        ("ROOM_PEER_LIST", Some("ERROR invalid msg, not in a room")),
        ("ROOM_PEER_MSG r", Some("ERROR invalid msg, not in a room")),
        ("ROOM_PEER_MSG x y", Some("ERROR invalid room id 'x y'")),
        ("HELLO again", None),
        ("session x", None),
        (" SESSION x", None),
        ("OFFER_REQUEST", None),
        ("{}", None),
        ("", None),
    ] {
        let expected: Vec<_> = answer.iter().map(|line| format!("> {line}")).collect();
        let frame = Payload::from(frame);
        assert_eq!(mistaken(&frame, Place::Idle), expected, "{frame:?}");
    }
    let binary = Payload::binary("SESSION a".into());
    for place in [Place::Idle, Place::Room] {
        assert_eq!(
            mistaken(&binary, place),
            ["> ERROR invalid msg, commands are text"]
        );
    }
}

#[test]
fn a_member_hears_of_every_mistake() {
    for frame in ["ROOM r", "SESSION", "ROOM_PEER_LIST ", "junk", ""] {
        let frame = Payload::from(frame);
        assert_eq!(
            mistaken(&frame, Place::Room),
            ["> ERROR invalid msg, already in room"]
        );
    }
    assert_eq!(
        mistaken(&Payload::from("ROOM_PEER_MSG bob"), Place::Room),
        ["> ERROR invalid msg, ROOM_PEER_MSG needs the id of a peer and a message"]
    );
}

#[test]
fn refusals_are_worded_as_the_reference_server_words_them() {
    let session = &mut registered();
    for (event, line) in [
        (
            Event::PairRefused(PairError::Absent(peer("a b"))),
            "ERROR peer 'a b' not found",
        ),
        (
            Event::PairRefused(PairError::Busy(peer("bob"))),
            "ERROR peer 'bob' busy",
        ),
        (
            Event::PairRefused(PairError::Engaged),
            "ERROR invalid msg, already in room",
        ),
        (
            Event::JoinRefused(JoinError::Engaged),
            "ERROR invalid msg, already in room",
        ),
        (
            Event::JoinRefused(JoinError::Full(7)),
            "ERROR room full, no more than 7 peers are taken",
        ),
        (
            Event::JoinRefused(JoinError::TooManyRooms(8)),
            "ERROR too many rooms, no more than 8 are taken",
        ),
        (
            Event::NotReached {
                to: peer("bob"),
                why: Unreached::Absent,
            },
            "ERROR peer 'bob' not found",
        ),
        (
            Event::NotReached {
                to: peer("bob"),
                why: Unreached::NotInRoom,
            },
            "ERROR peer 'bob' is not in the room",
        ),
    ] {
        assert_eq!(hear(session, event), [format!("> {line}")]);
    }
}

#[test]
fn everything_goes_to_a_partner_unread() {
    for event in [Event::Paired, Event::PairedBy] {
        let mut session = registered();
        let expected: &[&str] = if event == Event::Paired {
            &["> SESSION_OK"]
        } else {
            &[]
        };
        assert_eq!(hear(&mut session, event), expected);
        for text in ["SESSION a", "ROOM a", "HELLO", "ERROR", "", "{ }"] {
            let frame = Payload::from(text);
            let mut out = Vec::new();
            session.text(&frame, &mut out);
            let relayed = Command::ToPartner {
                frame,
                otherwise: None,
            };
            assert_eq!(out, [Effect::Hub(relayed)]);
        }
        let binary = Payload::binary(vec![0, 255].into());
        let payload = binary.clone();
        let mut out = Vec::new();
        session.event(Event::FromPartner { payload }, &mut out);
        assert_eq!(out, [Effect::Send(binary)]);
        assert_eq!(hear(&mut session, Event::PartnerLeft), ["close 1000 "]);
        assert!(say(&mut session, "late").is_empty());
    }
}

#[test]
fn a_member_is_told_of_the_others() {
    let session = &mut registered();
    let members = |ids: &[&str]| ids.iter().map(|id| peer(id)).collect::<Vec<_>>();
    for (event, line) in [
        (
            Event::Joined {
                members: Vec::new(),
            },
            "ROOM_OK ",
        ),
        (
            Event::Joined {
                members: members(&["a"]),
            },
            "ROOM_OK a",
        ),
        (
            Event::Joined {
                members: members(&["a", "b"]),
            },
            "ROOM_OK a b",
        ),
        (Event::MemberJoined(peer("c")), "ROOM_PEER_JOINED c"),
        (
            Event::FromMember {
                from: peer("c"),
                payload: Payload::from(" a  b "),
            },
            "ROOM_PEER_MSG c  a  b ",
        ),
        (Event::MemberLeft(peer("c")), "ROOM_PEER_LEFT c"),
        (Event::Members(Vec::new()), "ROOM_PEER_LIST "),
        (Event::Members(members(&["a", "b"])), "ROOM_PEER_LIST a b"),
    ] {
        assert_eq!(hear(session, event), [format!("> {line}")]);
    }
}

#[test]
fn an_evicted_peer_is_closed() {
    assert_eq!(
        hear(&mut registered(), Event::Evicted),
        ["close 1011 no answer to a ping"]
    );
}

#[test]
fn a_long_id_is_quoted_whole_as_long_as_it_could_be_one() {
    let id = "x".repeat(ID_BYTES);
    let row = Cause::Absent { id: &id }.row();
    assert_eq!(row.gstreamer.text, Some(format!("peer '{id}' not found")));
    let longer = "x".repeat(1 << 20);
    let row = Cause::Absent { id: &longer }.row();
    assert!(row.gstreamer.text.unwrap().len() < ID_BYTES + 40);
}

#[test]
fn rooms_and_peers_are_in_the_same_namespace_as_their_sessions() {
    let id = RoomId::new(Namespace::Peer, "r").unwrap();
    let request = wire::request(&Payload::from("ROOM r"), ID_BYTES);
    assert_eq!(request, Some(Request::Join(id)));
}

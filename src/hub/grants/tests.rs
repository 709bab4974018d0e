use super::super::{AccountId, Demand, Payload, SessionId, WhenAbsent};
use super::*;

fn grants(json: serde_json::Value) -> Grants {
    Grants::new(serde_json::from_value(json).unwrap())
}

/// Where visitors are who are in no room.
fn nowhere(_: Visitor) -> Option<(Arc<str>, Arc<str>)> {
    None
}

fn register(space: Namespace, id: &str) -> Command {
    let id = EndpointId::new(space, id).unwrap();
    Command::Register {
        id,
        info: None,
        holds_viewers: false,
    }
}

#[test]
fn names_are_whole_or_begin_so() {
    let names = Names::new(vec!["cam-*".to_owned(), "x".to_owned()]);
    assert!(names.has("cam-1") && names.has("cam-") && names.has("x"));
    assert!(!names.has("cam") && !names.has("xx") && !names.has("CAM-1"));
    assert!(Names::default().has("") && !Names::new(Vec::new()).has("x"));
}

#[test]
fn without_tokens_everything_is_allowed_and_with_none_nothing() {
    let all = Grants::default();
    let command = register(Namespace::Device, "d");
    assert_eq!(all.check(command.clone(), nowhere), Ok(command.clone()));
    assert!(all.has_any(&[Role::Admin]));
    let none = grants(serde_json::json!([]));
    assert!(none.check(command, nowhere).is_err());
    assert!(!none.has_any(&[Role::Admin, Role::Client]));
    for kept in [Command::Leave, Command::Alive] {
        assert_eq!(none.check(kept.clone(), nowhere), Ok(kept));
    }
}

#[test]
fn a_role_is_for_its_own_namespace() {
    let device = grants(serde_json::json!([{"role": "device", "ids": ["a*"]}]));
    assert!(
        device
            .check(register(Namespace::Device, "ab"), nowhere)
            .is_ok()
    );
    assert!(
        device
            .check(register(Namespace::Device, "b"), nowhere)
            .is_err()
    );
    assert!(
        device
            .check(register(Namespace::Peer, "ab"), nowhere)
            .is_err()
    );
    let call = Command::Call {
        endpoint: EndpointId::new(Namespace::Device, "ab").unwrap(),
        when_absent: WhenAbsent::Wait,
        access: Access::Control,
    };
    assert!(device.check(call.clone(), nowhere).is_err());
    assert!(
        grants(serde_json::json!([{"role": "client"}]))
            .check(call, nowhere)
            .is_ok()
    );
}

fn call(id: &str, access: Access) -> Command {
    Command::Call {
        endpoint: EndpointId::new(Namespace::Device, id).unwrap(),
        when_absent: WhenAbsent::Wait,
        access,
    }
}

#[test]
fn a_call_is_for_what_the_best_grant_for_that_device_allows() {
    let client = grants(serde_json::json!([
        {"role": "client", "ids": ["cam-*"], "control": false},
        {"role": "client", "ids": ["cam-1"]},
    ]));
    for (id, access) in [("cam-1", Access::Control), ("cam-2", Access::View)] {
        let checked = client.check(call(id, Access::Control), nowhere);
        assert_eq!(checked, Ok(call(id, access)), "{id}");
    }
    assert!(client.check(call("x", Access::Control), nowhere).is_err());
    assert_eq!(
        Grants::default().check(call("x", Access::Control), nowhere),
        Ok(call("x", Access::Control))
    );
}

#[test]
fn who_only_views_may_see_what_a_gecko_shows_and_run_nothing() {
    let demand = |access| {
        Command::Demand(Demand {
            session: SessionId(1),
            access,
            account: AccountId::new("anna"),
            payload: Payload::from(""),
        })
    };
    let viewer = grants(serde_json::json!([{"role": "client", "control": false}]));
    assert!(viewer.check(demand(Access::View), nowhere).is_ok());
    assert_eq!(
        viewer.check(demand(Access::Control), nowhere),
        Err(Event::SessionEnded(SessionError::ViewOnly))
    );
    let device = grants(serde_json::json!([{"role": "device"}]));
    assert_eq!(
        device.check(demand(Access::View), nowhere),
        Err(Event::SessionEnded(SessionError::Forbidden))
    );
}

#[test]
fn a_members_rights_are_those_of_its_own_room() {
    let guest = grants(serde_json::json!([
        {"role": "participant", "rooms": ["lab"], "publish": false, "message": false},
        {"role": "participant", "rooms": ["hall"], "subscribe": false},
    ]));
    let enter = |room: &str, rights| {
        Command::Conference(Asked {
            named: None,
            own: Visitor(1),
            rights: Rights::ALL,
            ask: Ask::Enter {
                room: room.into(),
                user: "anna".into(),
                rights,
            },
        })
    };
    let rights = |publish, subscribe, message| Rights {
        publish,
        subscribe,
        message,
    };
    for (room, given) in [
        ("lab", rights(false, true, false)),
        ("hall", rights(true, false, true)),
    ] {
        let checked = guest.check(enter(room, Rights::ALL), nowhere);
        assert_eq!(checked, Ok(enter(room, given)), "{room}");
    }
    assert!(guest.check(enter("attic", Rights::ALL), nowhere).is_err());
}

#[test]
fn who_speaks_for_a_member_needs_grants_for_its_place() {
    let guest = grants(serde_json::json!([
        {"role": "participant", "rooms": ["lab"], "ids": ["anna"], "publish": false},
    ]));
    let go_on = |rights| Asked {
        named: Some(Visitor(2)),
        own: Visitor(1),
        rights,
        ask: Ask::Resume,
    };
    let at = |room: &'static str, user: &'static str| {
        guest.check(Command::Conference(go_on(Rights::ALL)), |visitor| {
            assert_eq!(visitor, Visitor(2));
            Some((room.into(), user.into()))
        })
    };
    let given = Rights {
        publish: false,
        ..Rights::ALL
    };
    assert_eq!(at("lab", "anna"), Ok(Command::Conference(go_on(given))));
    for (room, user) in [("lab", "bert"), ("hall", "anna")] {
        assert!(matches!(
            at(room, user),
            Err(Event::Conference(Told::Answer {
                visitor: Visitor(2),
                outcome: Err(Denied::Forbidden(_))
            }))
        ));
    }
    // Who is in no room has nothing that could be taken.
    let command = Command::Conference(go_on(Rights::ALL));
    assert_eq!(guest.check(command.clone(), nowhere), Ok(command));
}

#[test]
fn a_device_and_a_room_are_known_to_those_that_may_be_there() {
    let id = |id| EndpointId::new(Namespace::Device, id).unwrap();
    let some = grants(serde_json::json!([
        {"role": "client", "ids": ["cam-1"], "control": false},
        {"role": "device", "ids": ["mine"]},
        {"role": "participant", "rooms": ["lab"]},
    ]));
    assert!(some.knows_device(&id("cam-1")) && some.knows_device(&id("mine")));
    assert!(!some.knows_device(&id("cam-2")));
    assert!(some.knows_room("lab") && !some.knows_room("hall"));
    for all in [
        grants(serde_json::json!([{"role": "admin"}])),
        Grants::default(),
    ] {
        assert!(all.knows_device(&id("x")) && all.knows_room("x"));
    }
    let other = grants(serde_json::json!([{"role": "peer"}, {"role": "gecko"}]));
    assert!(!other.knows_device(&id("x")) && !other.knows_room("x"));
}

#[test]
fn a_peers_frame_reaches_its_partner_whatever_it_would_ask_for() {
    let peer = grants(serde_json::json!([{"role": "peer", "calls": [], "rooms": []}]));
    let with = EndpointId::new(Namespace::Peer, "p").unwrap();
    let frame = Payload::from("SESSION p");
    let command = Command::ToPartner {
        frame: frame.clone(),
        otherwise: Some(Request::Pair(with.clone())),
    };
    let refused = NotGranted::Pair(PairError::Forbidden(with));
    let expected = Command::ToPartner {
        frame,
        otherwise: Some(Request::NotGranted(refused)),
    };
    assert_eq!(peer.check(command, nowhere), Ok(expected));
}

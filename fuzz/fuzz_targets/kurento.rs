//! Kurento's clients at one hub, each sending whatever it likes, and a media plane that answers,
//! refuses and fails as it likes: nothing panics, every frame that is sent is one that clients can
//! read, and when all have left and some time has passed nothing is left, at the plane neither.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::kurento::server::{ClientSession, Settings, session_id};
use switchboard::dialect::kurento::wire::ServerMessage;
use switchboard::hub::{Payload, Visitor};
use switchboard_fuzz::{Media, World, grants};

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed messages, so that deep states are reached.
    Join {
        who: u8,
        user: u8,
        room: u8,
    },
    Publish {
        who: u8,
        loopback: bool,
    },
    Receive {
        who: u8,
        from: u8,
    },
    Plain {
        who: u8,
        method: u8,
    },
    Connect {
        who: u8,
        session: u8,
    },
    Say {
        who: u8,
        user: u8,
        room: u8,
    },
    Ping {
        who: u8,
        interval: u32,
    },
    Custom {
        who: u8,
    },
    /// Anything.
    Text {
        who: u8,
        text: String,
    },
    Binary {
        who: u8,
        bytes: Vec<u8>,
    },
    Media(Media),
    Close {
        room: u8,
    },
    Evict {
        room: u8,
        user: u8,
    },
    Grant {
        who: u8,
        token: u8,
    },
    Sleep {
        who: u8,
        sleeps: bool,
    },
    Leave {
        who: u8,
    },
    Wait {
        milliseconds: u16,
    },
}

fuzz_target!(|steps: Vec<Step>| {
    let settings = Arc::new(Settings {
        name_bytes: 10,
        waiting: 4,
        waiting_bytes: 500,
        has_hook: steps.len().is_multiple_of(2),
    });
    let mut world = World::new(
        Box::new(move |_, id, now| {
            Box::new(ClientSession::new(
                settings.clone(),
                Visitor(id.0.into()),
                now,
            ))
        }),
        |frame, _| {
            let read = ServerMessage::parse(frame.as_str());
            assert!(
                read.is_some(),
                "a frame that no client can read: {}",
                frame.as_str()
            );
        },
    );
    for it in steps {
        step(&mut world, it);
    }
    world.end();
});

fn step(world: &mut World, step: Step) {
    match step {
        Step::Join { who, user, room } => {
            let (user, room) = (user % 4, room % 3);
            world.text(who, &format!(r#"{{"id":1,"method":"joinRoom","params":{{"user":"u{user}","room":"r{room}"}}}}"#));
        }
        Step::Publish { who, loopback } => world.text(
            who,
            &format!(r#"{{"id":2,"method":"publishVideo","params":{{"sdpOffer":"o","doLoopback":{loopback}}}}}"#),
        ),
        Step::Receive { who, from } => {
            let from = from % 4;
            world.text(
                who,
                &format!(r#"{{"id":3,"method":"receiveVideoFrom","params":{{"sdpOffer":"o","sender":"u{from}_webcam"}}}}"#),
            );
        }
        Step::Plain { who, method } => {
            let methods = ["unpublishVideo", "leaveRoom", "closeSession", "connect"];
            let method = methods[usize::from(method) % methods.len()];
            world.text(who, &format!(r#"{{"id":4,"method":"{method}"}}"#));
        }
        Step::Connect { who, session } => {
            let id = session_id(Visitor(session.into()));
            world.text(who, &format!(r#"{{"id":5,"method":"connect","params":{{"sessionId":"{id}"}}}}"#));
        }
        Step::Say { who, user, room } => {
            let (user, room) = (user % 4, room % 3);
            let params = format!(r#"{{"message":"m","userMessage":"u{user}","roomMessage":"r{room}"}}"#);
            world.text(who, &format!(r#"{{"id":6,"method":"sendMessage","params":{params}}}"#));
        }
        Step::Ping { who, interval } => {
            world.text(who, &format!(r#"{{"id":7,"method":"ping","params":{{"interval":{interval}}}}}"#));
        }
        Step::Custom { who } => world.text(who, r#"{"id":8,"method":"customRequest","params":{"hat":true}}"#),
        Step::Text { who, text } => world.text(who, &text),
        Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
        Step::Media(media) => world.media(media),
        Step::Close { room } => world.change(|hub, out| hub.close_room(&format!("r{}", room % 3), out)),
        Step::Evict { room, user } => {
            let (room, user) = (format!("r{}", room % 3), format!("u{}", user % 4));
            world.change(|hub, out| hub.evict(&room, &user, out));
        }
        Step::Grant { who, token } => world.grant(who, grants(token)),
        Step::Sleep { who, sleeps } => world.sleep(who, sleeps),
        Step::Leave { who } => world.leave(who),
        Step::Wait { milliseconds } => world.wait(Duration::from_millis(milliseconds.into())),
    }
}

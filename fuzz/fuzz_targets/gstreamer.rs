//! Peers of GStreamer, and geckos' clients that come to the same path, at one hub, each sending whatever
//! it likes: nothing panics, everyone is sent only lines of the protocol, JSON, or what its partner says,
//! and when all have left nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::front::FrontSession;
use switchboard::dialect::gecko::server::Settings;
use switchboard::dialect::gstreamer::server::PeerSession;
use switchboard::hub::{Payload, SessionId};
use switchboard_fuzz::{World, grants, is_json};

const WORDS: [&str; 4] = ["HELLO", "ERROR ", "SESSION_OK", "ROOM_"];

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed lines, so that deep states are reached.
    Hello {
        who: u8,
        id: u8,
    },
    Session {
        who: u8,
        id: u8,
    },
    Room {
        who: u8,
        id: u8,
    },
    Message {
        who: u8,
        id: u8,
    },
    List {
        who: u8,
    },
    Demand {
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
    Alive {
        who: u8,
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
        legacy_progress_errors: steps.len().is_multiple_of(2),
        id_bytes: 100,
        ice_servers: None,
    });
    let mut world = World::new(
        Box::new(move |place, id, _| match place % 2 {
            0 => Box::new(PeerSession::new(1_000)),
            _ => {
                let worker = SessionId(id.0.into());
                Box::new(FrontSession::new(
                    PeerSession::new(1_000),
                    settings.clone(),
                    worker,
                ))
            }
        }),
        is_protocol,
    );
    for step in steps {
        match step {
            Step::Hello { who, id } => world.text(who, &format!("HELLO {}", id % 6)),
            Step::Session { who, id } => world.text(who, &format!("SESSION {}", id % 6)),
            Step::Room { who, id } => world.text(who, &format!("ROOM {}", id % 3)),
            Step::Message { who, id } => world.text(who, &format!("ROOM_PEER_MSG {} x", id % 6)),
            Step::List { who } => world.text(who, "ROOM_PEER_LIST"),
            Step::Demand { who } => {
                world.text(who, r#"{"action":"client-hello","authorization":"Bearer t","source":"s","webrtcOffer":"o"}"#);
            }
            Step::Text { who, text } => world.text(who, &text),
            Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
            Step::Alive { who } => world.alive(who),
            Step::Grant { who, token } => world.grant(who, grants(token)),
            Step::Sleep { who, sleeps } => world.sleep(who, sleeps),
            Step::Leave { who } => world.leave(who),
            Step::Wait { milliseconds } => world.wait(Duration::from_millis(milliseconds.into())),
        }
    }
    world.end();
});

fn is_protocol(frame: &Payload, is_relayed: bool) {
    if frame.as_str().starts_with('{') && !is_relayed {
        return is_json(frame, false);
    }
    let is_ours = WORDS.iter().any(|word| frame.as_str().starts_with(word));
    assert!(
        is_relayed || is_ours,
        "no line of the protocol: {}",
        frame.as_str()
    );
}

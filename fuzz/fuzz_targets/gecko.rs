//! Geckos and their clients at one hub, each sending whatever it likes: nothing panics, every frame
//! that is sent is JSON, and when all have left and some time has passed nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::gecko::server::{ClientSession, GeckoSession, Settings};
use switchboard::hub::{Payload, SessionId};
use switchboard_fuzz::{World, grants, is_json};

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed messages, so that deep states are reached.
    GeckoHello {
        who: u8,
        id: u8,
    },
    ClientHello {
        who: u8,
        account: u8,
    },
    ClientIce {
        who: u8,
    },
    GeckoIce {
        who: u8,
        worker: Option<u8>,
    },
    Created {
        who: u8,
        worker: u8,
    },
    Connected {
        who: u8,
        worker: u8,
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
            0 => Box::new(GeckoSession::new(settings.clone(), None)),
            _ => Box::new(ClientSession::new(settings.clone(), SessionId(id.0.into()))),
        }),
        is_json,
    );
    for step in steps {
        match step {
            Step::GeckoHello { who, id } => {
                let id = id % 3;
                world.text(who, &format!(r#"{{"action":"worker-hello","geckoId":"{id}","capabilities":["worker-closed"]}}"#));
            }
            Step::ClientHello { who, account } => {
                let token = account % 3;
                world.text(
                    who,
                    &format!(r#"{{"action":"client-hello","authorization":"Bearer {token}","source":"s","webrtcOffer":"o"}}"#),
                );
            }
            Step::ClientIce { who } => {
                world.text(
                    who,
                    r#"{"messageType":"ice","action":"client-candidate","candidate":{}}"#,
                );
            }
            Step::GeckoIce { who, worker } => {
                let id = worker.map_or("null".to_owned(), |it| format!("\"{}\"", id(&world, it)));
                world.text(
                    who,
                    &format!(r#"{{"messageType":"ice","workerId":{id},"candidate":{{}}}}"#),
                );
            }
            Step::Created { who, worker } => {
                let id = id(&world, worker);
                world.text(
                    who,
                    &format!(r#"{{"messageType":"worker-created","workerId":"{id}","webrtcAnswer":"a=ice-ufrag:u"}}"#),
                );
            }
            Step::Connected { who, worker } => {
                let id = id(&world, worker);
                world.text(
                    who,
                    &format!(r#"{{"messageType":"connected","workerId":"{id}"}}"#),
                );
            }
            Step::Text { who, text } => world.text(who, &text),
            Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
            Step::Grant { who, token } => world.grant(who, grants(token)),
            Step::Sleep { who, sleeps } => world.sleep(who, sleeps),
            Step::Leave { who } => world.leave(who),
            Step::Wait { milliseconds } => world.wait(Duration::from_millis(milliseconds.into())),
        }
    }
    world.end();
});

/// The worker of one of the clients that are here now.
fn id(world: &World, worker: u8) -> SessionId {
    SessionId(world.connection(worker % 3 * 2 + 1).0.into())
}

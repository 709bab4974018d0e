//! Many Cuttlefish connections at one hub, each sending whatever it likes, and clients that poll: nothing
//! panics, every frame and reply of the server is JSON, and when all have left nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::config::Cuttlefish;
use switchboard::dialect::cuttlefish::polled::{self, Mailbox, Request};
use switchboard::dialect::cuttlefish::server::{ClientSession, DeviceSession, Settings};
use switchboard::hub::Payload;
use switchboard_fuzz::{World, grants, is_json};

#[derive(Debug, Arbitrary)]
enum Step {
    /// Well-formed messages, so that deep states are reached.
    Register {
        who: u8,
        id: u8,
    },
    Connect {
        who: u8,
        id: u8,
    },
    Forward {
        who: u8,
        client: u8,
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
    /// A request of a client that polls, and the messages for it.
    Ask {
        body: String,
    },
    Poll {
        start: u64,
        count: u8,
    },
    Drain,
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

const MESSAGES: usize = 4;
const BYTES: usize = 100;

fuzz_target!(|steps: Vec<Step>| {
    let settings = Arc::new(Settings::new(
        &[],
        &Cuttlefish {
            wait_for_device: steps.len().is_multiple_of(2),
            ..Cuttlefish::default()
        },
    ));
    let mut world = World::new(
        Box::new(move |place, _, _| match place % 2 {
            0 => Box::new(DeviceSession::new(settings.clone())),
            _ => Box::new(ClientSession::new(settings.clone())),
        }),
        is_json,
    );
    let mut mailbox = Mailbox::new(MESSAGES, BYTES, Instant::now());
    for step in steps {
        match step {
            Step::Register { who, id } => {
                let id = id % 4;
                world.text(
                    who,
                    &format!(
                        r#"{{"message_type":"register","device_id":"{id}","device_info":{{}}}}"#
                    ),
                );
            }
            Step::Connect { who, id } => {
                world.text(
                    who,
                    &format!(r#"{{"message_type":"connect","device_id":"{}"}}"#, id % 4),
                );
            }
            Step::Forward { who, client } => {
                let client = client % 8;
                world.text(
                    who,
                    &format!(r#"{{"message_type":"forward","client_id":{client},"payload":[1]}}"#),
                );
            }
            Step::Text { who, text } => world.text(who, &text),
            Step::Binary { who, bytes } => world.frame(who, &Payload::binary(bytes.into())),
            Step::Ask { body } => ask(&mut mailbox, &body),
            Step::Poll { start, count } => {
                let messages = mailbox.from(start, count.into());
                assert!(messages.len() <= MESSAGES.min(count.into()));
                is_json(&Payload::from(polled::messages(&messages).as_str()), false);
            }
            Step::Drain => {
                let messages = mailbox.drain();
                assert!(messages.len() <= MESSAGES);
                assert!(messages.iter().map(Payload::len).sum::<usize>() <= BYTES);
                is_json(
                    &Payload::from(polled::bare_messages(&messages).as_str()),
                    false,
                );
            }
            Step::Alive { who } => world.alive(who),
            Step::Grant { who, token } => world.grant(who, grants(token)),
            Step::Sleep { who, sleeps } => world.sleep(who, sleeps),
            Step::Leave { who } => world.leave(who),
            Step::Wait { milliseconds } => world.wait(Duration::from_millis(milliseconds.into())),
        }
    }
    world.end();
});

/// What is forwarded comes back as if the device had sent it.
fn ask(mailbox: &mut Mailbox, body: &str) {
    let body = Payload::from(body);
    match Request::parse(&body) {
        Ok(request) => {
            let id = request.connection_id().unwrap_or("\"");
            let info = request.payload().ok();
            is_json(&Payload::from(polled::connected(id, info).as_str()), false);
            is_json(
                &Payload::from(polled::connected_new(id, info).as_str()),
                false,
            );
            if let Some(payload) = info {
                mailbox.push(payload);
            }
            if let Err(cause) = request.device_id() {
                is_json(&Payload::from(polled::error(&cause).as_str()), false);
            }
        }
        Err(cause) => is_json(&Payload::from(polled::error(&cause).as_str()), false),
    }
}

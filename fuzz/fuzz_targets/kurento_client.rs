//! Whatever a room server sends, and whenever: a participant doesn't panic, keeps no more than its
//! bounds, and asks in words that our own server reads.

#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::kurento::client::{Output, Publisher, RoomClient};
use switchboard::dialect::kurento::wire::{Request, ServerMessage};
use switchboard::dialect::negotiation::Sdp;

#[derive(Debug, Arbitrary)]
enum Step {
    Open,
    Close,
    /// A well-formed answer, so that deep states are reached.
    Answer {
        id: u8,
        sdp: bool,
    },
    Refuse {
        id: u8,
        code: i32,
    },
    /// Anything.
    Frame(String),
    Publish,
    Receive(String),
    Leave,
    Wait {
        milliseconds: u16,
    },
}

fuzz_target!(|steps: Vec<Step>| {
    let mut now = Instant::now();
    let mut client = RoomClient::new("me", "r", false, now);
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Open => client.opened(now, &mut out),
            Step::Close => client.closed(&mut out),
            Step::Answer { id, sdp } => {
                let result = if sdp {
                    r#""sdpAnswer":"v""#
                } else {
                    r#""value":[]"#
                };
                let frame = format!(r#"{{"id":{id},"result":{{{result},"sessionId":"s"}}}}"#);
                client.frame(now, &frame, &mut out);
            }
            Step::Refuse { id, code } => {
                let frame = format!(r#"{{"id":{id},"error":{{"code":{code},"message":""}}}}"#);
                client.frame(now, &frame, &mut out);
            }
            Step::Frame(frame) => {
                let _ = ServerMessage::parse(&frame);
                client.frame(now, &frame, &mut out);
            }
            Step::Publish => client.publish(now, 1, &Sdp::new("v=0"), false, &mut out),
            Step::Receive(user) => {
                let publisher = Publisher {
                    user,
                    stream: "webcam".to_owned(),
                };
                client.receive(now, 2, &publisher, &Sdp::new("v=0"), &mut out);
            }
            Step::Leave => client.leave(now, &mut out),
            Step::Wait { milliseconds } => {
                now += Duration::from_millis(milliseconds.into());
                client.tick(now, &mut out);
            }
        }
        for output in out.drain(..) {
            if let Output::Send(frame) = output {
                assert!(Request::parse(&frame).is_ok(), "{frame}");
            }
        }
    }
});

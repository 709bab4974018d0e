//! Whatever a server or the other peer sends: Cuttlefish's devices and viewers, GStreamer's callers and
//! members, geckos and their pages, and Kurento's participants don't panic, what they say is read by the
//! server, and what is read and written again reads the same.

#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::dialect::cuttlefish::channels::{Control, Input};
use switchboard::dialect::cuttlefish::client::{DeviceClient, ViewerClient};
use switchboard::dialect::cuttlefish::device_info::DeviceInfo;
use switchboard::dialect::cuttlefish::payload::{FromClient, FromDevice};
use switchboard::dialect::gecko::client::{GeckoClient, GeckoEvent};
use switchboard::dialect::gecko::page::{PageClient, PageEvent};
use switchboard::dialect::gecko::wire;
use switchboard::dialect::gstreamer::client::{CallClient, PeerId, RoomClient, RoomId};
use switchboard::dialect::gstreamer::payload::Message;
use switchboard::dialect::kurento::client::{Output, Publisher, RoomClient as Participant};
use switchboard::dialect::kurento::wire::{Request, ServerMessage};
use switchboard::dialect::negotiation::Sdp;
use switchboard::hub::{EndpointId, Namespace, Payload};
use switchboard_fuzz::is_json;

#[derive(Debug, Arbitrary)]
enum Talk<'a> {
    Cuttlefish(Vec<&'a str>),
    GStreamer(Vec<&'a str>),
    Gecko(Vec<(u16, &'a str)>),
    Page(Vec<&'a str>),
    Kurento(Vec<Step>),
}

/// With a participant of a room.
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

fuzz_target!(|talk: Talk<'_>| {
    match talk {
        Talk::Cuttlefish(frames) => cuttlefish(&frames),
        Talk::GStreamer(frames) => gstreamer(&frames),
        Talk::Gecko(frames) => gecko(frames),
        Talk::Page(frames) => page(&frames),
        Talk::Kurento(steps) => kurento(steps),
    }
});

fn cuttlefish(frames: &[&str]) {
    let id = EndpointId::new(Namespace::Device, "fuzz").expect("not empty");
    let mut device = DeviceClient::new(&id, &DeviceInfo::default());
    let viewer = ViewerClient::new(&id);
    let _ = (device.opened(), viewer.opened());
    for text in frames {
        let _ = device.frame(text);
        let _ = viewer.frame(text);
        let _ = serde_json::from_str::<Control>(text);
        if let Ok(input) = serde_json::from_str::<Input>(text) {
            let _ = format!("{input:?}");
        }
        if let Ok(message) = FromClient::parse(text) {
            assert_eq!(
                FromClient::parse(&message.to_json().to_string()).as_ref(),
                Ok(&message)
            );
        }
        if let Ok(message) = FromDevice::parse(text) {
            assert_eq!(
                FromDevice::parse(&message.to_json().to_string()).as_ref(),
                Ok(&message)
            );
        }
    }
}

fn gstreamer(frames: &[&str]) {
    let id = PeerId::new("7").expect("a word");
    let mut caller = CallClient::new(&id);
    let mut member = RoomClient::new(&id, &RoomId::new("r").expect("a word"));
    let _ = (caller.opened(), member.opened());
    let _ = (caller.frame("HELLO"), member.frame("HELLO"));
    let _ = (caller.call(&id), member.join());
    for frame in frames {
        let _ = caller.frame(frame);
        let _ = member.frame(frame);
        if let Ok(message) = Message::parse(frame) {
            let again = Message::parse(&message.to_text());
            match message {
                // A section's name is not written, and no index is written as the first.
                Message::Candidate(_) => assert!(matches!(again, Ok(Message::Candidate(_)))),
                message => assert_eq!(again, Ok(message)),
            }
        }
    }
}

fn gecko(frames: Vec<(u16, &str)>) {
    let mut gecko = GeckoClient::new("fuzz", 3);
    let mut now = Instant::now();
    let _ = gecko.opened();
    for (milliseconds, frame) in frames {
        now += Duration::from_millis(milliseconds.into());
        match gecko.frame(now, frame) {
            Some(GeckoEvent::Reply { frame, .. }) => is_json(&Payload::from(frame.as_str()), false),
            Some(GeckoEvent::Candidate { worker, candidate }) => {
                let again = wire::gecko_candidate(worker.as_str(), &candidate);
                let again = wire::Message::parse(again.as_str()).expect("an object");
                assert_eq!(again.worker_id().as_deref(), Some(worker.as_str()));
                assert!(again.candidate_line().is_some());
            }
            Some(GeckoEvent::NewWorker(demand)) if milliseconds % 2 == 0 => {
                gecko.ended(&demand.worker)
            }
            _ => {}
        }
    }
}

fn page(frames: &[&str]) {
    let mut page = PageClient::default();
    is_json(
        &Payload::from(page.hello("t", "s", &Sdp::new("o")).as_str()),
        false,
    );
    for frame in frames {
        if let Some(PageEvent::Candidate(candidate)) = page.frame(frame) {
            let again = page.candidate(&candidate);
            assert!(wire::Message::parse(&again).is_some_and(|it| it.candidate_line().is_some()));
        }
    }
}

fn kurento(steps: Vec<Step>) {
    let mut now = Instant::now();
    let mut client = Participant::new("me", "r", false, now);
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
}

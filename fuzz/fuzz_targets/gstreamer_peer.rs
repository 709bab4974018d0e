//! Whatever a server or the other peer sends: a caller's and a room member's parsers don't panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::dialect::gstreamer::client::{CallClient, PeerId, RoomClient, RoomId};
use switchboard::dialect::gstreamer::payload::Message;

fuzz_target!(|frames: Vec<&str>| {
    let id = PeerId::new("7").expect("a word");
    let mut caller = CallClient::new(&id);
    let mut member = RoomClient::new(&id, &RoomId::new("r").expect("a word"));
    let _ = (caller.opened(), member.opened());
    let _ = (caller.frame("HELLO"), member.frame("HELLO"));
    let _ = (caller.call(&id), member.join());
    for frame in frames {
        let _ = caller.frame(frame);
        let _ = member.frame(frame);
        // What is read and written again reads the same.
        if let Ok(message) = Message::parse(frame) {
            let again = Message::parse(&message.to_text());
            match message {
                // A section's name is not written, and no index is written as the first.
                Message::Candidate(_) => assert!(matches!(again, Ok(Message::Candidate(_)))),
                message => assert_eq!(again, Ok(message)),
            }
        }
    }
});

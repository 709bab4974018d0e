//! Whatever is offered to the forwarding plane: it is answered or refused, the answer has the offer's
//! sections in their order, and nothing of it stays.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use switchboard::dialect::negotiation::Sdp;
use switchboard::fuzzing::rooms::Plane;
use switchboard_fuzz::{OFFERS, spare_str0m};

fuzz_target!(init: spare_str0m(), |data: &[u8]| {
    let Some((&flags, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    // A publisher's, and one that subscribes to that.
    let (publisher, subscriber) = text.split_once('\0').unwrap_or((&text, OFFERS[1]));
    let _ = Sdp::new(publisher).session_id();
    let mut plane = Plane::new(Instant::now());
    // If it publishes nothing, the other one subscribes to something else.
    if plane.publish(0, 1, publisher, flags & 1 != 0).is_none() {
        plane.publish(0, 1, OFFERS[0], false);
    }
    plane.subscribe(0, 2, 1, subscriber);
    plane.wait(Duration::from_millis(1_500));
    plane.remove(1);
    plane.close_room(0);
    plane.close();
});

//! Whatever a server sends: a gecko's parser doesn't panic, and its replies are JSON.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use switchboard::dialect::gecko::client::{GeckoClient, GeckoEvent};
use switchboard::dialect::gecko::wire;

fuzz_target!(|frames: Vec<(u16, &str)>| {
    let mut gecko = GeckoClient::new("fuzz", 3);
    let mut now = Instant::now();
    let _ = gecko.opened();
    for (milliseconds, frame) in frames {
        now += Duration::from_millis(milliseconds.into());
        match gecko.frame(now, frame) {
            Some(GeckoEvent::Reply { frame, .. }) => {
                serde_json::from_str::<serde_json::Value>(frame.as_str()).expect("a reply that is no JSON");
            }
            // What is read and written again is read by the server.
            Some(GeckoEvent::Candidate { worker, candidate }) => {
                let again = wire::gecko_candidate(worker.as_str(), &candidate);
                let again = wire::Message::parse(again.as_str()).expect("an object");
                assert_eq!(again.worker_id().as_deref(), Some(worker.as_str()));
                assert!(again.candidate_line().is_some());
            }
            Some(GeckoEvent::NewWorker(demand)) if milliseconds % 2 == 0 => gecko.ended(&demand.worker),
            _ => {}
        }
    }
});

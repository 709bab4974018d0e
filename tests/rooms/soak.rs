//! Joining and leaving leaves nothing behind. A process of its own, since it is the process that is
//! measured.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[allow(dead_code, reason = "the other tests use the rest")]
mod client;
#[allow(dead_code, reason = "the other tests use the rest")]
mod house;

use std::fs;
use std::time::{Duration, Instant};

use client::Codecs;
use house::{House, sending};

const ROUNDS: usize = 500;

#[test]
fn joins_and_leaves_leave_nothing_behind() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let mut begin = None;
    for round in 0..ROUNDS {
        let (subscriber, _client) = house.subscriber(Codecs::vp8(111, 96), key);
        house.remove(subscriber);
        publisher.turn(false);
        // By then every buffer has grown as it will.
        if round == ROUNDS / 2 {
            begin = Some(usage());
        }
    }
    house.remove(key);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !house.plane.stats().is_empty() {
        assert!(Instant::now() < deadline, "endpoints are left");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let (before, after) = (begin.unwrap(), usage());
    assert!(after.0 <= before.0, "files: {before:?}, {after:?}");
    assert!(after.1 <= before.1, "threads: {before:?}, {after:?}");
    assert!(
        after.2 <= before.2 + 8_000_000,
        "bytes: {before:?}, {after:?}"
    );
}

/// Open files, threads, and bytes of memory.
fn usage() -> (usize, usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (
        count("/proc/self/fd"),
        count("/proc/self/task"),
        resident * 4096,
    )
}

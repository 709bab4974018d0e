//! A publisher behind a bottleneck: what becomes of its picture on the way through the forwarding plane.

use std::sync::Arc;
use std::time::Duration;

use crate::badlink::{BadLink, Conditions, Side, hurry};
use crate::peers::{result, server};
use crate::process::Process;
use crate::{join, proxy};

/// What the bottleneck lets through at first and in the end, and in between, in bits per second.
const WIDE: u64 = 4_000_000;
/// See [`WIDE`].
const NARROW: u64 = 600_000;
/// What a packet of an empty queue may find: others of its frame.
const EMPTY: Duration = Duration::from_millis(10);
/// What may stand for a second while more is tried, and how long the queue may be for a moment.
const STANDING: Duration = Duration::from_millis(60);
/// See [`STANDING`].
const LONGEST: Duration = Duration::from_millis(200);

/// One second of the picture.
#[derive(Debug)]
struct Second {
    frames: u64,
    bitrate: u64,
    /// The shortest and the longest that packets waited at the bottleneck.
    queue: (Duration, Duration),
}

/// What the publisher may leave out: every other frame. And what is between the seconds and their frames.
const SHARE: u64 = 2;
/// See [`SHARE`].
const EDGES: u64 = 3;

/// Frames a second that this machine manages where nothing holds them back: in the middle one of the last
/// seconds.
fn pace(seconds: &[Second]) -> u64 {
    let last = seconds.iter().rev().take(5);
    let mut frames: Vec<_> = last.map(|second| second.frames).collect();
    frames.sort_unstable();
    frames[frames.len() / 2]
}

/// Watches what one of them sees of the other until it is as good as it gets. It has 20 s
/// for that.
async fn rises(subscriber: &mut Process, link: &BadLink) -> Vec<Second> {
    let mut all = Vec::new();
    let is_up = |it: &Second| it.bitrate >= 2_000_000;
    while !all.last().is_some_and(is_up) {
        assert!(all.len() < 20, "{all:#?}");
        all.extend(watch(subscriber, link, 1).await);
    }
    all
}

/// Watches what one of them sees of the other for so many seconds.
async fn watch(subscriber: &mut Process, link: &BadLink, seconds: usize) -> Vec<Second> {
    let mut all = Vec::new();
    while all.len() < seconds {
        let (count, _) = result(subscriber, "count").await;
        let traffic = link.traffic(Side::B);
        let video = &count["video"];
        all.push(Second {
            frames: video["frames"].as_u64().unwrap_or(0),
            bitrate: video["bitrate"].as_u64().unwrap_or(0),
            queue: (traffic.shortest_queue, traffic.longest_queue),
        });
    }
    all
}

#[test]
fn a_publisher_follows_a_bottleneck_down_and_up_again() {
    hurry().run(followed());
}

async fn followed() {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        rate: Some(WIDE),
        ..Conditions::default()
    };
    let link = Arc::new(BadLink::start(7, conditions));
    let (_server, address) = server("127.0.0.1:0").await;
    let mut subscriber = join(&address, "two", &["--receive", "count"]).await;
    let behind = proxy::over(&link, &address).await;
    let picture = "test width=640 height=360 pattern=smpte wave=silence";
    let publish = ["--publish", picture, "--receive", "none"];
    let _publisher = join(&behind, "one", &publish).await;

    let rise = rises(&mut subscriber, &link).await;
    link.change(Side::B, |it| it.rate = Some(NARROW));
    let fall = watch(&mut subscriber, &link, 5).await;
    assert!(fall[4].queue.0 <= EMPTY, "{fall:#?}");
    let overflown = link.traffic(Side::B).overflown;
    let settled = watch(&mut subscriber, &link, 10).await;
    for second in &settled {
        let (standing, longest) = second.queue;
        let short = standing <= STANDING && longest <= LONGEST;
        assert!(short, "a queue stands: {settled:#?}");
    }
    assert_eq!(link.traffic(Side::B).overflown, overflown, "{settled:#?}");
    link.change(Side::B, |it| it.rate = Some(WIDE));
    let back = rises(&mut subscriber, &link).await;
    let frames: u64 = settled.iter().map(|second| second.frames).sum();
    let pace = pace(&rise).min(pace(&back));
    let enough = frames + EDGES >= pace * settled.len() as u64 / SHARE;
    assert!(enough, "{frames} frames, of {pace} a second: {settled:#?}");
}

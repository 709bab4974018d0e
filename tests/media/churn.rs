//! Viewers that come and go, and viewers that get stuck.

use std::time::{Duration, Instant};

use switchboard::media::{Codec, SessionConfig};

use crate::pair::Pair;
use crate::{grey, video};

/// Viewers that come and go; `benches/fan_out.rs` does more.
const VIEWERS: usize = 40;
/// After this many, nothing may grow any more.
const WARM: usize = 20;

fn count(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_and_go_leave_nothing_behind() {
    let source = grey(120).await;
    let mut stays = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    stays.device_offers().await;
    stays
        .until("the picture of the one who stays", |pair| {
            pair.eyes.frames() > 0
        })
        .await;
    let mut warm = 0;
    for viewer in 0..VIEWERS {
        let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until("a picture", |pair| pair.eyes.frames() > 0).await;
        pair.close().await;
        if viewer == WARM {
            warm = count("/proc/self/fd");
        }
    }
    // Other tests of this process run at the same time and hold some; a leak of one per viewer shows.
    let after = count("/proc/self/fd");
    assert!(after < warm + 200, "{warm} file descriptors became {after}");
    let before = stays.eyes.frames();
    stays
        .until("the one who stays sees on", |pair| {
            pair.eyes.frames() > before + 10
        })
        .await;
    stays.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_viewer_slows_nobody_else() {
    use gstreamer::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use switchboard::media::Receive;

    let source = grey(120).await;
    let mut good = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    good.device_offers().await;
    good.until("the good viewer's picture", |pair| pair.eyes.frames() > 0)
        .await;

    // This one never takes a packet: its receiving element blocks for as long as it lives.
    let stuck = Arc::new(AtomicBool::new(false));
    let flag = stuck.clone();
    let blocked = Receive::Into(Arc::new(move |_| {
        let sink = gstreamer::ElementFactory::make("fakesink")
            .property("async", false)
            .build()
            .unwrap();
        let flag = flag.clone();
        sink.static_pad("sink").unwrap().add_probe(
            gstreamer::PadProbeType::BLOCK | gstreamer::PadProbeType::BUFFER,
            move |_, _| {
                flag.store(true, Ordering::SeqCst);
                gstreamer::PadProbeReturn::Ok
            },
        );
        Some(sink)
    }));
    let mut bad = Pair::start_with(
        video(&source, Codec::Vp8),
        SessionConfig {
            receive: blocked,
            ..SessionConfig::default()
        },
    )
    .await;
    bad.device_offers().await;
    let flag = stuck.clone();
    bad.until("the bad viewer gets stuck", move |_| {
        flag.load(Ordering::SeqCst)
    })
    .await;

    let (start, before) = (Instant::now(), good.eyes.frames());
    good.until("two more seconds of pictures", |pair| {
        pair.eyes.frames() >= before + 60
    })
    .await;
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "60 frames took {took:?} beside a stuck viewer"
    );
    let start = Instant::now();
    bad.close().await;
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "closing the stuck one took {:?}",
        start.elapsed()
    );
    good.close().await;
}

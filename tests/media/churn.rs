//! Viewers that come and go.

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

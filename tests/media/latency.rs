//! How long received packets wait decides how many of them come too late.

use std::sync::Arc;
use std::time::Duration;

use switchboard::media::Kind;

use crate::badlink::{BadLink, Conditions};
use crate::verdicts::pair_on;

/// How many of 300 packets of video come too late over a link that delays them by 80 ms more or less.
async fn late(latency: Duration) -> u64 {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(80),
        reorder: true,
        ..Conditions::default()
    };
    let link = Arc::new(BadLink::start(7, conditions));
    let mut pair = pair_on(&link).await;
    pair.viewer.set_receive_latency(latency);
    pair.device_offers().await;
    let video = |pair: &crate::pair::Pair| {
        let inbound = pair.viewer.inbound();
        inbound
            .into_iter()
            .find(|inbound| inbound.kind == Kind::Video)
    };
    // The first packets come before anyone knows how long they take.
    pair.until("first packets", |pair| {
        video(pair).is_some_and(|it| it.packets + it.late > 100)
    })
    .await;
    let first = video(&pair).unwrap().late;
    pair.until("many packets", |pair| {
        video(pair).is_some_and(|it| it.packets + it.late > 400)
    })
    .await;
    let stats = pair.viewer.stats().await.unwrap();
    assert_eq!(stats.receive_latency, latency);
    let late = video(&pair).unwrap().late - first;
    pair.close().await;
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_wait_drops_late_packets_and_a_long_one_does_not() {
    let (short, long) = tokio::join!(
        late(Duration::from_millis(10)),
        late(Duration::from_millis(200)),
    );
    // A busy machine may hold a packet back for longer than any link.
    assert!(short >= 10, "{short}");
    assert!(long * 5 <= short, "{long} {short}");
}

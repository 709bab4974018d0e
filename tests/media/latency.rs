//! How long received packets wait decides how many of them come too late.

use std::sync::Arc;
use std::time::Duration;

use switchboard::media::{InboundStats, Kind};

use crate::badlink::{BadLink, Conditions};
use crate::verdicts::pair_on;

/// What becomes of video over a link that delays packets by 80 ms more or less.
async fn received(latency: Duration) -> InboundStats {
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
    pair.until("many packets", |pair| {
        video(pair).is_some_and(|it| it.packets + it.late > 250)
    })
    .await;
    let stats = pair.viewer.stats().await.unwrap();
    assert_eq!(stats.receive_latency, latency);
    let video = video(&pair).unwrap();
    pair.close().await;
    video
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_wait_drops_late_packets_and_a_long_one_does_not() {
    let (short, long) = tokio::join!(
        received(Duration::from_millis(10)),
        received(Duration::from_millis(200)),
    );
    // A busy machine may hold a packet back for longer than any link.
    assert!(short.late >= 10, "{short:?}");
    assert!(long.late * 10 <= short.late, "{long:?} {short:?}");
}

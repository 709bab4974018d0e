//! Bad paths: what the picture does on them.

use std::time::Duration;

use switchboard::media::{Codec, SessionConfig};

use crate::badlink::{BadLink, Conditions, Side};
use crate::pair::Pair;
use crate::{source, video};

async fn busy() -> std::sync::Arc<switchboard::media::Source> {
    source(
        "title='busy'\npipeline='''videotestsrc is-live=true pattern=smpte \
         ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! appsink name=video'''",
        Duration::from_secs(1),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn look() {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        rate: Some(4_000_000),
        ..Conditions::default()
    };
    let link = BadLink::start_outside(7, conditions);
    let source = busy().await;
    let viewer = SessionConfig {
        receive_latency: Duration::from_millis(150),
        ..SessionConfig::default()
    };
    let mut pair = Pair::over(Some(link), video(&source, Codec::Vp8), viewer).await;
    let (offer, answer) = pair.device_offers().await;
    println!("{offer}\n{answer}");
    pair.until("a picture", |pair| pair.eyes.frames() > 0).await;
    let mut before = pair.eyes.frames();
    for second in 0..50 {
        match second {
            12 => pair
                .link
                .as_ref()
                .unwrap()
                .change(Side::A, |it| it.rate = Some(600_000)),
            25 => pair
                .link
                .as_ref()
                .unwrap()
                .change(Side::A, |it| it.rate = Some(4_000_000)),
            _ => {}
        }
        let end = std::time::Instant::now() + Duration::from_secs(1);
        pair.until("a second", |_| std::time::Instant::now() > end)
            .await;
        let stats = pair.device.stats().await.unwrap();
        let s = &stats.outbound[0];
        let frames = pair.eyes.frames();
        let t = pair.link.as_ref().unwrap().traffic(Side::A);
        println!(
            "{second:2} est {:?} target {:?} rate {} fps {:.0} seen {} size {:?} {} age {:?}/{:?} nacks {} pli {} lost {} queue {:?} max {:?} over {}",
            s.estimate,
            s.target_bitrate,
            s.bitrate,
            s.frame_rate,
            frames - before,
            s.picture_size,
            s.rung.name(),
            s.frame_age.mean,
            s.frame_age.max,
            s.nacks,
            s.picture_requests,
            s.lost,
            t.queued_time,
            t.longest_queue,
            t.overflown
        );
        before = frames;
    }
    pair.close().await;
}

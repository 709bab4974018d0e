//! What a viewer sees and hears.

use std::time::Instant;

use switchboard::media::{Codec, Kind, MediaError, Session, SessionConfig, SessionEvent};

use crate::pair::Pair;
use crate::{grey, stream, tone, video};

/// The mean brightness of the middle of a picture.
fn brightness(pair: &Pair, mid: &str) -> Option<u64> {
    let picture = pair.eyes.seen().pictures.remove(mid)?;
    let rows = picture
        .luma
        .chunks(picture.width)
        .skip(picture.height / 4)
        .take(picture.height / 2);
    let pixels: Vec<_> = rows
        .flat_map(|row| row[picture.width / 4..picture.width * 3 / 4].to_vec())
        .collect();
    Some(pixels.iter().map(|&pixel| u64::from(pixel)).sum::<u64>() / pixels.len() as u64)
}

fn frames(pair: &Pair) -> u64 {
    pair.eyes.frames()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_displays_and_sound_arrive_each_as_itself() {
    let (dark, light, tone) = (grey(60).await, grey(180).await, tone().await);
    let streams = vec![
        stream(&dark, Kind::Video, "display_0"),
        stream(&light, Kind::Video, "display_1"),
        stream(&tone, Kind::Audio, "audio-0"),
    ];
    let config = SessionConfig {
        streams,
        channels: vec!["device-control".into()],
        ..SessionConfig::default()
    };
    let mut pair = Pair::start(config, SessionConfig::default()).await;
    let (offer, _) = pair.device_offers().await;
    for id in ["display_0", "display_1", "audio-0"] {
        assert!(
            offer.contains(&format!("msid:{id}")),
            "{id} is missing in {offer}"
        );
    }
    pair.until("both pictures and a second of sound", |pair| {
        let seen = pair.eyes.seen();
        seen.pictures
            .values()
            .filter(|picture| picture.frames > 10)
            .count()
            == 2
            && seen.sounds.values().any(|sound| sound.samples > 48_000)
    })
    .await;
    // Studio range: 60 of 255 is 67, 180 is 170.
    let (dark, light) = (
        brightness(&pair, "video0").unwrap(),
        brightness(&pair, "video1").unwrap(),
    );
    assert!(
        (55..80).contains(&dark) && (155..185).contains(&light),
        "{dark} and {light}"
    );
    let sound = pair.eyes.seen().sounds.into_values().next().unwrap();
    let hertz = sound.waves * 48_000 / sound.samples;
    assert!(
        sound.peak > 10_000 && (900..1100).contains(&hertz),
        "{hertz} Hz, peak {}",
        sound.peak
    );

    let stats = pair.device.stats().await.unwrap();
    assert_eq!(stats.outbound.len(), 3);
    assert!(
        stats
            .outbound
            .iter()
            .all(|stream| stream.packets > 0 && stream.bytes > 0),
        "{stats:?}"
    );
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_codec_arrives_whether_we_offer_or_answer() {
    let source = grey(120).await;
    for codec in source.codecs(Kind::Video) {
        let mut pair = Pair::start(video(&source, codec), SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until(&format!("{codec:?}, offered"), |pair| frames(pair) > 10)
            .await;
        let mid = pair.eyes.seen().pictures.into_keys().next().unwrap();
        let seen = brightness(&pair, &mid).unwrap();
        assert!((105..130).contains(&seen), "{codec:?}: {seen}");
        pair.close().await;

        let wanted = SessionConfig {
            wanted: vec![codec],
            channels: vec!["c".into()],
            ..SessionConfig::default()
        };
        let mut pair = Pair::start(video(&source, codec), wanted).await;
        pair.viewer_offers().await;
        pair.until(&format!("{codec:?}, answered"), |pair| frames(pair) > 10)
            .await;
        pair.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_offer_takes_whichever_codec_the_other_side_sends() {
    let source = grey(120).await;
    let every = source.codecs(Kind::Video);
    assert!(every.len() >= 3, "{every:?}");
    for codec in &every {
        let wanted = SessionConfig {
            wanted: [&every[..], &[Codec::Opus]].concat(),
            ..SessionConfig::default()
        };
        let mut pair = Pair::start(video(&source, *codec), wanted).await;
        let (offer, _) = pair.viewer_offers().await;
        // Each with its retransmissions, and no payload type twice.
        let lines: Vec<_> = offer.lines().collect();
        let mut types: Vec<_> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split(' ').next())
            .collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), 2 * every.len() + 1, "{offer}");
        pair.until(&format!("{codec:?}"), |pair| frames(pair) > 10)
            .await;
        let mid = pair.eyes.seen().pictures.into_keys().next().unwrap();
        let seen = brightness(&pair, &mid).unwrap();
        assert!((105..130).contains(&seen), "{codec:?}: {seen}");
        pair.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_common_codec_names_both_sides() {
    let source = grey(120).await;
    let wanted = SessionConfig {
        wanted: vec![Codec::Vp9],
        ..SessionConfig::default()
    };
    let (mut device, _events) = Session::start(video(&source, Codec::Vp8)).await.unwrap();
    let (mut viewer, _others) = Session::start(wanted).await.unwrap();
    let offer = viewer.offer().await.unwrap();
    let error = device.answer(&offer).await.unwrap_err();
    assert!(matches!(error, MediaError::NoCommonCodec { .. }));
    assert_eq!(
        error.to_string(),
        "no common video codec: we can send VP8, the other side takes VP9"
    );
    device.close().await;
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_offers_of_either_side_keep_the_picture() {
    let source = tone().await;
    let mut pair = Pair::start(
        SessionConfig {
            channels: vec!["c".into()],
            ..video(&source, Codec::Vp8)
        },
        SessionConfig::default(),
    )
    .await;
    pair.device_offers().await;
    pair.until("the picture", |pair| frames(pair) > 5).await;

    let (offer, answer) = pair.viewer_offers().await;
    assert!(
        offer.contains("a=setup:actpass") && answer.contains("a=setup:passive"),
        "{answer}"
    );
    let before = frames(&pair);
    pair.until("the picture after the viewer's offer", |pair| {
        frames(pair) > before + 15
    })
    .await;

    let (offer, answer) = pair.device_offers().await;
    assert!(
        offer.contains("a=setup:actpass") && answer.contains("a=setup:active"),
        "{offer}{answer}"
    );
    let before = frames(&pair);
    pair.until("the picture after the device's offer", |pair| {
        frames(pair) > before + 15
    })
    .await;
    assert!(!pair.told_device.contains(&SessionEvent::Disconnected));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_s_media_is_taken_and_counted() {
    let (ours, theirs) = (grey(120).await, tone().await);
    let camera = SessionConfig {
        streams: vec![stream(&theirs, Kind::Video, "camera")],
        ..SessionConfig::default()
    };
    let mut pair = Pair::start(video(&ours, Codec::Vp8), camera).await;
    pair.device_offers().await;
    pair.until("both directions", |pair| {
        frames(pair) > 5
            && pair
                .told_device
                .iter()
                .any(|event| matches!(event, SessionEvent::Track { .. }))
    })
    .await;
    let before = frames(&pair);
    pair.until("some more frames", |pair| frames(pair) > before + 10)
        .await;
    let stats = pair.device.stats().await.unwrap();
    assert!(
        stats.received_packets > 0 && stats.received_bytes > 0,
        "{stats:?}"
    );
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_joins_a_running_encoder_with_a_key_frame_at_once() {
    let source = grey(120).await;
    let mut first = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    first.device_offers().await;
    first
        .until("the first viewer's picture", |pair| frames(pair) > 5)
        .await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until("a later viewer's picture", |pair| frames(pair) > 0)
            .await;
        times.push(start.elapsed());
        pair.close().await;
    }
    times.sort();
    // Without a request it would take up to the 30 s to the next key frame.
    assert!(times[2].as_secs() < 5, "{times:?}");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_asks_gets_a_whole_picture() {
    let source = grey(120).await;
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    pair.device_offers().await;
    pair.until("the picture", |pair| frames(pair) > 20).await;
    let before = pair.device.stats().await.unwrap().outbound[0].bytes;
    pair.device.refresh();
    let seen = frames(&pair);
    pair.until("more pictures", |pair| frames(pair) > seen + 10)
        .await;
    let stats = pair.device.stats().await.unwrap();
    assert!(
        stats.outbound[0].bytes > before && stats.outbound[0].bitrate > 0,
        "{stats:?}"
    );
    pair.close().await;
}

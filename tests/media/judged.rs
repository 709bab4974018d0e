//! Whole sessions as the judge sees them.

use std::time::Duration;

use switchboard::media::{Kind, SessionConfig, Source};
use switchboard::probe::judge::{Check, Phase, Report, Thresholds};

use crate::badlink::{BadLink, Conditions, Side};
use crate::pair::Pair;
use crate::{grey, marked, stream};

/// Thresholds for a machine that may be too busy for good ones.
fn patient() -> Thresholds {
    Thresholds {
        connect_ms: 15_000.0,
        first_frame_ms: 20_000.0,
        lost_percent: 20.0,
        freeze_ms: 5000.0,
        latency_p95_ms: 5000.0,
        audio_gap_ms: 5000.0,
        silent_percent: 50.0,
        av_offset_ms: 400.0,
        ..Thresholds::default()
    }
}

/// Watches marked media until there is enough of them.
async fn watch(source: &std::sync::Arc<Source>, pair: &mut Pair) -> Report {
    pair.eyes.witness().phase(Phase::Requested);
    pair.device_offers().await;
    pair.eyes.witness().phase(Phase::Signaled);
    let sound = source.has_audio();
    pair.until("three seconds of media", |pair| {
        let report = pair.eyes.witness().report();
        let pictures = report.videos().any(|(_, it)| it.frames.received >= 90);
        let marks = report.audios().any(|(_, it)| it.marks >= 3);
        pictures && (marks || !sound)
    })
    .await;
    pair.eyes
        .witness()
        .stats(&pair.viewer.stats().await.unwrap());
    pair.eyes.witness().report()
}

fn both(source: &std::sync::Arc<Source>) -> SessionConfig {
    SessionConfig {
        streams: vec![
            stream(source, Kind::Video, "display_0"),
            stream(source, Kind::Audio, "audio-0"),
        ],
        ..SessionConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_figures_for_everything() {
    let source = marked(9).await;
    let mut pair = Pair::start(both(&source), SessionConfig::default()).await;
    let report = watch(&source, &mut pair).await;
    pair.close().await;

    let times = &report.phases;
    for time in [
        times.signaled_ms,
        times.gathered_ms,
        times.connected_ms,
        times.first_packet_ms,
        times.first_frame_ms,
    ] {
        assert!(time.is_some(), "{times:?}");
    }
    assert!(times.connected_ms < times.first_frame_ms, "{times:?}");
    assert!(!report.connection.local_candidate.is_empty(), "{report:?}");
    let (id, video) = report.videos().next().unwrap();
    assert!(video.coded && video.sources == [9] && video.size == Some((320, 240)));
    assert!(id.as_str().starts_with("display_0"), "{id}");
    assert_eq!((video.frames.corrupt, video.frames.out_of_order), (0, 0));
    let traffic = report.stream(id.as_str()).unwrap().traffic.clone().unwrap();
    assert_eq!(traffic.codec.as_deref(), Some("VP8"));
    assert!(traffic.bitrate > 20_000.0, "{traffic:?}");
    let (_, audio) = report.audios().next().unwrap();
    assert!(audio.coded && audio.sources == [9], "{audio:?}");
    let offset = audio.video_offset.unwrap();
    assert!(offset.p50_ms.abs() < 100.0, "{offset:?}");
    assert_eq!(patient().verdict(&report), []);
    // All of it can be handed to programs.
    assert!(
        serde_json::to_string(&report)
            .unwrap()
            .contains("\"p95_ms\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_link_does_is_measured() {
    let source = marked(9).await;
    let delay = Duration::from_millis(150);
    let link = BadLink::start(
        7,
        Conditions {
            delay,
            ..Conditions::default()
        },
    );
    let mut pair = Pair::over(link, both(&source), SessionConfig::default()).await;
    let report = watch(&source, &mut pair).await;
    let traffic = pair.link.as_ref().unwrap().traffic(Side::A);
    assert!(traffic.forwarded > 90, "{traffic:?}");
    let (_, video) = report.videos().next().unwrap();
    let latency = video.latency.unwrap();
    // Half of a millisecond is lost in the marks.
    assert!(
        latency.min_ms >= 149.0 && latency.p50_ms < 1500.0,
        "{latency:?}"
    );

    // Nothing comes through any more: the picture freezes.
    pair.link
        .as_ref()
        .unwrap()
        .change(Side::A, |it| it.loss = 1.0);
    pair.until("a freeze", |pair| {
        let thresholds = Thresholds {
            freeze_ms: 2000.0,
            ..patient()
        };
        let findings = thresholds.verdict(&pair.eyes.witness().report());
        findings.iter().any(|it| it.check == Check::Freeze)
    })
    .await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_without_marks_are_judged_as_far_as_they_allow() {
    let source = grey(120).await;
    let config = SessionConfig {
        streams: vec![stream(&source, Kind::Video, "display_0")],
        ..SessionConfig::default()
    };
    let mut pair = Pair::start(config, SessionConfig::default()).await;
    let report = watch(&source, &mut pair).await;
    pair.close().await;
    let (_, video) = report.videos().next().unwrap();
    assert!(!video.coded && video.latency.is_none(), "{video:?}");
    assert_eq!((video.frames.lost, video.frames.corrupt), (0, 0));
    assert!(video.frame_rate > 5.0, "{video:?}");
    // A picture that never moves.
    assert!(video.longest_still_ms > 1000.0, "{video:?}");
    assert_eq!(patient().verdict(&report), []);
    let strict = Thresholds {
        still_ms: 1000.0,
        ..patient()
    };
    let findings = strict.verdict(&report);
    assert_eq!(
        findings.first().map(|it| it.check),
        Some(Check::Still),
        "{findings:?}"
    );
}

//! GStreamer's `webrtcbin` as a publisher and as a subscriber. Its certificates are RSA.

use std::time::Duration;

use switchboard::media::{
    Codec, Kind, PipelineFile, Session, SessionConfig, SessionEvents, Source, SourceOptions,
    StreamConfig,
};
use switchboard::rooms::Config;

use crate::house::House;
use crate::viewer::Eyes;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

const PIPELINE: &str = "title='test'\npipeline='''\
    videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video \
    audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 ! appsink name=audio'''";

async fn publisher(codec: Codec) -> (Session, SessionEvents) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source.toml");
    std::fs::write(&path, PIPELINE).unwrap();
    let file = PipelineFile::find(path.to_str().unwrap(), &[]).unwrap();
    let linger = Duration::from_secs(1);
    let source = Source::open(
        file,
        SourceOptions {
            linger,
            // Otherwise AV1 is left out.
            codecs: Codec::ALL.to_vec(),
            ..SourceOptions::default()
        },
    )
    .await
    .unwrap();
    let stream = |kind, codecs| StreamConfig {
        source: source.clone(),
        stream_id: "webcam".to_owned(),
        kind,
        codecs,
    };
    let config = SessionConfig {
        streams: vec![
            stream(Kind::Audio, Vec::new()),
            stream(Kind::Video, vec![codec]),
        ],
        invite: false,
        ..SessionConfig::default()
    };
    Session::start(config).await.unwrap()
}

async fn seen_through_the_plane(codec: Codec) {
    let mut house = House::with(Config::default());
    let (mut one, _events) = publisher(codec).await;
    let offer = one.offer().await.unwrap();
    let (key, answer) = house.offer(&offer, false);
    one.accept_answer(&answer.unwrap()).await.unwrap();

    let eyes = Eyes::new();
    let wanted = SessionConfig {
        wanted: vec![Codec::Opus, codec],
        receive: eyes.receive(),
        ..SessionConfig::default()
    };
    let (mut two, _more_events) = Session::start(wanted).await.unwrap();
    let offer = two.offer().await.unwrap();
    let answer = house.ask(key, &offer).1.unwrap();
    two.accept_answer(&answer).await.unwrap();

    let mut watch = eyes.watch();
    let enough = watch.wait_for(|seen| {
        seen.pictures.values().any(|picture| picture.frames > 30)
            && seen.sounds.values().any(|sound| sound.samples > 24_000)
    });
    let outcome = tokio::time::timeout(DEADLINE, enough).await;
    assert!(outcome.is_ok(), "{} frames", eyes.frames());
    drop(outcome);
    two.close().await;
    one.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_and_opus_of_a_webrtcbin_are_seen_and_heard_by_another() {
    seen_through_the_plane(Codec::Vp8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_of_a_webrtcbin_is_seen_by_another() {
    seen_through_the_plane(Codec::H264).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp9_of_a_webrtcbin_is_seen_by_another() {
    seen_through_the_plane(Codec::Vp9).await;
}

#[cfg(feature = "rtp-plugin")]
#[tokio::test(flavor = "multi_thread")]
async fn av1_of_a_webrtcbin_is_seen_by_another() {
    seen_through_the_plane(Codec::Av1).await;
}

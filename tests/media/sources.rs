//! When sources run, and what they survive.

use std::time::Duration;

use switchboard::media::{
    Activity, Codec, Kind, MediaError, PipelineFile, SessionConfig, Source, SourceOptions,
};

use crate::pair::{DEADLINE, Pair};
use crate::{grey, source, tone, video};

pub(crate) async fn becomes(source: &Source, wanted: Activity) {
    let mut activity = source.activity();
    tokio::time::timeout(DEADLINE, activity.wait_for(|activity| *activity == wanted))
        .await
        .unwrap_or_else(|_| panic!("the source does not become {wanted:?}"))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_runs_only_while_somebody_watches() {
    let source = grey(120).await;
    assert_eq!(*source.activity().borrow(), Activity::Idle);
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    assert_eq!(*source.activity().borrow(), Activity::Idle);
    pair.device_offers().await;
    pair.until("the picture", |pair| pair.eyes.frames() > 0)
        .await;
    assert_eq!(*source.activity().borrow(), Activity::Running);
    pair.close().await;
    assert_eq!(*source.activity().borrow(), Activity::Running, "it lingers");
    becomes(&source, Activity::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_what_it_has() {
    let (grey, tone) = (grey(120).await, tone().await);
    assert_eq!(grey.video_size(), Some((320, 240)));
    assert!(grey.has_video() && !grey.has_audio());
    assert!(tone.has_video() && tone.has_audio());
    assert_eq!(tone.codecs(Kind::Audio), [Codec::Opus]);
    assert_eq!(tone.codecs(Kind::Video).first(), Some(&Codec::Vp8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_ends_starts_again_and_the_picture_goes_on() {
    let source = source(
        "title='short'\npipeline='''videotestsrc is-live=true num-buffers=20 \
         ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video'''",
        Duration::from_secs(1),
    )
    .await;
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    pair.device_offers().await;
    pair.until("more frames than one run has", |pair| {
        pair.eyes.frames() > 30
    })
    .await;
    pair.close().await;
    becomes(&source, Activity::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gives_nothing_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.toml");
    let open = async |pipeline: &str| {
        std::fs::write(
            &path,
            format!("title='t'\noverlay=['touch']\npipeline='''{pipeline}'''"),
        )
        .unwrap();
        let file = PipelineFile::find(path.to_str().unwrap(), &[]).unwrap();
        Source::open(file, SourceOptions::default())
            .await
            .unwrap_err()
    };
    let error = open("v4l2src device=/dev/nothing ! appsink name=video").await;
    assert!(
        matches!(error, MediaError::Run(_)) && error.to_string().contains("/dev/nothing"),
        "{error}"
    );
    let error = open("videotestsrc ! video/x-raw,format=RGB ! appsink name=video").await;
    assert!(matches!(error, MediaError::OverlayFormat(_)), "{error}");
    let error = open("videotestsrc ! jpegenc ! appsink name=video").await;
    assert!(
        matches!(
            error,
            MediaError::UnsupportedMedia {
                output: "video",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_media_is_passed_on_and_files_are_played_in_a_loop() {
    let directory = tempfile::tempdir().unwrap();
    let film = directory.path().join("film.webm");
    record(&film);
    let decoded = PipelineFile::find(
        "file",
        &[("uri".into(), format!("file://{}", film.display()))],
    )
    .unwrap();
    let passed = format!(
        "title='pass'\nloop=true\npipeline='''filesrc location={} ! matroskademux name=d \
         d.video_0 ! queue ! appsink name=video'''",
        film.display()
    );
    let passed = source(&passed, Duration::from_secs(1)).await;
    assert_eq!(passed.codecs(Kind::Video), [Codec::Vp8]);
    let decoded = Source::open(
        decoded,
        SourceOptions {
            linger: Duration::from_secs(1),
            ..SourceOptions::default()
        },
    )
    .await
    .unwrap();
    assert!(decoded.has_video() && !decoded.has_audio());
    for source in [passed, decoded] {
        let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
        pair.device_offers().await;
        // The film has 30 frames.
        pair.until("two rounds and a bit", |pair| pair.eyes.frames() > 70)
            .await;
        pair.close().await;
    }
}

/// Makes a film of one second.
fn record(path: &std::path::Path) {
    use gstreamer::prelude::*;
    switchboard::media::init().unwrap();
    let text = format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc deadline=1 keyframe-max-dist=10 ! webmmux ! filesink location={}",
        path.display()
    );
    let pipeline = gstreamer::parse::launch(&text).unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = bus.timed_pop_filtered(
        gstreamer::ClockTime::from_seconds(20),
        &[gstreamer::MessageType::Eos, gstreamer::MessageType::Error],
    );
    assert_eq!(
        end.map(|message| message.type_()),
        Some(gstreamer::MessageType::Eos)
    );
    pipeline.set_state(gstreamer::State::Null).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touch_is_seen_and_the_clock_can_be_read() {
    let file = PipelineFile::find("test-clock", &[("pattern".into(), "black".into())]).unwrap();
    let source = Source::open(
        file,
        SourceOptions {
            linger: Duration::from_secs(1),
            ..SourceOptions::default()
        },
    )
    .await
    .unwrap();
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    pair.device_offers().await;
    source.touch(300, 200, true);
    pair.until("the mark", |pair| {
        pair.eyes
            .seen()
            .pictures
            .values()
            .any(|picture| picture.luma[picture.width * 200 + 300] > 200)
    })
    .await;
    let picture = pair.eyes.seen().pictures.into_values().next().unwrap();
    let painted = (0..24).fold(0_u64, |sum, bit| {
        sum << 1 | u64::from(picture.luma[picture.width * 8 + bit * 16 + 8] > 128)
    });
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let age = (now & 0xff_ffff).wrapping_sub(painted) & 0xff_ffff;
    assert!(age < 20_000, "the clock is {age} ms old");
    pair.close().await;
}

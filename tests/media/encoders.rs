//! What encodes, what happens when it fails, and what is said when the two sides can't agree.

use std::path::Path;
use std::time::Duration;

use switchboard::media::{
    Codec, EncoderChoice, Kind, MediaError, PipelineFile, Session, SessionConfig, Source,
    SourceOptions, try_in_children,
};

use crate::pair::Pair;
use crate::{grey, source, video};

const PICTURES: &str = "videotestsrc is-live=true \
    ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video";

/// A pipeline file with an encoder of its own.
fn with_encoder(codec: &str, launch: &str) -> String {
    format!(
        "title='own'\npipeline='''{PICTURES}'''\n[encoder.{codec}]\nlaunch='''{launch}'''\n\
         bitrate_property='target-bitrate'\nbitrate_unit='bps'"
    )
}

async fn open(text: &str, options: SourceOptions) -> Result<std::sync::Arc<Source>, MediaError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source.toml");
    std::fs::write(&path, text).unwrap();
    let file = PipelineFile::find(path.to_str().unwrap(), &[])?;
    Source::open(file, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_fails_while_it_plays_is_replaced_and_the_session_goes_on() {
    let own = "identity error-after=40 ! videoconvert ! vp8enc name=enc deadline=1 cpu-used=-6";
    let source = source(&with_encoder("VP8", own), Duration::from_secs(1)).await;
    let mut pair = Pair::start(video(&source, Codec::Vp8), SessionConfig::default()).await;
    pair.device_offers().await;
    pair.until("more pictures than the first encoder takes", |pair| {
        pair.eyes.frames() > 80
    })
    .await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_hangs_or_fails_at_its_trial_is_passed_over() {
    try_in_children(env!("CARGO_BIN_EXE_switchboard").into());
    for (codec, launch) in [
        (Codec::H264, "videoconvert ! avenc_h264_omx name=enc"),
        (
            Codec::Vp8,
            "videoconvert ! identity sleep-time=60000000 ! vp8enc name=enc",
        ),
    ] {
        let source = source(&with_encoder(codec.name(), launch), Duration::from_secs(1)).await;
        assert!(source.codecs(Kind::Video).contains(&codec), "{codec:?}");
        let mut pair = Pair::start(video(&source, codec), SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until("pictures", |pair| pair.eyes.frames() > 10).await;
        pair.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_chooses_codecs_and_the_encoder() {
    let text = format!("title='t'\npipeline='''{PICTURES}'''");
    let options = SourceOptions {
        codecs: vec![Codec::H264, Codec::Vp8],
        encoder: EncoderChoice::Software,
        ..SourceOptions::default()
    };
    let chosen = open(&text, options).await.unwrap();
    assert_eq!(chosen.codecs(Kind::Video), [Codec::H264, Codec::Vp8]);
    let options = SourceOptions {
        encoder: "openh264enc".parse().unwrap(),
        ..SourceOptions::default()
    };
    let named = open(&text, options).await.unwrap();
    assert_eq!(named.codecs(Kind::Video).first(), Some(&Codec::H264));
    let options = SourceOptions {
        encoder: "v4l2h264enc".parse().unwrap(),
        ..SourceOptions::default()
    };
    let error = open(&text, options).await.unwrap_err().to_string();
    assert!(error.contains("gstreamer1.0-plugins-good"), "{error}");
    let nameless = with_encoder("VP8", "vp8enc");
    let error = open(&nameless, SourceOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("name=enc"), "{error}");
}

/// What a device that sends H264 says to a viewer's offer, changed before it arrives.
async fn answered(change: impl Fn(String) -> String) -> MediaError {
    let source = grey(120).await;
    let wanted = SessionConfig {
        wanted: vec![Codec::H264],
        ..SessionConfig::default()
    };
    let (mut device, _events) = Session::start(video(&source, Codec::H264)).await.unwrap();
    let (mut viewer, _others) = Session::start(wanted).await.unwrap();
    let offer = change(viewer.offer().await.unwrap());
    let error = device.answer(&offer).await.unwrap_err();
    device.close().await;
    viewer.close().await;
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_differs_is_told_from_a_codec_that_is_absent() {
    let error = answered(|offer| offer.replace("42e01f", "640032")).await;
    let error = error.to_string();
    assert!(error.contains("H264 only as "), "{error}");
    assert!(error.contains("profile-level-id=640032"), "{error}");
    assert!(error.contains("constrained baseline"), "{error}");
    let error = answered(|offer| offer.replace("H264/", "H265/")).await;
    assert_eq!(
        error.to_string(),
        "no common video codec: we can send H264, the other side takes H265"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_no_codec_of_ours_says_which_others_we_have() {
    let source = grey(120).await;
    let mut device = video(&source, Codec::Vp8);
    device.streams[0].codecs.push(Codec::H264);
    let (mut device, _events) = Session::start(device).await.unwrap();
    let viewer = SessionConfig::default();
    let (mut viewer, _others) = Session::start(viewer).await.unwrap();
    let offer = device.offer().await.unwrap();
    let answer = viewer.answer(&offer).await.unwrap();
    let answer = answer.replace("m=video 9", "m=video 0");
    let error = device.accept_answer(&answer).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the other side refuses our video: we offered VP8, it takes nothing; \
         we could send H264: see --codec"
    );
    device.close().await;
    viewer.close().await;
}

/// Films two seconds of H.264 in this profile.
fn film(path: &Path, encoder: &str) {
    let text = format!(
        "gst-launch-1.0 -q videotestsrc num-buffers=60 pattern=ball \
         ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! x264enc {encoder} \
         ! video/x-h264,profile=main ! h264parse ! mp4mux ! filesink location={}",
        path.display()
    );
    let mut words = text.split_whitespace();
    let mut command = std::process::Command::new(words.next().unwrap());
    assert!(command.args(words).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_of_media_that_comes_encoded_are_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    for (encoder, good) in [("bframes=2 b-adapt=false", false), ("bframes=0", true)] {
        let path = directory.path().join(format!("{good}.mp4"));
        film(&path, encoder);
        let text = format!(
            "title='pass'\nloop=true\npipeline='''filesrc location={} ! qtdemux \
             ! h264parse config-interval=-1 ! appsink name=video'''",
            path.display()
        );
        match open(&text, SourceOptions::default()).await {
            Ok(source) => {
                assert!(good, "B-frames are taken");
                assert_eq!(source.codecs(Kind::Video), [Codec::H264]);
            }
            Err(error) => {
                assert!(!good, "{error}");
                assert!(matches!(error, MediaError::BFrames { .. }), "{error}");
            }
        }
    }
}

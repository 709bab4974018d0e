//! Cameras and applications whose pictures are passed on: the first picture, and what happens when
//! they go away.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use switchboard::media::{
    Activity, Codec, Kind, PipelineFile, SessionConfig, SessionEvent, Source, SourceOptions,
};

use crate::cameras::{Rtsp, Sender, UdpPort, age, clock_in, unix_millis};
use crate::pair::Pair;
use crate::sources::becomes;
use crate::{source, stream, video};

async fn open(name: &str, variables: &[(&str, String)]) -> Result<Arc<Source>, String> {
    let variables: Vec<_> = variables
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    let file = PipelineFile::find(name, &variables).unwrap();
    let linger = Duration::from_secs(1);
    let opened = Source::open(
        file,
        SourceOptions {
            linger,
            ..SourceOptions::default()
        },
    )
    .await;
    opened.map_err(|error| error.to_string())
}

async fn watch(source: &Arc<Source>) -> Pair {
    let mut pair = Pair::start(video(source, Codec::H264), SessionConfig::default()).await;
    pair.device_offers().await;
    pair
}

/// The clock of the last picture.
fn clock(pair: &Pair) -> Option<u64> {
    let picture = pair.eyes.seen().pictures.into_values().next()?;
    Some(clock_in(&picture.luma, picture.width))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_viewer_sees_what_was_kept_and_soon_what_the_others_see() {
    let sender = Sender::start(150);
    let source = open("rtp", &[("port", sender.port.number.to_string())])
        .await
        .unwrap();
    let mut first = watch(&source).await;
    first
        .until("the first viewer's picture", |pair| clock(pair).is_some())
        .await;
    let mut from_the_past = 0;
    for _ in 0..4 {
        let joined = unix_millis();
        let mut pair = watch(&source).await;
        let clocks = RefCell::new(Vec::new());
        pair.until("two seconds of pictures", |pair| {
            let mut clocks = clocks.borrow_mut();
            if let Some(clock) = clock(pair)
                && clocks.last() != Some(&clock)
            {
                clocks.push(clock);
            }
            clocks.last().is_some_and(|&last| last > joined + 2500)
        })
        .await;
        let clocks = clocks.into_inner();
        assert!(clocks.is_sorted(), "{clocks:?}");
        // Unless a key frame came just then, its first picture was taken before it joined.
        from_the_past += usize::from(clocks[0] < joined);
        let (ours, theirs) = (age(clock(&pair).unwrap()), age(clock(&first).unwrap()));
        assert!(
            ours < theirs + 250,
            "{ours} ms, the first viewer {theirs} ms"
        );
        pair.close().await;
    }
    assert!(from_the_past >= 3, "{from_the_past} of 4");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_goes_away_is_called_again_and_its_viewers_stay() {
    let camera = Rtsp::start().await;
    let (port, url) = (camera.port, camera.url());
    let source = open("rtsp", &[("url", url)]).await.unwrap();
    assert_eq!(source.codecs(Kind::Video), [Codec::H264]);
    assert_eq!(source.codecs(Kind::Audio), [Codec::Opus]);
    let mut pair = watch(&source).await;
    pair.until("the picture", |pair| pair.eyes.frames() > 5)
        .await;
    drop(camera);
    becomes(&source, Activity::Restarting).await;
    let _camera = Rtsp::at(port, &[]).await;
    becomes(&source, Activity::Running).await;
    let before = pair.eyes.frames();
    pair.until("the picture again", |pair| pair.eyes.frames() > before + 30)
        .await;
    let told = &pair.told_device;
    let lost = |event: &SessionEvent| {
        matches!(
            event,
            SessionEvent::Failed { .. } | SessionEvent::Disconnected
        )
    };
    assert!(!told.iter().any(lost), "{told:?}");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gives_nothing_any_more_is_started_again() {
    let sender = Sender::start(30);
    let rtp = "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264";
    let text = format!(
        "title='t'\nstall=1\npipeline='''udpsrc address=127.0.0.1 port={} caps={rtp} \
         ! rtph264depay ! h264parse ! appsink name=video'''",
        sender.port.number
    );
    let source = source(&text, Duration::from_secs(1)).await;
    let mut pair = watch(&source).await;
    pair.until("the picture", |pair| pair.eyes.frames() > 5)
        .await;
    sender.send(false);
    becomes(&source, Activity::Restarting).await;
    sender.send(true);
    let before = pair.eyes.frames();
    pair.until("the picture again", |pair| pair.eyes.frames() > before + 30)
        .await;
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_camera_from_playing_is_said() {
    let account = ["user", "pass@word"];
    let camera = Rtsp::at(0, &account).await;
    let url = camera.url();
    let open = async |url: &str, user: &str, password: &str| {
        let variables = [("url", url), ("user", user), ("password", password)];
        open(
            "rtsp",
            &variables.map(|(key, value)| (key, value.to_owned())),
        )
        .await
    };
    assert!(open(&url, account[0], account[1]).await.is_ok());
    let in_url = url.replace("//", "//user:pass%40word@");
    assert!(open(&in_url, "", "").await.is_ok());

    let nowhere = url.replace("/camera", "/other");
    // Over TCP nobody is there.
    let port = UdpPort::keep();
    let nobody = format!("rtsp://127.0.0.1:{}/camera", port.number);
    for (url, password, said) in [
        (&url, "wrong", "user name or the password is wrong"),
        (&url, "", "user name or the password is wrong"),
        (&nowhere, account[1], "no stream at this path"),
        (&nobody, account[1], "nothing answers at the URL's address"),
    ] {
        let error = open(url, account[0], password).await.unwrap_err();
        assert!(error.contains(said), "{error}");
        assert!(error.contains("check: "), "{error}");
        assert!(!error.contains("pass@word"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_in_the_head_of_the_rtp_pipeline_works_as_it_is_written() {
    let head = std::fs::read_to_string("pipelines/rtp.toml").unwrap();
    let (_, command) = head.split_once("#   gst-launch-1.0 ").unwrap();
    let (command, _) = command.split_once("#   switchboard").unwrap();
    let kept = [UdpPort::keep(), UdpPort::keep()];
    let [port, audio_port] = kept.each_ref().map(|port| port.number);
    let text = command.replace("\\\n#", "");
    let text = text.replace("port=5004", &format!("port={port}"));
    let text = text.replace("port=5006", &format!("port={audio_port}"));
    let application = gstreamer_pipeline(&text);
    let ports = [("port", port), ("audio_port", audio_port)];
    let source = open("rtp", &ports.map(|(key, port)| (key, port.to_string())))
        .await
        .unwrap();
    let config = SessionConfig {
        streams: vec![
            stream(&source, Kind::Video, "display_0"),
            stream(&source, Kind::Audio, "sound"),
        ],
        ..SessionConfig::default()
    };
    let mut pair = Pair::start(config, SessionConfig::default()).await;
    pair.device_offers().await;
    pair.until("pictures and a tick", |pair| {
        let seen = pair.eyes.seen();
        let size = |(width, height)| {
            let mut pictures = seen.pictures.values();
            pictures.any(|picture| (picture.width, picture.height) == (width, height))
        };
        size((640, 480)) && seen.sounds.values().any(|sound| sound.peak > 10_000)
    })
    .await;
    pair.close().await;
    drop(application);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_codecs_are_taken_as_rtp_too() {
    for (name, codec, encoder) in [
        ("VP8", Codec::Vp8, "vp8enc deadline=1 ! rtpvp8pay"),
        (
            "VP9",
            Codec::Vp9,
            "vp9enc deadline=1 cpu-used=8 ! rtpvp9pay",
        ),
    ] {
        let kept = UdpPort::keep();
        let port = kept.number;
        let application = gstreamer_pipeline(&format!(
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
             ! {encoder} ! udpsink host=127.0.0.1 port={port}"
        ));
        let variables = [("port", port.to_string()), ("codec", name.to_owned())];
        let source = open("rtp", &variables).await.unwrap();
        assert_eq!(source.codecs(Kind::Video), [codec]);
        let mut pair = Pair::start(video(&source, codec), SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until(name, |pair| pair.eyes.frames() > 10).await;
        pair.close().await;
        drop(application);
    }
}

/// A pipeline that plays until it is dropped.
struct Application(gstreamer::Element);

fn gstreamer_pipeline(text: &str) -> Application {
    use gstreamer::prelude::*;
    switchboard::media::init().unwrap();
    let pipeline = gstreamer::parse::launch(text).unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    Application(pipeline)
}

impl Drop for Application {
    fn drop(&mut self) {
        use gstreamer::prelude::*;
        let _ = self.0.set_state(gstreamer::State::Null);
    }
}

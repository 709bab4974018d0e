//! Sessions with real media: a device and a viewer in one process, over real ICE, DTLS and SRTP.
#![cfg(feature = "peer")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/badlink.rs"]
mod badlink;
#[path = "../common/cameras.rs"]
mod cameras;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/viewer.rs"]
mod viewer;

mod channels;
mod churn;
mod congestion;
mod encoders;
mod judged;
mod latency;
mod pair;
mod passing;
mod pictures;
mod sources;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use switchboard::media::{
    Codec, Kind, PipelineFile, SessionConfig, Source, SourceOptions, StreamConfig,
};

/// A source from a pipeline text.
async fn source(text: &str, linger: Duration) -> Arc<Source> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source.toml");
    std::fs::write(&path, text).unwrap();
    let file = PipelineFile::find(path.to_str().unwrap(), &[]).unwrap();
    Source::open(
        file,
        SourceOptions {
            linger,
            // More than what is sent without being asked for.
            codecs: Codec::ALL.to_vec(),
            ..SourceOptions::default()
        },
    )
    .await
    .unwrap()
}

/// Marked pictures and sound of the source of this number.
async fn marked(number: u8) -> Arc<Source> {
    let variables = [
        ("source", number.to_string()),
        ("width", "320".into()),
        ("height", "240".into()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let file = PipelineFile::find("probe", &variables).unwrap();
    let options = SourceOptions {
        linger: Duration::from_secs(1),
        ..SourceOptions::default()
    };
    Source::open(file, options).await.unwrap()
}

/// A flat grey picture of a known brightness, and nothing else.
async fn grey(luma: u8) -> Arc<Source> {
    let colour = 0xff00_0000_u32 | (u32::from(luma) * 0x01_0101);
    source(
        &format!(
            "title='grey'\npipeline='''videotestsrc is-live=true pattern=solid-color foreground-color={colour} \
             ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video'''"
        ),
        Duration::from_secs(1),
    )
    .await
}

/// The test pattern with sound.
async fn tone() -> Arc<Source> {
    source(
        "title='tone'\npipeline='''\
         videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video \
         audiotestsrc is-live=true wave=sine freq=1000 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 ! appsink name=audio'''",
        Duration::from_secs(1),
    )
    .await
}

fn stream(source: &Arc<Source>, kind: Kind, stream_id: &str) -> StreamConfig {
    StreamConfig {
        source: source.clone(),
        stream_id: stream_id.to_owned(),
        kind,
        codecs: Vec::new(),
    }
}

fn video(source: &Arc<Source>, codec: Codec) -> SessionConfig {
    let stream = StreamConfig {
        codecs: vec![codec],
        ..stream(source, Kind::Video, "display_0")
    };
    SessionConfig {
        streams: vec![stream],
        ..SessionConfig::default()
    }
}

//! Pipelines that play to a page.

use serde_json::{Value, json};
use switchboard::media::{Kind, PipelineFile, Source, SourceOptions, StreamConfig};

use super::page::{Offer, Page, channel};
use super::site::Site;
use super::{PATIENCE, gecko, server};

fn media() -> Offer {
    Offer {
        watches: true,
        channels: &[],
        ..channel()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_plays_on_the_media_lines_of_the_offer() {
    let server = server().await;
    let _gecko = gecko(&server, &[]).await;
    let mut page = Page::start(server.address(), "pipeline:test", media()).await;
    page.answered().await;
    page.connected().await;
    let mut seen = page.eyes.watch();
    let plays = seen.wait_for(|seen| {
        let sees = seen.pictures.values().any(|it| it.frames > 30);
        sees && seen.sounds.values().any(|it| it.peak > 1000)
    });
    let plays = tokio::time::timeout(PATIENCE, plays).await;
    assert!(matches!(plays, Ok(Ok(_))), "no pictures and sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_played_says_so() {
    let server = server().await;
    let gecko = gecko(&server, &[]).await;
    for source in ["pipeline:camera", "pipeline:../x", "pipeline:"] {
        let mut page = Page::start(server.address(), source, media()).await;
        let (errno, reason) = page.refused().await;
        assert!(errno == 201 && reason.contains("it has test"), "{reason}");
    }
    let mut page = Page::start(server.address(), "pipeline:test", channel()).await;
    let (errno, reason) = page.refused().await;
    assert!(errno == 400 && reason.contains("media lines"), "{reason}");
    let mut page = Page::offering(server.address(), "pipeline:test", "nonsense").await;
    assert_eq!(page.refused().await.0, 400);
    gecko.logged("worker ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sees_and_steers_what_plays() {
    let script = "onmessage = async ({ data }) => { if (data) self.media.play(data); else self.media.stop(); }; \
        const tell = (type) => postMessage([type, self.media.playing, self.media.lines.length]); \
        self.media.addEventListener('change', () => tell('change')); self.media.addEventListener('error', () => tell('error')); tell('start');";
    let site = Site::scripts(&[("/w.js", script)]).await;
    let server = server().await;
    let arguments = [
        "--allow-origin",
        &site.origin,
        "--pipeline",
        "test pattern=black",
        "--pipeline",
        "test-clock",
    ];
    let _gecko = gecko(&server, &arguments).await;
    let offer = Offer {
        watches: true,
        ..channel()
    };
    let mut page = Page::open(server.address(), &site.url("/w.js"), offer).await;
    assert_eq!(page.json().await, json!(["start", "test", 2]));
    let frames = async |page: &Page, bright: bool| {
        let before = page.eyes.frames();
        let mut seen = page.eyes.watch();
        let plays = seen.wait_for(|seen| {
            seen.pictures.values().any(|it| {
                it.frames > before + 10 && bright == it.luma.iter().any(|luma| *luma > 128)
            })
        });
        let plays = tokio::time::timeout(PATIENCE, plays).await;
        assert!(
            matches!(plays, Ok(Ok(_))),
            "no picture that is bright: {bright}"
        );
    };
    frames(&page, false).await;
    page.session.send_text("worker", "\"test-clock\"").unwrap();
    assert_eq!(page.json().await, json!(["change", "test-clock", 2]));
    frames(&page, true).await;
    page.session.send_text("worker", "null").unwrap();
    assert_eq!(page.json().await, json!(["change", null, 2]));
    page.session.send_text("worker", "\"camera\"").unwrap();
    assert_eq!(page.json().await, json!(["error", null, 2]));
    page.session.send_text("worker", "\"test\"").unwrap();
    assert_eq!(page.json().await, json!(["change", "test", 2]));
    frames(&page, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_is_recorded_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let server = server().await;
    let mut gecko = gecko(&server, &["--receive", directory.path().to_str().unwrap()]).await;
    let file = PipelineFile::find("test", &[]).unwrap();
    let source = Source::open(file, SourceOptions::default()).await.unwrap();
    let stream = |kind| StreamConfig {
        source: source.clone(),
        stream_id: "page".to_owned(),
        kind,
        codecs: Vec::new(),
    };
    let offer = Offer {
        streams: vec![stream(Kind::Video), stream(Kind::Audio)],
        ..channel()
    };
    let mut page = Page::start(server.address(), "pipeline:test", offer).await;
    page.answered().await;
    page.connected().await;
    gecko.logged("media comes").await;
    let frames = page.eyes.frames();
    let mut seen = page.eyes.watch();
    let plays = seen.wait_for(|seen| seen.pictures.values().any(|it| it.frames > frames + 30));
    tokio::time::timeout(PATIENCE, plays)
        .await
        .unwrap()
        .unwrap();
    let worker = page.worker.clone();
    page.close().await;
    let path = gecko
        .line("file", |line| {
            let line: Value = serde_json::from_str(line).unwrap();
            Some(line["file"]["path"].as_str()?.to_owned())
        })
        .await;
    assert!(path.ends_with(&format!("{worker}.webm")), "{path}");
    assert!(std::fs::metadata(&path).unwrap().len() > 10_000);
}

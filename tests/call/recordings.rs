//! Files that `--receive` writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::call;
use crate::file::{Played, play, watch};
use crate::peers::{result, server};
use crate::process::Process;

/// How long the recorded calls last.
const LENGTH: Duration = Duration::from_secs(3);

/// Two peers call each other for three seconds and record each other into files of these names; the
/// caller is ended by this signal. What was in the callee's and the caller's file.
async fn recorded(send: [&str; 2], names: [&str; 2], signal: Signal) -> [Played; 2] {
    let directory = tempfile::tempdir().unwrap();
    let paths = names.map(|name| directory.path().join(name));
    let (_server, address) = server("127.0.0.1:0").await;
    let [first, second] = paths.each_ref().map(|path| path.to_str().unwrap());
    let arguments = ["--id", "7", "--send", send[0], "--receive", first];
    let mut callee = call(&address, &arguments);
    callee.logged("registered").await;
    let arguments = ["--peer", "7", "--send", send[1], "--receive", second];
    let mut caller = call(&address, &arguments);
    callee.logged("recording").await;
    caller.logged("recording").await;
    sleep(LENGTH).await;
    assert_eq!(caller.end(signal).await.code(), Some(0));
    assert_eq!(callee.exit().await.code(), Some(0));
    check_file(&mut caller, second).await;
    check_file(&mut callee, first).await;
    let [first, second] = paths.map(played);
    [first.await, second.await]
}

/// The process says which file it wrote, and how long it is.
async fn check_file(process: &mut Process, path: &str) {
    let (file, _) = result(process, "file").await;
    assert_eq!(file["path"], path);
    let seconds = file["seconds"].as_f64().unwrap();
    assert!((2.5..8.0).contains(&seconds), "{file}");
}

async fn played(path: PathBuf) -> Played {
    tokio::task::spawn_blocking(move || play(&path))
        .await
        .unwrap()
}

/// About three seconds at 30 frames a second, on a machine that may be busy.
fn check(played: &Played, bright: bool) {
    assert!((50..240).contains(&played.frames), "{played:?}");
    assert!((2.5..8.0).contains(&played.last), "{played:?}");
    assert!((played.duration - played.last).abs() < 0.5, "{played:?}");
    assert_eq!(played.luma > 200, bright, "{played:?}");
    assert_eq!(played.luma < 40, !bright, "{played:?}");
    let heard = played.samples / 48;
    assert!((2300..8000).contains(&heard), "{played:?}");
    let hertz = played.waves * 48_000 / played.samples;
    assert!((380..480).contains(&hertz), "{played:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webm_takes_vp8_as_it_comes_and_mp4_gets_it_as_h264() {
    let send = [
        "test pattern=white wave=sine",
        "test pattern=black wave=sine",
    ];
    let [callee, caller] = recorded(send, ["a.webm", "b.mp4"], Signal::TERM).await;
    check(&callee, false);
    check(&caller, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn mp4_takes_h264_as_it_comes_and_webm_gets_it_as_vp8() {
    let directory = tempfile::tempdir().unwrap();
    let [white, black] = ["white", "black"].map(|it| sent_as("H264", directory.path(), it));
    let send = [white.to_str().unwrap(), black.to_str().unwrap()];
    let [callee, caller] = recorded(send, ["a.mp4", "b.webm"], Signal::INT).await;
    check(&callee, false);
    check(&caller, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_alone_make_a_file_too_and_no_file_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.mkv");
    std::fs::write(&path, "dear").unwrap();
    let silent = directory.path().join("silent.toml");
    let text = "title='x'\npipeline='''videotestsrc is-live=true pattern=white \
        ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video'''";
    std::fs::write(&silent, text).unwrap();
    let (_server, address) = server("127.0.0.1:0").await;
    let callee = call(&address, &["--id", "7", "--send", silent.to_str().unwrap()]);
    callee.logged("registered").await;
    let arguments = [
        "--peer",
        "7",
        "--send",
        "none",
        "--receive",
        path.to_str().unwrap(),
    ];
    let mut caller = call(&address, &arguments);
    caller.logged("recording").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(caller.end(Signal::TERM).await.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear");
    let path = directory.path().join("x-2.mkv");
    let played = tokio::task::spawn_blocking(move || watch(&path));
    let played = played.await.unwrap();
    // What came while the file waited for sound is in it.
    assert!(played.frames > 50 && played.luma > 200, "{played:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vp9_is_recorded_into_mp4_and_webm() {
    both_record("VP9").await;
}

#[cfg(feature = "rtp-plugin")]
#[tokio::test(flavor = "multi_thread")]
async fn av1_is_recorded_into_mp4_and_webm() {
    both_record("AV1").await;
}

async fn both_record(codec: &str) {
    let directory = tempfile::tempdir().unwrap();
    let [white, black] = ["white", "black"].map(|it| sent_as(codec, directory.path(), it));
    let send = [white.to_str().unwrap(), black.to_str().unwrap()];
    let [callee, caller] = recorded(send, ["a.mp4", "b.webm"], Signal::TERM).await;
    // Not as many as of others: these encoders are slow, and AV1 waits for a key frame.
    assert!(callee.frames > 30 && callee.luma < 40, "{callee:?}");
    assert!(caller.frames > 30 && caller.luma > 200, "{caller:?}");
}

/// A pipeline file that is sent in one codec only.
fn sent_as(codec: &str, directory: &Path, pattern: &str) -> PathBuf {
    let path = directory.join(format!("{pattern}.toml"));
    let text = format!(
        "title='x'\ncodecs=['{codec}']\npipeline='''videotestsrc is-live=true pattern={pattern} \
         ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! appsink name=video \
         audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 \
         ! appsink name=audio'''"
    );
    std::fs::write(&path, text).unwrap();
    path
}

//! What participants see and hear of each other.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::file::{Played, play};
use crate::peers::{receives, result, server};
use crate::process::{PATIENCE, Process};
use crate::{SMALL, join, start};

/// How long recordings last at least.
const LENGTH: Duration = Duration::from_secs(2);

/// The brightness and the tone of each of four participants.
const FOUR: [(&str, u8, u64); 4] = [
    ("a_b", 40, 300),
    ("b", 90, 500),
    ("c/../c", 150, 800),
    ("d", 220, 1200),
];

/// A flat picture of this brightness, and a tone of this frequency.
fn pipeline(directory: &Path, name: &str, luma: u8, hertz: u64) -> PathBuf {
    let colour = 0xff00_0000_u32 | (u32::from(luma) * 0x01_0101);
    let text = format!(
        "title='flat'\npipeline='''videotestsrc is-live=true pattern=solid-color foreground-color={colour} \
         ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 ! appsink name=video \
         audiotestsrc is-live=true wave=sine freq={hertz} samplesperbuffer=480 \
         ! audio/x-raw,rate=48000,channels=2 ! appsink name=audio'''"
    );
    let path = directory.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits until so many lines of the log have this text.
async fn logged(process: &Process, text: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while process.log().matches(text).count() < times {
        assert!(
            Instant::now() < deadline,
            "{text:?} is not logged {times} times"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The files that a process has finished, by their publisher.
async fn files(process: &mut Process, count: usize) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    while files.len() < count {
        let (file, peer) = result(process, "file").await;
        assert!(file["seconds"].as_f64().unwrap() > 0.5, "{file}");
        files.push((peer, PathBuf::from(file["path"].as_str().unwrap())));
    }
    files
}

fn check(played: &Played, luma: u8, hertz: u64, what: &str) {
    // Studio range.
    let expected = 16 + u64::from(luma) * 219 / 255;
    assert!(
        u64::from(played.luma).abs_diff(expected) < 8,
        "{what}: {played:?}"
    );
    assert!(played.frames > 5, "{what}: {played:?}");
    let heard = played.waves * 48_000 / played.samples.max(1);
    assert!(
        heard.abs_diff(hertz) < hertz / 6,
        "{what}: {heard} Hz, {played:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn four_record_each_other_each_with_its_own_picture_and_tone() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = server("127.0.0.1:0").await;
    let mut four = Vec::new();
    for (at, (user, luma, hertz)) in FOUR.into_iter().enumerate() {
        let name = at.to_string();
        let file = pipeline(directory.path(), &name, luma, hertz);
        let to = directory.path().join(&name);
        let arguments = [
            "--publish",
            file.to_str().unwrap(),
            "--receive",
            to.to_str().unwrap(),
        ];
        four.push(join(&address, user, &arguments).await);
    }
    for process in &four {
        logged(process, "recording file", 3).await;
    }
    tokio::time::sleep(LENGTH).await;
    // Each leaves, and everyone's files of it are complete.
    for (at, mut process) in four.into_iter().enumerate() {
        assert_eq!(process.end(Signal::TERM).await.code(), Some(0));
        let files = files(&mut process, 3).await;
        let own = directory.path().join(at.to_string());
        for (peer, path) in files {
            assert_eq!(path.parent(), Some(own.as_path()), "{path:?}");
            let (_, luma, hertz) = FOUR.into_iter().find(|(user, ..)| *user == peer).unwrap();
            let played = tokio::task::spawn_blocking(move || play(&path))
                .await
                .unwrap();
            check(&played, luma, hertz, &peer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_comes_back_where_that_is_asked_for() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = ["--publish", SMALL, "--receive", "count", "--loopback"];
    let mut one = join(&address, "one", &arguments).await;
    receives(&mut one, &["one"]).await;
    let mut two = join(&address, "two", &arguments).await;
    receives(&mut two, &["one", "two"]).await;
    receives(&mut one, &["one", "two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_takes_any_codec_and_who_comes_later_follows() {
    for codec in ["H264", "VP9"] {
        let (_server, address) = server("127.0.0.1:0").await;
        let arguments = ["--publish", SMALL, "--receive", "count"];
        let first = [&arguments[..], &["--codec", codec]].concat();
        let mut first = join(&address, "first", &first).await;
        first.logged("publishing").await;
        let mut second = join(&address, "second", &arguments).await;
        for (process, other) in [(&mut first, "second"), (&mut second, "first")] {
            receives(process, &[other]).await;
            let (count, _) = result(process, "count").await;
            assert_eq!(count["video"]["codec"], codec, "{count}");
        }
        // Who can't follow is told.
        let third = [&arguments[..], &["--codec", "VP8"]].concat();
        let mut third = start(&address, "third", &third);
        assert_eq!(third.exit().await.code(), Some(1));
        third.logged("--codec chooses ours").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_users_of_one_process_all_receive_each_other() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = ["--users", "5", "--publish", SMALL, "--receive", "count"];
    let mut crowd = start(&address, "u", &arguments);
    let mut met = HashSet::new();
    let all = async {
        while met.len() < 20 {
            let pair = crowd.line("count", |line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let frames = line["count"]["video"]["frames"].as_u64()?;
                let name = |key: &str| line[key].as_str().unwrap().to_owned();
                (frames > 2).then(|| (name("user"), name("peer")))
            });
            let (user, peer) = pair.await;
            assert_ne!(user, peer);
            met.insert((user, peer));
        }
    };
    timeout(3 * PATIENCE, all).await.expect("all pairs in time");
    assert_eq!(crowd.log().matches("joined the room").count(), 5);
    assert_eq!(crowd.end(Signal::INT).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_input_go_to_the_others() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = ["--publish", SMALL, "--channel", "chat", "--receive", "none"];
    let mut one = join(&address, "one", &arguments).await;
    one.logged("channel opened").await;
    let url = format!("ws://{address}");
    let common = ["room", &url, "--user", "two", "--room", "r"];
    let two = Process::with_input(&[&common, &arguments[..]].concat(), "{\"x\":1}\n").await;
    two.logged("channel opened").await;
    let (message, _) = result(&mut one, "message").await;
    assert_eq!(message["x"], 1);
}

//! Rooms of several.

use std::time::Duration;

use async_tungstenite::tokio::accept_async;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::member;
use crate::peers::{receives, result, server};
use crate::process::{PATIENCE, Process};

/// A small picture, because several are encoded and sent at once.
const SMALL: &str = "test width=160 height=120 fps=10 wave=sine";

#[tokio::test(flavor = "multi_thread")]
async fn four_meet_and_one_that_is_killed_disturbs_nobody() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = ["--send", SMALL, "--receive", "count"];
    let ids = ["1", "2", "3", "4"];
    let mut members = Vec::new();
    for id in ids {
        members.push(member(&address, id, &arguments).await);
    }
    for (at, process) in members.iter_mut().enumerate() {
        let others: Vec<_> = ids.into_iter().filter(|id| *id != ids[at]).collect();
        receives(process, &others).await;
    }

    let mut killed = members.remove(1);
    killed.end(Signal::KILL).await;
    for (process, others) in members.iter_mut().zip([["3", "4"], ["1", "4"], ["1", "3"]]) {
        process.logged("left peer=2").await;
        let (total, peer) = result(process, "total").await;
        assert!(total["video"]["frames"].as_u64() > Some(3), "{total}");
        assert_eq!(peer, "2", "{total}");
        receives(process, &others).await;
    }
    // It may come back.
    let mut back = member(&address, "2", &arguments).await;
    receives(&mut back, &["1", "3", "4"]).await;
    for process in &mut members {
        receives(process, &["2"]).await;
        assert_eq!(process.end(Signal::TERM).await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_goes_on_while_the_server_is_away_and_all_meet_again() {
    let (mut first, address) = server("127.0.0.1:0").await;
    let arguments = ["--send", SMALL, "--receive", "count"];
    let mut one = member(&address, "1", &arguments).await;
    let mut two = member(&address, "2", &arguments).await;
    receives(&mut one, &["2"]).await;
    first.end(Signal::KILL).await;
    one.logged("no signaling").await;
    two.logged("no signaling").await;
    receives(&mut one, &["2"]).await;
    receives(&mut two, &["1"]).await;

    let (_second, _) = server(&address).await;
    for process in [&one, &two] {
        let deadline = Instant::now() + PATIENCE;
        while process.log().matches("joined the room").count() < 2 {
            assert!(Instant::now() < deadline, "not back in the room");
            sleep(Duration::from_millis(10)).await;
        }
    }
    let _three = member(&address, "3", &arguments).await;
    receives(&mut one, &["2", "3"]).await;
    receives(&mut two, &["1", "3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_gets_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("files");
    let (_server, address) = server("127.0.0.1:0").await;
    let white = "test width=160 height=120 pattern=white";
    let _one = member(&address, "../1", &["--send", white]).await;
    let black = "test width=160 height=120 pattern=black";
    let mut two = member(&address, "2", &["--send", black]).await;
    let arguments = ["--send", "none", "--receive", path.to_str().unwrap()];
    let mut taker = member(&address, "3", &arguments).await;
    let deadline = Instant::now() + PATIENCE;
    while taker.log().matches("recording file").count() < 2 {
        assert!(Instant::now() < deadline, "not two recordings");
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_secs(2)).await;
    // The file of who leaves is complete at once.
    two.end(Signal::KILL).await;
    let (file, peer) = result(&mut taker, "file").await;
    assert_eq!(peer, "2", "{file}");
    assert_eq!(taker.end(Signal::TERM).await.code(), Some(0));
    for (name, bright) in [("%2E.%2F1.webm", true), ("2.webm", false)] {
        let path = path.join(name);
        let played = tokio::task::spawn_blocking(move || crate::file::play(&path));
        let played = played.await.unwrap();
        assert!(played.frames > 20, "{name}: {played:?}");
        assert_eq!(played.luma > 128, bright, "{name}: {played:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_id_is_told() {
    let (_server, address) = server("127.0.0.1:0").await;
    let _one = member(&address, "1", &["--send", "none"]).await;
    let url = format!("ws://{address}");
    let arguments = ["mesh", &url, "--id", "1", "--room", "r", "--send", "none"];
    let mut other = Process::start(&arguments);
    assert_eq!(other.exit().await.code(), Some(1));
    other.logged("the id 1 is taken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_hello_with_an_error_is_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // What asks for ICE servers is no WebSocket.
            let Ok(mut socket) = accept_async(tcp).await else {
                continue;
            };
            while let Some(Ok(_)) = socket.next().await {
                let _ = socket.send(Message::text("ERROR no more peers")).await;
            }
        }
    });
    let room = ["mesh", &url, "--id", "1", "--room", "r", "--send", "none"];
    let member = Process::start(&room);
    member.logged("the server says: no more peers").await;
}

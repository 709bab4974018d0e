//! What goes wrong, and how it mends.

use rustix::process::Signal;

use crate::peers::{receives, result, server};
use crate::proxy::Proxy;
use crate::{SMALL, join, start};

/// What each of these publishes and does.
const ARGUMENTS: [&str; 4] = ["--publish", SMALL, "--receive", "count"];

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_or_is_killed_disturbs_nobody_and_may_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = server("127.0.0.1:0").await;
    let mut one = join(&address, "1", &ARGUMENTS).await;
    let mut two = join(&address, "2", &ARGUMENTS).await;
    let mut three = join(&address, "3", &ARGUMENTS).await;
    let to = directory.path().to_str().unwrap();
    let mut taker = join(&address, "taker", &["--receive", to]).await;
    receives(&mut one, &["2", "3"]).await;
    taker.logged("2.webm").await;
    taker.logged("3.webm").await;

    // One leaves as it should.
    assert_eq!(two.end(Signal::TERM).await.code(), Some(0));
    one.logged("left peer=\"2\"").await;
    let (total, peer) = result(&mut one, "total").await;
    assert_eq!(peer, "2", "{total}");
    assert!(total["video"]["frames"].as_u64() > Some(3), "{total}");
    let (_, peer) = result(&mut taker, "file").await;
    assert_eq!(peer, "2");

    // One is killed: the server notices, and tells the others.
    three.end(Signal::KILL).await;
    one.logged("left peer=\"3\"").await;
    let (file, peer) = result(&mut taker, "file").await;
    assert_eq!(peer, "3", "{file}");

    // They come back, and publish again.
    let mut two = join(&address, "2", &ARGUMENTS).await;
    let mut three = join(&address, "3", &ARGUMENTS).await;
    receives(&mut one, &["2", "3"]).await;
    receives(&mut two, &["1", "3"]).await;
    receives(&mut three, &["1", "2"]).await;
    assert_eq!(taker.end(Signal::TERM).await.code(), Some(0));
    // Nothing was overwritten.
    assert!(directory.path().join("2-2.webm").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_resumed_and_media_goes_on_meanwhile() {
    let (_server, address) = server("127.0.0.1:0").await;
    let proxy = Proxy::start(&address).await;
    let mut one = join(&proxy.address, "1", &ARGUMENTS).await;
    let mut two = join(&address, "2", &ARGUMENTS).await;
    receives(&mut one, &["2"]).await;
    receives(&mut two, &["1"]).await;

    proxy.cut(false);
    one.logged("no signaling").await;
    receives(&mut one, &["2"]).await;
    receives(&mut two, &["1"]).await;
    proxy.cut(true);
    one.logged("back in the room").await;

    // It hears of who comes now.
    let mut three = join(&address, "3", &ARGUMENTS).await;
    receives(&mut one, &["2", "3"]).await;
    receives(&mut three, &["1", "2"]).await;
    assert_eq!(one.log().matches("joined the room").count(), 1);
    assert!(!two.log().contains("left"));
    assert_eq!(one.end(Signal::TERM).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_meet_again_when_the_server_comes_back() {
    let (mut first, address) = server("127.0.0.1:0").await;
    let mut one = join(&address, "1", &ARGUMENTS).await;
    let mut two = join(&address, "2", &ARGUMENTS).await;
    receives(&mut one, &["2"]).await;
    first.end(Signal::KILL).await;
    one.logged("no signaling").await;
    two.logged("no signaling").await;

    let (_second, _) = server(&address).await;
    receives(&mut one, &["2"]).await;
    receives(&mut two, &["1"]).await;
    assert_eq!(one.log().matches("joined the room").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_why() {
    let (_server, address) = server("127.0.0.1:0").await;
    let _one = join(&address, "1", &[]).await;
    let mut other = start(&address, "1", &[]);
    assert_eq!(other.exit().await.code(), Some(1));
    other.logged("the name 1 is taken in the room r").await;
    let mut wrong = start(&address, "2", &["--loopback", "--receive", "count"]);
    assert_eq!(wrong.exit().await.code(), Some(2));
    wrong.logged("add --publish").await;
}

//! Rooms that the server forwards.

use serde_json::Value;
use tokio::process::Command;

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// Chromium's camera is green: its red goes from none to about this.
const GREEN: u64 = 40;
/// Chromium's microphone beeps every second, much louder than this.
const AUDIBLE: f64 = 0.01;
const ANN: &str = "[data-member=ann] video";
const STATE: &str = "document.querySelector('#player-state').textContent";

/// Lets the page that is open, with whatever a test has changed in it, enter the room as the first.
async fn ann_enters(browser: &Browser) {
    browser
        .run("location.hash = '#room=lobby&name=ann'", vec![])
        .await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
}

/// Two pages in a room, ann's window first; everything goes to bob's.
async fn two_pages(browser: &Browser, url: &str, more: &str) {
    browser
        .open(&format!("{url}#room=lobby&name=ann{more}"))
        .await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    page::sees(browser, &["ann"]).await;
}

#[tokio::test]
async fn two_pages_see_hear_and_write_to_each_other_until_one_leaves() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser.write("#join-room", "lobby").await;
    browser.write("#join-name", "ann").await;
    browser.click("#join-form button").await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    let second = browser.window().await;
    let seen = page::sees(&browser, &["ann"]).await;
    assert!(seen[0] > GREEN, "a page's camera, not {} levels", seen[0]);
    assert!(page::loudness(&browser, ANN, 3_000).await > AUDIBLE);
    browser
        .until("document.querySelector('[data-room=lobby] .row-about')?.textContent === '2 participants: ann, bob'")
        .await;
    browser.write("#chat-text", "hello <b>ann</b>").await;
    browser.click("#chat-send").await;

    browser.switch_to(&first).await;
    page::sees(&browser, &["bob"]).await;
    browser
        .until("document.querySelector('.theirs')?.textContent === 'bobhello <b>ann</b>'")
        .await;
    browser
        .until("document.querySelector('[data-member=bob] .tile-numbers')?.textContent.includes('bit/s')")
        .await;
    page::keep(&browser, "console-room").await;
    browser.click("#hang-up").await;

    browser.switch_to(&second).await;
    page::gone(&browser, "ann").await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    browser
        .until("document.querySelectorAll('.chat-log li').length === 1")
        .await;
}

#[tokio::test]
async fn a_page_stops_sending_and_sends_again() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Phone).await;
    two_pages(&browser, &url, "").await;
    page::fits(&browser).await;
    page::fits_fingers(&browser).await;
    page::keep(&browser, "console-room-phone").await;

    let second = browser.window().await;
    let windows = browser.client().windows().await.expect("there are windows");
    browser.switch_to(&windows[0]).await;
    browser.click("#publish").await;
    browser
        .until("document.querySelector('.self .tile-state')?.textContent === 'Not sent'")
        .await;
    browser.switch_to(&second).await;
    browser
        .until("document.querySelector('[data-member=ann] .tile-cover')?.textContent.includes('Sends nothing')")
        .await;
    browser.switch_to(&windows[0]).await;
    browser.click("#publish").await;
    browser.switch_to(&second).await;
    page::sees(&browser, &["ann"]).await;
}

#[tokio::test]
async fn who_only_watches_is_seen_as_one_who_sends_nothing() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser
        .open(&format!("{url}#room=lobby&name=eve&watch=1"))
        .await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#room=lobby&name=ann"))
        .await;
    browser
        .until("document.querySelector('[data-member=eve] .tile-cover')?.textContent.includes('Sends nothing')")
        .await;
    browser.switch_to(&first).await;
    page::sees(&browser, &["ann"]).await;
    browser
        .until(
            "document.querySelector('#publish').hidden && document.querySelector('#camera').hidden",
        )
        .await;
}

#[tokio::test]
async fn three_sizes_are_sent_and_one_arrives() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    two_pages(&browser, &url, "&simulcast=1").await;
    let windows = browser.client().windows().await.expect("there are windows");
    browser.switch_to(&windows[0]).await;
    browser
        .until("window.switchboard.stats().sent?.layers.filter(({ bitsPerSecond }) => bitsPerSecond > 0).length >= 2")
        .await;
    browser
        .until("document.querySelector('.self .tile-numbers')?.textContent.includes('h ')")
        .await;
    page::keep(&browser, "console-room-simulcast").await;
}

#[tokio::test]
async fn the_screen_is_shared_as_a_second_participant() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    two_pages(&browser, &url, "").await;
    browser.click("#screen").await;
    browser
        .until("document.querySelector('#screen').ariaPressed === 'true'")
        .await;
    browser
        .until("document.querySelector('[data-member=bob-screen] video')?.srcObject")
        .await;
    let windows = browser.client().windows().await.expect("there are windows");
    let second = browser.window().await;
    browser.switch_to(&windows[0]).await;
    page::sees(&browser, &["bob", "bob-screen"]).await;
    page::keep(&browser, "console-room-screen").await;
    browser.switch_to(&second).await;
    browser.click("#screen").await;
    page::gone(&browser, "bob-screen").await;
}

#[tokio::test]
async fn the_pages_meet_again_when_the_server_returns() {
    let mut server = Server::start(&[]).await;
    let address = server.address().to_owned();
    let url = format!("http://{address}/");
    let browser = Browser::start(Screen::Desktop).await;
    two_pages(&browser, &url, "").await;
    server.terminate().await;
    browser.until(&format!("{STATE} === 'Server away'")).await;

    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", &address]);
    let _server = Server::spawn(command, None, 1).await;
    browser.until(&format!("{STATE} === '2 in the room'")).await;
    page::sees(&browser, &["ann"]).await;
}

#[tokio::test]
async fn a_session_goes_on_after_its_socket_was_lost() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    // The page's socket to the room, so that the test can lose it.
    let keep_socket = "const Real = WebSocket;
        window.WebSocket = class extends Real {
          constructor(url) { super(url); if (String(url).includes('/room')) window.roomSocket = this; }
        };";
    browser.run(keep_socket, vec![]).await;
    ann_enters(&browser).await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    browser.switch_to(&first).await;
    page::sees(&browser, &["bob"]).await;
    browser
        .run(
            "window.before = document.querySelector('[data-member=bob]');
            window.lost = window.roomSocket;
            window.lost.close();",
            vec![],
        )
        .await;
    browser
        .until("window.roomSocket !== window.lost && window.roomSocket.readyState === 1")
        .await;
    browser.until(&format!("{STATE} === '2 in the room'")).await;
    let same = "return document.querySelector('[data-member=bob]') === window.before";
    assert_eq!(
        browser.run(same, vec![]).await,
        true,
        "the media was untouched"
    );
    page::moves(&browser, "[data-member=bob] video").await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_in_words_and_the_server_may_put_one_out() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    two_pages(&browser, &url, "").await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    browser
        .until("window.switchboard.stats()?.end === 'taken'")
        .await;
    let text = browser
        .until("document.querySelector('#failure-text').textContent")
        .await;
    assert!(
        text.as_str().unwrap_or_default().contains("(104)"),
        "{text}"
    );
    page::keep(&browser, "console-room-taken").await;

    let windows = browser.client().windows().await.expect("there are windows");
    browser.switch_to(&windows[0]).await;
    let evicted = server
        .request("DELETE", "/api/rooms/lobby/participants/ann", "", "")
        .await;
    assert_eq!(evicted.status, 200);
    browser
        .until("window.switchboard.stats()?.end === 'evicted'")
        .await;
    browser.switch_to(&windows[1]).await;
    page::gone(&browser, "ann").await;
    server.request("DELETE", "/api/rooms/lobby", "", "").await;
    browser
        .until("window.switchboard.stats()?.end === 'closed'")
        .await;
}

#[tokio::test]
async fn a_room_speaks_h264_where_its_first_publisher_does() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    let only_h264 = "const { codecs } = RTCRtpSender.getCapabilities('video');
        const old = RTCPeerConnection.prototype.addTransceiver;
        RTCPeerConnection.prototype.addTransceiver = function (what, how) {
          const line = old.call(this, what, how);
          if (what.kind === 'video') line.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === 'video/H264'));
          return line;
        };";
    browser.run(only_h264, vec![]).await;
    ann_enters(&browser).await;
    browser
        .until("window.switchboard.stats().sent?.codec === 'H264'")
        .await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    page::sees(&browser, &["ann"]).await;
    browser
        .until("window.switchboard.stats().members.ann?.codec === 'H264'")
        .await;
    browser.switch_to(&first).await;
    page::sees(&browser, &["bob"]).await;
    browser
        .until("window.switchboard.stats().members.bob?.codec === 'H264'")
        .await;
}

/// Three encoders and six decoders of video are as much as two processors take.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Two pages and a pipeline, which begins and so chooses the codec: everyone gets everyone's media.
async fn all_see_all(codec: &str) {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let mut camera = Program::start(&[
        "room",
        &format!("ws://{}", server.address()),
        "--room",
        "lobby",
        "--user",
        "camera",
        "--publish",
        "test",
        "--codec",
        codec,
        "--receive",
        "count",
    ]);
    let browser = Browser::start(Screen::Desktop).await;
    browser
        .open(&format!("{url}#room=lobby&name=eve&watch=1"))
        .await;
    page::sees(&browser, &["camera"]).await;
    browser.open(&format!("{url}#room=lobby&name=ann")).await;
    page::sees(&browser, &["camera"]).await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#room=lobby&name=bob"))
        .await;
    page::sees(&browser, &["ann", "camera"]).await;
    browser.switch_to(&first).await;
    page::sees(&browser, &["bob", "camera"]).await;
    for page in ["ann", "bob"] {
        let counted = |it: &Value| it["count"]["video"]["frames"].as_u64() > Some(5);
        let told = camera.event(|it| it["peer"] == page && counted(it)).await;
        let received = &told["count"]["video"]["codec"];
        assert_eq!(received, &codec.to_uppercase(), "{told}");
    }
}

#[tokio::test]
async fn pages_and_a_pipeline_see_each_other_in_vp8() {
    all_see_all("vp8").await;
}

#[tokio::test]
async fn pages_and_a_pipeline_see_each_other_in_h264() {
    all_see_all("h264").await;
}

#[tokio::test]
async fn pages_and_a_pipeline_see_each_other_in_vp9() {
    all_see_all("vp9").await;
}

#[cfg(feature = "rtp-plugin")]
#[tokio::test]
async fn pages_and_a_pipeline_see_each_other_in_av1() {
    all_see_all("av1").await;
}

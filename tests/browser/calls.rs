//! Calls to waiting GStreamer peers.

use fantoccini::key::Key;
use serde_json::json;

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// The picture of the peer in these tests.
const THEIRS: &str = "[data-member=\"1234\"] video";
const END: &str = "window.switchboard.stats()?.end";
const TITLE: &str = "document.querySelector('#failure-title').textContent";

#[tokio::test]
async fn a_page_calls_a_waiting_peer_and_each_sees_the_other() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let mut peer = Program::peer("call", &url, "1234", &["--keep", "--receive", "count"]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-caller=\"1234\"] a')")
        .await;
    browser.click("[data-caller=\"1234\"] a").await;
    page::plays(&browser).await;
    let contrast = page::moves(&browser, THEIRS).await;
    assert!(contrast > 150, "a white ball on black, not {contrast}");
    page::moves(&browser, ".self video").await;

    let seen = peer
        .event(|event| {
            let count = &event["count"];
            count["video"]["frames"].as_u64() > Some(0)
                && count["audio"]["frames"].as_u64() > Some(0)
        })
        .await;
    assert!(seen["count"]["video"]["width"].is_u64(), "{seen}");

    write(&browser, "can you hear me?").await;
    let heard = peer.event(|event| event["text"].is_string()).await;
    assert_eq!(heard["text"], "can you hear me?");
    peer.write("loud <b>and</b> clear").await;
    browser
        .until("document.querySelector('.theirs')?.textContent === '1234loud <b>and</b> clear'")
        .await;
    page::keep(&browser, "console-call").await;

    browser.click("#hang-up").await;
    let total = peer.event(|event| event["total"].is_object()).await;
    assert!(total["total"]["video"]["frames"].as_u64() > Some(0));
    browser
        .until("document.querySelector('[data-caller=\"1234\"]')")
        .await;
}

#[tokio::test]
async fn a_page_says_that_the_other_side_has_hung_up_and_calls_again() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let peer = Program::peer("call", &url, "1234", &[]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-caller=\"1234\"] a')")
        .await;
    browser.open(&format!("{url}#call=1234")).await;
    page::plays(&browser).await;

    peer.stop().await;
    browser.until(&format!("{END} === 'over'")).await;
    browser.click("#retry").await;
    browser.until(&format!("{END} === 'absent'")).await;

    let _peer = Program::peer("call", &url, "1234", &[]);
    browser
        .until("document.querySelector('[data-caller=\"1234\"]')")
        .await;
    browser.click("#retry").await;
    page::plays(&browser).await;
}

#[tokio::test]
async fn a_page_says_in_plain_words_that_a_peer_is_busy_or_absent() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _member = Program::peer("mesh", &url, "7", &["--room", "kitchen"]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-room=kitchen]')")
        .await;
    for (peer, title) in [("7", "7 is busy"), ("nobody", "nobody is not here")] {
        browser.open(&format!("{url}#call={peer}")).await;
        browser.until(&format!("{TITLE} === '{title}'")).await;
    }
}

#[tokio::test]
async fn without_camera_and_microphone_a_page_sees_the_peer_and_says_what_is_missing() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _peer = Program::peer("call", &url, "1234", &[]);
    let browser = Browser::start(Screen::Phone).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-caller=\"1234\"]')")
        .await;
    deny(&browser).await;
    browser.click("[data-caller=\"1234\"] a").await;
    page::plays(&browser).await;
    page::moves(&browser, THEIRS).await;
    browser
        .until("document.querySelector('#notice-text').textContent.includes('does not allow')")
        .await;
    let shown = browser
        .run(
            "return ['#camera', '#microphone', '.self'].map((one) => document.querySelector(one)?.offsetParent ?? null)",
            vec![],
        )
        .await;
    assert_eq!(shown, json!([null, null, null]), "there is nothing to mute");
    page::fits(&browser).await;
    page::fits_fingers(&browser).await;
    page::keep(&browser, "console-call-phone").await;
}

/// Sends a line in the chat box.
async fn write(browser: &Browser, text: &str) {
    browser
        .until("document.querySelector('#chat-text').offsetParent")
        .await;
    let enter: char = Key::Enter.into();
    browser.write("#chat-text", &format!("{text}{enter}")).await;
}

/// Makes the browser refuse camera and microphone, as if its user had.
async fn deny(browser: &Browser) {
    let script = "navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException('Permission denied', 'NotAllowedError'))";
    browser.run(script, vec![]).await;
}

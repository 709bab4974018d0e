//! Devices and servers that come and go.

use crate::common::{PATIENCE, Server, wait_until};
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

#[tokio::test]
async fn the_list_follows_devices_as_they_come_and_go() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('#no-devices').offsetParent")
        .await;

    let first = Program::device(&url, "first", &[]);
    browser
        .until("document.querySelector('[data-device=first]')")
        .await;
    let odd = Program::device(&url, "odd <b>&\"id/ü", &[]);
    browser
        .until("document.querySelectorAll('[data-device]').length === 2")
        .await;
    browser
        .until("document.querySelector('#device-count').textContent === '2'")
        .await;
    page::keep(&browser, "console-list").await;

    first.stop().await;
    browser
        .until("!document.querySelector('[data-device=first]')")
        .await;
    browser.find("[data-device] a").await.click().await.unwrap();
    page::plays(&browser).await;
    odd.stop().await;
    browser
        .until("document.querySelector('#no-devices').offsetParent")
        .await;
}

#[tokio::test]
async fn the_page_says_that_a_device_is_absent_or_has_left_and_plays_it_when_it_returns() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=phone")).await;
    browser
        .until("document.querySelector('#failure').offsetParent")
        .await;
    let title = "document.querySelector('#failure-title').textContent";
    browser
        .until(&format!("{title} === 'The device is not here'"))
        .await;

    let device = Program::device(&url, "phone", &[]);
    page::plays(&browser).await;
    device.stop().await;
    browser
        .until(&format!("{title} === 'The device has left'"))
        .await;
    page::keep(&browser, "console-left").await;

    let _device = Program::device(&url, "phone", &[]);
    page::plays(&browser).await;
}

#[tokio::test]
async fn media_goes_on_when_the_server_goes_away() {
    let mut server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _device = Program::device(&url, "phone", &[]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=phone")).await;
    page::plays(&browser).await;

    server.terminate().await;
    browser
        .until("document.querySelector('#server-state').textContent === 'Server away'")
        .await;
    browser
        .until("document.querySelector('#player-notice').offsetParent")
        .await;
    page::more_frames(&browser, 60).await;
    page::keep(&browser, "console-server-away").await;
}

#[tokio::test]
async fn two_displays_play_side_by_side() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _device = Program::device(
        &url,
        "wide",
        &[
            "--pipeline",
            "test",
            "--pipeline",
            "test pattern=smpte width=320 height=240",
        ],
    );
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=wide")).await;
    page::plays(&browser).await;
    browser
        .until("document.querySelectorAll('.screen video').length === 2")
        .await;
    browser
        .until("[...document.querySelectorAll('.screen video')].map((video) => video.videoWidth).join() === '640,320'")
        .await;
    page::keep(&browser, "console-two-displays").await;
}

/// Every codec for pictures, as the browser calls it.
const CODECS: &[&str] = &[
    "VP8",
    "H264",
    "VP9",
    #[cfg(feature = "rtp-plugin")]
    "AV1",
];

/// A video element plays a white ball on black in this codec.
async fn shows(browser: &Browser, video: &str, codec: &str) {
    page::plays(browser).await;
    browser
        .until(&format!(
            "window.switchboard.stats().codec?.toUpperCase() === '{codec}'"
        ))
        .await;
    let contrast = page::moves(browser, video).await;
    assert!(contrast > 150, "a white ball on black, not {contrast}");
}

#[tokio::test]
async fn each_codec_of_a_device_that_offers_is_shown() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    for codec in CODECS {
        let device = Program::device(&url, codec, &["--codec", codec]);
        browser.open(&url).await;
        browser
            .until(&format!("document.querySelector('[data-device={codec}]')"))
            .await;
        browser.open(&format!("{url}#device={codec}")).await;
        shows(&browser, ".screen video", codec).await;
        device.stop().await;
    }
}

#[tokio::test]
async fn each_codec_of_a_peer_that_answers_is_shown() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    for (number, codec) in CODECS.iter().enumerate() {
        let id = number.to_string();
        let peer = Program::peer("call", &url, &id, &["--codec", codec]);
        browser.open(&url).await;
        browser
            .until(&format!("document.querySelector('[data-caller=\"{id}\"]')"))
            .await;
        browser.open(&format!("{url}#call={id}")).await;
        let theirs = format!("[data-member=\"{id}\"] video");
        shows(&browser, &theirs, codec).await;
        peer.stop().await;
    }
}

/// Each token is the name of whom it is for.
const TOKENS: &str = r#"
tokens = [
  { token = "robot", user = "robot", grants = [{ role = "device" }] },
  { token = "guest", user = "guest", grants = [{ role = "client", ids = ["eye"] }] },
  { token = "root", user = "root", grants = [{ role = "client" }, { role = "admin" }] },
]
"#;

#[tokio::test]
async fn with_tokens_a_page_plays_and_lists_what_its_own_allows() {
    let server = Server::guarded(TOKENS, "").await;
    let url = format!("http://{}/", server.address());
    let _device = Program::device(&url, "eye", &["--token", "robot"]);
    let browser = Browser::start(Screen::Desktop).await;
    let says = |text: &str| {
        format!("document.querySelector('#server-away').textContent.includes('{text}')")
    };

    browser.open(&url).await;
    browser.until(&says("needs a token")).await;
    // A page that isn't told who is here can't know when a device comes.
    let registered = async || server.log().contains("endpoint registered");
    wait_until(PATIENCE, registered).await;
    browser.open(&format!("{url}?token=guest#device=eye")).await;
    page::plays(&browser).await;
    browser.until(&says("needs the role admin")).await;
    page::keep(&browser, "console-token").await;
    let shown = browser.until("location.href").await;
    assert!(!shown.to_string().contains("guest"), "{shown}");

    browser.open(&format!("{url}?token=root")).await;
    browser
        .until("document.querySelector('[data-device=eye]')")
        .await;
    browser.find("[data-device] a").await.click().await.unwrap();
    page::plays(&browser).await;
}

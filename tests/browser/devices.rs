//! Devices and servers that come and go.

use crate::common::Server;
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

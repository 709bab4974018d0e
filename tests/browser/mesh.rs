//! Mesh rooms of pages and GStreamer peers.

use tokio::process::Command;

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// Chromium's camera is green: its red goes from none to about this.
const GREEN: u64 = 40;
/// Chromium's microphone beeps every second, much louder than this.
const AUDIBLE: f64 = 0.01;
/// What ann sends.
const ANN: &str = "[data-member=ann] video";

#[tokio::test]
async fn two_pages_and_a_peer_see_each_other_until_they_leave() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let mut peer = Program::peer(
        "mesh",
        &url,
        "55",
        &["--room", "lobby", "--receive", "count"],
    );
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until(
            "document.querySelector('[data-room=lobby] .row-about')?.textContent === '1 member: 55'",
        )
        .await;
    browser.write("#join-room", "lobby").await;
    browser.write("#join-name", "ann").await;
    browser.click("#join-kind [value=mesh]").await;
    browser.click("#join-form button").await;
    page::sees(&browser, &["55"]).await;
    let first = browser.window().await;

    browser
        .open_window(&format!("{url}#mesh=lobby&name=bob"))
        .await;
    let second = browser.window().await;
    let of_bob = page::sees(&browser, &["ann", "55"]).await;
    browser.switch_to(&first).await;
    let of_ann = page::sees(&browser, &["bob", "55"]).await;
    for seen in [of_ann, of_bob] {
        assert!(seen[0] > GREEN, "a page's camera, not {} levels", seen[0]);
        assert!(seen[1] > 150, "a white ball on black, not {}", seen[1]);
    }
    for member in ["ann", "bob"] {
        peer.event(|event| {
            event["peer"] == member && event["count"]["video"]["frames"].as_u64() > Some(0)
        })
        .await;
    }
    page::keep(&browser, "console-mesh").await;

    browser.switch_to(&second).await;
    browser.close_window(&first).await;
    page::gone(&browser, "bob").await;
    page::sees(&browser, &["55"]).await;
    peer.stop().await;
    page::gone(&browser, "55").await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    browser.click("#hang-up").await;
    browser
        .until("!document.querySelector('[data-room=lobby]')")
        .await;
}

#[tokio::test]
async fn the_switches_darken_and_silence_what_the_others_get() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Phone).await;
    browser.open(&format!("{url}#mesh=lobby&name=ann")).await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    let first = browser.window().await;
    browser
        .open_window(&format!("{url}#mesh=lobby&name=bob"))
        .await;
    page::sees(&browser, &["ann"]).await;
    let second = browser.window().await;
    assert!(page::loudness(&browser, ANN, 3_000).await > AUDIBLE);

    browser.switch_to(&first).await;
    page::fits(&browser).await;
    page::fits_fingers(&browser).await;
    page::keep(&browser, "console-mesh-phone").await;
    for id in ["camera", "microphone"] {
        browser.click(&format!("#{id}")).await;
        browser
            .until(&format!(
                "document.querySelector('#{id}').ariaPressed === 'false'"
            ))
            .await;
    }
    browser.switch_to(&second).await;
    browser.until(DARK).await;
    assert!(page::loudness(&browser, ANN, 3_000).await < AUDIBLE);
}

/// Whether the page sees nothing but black of ann.
const DARK: &str = "(() => {
    const video = document.querySelector('[data-member=ann] video');
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height).data.every((level, at) => at % 4 === 3 || level < 40);
})()";

#[tokio::test]
async fn the_pages_meet_again_when_the_server_returns() {
    let mut server = Server::start(&[]).await;
    let address = server.address().to_owned();
    let url = format!("http://{address}/");
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#mesh=lobby&name=ann")).await;
    browser
        .until("document.querySelector('#alone').offsetParent")
        .await;
    browser
        .open_window(&format!("{url}#mesh=lobby&name=bob"))
        .await;
    page::sees(&browser, &["ann"]).await;
    browser
        .run(
            "window.before = document.querySelector('[data-member=ann]')",
            vec![],
        )
        .await;

    server.terminate().await;
    let state = "document.querySelector('#player-state').textContent";
    browser.until(&format!("{state} === 'Server away'")).await;
    page::moves(&browser, ANN).await;

    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", &address]);
    let _server = Server::spawn(command, None, 1).await;
    browser.until(&format!("{state} === '2 in the room'")).await;
    browser
        .until("document.querySelector('[data-member=ann]') !== window.before")
        .await;
    page::sees(&browser, &["ann"]).await;
}

#[tokio::test]
async fn a_member_that_answers_nonsense_fails_alone_and_its_tile_says_why() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _peer = Program::peer("mesh", &url, "55", &["--room", "lobby"]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-room=lobby]')")
        .await;
    browser.run(BAD_MEMBER, vec![]).await;
    browser.until("window.isIn").await;
    browser
        .run("location.hash = '#mesh=lobby&name=ann'", vec![])
        .await;
    browser
        .until("document.querySelector('[data-member=bad][data-failed] .why')?.textContent.includes('negotiation failed')")
        .await;
    page::sees(&browser, &["55"]).await;
    page::keep(&browser, "console-mesh-failed").await;
}

/// A member that has no idea of SDP.
const BAD_MEMBER: &str = "
    const socket = new WebSocket(`ws://${location.host}/`);
    socket.onopen = () => socket.send('HELLO bad');
    socket.onmessage = ({ data }) => {
      if (data === 'HELLO') socket.send('ROOM lobby');
      else if (data.startsWith('ROOM_OK')) window.isIn = true;
      else if (data.includes('offer')) socket.send('ROOM_PEER_MSG ann {\"sdp\":{\"type\":\"answer\",\"sdp\":\"nonsense\"}}');
    };";

#[tokio::test]
async fn a_name_that_is_taken_and_a_room_with_a_blank_are_refused_in_words() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let _peer = Program::peer("mesh", &url, "55", &["--room", "lobby"]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-room=lobby]')")
        .await;
    for (address, end) in [
        ("#mesh=lobby&name=55", "taken"),
        ("#mesh=two%20words", "refused"),
    ] {
        browser.open(&format!("{url}{address}")).await;
        browser
            .until(&format!("window.switchboard.stats()?.end === '{end}'"))
            .await;
        browser
            .until("document.querySelector('#failure').offsetParent")
            .await;
    }
}

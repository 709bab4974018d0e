//! The page says in words why no picture comes, and so does the device.

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// Nothing that this page says of its addresses leaves it, and all that it learns are of a port (no low one: browsers ignore those) where nobody answers.
const NO_WAY: &str = "
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  if (!String(text).includes('ice-candidate')) send.call(this, text);
};
const add = RTCPeerConnection.prototype.addIceCandidate;
RTCPeerConnection.prototype.addIceCandidate = function (it) {
  const candidate = it.candidate.replace(/ \\d+ typ/, ' 59999 typ');
  return add.call(this, { ...it, candidate });
};
location.hash = '#device=phone';";

#[tokio::test]
async fn a_page_without_a_way_to_the_device_says_so_and_what_to_do() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let mut device = Program::device(&url, "phone", &[]);
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-device=phone]')")
        .await;
    browser.run(NO_WAY, vec![]).await;
    let says = browser
        .until(
            "document.querySelector('#player-notice').offsetParent
             && document.querySelector('#notice-text').textContent",
        )
        .await;
    let says = says.as_str().unwrap_or_default();
    assert!(says.starts_with("None of"), "{says}");
    assert!(says.contains("[[ice.servers]]"), "{says}");
    page::fits(&browser).await;
    page::keep(&browser, "console-why").await;
    let event = device
        .event(|event| event["trouble"]["reason"].is_string())
        .await;
    assert_eq!(event["trouble"]["reason"], "no_remote_address", "{event}");
    assert_eq!(event["client"], 1, "{event}");
}

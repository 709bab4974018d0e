//! A page and a peer that take the ways of a real TURN server only.

use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;
use crate::turn::{SECRET, Turn, server};

#[tokio::test]
async fn pages_play_through_a_relay_only_when_they_are_told_to() {
    let turn = Turn::start().await;
    let (_server, address) = server(&turn.url("tcp"), SECRET).await;
    let url = format!("http://{address}/");
    let relay = ["--ice-policy", "relay"];
    let _device = Program::device(&url, "d", &relay);
    let _peer = Program::peer("call", &url, "1234", &[&relay[..], &["--keep"]].concat());
    let browser = Browser::start(Screen::Desktop).await;
    for target in ["device=d", "call=1234"] {
        browser
            .open(&format!("{url}?ice-policy=relay#{target}"))
            .await;
        page::plays(&browser).await;
        browser
            .until("/relay/.test(window.switchboard.stats()?.path)")
            .await;
    }
}

//! A browser that hides its addresses behind names of the local network.

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::process::Process;

#[tokio::test]
async fn the_address_behind_a_browsers_made_up_name_is_found() {
    let server = Server::start(&[]).await;
    let signaling = format!("ws://{}", server.address());
    let log = ["--log", "info,switchboard::media=debug"];
    let device = Process::start(&[&log[..], &["device", &signaling, "--id", "phone"]].concat());
    device.logged("registered").await;
    let browser = Browser::start_hiding(Screen::Desktop).await;
    browser
        .open(&format!("http://{}/#device=phone", server.address()))
        .await;
    page::plays(&browser).await;
    device.logged("found=Some(").await;
}

//! The operations view: what it shows, and what its buttons do.

use serde_json::json;
use tokio::process::Command;

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// What the last button came to.
const RESULT: &str = "document.querySelector('#operations-result').textContent";
/// What is wrong, if something is shown.
const TROUBLE: &str = "document.querySelector('#operations-trouble')";
/// A token for each of two roles.
const TOKENS: &str = r#"
tokens = [
  { token = "guest", user = "guest", grants = [{ role = "client" }] },
  { token = "root", user = "root", grants = [{ role = "admin" }] },
]
"#;

fn url(server: &Server) -> String {
    format!("http://{}/", server.address())
}

/// Chooses a table by its place among them.
async fn choose(browser: &Browser, place: u8) {
    let label = format!("#operations-part label:nth-of-type({place})");
    browser.click(&label).await;
}

/// Waits until a row of a table has all of these words.
async fn shows(browser: &Browser, table: &str, words: &[&str]) {
    let words = json!(words);
    browser
        .until(&format!(
            "[...document.querySelectorAll('#table-{table} tbody tr')]
                .some((row) => {words}.every((word) => row.textContent.includes(word)))"
        ))
        .await;
}

/// The device, its call, and the publisher's room.
async fn sees_all(browser: &Browser) {
    shows(browser, "endpoints", &["odd <b>/ü", "cuttlefish", "device"]).await;
    browser
        .until("document.querySelector('#operations-phase').textContent === 'Serving'")
        .await;
    choose(browser, 2).await;
    shows(browser, "calls", &["odd <b>/ü", "cuttlefish"]).await;
    choose(browser, 4).await;
    shows(
        browser,
        "connections",
        &["127.0.0.1", "cuttlefish", "odd <b>/ü"],
    )
    .await;
    choose(browser, 3).await;
    shows(browser, "rooms", &["lab", "forwarding"]).await;
    shows(
        browser,
        "participants",
        &["cam", "sends to the room", "connected", "bit/s"],
    )
    .await;
}

async fn mutes(browser: &Browser, server: &Server) {
    browser
        .click("[aria-label='Mute the picture of cam']")
        .await;
    browser.click("#sure-yes").await;
    browser
        .until(&format!("{RESULT} === 'Muted: the picture of cam.'"))
        .await;
    shows(browser, "participants", &["cam", "picture muted"]).await;
    browser
        .until("document.querySelector('[aria-label=\"Unmute the picture of cam\"]')")
        .await;
    let room = server.get("/api/rooms/lab").await.json();
    assert_eq!(room["participants"][0]["muted"]["video"], true);
}

#[tokio::test]
async fn operators_see_devices_calls_and_rooms_and_mute_and_kick() {
    let server = Server::start(&[]).await;
    let url = url(&server);
    let device = server.device("odd <b>/ü").await.stays();
    let viewer = server.viewer("odd <b>/ü").await.stays();
    let publisher = ["--room", "lab", "--user", "cam", "--publish", "test"];
    let _publisher =
        Program::start(&[&["room", &*url.replacen("http", "ws", 1)], &publisher[..]].concat());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser.click("#to-operations").await;

    sees_all(&browser).await;
    mutes(&browser, &server).await;
    page::keep(&browser, "console-operations").await;

    choose(&browser, 1).await;
    let kick = "#table-endpoints tbody .actions button";
    browser.click(kick).await;
    browser.click("#sure-no").await;
    browser.click(kick).await;
    browser.click("#sure-yes").await;
    browser
        .until(&format!("{RESULT} === 'Kicked: odd <b>/ü.'"))
        .await;
    let (_, reason) = device.await.unwrap();
    assert_eq!(reason, "closed by the operator");
    viewer.await.unwrap();
    browser
        .until("!document.querySelector('#table-endpoints tbody tr')")
        .await;
}

#[tokio::test]
async fn the_operations_view_says_when_the_server_is_away_and_comes_back_by_itself() {
    let mut server = Server::start(&[]).await;
    let address = server.address().to_owned();
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{}#operations", url(&server))).await;
    browser
        .until("document.querySelector('#operations-numbers').offsetParent")
        .await;
    server.terminate().await;
    browser
        .until(&format!(
            "{TROUBLE}.textContent.includes('does not answer')"
        ))
        .await;

    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", &address]);
    let server = Server::spawn(command, None, 1).await;
    let _device = server.device("late").await.stays();
    shows(&browser, "endpoints", &["late"]).await;
    browser.until(&format!("{TROUBLE}.hidden")).await;
}

#[tokio::test]
async fn on_a_phone_the_operations_view_fits_and_tells_who_may_not_see_it() {
    let server = Server::guarded(TOKENS, "").await;
    let url = url(&server);
    let browser = Browser::start(Screen::Phone).await;
    let hides = "!document.querySelector('#operations-numbers').offsetParent";
    browser.open(&format!("{url}#operations")).await;
    browser
        .until(&format!(
            "{TROUBLE}.textContent.includes('needs a token') && {hides}"
        ))
        .await;
    browser.open(&format!("{url}?token=guest#operations")).await;
    browser
        .until(&format!(
            "{TROUBLE}.textContent.includes('role admin') && {hides}"
        ))
        .await;

    browser.open(&format!("{url}?token=root#operations")).await;
    browser
        .until("document.querySelector('#operations-numbers').offsetParent")
        .await;
    choose(&browser, 4).await;
    browser
        .until("document.querySelector('#table-connections .quiet').offsetParent")
        .await;
    page::fits(&browser).await;
    page::keep(&browser, "console-operations-phone").await;
}

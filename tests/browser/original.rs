//! A page that reaches its device as Cuttlefish's own client page does: through the server's
//! `js/server_connector.js`, and nothing else of the server.

use serde_json::Value;

use crate::common::{PATIENCE, Server, wait_until};
use crate::driver::{Browser, Screen};
use crate::program::Program;

/// The page, in a directory for `--assets`.
const FILES: &[(&str, &str)] = &[
    ("client.html", include_str!("original/client.html")),
    ("client.js", include_str!("original/client.js")),
    ("frame.html", include_str!("original/frame.html")),
    ("frame.js", include_str!("original/frame.js")),
];

#[tokio::test]
async fn the_original_page_plays_over_a_websocket() {
    let result = play("frame.html?deviceId=phone").await;
    assert_eq!(result["sockets"], 1);
}

#[tokio::test]
async fn the_original_page_plays_by_polling_where_no_websocket_gets_through() {
    let result = play("frame.html?deviceId=phone&polling").await;
    assert_eq!(result["sockets"], 0);
}

#[tokio::test]
async fn the_first_page_plays_and_its_microphone_is_heard_from_the_start() {
    let result = play("frame.html?deviceId=phone&early").await;
    assert_eq!(result["sockets"], 1);
}

/// Opens a page that frames the client page, and gives what that found.
async fn play(address: &str) -> Value {
    let assets = tempfile::tempdir().expect("a directory for the page");
    for (name, content) in FILES {
        std::fs::write(assets.path().join(name), content).expect("the page is written");
    }
    let directory = assets.path().to_str().expect("a path in UTF-8");
    let server = Server::start(&["--assets", directory]).await;
    let url = format!("http://{}/", server.address());
    let _device = Program::device(&url, "phone", &[]);
    wait_until(PATIENCE, async || {
        server.get("/devices/phone").await.status == 200
    })
    .await;

    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}{address}")).await;
    let result = browser.until("window.result").await;
    assert_eq!(result["deviceId"], "phone");
    assert!(
        result["refused"].is_string(),
        "an absent device is refused: {result}"
    );
    assert_eq!(
        result["early"], true,
        "nothing is sent before a device was requested: {result}"
    );
    assert!(result["infraConfig"]["ice_servers"].is_array(), "{result}");
    assert!(result["deviceInfo"].is_object(), "{result}");
    assert_eq!(result["width"], 640, "the first frame came: {result}");
    assert_eq!(
        result["microphone"],
        Value::Null,
        "the microphone went on and off: {result}"
    );

    let message = browser.until("window.displaysInfo").await;
    assert_eq!(message["device_id"], "phone");
    assert_eq!(message["rotation"], 90);
    assert_eq!(message["displays"][0]["width"], 640);
    result
}

//! The probe fails, and says the right reason.

use serde_json::json;

use super::common::Server;
use super::{Probed, mute, probe, strict};

/// It failed for this reason, and says what to look at.
fn failed(probed: &Probed, why: &str) {
    let reasons = probed.reasons();
    assert_eq!(probed.code, Some(1), "{reasons}{}", probed.log);
    assert!(reasons.contains(why), "{reasons}");
    for failure in probed.outcome["failures"].as_array().unwrap() {
        assert_ne!(failure["advice"], "", "{failure:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forwards_nothing_is_named() {
    let url = format!("ws://{}", mute::start().await);
    let soon = [
        "--seconds",
        "2",
        "--max-connect",
        "1s",
        "--max-first-frame",
        "1s",
    ];
    let run = async |scenario: &str| strict(&[&[scenario, url.as_str()], &soon[..]].concat()).await;
    let (device, call) = tokio::join!(run("device"), run("call"));
    failed(
        &device,
        "viewer 1: the server forwards nothing: what was asked of device never reached it",
    );
    failed(&call, "the server forwards nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_is_named() {
    let probed = probe(&["device", "ws://127.0.0.1:1"]).await;
    failed(&probed, "the server: cannot connect to 127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_that_can_not_connect_is_named() {
    let relay = ["--ice-policy", "relay", "--seconds", "2"];
    let run = async |scenario: &str| probe(&[&[scenario], &relay[..]].concat()).await;
    let (device, room) = tokio::join!(run("device"), run("room"));
    let why = "ICE can't connect: only TURN relays may be used, and no TURN server is named";
    failed(&device, &format!("viewer 1: {why}"));
    failed(&room, &format!("user-2 from user-1: {why}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_without_a_common_codec_are_named() {
    let codecs = [
        "--codec",
        "VP8",
        "--receive-codec",
        "H264",
        "--seconds",
        "2",
    ];
    let run = async |scenario: &str| probe(&[&[scenario], &codecs[..]].concat()).await;
    let (device, call, gecko) = tokio::join!(run("device"), run("call"), run("gecko"));
    failed(
        &device,
        "no common video codec: the other side sends VP8, we take H264",
    );
    failed(
        &call,
        "no common video codec: we can send VP8, the other side takes H264",
    );
    failed(&gecko, "no common video codec");
    let room = run("room").await;
    failed(&room, "the room takes VP8, offered were H264");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_device_is_named() {
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    let probed = probe(&["device", &url, "--receive-only", "--watch", "nobody"]).await;
    failed(&probed, "viewer 1: the server says:");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_stays_when_the_gecko_is_connected_first() {
    let server = Server::start(&[]).await;
    let mut gecko = server.ws("/worker").await;
    let hello = json!({"messageType": "hello", "action": "worker-hello", "geckoId": "gecko"});
    gecko.send_json(&hello).await;
    let url = format!("ws://{}", server.address());
    let watch = ["--receive-only", "--watch", "pipeline:test"];
    let soon = ["--max-connect", "1s", "--max-first-frame", "1s"];
    let page = [&["gecko", &url], &watch[..], &soon].concat();
    let (probed, ()) = tokio::join!(strict(&page), async {
        let demand = gecko.recv_json().await;
        let connected = json!({"messageType": "connected", "workerId": demand["workerId"]});
        gecko.send_json(&connected).await;
    });
    // The server closes the page's connection: with "connected" that is no failure.
    failed(&probed, "page 1: no offer or answer came in");
}

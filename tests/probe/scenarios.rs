//! Each scenario, with both ends in the probe, through the server as its users start it.

use super::common::Server;
use super::{Probed, probe};

/// Runs a scenario through a server of its own.
async fn through_a_server(arguments: &[&str]) -> Probed {
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    let words = [&arguments[..1], &[&url, "--seconds", "3"], &arguments[1..]];
    probe(&words.concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_watched() {
    let probed = through_a_server(&["device", "--viewers", "2"]).await;
    probed.passed(2);
    let phases = &probed.outcome["connections"][0]["phases"];
    let order: Vec<_> = ["signaled_ms", "connected_ms", "first_frame_ms"]
        .iter()
        .map(|phase| phases[*phase].as_f64().unwrap())
        .collect();
    assert!(order.is_sorted(), "{phases}");
    let sent = probed.outcome["sent"].as_array().unwrap();
    assert_eq!(sent.len(), 4, "picture and sound to two viewers: {sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_call_each_other() {
    through_a_server(&["call"]).await.passed(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_in_a_mesh_gets_everyone() {
    through_a_server(&["mesh", "--members", "3", "--size", "320x240"])
        .await
        .passed(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_forwards_each_publisher_to_all_others() {
    let users = [
        "room",
        "--users",
        "3",
        "--publishers",
        "2",
        "--size",
        "320x240",
    ];
    through_a_server(&users).await.passed(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_runs_a_worker_that_echoes_and_plays() {
    let probed = through_a_server(&["gecko"]).await;
    probed.passed(1);
    let echo = &probed.outcome["echo"];
    assert!(echo["returned"].as_u64() > Some(3), "{echo}");
    assert!(echo["round_trip"]["p50_ms"].as_f64() > Some(0.0), "{echo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_and_leaves_meanwhile_sees_a_picture() {
    let probed = through_a_server(&["room", "--churn", "3"]).await;
    probed.passed(1);
    let churn = &probed.outcome["churn"];
    assert_eq!((&churn["joins"], &churn["seen"]), (&3.into(), &3.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_says_how_many_are_served() {
    let probed = through_a_server(&["device", "--ramp", "3", "--size", "160x120"]).await;
    assert_eq!(probed.code, Some(0), "{}{}", probed.reasons(), probed.log);
    let ramp = &probed.outcome["ramp"];
    assert!(ramp["held"].as_u64() >= Some(1), "{ramp:#}");
    assert_eq!(ramp["levels"][0]["served"], 1, "{ramp:#}");
}

/// A server of GStreamer's dialect that isn't ours: its URL is in the environment, if there is one.
#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::print_stderr,
    reason = "who runs the tests should know what was left out"
)]
async fn a_foreign_server_of_gstreamers_dialect_serves_calls() {
    const VARIABLE: &str = "SWITCHBOARD_FOREIGN_GSTREAMER";
    let Ok(url) = std::env::var(VARIABLE) else {
        eprintln!("skipped: {VARIABLE} names no server, as in ws://127.0.0.1:8443");
        return;
    };
    let media = ["--insecure", "--seconds", "3"];
    probe(&[&["call", &url], &media[..]].concat())
        .await
        .passed(2);
}

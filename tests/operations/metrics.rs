//! What a server tells Prometheus.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::common::{PATIENCE, Server, wait_until};

/// How often a phase was timed.
async fn timed(server: &Server, dialect: &str, phase: &str) -> f64 {
    let labels = format!("{{dialect=\"{dialect}\",phase=\"{phase}\"}}");
    let name = format!("switchboard_setup_seconds_count{labels}");
    server.metric(&name).await
}

#[tokio::test]
async fn a_call_is_timed_in_phases() {
    let server = Server::start(&[]).await;
    let mut device = server.device("phone").await;
    let mut viewer = server.viewer("phone").await;
    for phase in ["registered", "opened"] {
        assert_eq!(timed(&server, "cuttlefish", phase).await, 1.0, "{phase}");
    }
    assert_eq!(timed(&server, "cuttlefish", "first_message").await, 0.0);
    for _ in 0..2 {
        viewer.forward(&json!({"type": "request-offer"})).await;
        device.recv_json().await;
        device.forward_to(1, &json!({"type": "offer"})).await;
        viewer.recv_json().await;
    }
    for phase in ["first_message", "answered", "returned"] {
        assert_eq!(timed(&server, "cuttlefish", phase).await, 1.0, "{phase}");
    }
}

#[tokio::test]
async fn a_pair_is_timed_once_by_who_asked() {
    let server = Server::start(&[]).await;
    let (mut one, mut two) = (server.ws("/ws").await, server.ws("/ws").await);
    for (peer, hello) in [(&mut one, "HELLO 1"), (&mut two, "HELLO 2")] {
        peer.send_text(hello).await;
        assert_eq!(peer.recv_text().await, "HELLO");
    }
    one.send_text("SESSION 2").await;
    assert_eq!(one.recv_text().await, "SESSION_OK");
    two.send_text("offer").await;
    assert_eq!(one.recv_text().await, "offer");
    one.send_text("answer").await;
    assert_eq!(two.recv_text().await, "answer");
    for (phase, count) in [
        ("registered", 2.0),
        ("opened", 1.0),
        ("first_message", 1.0),
        ("answered", 1.0),
        ("returned", 0.0),
    ] {
        assert_eq!(timed(&server, "gstreamer", phase).await, count, "{phase}");
    }
}

#[tokio::test]
async fn limits_are_told_and_what_they_refuse_is_counted() {
    let limits = "[limits]\nendpoints = 1\ncalls_per_endpoint = 1\nrooms = 1\nmessage_bytes = 2000";
    let server = Server::configured(limits, &[]).await;
    for (name, value) in [("endpoints", 1.0), ("message_bytes", 2000.0)] {
        let metric = format!("switchboard_limit{{name=\"{name}\"}}");
        assert_eq!(server.metric(&metric).await, value);
    }
    let _device = server.device("phone").await;
    let mut other = server.ws("/register_device").await;
    other.register("other").await;
    let _viewer = server.viewer("phone").await;
    let mut second = server.ws("/connect_client").await;
    let connect = json!({"message_type": "connect", "device_id": "phone"});
    second.send_json(&connect).await;
    let mut rooms = Vec::new();
    for room in ["one", "two"] {
        let mut participant = server.ws("/room").await;
        let params = json!({"room": room, "user": "anna"});
        let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params});
        participant.send_json(&join).await;
        participant.recv_json().await;
        rooms.push(participant);
    }
    server
        .post("/connect", &json!({"x": "x".repeat(3000)}))
        .await;
    for cause in [
        "endpoints_full",
        "calls_full",
        "rooms_full",
        "body_too_large",
    ] {
        let metric = format!("switchboard_causes_total{{cause=\"{cause}\"}}");
        server.wait_for_metric(&metric, 1.0).await;
    }
    rooms[0].send_text(&"x".repeat(3000)).await;
    let metric = "switchboard_websocket_closes_total{by=\"server\",code=\"1009\"}";
    wait_until(PATIENCE, async || server.metric(metric).await >= 1.0).await;
}

#[tokio::test]
async fn a_drain_and_the_certificates_end_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let tls = format!(
        "[tls]\nself_signed = true\ndirectory = {:?}",
        directory.path()
    );
    let arguments = ["--listen", "tls:127.0.0.1:0", "--drain", "60"];
    let server = Server::configured(&tls, &arguments).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ends = "switchboard_tls_certificate_expiry_timestamp_seconds";
    let days = (server.metric(ends).await - now.as_secs_f64()) / 86_400.0;
    assert!((390.0..398.0).contains(&days), "{days}");
    let phase = |name| format!("switchboard_phase{{phase=\"{name}\"}}");
    assert_eq!(server.metric(&phase("serving")).await, 1.0);
    let _device = server.device("phone").await;
    let _viewer = server.viewer("phone").await;
    server.ask_to_end();
    server.wait_for_metric(&phase("draining"), 1.0).await;
    assert_eq!(server.metric(&phase("serving")).await, 0.0);
}

/// Media of a room, by our own peers.
#[cfg(feature = "peer")]
#[tokio::test]
async fn a_rooms_media_is_added_up_and_timed() {
    use crate::common::process::Process;

    let server = Server::start(&[]).await;
    let url = format!("ws://{}/room", server.address());
    let member = |user, more: &[&str]| {
        let common = ["room", &url, "--room", "r", "--user", user];
        Process::start(&[&common, more].concat())
    };
    let _one = member("1", &["--publish", "test", "width=160", "height=120"]);
    let two = member("2", &["--receive", "count"]);
    let received = "switchboard_media_packets_total{direction=\"out\"}";
    wait_until(PATIENCE, async || server.metric(received).await > 20.0).await;
    for (metric, least) in [
        ("switchboard_media_packets_total{direction=\"in\"}", 20.0),
        (
            "switchboard_media_payload_bytes_total{direction=\"in\"}",
            1000.0,
        ),
        ("switchboard_media_keyframe_requests_total", 1.0),
        (
            "switchboard_media_endpoints{role=\"publisher\",state=\"connected\"}",
            1.0,
        ),
        (
            "switchboard_media_endpoints{role=\"subscriber\",state=\"connected\"}",
            1.0,
        ),
    ] {
        // The numbers are a second old, and each of another one.
        wait_until(PATIENCE, async || server.metric(metric).await >= least).await;
    }
    for phase in ["registered", "answered", "checks", "dtls", "first_packet"] {
        assert_eq!(timed(&server, "kurento", phase).await, 2.0, "{phase}");
    }
    let udp = "switchboard_media_transports{transport=\"udp\"}";
    server.wait_for_metric(udp, 2.0).await;
    // Who leaves takes nothing away.
    let before = server.metric(received).await;
    drop(two);
    let gone = "switchboard_media_endpoints{role=\"subscriber\",state=\"connected\"}";
    server.wait_for_metric(gone, 0.0).await;
    assert!(server.metric(received).await >= before);
}

//! Each limit, reached.

use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::{Error, Message};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::{Answer, PATIENCE, Server, frame, raw_ws, read_frame, wait_until};

/// Close frames.
const CLOSE: u8 = 0x88;

fn close_code(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[0], payload[1]])
}

#[tokio::test]
async fn a_message_of_just_the_limit_passes_and_one_more_byte_closes_with_1009() {
    let server = Server::configured("[limits]\nmessage_bytes = 1000", &[]).await;
    let message = |length: usize| {
        let empty = r#"{"message_type":"x","pad":""}"#.len();
        let pad = "x".repeat(length - empty);
        Message::text(format!(r#"{{"message_type":"x","pad":"{pad}"}}"#))
    };
    let mut client = server.ws("/connect_client").await;
    client.send(message(1000)).await;
    assert!(client.recv_json().await["error"].is_string());
    client.send(message(1001)).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn a_message_in_fragments_that_is_too_big_closes_with_1009() {
    let server = Server::configured("[limits]\nmessage_bytes = 1000", &[]).await;
    let mut tcp = raw_ws(&server, "/connect_client").await;
    for first_byte in [0x01, 0x00, 0x00] {
        tcp.write_all(&frame(first_byte, &[b' '; 400]))
            .await
            .unwrap();
    }
    let (first, payload) = read_frame(&mut tcp).await;
    assert_eq!((first, close_code(&payload)), (CLOSE, 1009));
}

#[tokio::test]
async fn the_close_arrives_although_the_rest_of_a_huge_message_is_still_on_its_way() {
    let server = Server::configured("[limits]\nmessage_bytes = 1000", &[]).await;
    let mut client = server.ws("/connect_client").await;
    client.send(Message::text("x".repeat(8 << 20))).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn a_larger_request_body_is_refused() {
    let server = Server::configured("[limits]\nmessage_bytes = 1000", &[]).await;
    let answer = server
        .post("/connect", &json!({"device_id": "x".repeat(1000)}))
        .await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn broken_frames_are_closed_with_the_code_that_fits() {
    let server = Server::start(&[]).await;
    for (bytes, code) in [
        // An unknown opcode, a reserved bit, no mask, a continuation of nothing, not UTF-8.
        (frame(0x83, b""), 1002),
        (frame(0xC1, b""), 1002),
        (vec![0x81, 0x00], 1002),
        (frame(0x80, b""), 1002),
        (frame(0x81, b"\xff"), 1007),
    ] {
        let mut tcp = raw_ws(&server, "/connect_client").await;
        tcp.write_all(&bytes).await.unwrap();
        let (first, payload) = read_frame(&mut tcp).await;
        assert_eq!((first, close_code(&payload)), (CLOSE, code), "{bytes:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_with_1008_and_who_spoke_is_not() {
    let server = Server::configured("[limits]\nfirst_message = 0.5", &[]).await;
    let mut device = server.device("d").await;
    for path in ["/register_device", "/connect_client"] {
        let mut silent = server.ws(path).await;
        assert_eq!(silent.closed().await.0, 1008);
    }
    let _viewer = server.viewer("d").await;
    assert_eq!(server.get("/devices").await.json(), json!(["d"]));
    device.forward_to(9, &json!(0)).await;
    assert!(device.recv_json().await["error"].is_string());
}

#[tokio::test]
async fn a_request_head_that_does_not_end_is_cut_off() {
    let server = Server::configured("[limits]\nhandshake = 0.3", &[]).await;
    for start in ["", "GET / HTTP/1.1\r\nX-A: b"] {
        let mut tcp = server.tcp().await;
        tcp.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, tcp.read_to_end(&mut rest))
            .await
            .expect("closed in time");
    }
    assert_eq!(server.get("/health").await.body, "OK\n");
}

#[tokio::test]
async fn frames_may_come_in_single_bytes() {
    let server = Server::start(&[]).await;
    let mut tcp = raw_ws(&server, "/register_device").await;
    tcp.set_nodelay(true).unwrap();
    for byte in frame(0x81, br#"{"message_type":"register","device_id":"d"}"#) {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let (first, payload) = read_frame(&mut tcp).await;
    assert_eq!(first, 0x81);
    assert!(String::from_utf8(payload).unwrap().contains("config"));
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_a_free_place_is_taken_again() {
    let server = Server::configured("[limits]\nconnections = 3", &[]).await;
    let device = server.device("d").await;
    let viewers = (server.viewer("d").await, server.ws("/connect_client").await);
    assert!(is_closed_unanswered(&mut server.tcp().await).await);
    drop(viewers);
    wait_until(PATIENCE, async || {
        !is_closed_unanswered(&mut server.tcp().await).await
    })
    .await;
    assert!(server.metric("switchboard_connections_refused_total").await >= 1.0);
    drop(device);
}

/// Whether a request gets the end of the connection for an answer.
async fn is_closed_unanswered(tcp: &mut TcpStream) -> bool {
    let _ = tcp.write_all(b"GET /health HTTP/1.0\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut answer))
        .await
        .expect("an end in time");
    answer.is_empty()
}

#[tokio::test]
async fn running_out_of_descriptors_ends_nothing() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64; exec \"$0\" serve --listen 127.0.0.1:0"])
        .arg(env!("CARGO_BIN_EXE_switchboard"));
    let server = Server::spawn(command, None, 1).await;
    let mut device = server.device("d").await;

    let mut crowd = Vec::new();
    for _ in 0..120 {
        crowd.push(server.tcp().await);
    }
    wait_until(PATIENCE, async || {
        server.log().contains("cannot accept connections")
    })
    .await;
    device.forward_to(9, &json!(0)).await;
    assert!(device.recv_json().await["error"].is_string());
    drop(crowd);

    assert_eq!(server.get("/health").await.body, "OK\n");
    let _viewer = server.viewer("d").await;
    assert!(server.metric("switchboard_accept_errors_total").await >= 1.0);
}

#[tokio::test]
async fn one_endpoint_too_many_is_refused() {
    let server = Server::configured("[limits]\nendpoints = 1", &[]).await;
    let _device = server.device("a").await;
    let mut other = server.ws("/register_device").await;
    other.register("b").await;
    assert!(other.recv_json().await["error"].is_string());
    assert_eq!(other.closed().await.0, 1000);
}

#[tokio::test]
async fn one_call_too_many_is_refused() {
    let server = Server::configured("[limits]\ncalls_per_endpoint = 1", &[]).await;
    let _device = server.device("d").await;
    let _viewer = server.viewer("d").await;
    assert_refused(&server).await;
}

#[tokio::test]
async fn one_waiting_call_too_many_is_refused() {
    let server = Server::configured("[limits]\nwaiting_calls = 1", &["--wait-for-device"]).await;
    let mut waiting = server.ws("/connect_client").await;
    waiting
        .send_json(&json!({"message_type": "connect", "device_id": "d"}))
        .await;
    assert_eq!(waiting.recv_json().await["message_type"], "config");
    server
        .wait_for_metric("switchboard_waiting_calls", 1.0)
        .await;
    assert_refused(&server).await;
}

#[tokio::test]
async fn one_waiting_call_too_many_for_one_device_is_refused() {
    let limits = "[limits]\nwaiting_calls_per_endpoint = 1";
    let server = Server::configured(limits, &["--wait-for-device"]).await;
    let wait_for = async |device: &str| {
        let mut waiting = server.ws("/connect_client").await;
        let connect = json!({"message_type": "connect", "device_id": device});
        waiting.send_json(&connect).await;
        assert_eq!(waiting.recv_json().await["message_type"], "config");
        waiting
    };
    let _first = wait_for("d").await;
    server
        .wait_for_metric("switchboard_waiting_calls", 1.0)
        .await;
    assert_refused(&server).await;
    let _other = wait_for("e").await;
    server
        .wait_for_metric("switchboard_waiting_calls", 2.0)
        .await;
}

#[tokio::test]
async fn one_candidate_too_many_ends_a_geckos_client() {
    let server = Server::configured("[limits]\ngecko_candidates = 2", &[]).await;
    let mut gecko = server.ws("/worker").await;
    let hello = json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g"});
    gecko.send_json(&hello).await;
    server.wait_for_metric("switchboard_endpoints", 1.0).await;
    let mut client = server.ws("/").await;
    client
        .send_json(&json!({
            "messageType": "hello", "action": "client-hello", "authorization": "Bearer x",
            "source": "https://example.org/worker.js", "webrtcOffer": "v=0",
        }))
        .await;
    let candidate = json!({"messageType": "ice", "action": "client-candidate", "candidate": {}});
    for _ in 0..3 {
        client.send_json(&candidate).await;
    }
    assert_eq!(client.recv_json().await["errno"], 429);
    assert_eq!(client.closed().await.0, 1000);
    assert_eq!(gecko.recv_json().await["messageType"], "new-worker");
    for _ in 0..2 {
        assert_eq!(gecko.recv_json().await["messageType"], "ice");
    }
    let refused = server
        .metric("switchboard_causes_total{cause=\"too_many_candidates\"}")
        .await;
    assert_eq!(refused, 1.0);
}

async fn assert_refused(server: &Server) {
    let mut viewer = server.ws("/connect_client").await;
    viewer
        .send_json(&json!({"message_type": "connect", "device_id": "d"}))
        .await;
    assert_eq!(viewer.recv_json().await["message_type"], "config");
    assert!(viewer.recv_json().await["error"].is_string());
    assert_eq!(viewer.closed().await.0, 1000);
    let refused = server
        .metric("switchboard_causes_total{cause=\"calls_full\"}")
        .await;
    assert!(refused >= 1.0);
}

#[tokio::test]
async fn an_idle_http_connection_is_closed() {
    let server = Server::configured("[limits]\nhandshake = 0.3", &[]).await;
    let mut tcp = server.tcp().await;
    tcp.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut answer))
        .await
        .expect("closed in time");
    assert!(answer.ends_with(b"OK\n"));
}

#[tokio::test]
async fn what_begins_like_media_has_to_be_media_and_in_time() {
    let file = "[limits]\nhandshake = 0.5";
    let server = Server::configured(file, &["--advertise", "127.0.0.1"]).await;
    // Nothing, the length of a packet and no packet, and a packet that is no check of anybody.
    for bytes in [&b""[..], &[0], &[1, 0, 7], &[0, 4, 1, 2, 3, 4]] {
        let mut tcp = TcpStream::connect(&server.addresses[0]).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await;
        assert!(closed.is_ok() && rest.is_empty(), "{bytes:?}: {rest:?}");
    }
    assert_eq!(
        server.metric("switchboard_media_tcp_refused_total").await,
        1.0
    );
    assert_eq!(server.get("/health").await.body, "OK\n");
}

#[tokio::test]
async fn who_sends_too_fast_is_read_later_and_loses_nothing() {
    let server = Server::configured("[limits]\nmessages_per_second = 20", &[]).await;
    let mut client = server.ws("/connect_client").await;
    let begun = Instant::now();
    for number in 0..30 {
        let message = json!({"message_type": format!("m{number}")});
        client.send_json(&message).await;
    }
    for number in 0..30 {
        let answer = client.recv_json().await.to_string();
        assert!(answer.contains(&format!("m{number}\"")), "{answer}");
    }
    // The first 20 were free.
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
    assert!(server.metric("switchboard_held_back_total").await >= 1.0);
}

#[tokio::test]
async fn bytes_count_and_an_address_counts_as_one_sender() {
    // 30 messages of 100 bytes, of which what a second takes is free.
    for limit in [
        "bytes_per_second = 2000",
        "address_messages_per_second = 20",
        "address_bytes_per_second = 2000",
    ] {
        let server = Server::configured(&format!("[limits]\n{limit}"), &[]).await;
        let mut clients = [
            server.ws("/connect_client").await,
            server.ws("/connect_client").await,
        ];
        // Of one connection, or of both together.
        let senders = if limit.starts_with("address") { 2 } else { 1 };
        let begun = Instant::now();
        for number in 0..30 {
            let empty = json!({"message_type": "x", "pad": ""}).to_string().len();
            let message = json!({"message_type": "x", "pad": "x".repeat(100 - empty)});
            clients[number % senders].send_json(&message).await;
        }
        for number in 0..30 {
            let answer = clients[number % senders].recv_json().await;
            assert!(answer["error"].is_string(), "{limit}: {answer}");
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(450), "{limit}: {took:?}");
        let held_back = server.metric("switchboard_held_back_total").await;
        assert!(held_back >= 1.0, "{limit}");
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let server = Server::configured("[limits]\naddress_connections = 2", &[]).await;
    let first = server.ws("/connect_client").await;
    let _second = server.ws("/connect_client").await;
    let mut third = server.tcp().await;
    let mut nothing = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(PATIENCE, third.read_to_end(&mut nothing))
        .await
        .unwrap();
    assert!(nothing.is_empty());
    drop(first);
    // Closed at once, or answered.
    let is_in = async || server.get("/health").await.status == 200;
    wait_until(PATIENCE, is_in).await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_an_address_of_its_own() {
    let server = Server::configured(
        "[limits]\naddress_connections = 1\n[proxy]\ntrusted = [\"127.0.0.0/8\"]",
        &[],
    )
    .await;
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let anna = server.try_ws("/connect_client", &from("192.0.2.1")).await;
    assert!(anna.is_ok());
    assert!(
        server
            .try_ws("/connect_client", &from("192.0.2.2"))
            .await
            .is_ok()
    );
    let again = server.try_ws("/connect_client", &from("192.0.2.1")).await;
    let Err(Error::Http(refused)) = again else {
        panic!("not refused");
    };
    assert_eq!(refused.status(), 429);
    assert_eq!(
        server.metric("switchboard_address_refusals_total").await,
        1.0
    );
    drop(anna);
    let back = async || {
        server
            .try_ws("/connect_client", &from("192.0.2.1"))
            .await
            .is_ok()
    };
    wait_until(PATIENCE, back).await;
}

/// How many seconds an answer asks to wait; it has to be a refusal of one who sends too fast.
fn wait_of(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.json()["error"].is_string());
    let (_, after) = answer.head.split_once("retry-after: ").unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

const TOO_FAST: &str = "switchboard_causes_total{cause=\"address_too_fast\"}";

#[tokio::test]
async fn requests_of_one_address_that_come_too_fast_get_429_and_monitors_do_not() {
    let limits = "[limits]\naddress_messages_per_second = 1";
    for proxy in ["", "[proxy]\ntrusted = [\"127.0.0.0/8\"]"] {
        let server = Server::configured(&format!("{limits}\n{proxy}"), &[]).await;
        let from = "X-Forwarded-For: 192.0.2.1\r\n";
        for path in ["/devices", "/api/server", "/console/", "/poll_messages"] {
            let ask = || server.request("POST", path, from, "");
            // The first ones are free.
            let answers = join_all((0..10).map(|_| ask())).await;
            let refused = answers.iter().find(|answer| answer.status == 429);
            assert!((1..=10).contains(&wait_of(refused.unwrap())), "{refused:?}");
        }
        for path in ["/health", "/ready", "/metrics"] {
            let answers = join_all((0..10).map(|_| server.request("GET", path, from, ""))).await;
            assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
        }
        let header = [("X-Forwarded-For", "192.0.2.1")];
        let upgrades = join_all((0..10).map(|_| server.try_ws("/connect_client", &header))).await;
        let is_refused = |it: &_| matches!(it, Err(Error::Http(it)) if it.status() == 429);
        assert!(upgrades.iter().any(is_refused));
        assert!(server.metric(TOO_FAST).await >= 5.0);
        if !proxy.is_empty() {
            let other = "X-Forwarded-For: 192.0.2.2\r\n";
            let other = server.request("GET", "/devices", other, "").await;
            assert_eq!(other.status, 200, "{other:?}");
        }
        // Coming again on another connection is no way around it, and waiting is one.
        let is_let_in = async || server.request("GET", "/devices", from, "").await.status == 200;
        wait_until(PATIENCE, is_let_in).await;
    }
}

#[tokio::test]
async fn a_requests_body_counts_among_the_bytes_of_its_address() {
    let limits = "[limits]\naddress_bytes_per_second = 1_000\nmessage_bytes = 20_000";
    let server = Server::configured(limits, &[]).await;
    let large = json!({"device_id": "x".repeat(15_000)});
    assert_eq!(server.post("/connect", &large).await.status, 404);
    assert!(wait_of(&server.get("/devices").await) <= 15);
    // Of a body that says no length the longest is expected.
    let server = Server::configured(limits, &[]).await;
    let chunked = "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n";
    let mut tcp = server.tcp().await;
    let request =
        format!("POST /connect HTTP/1.1\r\nHost: x\r\n{chunked}\r\n2\r\n{{}}\r\n0\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut tcp).await.status, 400);
    assert!(wait_of(&server.get("/devices").await) <= 19);
    assert_eq!(server.metric(TOO_FAST).await, 1.0);
}

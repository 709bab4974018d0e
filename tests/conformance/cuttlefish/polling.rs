//! A6: clients that poll, in both generations.

use serde_json::{Value, json};

use super::{client_msg, device_msg, device_with_info};
use crate::common::{Answer, Client, PATIENCE, Server, wait_until};

/// Connects a polling client of either generation, and gives its id.
async fn polling(server: &Server, path: &str, device: &str) -> String {
    let answer = server.post(path, &json!({"device_id": device})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["connection_id"].as_str().unwrap().to_owned()
}

async fn poll(server: &Server, id: &str) -> Answer {
    server
        .post("/poll_messages", &json!({"connection_id": id}))
        .await
}

async fn messages(server: &Server, id: &str, query: &str) -> Answer {
    server
        .get(&format!("/polled_connections/{id}/messages{query}"))
        .await
}

/// Waits until the server has read all that the device sent.
async fn settle(device: &mut Client) {
    super::nothing_came(device).await;
}

#[tokio::test]
async fn the_old_generation_connects_forwards_and_drains() {
    let server = Server::start(&[]).await;
    let mut device = device_with_info(&server, "d", r#"{"hardware":{"a":1e400}}"#).await;
    let answer = server.post("/connect", &json!({"device_id": "d"})).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    assert_eq!(
        super::field(&answer.body, "message_type"),
        "\"device_info\""
    );
    assert_eq!(
        super::field(&answer.body, "device_info"),
        r#"{"hardware":{"a":1e400}}"#
    );
    let id = super::field(&answer.body, "connection_id");
    let id = id.trim_matches('"');
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));

    assert_eq!(poll(&server, id).await.json(), json!([]));
    for n in 1..=3 {
        device.forward_to(1, &json!({ "n": n })).await;
    }
    settle(&mut device).await;
    // Bare payloads, each once; a forward is answered like a poll.
    assert_eq!(
        poll(&server, id).await.json(),
        json!([{"n": 1}, {"n": 2}, {"n": 3}])
    );
    assert_eq!(poll(&server, id).await.json(), json!([]));
    device.forward_to(1, &json!(null)).await;
    settle(&mut device).await;
    let forward = json!({"connection_id": id, "payload": null});
    let answer = server.post("/forward", &forward).await;
    assert_eq!((answer.status, answer.json()), (200, json!([null])));
    device.expect(client_msg(1, &json!(null))).await;
}

#[tokio::test]
async fn payloads_of_polling_clients_are_relayed_verbatim() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let old = polling(&server, "/connect", "d").await;
    let new = polling(&server, "/polled_connections", "d").await;
    let payload = r#"{ "a":1e400, "a":12345678901234567890,"s":"\u00e4\/" }"#;
    let body = format!(r#"{{"connection_id":"{old}","payload":{payload}}}"#);
    assert_eq!(
        server.request("POST", "/forward", "", &body).await.status,
        200
    );
    assert_eq!(super::field(&device.recv_text().await, "payload"), payload);
    let path = format!("/polled_connections/{new}/:forward");
    let body = format!(r#"{{"payload":{payload}}}"#);
    assert_eq!(server.request("POST", &path, "", &body).await.status, 200);
    assert_eq!(super::field(&device.recv_text().await, "payload"), payload);

    for client in 1..=2 {
        let forward =
            format!(r#"{{"message_type":"forward","client_id":{client},"payload":{payload}}}"#);
        device.send_text(&forward).await;
    }
    settle(&mut device).await;
    assert_eq!(poll(&server, &old).await.body, format!("[{payload}]"));
    assert!(
        messages(&server, &new, "?start=0")
            .await
            .body
            .contains(payload)
    );
}

#[tokio::test]
async fn the_old_generation_hears_what_is_wrong() {
    let server = Server::start(&[]).await;
    let _device = server.device("d").await;
    let id = polling(&server, "/connect", "d").await;
    let unknown = "x\"\n".repeat(3);
    for (path, body, status) in [
        ("/connect", json!({"device_id": "no\"\npe"}), 404),
        ("/connect", json!({"device_id": 7}), 400),
        ("/connect", json!({}), 400),
        ("/connect", json!([]), 400),
        ("/connect", json!("text"), 400),
        ("/forward", json!({"connection_id": id}), 400),
        (
            "/forward",
            json!({"connection_id": unknown, "payload": 1}),
            401,
        ),
        ("/forward", json!({"payload": 1}), 401),
        ("/poll_messages", json!({"connection_id": unknown}), 401),
        ("/poll_messages", json!({"connection_id": 7}), 401),
        ("/poll_messages", json!({}), 401),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body} {answer:?}");
        let error = answer.json();
        assert_eq!(error["type"], "error", "{path} {body}");
        assert!(error["error"].is_string(), "{path} {body}");
        assert!(
            answer.head.contains("access-control-allow-origin: *"),
            "{path} {body}"
        );
    }
    let absent = server
        .post("/connect", &json!({"device_id": "no\"\npe"}))
        .await
        .json();
    assert_eq!(
        absent["error"],
        "Connection failed: Device not found: 'no\"\npe'"
    );
    for body in ["", "{", "{} x"] {
        let answer = server.request("POST", "/connect", "", body).await;
        assert_eq!(
            (answer.status, &answer.json()["type"]),
            (400, &json!("error")),
            "{body}"
        );
    }
    // None of this cost the client its connection.
    assert_eq!(poll(&server, &id).await.json(), json!([]));
}

#[tokio::test]
async fn the_old_generations_methods_and_origins() {
    let server = Server::start(&[]).await;
    for path in ["/connect", "/forward", "/poll_messages"] {
        for (method, status) in [
            ("GET", 405),
            ("PUT", 405),
            ("DELETE", 405),
            ("OPTIONS", 204),
        ] {
            let headers = "Origin: https://elsewhere.example\r\n";
            let answer = server.request(method, path, headers, "").await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert!(
                answer.head.contains("access-control-allow-origin: *"),
                "{method} {path}"
            );
        }
        let preflight = server.request("OPTIONS", path, "", "").await;
        assert!(
            preflight
                .head
                .contains("access-control-allow-methods: post")
        );
        assert!(
            preflight
                .head
                .contains("access-control-allow-headers: content-type")
        );
        assert_eq!(preflight.body, "");
    }
    let config = server.get("/infra_config").await;
    assert!(
        config.head.contains("access-control-allow-origin: *"),
        "{config:?}"
    );
}

#[tokio::test]
async fn the_new_generation_reads_by_offset_and_nothing_is_drained() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let answer = server
        .post("/polled_connections", &json!({"device_id": "d"}))
        .await;
    assert_eq!(answer.json()["device_info"], json!({"hardware": {}}));
    let id = answer.json()["connection_id"].as_str().unwrap().to_owned();
    assert_eq!(messages(&server, &id, "?start=0").await.json(), json!([]));
    for n in 0..5 {
        device.forward_to(1, &json!(n)).await;
    }
    settle(&mut device).await;
    let wrapped =
        |range: std::ops::Range<u32>| Value::from_iter(range.map(|n| device_msg(&json!(n))));
    for (query, expected) in [
        ("", wrapped(0..5)),
        ("?start=0", wrapped(0..5)),
        ("?start=3", wrapped(3..5)),
        ("?start=1&count=2", wrapped(1..3)),
        ("?count=1", wrapped(0..1)),
        ("?start=2&count=0", wrapped(0..0)),
        ("?start=5", wrapped(0..0)),
        ("?start=9", wrapped(0..0)),
        (
            "?start=18446744073709551615&count=18446744073709551615",
            wrapped(0..0),
        ),
        ("?start=4&count=100", wrapped(4..5)),
    ] {
        // Twice: nothing is drained.
        for _ in 0..2 {
            let answer = messages(&server, &id, query).await;
            assert_eq!(
                (answer.status, answer.json()),
                (200, expected.clone()),
                "{query}"
            );
        }
    }
    for query in [
        "?start=x",
        "?start=-1",
        "?start=1.5",
        "?start=",
        "?count=x",
        "?start=99999999999999999999",
    ] {
        assert_eq!(messages(&server, &id, query).await.status, 400, "{query}");
    }
    let path = format!("/polled_connections/{id}/:forward");
    let answer = server.post(&path, &json!({"payload": {"a": [1]}})).await;
    assert_eq!((answer.status, answer.json()), (200, json!("ok")));
    device.expect(client_msg(1, &json!({"a": [1]}))).await;
    for body in [json!({}), json!([])] {
        assert_eq!(server.post(&path, &body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn the_new_generation_hears_what_is_not_found() {
    let server = Server::start(&[]).await;
    let absent = server
        .post("/polled_connections", &json!({"device_id": "d"}))
        .await;
    assert_eq!(
        (absent.status, absent.body.as_str()),
        (404, "Device not found")
    );
    assert_eq!(
        server.post("/polled_connections", &json!({})).await.status,
        400
    );
    assert_eq!(messages(&server, "unknown", "?start=0").await.status, 404);
    let answer = server
        .post(
            "/polled_connections/unknown/:forward",
            &json!({"payload": 1}),
        )
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(server.get("/polled_connections").await.status, 405);
}

#[tokio::test]
async fn only_the_last_1000_messages_wait() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let old = polling(&server, "/connect", "d").await;
    let new = polling(&server, "/polled_connections", "d").await;
    for n in 0..1_010 {
        device.forward_to(1, &json!(n)).await;
        device.forward_to(2, &json!(n)).await;
    }
    settle(&mut device).await;
    let kept: Vec<u32> = (10..1_010).collect();
    assert_eq!(poll(&server, &old).await.json(), json!(kept));
    // An offset counts from the first message, dropped or not.
    let last = messages(&server, &new, "?start=1009").await.json();
    assert_eq!(last, json!([device_msg(&json!(1_009))]));
    let all = messages(&server, &new, "?start=0").await.json();
    assert_eq!(all.as_array().unwrap().len(), 1_000);
    assert_eq!(all[0], device_msg(&json!(10)));
}

#[tokio::test]
async fn polling_clients_of_one_device_do_not_meet() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let first = polling(&server, "/connect", "d").await;
    let second = polling(&server, "/connect", "d").await;
    device.forward_to(2, &json!("second's")).await;
    settle(&mut device).await;
    assert_eq!(poll(&server, &first).await.json(), json!([]));
    assert_eq!(poll(&server, &second).await.json(), json!(["second's"]));
}

#[tokio::test]
async fn when_the_device_leaves_polling_clients_are_told() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let old = polling(&server, "/connect", "d").await;
    let new = polling(&server, "/polled_connections", "d").await;
    device.forward_to(1, &json!("last words")).await;
    settle(&mut device).await;
    drop(device);
    server.wait_for_metric("switchboard_endpoints", 0.0).await;

    assert_eq!(poll(&server, &old).await.json(), json!(["last words"]));
    let over = poll(&server, &old).await;
    assert_eq!(over.status, 404, "{over:?}");
    assert_eq!(
        over.json(),
        json!({"type": "error", "error": "Device disconnected"})
    );
    assert_eq!(poll(&server, &old).await.status, 401);
    wait_until(PATIENCE, async || {
        messages(&server, &new, "?start=0").await.status == 404
    })
    .await;
    let path = format!("/polled_connections/{new}/:forward");
    assert_eq!(server.post(&path, &json!({"payload": 1})).await.status, 404);
}

//! Clients that poll, in both generations.

use serde_json::{Value, json};

use crate::common::{PATIENCE, Server, wait_until};

async fn connect(server: &Server, path: &str) -> String {
    let answer = server.post(path, &json!({"device_id": "d"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["device_info"], json!({"hardware": {}}));
    let id = answer["connection_id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    id.to_owned()
}

#[tokio::test]
async fn the_old_generation_forwards_and_drains() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let id = connect(&server, "/connect").await;
    let forward = json!({"connection_id": id, "payload": {"n": 1}});
    assert_eq!(server.post("/forward", &forward).await.json(), json!([]));
    device
        .expect(json!({"message_type": "client_msg", "client_id": 1, "payload": {"n": 1}}))
        .await;
    device.forward_to(1, &json!({"n": 2})).await;
    let mut got = json!([]);
    wait_until(PATIENCE, async || {
        got = server
            .post("/poll_messages", &json!({"connection_id": id}))
            .await
            .json();
        got != json!([])
    })
    .await;
    assert_eq!(got, json!([{"n": 2}]));
    let again = server
        .post("/poll_messages", &json!({"connection_id": id}))
        .await;
    assert_eq!(again.json(), json!([]));
    assert!(
        again.head.contains("access-control-allow-origin: *"),
        "{}",
        again.head
    );
}

#[tokio::test]
async fn the_old_generation_hears_what_is_wrong() {
    let server = Server::start(&[]).await;
    let _device = server.device("d").await;
    let id = connect(&server, "/connect").await;
    for (path, body, status) in [
        ("/connect", json!({"device_id": "absent"}), 404),
        ("/connect", json!({}), 400),
        ("/forward", json!({"connection_id": id}), 400),
        ("/forward", json!({"connection_id": "x", "payload": 1}), 401),
        ("/poll_messages", json!({"connection_id": "x"}), 401),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body} {answer:?}");
        assert_eq!(answer.json()["type"], "error");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(server.get("/connect").await.status, 405);
    assert_eq!(
        server.request("OPTIONS", "/forward", "", "").await.status,
        204
    );
}

#[tokio::test]
async fn the_new_generation_reads_by_offset_until_the_device_leaves() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let id = connect(&server, "/polled_connections").await;
    let messages = |query: &str| format!("/polled_connections/{id}/messages{query}");
    let answer = server
        .post(
            &format!("/polled_connections/{id}/:forward"),
            &json!({"payload": 7}),
        )
        .await;
    assert_eq!(answer.json(), json!("ok"));
    device
        .expect(json!({"message_type": "client_msg", "client_id": 1, "payload": 7}))
        .await;
    device.forward_to(1, &json!(1)).await;
    device.forward_to(1, &json!(2)).await;
    let wrapped = |payload: u8| json!({"message_type": "device_msg", "payload": payload});
    wait_until(PATIENCE, async || {
        server.get(&messages("?start=0")).await.json() == json!([wrapped(1), wrapped(2)])
    })
    .await;
    assert_eq!(
        server.get(&messages("?start=0&count=1")).await.json(),
        json!([wrapped(1)])
    );
    assert_eq!(
        server.get(&messages("?start=1")).await.json(),
        json!([wrapped(2)])
    );
    assert_eq!(server.get(&messages("?start=9")).await.json(), json!([]));
    assert_eq!(server.get(&messages("?start=x")).await.status, 400);

    drop(device);
    wait_until(PATIENCE, async || {
        server.get(&messages("?start=0")).await.status == 404
    })
    .await;
    assert_eq!(server.metric("switchboard_polling_clients").await, 0.0);
    let absent = server
        .post("/polled_connections", &json!({"device_id": "d"}))
        .await;
    assert_eq!(
        (absent.status, absent.body.as_str()),
        (404, "Device not found")
    );
}

#[tokio::test]
async fn a_silent_client_expires_and_its_device_hears() {
    let server = Server::configured("[limits]\npolling_idle = 0.4", &[]).await;
    let mut device = server.device("d").await;
    let id = connect(&server, "/connect").await;
    device
        .expect(json!({"message_type": "client_disconnected", "client_id": 1}))
        .await;
    let answer = server
        .post("/poll_messages", &json!({"connection_id": id}))
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn clients_and_what_is_kept_for_them_are_bounded() {
    let limits = "[limits]\npolling_clients = 1\npolling_messages = 3\npolling_bytes = 25";
    let server = Server::configured(limits, &[]).await;
    let mut device = server.device("d").await;
    let id = connect(&server, "/connect").await;
    let full = server.post("/connect", &json!({"device_id": "d"})).await;
    assert_eq!(full.status, 503, "{full:?}");

    // The device's own answer comes after its messages: when it is there, they are kept.
    let messages = ["1", "2", "3", "4", "5"].map(|n: &str| Value::from(n));
    for message in &messages {
        device.forward_to(1, message).await;
    }
    device.forward_to(9, &json!(0)).await;
    assert!(device.recv_json().await["error"].is_string());
    let poll = json!({"connection_id": id});
    assert_eq!(
        server.post("/poll_messages", &poll).await.json(),
        json!(["3", "4", "5"])
    );
    for n in 0..3 {
        device.forward_to(1, &json!(format!("{n}23456789"))).await;
    }
    device.forward_to(9, &json!(0)).await;
    assert!(device.recv_json().await["error"].is_string());
    assert_eq!(
        server.post("/poll_messages", &poll).await.json(),
        json!(["123456789", "223456789"])
    );
    let dropped = server.metric("switchboard_polling_dropped_total").await;
    assert_eq!(dropped, 3.0);
}

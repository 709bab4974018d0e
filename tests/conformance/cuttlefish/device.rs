//! A2: the device's side, `/register_device`.

use async_tungstenite::tungstenite::Message;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::{
    NO_MESSAGES, client_disconnected, client_msg, connect, device_msg, device_with_info, ends,
    field, nothing_came, refused, refused_but_open,
};
use crate::common::{PATIENCE, Server, frame, raw_ws, read_frame, wait_until};

#[tokio::test]
async fn device_info_of_any_kind_reaches_clients_verbatim() {
    let server = Server::start(&[]).await;
    let deep = "[".repeat(500) + &"]".repeat(500);
    let infos = [
        "null",
        "\"text \\u0041 \\n\"",
        "7",
        "12345678901234567890",
        "1e400",
        "-0.0",
        "false",
        "[1, 2,\t3]",
        "{ }",
        r#"{"hardware": {"a": "b"},  "hardware": {}, "ä": "\ud83d\ude00"}"#,
        deep.as_str(),
    ];
    for (index, info) in infos.iter().enumerate() {
        let id = format!("cvd-{index}");
        let _device = device_with_info(&server, &id, info).await;
        let mut client = server.ws("/connect_client").await;
        connect(&mut client, &id).await;
        assert_eq!(client.recv_json().await["message_type"], "config");
        let message = client.recv_text().await;
        assert_eq!(field(&message, "message_type"), r#""device_info""#);
        assert_eq!(field(&message, "device_info"), *info);
        // Strange information harms no list.
        assert_eq!(server.get("/devices?groupId=").await.status, 200, "{info}");
        assert_eq!(server.get("/api/endpoints").await.status, 200, "{info}");
        let described = server.get(&format!("/devices/{id}")).await;
        assert_eq!(field(&described.body, "registration_info"), *info);
    }
}

#[tokio::test]
async fn missing_device_info_is_null_for_clients() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    let register = json!({"message_type": "register", "device_id": "d"});
    device.send_json(&register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "d").await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    client
        .expect(json!({"message_type": "device_info", "device_info": null}))
        .await;
}

#[tokio::test]
async fn extra_fields_and_their_order_do_not_matter() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    let register = " {\n\t\"device_port\": 1443, \"device_info\": {}, \"x\": [{\"device_id\": 1}],\r\n\
        \"device_id\": \"d\", \"message\\u005ftype\": \"regi\\u0073ter\"}\n";
    device.send_text(register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let mut client = server.viewer("d").await;
    device
        .send_text(r#"{"payload":{"payload":1},"y":null,"client_id":1,"message_type":"forward"}"#)
        .await;
    client.expect(device_msg(&json!({"payload": 1}))).await;
}

#[tokio::test]
async fn any_text_is_an_id() {
    let server = Server::start(&[]).await;
    let ids = [
        "cvd-1",
        " ",
        "a/b?c#d",
        "a\"b\\c\nd",
        "\u{1F600}",
        "'",
        "%41",
        "null",
    ];
    let mut devices = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        devices.push(server.device(id).await);
        let mut client = server.viewer(id).await;
        client.forward(&json!(index)).await;
        devices[index].expect(client_msg(1, &json!(index))).await;
    }
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(server.get("/devices").await.json(), json!(sorted));
}

#[tokio::test]
async fn registration_without_a_usable_id_is_refused() {
    let server = Server::start(&[]).await;
    for id in [
        "",
        r#","device_id":"""#,
        r#","device_id":7"#,
        r#","device_id":null"#,
        r#","device_id":["d"]"#,
    ] {
        let mut device = server.ws("/register_device").await;
        let register = format!(r#"{{"message_type":"register","device_info":{{}}{id}}}"#);
        device.send_text(&register).await;
        refused(&mut device, "Missing device id in registration request").await;
    }
    assert_eq!(server.get("/devices").await.json(), json!([]));
}

#[tokio::test]
async fn a_taken_id_stays_with_its_live_holder() {
    let server = Server::start(&[]).await;
    let id = "du\"p\n";
    let mut holder = server.device(id).await;
    let mut viewer = server.viewer(id).await;
    // Longer than a holder counts as just heard, so that it is asked by a ping.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let newcomer = async {
        let mut other = server.ws("/register_device").await;
        other.register(id).await;
        refused(&mut other, &format!("Device id already taken: '{id}'")).await;
        viewer.forward(&json!("after")).await;
    };
    // The holder answers pings while it reads.
    let ((), message) = tokio::join!(newcomer, holder.recv_json());
    assert_eq!(message, client_msg(1, &json!("after")));
    holder.forward_to(1, &json!("reply")).await;
    viewer.expect(device_msg(&json!("reply"))).await;
}

#[tokio::test]
async fn a_taken_id_is_freed_when_its_holder_is_dead() {
    let server = Server::start(&[]).await;
    let mut dead = raw_ws(&server, "/register_device").await;
    let register = br#"{"message_type":"register","device_id":"d","device_info":"old"}"#;
    dead.write_all(&frame(0x81, register)).await.unwrap();
    read_frame(&mut dead).await;
    let mut orphan = server.ws("/connect_client").await;
    connect(&mut orphan, "d").await;
    for kind in ["config", "device_info"] {
        assert_eq!(orphan.recv_json().await["message_type"], kind);
    }
    // As real devices do: again and again.
    let mut device = None;
    wait_until(PATIENCE, async || {
        let mut retry = server.ws("/register_device").await;
        retry.register("d").await;
        let registered = retry.recv_json().await["message_type"] == "config";
        device = registered.then_some(retry);
        registered
    })
    .await;
    refused(&mut orphan, "Device disconnected").await;
    let mut client = server.viewer("d").await;
    client.forward(&json!(1)).await;
    device.unwrap().expect(client_msg(2, &json!(1))).await;
}

#[tokio::test]
async fn a_second_registration_on_one_socket_ends_it_and_frees_the_id() {
    let server = Server::start(&[]).await;
    for second in ["d", "another"] {
        let mut device = server.device("d").await;
        let mut client = server.viewer("d").await;
        device.register(second).await;
        refused(&mut device, "Device already registered: d").await;
        refused(&mut client, "Device disconnected").await;
        assert_eq!(server.get("/devices").await.json(), json!([]));
    }
}

#[tokio::test]
async fn forward_before_register_is_refused() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    device.forward_to(1, &json!(1)).await;
    assert!(device.recv_json().await["error"].is_string());
    ends(&mut device).await;
}

#[tokio::test]
async fn unknown_types_are_answered_and_the_device_stays() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    let rows = [
        ("bogus", "Unknown message type: bogus"),
        ("", "Unknown message type: "),
        ("bo\"g\nus", "Unknown message type: bo\"g\nus"),
        // The other side's.
        ("connect", "Unknown message type: connect"),
        ("config", "Unknown message type: config"),
        ("Register", "Unknown message type: Register"),
    ];
    for (kind, error) in rows {
        device
            .send_json(&json!({"message_type": kind, "device_id": "d"}))
            .await;
        refused_but_open(&mut device, error).await;
    }
    device.register("d").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    for (kind, error) in rows.into_iter().filter(|row| row.0 != "register") {
        device
            .send_json(&json!({"message_type": kind, "device_id": "d"}))
            .await;
        refused_but_open(&mut device, error).await;
    }
    let _client = server.viewer("d").await;
}

#[tokio::test]
async fn forward_without_a_client_id_or_payload_is_refused() {
    let server = Server::start(&[]).await;
    let id = "Forward failed: Missing or invalid client id";
    for (fields, error) in [
        (r#","payload":1"#, id),
        (r#","client_id":"1","payload":1"#, id),
        (r#","client_id":1.5,"payload":1"#, id),
        (r#","client_id":null,"payload":1"#, id),
        (r#","client_id":true,"payload":1"#, id),
        (r#","client_id":[1],"payload":1"#, id),
        (r#","client_id":1"#, "Forward failed: Missing payload"),
    ] {
        let mut device = server.device("d").await;
        let mut client = server.viewer("d").await;
        device
            .send_text(&format!(r#"{{"message_type":"forward"{fields}}}"#))
            .await;
        refused(&mut device, error).await;
        refused(&mut client, "Device disconnected").await;
    }
}

#[tokio::test]
async fn forward_to_a_client_that_never_was_is_an_error_and_the_device_stays() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    for number in ["9", "0", "-1", "2", "4294967297", "99999999999999999999"] {
        let forward = format!(r#"{{"message_type":"forward","client_id":{number},"payload":1}}"#);
        device.send_text(&forward).await;
        let error = format!("Forward failed: Unknown client {number}");
        refused_but_open(&mut device, &error).await;
    }
    nothing_came(&mut client).await;
}

#[tokio::test]
async fn forward_to_a_client_that_left_is_answered_with_client_disconnected_each_time() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    client.socket.close(None).await.unwrap();
    device.expect(client_disconnected(1)).await;
    for _ in 0..3 {
        device.forward_to(1, &json!("late")).await;
        device.expect(client_disconnected(1)).await;
    }
    nothing_came(&mut device).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let server = Server::start(&[]).await;
    for (text, error) in NO_MESSAGES {
        let mut fresh = server.ws("/register_device").await;
        fresh.send_text(text).await;
        refused(&mut fresh, error).await;
        let mut registered = server.device("d").await;
        registered.send_text(text).await;
        refused(&mut registered, error).await;
    }
    assert_eq!(server.get("/devices").await.json(), json!([]));
}

#[tokio::test]
async fn binary_and_empty_frames_are_refused() {
    let server = Server::start(&[]).await;
    for bytes in [
        &b""[..],
        br#"{"message_type":"register","device_id":"d"}"#,
        b"\xff\x00",
    ] {
        let mut device = server.ws("/register_device").await;
        device.send(Message::binary(bytes.to_vec())).await;
        refused(&mut device, "Received a binary message").await;
    }
    let mut device = server.device("d").await;
    device.send(Message::text("")).await;
    refused(&mut device, "Received Invalid JSON").await;
}

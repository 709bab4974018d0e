//! A6: devices, their files and the pages; clients on `/devices/{id}/connect`.

use async_tungstenite::tungstenite::{Error, Message};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{client_disconnected, client_msg, device_msg, device_with_info, field, refused};
use crate::common::{Client, Server};

#[tokio::test]
async fn devices_are_listed_as_ids_or_as_objects() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/devices").await.json(), json!([]));
    assert_eq!(server.get("/devices?groupId=").await.json(), json!([]));
    let full = r#"{"group_name":"g","owner":"o","name":"n","adb_port":6520}"#;
    let _devices = [
        device_with_info(&server, "full", full).await,
        device_with_info(&server, "null", "null").await,
        device_with_info(&server, "odd\"\n", r#"{"group_name":7,"adb_port":"x"}"#).await,
    ];
    let listed = server.get("/devices").await;
    assert!(listed.head.contains("content-type: application/json"));
    assert_eq!(listed.json(), json!(["full", "null", "odd\"\n"]));

    let full = json!({"device_id": "full", "group_name": "g", "adb_port": 6520, "owner": "o", "name": "n"});
    let bare = |id: &str| json!({"device_id": id, "group_name": "", "adb_port": 0});
    let all = json!([full, bare("null"), bare("odd\"\n")]);
    for (query, expected) in [
        ("?groupId=", &all),
        ("?owner=", &all),
        ("?groupId=g", &json!([full])),
        ("?groupId=g&owner=o", &json!([full])),
        ("?groupId=g&owner=x", &json!([])),
        ("?groupId=x", &json!([])),
    ] {
        let listed = server.get(&format!("/devices{query}")).await;
        assert_eq!(&listed.json(), expected, "{query}");
    }
}

#[tokio::test]
async fn one_device_is_described_with_its_registration() {
    let server = Server::start(&[]).await;
    let info = r#"{ "adb_port": 6520, "group_name":"g", "x":1e400 }"#;
    let _device = device_with_info(&server, "a/b \"c\"", info).await;
    let answer = server.get("/devices/a%2Fb%20%22c%22").await;
    assert_eq!(answer.status, 200);
    assert_eq!(field(&answer.body, "device_id"), r#""a/b \"c\"""#);
    assert_eq!(field(&answer.body, "registration_info"), info);
    // A number that is too large for most readers spoils nothing else.
    assert_eq!(field(&answer.body, "group_name"), "\"g\"");
    assert_eq!(field(&answer.body, "adb_port"), "6520");
    let absent = server.get("/devices/absent").await;
    assert_eq!(
        (absent.status, absent.body.as_str()),
        (404, "Device not found")
    );
}

#[tokio::test]
async fn clients_of_the_new_websocket_send_bare_payloads() {
    let server = Server::start(&[]).await;
    let mut device = device_with_info(&server, "a b", r#"{ "n":1e400 }"#).await;
    let origin = [("origin", "https://elsewhere.example")];
    let mut client = server
        .try_ws("/devices/a%20b/connect", &origin)
        .await
        .unwrap();
    let first = client.recv_text().await;
    assert_eq!(field(&first, "device_info"), r#"{ "n":1e400 }"#);
    assert!(!first.contains("message_type"));

    let payload = r#"{"type":"request-offer", "message_type":"connect","n":1e400}"#;
    client.send_text(payload).await;
    assert_eq!(field(&device.recv_text().await, "payload"), payload);
    device.forward_to(1, &json!({"type": "offer"})).await;
    client.expect(device_msg(&json!({"type": "offer"}))).await;
    client.send_json(&json!({})).await;
    device.expect(client_msg(1, &json!({}))).await;
    drop(device);
    refused(&mut client, "Device disconnected").await;
}

#[tokio::test]
async fn the_new_websocket_is_closed_on_what_is_no_object_and_refused_without_a_device() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    for (number, text) in (1..).zip(["[]", "7", "\"x\"", "null", "", "{", "{} x"]) {
        let mut client = server.ws("/devices/d/connect").await;
        client
            .expect(json!({"device_info": {"hardware": {}}}))
            .await;
        client.send_text(text).await;
        assert_eq!(client.closed().await.0, 1000, "{text}");
        device.expect(client_disconnected(number)).await;
    }
    let mut client = server.ws("/devices/d/connect").await;
    client
        .expect(json!({"device_info": {"hardware": {}}}))
        .await;
    client.send(Message::binary("{}")).await;
    refused(&mut client, "Received a binary message").await;
    for path in [
        "/devices/absent/connect",
        "/devices/d/connect/",
        "/devices//connect",
    ] {
        match server.try_ws(path, &[]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 404, "{path}"),
            other => panic!("{path}: {:?}", other.err()),
        }
    }
}

/// A device whose own HTTP server gives one answer to every request, and hands each request over in
/// lower case.
async fn device_with_files(
    server: &Server,
    answer: &'static str,
) -> (Client, mpsc::Receiver<String>) {
    let files = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = files.local_addr().unwrap().port();
    let (requests, received) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = files.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(tcp.read_u8().await.unwrap());
            }
            let text = String::from_utf8(request).unwrap().to_ascii_lowercase();
            requests.send(text).await.unwrap();
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    // As libwebsockets connects, with which original devices are built.
    let headers = [
        ("origin", "http://127.0.0.1"),
        ("sec-websocket-protocol", "webrtc-operator"),
    ];
    let mut device = server.try_ws("/register_device", &headers).await.unwrap();
    let register = json!({"message_type": "register", "device_id": "d", "device_info": {}, "device_port": port});
    device.send_json(&register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    (device, received)
}

#[tokio::test]
async fn files_come_from_the_device_without_the_callers_secrets() {
    let server = Server::start(&[]).await;
    let answer = "HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nContent-Type: text/css\r\nX-Theirs: 1\r\n\r\nhello";
    let (_device, mut requests) = device_with_files(&server, answer).await;
    let headers = "Cookie: c=1\r\nAuthorization: Basic x\r\nX-Secret: y\r\nX-Forwarded-For: z\r\n\
        Accept: text/css\r\nIf-None-Match: \"e\"\r\n";
    let file = server
        .request("GET", "/devices/d/files/a/b%20c.css?v=1", headers, "")
        .await;
    assert_eq!(
        (file.status, file.body.as_str()),
        (203, "hello"),
        "{file:?}"
    );
    assert!(file.head.contains("content-type: text/css"), "{file:?}");
    let seen = requests.recv().await.unwrap();
    assert!(
        seen.starts_with("get /a/b%20c.css?v=1 http/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("accept: text/css\r\n") && seen.contains("if-none-match: \"e\"\r\n"));
    for name in ["cookie:", "authorization:", "\r\nx-"] {
        assert!(!seen.contains(name), "{seen}");
    }
}

#[tokio::test]
async fn the_connector_of_a_devices_pages_comes_from_the_server() {
    let server = Server::start(&[]).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold";
    let (_device, mut requests) = device_with_files(&server, answer).await;
    let own = server.get("/js/server_connector.js").await;
    assert!(own.status == 200 && own.head.contains("javascript"));
    for name in ["createConnector", "createParentController", "deviceId"] {
        assert!(
            own.body.contains(&format!("export function {name}(")),
            "{name}"
        );
    }
    let connector = server.get("/devices/d/files/js/server_connector.js").await;
    assert_eq!((connector.status, connector.body), (200, own.body));
    assert!(requests.try_recv().is_err());
    assert_eq!(server.get("/devices/d/files/js/other.js").await.body, "old");
}

#[tokio::test]
async fn a_devices_failing_http_server_is_502_and_an_absent_device_404() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/devices/absent/files/x").await.status, 404);
    // A port where nothing listens.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut device = server.ws("/register_device").await;
    let register = json!({"message_type": "register", "device_id": "deaf", "device_port": port});
    device.send_json(&register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let failed = server.get("/devices/deaf/files/x").await;
    assert_eq!(failed.status, 502);
    assert!(failed.json()["error"].is_string());
    let (_device, _requests) = device_with_files(&server, "nonsense\r\n\r\n").await;
    assert_eq!(server.get("/devices/d/files/x").await.status, 502);
}

#[tokio::test]
async fn a_page_is_at_the_root() {
    let server = Server::start(&[]).await;
    for path in ["/", "/?deviceId=x"] {
        let page = server.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.head.contains("content-type: text/html") && page.body.contains("<html"));
    }
    let head = server.request("HEAD", "/", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn own_assets_take_the_place_of_the_page() {
    let assets = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("index.html", "<p>mine"),
        ("client.html", "<p>client"),
        ("js/app.js", "// mine"),
    ] {
        let file = assets.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let server = Server::start(&["--assets", assets.path().to_str().unwrap()]).await;
    for (path, text, kind) in [
        ("/", "<p>mine", "text/html"),
        ("/index.html", "<p>mine", "text/html"),
        ("/client.html?deviceId=d", "<p>client", "text/html"),
        ("/js/app.js", "// mine", "javascript"),
    ] {
        let page = server.get(path).await;
        assert_eq!((page.status, page.body.as_str()), (200, text), "{path}");
        assert!(page.head.contains(kind), "{path}: {}", page.head);
    }
    for path in [
        "/absent.html",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/js/..%2f..%2fx",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    // What the server itself serves stays where it is.
    assert!(
        server
            .get("/js/server_connector.js")
            .await
            .body
            .contains("createConnector")
    );
    assert_eq!(server.get("/devices").await.json(), json!([]));
    let _device = server.device("d").await;
    let _client = server.viewer("d").await;
}

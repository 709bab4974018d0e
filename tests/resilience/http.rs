//! What the port answers besides WebSockets.

use async_tungstenite::tungstenite::Error;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::common::{Client, PATIENCE, Server};

#[tokio::test]
async fn unknown_paths_are_404_in_json_also_for_upgrades() {
    let server = Server::start(&[]).await;
    for path in [
        "/nothing",
        "/register_device/",
        "/connect_client/",
        "/register_device",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string());
        assert!(answer.head.contains("x-content-type-options: nosniff"));
    }
    for path in ["/nothing", "/register_device/", "/devices/absent/connect"] {
        match server.try_ws(path, &[]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 404, "{path}"),
            other => panic!("{path}: {:?}", other.err()),
        }
    }
    assert!(server.try_ws("/connect_client?x=1", &[]).await.is_ok());
}

#[tokio::test]
async fn the_upgrade_follows_the_rfc() {
    let server = Server::start(&[]).await;
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let ask = async |headers: String| {
        let mut tcp = server.tcp().await;
        let request = format!("GET /connect_client HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(tcp).lines();
        let mut head = String::new();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap() {
            if line.is_empty() {
                break;
            }
            head += &(line.to_ascii_lowercase() + "\n");
        }
        head
    };
    let version = "Sec-WebSocket-Version: 13\r\n";
    let good = ask(format!("{upgrade}{version}{key}")).await;
    assert!(good.starts_with("http/1.1 101"), "{good}");
    // The example of RFC 6455 section 1.3.
    assert!(
        good.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{good}"
    );
    assert!(!good.contains("sec-websocket-protocol"), "{good}");
    let offered = "Sec-WebSocket-Protocol: other, webrtc-operator\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let good = ask(format!("{upgrade}{version}{key}{offered}")).await;
    assert!(
        good.contains("sec-websocket-protocol: webrtc-operator"),
        "{good}"
    );
    assert!(!good.contains("extensions"), "{good}");

    // The harness's own requests are of that version.
    let request = format!("{upgrade}{version}{key}");
    let earlier = server.request("GET", "/connect_client", &request, "").await;
    assert_eq!(earlier.status, 400, "{earlier:?}");
    let why = earlier.json()["error"].to_string();
    assert!(why.contains("proxy_http_version 1.1"), "{why}");

    let old = ask(format!("{upgrade}Sec-WebSocket-Version: 8\r\n{key}")).await;
    assert!(
        old.starts_with("http/1.1 426") && old.contains("sec-websocket-version: 13"),
        "{old}"
    );
    let keyless = ask(format!("{upgrade}{version}")).await;
    assert!(keyless.starts_with("http/1.1 400"), "{keyless}");
}

#[tokio::test]
async fn devices_are_listed_for_both_generations() {
    let server = Server::start(&[]).await;
    let mut device = server.ws("/register_device").await;
    let info = json!({"adb_port": 6520, "group_name": "g"});
    device
        .send_json(&json!({"message_type": "register", "device_id": "a b", "device_info": info}))
        .await;
    assert_eq!(
        device.recv_json().await,
        server.get("/infra_config").await.json()
    );

    assert_eq!(server.get("/devices").await.json(), json!(["a b"]));
    let object = json!({"device_id": "a b", "group_name": "g", "adb_port": 6520});
    for query in ["groupId=", "groupId=g", "owner="] {
        assert_eq!(
            server.get(&format!("/devices?{query}")).await.json(),
            json!([object]),
            "{query}"
        );
    }
    assert_eq!(server.get("/devices?groupId=other").await.json(), json!([]));
    let described = server.get("/devices/a%20b").await.json();
    assert_eq!(described["registration_info"], info);
    let absent = server.get("/devices/x").await;
    assert_eq!(
        (absent.status, absent.body.as_str()),
        (404, "Device not found")
    );

    let listed = &server.get("/api/endpoints").await.json()["endpoints"][0];
    assert_eq!(listed["id"], "a b");
    assert_eq!(
        (&listed["dialect"], &listed["kind"]),
        (&json!("cuttlefish"), &json!("device"))
    );
    assert_eq!((&listed["calls"], &listed["info"]), (&json!(0), &info));
}

#[tokio::test]
async fn the_stream_of_endpoints_follows_changes() {
    let server = Server::start(&[]).await;
    let mut tcp = server.tcp().await;
    tcp.write_all(b"GET /api/endpoints/stream HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut lines = BufReader::new(tcp).lines();
    let mut next = async || loop {
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let snapshot: serde_json::Value = serde_json::from_str(data).unwrap();
            return snapshot["endpoints"].as_array().unwrap().len();
        }
    };
    assert_eq!(next().await, 0);
    let device = server.device("d").await;
    assert_eq!(next().await, 1);
    drop(device);
    assert_eq!(next().await, 0);
}

#[tokio::test]
async fn pages_come_from_the_console_or_from_assets() {
    let server = Server::start(&[]).await;
    for path in ["/", "/console/"] {
        let page = server.get(path).await;
        assert!(page.head.contains("text/html"));
        // No page of another server leads its users' clicks here.
        assert!(
            page.head.contains("frame-ancestors 'self'"),
            "{}",
            page.head
        );
        assert!(page.head.contains("referrer-policy: same-origin"));
    }
    assert_eq!(server.get("/js/server_connector.js").await.status, 200);

    let assets = tempfile::tempdir().unwrap();
    std::fs::write(assets.path().join("index.html"), "mine").unwrap();
    let server = Server::start(&["--assets", assets.path().to_str().unwrap()]).await;
    assert_eq!(server.get("/").await.body, "mine");
    assert_eq!(server.get("/js/server_connector.js").await.status, 200);
    assert_eq!(server.get("/js/app.js").await.status, 404);
    assert_eq!(server.get("/console/js/app.js").await.status, 200);
    assert_eq!(server.get("/../Cargo.toml").await.status, 404);
    std::fs::remove_file(assets.path().join("index.html")).unwrap();
    assert!(server.get("/").await.head.contains("location: /console/"));
    assert!(server.get("/absent").await.json()["error"].is_string());
    let metrics = server.get("/metrics").await;
    assert!(
        metrics.head.contains("application/openmetrics-text"),
        "{}",
        metrics.head
    );
    assert!(metrics.body.ends_with("# EOF\n"));
    assert_eq!(server.get("/ready").await.body, "ready");
}

/// A device that serves files: one answer to each request, which it hands back.
async fn device_with_files(
    server: &Server,
    answer: &'static str,
) -> (Client, tokio::sync::mpsc::Receiver<String>) {
    let files = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = files.local_addr().unwrap().port();
    let (requests, received) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = files.accept().await {
            let mut request = vec![0; 4096];
            let length = tcp.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            requests.send(text).await.unwrap();
            tcp.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                // Holds the connection without an answer.
                std::future::pending::<()>().await;
            }
        }
    });
    let mut device = server.ws("/register_device").await;
    device
        .send_json(&json!({"message_type": "register", "device_id": "d", "device_port": port}))
        .await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    (device, received)
}

#[tokio::test]
async fn device_files_come_from_the_device_but_the_connector_from_the_server() {
    let server = Server::start(&[]).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/css\r\nSet-Cookie: a=b\r\n\
        Service-Worker-Allowed: /\r\nStrict-Transport-Security: max-age=9\r\nNEL: {}\r\nETag: \"1\"\r\n\r\nhello";
    let (_device, mut requests) = device_with_files(&server, answer).await;
    let secret = "Cookie: c=1\r\nAuthorization: Basic x\r\nX-Secret: y\r\nAccept: text/css\r\n\
        Sec-WebSocket-Protocol: switchboard, bearer.secret\r\n";
    let file = server
        .request("GET", "/devices/d/files/a%20b.css?v=1", secret, "")
        .await;
    assert_eq!(
        (file.status, file.body.as_str()),
        (200, "hello"),
        "{file:?}"
    );
    assert!(file.head.contains("text/css") && file.head.contains("etag: \"1\""));
    // What would hold for the whole server.
    for gone in [
        "set-cookie",
        "service-worker-allowed",
        "strict-transport-security",
        "nel:",
    ] {
        assert!(!file.head.contains(gone), "{}", file.head);
    }
    let seen = requests.recv().await.unwrap();
    assert!(seen.starts_with("get /a%20b.css?v=1 http/1.1"), "{seen}");
    assert!(seen.contains("accept: text/css"), "{seen}");
    for gone in ["cookie", "authorization", "x-secret", "bearer"] {
        assert!(!seen.contains(gone), "{seen}");
    }
    let worker = server.request(
        "GET",
        "/devices/d/files/sw.js",
        "Service-Worker: script\r\n",
        "",
    );
    assert_eq!(worker.await.status, 403);
    let connector = server.get("/devices/d/files/js/server_connector.js").await;
    assert_eq!(connector.status, 200);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn device_files_are_bounded_in_time_and_size() {
    let limits = "[limits]\ndevice_file = 0.3\ndevice_file_bytes = 10";
    let server = Server::configured(limits, &[]).await;
    let (device, _requests) = device_with_files(&server, "").await;
    assert_eq!(server.get("/devices/d/files/x").await.status, 502);
    drop(device);
    server.wait_for_metric("switchboard_endpoints", 0.0).await;
    let long = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789ABCDEF";
    let (_device, _requests) = device_with_files(&server, long).await;
    let file = server.get("/devices/d/files/x").await;
    assert!(file.body.len() <= 10, "{file:?}");
    let reached = "switchboard_limit_reached_total{name=\"device_file_bytes\"}";
    server.wait_for_metric(reached, 1.0).await;
}

#[tokio::test]
async fn device_files_are_refused_where_they_could_reach_too_far() {
    let server = Server::start(&[]).await;
    let _portless = server.device("portless").await;
    let why = server.get("/devices/portless/files/x").await;
    assert_eq!(why.status, 404);
    assert!(
        why.json()["error"]
            .as_str()
            .unwrap()
            .contains("device_port")
    );

    let (origin, browser) = (("origin", "http://10.0.0.1"), ("user-agent", "Mozilla/5.0"));
    let proxied = [("x-forwarded-for", "10.0.0.1")];
    for (id, headers) in [("proxied", &proxied[..]), ("page", &[origin, browser])] {
        let mut device = server.try_ws("/register_device", headers).await.unwrap();
        device
            .send_json(&json!({"message_type": "register", "device_id": id, "device_port": 1}))
            .await;
        assert_eq!(device.recv_json().await["message_type"], "config");
        let refused = server.get(&format!("/devices/{id}/files/x")).await;
        assert_eq!(refused.status, 404, "{refused:?}");
    }

    // A proxy's own address isn't its devices', whatever it forgets to say of them.
    let proxied = "[proxy]\nheader = \"x-forwarded-for\"\ntrusted = [\"127.0.0.1\"]";
    let server = Server::configured(proxied, &[]).await;
    let (_device, mut requests) = device_with_files(&server, "").await;
    assert_eq!(server.get("/devices/d/files/x").await.status, 404);
    assert!(requests.try_recv().is_err());

    let server = Server::configured("[cuttlefish]\ndevice_files = false", &[]).await;
    let _device = server.device("d").await;
    let off = server.get("/devices/d/files/x").await;
    assert!(
        off.json()["error"]
            .as_str()
            .unwrap()
            .contains("device_files")
    );
}

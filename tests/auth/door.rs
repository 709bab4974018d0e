//! Who gets in at all.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::common::process::Process;
use crate::common::{Answer, PATIENCE, Server, wait_until};
use crate::server;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
/// Each WebSocket, and whose token opens it.
const SOCKETS: [(&str, &str); 7] = [
    ("/register_device", "camera"),
    ("/connect_client", "viewer"),
    ("/worker", "gecko"),
    ("/room", "speaker"),
    ("/ws", "peer"),
    ("/", "peer"),
    ("/", "viewer"),
];

#[tokio::test]
async fn each_socket_needs_a_token_for_it() {
    let server = server().await;
    for (path, user) in SOCKETS {
        let status = async |token: &str| {
            let headers = match token {
                "" => UPGRADE.to_owned(),
                token => format!("{UPGRADE}Authorization: Bearer {token}\r\n"),
            };
            server.request("GET", path, &headers, "").await.status
        };
        assert_eq!(status("").await, 401, "{path}");
        assert_eq!(status("unknown").await, 401, "{path}");
        assert_eq!(status("nothing").await, 403, "{path}");
        assert_eq!(status("admin").await, 403, "{path}");
        assert!(
            server
                .try_ws(&format!("{path}?token={user}"), &[])
                .await
                .is_ok(),
            "{path}"
        );
        let token = format!("switchboard, bearer.{user}");
        let headers = [("Sec-WebSocket-Protocol", &*token)];
        assert!(server.try_ws(path, &headers).await.is_ok(), "{path}");
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_logged_and_its_token_is_not() {
    let server = server().await;
    for (path, cause) in [
        ("/room", "no_authorization"),
        ("/room?token=nonsense", "token_refused"),
        ("/room?token=viewer", "forbidden"),
    ] {
        server.request("GET", path, UPGRADE, "").await;
        let line = format!("refused at the door path=\"/room\" peer=127.0.0.1 cause=\"{cause}\"");
        wait_until(PATIENCE, async || server.log().contains(&line)).await;
    }
    assert!(!server.log().contains("nonsense"), "{}", server.log());
}

#[tokio::test]
async fn what_operators_see_is_for_admins_and_what_says_nothing_is_for_all() {
    let server = server().await;
    for path in [
        "/health",
        "/ready",
        "/",
        "/console/",
        "/v1/",
        "/__heartbeat__",
    ] {
        let status = server.get(path).await.status;
        assert!(status < 400, "{path}: {status}");
    }
    for path in ["/metrics", "/api/endpoints", "/api/rooms"] {
        assert_eq!(server.get(path).await.status, 401, "{path}");
        let as_viewer = server.get(&format!("{path}?token=viewer")).await;
        assert_eq!(as_viewer.status, 403, "{path}");
        let as_admin = server.get(&format!("{path}?token=admin")).await;
        assert_eq!(as_admin.status, 200, "{path}");
    }
    let refused = server.get("/api/rooms?token=viewer").await;
    assert_eq!(
        refused.json()["error"],
        "the token does not allow this; it needs the role admin"
    );
    for path in [
        "/devices",
        "/infra_config",
        "/ice-servers",
        "/getAllRooms",
        "/close?room=x",
    ] {
        assert_eq!(server.get(path).await.status, 401, "{path}");
    }
    // Whatever the verb: only a page's question whether it may ask needs nothing.
    for path in ["/getAllRooms", "/getClientConfig", "/devices", "/api/rooms"] {
        let status = server.request("OPTIONS", path, "", "").await.status;
        assert_eq!(status, 401, "{path}");
    }
    for path in ["/poll_messages", "/ice-servers"] {
        let status = server.request("OPTIONS", path, "", "").await.status;
        assert_eq!(status, 204, "{path}");
    }
    assert_eq!(server.get("/devices?token=viewer").await.status, 200);
    assert_eq!(server.get("/ice-servers?token=peer").await.status, 200);
    assert_eq!(server.get("/getAllRooms?token=mute").await.status, 200);
}

#[tokio::test]
async fn a_token_for_one_device_opens_neither_another_nor_its_files() {
    let server = server().await;
    let mut device = server.ws("/register_device?token=camera").await;
    device.register("cam-2").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    // Whether it is here or not.
    for id in ["cam-2", "cam-3"] {
        let path = format!("/devices/{id}/files/x?token=viewer");
        assert_eq!(server.get(&path).await.status, 403, "{id}");
        let path = format!("/devices/{id}/connect?token=viewer");
        let mut refused = server.ws(&path).await;
        let why = format!("The token does not allow to call '{id}'");
        refused.expect(json!({ "error": why })).await;
    }
}

#[tokio::test]
async fn a_devices_page_runs_nothing_where_there_are_tokens() {
    let server = server().await;
    let files = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut device = server.ws("/register_device?token=camera").await;
    let register = json!({"message_type": "register", "device_id": "cam-1",
        "device_port": files.local_addr().unwrap().port()});
    device.send_json(&register).await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let serve = async {
        let (mut tcp, _) = files.accept().await.unwrap();
        let read = tcp.read(&mut [0; 4096]).await.unwrap();
        assert!(read > 0);
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\npage";
        tcp.write_all(page.as_bytes()).await.unwrap();
    };
    let asked = server.get("/devices/cam-1/files/client.html?token=viewer");
    let (page, ()) = tokio::join!(asked, serve);
    assert_eq!((page.status, &*page.body), (200, "page"));
    assert!(
        page.head.contains("content-security-policy: sandbox"),
        "{}",
        page.head
    );
}

#[tokio::test]
async fn a_token_shows_the_devices_and_rooms_that_it_is_for() {
    let server = server().await;
    let mut devices = Vec::new();
    for id in ["cam-1", "cam-2"] {
        let mut device = server.ws("/register_device?token=camera").await;
        device.register(id).await;
        assert_eq!(device.recv_json().await["message_type"], "config");
        devices.push(device);
    }
    let get = async |path: &str, token: &str| {
        let answer = server.get(&format!("{path}?token={token}")).await;
        answer.json()
    };
    assert_eq!(get("/devices", "viewer").await, json!(["cam-1"]));
    for all in ["camera", "watcher", "admin"] {
        assert_eq!(get("/devices", all).await, json!(["cam-1", "cam-2"]));
    }
    let one = server.get("/devices/cam-1?token=viewer").await;
    let other = server.get("/devices/cam-2?token=viewer").await;
    assert_eq!((one.status, other.status), (200, 404));

    let mut participants = Vec::new();
    for (room, token) in [("lab", "speaker"), ("hall", "mute")] {
        let mut participant = server.ws(&format!("/room?token={token}")).await;
        let params = json!({"room": room, "user": token});
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params});
        participant.send_json(&request).await;
        assert!(participant.recv_json().await["result"].is_object());
        participants.push(participant);
    }
    assert_eq!(get("/getAllRooms", "speaker").await, json!(["lab"]));
    for all in ["mute", "admin"] {
        assert_eq!(get("/getAllRooms", all).await, json!(["hall", "lab"]));
    }
}

/// The status of a request that names the server so.
async fn asked_as(server: &Server, host: &str, request: &str) -> u16 {
    let mut tcp = server.tcp().await;
    let head = format!("{request} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    tcp.write_all(head.as_bytes()).await.unwrap();
    Answer::read(&mut tcp).await.status
}

#[tokio::test]
async fn a_server_for_its_own_machine_has_no_name_that_a_page_could_bind_to_it() {
    let own = Server::configured("origins = [\"http://box.example.org\"]", &[]).await;
    for (host, status) in [
        (own.address(), 200),
        ("localhost:1", 200),
        ("box.example.org", 200),
        ("evil.example.org", 403),
        ("127.0.0.1.evil.example.org:8080", 403),
    ] {
        for path in ["/metrics", "/devices", "/api/endpoints", "/getAllRooms"] {
            let asked = asked_as(&own, host, &format!("GET {path}")).await;
            assert_eq!(asked, status, "{host} {path}");
        }
        assert_eq!(asked_as(&own, host, "GET /health").await, 200, "{host}");
    }
    let headers = [
        ("Origin", "http://evil.example.org"),
        ("Host", "evil.example.org"),
    ];
    assert!(own.try_ws("/connect_client", &headers).await.is_err());

    // Proxies say what they like, and with tokens names don't matter.
    let proxied = "[proxy]\nheader = \"x-forwarded-for\"\ntrusted = [\"127.0.0.1\"]";
    let proxied = Server::configured(proxied, &[]).await;
    assert_eq!(asked_as(&proxied, "example.org", "GET /metrics").await, 200);
    let guarded = server().await;
    let asked = asked_as(&guarded, "example.org", "GET /metrics?token=admin").await;
    assert_eq!(asked, 200);
}

#[tokio::test]
async fn pages_of_other_origins_need_to_be_allowed() {
    let server = Server::configured("origins = [\"https://app.example.org\"]", &[]).await;
    let own = format!("http://{}", server.address());
    for (origin, is_allowed) in [
        ("https://app.example.org", true),
        (&*own, true),
        ("https://evil.example.org", false),
        ("https://app.example.org.evil.org", false),
        ("null", false),
    ] {
        let opened = server
            .try_ws("/connect_client", &[("Origin", origin)])
            .await;
        assert_eq!(opened.is_ok(), is_allowed, "{origin}");
        let headers = format!("Origin: {origin}\r\n");
        let list = server.request("GET", "/devices", &headers, "").await;
        assert_eq!(list.status == 200, is_allowed, "{origin}");
    }
    assert!(server.try_ws("/connect_client", &[]).await.is_ok());
}

#[tokio::test]
async fn with_tls_and_tokens_other_machines_may_come() {
    let directory = tempfile::tempdir().unwrap();
    let (tokens, config) = (
        directory.path().join("t.toml"),
        directory.path().join("c.toml"),
    );
    std::fs::write(&tokens, crate::TOKENS).unwrap();
    let auth = format!(
        "[auth.static]\nfile = {tokens:?}\n[tls]\nself_signed = true\ndirectory = {:?}",
        directory.path()
    );
    let config_path = config.display().to_string();
    let start = |listen: &'static str, text: &str| {
        std::fs::write(&config, text).unwrap();
        Process::start(&["serve", "--listen", listen, "--config", &config_path])
    };
    let mut good = start("tls:0.0.0.0:0", &auth);
    good.line("listener", |line| {
        line.contains("listening on").then_some(())
    })
    .await;
    let mut plain = start("0.0.0.0:0", &auth);
    assert_eq!(plain.exit().await.code(), Some(2));
    plain
        .logged("tokens would go there without encryption")
        .await;
    let mut open = start("tls:0.0.0.0:0", "[tls]\nself_signed = true\n");
    assert_eq!(open.exit().await.code(), Some(2));
    open.logged("name who checks tokens under [auth]").await;
}

//! Who gets in at all.

use crate::common::process::Process;
use crate::common::{PATIENCE, Server, wait_until};
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
    let (server, _directory) = server().await;
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
    let (server, _directory) = server().await;
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
    let (server, _directory) = server().await;
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
    assert_eq!(server.get("/devices?token=viewer").await.status, 200);
    assert_eq!(server.get("/ice-servers?token=peer").await.status, 200);
    assert_eq!(server.get("/getAllRooms?token=mute").await.status, 200);
}

#[tokio::test]
async fn a_token_for_one_device_does_not_open_the_files_of_another() {
    let (server, _directory) = server().await;
    let mut device = server.ws("/register_device?token=camera").await;
    device.register("cam-2").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let files = server.get("/devices/cam-2/files/x?token=viewer").await;
    assert_eq!(files.status, 403, "{files:?}");
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

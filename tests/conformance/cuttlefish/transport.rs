//! A1: paths, upgrades, subprotocols, extensions, TLS, closing.

use std::path::Path;
use std::sync::Arc;

use async_tungstenite::tokio::client_async;
use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{client_disconnected, client_msg, connect, device_msg, refused};
use crate::common::{Client, PATIENCE, Server};

/// The server's answer to an upgrade, in lower case, without its body.
async fn upgrade(server: &Server, path: &str, headers: &str) -> String {
    let mut tcp = server.tcp().await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
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
}

#[tokio::test]
async fn the_subprotocol_is_echoed_and_no_other_is_negotiated() {
    let server = Server::start(&[]).await;
    for path in ["/register_device", "/connect_client"] {
        for (offered, chosen) in [
            ("", None),
            (
                "Sec-WebSocket-Protocol: webrtc-operator\r\n",
                Some("webrtc-operator"),
            ),
            ("Sec-WebSocket-Protocol: other\r\n", None),
            ("Sec-WebSocket-Protocol: webrtc-operator2, x\r\n", None),
            (
                "Sec-WebSocket-Protocol: other, webrtc-operator\r\n",
                Some("webrtc-operator"),
            ),
            (
                "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: webrtc-operator\r\n",
                Some("webrtc-operator"),
            ),
        ] {
            let head = upgrade(&server, path, offered).await;
            assert!(head.starts_with("http/1.1 101 "), "{offered}{head}");
            let mut lines = head.lines();
            let answered = lines.find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(answered, chosen, "{offered}");
        }
    }
    // A client library that checks.
    let offer = [("sec-websocket-protocol", "webrtc-operator")];
    let mut device = server.try_ws("/register_device", &offer).await.unwrap();
    device.register("d").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
}

#[tokio::test]
async fn no_extension_is_negotiated() {
    let server = Server::start(&[]).await;
    for path in ["/register_device", "/connect_client"] {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        let head = upgrade(&server, path, offer).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
    }
}

#[tokio::test]
async fn the_query_is_ignored_and_every_origin_is_taken() {
    let server = Server::start(&[]).await;
    let origin = [("origin", "https://elsewhere.example")];
    let mut device = server
        .try_ws("/register_device?x=1&y=%zz", &origin)
        .await
        .unwrap();
    device.register("d").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let mut client = server
        .try_ws("/connect_client?deviceId=x", &origin)
        .await
        .unwrap();
    connect(&mut client, "d").await;
    assert_eq!(client.recv_json().await["message_type"], "config");
    assert_eq!(client.recv_json().await["message_type"], "device_info");
}

#[tokio::test]
async fn other_paths_are_404_with_and_without_an_upgrade() {
    let server = Server::start(&[]).await;
    for path in [
        "/register_device/",
        "/connect_client/",
        "/Register_Device",
        "/connect_client/x",
        "//connect_client",
        "/no/such/path",
    ] {
        match server.try_ws(path, &[]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 404, "{path}"),
            other => panic!("{path}: {:?}", other.err()),
        }
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    for path in ["/register_device", "/connect_client"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_close_of_the_other_side_is_answered_in_kind() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut client = server.viewer("d").await;
    for (side, code) in [(&mut client, 1000), (&mut device, 1001)] {
        let frame = CloseFrame {
            code: code.into(),
            reason: "bye".into(),
        };
        side.socket.close(Some(frame)).await.unwrap();
        assert_eq!(side.closed().await.0, code);
    }
}

/// A WebSocket over TLS to a server whose certificate is trusted.
async fn tls_ws(address: &str, certificate: &Path, path: &str) -> Client<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let tls = timeout(PATIENCE, connecting).await.unwrap().unwrap();
    let mut request = format!("wss://{address}{path}")
        .into_client_request()
        .unwrap();
    let offer = "webrtc-operator".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offer);
    let (socket, _) = timeout(PATIENCE, client_async(request, tls))
        .await
        .unwrap()
        .unwrap();
    Client { socket }
}

#[tokio::test]
async fn tls_carries_the_same_protocol() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(["serve", "--tls", "self-signed"])
        .args(["--listen", "127.0.0.1:0", "--listen", "tls:127.0.0.1:0"])
        .env_remove("STATE_DIRECTORY")
        .env("XDG_STATE_HOME", state.path());
    let server = Server::spawn(command, None, 2).await;
    let certificate = state.path().join("switchboard/tls/cert.pem");

    let mut device = tls_ws(&server.addresses[1], &certificate, "/register_device").await;
    device.register("d").await;
    device
        .expect(json!({"message_type": "config", "ice_servers": []}))
        .await;
    let mut client = tls_ws(&server.addresses[1], &certificate, "/connect_client").await;
    client
        .send_json(&json!({"message_type": "connect", "device_id": "d"}))
        .await;
    client
        .expect(json!({"message_type": "config", "ice_servers": []}))
        .await;
    let info = json!({"message_type": "device_info", "device_info": {"hardware": {}}});
    client.expect(info).await;
    let large = json!("€".repeat(300_000));
    client.forward(&large).await;
    device.expect(client_msg(1, &large)).await;
    device.forward_to(1, &large).await;
    client.expect(device_msg(&large)).await;

    // The plain listener is the same server.
    let mut plain = server.viewer("d").await;
    plain.forward(&json!(1)).await;
    device.expect(client_msg(2, &json!(1))).await;
    client.send_text("[").await;
    client
        .expect(json!({"error": "Received Invalid JSON"}))
        .await;
    assert_eq!(client.closed().await, (1000, String::new()));
    device.expect(client_disconnected(1)).await;
    drop(device);
    refused(&mut plain, "Device disconnected").await;
}

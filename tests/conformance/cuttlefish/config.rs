//! A5: the `config` message.

use serde_json::json;

use super::{connect, refused};
use crate::common::Server;

const SERVERS: &str = r#"
[[ice.servers]]
urls = ["stun:stun.example.org:3478"]

[[ice.servers]]
urls = ["turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349"]
username = "u\"ser"
credential = "sécret"
"#;

#[tokio::test]
async fn ice_servers_with_credentials_reach_everyone_alike() {
    let server = Server::configured(SERVERS, &["--ice-server", "stun:third.example.org"]).await;
    let config = json!({
        "message_type": "config",
        "ice_servers": [
            {"urls": ["stun:stun.example.org:3478"]},
            {
                "urls": ["turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349"],
                "username": "u\"ser",
                "credential": "sécret",
            },
            {"urls": ["stun:third.example.org"]},
        ],
    });
    let mut device = server.ws("/register_device").await;
    device.register("d").await;
    device.expect(config.clone()).await;
    for id in ["d", "absent"] {
        let mut client = server.ws("/connect_client").await;
        connect(&mut client, id).await;
        client.expect(config.clone()).await;
    }
    let answer = server.get("/infra_config").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    assert_eq!(answer.json(), config);
    assert!(!server.log().contains("sécret"));
}

#[tokio::test]
async fn without_servers_the_list_is_empty_but_there() {
    let server = Server::start(&[]).await;
    let config = json!({"message_type": "config", "ice_servers": []});
    let mut device = server.ws("/register_device").await;
    device.register("d").await;
    device.expect(config.clone()).await;
    assert_eq!(server.get("/infra_config").await.json(), config);
    let mut client = server.ws("/connect_client").await;
    connect(&mut client, "absent").await;
    client.expect(config).await;
    refused(&mut client, "Connection failed: Device not found: 'absent'").await;
}

//! Tokens that `switchboard token mint` signs: their end by time, and by revocation.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::{Answer, PATIENCE, Server, wait_until};

/// Runs `switchboard token`; its exit code, and what it printed on both ways.
async fn token(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let output = command.arg("token").args(arguments).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

async fn mint(key: &Path, user: &str, lifetime: &str, grant: &str) -> String {
    let key = key.to_str().unwrap();
    let arguments = [
        "mint", "--key", key, "--user", user, "--for", lifetime, "--grant", grant,
    ];
    let (code, token, error) = token(&arguments).await;
    assert_eq!(code, Some(0), "{error}");
    token
}

/// A server that takes the tokens of a key, which is made.
async fn server() -> (Server, TempDir, std::path::PathBuf) {
    server_with("").await
}

/// The same, with more in its configuration.
async fn server_with(more: &str) -> (Server, TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("token.key");
    mint(&key, "first", "1s", "admin").await;
    let config = format!("[auth.local]\nkey = \"{}\"\n{more}", key.display());
    (Server::configured(&config, &[]).await, directory, key)
}

#[tokio::test]
async fn a_token_is_shown_as_it_was_minted() {
    let (_server, _directory, key) = server().await;
    let minted = mint(&key, "anna", "2h", "device ids=cam-*,x").await;
    let (code, shown, _) = token(&["show", &minted]).await;
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["sub"], "anna");
    assert_eq!(
        shown["switchboard"],
        json!([{"role": "device", "ids": ["cam-*", "x"]}])
    );
    let lifetime = shown["exp"].as_u64().unwrap() - shown["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 7_200);

    let (code, _, error) = token(&["show", "x.y"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("no signed token"), "{error}");
}

#[tokio::test]
async fn a_token_for_viewing_says_so() {
    let (server, _directory, key) = server().await;
    let key = key.to_str().unwrap();
    let start = [
        "mint",
        "--key",
        key,
        "--user",
        "a",
        "--view-only",
        "--grant",
    ];
    let arguments = [&start[..], &["client ids=cam-1", "--grant", "participant"]].concat();
    let (code, minted, error) = token(&arguments).await;
    assert_eq!(code, Some(0), "{error}");
    let (_, shown, _) = token(&["show", &minted]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let grants = &shown["switchboard"];
    assert_eq!(
        grants[0],
        json!({"role": "client", "ids": ["cam-1"], "control": false})
    );
    assert_eq!(
        (&grants[1]["publish"], &grants[1]["message"]),
        (&json!(false), &json!(false))
    );
    assert!(
        server
            .try_ws(&format!("/connect_client?token={minted}"), &[])
            .await
            .is_ok()
    );
    let (code, _, error) = token(&[&start[..], &["device"]].concat()).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("for a device"), "{error}");
}

#[tokio::test]
async fn another_key_is_not_believed() {
    let (server, directory, key) = server().await;
    let good = mint(&key, "a", "1h", "admin").await;
    assert_eq!(
        server.get(&format!("/metrics?token={good}")).await.status,
        200
    );
    let bad = mint(&directory.path().join("other.key"), "a", "1h", "admin").await;
    let refused = server.get(&format!("/metrics?token={bad}")).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.body.contains("signature is wrong"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn an_expired_token_ends_its_connection() {
    let (server, _directory, key) = server().await;
    let short = mint(&key, "a", "3s", "device").await;
    let mut device = server.ws(&format!("/register_device?token={short}")).await;
    device.register("d").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let (code, reason) = device.closed().await;
    assert_eq!((code, &*reason), (1008, "the token has expired"));
}

#[tokio::test]
async fn a_revoked_token_ends_its_connections_and_opens_none() {
    let (server, _directory, key) = server().await;
    let admin = mint(&key, "root", "1h", "admin").await;
    let one = mint(&key, "anna", "1h", "client").await;
    let two = mint(&key, "anna", "1h", "client").await;
    let socket = |token: &str| format!("/connect_client?token={token}");
    let mut viewers = [
        server.ws(&socket(&one)).await,
        server.ws(&socket(&two)).await,
    ];
    let id = {
        let (_, shown, _) = token(&["show", &one]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["jti"].as_str().unwrap().to_owned()
    };
    let path = format!("/api/revocations?token={admin}");
    // A connection takes its seat only after the answer to its upgrade.
    let seated = async || {
        let metrics = server.get(&format!("/metrics?token={admin}")).await.body;
        metrics.contains("switchboard_websockets{dialect=\"cuttlefish\",role=\"client\"} 2\n")
    };
    wait_until(PATIENCE, seated).await;
    let told = server.post(&path, &json!({"id": id})).await;
    assert_eq!(told.json(), json!({"closed": 1}));
    assert_eq!(viewers[0].closed().await.0, 1008);
    assert!(server.try_ws(&socket(&one), &[]).await.is_err());
    let mut third = server.ws(&socket(&two)).await;
    server.post(&path, &json!({"user": "anna"})).await;
    assert_eq!(viewers[1].closed().await.1, "the token was revoked");
    assert_eq!(third.closed().await.0, 1008);
    assert!(server.try_ws(&socket(&two), &[]).await.is_err());
    assert_eq!(server.post(&path, &json!({"all": true})).await.status, 400);
}

/// The end of an event stream that is opened by a token.
async fn stream_ends(server: &Server, token: &str) -> JoinHandle<Answer> {
    let mut tcp = server.tcp().await;
    let request = format!("GET /api/endpoints/stream?token={token} HTTP/1.0\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    // The answer has begun.
    let mut first = [0; 8];
    timeout(PATIENCE, tcp.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    tokio::spawn(async move { Answer::read(&mut tcp).await })
}

#[tokio::test]
async fn an_event_stream_ends_with_its_token() {
    let (server, _directory, key) = server().await;
    let (root, short, long) = (
        mint(&key, "root", "1h", "admin").await,
        mint(&key, "eve", "3s", "admin").await,
        mint(&key, "eve", "1h", "admin").await,
    );
    let expired = stream_ends(&server, &short).await;
    let revoked = stream_ends(&server, &long).await;
    let stays = stream_ends(&server, &root).await;
    assert!(expired.await.unwrap().body.contains("data: "));
    assert!(!revoked.is_finished());
    let path = format!("/api/revocations?token={root}");
    server.post(&path, &json!({"user": "eve"})).await;
    revoked.await.unwrap();
    assert!(!stays.is_finished());
    stays.abort();
}

#[tokio::test]
async fn who_is_revoked_is_in_no_room_any_more() {
    // As far as time goes, who is lost would be awaited back.
    let (server, _directory, key) = server_with("[limits]\nkurento_resume = 3600").await;
    let root = mint(&key, "root", "1h", "admin").await;
    let mut members = Vec::new();
    for user in ["anna", "bert"] {
        let token = mint(&key, user, "1h", "participant").await;
        let mut member = server.ws(&format!("/room?token={token}")).await;
        let params = json!({"room": "lab", "user": user});
        let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params});
        member.send_json(&join).await;
        assert!(member.recv_json().await["result"].is_object());
        members.push(member);
    }
    let path = format!("/api/revocations?token={root}");
    server.post(&path, &json!({"user": "anna"})).await;
    let told = members[1].recv_json().await;
    assert_eq!(told["method"], "participantLeft", "{told}");
    assert_eq!(told["params"], json!({"name": "anna"}), "{told}");
}

#[tokio::test]
async fn who_is_revoked_while_coming_in_does_not_come_in() {
    let (server, _directory, key) = server().await;
    let root = mint(&key, "root", "1h", "admin").await;
    let (camera, anna) = (
        mint(&key, "camera", "1h", "device").await,
        mint(&key, "anna", "1h", "client").await,
    );
    let mut device = server.ws(&format!("/register_device?token={camera}")).await;
    device.register("d").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let mut tcp = server.tcp().await;
    let body = r#"{"device_id":"d"}"#;
    let head = format!(
        "POST /polled_connections HTTP/1.0\r\nAuthorization: Bearer {anna}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(&body.as_bytes()[..1]).await.unwrap();
    // Until its token was looked at, which is the third.
    let looked_at = async || {
        let metrics = server.get(&format!("/metrics?token={root}")).await.body;
        let value = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |it| it.trim().parse().unwrap())
        };
        let all = "switchboard_token_checks_total{kind=\"jwt\",result=\"accepted\"}";
        value(all) - value("switchboard_token_cache_hits_total") == 3
    };
    wait_until(PATIENCE, looked_at).await;
    let path = format!("/api/revocations?token={root}");
    server.post(&path, &json!({"user": "anna"})).await;
    tcp.write_all(&body.as_bytes()[1..]).await.unwrap();
    let answer = Answer::read(&mut tcp).await;
    assert!(matches!(answer.status, 401 | 404), "{answer:?}");
}

#[tokio::test]
async fn one_revocation_too_many_makes_the_oldest_forgotten_and_that_is_counted() {
    let (server, _directory, key) = server_with("[limits]\ntokens_revoked = 1").await;
    let admin = mint(&key, "root", "1h", "admin").await;
    let anna = mint(&key, "anna", "1h", "client").await;
    let path = format!("/api/revocations?token={admin}");
    let devices = format!("/devices?token={anna}");
    for (user, status, forgotten) in [("anna", 401, 0), ("bert", 200, 1)] {
        let told = server.post(&path, &json!({"user": user})).await;
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(server.get(&devices).await.status, status, "{user}");
        let metrics = server.get(&format!("/metrics?token={admin}")).await.body;
        let line = "switchboard_limit_reached_total{name=\"tokens_revoked\"}";
        assert!(
            metrics.contains(&format!("{line} {forgotten}\n")),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn wrong_words_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("k");
    let key = key.to_str().unwrap();
    for (grant, time, expected) in [
        ("king", "1h", "unknown variant"),
        ("device rooms=x", "1h", "unknown field"),
        ("device", "soon", "24h"),
    ] {
        let arguments = [
            "mint", "--key", key, "--user", "a", "--for", time, "--grant", grant,
        ];
        let (code, _, error) = token(&arguments).await;
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

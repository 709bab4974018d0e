//! What `switchboard serve` tells of accounts.

use serde_json::json;

use crate::common::Server;
use crate::common::process::Process;

#[tokio::test]
async fn a_page_learns_where_to_log_in() {
    let server = Server::configured(
        "[accounts]\nclient_id = \"page\"\nscopes = [\"profile\", \"remote_server\"]\n\
         [accounts.fxa]\nurl = \"https://oauth.example.org\"",
        &[],
    )
    .await;
    for path in ["/v1/fxa-oauth/params", "/v0/fxa-oauth/params"] {
        let answer = server.get(path).await;
        assert!(answer.head.contains("access-control-allow-origin: *"));
        assert_eq!(
            answer.json(),
            json!({"client_id": "page", "oauth_uri": "https://oauth.example.org", "scope": "profile"})
        );
    }
}

#[tokio::test]
async fn without_accounts_there_is_nowhere_to_log_in() {
    let server = Server::start(&[]).await;
    let answer = server.get("/v1/fxa-oauth/params").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("no tokens")
    );
}

#[tokio::test]
async fn the_service_says_what_it_is_and_that_it_works() {
    let server = Server::start(&[]).await;
    let root = server.get("/v1/").await.json();
    assert_eq!(root["hello"], "switchboard");
    assert_eq!(root["version"], env!("CARGO_PKG_VERSION"));
    let heartbeat = server.get("/__heartbeat__").await;
    assert_eq!(heartbeat.status, 200);
    assert_eq!(heartbeat.json()["pubsub"], true);
}

#[tokio::test]
async fn a_wrong_file_of_tokens_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (config, tokens) = (
        directory.path().join("switchboard.toml"),
        directory.path().join("tokens.toml"),
    );
    std::fs::write(&tokens, "\n[[tokens]]\nuser = \"a\"\n").unwrap();
    let text = format!("[accounts.static]\nfile = \"{}\"", tokens.display());
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let mut process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
    assert_eq!(process.exit().await.code(), Some(2));
    process
        .logged("tokens.toml, line 2: give either token or sha256")
        .await;
}

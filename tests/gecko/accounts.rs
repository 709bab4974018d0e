//! A server that takes geckos only with a token.

use super::page::{Page, channel};
use super::scripts::echo;
use super::{Process, Server, registered};

/// A server with one account, whose token the pages of these tests have, too.
async fn server() -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let token = "[[tokens]]\ntoken = \"anna\"\nuser = \"u\"\nscopes = [\"remote_server\"]\n";
    std::fs::write(&file, token).unwrap();
    let config = format!("[accounts.static]\nfile = \"{}\"", file.display());
    (Server::configured(&config, &[]).await, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_with_a_good_token_is_taken_and_runs_workers() {
    let (server, _directory) = server().await;
    let url = format!("ws://{}", server.address());
    let gecko = Process::start(&["gecko", &url, "--id", "it", "--token", "anna"]);
    registered(&server).await;
    let mut page = Page::open(server.address(), &echo(&server), channel()).await;
    assert_eq!(page.json().await, "hello from the echo worker");
    assert!(!gecko.log().contains("anna"), "{}", gecko.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_whose_token_is_refused_ends_and_says_what_to_do() {
    let (server, _directory) = server().await;
    let url = format!("ws://{}", server.address());
    for token in [&["--token", "wrong-one"][..], &[]] {
        let mut gecko = Process::start(&[&["gecko", &url], token].concat());
        assert_eq!(gecko.exit().await.code(), Some(1));
        gecko.logged("give one with --token").await;
        assert!(!gecko.log().contains("wrong-one"), "{}", gecko.log());
    }
}

//! gecko.md A8: whose token it is. The authorities have tests of their own; here it is a file.

use tempfile::TempDir;

use super::*;

/// A server that knows the tokens of anna and bert, and one of anna's that allows nothing.
async fn server(more: &str) -> (Server, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let tokens = ["anna", "bert"].map(|user| {
        format!("[[tokens]]\ntoken = \"token-of-{user}\"\nuser = \"{user}\"\nscopes = [\"remote_server\"]\n")
    });
    let other =
        "[[tokens]]\ntoken = \"token-of-nothing\"\nuser = \"anna\"\nscopes = [\"profile\"]\n";
    std::fs::write(&file, tokens.concat() + other).unwrap();
    let config = format!("{more}\n[accounts.static]\nfile = \"{}\"", file.display());
    (Server::configured(&config, &[]).await, directory)
}

async fn gecko_of(server: &Server, user: &str, id: &str) -> Client {
    let mut gecko = server.ws(&format!("/worker?token=token-of-{user}")).await;
    gecko.send_json(&gecko_hello(id)).await;
    is_told_nothing(&mut gecko).await;
    gecko
}

#[tokio::test]
async fn a_gecko_is_told_whose_worker_it_is() {
    let (server, _directory) = server("").await;
    let mut gecko = gecko_of(&server, "bert", "g").await;
    let _client = client(&server, "anna").await;
    assert_eq!(gecko.recv_json().await["userId"], "anna");
}

#[tokio::test]
async fn a_token_that_is_unknown_or_allows_nothing_is_102() {
    let (server, _directory) = server("").await;
    let mut gecko = gecko_of(&server, "anna", "g").await;
    for account in ["nobody", "nothing"] {
        let mut hello = client_hello(account);
        // The token is looked at first.
        hello["source"] = Value::Null;
        let mut client = server.ws("/").await;
        client.send_json(&hello).await;
        client.send_json(&client_ice(1)).await;
        let (errno, worker, reason) = error(&mut client).await;
        assert_eq!((errno, worker), (102, None), "{reason}");
        assert!(!reason.contains("token-of"), "{reason}");
        assert_eq!(is_closed_next(&mut client).await, close(1000));
    }
    is_told_nothing(&mut gecko).await;
    assert!(!server.log().contains("token-of"));
}

#[tokio::test]
async fn a_gecko_needs_a_token_too_in_a_header_or_in_the_query() {
    let (server, _directory) = server("").await;
    for (path, header, status) in [
        ("/worker", None, "401"),
        ("/worker/", Some("Basic YTpi"), "401"),
        ("/worker", Some("Bearer token-of-nobody"), "401"),
        ("/worker?token=token-of-nobody", None, "401"),
        ("/worker?token=token-of-nothing", None, "401"),
        (
            "/worker?token=token-of-anna",
            Some("Bearer token-of-nobody"),
            "401",
        ),
    ] {
        let headers: Vec<_> = header.map(|it| ("Authorization", it)).into_iter().collect();
        let refused = server.try_ws(path, &headers).await.err().unwrap();
        assert!(refused.to_string().contains(status), "{path}: {refused}");
    }
    let header = [("Authorization", "bearer token-of-anna")];
    let mut gecko = server.try_ws("/worker/", &header).await.unwrap();
    gecko.send_json(&gecko_hello("g")).await;
    is_told_nothing(&mut gecko).await;
    // Who doesn't want a WebSocket is told so, and needs no token for it.
    assert_eq!(server.get("/worker").await.status, 404);
}

#[tokio::test]
async fn nobody_takes_another_account_s_gecko_over() {
    let (server, _directory) = server("").await;
    let mut own = gecko_of(&server, "anna", "g").await;
    let mut thief = server.ws("/worker?token=token-of-bert").await;
    thief.send_json(&gecko_hello("g")).await;
    assert_eq!(error(&mut thief).await.0, 400);
    assert_eq!(is_closed_next(&mut thief).await, close(1000));
    is_told_nothing(&mut own).await;
    let _new = gecko_of(&server, "anna", "g").await;
    assert_eq!(is_closed_next(&mut own).await.0, 4001);
}

#[tokio::test]
async fn an_authority_that_can_not_be_asked_is_503() {
    // Nobody listens where the system has just given a port away and taken it back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = format!("[accounts.fxa]\nurl = \"{url}\"");
    let server = Server::configured(&config, &[]).await;
    let mut client = client(&server, "anna").await;
    let (errno, worker, _) = error(&mut client).await;
    assert_eq!((errno, worker), (503, None));
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    let refused = server.try_ws("/worker?token=t", &[]).await.err().unwrap();
    assert!(refused.to_string().contains("503"), "{refused}");
}

#[tokio::test]
async fn a_slow_authority_is_waited_for_in_vain_and_what_follows_the_hello_waits_too() {
    // It accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config = format!(
        "[limits]\ntoken_check = 1\nping_after = 0.2\nping_timeout = 0.3\n[accounts.fxa]\nurl = \"{url}\""
    );
    let server = Server::configured(&config, &[]).await;
    let mut client = client(&server, "anna").await;
    client.send_text("?").await;
    let (errno, ..) = error(&mut client).await;
    assert_eq!(errno, 503);
    assert_eq!(is_closed_next(&mut client).await, close(1000));
}

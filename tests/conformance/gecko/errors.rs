//! gecko.md A5: what a client is told when it can't have a worker.

use super::*;

#[tokio::test]
async fn a_hello_that_is_none_is_an_error_and_closed_with_1000() {
    let server = Server::start(&[]).await;
    let _gecko = gecko(&server, "g").await;
    let with = |field: &str, value: Value| {
        let mut hello = client_hello("anna");
        hello[field] = value;
        hello.to_string()
    };
    let missing = "NotAuthenticatedError: Authorization is missing";
    let no_bearer = "NotAuthenticatedError: Authorization does not contains a Bearer Token.";
    for (hello, errno, reason) in [
        (
            "{\"messageT".to_owned(),
            400,
            "Message from client is not valid JSON: {\"messageT",
        ),
        (
            with("action", json!("nonsense")),
            404,
            "action not found: nonsense",
        ),
        (with("authorization", json!(null)), 101, missing),
        (with("authorization", json!("")), 101, missing),
        (with("authorization", json!(7)), 101, missing),
        (with("authorization", json!("Basic YTpi")), 101, no_bearer),
        (with("authorization", json!("Bearer")), 101, no_bearer),
        (with("authorization", json!("Bearer ")), 101, no_bearer),
        (
            with("source", json!(null)),
            400,
            "source is missing, or not what it should be",
        ),
        (
            with("source", json!("")),
            400,
            "source is missing, or not what it should be",
        ),
        (
            with("source", json!(["x"])),
            400,
            "source is missing, or not what it should be",
        ),
        (
            with("webrtcOffer", json!({"type": "offer", "sdp": OFFER})),
            400,
            "webrtcOffer is missing, or not what it should be",
        ),
        (
            with("webrtcOffer", json!("")),
            400,
            "webrtcOffer is missing, or not what it should be",
        ),
    ] {
        let mut client = server.ws("/").await;
        client.send_text(&hello).await;
        client.expect(worker_error(None, errno, reason)).await;
        assert_eq!(is_closed_next(&mut client).await, close(1000), "{hello}");
    }
}

#[tokio::test]
async fn authorization_is_looked_at_before_the_rest() {
    let server = Server::start(&[]).await;
    let mut client = server.ws("/").await;
    client.send_json(&json!({"action": "client-hello"})).await;
    assert_eq!(error(&mut client).await.0, 101);
}

#[tokio::test]
async fn without_a_gecko_it_is_301_and_at_once() {
    let server = Server::start(&[]).await;
    let mut client = client(&server, "anna").await;
    client
        .expect(worker_error(
            None,
            301,
            "no gecko headless server available.",
        ))
        .await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    nothing_stays(&server).await;
}

#[tokio::test]
async fn without_an_answer_it_is_302() {
    let server = Server::configured("[limits]\ngecko_answer = 0.5", &[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    // Neither of these counts as an answer.
    client.send_json(&client_ice(1)).await;
    gecko.send_json(&ice("worker-candidate", &worker, 1)).await;
    client.expect(ice("worker-candidate", &worker, 1)).await;
    let reason = "The gecko did not answer in 0.5 s";
    client
        .expect(worker_error(Some(&worker), 302, reason))
        .await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    gecko.expect(ice("client-candidate", &worker, 1)).await;
    // Its answer comes too late, and nobody minds.
    gecko.send_json(&created(&worker)).await;
    is_told_nothing(&mut gecko).await;
}

#[tokio::test]
async fn without_a_connection_after_the_answer_it_is_302_too() {
    let limits = "[limits]\ngecko_answer = 100\ngecko_connect = 0.5";
    let server = Server::configured(limits, &[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    answer(&mut gecko, &mut client, &worker).await;
    let (errno, named, _) = error(&mut client).await;
    assert_eq!((errno, named), (302, Some(worker)));
    assert_eq!(is_closed_next(&mut client).await, close(1000));
}

#[tokio::test]
async fn the_time_for_the_connection_starts_with_the_answer() {
    let limits = "[limits]\ngecko_answer = 0.5\ngecko_connect = 100";
    let server = Server::configured(limits, &[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    answer(&mut gecko, &mut client, &worker).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    gecko.send_json(&connected(&worker)).await;
    client.expect(connected(&worker)).await;
}

#[tokio::test]
async fn a_full_gecko_is_429() {
    let server = Server::configured("[limits]\ngecko_sessions = 1", &[]).await;
    let (mut gecko, _client, _) = pair(&server).await;
    for account in ["anna", "bert"] {
        let mut more = client(&server, account).await;
        let (errno, worker, reason) = error(&mut more).await;
        assert_eq!((errno, worker), (429, None));
        assert!(reason.contains("no more than 1 workers"), "{reason}");
        assert_eq!(is_closed_next(&mut more).await, close(1000));
    }
    is_told_nothing(&mut gecko).await;
}

#[tokio::test]
async fn a_server_full_of_geckos_says_so() {
    let server = Server::configured("[limits]\nendpoints = 1", &[]).await;
    let _first = gecko(&server, "a").await;
    let mut second = server.ws("/worker").await;
    second.send_json(&gecko_hello("b")).await;
    assert_eq!(error(&mut second).await.0, 429);
    assert_eq!(is_closed_next(&mut second).await.0, 1013);
}

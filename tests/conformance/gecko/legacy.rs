//! gecko.md A5: `legacy_progress_errors`. Texts and shapes are those that the reference server's own
//! tests expect.

use super::*;

async fn server() -> Server {
    Server::configured("[gecko]\nlegacy_progress_errors = true", &[]).await
}

fn progress(worker: Option<&str>, reason: &str) -> Value {
    json!({"messageType": "progress", "workerId": worker, "status": "terminated", "reason": reason})
}

/// A gecko that is registered; here nothing tells it so but its first demand.
async fn registered(server: &Server) -> Client {
    let mut gecko = server.ws("/worker").await;
    gecko.send_json(&gecko_hello("g")).await;
    server.wait_for_metric("switchboard_endpoints", 1.0).await;
    gecko
}

#[tokio::test]
async fn a_wrong_hello() {
    let server = server().await;
    let mut unauthorized = client_hello("anna");
    unauthorized["authorization"] = "Basic x".into();
    for (hello, reason) in [
        (
            "{\"messageT".to_owned(),
            "Message from client is not valid JSON: {\"messageT",
        ),
        ("{\"action\":\"x\"}".to_owned(), "action not found: x"),
        (
            unauthorized.to_string(),
            "NotAuthenticatedError: Authorization does not contains a Bearer Token.",
        ),
        (
            client_hello("anna").to_string(),
            "no gecko headless server available.",
        ),
    ] {
        let mut client = server.ws("/").await;
        client.send_text(&hello).await;
        client.expect(progress(None, reason)).await;
        assert_eq!(is_closed_next(&mut client).await, close(1000));
    }
}

#[tokio::test]
async fn a_wrong_candidate() {
    let server = server().await;
    let mut gecko = registered(&server).await;
    let long = format!("{{\"messageType\": \"{}\"}}", "x".repeat(1_000));
    for (message, reason) in [
        ("{\"messageT", "Message from client is not valid JSON: "),
        (&long, "Wrong client ICE message type: "),
    ] {
        let mut client = client(&server, "anna").await;
        demanded(&mut gecko).await;
        client.send_text(message).await;
        client
            .expect(progress(None, &format!("{reason}{message}")))
            .await;
        assert_eq!(is_closed_next(&mut client).await, close(1000));
    }
}

#[tokio::test]
async fn a_gecko_s_mistakes_are_told_the_client_only() {
    let server = server().await;
    let mut gecko = registered(&server).await;
    let mut client = client(&server, "anna").await;
    let worker = demanded(&mut gecko).await;
    let wrong = format!(r#"{{"messageType": "what", "workerId": "{worker}"}}"#);
    gecko.send_text(&wrong).await;
    let reason = format!("Wrong message from Gecko: {wrong}");
    client.expect(progress(Some(&worker), &reason)).await;
    answer(&mut gecko, &mut client, &worker).await;
    gecko.send_text("{\"messageT").await;
    client
        .expect(progress(None, "Wrong JSON gecko message: {\"messageT"))
        .await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    // The gecko's next frame is a demand.
    let _next = super::client(&server, "anna").await;
    demanded(&mut gecko).await;
}

#[tokio::test]
async fn a_gecko_s_own_errors_are_what_they_are() {
    let server = server().await;
    let mut gecko = registered(&server).await;
    let mut client = client(&server, "anna").await;
    let worker = demanded(&mut gecko).await;
    let failure = worker_error(Some(&worker), 202, "no parser likes it");
    gecko.send_json(&failure).await;
    client.expect(failure).await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
}

#[tokio::test]
async fn a_gecko_s_wrong_hello_is_closed_without_a_word() {
    let server = server().await;
    for (hello, code) in [
        ("?", 1011),
        ("{\"action\":\"worker-hello\"}", 1011),
        ("{}", 1000),
    ] {
        let mut gecko = server.ws("/worker").await;
        gecko.send_text(hello).await;
        assert_eq!(is_closed_next(&mut gecko).await, close(code), "{hello}");
    }
}

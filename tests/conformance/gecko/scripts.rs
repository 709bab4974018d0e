//! The scripts that the console publishes for geckos to fetch.

use std::time::Duration;

use crate::common::{Answer, Server, wait_until};

const JAVASCRIPT: &str = "Content-Type: text/javascript; charset=utf-8\r\n";

/// Publishes a script, and gives where it is.
async fn published(server: &Server, path: &str, script: &str) -> String {
    let answer = publish(server, path, JAVASCRIPT, script).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    let url = json["url"].as_str().unwrap();
    assert!(answer.head.contains(&format!("location: {url}\r\n")));
    url.to_owned()
}

async fn publish(server: &Server, path: &str, headers: &str, script: &str) -> Answer {
    server.request("POST", path, headers, script).await
}

#[tokio::test]
async fn a_script_is_served_as_it_was_sent_and_its_name_tells_modules() {
    let server = Server::start(&[]).await;
    for (path, script, ending) in [
        ("/api/scripts", "postMessage('grüße')", ".js"),
        ("/api/scripts?module=false", "", ".js"),
        ("/api/scripts?module=true", "import './x.js'", ".mjs"),
    ] {
        let url = published(&server, path, script).await;
        assert!(url.ends_with(ending), "{url}");
        let answer = server.get(&url).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, script);
        let head = answer.head;
        assert!(
            head.contains("content-type: text/javascript; charset=utf-8\r\n"),
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
}

#[tokio::test]
async fn every_script_has_a_name_of_its_own() {
    let server = Server::start(&[]).await;
    let one = published(&server, "/api/scripts", "same").await;
    let other = published(&server, "/api/scripts", "same").await;
    assert_ne!(one, other);
}

#[tokio::test]
async fn only_javascript_is_taken_so_that_other_sites_pages_cannot_publish() {
    let server = Server::start(&[]).await;
    for headers in ["", "Content-Type: text/plain\r\n"] {
        let answer = publish(&server, "/api/scripts", headers, "1").await;
        assert_eq!(answer.status, 415);
        assert!(answer.body.contains("text/javascript"), "{}", answer.body);
    }
    let asked = server.request("OPTIONS", "/api/scripts", "", "").await;
    assert!(!asked.head.contains("access-control-allow"), "{asked:?}");
}

#[tokio::test]
async fn a_script_that_is_too_long_is_refused_with_the_limit() {
    let server = Server::configured("[limits]\nscript_bytes = 8", &[]).await;
    published(&server, "/api/scripts", "12345678").await;
    let answer = publish(&server, "/api/scripts", JAVASCRIPT, "123456789").await;
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("more than 8 bytes"), "{}", answer.body);
}

#[tokio::test]
async fn the_oldest_script_makes_room_and_each_is_gone_after_its_time() {
    let server = Server::configured("[limits]\nscripts = 1\nscript_kept = 1.5", &[]).await;
    let first = published(&server, "/api/scripts", "1").await;
    let second = published(&server, "/api/scripts", "2").await;
    assert_eq!(server.get(&first).await.status, 404);
    let reached = |name| format!("switchboard_limit_reached_total{{name=\"{name}\"}}");
    assert_eq!(server.metric(&reached("scripts")).await, 1.0);
    wait_until(Duration::from_secs(10), async || {
        server.get(&second).await.status == 404
    })
    .await;
    let never = server.get("/api/scripts/x.js").await;
    assert_eq!(never.status, 404);
    assert!(never.body.contains("publish it again"), "{}", never.body);
    let refused = "switchboard_http_requests_total{route=\"/api/scripts/{name}\",status=\"4xx\"}";
    assert!(server.metric(refused).await >= 3.0);

    let server = Server::configured("[limits]\nscripts_bytes = 8", &[]).await;
    let first = published(&server, "/api/scripts", "12345678").await;
    published(&server, "/api/scripts", "1").await;
    assert_eq!(server.get(&first).await.status, 404);
    assert_eq!(server.metric(&reached("scripts_bytes")).await, 1.0);
}

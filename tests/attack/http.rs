//! Requests that are two, or none, or reach for what is not theirs.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Answer, PATIENCE};
use crate::scene::Scene;
use crate::wire::{WAYS, Way, rest, say};

/// What nobody must be answered on.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// All that the server answers to these bytes, until it closes the connection.
async fn answers(scene: &Scene, way: Way, bytes: &[u8]) -> String {
    let mut stream = way.connect(&scene.server).await;
    // It may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    String::from_utf8_lossy(&rest(&mut *stream).await).into_owned()
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn no_request_hides_in_another() {
    let mut scene = Scene::set("handshake = 1", "").await;
    let post = "POST /connect HTTP/1.1\r\nHost: x\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let shapes: Vec<(&str, String)> = vec![
        (
            "a length, then chunks",
            format!("{post}Content-Length: 6\r\n{chunked}\r\n0\r\n\r\n{SECOND}"),
        ),
        (
            "chunks, then a length",
            format!("{post}{chunked}Content-Length: 6\r\n\r\n0\r\n\r\n{SECOND}"),
        ),
        (
            "a length of what is in chunks",
            format!("{post}Content-Length: 4\r\n{chunked}\r\n2c\r\n{SECOND}0\r\n\r\n"),
        ),
        (
            "chunks of another name",
            format!(
                "{post}Content-Length: 6\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "chunks, and not",
            format!(
                "{post}Transfer-Encoding: chunked, identity\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "chunks twice",
            format!("{post}{chunked}Transfer-Encoding: x\r\n\r\n0\r\n\r\n{SECOND}"),
        ),
        (
            "a blank before the colon",
            format!(
                "{post}Transfer-Encoding : chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a folded line",
            format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{SECOND}"),
        ),
        (
            "chunks of version 1.0",
            format!(
                "POST /connect HTTP/1.0\r\n{chunked}Connection: keep-alive\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "two lengths",
            format!("{post}Content-Length: 0\r\nContent-Length: 50\r\n\r\n{SECOND}"),
        ),
        (
            "two lengths in one",
            format!("{post}Content-Length: 0, 50\r\n\r\n{SECOND}"),
        ),
        (
            "a length with a sign",
            format!("{post}Content-Length: +0\r\n\r\n{SECOND}"),
        ),
        (
            "a length below nothing",
            format!("{post}Content-Length: -1\r\n\r\n{SECOND}"),
        ),
        (
            "a length beyond numbers",
            format!("{post}Content-Length: 18446744073709551616\r\n\r\n{SECOND}"),
        ),
        (
            "a chunk beyond numbers",
            format!("{post}{chunked}\r\n10000000000000000\r\n{SECOND}"),
        ),
        (
            "a chunk's length that is none",
            format!("{post}{chunked}\r\n0x0\r\n\r\n{SECOND}"),
        ),
        (
            "a chunk's endless extension",
            format!(
                "{post}{chunked}\r\n1;{}\r\na\r\n0\r\n\r\n{SECOND}",
                "x".repeat(100_000)
            ),
        ),
        (
            "endless trailers",
            format!(
                "{post}{chunked}\r\n0\r\n{}\r\n{SECOND}",
                "A: b\r\n".repeat(20_000)
            ),
        ),
        (
            "a null in a header",
            format!("{post}X: a\0b\r\n\r\n{SECOND}"),
        ),
        (
            "a return in a header",
            format!("{post}X: a\rContent-Length: 0\r\n\r\n{SECOND}"),
        ),
    ];
    for way in WAYS {
        for (name, bytes) in &shapes {
            let came = answers(&scene, way, bytes.as_bytes()).await;
            assert!(!came.contains("smuggled"), "{way:?}, {name}: {came}");
            assert!(
                came.matches("HTTP/1.").count() <= 1,
                "{way:?}, {name}: {came}"
            );
        }
    }
    scene.is_calm_again().await;
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn strange_heads_get_an_answer_or_the_end() {
    let mut scene = Scene::set("handshake = 1", "").await;
    let get =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let method = |method: &str| {
        format!(
            "{method} /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let with = |headers: String| {
        format!("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let cases: Vec<(&str, String, &[u16])> = vec![
        (
            "an address in the target",
            get("http://example.org/health"),
            &[200],
        ),
        (
            "a file in the target",
            get("file:///etc/passwd"),
            &[400, 404],
        ),
        (
            "a star",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            &[400, 404, 405],
        ),
        (
            "a tunnel",
            "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            &[400, 404, 405, 426],
        ),
        (
            "a long path",
            get(&format!("/{}", "a".repeat(30_000))),
            &[404, 414],
        ),
        (
            "a path longer than a head",
            get(&format!("/{}", "a".repeat(200_000))),
            &[0, 400, 414, 431],
        ),
        (
            "a long query",
            get(&format!("/health?{}", "a".repeat(30_000))),
            &[200],
        ),
        ("another method", method("BREW"), &[405]),
        ("a method to delete", method("DELETE"), &[405]),
        ("a method to trace", method("TRACE"), &[405]),
        ("a small-letter method", method("get"), &[400, 405]),
        (
            "a method without end",
            method(&"A".repeat(100_000)),
            &[0, 400, 405, 431],
        ),
        (
            "no host",
            "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            &[200, 400],
        ),
        ("many headers", with("A: b\r\n".repeat(50)), &[200]),
        ("too many headers", with("A: b\r\n".repeat(500)), &[431]),
        (
            "a long header",
            with(format!("A: {}\r\n", "b".repeat(300_000))),
            &[0, 431],
        ),
        (
            "another version",
            "GET /health HTTP/3.7\r\n\r\n".to_owned(),
            &[0, 400, 505],
        ),
        (
            "version 2, as one knows it",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            &[0, 400, 505],
        ),
        ("nothing but ends", "\r\n\r\n\r\n\r\n".to_owned(), &[0, 400]),
    ];
    for way in WAYS {
        for (name, bytes, statuses) in &cases {
            let came = answers(&scene, way, bytes.as_bytes()).await;
            let status = came.split(' ').nth(1).map_or(0, |it| it.parse().unwrap());
            assert!(
                statuses.contains(&status),
                "{way:?}, {name}: {status} {came}"
            );
        }
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn no_path_leaves_its_directory() {
    let outside = tempfile::tempdir().unwrap();
    let assets = outside.path().join("assets");
    std::fs::create_dir(&assets).unwrap();
    std::fs::write(assets.join("mine.txt"), "mine").unwrap();
    std::fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    let more = format!("assets = {assets:?}");
    let mut scene = Scene::set("", &more).await;
    assert_eq!(scene.server.get("/mine.txt").await.body, "mine");
    let ups = [
        "..",
        "%2e%2e",
        "%2E.",
        "..%2f..",
        "..%5c..",
        "....//..",
        "..;",
        "%252e%252e",
        "%c0%ae%c0%ae",
    ];
    for start in [
        "",
        "/console",
        "/console/js",
        "/devices/innocent/files",
        "/js",
        "/api/scripts",
    ] {
        for up in ups {
            for target in [
                "secret.txt",
                "etc/passwd",
                "../../../../../../etc/passwd",
                "%00",
                "Cargo.toml",
            ] {
                let path = format!("{start}/{up}/{up}/{target}");
                let answer = scene.server.get(&path).await;
                let is_out = answer.body.contains("secret") && answer.status == 200;
                assert!(
                    !is_out && !answer.body.contains("root:"),
                    "{path}: {answer:?}"
                );
                assert!(
                    matches!(answer.status, 400 | 404 | 405),
                    "{path}: {answer:?}"
                );
            }
        }
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn requests_without_waiting_are_answered_in_order_and_bad_ones_with_the_reason() {
    let mut scene = Scene::set("message_bytes = 10_000", "").await;
    scene.watch_memory();
    for way in WAYS {
        let mut stream = way.connect(&scene.server).await;
        let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        let last = "GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        say(&mut *stream, (one.repeat(1000) + last).as_bytes()).await;
        let came = String::from_utf8(rest(&mut *stream).await).unwrap();
        assert_eq!(came.matches("HTTP/1.1 200").count(), 1001);
        assert!(came.ends_with("ready"));
    }
    let deep = format!("{}1{}", "[".repeat(4_000), "]".repeat(4_000));
    for path in [
        "/connect",
        "/forward",
        "/poll_messages",
        "/polled_connections",
        "/polled_connections/x/:forward",
        "/api/scripts",
        "/api/revocations",
    ] {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "\"\u{0}\"",
            "{\"device_id\": 7}",
            &deep,
        ] {
            let answer = scene
                .server
                .request("POST", path, "Content-Type: application/json\r\n", body)
                .await;
            // A script is any text.
            let is_good = answer.status < 300 && path == "/api/scripts";
            assert!(
                is_good || (400..500).contains(&answer.status),
                "{path} {body}: {answer:?}"
            );
        }
        let large = json!({"device_id": "x".repeat(1_000_000)}).to_string();
        let answer = scene.server.request("POST", path, "", &large).await;
        // Where nothing is read of it, the answer may get lost in the reset.
        assert!(matches!(answer.status, 0 | 400..500), "{path}: {answer:?}");
    }
    let none = scene
        .server
        .request("POST", "/polled_connections", "", "\u{ff}\u{fe}")
        .await;
    assert_eq!(none.status, 400, "{none:?}");
    let most = 24 << 20;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    scene.is_calm_again().await;
}

#[tokio::test]
async fn many_at_once_who_ask_for_everything_wait_for_their_turn() {
    let mut scene = Scene::set("", "").await;
    let until = std::time::Instant::now() + Duration::from_secs(2);
    let asks = (0..30).map(async |number| {
        while std::time::Instant::now() < until {
            let path = ["/metrics", "/api/endpoints", "/api/rooms", "/devices"][number % 4];
            let mut stream = WAYS[number % 2].connect(&scene.server).await;
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            say(&mut *stream, request.as_bytes()).await;
            let answer = tokio::time::timeout(PATIENCE, Answer::read(&mut stream))
                .await
                .unwrap();
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    });
    futures_util::future::join_all(asks).await;
    scene.is_calm_again().await;
}

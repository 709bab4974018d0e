//! Firefox Accounts' `POST /v1/verify` (gecko.md A8), which the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::*;

/// Ends when dropped.
struct Fxa {
    url: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Fxa {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(tcp));
            }
        });
        Self { url, asked, task }
    }

    fn accounts(&self) -> String {
        format!("[accounts.fxa]\nurl = \"{}\"", self.url)
    }
}

impl Drop for Fxa {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut tcp: TcpStream) {
    let mut request = String::new();
    let body = loop {
        let mut bytes = [0; 4096];
        let count = tcp.read(&mut bytes).await.unwrap();
        assert!(count > 0, "a whole request, not {request:?}");
        request.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let whole = request.split_once("\r\n\r\n");
        if let Some(body) = whole.and_then(|(_, body)| serde_json::from_str::<Value>(body).ok()) {
            break body;
        }
    };
    let head = request.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/verify http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let user =
        |scope: Value| json!({"user": "0a1b", "client_id": "c", "scope": scope, "email": "a@b"});
    let (status, answer) = match body["token"].as_str().unwrap() {
        "good" => (
            "200 OK",
            user(json!(["profile", "remote_server"])).to_string(),
        ),
        "\"\\{}&é" => ("200 OK", user(json!(["remote-worker-server"])).to_string()),
        "poor" => ("200 OK", user(json!(["remote_server:x"])).to_string()),
        "no-user" => ("200 OK", json!({"scope": ["remote_server"]}).to_string()),
        "html" => ("200 OK", "<html>".to_owned()),
        "huge" => ("200 OK", " ".repeat(1 << 20)),
        "broken" => ("500 Internal Server Error", "{}".to_owned()),
        "moved" => ("302 Found", String::new()),
        "silent" => std::future::pending().await,
        _ => (
            "400 Bad Request",
            json!({"code": 400, "errno": 108, "error": "Bad Request", "message": "Invalid token"})
                .to_string(),
        ),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    // Whoever asked may have seen enough.
    let _ = tcp.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn a_good_token_names_its_user() {
    let fxa = Fxa::start().await;
    let verifier = verifier(&fxa.accounts());
    assert_user(&verify(&verifier, "good").await, "0a1b");
    assert_user(&verify(&verifier, "\"\\{}&é").await, "0a1b");
    assert_scope(&verify(&verifier, "poor").await);
    assert_refused(&verify(&verifier, "unknown").await, "refuses");
    assert!(verifier.is_reachable());
}

#[tokio::test]
async fn an_answer_that_is_neither_yes_nor_no_is_none() {
    let fxa = Fxa::start().await;
    let verifier = verifier(&fxa.accounts());
    for token in ["no-user", "html", "huge", "broken", "moved"] {
        assert_unreachable(&verify(&verifier, token).await);
    }
}

#[tokio::test]
async fn a_silent_server_delays_nobody_beyond_the_limit() {
    let fxa = Fxa::start().await;
    let slow = with_limits(&fxa.accounts(), |limits| {
        limits.token_check = Duration::from_millis(300);
    });
    assert_unreachable(&verify(&slow, "silent").await);
}

#[tokio::test]
async fn many_with_one_token_are_one_request() {
    let fxa = Fxa::start().await;
    let verifier = Arc::new(verifier(&fxa.accounts()));
    let tasks = (0..50).map(|_| {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verify(&verifier, "good").await })
    });
    let results = join_all(tasks).await;
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().unwrap().is_ok())
    );
    assert_eq!(fxa.asked.load(Ordering::Relaxed), 1);
}

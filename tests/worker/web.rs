//! `fetch`, through the owner's loader.

use bytes::Bytes;
use serde_json::json;
use switchboard::worker::Purpose;

use crate::{Web, start, with_web};

#[tokio::test]
async fn what_the_loader_brings_is_the_response() {
    let web = Web::of(&[("https://example.org/js/data.json", "{\"a\": [1]}")]);
    let script = "fetch('data.json').then(async (it) => {
        postMessage([it.ok, it.status, it.url, it.headers.get('Content-Type')]);
        postMessage(await it.clone().json());
        postMessage([(await it.arrayBuffer()).byteLength, it.bodyUsed]);
        try { await it.text(); } catch (e) { postMessage(e.name); } });";
    let (_worker, mut events) = start(with_web(script, web)).await;
    for expected in [
        json!([
            true,
            200,
            "https://example.org/js/data.json",
            "text/javascript"
        ]),
        json!({"a": [1]}),
        json!([10, true]),
        json!("TypeError"),
    ] {
        assert_eq!(crate::json(&mut events).await, expected);
    }
}

#[tokio::test]
async fn the_loader_sees_the_whole_request() {
    let web = Web::of(&[]);
    let script = "const seen = (it) => it.catch((e) => postMessage(`${e.name}: ${e.message}`));
        seen(fetch('https://other.example/x', { method: 'post', body: 'ä', headers: { 'X-A': ' b ' } }));";
    let (_worker, mut events) = start(with_web(script, web.clone())).await;
    let why = "TypeError: https://other.example/x could not be fetched: there is nothing";
    assert_eq!(crate::json(&mut events).await, json!(why));
    let seen = web.seen.lock().unwrap().pop().unwrap();
    assert_eq!(seen.purpose, Purpose::Fetch);
    assert_eq!(
        (seen.method.as_str(), seen.body),
        ("POST", Some(Bytes::from_static("ä".as_bytes())))
    );
    let headers = [("content-type", "text/plain;charset=UTF-8"), ("x-a", "b")];
    assert_eq!(
        seen.headers,
        headers.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_made_fails_as_a_type_error() {
    let script = "const tries = [['nowhere:', {}], ['https://a/', { body: 'x' }], ['https://a/', { headers: { 'a b': 1 } }],
                             ['https://a/', { method: 'G T' }], ['https://a/' + 'x'.repeat(1e5), {}]];
        Promise.all(tries.map(([url, init]) => fetch(url, init).catch((e) => e.name))).then(postMessage);";
    let (_worker, mut events) = start(with_web(script, Web::of(&[]))).await;
    assert_eq!(crate::json(&mut events).await, json!(vec!["TypeError"; 5]));
}

#[tokio::test]
async fn only_so_many_requests_wait_at_once() {
    let script = "let failed = 0; const all = [];
        for (let i = 0; i < 40; i++) fetch('/never').catch(() => { if (++failed === 25) postMessage(failed); });";
    let (_worker, mut events) = start(with_web(script, Web::of(&[]))).await;
    assert_eq!(crate::json(&mut events).await, json!(25));
}

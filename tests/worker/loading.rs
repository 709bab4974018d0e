//! Imports and `importScripts`.

use std::time::Duration;

use serde_json::json;
use switchboard::worker::{Purpose, StartError};

use crate::{Web, module, next, options, refusal, start, with_web};

#[tokio::test]
async fn static_imports_are_loaded_once_each() {
    let web = Web::of(&[
        (
            "https://example.org/js/a.js",
            "export { b } from './deep/b.js'; export const a = 1;",
        ),
        (
            "https://example.org/js/deep/b.js",
            "import { a } from '../a.js'; export const b = () => [a, import.meta.url];",
        ),
    ]);
    let options = with_web(
        "import * as it from './a.js'; import '/js/a.js'; postMessage([it.a, it.b()]);",
        web.clone(),
    );
    let (_worker, mut events) = start(module(options)).await;
    assert_eq!(
        crate::json(&mut events).await,
        json!([1, [1, "https://example.org/js/deep/b.js"]])
    );
    let seen = web.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|it| it.purpose == Purpose::Module && it.method == "GET")
    );
}

#[tokio::test]
async fn dynamic_imports_work_in_both_kinds_of_script() {
    let web = Web::of(&[("https://example.org/js/a.js", "export default 7;")]);
    let script = "import('./a.js').then((it) => postMessage(it.default));
                  import('./b.js').catch((e) => postMessage(`${e.name}: ${e.message}`));
                  import('bare').catch((e) => postMessage(e.name));";
    for options in [
        with_web(script, web.clone()),
        module(with_web(script, web.clone())),
    ] {
        let (_worker, mut events) = start(options).await;
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(crate::json(&mut events).await);
        }
        assert!(seen.contains(&json!(7)), "{seen:?}");
        let missing = "TypeError: https://example.org/js/b.js can't be imported: there is nothing";
        assert!(seen.contains(&json!(missing)), "{seen:?}");
        assert!(seen.contains(&json!("TypeError")), "{seen:?}");
    }
}

#[tokio::test]
async fn imports_are_relative_to_where_a_module_was_moved() {
    let web = Web::of(&[
        (
            "https://example.org/moved/a.js",
            "export * from './b.js'; export const url = import.meta.url;",
        ),
        ("https://example.org/b.js", "export const b = 2;"),
    ]);
    let options = with_web(
        "import { b, url } from '/moved/a.js'; postMessage([b, url]);",
        web,
    );
    let (_worker, mut events) = start(module(options)).await;
    assert_eq!(
        crate::json(&mut events).await,
        json!([2, "https://example.org/a.js"])
    );
}

#[tokio::test]
async fn an_import_that_cannot_be_loaded_is_told_with_its_url() {
    let web = Web::of(&[("https://example.org/js/a.js", "import './missing.js';")]);
    let error = refusal(module(with_web("import './a.js';", web.clone()))).await;
    let missing = StartError::Fetch {
        url: "https://example.org/js/missing.js".to_owned(),
        why: "there is nothing".to_owned(),
    };
    assert_eq!(error, missing);
    assert_eq!(
        refusal(with_web("importScripts('missing.js');", web.clone())).await,
        missing
    );
    let bare = refusal(module(with_web("import 'bare';", web))).await;
    assert!(matches!(bare, StartError::Fetch { url, .. } if url == "bare"));
}

#[tokio::test]
async fn an_import_that_does_not_parse_or_fit_is_a_syntax_error_of_its_own() {
    let web = Web::of(&[
        ("https://example.org/js/a.js", "export const a = 1;\n("),
        ("https://example.org/js/b.js", ""),
    ]);
    let StartError::Syntax(error) =
        refusal(module(with_web("import './a.js';", web.clone()))).await
    else {
        panic!()
    };
    assert_eq!(error.file, "https://example.org/js/a.js");
    let error = refusal(module(with_web("import { b } from './b.js';", web))).await;
    assert!(matches!(&error, StartError::Syntax(_)), "{error:?}");
}

#[tokio::test]
async fn import_scripts_run_in_order_in_the_same_scope() {
    let web = Web::of(&[
        (
            "https://example.org/js/a.js",
            "\u{feff}var a = 1; let hidden = 2; function f() { return a + hidden; }",
        ),
        ("https://example.org/b.js", "a += 10;"),
        (
            "https://example.org/js/throws.js",
            "\nthrow new Error('inside');",
        ),
        ("https://example.org/js/broken.js", "("),
    ]);
    let (_worker, mut events) = start(with_web(
        "importScripts('./a.js', '/b.js'); postMessage(f());
         for (const it of ['missing.js', 'throws.js', 'broken.js', 'https://']) {
           try { importScripts(it); } catch (e) { postMessage(e.name); }
         }
         postMessage(importScripts() === undefined);",
        web,
    ))
    .await;
    for expected in [
        json!(13),
        json!("NetworkError"),
        json!("Error"),
        json!("SyntaxError"),
        json!("SyntaxError"),
        json!(true),
    ] {
        assert_eq!(crate::json(&mut events).await, expected);
    }
    let error = refusal(module(options("importScripts('a.js')"))).await;
    assert!(matches!(error, StartError::Uncaught(it) if it.message.starts_with("TypeError")));
}

#[tokio::test]
async fn messages_that_come_while_a_script_is_loaded_are_kept() {
    let web = Web::of(&[("https://example.org/js/a.js", "")]);
    let (worker, mut events) = start(with_web(
        "onmessage = ({ data }) => { importScripts('a.js'); postMessage(data); };",
        web,
    ))
    .await;
    for number in 0..50 {
        crate::post(&worker, json!(number)).await;
    }
    for number in 0..50 {
        assert_eq!(crate::json(&mut events).await, json!(number));
    }
}

#[tokio::test]
async fn a_load_that_takes_too_long_or_is_too_large_fails() {
    let mut options = with_web("importScripts('/never');", Web::of(&[]));
    options.limits.load_wall = Duration::from_millis(100);
    let why = refusal(options).await;
    assert!(
        matches!(&why, StartError::Fetch { why, .. } if why == "it took too long"),
        "{why:?}"
    );
    let mut options = with_web(
        "importScripts('/big');",
        Web::of(&[(
            "https://example.org/big",
            "12345678901234567890123456789012345678901234567890",
        )]),
    );
    options.limits.load_bytes = 20;
    let why = refusal(options).await;
    assert!(
        matches!(&why, StartError::Fetch { why, .. } if why == "it is too long"),
        "{why:?}"
    );
}

#[tokio::test]
async fn the_start_ends_when_its_imports_take_too_long() {
    let mut options = with_web("importScripts('/never');", Web::of(&[]));
    options.limits.start_wall = Duration::from_millis(200);
    let error = refusal(options).await;
    assert!(matches!(error, StartError::Overrun(_)), "{error:?}");
    let (_worker, mut events) = start(crate::options("postMessage(1)")).await;
    next(&mut events).await;
}

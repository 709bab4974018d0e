//! Scripts: what they can, and what is said of those that don't start.

use bytes::Bytes;
use serde_json::{Value, json};
use switchboard::media::SessionEvent;

use super::page::{Heard, Offer, Page, channel};
use super::site::{self, Site};
use super::{PATIENCE, Process, Server, gecko, server, wait_until};

/// The sample that the server itself has.
pub(crate) fn echo(server: &Server) -> String {
    format!("http://{}/console/workers/echo.js", server.address())
}

/// A server, and a gecko that loads from a site.
async fn with(site: &Site) -> (Server, Process) {
    let server = server().await;
    let gecko = gecko(&server, &["--allow-origin", &site.origin]).await;
    (server, gecko)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_echo_sends_back_values_and_bytes() {
    let server = server().await;
    let gecko = gecko(&server, &[]).await;
    let mut page = Page::open(server.address(), &echo(&server), channel()).await;
    page.connected().await;
    assert_eq!(page.json().await, "hello from the echo worker");
    for value in [
        json!({"a": [1, null, "ä"]}),
        json!("text"),
        json!(7),
        Value::Null,
    ] {
        page.session
            .send_text("worker", &value.to_string())
            .unwrap();
        assert_eq!(page.json().await, value);
    }
    let bytes = Bytes::from_iter((0..50_000_u32).map(|n| n as u8));
    page.session.send_binary("worker", bytes.clone()).unwrap();
    assert_eq!(page.bytes().await, bytes);
    gecko.logged("an echo runs").await;
    page.close().await;
    gecko.logged("worker ended").await;
    no_children(&gecko).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_protocol_texts_go_as_they_are_over_whatever_channel_there_is() {
    let server = server().await;
    let _gecko = gecko(&server, &[]).await;
    let offer = Offer {
        channels: &["chat"],
        protocol: "",
        ..channel()
    };
    let mut page = Page::open(server.address(), &echo(&server), offer).await;
    assert_eq!(page.text("chat").await, "hello from the echo worker");
    for text in ["{not json", "\"", "ä"] {
        page.session.send_text("chat", text).unwrap();
        assert_eq!(page.text("chat").await, text);
    }
    // What can't be sent costs nothing but itself.
    assert!(page.session.send_text("chat", "").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_imports_others_and_says_so_in_the_name_or_the_text() {
    let module = "import { twice } from './lib/twice.mjs';\nconst { six } = await import('./six.js');\npostMessage(twice(six));";
    let site = Site::scripts(&[
        ("/a/main.mjs", module),
        ("/a/main.js", module),
        ("/a/lib/twice.mjs", "export const twice = (n) => 2 * n;"),
        ("/a/six.js", "export const six = 6;"),
        (
            "/classic.js",
            "importScripts('/set.js'); postMessage(self.six);",
        ),
        ("/set.js", "self.six = 6;"),
    ])
    .await;
    let (server, _gecko) = with(&site).await;
    for (path, number) in [("/a/main.mjs", 12), ("/a/main.js", 12), ("/classic.js", 6)] {
        let mut page = Page::open(server.address(), &site.url(path), channel()).await;
        assert_eq!(page.json().await, number, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_do_not_start_have_their_number_and_their_reason() {
    let site = Site::start([
        ("/syntax.js", site::Page::Script("let = ;".to_owned())),
        (
            "/throws.js",
            site::Page::Script("\nthrow new Error('oops')".to_owned()),
        ),
        ("/loop.js", site::Page::Script("for (;;);".to_owned())),
        ("/closes.js", site::Page::Script("close()".to_owned())),
        (
            "/imports.mjs",
            site::Page::Script("import './gone.js'".to_owned()),
        ),
        ("/huge.js", site::Page::Huge(5 * 1024 * 1024)),
        ("/slow.js", site::Page::Silent),
        ("/round.js", site::Page::Moved("/round.js".to_owned())),
        (
            "/inside.js",
            site::Page::Moved("http://10.0.0.1/x.js".to_owned()),
        ),
    ])
    .await;
    let (server, gecko) = with(&site).await;
    for (path, number, why) in [
        ("/syntax.js", 202, "SyntaxError"),
        ("/throws.js", 203, "oops"),
        // Its processor time is up, or on a busy machine the time for the start.
        ("/loop.js", 203, "the worker was stopped"),
        ("/closes.js", 203, "closed itself"),
        ("/imports.mjs", 201, "status 404"),
        ("/gone.js", 201, "status 404"),
        ("/huge.js", 201, "more than 4194304 bytes"),
        ("/slow.js", 201, "within 10 s"),
        ("/round.js", 201, "redirects more than"),
        ("/inside.js", 201, "does not load from http://10.0.0.1"),
    ] {
        let mut page = Page::start(server.address(), &site.url(path), channel()).await;
        let (errno, reason) = page.refused().await;
        assert!(
            errno == number && reason.contains(why),
            "{path}: {errno} {reason}"
        );
    }
    for (url, why) in [
        ("http://127.0.0.1:1/x.js", "--allow-origin"),
        ("ftp://example.org/x.js", "http or https"),
        ("/x.js", "http or https"),
    ] {
        let mut page = Page::start(server.address(), url, channel()).await;
        let (errno, reason) = page.refused().await;
        assert!(
            errno == 201 && reason.contains(why),
            "{url}: {errno} {reason}"
        );
    }
    no_children(&gecko).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_loaded_from_inside_unless_it_was_named() {
    let site = Site::scripts(&[("/x.js", "postMessage(1)")]).await;
    let server = server().await;
    let _gecko = gecko(&server, &["--allow-origin", "*"]).await;
    let name = site.url("/x.js").replace("127.0.0.1", "localhost");
    for url in [site.url("/x.js"), name] {
        let mut page = Page::start(server.address(), &url, channel()).await;
        let (errno, reason) = page.refused().await;
        assert!(
            errno == 201 && reason.contains("--allow-private"),
            "{reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_logs_and_throws_goes_to_the_control_channel() {
    let script = "console.warn('early', [1]); onmessage = ({ data }) => { console.log(data); throw new TypeError('late'); };";
    let site = Site::scripts(&[("/w.js", script)]).await;
    let (server, gecko) = with(&site).await;
    let offer = Offer {
        channels: &["worker", "control"],
        ..channel()
    };
    let mut page = Page::open(server.address(), &site.url("/w.js"), offer).await;
    let line = async |page: &mut Page| {
        let line = page.text("control").await;
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let early = line(&mut page).await;
    assert_eq!(
        (&early["type"], &early["level"]),
        (&json!("console"), &json!("warn"))
    );
    page.session.send_text("worker", "\"x\"").unwrap();
    assert_eq!(
        line(&mut page).await,
        json!({"type": "console", "level": "info", "message": "x"})
    );
    let error = line(&mut page).await;
    assert_eq!(
        (&error["type"], &error["fatal"]),
        (&json!("error"), &json!(false))
    );
    assert!(
        error["message"].as_str().unwrap().contains("late"),
        "{error}"
    );
    gecko.logged(&page.worker).await;
    gecko.logged("early").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_can_not_be_posted_are_an_error_of_the_script_and_the_worker_goes_on() {
    let script = "onmessage = ({ data }) => { \
        if (data === 'caught') try { postMessage(() => 1); } catch (e) { postMessage(e.name); } \
        else if (data === 'uncaught') postMessage({ map: new Map() }); else postMessage({}); };";
    let site = Site::scripts(&[("/w.js", script)]).await;
    let (server, _gecko) = with(&site).await;
    let offer = |protocol| Offer {
        channels: &["worker", "control"],
        protocol,
        ..channel()
    };
    let mut page = Page::open(server.address(), &site.url("/w.js"), offer("rws.v1")).await;
    let mut raw = Page::open(server.address(), &site.url("/w.js"), offer("")).await;
    page.session.send_text("worker", "\"uncaught\"").unwrap();
    // Without the protocol a channel has no form for it.
    raw.session.send_text("worker", "an object").unwrap();
    for page in [&mut page, &mut raw] {
        let error = error(page).await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("DataCloneError"), "{error}");
        assert_eq!(error["fatal"], false);
    }
    page.session.send_text("worker", "\"caught\"").unwrap();
    assert_eq!(page.json().await, "DataCloneError");
    raw.session.send_text("worker", "caught").unwrap();
    assert_eq!(raw.text("worker").await, "DataCloneError");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_overruns_is_told_and_killed_and_the_others_go_on() {
    let overruns = [
        ("/loop.js", "onmessage = () => { for (;;); }"),
        // Looks at no clock (gecko.md B4).
        (
            "/join.js",
            "onmessage = () => { Array(2**32 - 1).join('') }",
        ),
        (
            "/memory.js",
            "onmessage = () => { for (const all = [];;) all.push(new Uint8Array(1e6).fill(1)); }",
        ),
        ("/closes.js", "onmessage = () => close()"),
    ];
    let site = Site::scripts(&overruns).await;
    let server = server().await;
    let own = format!("http://{}", server.address());
    let origins = ["--allow-origin", &site.origin, "--allow-origin", &own];
    let gecko = gecko(&server, &origins).await;
    let mut other = Page::open(server.address(), &echo(&server), channel()).await;
    assert_eq!(other.json().await, "hello from the echo worker");
    for (path, _) in overruns {
        let offer = Offer {
            channels: &["worker", "control"],
            ..channel()
        };
        let mut page = Page::open(server.address(), &site.url(path), offer).await;
        page.session.send_text("worker", "1").unwrap();
        let is_over = match path {
            "/closes.js" => true,
            // An exception that the script could have caught.
            "/memory.js" => error(&mut page).await["fatal"] == true,
            _ => {
                assert_eq!(error(&mut page).await["fatal"], true, "{path}");
                true
            }
        };
        if is_over {
            page.over().await;
        }
        page.close().await;
        other.session.send_text("worker", "1").unwrap();
        assert_eq!(other.json().await, 1);
    }
    other.close().await;
    no_children(&gecko).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_takes_no_more_than_its_capacity() {
    let server = server().await;
    let _gecko = gecko(&server, &["--capacity", "1"]).await;
    let first = Page::open(server.address(), &echo(&server), channel()).await;
    let mut second = Page::start(server.address(), &echo(&server), channel()).await;
    let (errno, reason) = second.refused().await;
    assert!(
        errno == 429 && reason.contains("more than 1 workers"),
        "{reason}"
    );
    first.close().await;
    // The place is free again soon.
    wait_until(PATIENCE, async || {
        let mut page = Page::start(server.address(), &echo(&server), channel()).await;
        page.heard("answer or error", |heard| match heard {
            Heard::Server(message) => Some(message["messageType"] == "hello"),
            _ => None,
        })
        .await
    })
    .await;
}

/// The next error on the control channel.
async fn error(page: &mut Page) -> Value {
    page.heard("error", |heard| match heard {
        Heard::Event(SessionEvent::Text { label, text }) if label == "control" => {
            let line: Value = serde_json::from_str(text).unwrap();
            (line["type"] == "error").then_some(line)
        }
        _ => None,
    })
    .await
}

/// Waits until no worker's process is left.
pub(crate) async fn no_children(gecko: &Process) {
    wait_until(PATIENCE, async || gecko.children().is_empty()).await;
}

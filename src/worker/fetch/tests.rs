use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// An HTTP server on loopback that answers each path as told; its origin, and how often it was asked.
async fn site(answer: fn(&str, &str) -> String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (own, asked) = (origin.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match tcp.read_u8().await {
                    Ok(byte) => head.push(char::from(byte)),
                    Err(_) => break,
                }
            }
            let text = answer(&own, &head);
            // Who reads too little hangs up.
            let _ = tcp.write_all(text.as_bytes()).await;
            if !text.is_empty() {
                continue;
            }
            // The silent one waits for the other side to give up.
            let _ = tcp.read_u8().await;
        }
    });
    (origin, asked)
}

fn ok(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nSet-Cookie: a=b\r\n\r\n{body}"
    )
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

fn scripts(origin: &str, head: &str) -> String {
    match head.split(' ').nth(1).unwrap_or_default() {
        "/w.js" => ok("text/javascript", "\u{feff}postMessage(1)"),
        "/w.mjs" | "/as-module.js" => ok("text/javascript", "export {}"),
        "/page" => ok("text/html", "<p>"),
        "/latin" => {
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\u{e4}".replace('\u{e4}', "\u{80}")
        }
        "/once" => moved("/w.js"),
        "/for-ever" => moved("/for-ever"),
        "/elsewhere" => moved("http://169.254.169.254/latest"),
        "/same-machine" => moved(&origin.replace("127.0.0.1", "localhost")),
        "/file" => moved("file:///etc/passwd"),
        "/huge" => ok("text/javascript", &" ".repeat(2000)),
        "/slow" => String::new(),
        "/echo" => ok("text/plain", head),
        "/to-echo" => moved("/echo"),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}

fn fetcher(origins: Origins) -> Fetcher {
    let limits = FetchLimits {
        bytes: 1000,
        time: Duration::from_millis(500),
    };
    let tls = crate::web::trusting(rustls::RootCertStore::empty()).unwrap();
    Fetcher::new(tls, origins, limits)
}

fn only(origin: &str) -> Origins {
    Origins {
        listed: vec![origin.parse().unwrap()],
        ..Origins::default()
    }
}

#[tokio::test]
async fn scripts_come_from_allowed_origins_with_their_kind_and_their_last_url() {
    let (origin, _) = site(scripts).await;
    let fetcher = fetcher(only(&origin));
    let load = async |path: &str| fetcher.script(&format!("{origin}{path}")).await.unwrap();
    let script = load("/once").await;
    assert_eq!(script.url, format!("{origin}/w.js"));
    assert_eq!(script.text, "postMessage(1)");
    assert_eq!(script.kind, ScriptKind::Classic);
    assert_eq!(load("/w.mjs").await.kind, ScriptKind::Module);
    assert_eq!(load("/as-module.js#module").await.kind, ScriptKind::Module);
}

#[tokio::test]
async fn what_is_no_script_or_too_much_says_so() {
    let (origin, _) = site(scripts).await;
    let fetcher = fetcher(only(&origin));
    for (path, why) in [
        ("/gone", "status 404"),
        ("/page", "text/html"),
        ("/huge", "more than 1000 bytes"),
        ("/slow", "within 0.5 s"),
        ("/for-ever", "more than 5 times"),
        ("/elsewhere", "does not load from http://169.254.169.254"),
        ("/same-machine", "does not load from http://localhost"),
        ("/file", "file: is not loaded"),
    ] {
        let error = fetcher.script(&format!("{origin}{path}")).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{path}: {error}");
    }
    for (url, why) in [
        ("ftp://x/w.js", "ftp: is not loaded"),
        ("nonsense", "no URL"),
        ("http://[::1", "no URL"),
    ] {
        let error = fetcher.script(url).await.unwrap_err().to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_not_even_asked() {
    let (origin, asked) = site(scripts).await;
    let url = format!("{origin}/w.js");
    let any = Origins {
        any: true,
        ..Origins::default()
    };
    for (origins, why) in [
        (Origins::default(), "--allow-origin"),
        (only("http://example.org"), "--allow-origin"),
        (any.clone(), "--allow-private"),
    ] {
        let error = fetcher(origins).script(&url).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    // A name that leads inside is no better than the address, unless it was meant.
    let name = url.replace("127.0.0.1", "localhost");
    let error = fetcher(any.clone()).script(&name).await.unwrap_err();
    assert!(error.to_string().contains("--allow-private"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let private = Origins {
        private: true,
        ..any
    };
    assert!(fetcher(private).script(&url).await.is_ok());
}

#[tokio::test]
async fn a_script_fetches_with_what_it_may_say_and_sees_no_cookies() {
    let (origin, _) = site(scripts).await;
    let fetcher = fetcher(only(&origin));
    let request = |path: &str, method: &str| Request {
        purpose: Purpose::Fetch,
        url: format!("{origin}{path}"),
        method: method.to_owned(),
        headers: [("X-Mine", "1"), ("Host", "evil"), ("Cookie", "c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        body: Some(Bytes::from_static(b"body")),
    };
    let answer = fetcher.load(request("/echo", "post")).await.unwrap();
    let told = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        told.starts_with("POST /echo HTTP/1.1\r\n") && told.contains("x-mine: 1"),
        "{told}"
    );
    assert!(!told.contains("evil") && !told.contains("cookie"), "{told}");
    assert!(!answer.headers.iter().any(|(name, _)| name == "set-cookie"));
    // A page is fine here, and so is a status that isn't.
    assert_eq!(
        fetcher.load(request("/gone", "GET")).await.unwrap().status,
        404
    );
    let answer = fetcher.load(request("/to-echo", "POST")).await.unwrap();
    assert!(answer.body.starts_with(b"GET /echo"));
    assert!(fetcher.load(request("/echo", "TRACE")).await.is_err());
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let origin = |text: &str| text.parse::<Origin>();
    assert_eq!(
        origin("http://Example.org:80/"),
        origin("http://example.org")
    );
    for wrong in [
        "example.org",
        "ftp://x",
        "http://",
        "http://x/path",
        "http://x?y",
        "*",
        "null",
    ] {
        assert!(origin(wrong).is_err(), "{wrong}");
    }
}

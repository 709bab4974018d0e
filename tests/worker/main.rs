//! Workers in real child processes: what scripts find, how they fail, and what they can't do.
#![cfg(feature = "peer")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod ending;
mod globals;
mod limits;
mod loading;
mod messages;
mod starting;
mod web;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use switchboard::worker::{
    Event, Events, LoadError, Loader, Message, Options, Request, Response, Script, ScriptKind,
    StartError, Worker,
};
use tokio::time::timeout;

/// How long anything may take that should happen at once: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the scripts of these tests pretend to come from.
const URL: &str = "https://example.org/js/worker.js";

/// A web of a few texts. Everything else doesn't exist.
#[derive(Debug, Default)]
struct Web {
    texts: HashMap<&'static str, &'static str>,
    seen: Mutex<Vec<Request>>,
}

impl Web {
    fn of(texts: &[(&'static str, &'static str)]) -> Arc<Self> {
        Arc::new(Self {
            texts: texts.iter().copied().collect(),
            seen: Mutex::default(),
        })
    }
}

impl Loader for Web {
    fn load(&self, request: Request) -> BoxFuture<'_, Result<Response, LoadError>> {
        let url = request.url.clone();
        self.seen.lock().unwrap().push(request);
        Box::pin(async move {
            if url.ends_with("never") {
                return std::future::pending().await;
            }
            let text = self.texts.get(url.as_str());
            let text = text.ok_or_else(|| LoadError("there is nothing".to_owned()))?;
            Ok(Response {
                url: url.replace("/moved/", "/"),
                status: 200,
                headers: vec![("content-type".to_owned(), "text/javascript".to_owned())],
                body: Bytes::from_static(text.as_bytes()),
            })
        })
    }
}

fn options(text: &str) -> Options {
    with_web(text, Web::of(&[]))
}

fn with_web(text: &str, web: Arc<Web>) -> Options {
    let script = Script {
        url: URL.to_owned(),
        text: text.to_owned(),
        kind: ScriptKind::Classic,
    };
    let mut options = Options::new(script, web);
    options.program = env!("CARGO_BIN_EXE_switchboard").into();
    options
}

fn module(mut options: Options) -> Options {
    options.script.kind = ScriptKind::Module;
    options
}

async fn start(options: Options) -> (Worker, Events) {
    timeout(PATIENCE, Worker::start(options))
        .await
        .unwrap()
        .unwrap()
}

async fn refusal(options: Options) -> StartError {
    timeout(PATIENCE, Worker::start(options))
        .await
        .unwrap()
        .unwrap_err()
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

/// The next message, which is JSON.
async fn json(events: &mut Events) -> Value {
    match next(events).await {
        Event::Message(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn post(worker: &Worker, value: Value) {
    let message = Message::Text(value.to_string());
    timeout(PATIENCE, worker.post(message))
        .await
        .unwrap()
        .unwrap();
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

/// Waits until the process is gone, and not even a zombie is left.
async fn gone(process: u32) {
    let path = format!("/proc/{process}");
    let wait = async {
        while std::fs::exists(&path).unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

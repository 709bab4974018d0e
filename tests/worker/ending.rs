//! Errors of a running worker, and its end.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use switchboard::worker::{Ended, Event};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use crate::{PATIENCE, URL, gone, next, options, post, start};

#[tokio::test]
async fn an_exception_is_told_and_the_worker_goes_on() {
    let (worker, mut events) = start(options(
        "onmessage = ({ data }) => {\n  if (data) throw new TypeError('bad ' + data);\n  postMessage('fine'); };",
    ))
    .await;
    post(&worker, json!("thing")).await;
    let Event::Error(error) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(error.message, "TypeError: bad thing");
    assert_eq!((error.file.as_str(), error.line), (URL, 2));
    post(&worker, json!(null)).await;
    assert_eq!(crate::json(&mut events).await, json!("fine"));
}

#[tokio::test]
async fn errors_come_from_everywhere_that_runs_a_callback() {
    let (_worker, mut events) = start(options(
        "setTimeout(() => { throw new Error('timer'); });
         queueMicrotask(() => { throw new Error('microtask'); });
         const t = new EventTarget(); t.addEventListener('a', () => { throw new Error('listener'); }); t.dispatchEvent(new Event('a'));
         reportError(new Error('reported'));",
    ))
    .await;
    for expected in [
        "Error: listener",
        "Error: reported",
        "Error: microtask",
        "Error: timer",
    ] {
        let Event::Error(error) = next(&mut events).await else {
            panic!()
        };
        assert_eq!(error.message, expected);
    }
}

#[tokio::test]
async fn a_script_can_handle_its_own_errors() {
    let (worker, mut events) = start(options(
        "onerror = (...args) => { postMessage(args.map((it) => it instanceof Error ? it.name : it)); return true; };
         addEventListener('error', (e) => postMessage([e.defaultPrevented, e.error.message]));
         onmessage = () => { throw new Error('mine'); };",
    ))
    .await;
    post(&worker, json!(null)).await;
    let first = crate::json(&mut events).await;
    assert_eq!(first[0], json!("Error: mine"));
    assert_eq!(
        (&first[1], &first[2], &first[4]),
        (&json!(URL), &json!(3), &json!("Error"))
    );
    assert_eq!(crate::json(&mut events).await, json!([true, "mine"]));
    let (worker, mut events) = start(options(
        "addEventListener('error', (e) => { throw new Error('again'); }); onmessage = () => { throw new Error('first'); };",
    ))
    .await;
    post(&worker, json!(null)).await;
    for expected in ["Error: again", "Error: first"] {
        assert!(matches!(next(&mut events).await, Event::Error(it) if it.message == expected));
    }
}

#[tokio::test]
async fn rejections_are_judged_at_the_end_of_the_turn() {
    let (_worker, mut events) = start(options(
        "const late = Promise.reject(new Error('caught in time')); Promise.resolve().then(() => late.catch(() => {}));
         Promise.reject(new Error('lost'));
         Promise.reject('text');",
    ))
    .await;
    for expected in [
        "unhandled rejection: Error: lost",
        "unhandled rejection: text",
    ] {
        let Event::Error(error) = next(&mut events).await else {
            panic!()
        };
        assert_eq!(error.message, expected);
    }
    let (_worker, mut events) = start(options(
        "onunhandledrejection = (e) => { e.preventDefault(); e.promise.catch((it) => postMessage([e.type, it === e.reason, it])); };
         Promise.reject(7);",
    ))
    .await;
    assert_eq!(
        crate::json(&mut events).await,
        json!(["unhandledrejection", true, 7])
    );
}

#[tokio::test]
async fn what_a_long_turn_says_is_heard_before_it_ends() {
    let (worker, mut events) = start(options(
        "onmessage = () => { console.log('working'); for (;;); };",
    ))
    .await;
    post(&worker, json!(null)).await;
    assert!(matches!(next(&mut events).await, Event::Console { .. }));
    worker.stop().await;
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Stopped));
}

#[tokio::test]
async fn close_ends_the_worker_after_its_turn() {
    let (worker, mut events) = start(options(
        "onmessage = () => { postMessage(1); setTimeout(() => postMessage('never')); close(); postMessage('never'); };",
    ))
    .await;
    let process = worker.process_id().unwrap();
    post(&worker, json!(null)).await;
    assert_eq!(crate::json(&mut events).await, json!(1));
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Closed));
    assert!(events.recv().await.is_none());
    gone(process).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_stops_or_forgets_it() {
    let (worker, mut events) = start(options("setInterval(() => {}, 1);")).await;
    let process = worker.process_id().unwrap();
    worker.stop().await;
    assert!(!std::fs::exists(format!("/proc/{process}")).unwrap());
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Stopped));

    let (worker, mut events) = start(options("onmessage = () => { for (;;); };")).await;
    let process = worker.process_id().unwrap();
    post(&worker, json!(null)).await;
    drop(worker);
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Stopped));
    gone(process).await;

    let (worker, events) = start(options("setInterval(() => postMessage(0), 1);")).await;
    let process = worker.process_id().unwrap();
    drop(events);
    gone(process).await;
    drop(worker);

    let (silent, events) = start(options("")).await;
    let process = silent.process_id().unwrap();
    drop(events);
    gone(process).await;
}

#[tokio::test]
async fn a_process_that_is_killed_is_told() {
    let (worker, mut events) = start(options("")).await;
    let process = i32::try_from(worker.process_id().unwrap()).unwrap();
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
    let Event::Ended(Ended::Crashed(why)) = next(&mut events).await else {
        panic!()
    };
    assert!(why.contains("SIGKILL"), "{why}");
}

#[test]
fn many_workers_start_and_end_without_a_trace() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let run = async || {
        let starts = (0..20).map(|_| start(options("onmessage = (e) => postMessage(e.data);")));
        for (worker, mut events) in futures_util::future::join_all(starts).await {
            post(&worker, json!(1)).await;
            assert_eq!(crate::json(&mut events).await, json!(1));
            worker.stop().await;
        }
    };
    runtime.block_on(run());
    let before = descriptors();
    runtime.block_on(run());
    // Other tests of this process have some too.
    assert!(descriptors() < before + 20);
}

/// Set for the process that [`a_parent_that_is_killed_leaves_no_worker`] starts and kills.
const PARENT: &str = "SWITCHBOARD_TEST_WORKER_PARENT";

#[tokio::test]
#[allow(
    clippy::print_stdout,
    reason = "that is how the parent names its worker"
)]
async fn a_parent_that_is_killed_leaves_no_worker() {
    let idle = "";
    let busy = "onmessage = () => { for (;;); };";
    if let Ok(script) = std::env::var(PARENT) {
        let (worker, _events) = start(options(&script)).await;
        post(&worker, json!(null)).await;
        println!("\nworker {}", worker.process_id().unwrap());
        return std::future::pending().await;
    }
    for script in [idle, busy] {
        let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ending::a_parent_that_is_killed_leaves_no_worker",
                "--nocapture",
            ])
            .env(PARENT, script)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let process = loop {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            if let Some(process) = line.strip_prefix("worker ") {
                break process.parse().unwrap();
            }
        };
        parent.kill().await.unwrap();
        gone(process).await;
    }
}

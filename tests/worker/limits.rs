//! Scripts that want too much: each ends alone, and in time.

use std::time::Duration;

use serde_json::json;
use switchboard::worker::{Ended, Event, Events, Message, Overrun, PostError, Worker};

use crate::{gone, next, options, post, start};

/// Runs the text when a message comes.
const ON_MESSAGE: &str =
    "onmessage = ({ data }) => { postMessage('running'); (0, eval)(data); postMessage('ran'); };";

async fn running(script: &str, turn: Duration) -> (Worker, Events) {
    let mut options = options(ON_MESSAGE);
    options.limits.turn_cpu = turn;
    let (worker, mut events) = start(options).await;
    post(&worker, json!(script)).await;
    assert_eq!(crate::json(&mut events).await, json!("running"));
    (worker, events)
}

#[tokio::test]
async fn a_turn_that_never_ends_ends_the_worker() {
    for script in [
        "for (;;);",
        "try { for (;;); } finally { for (;;); }",
        "const f = () => Promise.resolve().then(f); f(); throw 1;",
        "close(); for (;;);",
        "setTimeout(() => { for (;;); });",
        "const again = () => { onunhandledrejection = again; Promise.reject(1); }; again();",
    ] {
        let (worker, mut events) = running(script, Duration::from_millis(200)).await;
        let process = worker.process_id().unwrap();
        loop {
            match next(&mut events).await {
                Event::Ended(ended) => {
                    break assert_eq!(ended, Ended::Overrun(Overrun::Cpu), "{script}");
                }
                Event::Message(_) | Event::Error(_) => {}
                other => panic!("{script}: {other:?}"),
            }
        }
        assert!(events.recv().await.is_none());
        gone(process).await;
    }
}

#[tokio::test]
async fn built_ins_that_never_look_are_killed_and_cost_no_other_worker_anything() {
    let (other, mut other_events) = start(options("onmessage = (e) => postMessage(e.data);")).await;
    for script in [
        "Array(2 ** 32 - 1).join('')",
        "[].concat.call({ length: 1 }, Array(2 ** 32 - 1))",
        "new Array(2 ** 32 - 1).reverse()",
    ] {
        let mut options = options(ON_MESSAGE);
        options.limits.turn_cpu = Duration::from_millis(100);
        let (worker, mut events) = start(options).await;
        post(&worker, json!(script)).await;
        post(&other, json!(script)).await;
        assert_eq!(crate::json(&mut other_events).await, json!(script));
        // What a turn has posted goes out after it, or not at all.
        assert_eq!(
            next(&mut events).await,
            Event::Ended(Ended::Overrun(Overrun::Cpu)),
            "{script}"
        );
    }
    post(&other, json!("alive")).await;
    assert_eq!(crate::json(&mut other_events).await, json!("alive"));
}

#[tokio::test]
async fn a_worker_has_so_much_processor_time_altogether() {
    let mut options = options(
        "onmessage = () => { const end = performance.now() + 20; while (performance.now() < end); postMessage(0); };",
    );
    options.limits.total_cpu = Duration::from_millis(500);
    let (worker, mut events) = start(options).await;
    let ended = loop {
        if let Err(error) = worker.post(crate::text("0")).await {
            assert_eq!(error, PostError::Ended);
        }
        match next(&mut events).await {
            Event::Message(_) => {}
            Event::Ended(ended) => break ended,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended, Ended::Overrun(Overrun::Cpu));
}

#[tokio::test]
async fn allocating_without_end_ends_the_worker() {
    for script in [
        "const a = []; for (;;) a.push({ a: [1] });",
        "'x'.repeat(2 ** 29);",
        "const a = []; for (;;) a.push(new Uint8Array(1e6));",
        "const a = []; for (;;) a.push(setTimeout(() => {}, 1e6));",
        "Promise.resolve().then(() => { const a = []; for (;;) a.push({}); });",
    ] {
        let (worker, mut events) = running(script, Duration::from_secs(10)).await;
        let process = worker.process_id().unwrap();
        loop {
            match next(&mut events).await {
                Event::Message(_) => {}
                Event::Ended(ended) => {
                    break assert_eq!(ended, Ended::Overrun(Overrun::Memory), "{script}");
                }
                other => panic!("{script}: {other:?}"),
            }
        }
        gone(process).await;
    }
}

#[tokio::test]
async fn too_deep_a_recursion_is_an_exception_and_no_more() {
    for script in [
        "(function f() { f(); })();",
        "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x;",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a);",
        "JSON.parse('['.repeat(1e5));",
        "eval('('.repeat(1e5));",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; structuredClone(a);",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; postMessage(a);",
    ] {
        let (worker, mut events) = running(script, Duration::from_secs(10)).await;
        let Event::Error(error) = next(&mut events).await else {
            panic!("{script}")
        };
        assert!(error.message.contains("Error"), "{script}: {error:?}");
        post(&worker, json!("1")).await;
        assert_eq!(crate::json(&mut events).await, json!("running"), "{script}");
    }
}

#[tokio::test]
async fn a_flood_waits_for_the_owner() {
    let script = "const bytes = new ArrayBuffer(100000); for (let i = 0; i < 2000; i++) postMessage(bytes); postMessage(bufferedAmount);";
    let (worker, mut events) = running(script, Duration::from_secs(10)).await;
    let mut count = 0;
    let mut most = 0;
    loop {
        match next(&mut events).await {
            Event::Message(Message::Binary(it)) => {
                assert_eq!(it.len(), 100_000);
                count += 1;
                most = most.max(resident());
            }
            Event::Message(Message::Text(text)) => break assert!(text.parse::<u64>().is_ok()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 2000);
    // 200 MB passed. Other tests of this process share the number.
    assert!(most < 150_000_000, "{most}");
    drop(worker);
}

#[tokio::test]
async fn posting_waits_for_a_busy_script_and_no_longer_than_it_lives() {
    let (worker, mut events) = running("for (;;);", Duration::from_millis(500)).await;
    let message = Message::Binary(vec![0; 500_000].into());
    let refused = loop {
        if let Err(error) = worker.try_post(message.clone()) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused, PostError::Full);
    let ended = async { while worker.post(message.clone()).await.is_ok() {} };
    tokio::time::timeout(crate::PATIENCE, ended).await.unwrap();
    assert_eq!(
        next(&mut events).await,
        Event::Ended(Ended::Overrun(Overrun::Cpu))
    );
}

#[tokio::test]
async fn the_process_can_open_nothing() {
    let (worker, _events) = start(options("")).await;
    let process = worker.process_id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let value = |name: &str| {
        let line = limits.lines().find(|it| it.starts_with(name)).unwrap();
        line[name.len()..]
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(value("Max open files"), "5");
    assert_eq!(value("Max file size"), "0");
    assert_eq!(value("Max processes"), "0");
    assert_eq!(value("Max core file size"), "0");
    assert!(value("Max address space").parse::<u64>().is_ok());
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .count();
    assert_eq!(descriptors, 5);
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap();
    assert!(!environment.windows(5).any(|it| it == b"HOME="));
}

/// Bytes of memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

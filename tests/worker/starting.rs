//! How a script starts, and how it doesn't: errnos 202 and 203 (gecko.md B4).

use serde_json::json;
use switchboard::worker::{Ended, Event, Overrun, StartError};

use crate::{URL, module, next, options, refusal, start};

#[tokio::test]
async fn a_script_that_does_not_parse_is_a_syntax_error_with_its_place() {
    for options in [
        options("let a = 1;\nlet b = ;"),
        module(options("let a = 1;\nlet b = ;")),
    ] {
        let StartError::Syntax(error) = refusal(options).await else {
            panic!()
        };
        assert!(error.message.starts_with("SyntaxError: "), "{error:?}");
        assert_eq!((error.file.as_str(), error.line), (URL, 2));
    }
    assert!(matches!(
        refusal(options("a\0b")).await,
        StartError::Syntax(_)
    ));
}

#[tokio::test]
async fn a_script_that_throws_is_uncaught_whatever_it_throws() {
    for (script, message) in [
        ("\nthrow new SyntaxError('mine');", "SyntaxError: mine"),
        ("\nnull.x", "TypeError: cannot read property 'x' of null"),
        ("\nthrow 'text';", "text"),
        ("\nthrow null;", "null"),
        (
            "\nthrow { toString() { throw 1; } };",
            "something that has no text",
        ),
        ("\nthrow Symbol('s');", "Symbol(s)"),
        ("\nthrow '\\ud800';", "\u{fffd}"),
    ] {
        for options in [options(script), module(options(script))] {
            let StartError::Uncaught(error) = refusal(options).await else {
                panic!()
            };
            assert_eq!(error.message, message);
            if message.contains(": ") {
                assert_eq!((error.file.as_str(), error.line), (URL, 2));
                assert!(error.stack.contains(URL), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_module_s_top_level_is_awaited() {
    let (_worker, mut events) = start(module(options(
        "postMessage(1); await new Promise((r) => setTimeout(r, 20)); postMessage(2);",
    )))
    .await;
    assert_eq!(crate::json(&mut events).await, json!(1));
    assert_eq!(crate::json(&mut events).await, json!(2));
    let options = module(options(
        "await new Promise((r) => setTimeout(r, 5)); throw new Error('late');",
    ));
    assert!(
        matches!(refusal(options).await, StartError::Uncaught(it) if it.message == "Error: late")
    );
}

#[tokio::test]
async fn classic_scripts_are_sloppy_and_modules_strict() {
    let (_worker, mut events) = start(options(
        "undeclared = 1; postMessage([this === self, undeclared]);",
    ))
    .await;
    assert_eq!(crate::json(&mut events).await, json!([true, 1]));
    assert!(matches!(
        refusal(module(options("undeclared = 1;"))).await,
        StartError::Uncaught(_)
    ));
    let (_worker, mut events) = start(module(options(
        "postMessage([this === undefined, import.meta.url]);",
    )))
    .await;
    assert_eq!(crate::json(&mut events).await, json!([true, URL]));
}

#[tokio::test]
async fn a_script_that_never_ends_does_not_start() {
    for script in [
        "for (;;);",
        "const f = () => Promise.resolve().then(f); f();",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
    ] {
        let mut options = options(script);
        options.limits.start_cpu = std::time::Duration::from_millis(100);
        assert_eq!(
            refusal(options).await,
            StartError::Overrun(Overrun::Cpu),
            "{script}"
        );
    }
}

#[tokio::test]
async fn a_top_level_that_waits_for_ever_does_not_start() {
    let mut options = module(options("await new Promise(() => {});"));
    options.limits.start_wall = std::time::Duration::from_millis(300);
    assert_eq!(refusal(options).await, StartError::Overrun(Overrun::Start));
}

#[tokio::test]
async fn a_script_that_allocates_without_end_does_not_start() {
    for script in [
        "const a = []; for (;;) a.push(new Array(1000).fill(1));",
        "'x'.repeat(2 ** 29);",
    ] {
        let error = refusal(options(script)).await;
        assert!(
            matches!(error, StartError::Overrun(Overrun::Memory)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_script_may_close_itself_at_once() {
    let (_worker, mut events) = start(options(
        "postMessage('done'); close(); postMessage('lost');",
    ))
    .await;
    assert_eq!(crate::json(&mut events).await, json!("done"));
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Closed));
    let (_worker, mut events) =
        start(module(options("close(); await new Promise(() => {});"))).await;
    assert_eq!(next(&mut events).await, Event::Ended(Ended::Closed));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let mut options = options("");
    options.program = "/nowhere".into();
    assert!(matches!(refusal(options).await, StartError::Process(_)));
    let mut options = crate::options("");
    options.program = "/bin/false".into();
    assert!(matches!(refusal(options).await, StartError::Process(_)));
}

#[tokio::test]
async fn a_start_does_not_wait_for_anyone_to_read_its_log() {
    let (_worker, mut events) = start(options(
        "for (let i = 0; i < 5000; i++) console.log(i); onmessage = () => {};",
    ))
    .await;
    for line in ["0", "1"] {
        assert!(matches!(next(&mut events).await, Event::Console { text, .. } if text == line));
    }
}

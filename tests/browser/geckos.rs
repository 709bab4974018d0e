//! Scripts on a real gecko.

use serde_json::json;

use crate::common::Server;
use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

const STATE: &str = "window.switchboard.stats()?.state";
const TROUBLE: &str = "document.querySelector('#talk-error').textContent";

/// A server, a gecko at it, and a page that has chosen the gecko in the list.
async fn bench(screen: Screen) -> (Server, Program, Browser) {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let gecko = Program::peer("gecko", &url, "lab", &[]);
    let browser = Browser::start(screen).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-gecko=lab] a')")
        .await;
    browser.click("[data-gecko=lab] a").await;
    browser
        .until("document.querySelector('#setup-script')?.value.includes('onmessage')")
        .await;
    (server, gecko, browser)
}

/// Puts a script into the editor, as if it was typed.
async fn edit(browser: &Browser, script: &str, is_module: bool) {
    browser
        .run(
            "const editor = document.querySelector('#setup-script');
            editor.value = arguments[0];
            editor.dispatchEvent(new Event('input', { bubbles: true }));
            document.querySelector('#setup-module').checked = arguments[1];",
            vec![json!(script), json!(is_module)],
        )
        .await;
}

async fn choose(browser: &Browser, selector: &str, value: &str) {
    browser
        .run(
            "const select = document.querySelector(arguments[0]);
            select.value = arguments[1];
            select.dispatchEvent(new Event('change', { bubbles: true }));",
            vec![json!(selector), json!(value)],
        )
        .await;
}

pub(crate) async fn runs(browser: &Browser) {
    browser.click("#setup-run").await;
    browser.until(&format!("{STATE} === 'running'")).await;
}

async fn post(browser: &Browser, kind: &str, text: &str) {
    choose(browser, "#talk-kind", kind).await;
    browser.write("#talk-text", text).await;
    browser.click("#talk-send").await;
}

/// Waits for a line of the log.
async fn logged(browser: &Browser, kind: &str, text: &str) {
    let text = json!(text);
    browser
        .until(&format!(
            "[...document.querySelectorAll('#talk-log .{kind} .said')].some((line) => line.textContent.includes({text}))"
        ))
        .await;
}

/// Waits until the run was refused with an errno, and gives what the page says.
async fn refused(browser: &Browser, errno: u16) -> String {
    browser
        .until(&format!("window.switchboard.stats()?.errno === {errno}"))
        .await;
    let text = browser.until(TROUBLE).await;
    text.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_echo_returns_values_and_bytes_and_its_console_is_heard() {
    let (_server, _gecko, browser) = bench(Screen::Desktop).await;
    runs(&browser).await;
    logged(&browser, "in", "hello from the echo worker").await;
    post(&browser, "json", r#"{"answer": [42, "ü"]}"#).await;
    logged(&browser, "out", r#"{"answer":[42,"ü"]}"#).await;
    logged(&browser, "in", r#"{"answer":[42,"ü"]}"#).await;
    post(&browser, "text", "plain").await;
    logged(&browser, "in", "\"plain\"").await;
    post(&browser, "binary", "00 01 fe ff").await;
    logged(&browser, "in", "4 bytes: 00 01 fe ff").await;
    logged(&browser, "console", "message 3: 4 bytes").await;
    page::keep(&browser, "console-gecko").await;

    browser.click("#setup-stop").await;
    browser.until(&format!("{STATE} === 'ready'")).await;
    choose(&browser, "#setup-protocol", "").await;
    runs(&browser).await;
    post(&browser, "text", "raw").await;
    logged(&browser, "in", "raw").await;
}

#[tokio::test]
async fn modules_with_imports_and_timers_run_and_an_exception_shows() {
    let (_server, _gecko, browser) = bench(Screen::Desktop).await;
    choose(&browser, "#setup-sample", "primes.mjs").await;
    browser
        .until("document.querySelector('#setup-script').value.includes('primesUpTo')")
        .await;
    runs(&browser).await;
    post(&browser, "json", "100").await;
    logged(&browser, "in", r#""count":25,"last":[73,79,83,89,97]"#).await;
    post(&browser, "json", "-1").await;
    logged(&browser, "error", "send a number from 0 to 1000000").await;

    choose(&browser, "#setup-sample", "clock.js").await;
    browser
        .until("document.querySelector('#setup-script').value.includes('setInterval')")
        .await;
    runs(&browser).await;
    post(&browser, "json", "20").await;
    logged(&browser, "in", r#"{"ticks":5}"#).await;
    post(&browser, "text", "stop").await;
    browser.until(&format!("{STATE} === 'ready'")).await;
    logged(&browser, "state", "The worker has ended").await;
}

#[tokio::test]
async fn a_script_that_was_edited_in_the_page_runs() {
    let (_server, _gecko, browser) = bench(Screen::Desktop).await;
    let script = "import { primesUpTo } from '/console/workers/sieve.mjs'; postMessage(primesUpTo(13).length * 7)";
    edit(&browser, script, true).await;
    runs(&browser).await;
    logged(&browser, "in", "42").await;
}

#[tokio::test]
async fn what_a_gecko_refuses_is_said_in_words() {
    let (_server, gecko, browser) = bench(Screen::Desktop).await;
    edit(&browser, "let = = 3", false).await;
    browser.click("#setup-run").await;
    let text = refused(&browser, 202).await;
    assert!(text.contains("syntax error (error 202)"), "{text}");
    page::keep(&browser, "console-gecko-syntax").await;

    edit(&browser, "throw new Error('no luck')", false).await;
    browser.click("#setup-run").await;
    let text = refused(&browser, 203).await;
    assert!(text.contains("no luck"), "{text}");

    browser.click("#setup-kind [value=address]").await;
    browser
        .write("#setup-url", "http://127.0.0.1:1/worker.js")
        .await;
    browser.click("#setup-run").await;
    let text = refused(&browser, 201).await;
    assert!(text.contains("could not fetch the script"), "{text}");

    gecko.stop().await;
    browser
        .until("!document.querySelector('[data-gecko=lab]')")
        .await;
    browser.click("#setup-run").await;
    // A gecko that is gone for a moment is awaited.
    browser.until(&format!("{STATE} === 'starting'")).await;
}

#[tokio::test]
async fn without_a_gecko_the_page_says_how_to_start_one() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Phone).await;
    browser.open(&format!("{url}#gecko=lab")).await;
    browser
        .until("document.querySelector('#setup-script')?.value.includes('onmessage')")
        .await;
    browser.click("#setup-run").await;
    let text = refused(&browser, 301).await;
    assert!(text.contains("switchboard gecko ws://"), "{text}");
    page::fits(&browser).await;
    page::keep(&browser, "console-gecko-phone").await;
}

#[tokio::test]
async fn a_script_that_never_ends_is_killed_and_the_page_says_so() {
    let (_server, _gecko, browser) = bench(Screen::Desktop).await;
    edit(
        &browser,
        "onmessage = () => { for (;;) ; }; postMessage('ready')",
        false,
    )
    .await;
    runs(&browser).await;
    logged(&browser, "in", "ready").await;
    post(&browser, "json", "1").await;
    browser.until(&format!("{STATE} === 'ready'")).await;
    logged(&browser, "error", "The worker was ended").await;
    page::keep(&browser, "console-gecko-killed").await;
}

#[tokio::test]
async fn a_pipeline_of_the_gecko_plays() {
    let (_server, _gecko, browser) = bench(Screen::Desktop).await;
    browser.click("#setup-kind [value=pipeline]").await;
    runs(&browser).await;
    let contrast = page::moves(&browser, "[data-member=gecko] video").await;
    assert!(contrast > 150, "a white ball on black, not {contrast}");
    page::keep(&browser, "console-gecko-pipeline").await;
    browser.click("#setup-stop").await;
    browser
        .until("!document.querySelector('[data-member=gecko]')")
        .await;
}

#[tokio::test]
async fn a_server_with_accounts_is_shown_the_token_of_the_page() {
    let directory = tempfile::tempdir().expect("a directory for the tokens");
    let tokens = directory.path().join("tokens.toml");
    let table =
        "[[tokens]]\ntoken = \"anna's own\"\nuser = \"anna\"\nscopes = [\"remote_server\"]\n";
    std::fs::write(&tokens, table).expect("the tokens are written");
    let accounts = format!("[accounts.static]\nfile = \"{}\"", tokens.display());
    let server = Server::configured(&accounts, &[]).await;
    let url = format!("http://{}/", server.address());
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#gecko=lab")).await;
    browser
        .until("document.querySelector('#setup-token')?.offsetParent")
        .await;
    browser
        .until("document.querySelector('#setup-script')?.value.includes('onmessage')")
        .await;
    for (token, errno) in [("", 101), ("wrong", 102)] {
        browser.write("#setup-token", token).await;
        browser.click("#setup-run").await;
        refused(&browser, errno).await;
    }
    browser
        .run(
            "document.querySelector('#setup-token').value = \"anna's own\"",
            vec![],
        )
        .await;
    browser.click("#setup-run").await;
    refused(&browser, 301).await;
}

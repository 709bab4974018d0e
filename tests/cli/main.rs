//! The command line: what it says when something is wrong, and its exit codes.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod documents;

use std::net::TcpListener;
use std::process::{Command, Output};

/// Runs `switchboard` with these arguments until it ends.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(arguments)
        .output()
        .unwrap()
}

/// It ends with code 2 and one line on standard error, with all of these in it.
fn refused(arguments: &[&str], expected: &[&str]) {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    for expected in expected {
        assert!(
            error.contains(expected),
            "{arguments:?}: no {expected:?} in {error}"
        );
    }
    assert!(!error.contains("panicked"), "{arguments:?}: {error}");
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn wrong_ice_flags_are_named() {
    refused(
        &["serve", "--ice-server", "turn:x"],
        &["--ice-server", "needs a username and a credential"],
    );
    refused(
        &["call", "ws://x", "--ice-server", "turn:h"],
        &["turn:USER:PASSWORD@HOST"],
    );
    refused(
        &["call", "ws://x", "--ice-policy", "never"],
        &["--ice-policy", "all, relay"],
    );
}

#[test]
fn wrong_flags_are_named() {
    refused(&["serve", "--lissten", "x"], &["--lissten"]);
    refused(
        &["serve", "--listen", "nowhere"],
        &["--listen: \"nowhere\" is no address; write IP:PORT"],
    );
    refused(
        &["serve", "--tls", "yes"],
        &["write self-signed, or two PEM files"],
    );
    refused(&["serve", "--log", "loud=very"], &["write a level"]);
    refused(
        &["serve", "--listen", "0.0.0.0:0"],
        &["add --insecure", "127.0.0.1"],
    );
    refused(&["device"], &["URL"]);
    refused(
        &["device", "localhost:8080"],
        &["give one server's URL, as in ws://"],
    );
    refused(
        &["device", "ftp://x"],
        &["write ws://HOST:PORT or wss://HOST:PORT"],
    );
    refused(
        &["device", "ws://x", "--info", "{"],
        &["--info", "must be a JSON object"],
    );
    refused(&["device", "ws://x", "--linger=-1"], &["--linger"]);
    refused(
        &["device", "wss://x", "--ca", "/nonexistent"],
        &["/nonexistent", "as trusted certificates"],
    );
    refused(
        &["call", "ws://x", "--receive", "call.avi"],
        &["--receive", "call.avi", "NAME.webm, NAME.mkv, NAME.mp4"],
    );
    refused(
        &["call", "ws://x", "--receive", "/nonexistent/call.webm"],
        &["there is no directory /nonexistent"],
    );
    refused(&["call", "ws://x", "--remote-offerer"], &["--peer"]);
    refused(&["call", "ws://x", "--id", "a b"], &["--id", "no blanks"]);
    refused(
        &["call", "ws://x", "--send", "none", "pattern=snow"],
        &["pattern=snow", "--send none"],
    );
    refused(&["mesh", "ws://x"], &["--room"]);
    refused(
        &["mesh", "ws://x", "--room", "session"],
        &["--room", "is not \"session\""],
    );
}

#[test]
fn files_that_are_no_good_are_named_with_the_reason() {
    refused(
        &["serve", "--config", "/nonexistent.toml"],
        &["cannot read the configuration file /nonexistent.toml"],
    );
    let config = file("\n[limits]\nping_after = 'often'\n");
    let path = config.path().to_str().unwrap();
    refused(
        &["serve", "--config", path],
        &[path, "line 3", "limits.ping_after", "number of seconds"],
    );
    refused(&["serve", "--assets", "/nonexistent"], &["/nonexistent"]);
    refused(
        &[
            "serve",
            "--listen",
            "tls:127.0.0.1:0",
            "--tls",
            "/nonexistent/c.pem,/nonexistent/k.pem",
        ],
        &["/nonexistent/c.pem"],
    );
}

#[test]
fn a_port_in_use_is_named_with_the_fix() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["serve", "--listen", &address], &[&address, "in use"]);
    refused(&["demo", "--listen", &address], &[&address, "in use"]);
}

#[test]
fn pipelines_that_cannot_play_are_named_with_the_fix() {
    let device = |words: &[&'static str]| [&["device", "ws://x", "--pipeline"], words].concat();
    refused(&device(&["nope"]), &["no pipeline file `nope`", "test"]);
    refused(
        &device(&["test", "colour=red"]),
        &["no variable `colour`", "pattern"],
    );
    refused(&device(&["test pattern"]), &["\"pattern\" is no KEY=VALUE"]);
    let missing = file("title = 'x'\npipeline = 'nosuchsrc ! appsink name=video'\n");
    refused(
        &["pipelines", "check", missing.path().to_str().unwrap()],
        &["nosuchsrc"],
    );
    let outputless = file("title = 'x'\npipeline = 'videotestsrc ! fakesink'\n");
    refused(
        &["pipelines", "check", outputless.path().to_str().unwrap()],
        &["appsink name=video"],
    );
    let wrong = file("title = 'x'\npipline = 'x'\n");
    refused(
        &["pipelines", "check", wrong.path().to_str().unwrap()],
        &["pipline"],
    );
    refused(
        &["pipelines", "show", "test", "width=${x}", "nope=1"],
        &["nope"],
    );
}

#[test]
fn pipelines_are_listed_checked_and_shown() {
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let list = text(&["pipelines", "list"]);
    assert!(
        ["test", "camera", "file", "screen"]
            .iter()
            .all(|name| list.contains(name)),
        "{list}"
    );
    let check = text(&["pipelines", "check", "test"]);
    assert!(
        check.contains(": good; gives video and audio; raw video can be sent as VP8"),
        "{check}"
    );
    let show = text(&["pipelines", "show", "test", "pattern=snow"]);
    assert!(
        show.contains("pattern=snow") && !show.contains("${"),
        "{show}"
    );
}

#[test]
fn the_manual_has_a_page_for_each_subcommand_that_renders_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["manual", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pages = std::fs::read_dir(directory.path()).unwrap();
    let pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    for name in [
        "switchboard",
        "switchboard-serve",
        "switchboard-probe-room",
        "switchboard-token-mint",
    ] {
        let page = directory.path().join(format!("{name}.1"));
        assert!(pages.contains(&page), "{name}: {pages:?}");
    }
    for page in pages {
        let mut groff = Command::new("groff");
        groff
            .args(["-ww", "-k", "-man", "-Tutf8", "-rLL=80n", "-P-cbou"])
            .arg(&page);
        let rendered = groff.output().unwrap();
        let warnings = String::from_utf8_lossy(&rendered.stderr);
        assert!(
            rendered.status.success() && warnings.is_empty(),
            "{}: {warnings}",
            page.display()
        );
        let text = String::from_utf8(rendered.stdout).unwrap();
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
        ] {
            let is_there = text.lines().any(|line| line == section);
            assert!(is_there, "{}: no {section} in {text}", page.display());
        }
    }
}

#[test]
fn completions_know_subcommands_and_flags() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["serve", "gecko", "drain", "wait-for-device"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let bash = run(&["completions", "bash"]).stdout;
    let script = file(&String::from_utf8(bash).unwrap());
    let complete = format!(
        "source {} && COMP_WORDS=(switchboard serve --dr) COMP_CWORD=2 && \
         _switchboard switchboard --dr serve && echo \"${{COMPREPLY[@]}}\"",
        script.path().display()
    );
    let output = Command::new("bash")
        .args(["-c", &complete])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "--drain\n",
        "{output:?}"
    );
}

/// systemd would kill a server that lets conversations end.
#[test]
fn the_service_gives_the_server_the_time_that_it_takes_to_stop() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/systemd/switchboard.service"
    );
    let unit = std::fs::read_to_string(unit).unwrap();
    let seconds = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap().parse::<f64>().unwrap()
    };
    let limits = switchboard::config::Limits::default();
    let needed = seconds("Environment=SWITCHBOARD_DRAIN=") + limits.shutdown.as_secs_f64() + 1.0;
    assert!(seconds("TimeoutStopSec=") > needed, "{needed}");
}

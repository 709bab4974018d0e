//! Ids that would like to be lines of the log, colours of a terminal, or labels of a metric.

use serde_json::json;
use tokio::process::Command;

use crate::common::{Server, frame};
use crate::wire::{Way, open, rest, say};

/// What an attacker would have an operator see.
const FORGED: &str = "2030-01-01T00:00:00.000000Z ERROR switchboard: everything is lost";

/// A server that logs everything in this format.
async fn talkative(format: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["--log", "debug", "--log-format", format]);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    Server::spawn(command, None, 1).await
}

#[tokio::test]
async fn ids_are_logged_on_one_line_and_without_control_characters() {
    for format in ["text", "json"] {
        let server = talkative(format).await;
        // A line's end of three kinds, a colour, a title of the window, an end of text, and a turn of the
        // direction of writing.
        let evil = format!(
            "x\n{FORGED}\r{FORGED}\u{85}\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}31m\u{0}\u{202e}\u{2028}"
        );
        say_everywhere(&server, &evil).await;
        assert_eq!(server.get("/%0a%1b%5b31m").await.status, 404);
        let gone = "switchboard_endpoints";
        server.wait_for_metric(gone, 0.0).await;

        let log = server.log();
        assert!(
            log.contains("everything is lost"),
            "it was logged at all: {log}"
        );
        for line in log.lines() {
            assert!(!line.starts_with(FORGED), "{line:?}");
            // What reads JSON isn't a terminal.
            match format {
                "json" => assert!(serde_json::from_str::<serde_json::Value>(line).is_ok()),
                _ => assert!(!line.chars().any(is_control), "{line:?}"),
            }
        }
        let metrics = server.get("/metrics").await.body;
        assert!(!metrics.contains("everything") && !metrics.contains('\u{1b}'));
    }
}

fn is_control(it: char) -> bool {
    it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}')
}

/// Uses a text for all that has a name, in each dialect.
async fn say_everywhere(server: &Server, evil: &str) {
    let request = |method: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"room": evil, "user": evil}})
            .to_string()
    };
    let blankless = evil.replace([' ', '\n', '\r'], "\u{1b}");
    for (path, texts) in [
        (
            "/register_device",
            vec![json!({"message_type": "register", "device_id": evil}).to_string()],
        ),
        (
            "/register_device",
            vec![json!({"message_type": evil}).to_string()],
        ),
        (
            "/connect_client",
            vec![json!({"message_type": "connect", "device_id": evil}).to_string()],
        ),
        (
            "/",
            vec![format!("HELLO {blankless}"), format!("ROOM {blankless}")],
        ),
        ("/", vec![format!("HELLO {evil}")]),
        ("/room", vec![request("joinRoom"), request(evil)]),
        (
            "/worker",
            vec![
                json!({"messageType": "hello", "action": "worker-hello", "geckoId": evil})
                    .to_string(),
            ],
        ),
        ("/worker", vec![json!({"messageType": evil}).to_string()]),
    ] {
        let mut stream = Way::Plain.connect(server).await;
        open(&mut *stream, path).await;
        for text in texts {
            say(&mut *stream, &frame(0x81, text.as_bytes())).await;
        }
        say(&mut *stream, &frame(0x88, b"\x03\xe8\x1b[31m\nbye")).await;
        rest(&mut *stream).await;
    }
}

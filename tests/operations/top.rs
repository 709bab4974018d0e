//! `switchboard top`, as text and on a terminal's whole screen.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use crate::common::{PATIENCE, Server};

const TOKENS: &str = r#"
tokens = [
  { token = "guest", user = "guest", grants = [{ role = "client" }] },
  { token = "root", user = "root", grants = [{ role = "admin" }] },
]
"#;

/// What `top` with these arguments prints, and its exit code.
async fn top(arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .arg("top")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

#[tokio::test]
async fn once_prints_what_is_there() {
    let server = Server::start(&[]).await;
    let _device = server.device("cam\u{1b}[2J").await.stays();
    let _viewer = server.viewer("cam\u{1b}[2J").await.stays();
    // No terminal: the same without the flag.
    let (text, code) = top(&[&url(&server), "--interval", "0.1"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("Switchboard "), "{text}");
    assert!(text.contains(": serving, up "), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for list in ["1 endpoints\n", "1 calls\n", "0 rooms\n", " connections\n"] {
        assert!(text.contains(list), "{text}");
    }
    let rows = text.lines().filter(|line| line.contains("cam\u{fffd}[2J"));
    assert_eq!(
        rows.count(),
        3,
        "an endpoint, a call and a connection: {text}"
    );
}

#[tokio::test]
async fn once_prints_json_for_programs() {
    let server = Server::start(&[]).await;
    let _device = server.device("cam").await.stays();
    let flags = ["--once", "--json", "--interval", "0.1"];
    let (text, code) = top(&[&[&*url(&server)], &flags[..]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["server"]["phase"], "serving");
    assert_eq!(all["endpoints"][0]["id"], "cam");
    assert!(
        all["connections"].is_array() && all["rooms"].is_array(),
        "{all}"
    );
    assert!(all["rates"]["messages"].is_number(), "{all}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let server = Server::guarded(TOKENS, "").await;
    let url = url(&server);
    let quick = ["--once", "--interval", "0.1"];
    let ask = async |more: &[&str]| top(&[&[&*url], &quick[..], more].concat()).await;
    let (text, code) = ask(&[]).await;
    assert!(code == Some(1) && text.contains("--token"), "{text}");
    let (text, code) = ask(&["--token", "guest"]).await;
    assert!(code == Some(1) && text.contains("role admin"), "{text}");
    let (text, code) = ask(&["--token", "root"]).await;
    assert!(code == Some(0) && text.contains("serving"), "{text}");
    let (text, code) = top(&["nowhere"]).await;
    assert!(code == Some(2) && text.contains("ws://HOST:PORT"), "{text}");

    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = old.local_addr().unwrap();
    let answer = async {
        let (mut stream, _) = old.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
    };
    let address = format!("http://{address}");
    let arguments = [&*address, "--once"];
    let ((text, code), ()) = tokio::join!(top(&arguments), answer);
    assert!(
        code == Some(1) && text.contains("older than this command"),
        "{text}"
    );
    drop(old);
    let (text, code) = top(&[&address, "--once"]).await;
    assert!(
        code == Some(1) && text.contains("does the server run there?"),
        "{text}"
    );
}

#[tokio::test]
async fn the_whole_screen_shows_lists_and_kicks_after_a_question() {
    let server = Server::start(&[]).await;
    let device = server.device("cam").await.stays();
    let mut screen = Screen::start(&url(&server));
    screen.sees("[1 endpoints 1]").await;
    screen.sees("cuttlefish  device").await;
    screen.types("4");
    screen.sees("[4 connections").await;
    screen.sees("127.0.0.1").await;
    screen.types("1");
    screen.sees("[1 endpoints 1]").await;
    screen.types("k");
    screen.sees("Kick cam?").await;
    screen.types("n");
    screen.sees("q: quit").await;
    screen.types("ky");
    screen.sees("kicked cam").await;
    let (_, reason) = device.await.unwrap();
    assert_eq!(reason, "closed by the operator");
    screen.sees("[1 endpoints 0]").await;
    screen.types("q");
    assert!(screen.ends().await.success());
}

#[tokio::test]
async fn the_terminal_may_change_its_size_and_is_given_back_when_the_server_is_gone_too() {
    let mut server = Server::start(&[]).await;
    let mut screen = Screen::start(&url(&server));
    screen.sees("q: quit").await;
    let raw = screen.attributes();
    screen.resize(40, 5);
    screen.sees("sor…").await;
    screen.resize(3, 1);
    screen.sees("1-…").await;
    screen.resize(120, 24);
    screen.sees("q: quit").await;
    server.terminate().await;
    screen.sees("(trying again)").await;
    screen.types("\u{3}");
    screen.sees("\u{1b}[?1049l").await;
    let given_back = screen.attributes();
    assert!(screen.ends().await.success());
    assert_ne!(
        format!("{:?}", raw.local_modes),
        format!("{:?}", screen.before.local_modes)
    );
    assert_eq!(
        format!("{:?}", given_back.local_modes),
        format!("{:?}", screen.before.local_modes)
    );
}

#[tokio::test]
async fn a_signal_ends_it_and_gives_the_terminal_back() {
    let server = Server::start(&[]).await;
    let mut screen = Screen::start(&url(&server));
    screen.sees("q: quit").await;
    let process = screen.child.id().unwrap();
    let process = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    screen.sees("\u{1b}[?1049l").await;
    assert!(screen.ends().await.success());
}

/// `switchboard top` in a terminal of its own.
struct Screen {
    child: Child,
    /// The user's side of the terminal.
    user: File,
    /// What was written there and not seen yet.
    written: Arc<Mutex<Vec<u8>>>,
    /// The terminal as it was.
    before: Termios,
}

impl Screen {
    fn start(url: &str) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap();
        let program: OwnedFd = (File::options().read(true).write(true))
            .open(name.to_str().unwrap())
            .unwrap()
            .into();
        let before = tcgetattr(&program).unwrap();
        let user = File::from(user);
        resize(&user, 120, 24);
        let end = || Stdio::from(program.try_clone().unwrap());
        // The terminal is the one of a session of its own, so that it is told of another size.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_switchboard"), "top", url])
            .args(["--interval", "0.2"])
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, kept) = (user.try_clone().unwrap(), Arc::clone(&written));
        // Ends with an error when the program is gone.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = std::io::Read::read(&mut reader, &mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            child,
            user,
            written,
            before,
        }
    }

    /// Waits until something new is written that has these words in it. What came until then is seen.
    async fn sees(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut written = self.written.lock().unwrap();
                let mut found = written.windows(words.len());
                if let Some(at) = found.position(|it| it == words.as_bytes()) {
                    written.drain(..at + words.len());
                    return;
                }
                let text = String::from_utf8_lossy(&written);
                assert!(Instant::now() < deadline, "no {words:?} in {text:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn types(&mut self, keys: &str) {
        self.user.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, columns: u16, rows: u16) {
        resize(&self.user, columns, rows);
    }

    fn attributes(&self) -> Termios {
        tcgetattr(&self.user).unwrap()
    }

    async fn ends(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

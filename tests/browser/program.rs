//! The real binary as a child process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::common::process::log::{self, Log};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running `switchboard …`. Killed when dropped; its log is printed if the test fails, and must hold
/// no secrets.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: Log,
}

impl Program {
    /// Starts the binary with these arguments.
    pub(crate) fn start<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(arguments.iter().map(AsRef::as_ref));
        log::verbose(&mut command);
        let secrets = log::secrets_of(&command);
        let mut child = command
            .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let log = Log::read(child.stderr.take().expect("stderr is piped"), secrets);
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
            log,
        }
    }

    /// Starts a server or a demo on a free port, and waits until it listens. Gives its URL, with a
    /// slash at the end.
    pub(crate) async fn listen(command: &str) -> (Self, String) {
        let mut program = Self::start(&[command, "--listen", "127.0.0.1:0"]);
        let line = program
            .line(|line| line.strip_prefix("listening on ").map(str::to_owned))
            .await;
        (program, line)
    }

    /// Starts a device at a server. It registers some time later.
    pub(crate) fn device(server: &str, id: &str, more: &[&str]) -> Self {
        Self::peer("device", server, id, more)
    }

    /// Starts a peer of some kind at a server. It registers some time later.
    pub(crate) fn peer(command: &str, server: &str, id: &str, more: &[&str]) -> Self {
        let url = server.replacen("http", "ws", 1);
        Self::start(&[&[command, &url, "--id", id], more].concat())
    }

    /// Writes a line to the program's standard input.
    pub(crate) async fn write(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        let written = input.write_all(format!("{line}\n").as_bytes()).await;
        written.expect("the program reads its input");
    }

    /// The first line of the output from here on of which `wanted` makes something.
    pub(crate) async fn line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        timeout(PATIENCE, async {
            loop {
                let line = self.lines.next_line().await.expect("the output is text");
                let line = line.expect("the program runs");
                if let Some(found) = wanted(&line) {
                    return found;
                }
            }
        })
        .await
        .expect("the awaited line comes in time")
    }

    /// The first line from here on that is JSON and that `wanted` accepts.
    pub(crate) async fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.line(|line| serde_json::from_str(line).ok().filter(&wanted))
            .await
    }

    /// The first message from here on that a viewer sent on a channel and that `wanted` accepts.
    pub(crate) async fn message(
        &mut self,
        channel: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.line(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let message = event.get("message")?;
            (event["channel"] == channel && wanted(message)).then(|| message.clone())
        })
        .await
    }

    /// What it has logged until now.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Ends the program in good order, and waits until it is gone.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("the program ends in time")
            .expect("the program can be waited for");
    }

    fn terminate(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Program {
    #[allow(
        clippy::print_stderr,
        reason = "the test harness shows it with the failed test"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.log());
        } else {
            // It may have ended by itself.
            let _ = self.child.start_kill();
            self.log.check();
        }
    }
}

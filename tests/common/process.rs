//! The built binary as a process: its lines, its log, its end.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a helper's failure is the test's, and its log belongs to it"
)]

#[path = "log.rs"]
pub mod log;

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use log::Log;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything may take that should happen at once: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `switchboard`. Killed when dropped; its log is printed if the test fails, and must hold
/// no secrets.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

impl Process {
    /// Starts `switchboard` with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command.
    pub fn spawn(command: Command) -> Self {
        Self::launch(command, Stdio::null())
    }

    /// Starts `switchboard` with these arguments and this standard input, which then ends.
    pub async fn with_input(arguments: &[&str], input: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(arguments);
        let mut process = Self::launch(command, Stdio::piped());
        let mut stdin = process.child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        process
    }

    fn launch(mut command: Command, stdin: Stdio) -> Self {
        log::verbose(&mut command);
        let secrets = log::secrets_of(&command);
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Log::read(child.stderr.take().unwrap(), secrets);
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, lines) = mpsc::channel(10_000);
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                // Lines that no test reads are left out once the queue is full.
                let _ = sender.try_send(line);
            }
        });
        Self { child, lines, log }
    }

    /// The next line of standard output for which `wanted` gives something.
    pub async fn line<T>(&mut self, what: &str, wanted: impl FnMut(&str) -> Option<T>) -> T {
        self.line_in(PATIENCE, what, wanted).await
    }

    /// The same, within another time.
    pub async fn line_in<T>(
        &mut self,
        patience: Duration,
        what: &str,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let found = async {
            loop {
                let line = self.lines.recv().await?;
                if let Some(found) = wanted(&line) {
                    return Some(found);
                }
            }
        };
        match timeout(patience, found).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("no {what}: the process ended"),
            Err(_) => panic!("no {what} in time"),
        }
    }

    /// Where a server listens, as `HOST:PORT`.
    pub async fn listening(&mut self) -> String {
        self.line("address", |line| {
            let address = line.strip_prefix("listening on http://")?;
            Some(address.trim_end_matches('/').to_owned())
        })
        .await
    }

    /// Waits until the log has a line with `text`.
    pub async fn logged(&self, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{text:?} is not logged"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What was logged until now.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// The processes that its threads have started and that still run.
    pub fn children(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let children = tasks.flatten().map(|task| {
            // A thread may be over meanwhile.
            std::fs::read_to_string(task.path().join("children")).unwrap_or_default()
        });
        let children: Vec<_> = children.collect();
        let ids = children.iter().flat_map(|line| line.split_whitespace());
        ids.map(|id| id.parse().unwrap()).collect()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub async fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.exit().await
    }

    /// Waits for the end.
    pub async fn exit(&mut self) -> ExitStatus {
        self.exit_in(PATIENCE).await
    }

    /// Waits for the end for so long.
    pub async fn exit_in(&mut self, patience: Duration) -> ExitStatus {
        timeout(patience, self.child.wait())
            .await
            .expect("the process ends in time")
            .unwrap()
    }
}

/// Whether a process runs.
pub fn is_alive(process: u32) -> bool {
    // One that is dead but not yet buried by its new parent counts as gone.
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the process's log:\n{}", self.log());
        } else {
            // It may have ended by itself.
            let _ = self.child.start_kill();
            self.log.check();
        }
    }
}

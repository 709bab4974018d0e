//! A user's command that gets the device's events on its standard input.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Lines that wait for a slow command; one more is dropped.
const QUEUE: usize = 256;
/// The pause before a command that ended is started again.
const RESTART: Duration = Duration::from_secs(1);
/// How long a command may take nothing before it is ended, and how long it may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `command` in a shell for as long as the returned sender lives, and writes each line to it.
/// A command that ends is started again with the next line.
#[must_use]
pub fn spawn(command: String) -> mpsc::Sender<Arc<str>> {
    let (lines, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(run(command, receiver));
    lines
}

async fn run(command: String, mut lines: mpsc::Receiver<Arc<str>>) {
    let mut child = start(&command);
    while let Some(line) = lines.recv().await {
        if child.is_none() {
            sleep(RESTART).await;
            child = start(&command);
        }
        if let Some(running) = &mut child
            && let Err(why) = write(running, &line).await
        {
            tracing::warn!(%why, "the --on-input command takes no more; it is started again with the next event");
            end(child.take()).await;
        }
    }
    end(child).await;
}

fn start(command: &str) -> Option<Child> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => Some(child),
        Err(error) => {
            tracing::warn!(%error, "cannot start the --on-input command");
            None
        }
    }
}

async fn write(child: &mut Child, line: &str) -> Result<(), String> {
    let input = child.stdin.as_mut().ok_or("its input is closed")?;
    let written = async {
        input.write_all(line.as_bytes()).await?;
        input.write_all(b"\n").await?;
        input.flush().await
    };
    match timeout(PATIENCE, written).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it read nothing for {} s", PATIENCE.as_secs())),
    }
}

/// Closes the command's input, gives it time to end, and kills it if it doesn't.
async fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    drop(child.stdin.take());
    if timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_gets_the_lines_and_is_started_again_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lines");
        // Each run of the command takes one line and ends.
        let lines = spawn(format!("head -n 1 >> {}", file.display()));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut sent = 0;
        let seen = loop {
            sent += 1;
            let _ = lines.try_send(format!("line {sent}").into());
            let seen = std::fs::read_to_string(&file).unwrap_or_default();
            if seen.lines().count() >= 2 {
                break seen;
            }
            assert!(tokio::time::Instant::now() < deadline, "only {seen:?}");
            sleep(Duration::from_millis(50)).await;
        };
        assert!(seen.starts_with("line 1\n"), "{seen:?}");
    }
}

//! The programs that a pipeline file runs beside its pipeline, such as a virtual X server and what is
//! shown on it. They run as long as the source is there, and are started again when they end.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::media::pipeline::PipelineFile;

/// The pause before a program that ended starts again: at first, and at most. Doubles in between.
/// Short at first, because a program may need one that has only just been started.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// See [`PAUSE_FIRST`].
const PAUSE_MOST: Duration = Duration::from_secs(10);
/// A program that ran for so long starts again after a short pause.
const HEALTHY: Duration = Duration::from_secs(30);

/// Running programs. They are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Programs(Vec<JoinHandle<()>>);

impl Programs {
    /// Starts a file's programs, each in a shell that has the file's variables as environment.
    pub(super) fn start(file: &PipelineFile) -> Self {
        let keep = |text: &String| tokio::spawn(keep(text.clone(), file.variables().clone()));
        Self(file.programs().iter().map(keep).collect())
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for program in &self.0 {
            program.abort();
        }
    }
}

/// Runs a program again and again.
async fn keep(program: String, variables: BTreeMap<String, String>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let start = Instant::now();
        let (end, said) = match run(&program, &variables).await {
            Ok((status, said)) => (status.to_string(), said),
            Err(error) => (error.to_string(), String::new()),
        };
        if start.elapsed() >= HEALTHY {
            pause = PAUSE_FIRST;
        }
        tracing::warn!(
            program,
            end,
            said,
            ?pause,
            "a pipeline's program ended; it starts again after a pause"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// Runs a program to its end: how it ended, and the last line that it said on standard error.
async fn run(
    program: &str,
    variables: &BTreeMap<String, String>,
) -> std::io::Result<(ExitStatus, String)> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", program])
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut last = String::new();
    if let Some(errors) = child.stderr.take() {
        let mut lines = BufReader::new(errors).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tracing::debug!(program, line, "a pipeline's program says");
            if !line.trim().is_empty() {
                last = line;
            }
        }
    }
    Ok((child.wait().await?, last))
}

//! Tries an encoder with a few pictures, once in a process.
//!
//! Software is tried right here. What drives hardware, or stands in a pipeline file, may hang or
//! crash: it is tried in a child process of this binary, which is killed at a deadline.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{Encoder, EncoderKind};
use crate::media::codec::Kind;
use crate::media::guard::{self, Guard};

/// The first argument that makes this binary try an encoder; the second one is the gst-launch text.
pub const TRIAL_ARGUMENT: &str = "--encoder-trial";

/// Pictures that are given to an encoder.
const PICTURES: usize = 10;
/// How many of them must come out: an encoder may drop some to keep its bit rate.
const ENOUGH: usize = 5;
/// How large they are. Some hardware refuses smaller ones.
const SIZE: (u32, u32) = (640, 480);
/// How long they may take, with all that is loaded for them.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// What is read of the reason of a child.
const REASON: u64 = 4096;

/// How a trial ended, or why not well.
type Outcome = Result<(), String>;
/// A trial that somebody makes, or that is over.
type Trial = Arc<OnceLock<Outcome>>;

/// The trials of this process, by gst-launch text. As many as there are encoders.
static TRIALS: Mutex<BTreeMap<String, Trial>> = Mutex::new(BTreeMap::new());
/// The binary that is the child.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Lets encoders that may crash be tried in children of this binary, which calls [`host`] when its first
/// argument is [`TRIAL_ARGUMENT`]. Before that they are tried in this process.
pub fn try_in_children(program: PathBuf) {
    // The first one stays.
    let _ = PROGRAM.set(program);
}

/// Runs a trial as the child process: says why it failed on standard output.
#[must_use]
pub fn host(text: &str) -> ExitCode {
    let tried = crate::media::start().map_err(|error| error.to_string());
    match tried.and_then(|()| encode(text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            answer(&why);
            ExitCode::FAILURE
        }
    }
}

/// How the trial of an encoder ended, if there was one.
pub(super) fn known(encoder: &Encoder) -> Option<Outcome> {
    let trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
    trials.get(&text(encoder))?.get().cloned()
}

/// How the trial of an encoder ends, made now if there was none. Blocks.
pub(super) fn outcome(encoder: &Encoder) -> Outcome {
    let trial = text(encoder);
    let once = {
        let mut trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
        trials.entry(trial.clone()).or_default().clone()
    };
    let is_safe = encoder.kind() == Some(EncoderKind::Software) && !encoder.may_abort();
    let outcome = once.get_or_init(|| {
        let began = Instant::now();
        let outcome = match PROGRAM.get() {
            Some(program) if !is_safe => {
                in_child(Command::new(program).args([TRIAL_ARGUMENT, &trial]))
            }
            _ => encode(&trial),
        };
        let milliseconds = began.elapsed().as_millis();
        tracing::debug!(encoder = encoder.name(), ?outcome, milliseconds, "tried");
        outcome
    });
    outcome.clone()
}

/// The gst-launch text of a trial.
fn text(encoder: &Encoder) -> String {
    let (width, height) = SIZE;
    let source = match encoder.is_for(Kind::Audio) {
        true => format!("audiotestsrc num-buffers={PICTURES}"),
        false => format!(
            "videotestsrc num-buffers={PICTURES} \
             ! video/x-raw,format=I420,width={width},height={height},framerate=30/1"
        ),
    };
    let encoder = encoder.launch_text(width * height);
    format!("{source} ! {encoder} ! appsink name=out sync=false")
}

/// Encodes some pictures in this process.
fn encode(text: &str) -> Outcome {
    let pipeline = Guard::launch(text).map_err(|error| error.to_string())?;
    let out: gst_app::AppSink = pipeline.find("out").map_err(|error| error.to_string())?;
    let started = pipeline.set_state(gst::State::Playing);
    started.map_err(|error| error.to_string())?;
    let bus = pipeline.get().ok().and_then(gst::prelude::ElementExt::bus);
    let bus = bus.ok_or("it has no bus")?;
    let end = Instant::now() + DEADLINE;
    let (mut count, mut last) = (0, None);
    while Instant::now() < end {
        if let Some(error) = bus.pop_filtered(&[gst::MessageType::Error]) {
            return Err(guard::describe(&error));
        }
        if let Some(sample) = out.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
            let time = sample.buffer().and_then(gst::BufferRef::pts);
            if time < last {
                return Err("it puts pictures out of their order (B-frames)".to_owned());
            }
            (count, last) = (count + 1, time);
        } else if out.is_eos() {
            return match count >= ENOUGH {
                true => Ok(()),
                false => Err(format!("only {count} of {PICTURES} pictures came out")),
            };
        }
    }
    Err(late())
}

fn late() -> String {
    format!("no result within {} s", DEADLINE.as_secs())
}

/// Runs a trial in a child process.
fn in_child(command: &mut Command) -> Outcome {
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Drivers talk.
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|error| format!("it can't be tried: {error}"))?;
    let Some(status) = wait(&mut child) else {
        // Reaped elsewhere: what hangs in a driver can't even be killed at once.
        let reaper = std::thread::Builder::new().name("trial-end".to_owned());
        let killed = reaper.spawn(move || child.kill().and_then(|()| child.wait()));
        if let Err(error) = killed {
            tracing::warn!(%error, "a trial that hangs is left to itself");
        }
        return Err(late());
    };
    if status.success() {
        return Ok(());
    }
    if let Some(signal) = status.signal() {
        return Err(format!("it crashed (signal {signal})"));
    }
    let mut why = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        // Without a reason we say so.
        let _ = stdout.by_ref().take(REASON).read_to_string(&mut why);
    }
    Err(match why.trim() {
        "" => "it gave no reason".to_owned(),
        why => why.to_owned(),
    })
}

/// How a child ended, if it did in time.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(LOOK);
    }
    None
}

/// Tells the parent why a trial failed.
fn answer(why: &str) {
    use std::io::Write;
    // The parent may be gone.
    let _ = writeln!(std::io::stdout(), "{why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(script: &str) -> Outcome {
        in_child(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_child_that_crashes_hangs_or_fails_is_an_outcome() {
        assert_eq!(child("exit 0"), Ok(()));
        let failed = |script| child(script).unwrap_err();
        assert_eq!(failed("kill -ABRT $$"), "it crashed (signal 6)");
        assert_eq!(failed("echo no device; exit 1"), "no device");
        assert_eq!(failed("exit 1"), "it gave no reason");
        assert_eq!(failed("exec sleep 100"), "no result within 8 s");
        let nothing = in_child(&mut Command::new("/nonexistent")).unwrap_err();
        assert!(nothing.starts_with("it can't be tried: "), "{nothing}");
    }
}

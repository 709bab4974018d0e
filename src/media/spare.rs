//! Whether the system has enough left for one more session.
//!
//! GLib ends the whole process where it can't have a thread or a descriptor (`Creating pipes for GWakeup:
//! Too many open files`, measured with 1.22), and everyone who watches with it. So whoever would be the one
//! too many is refused before.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::MediaError;

/// What this process asks the system for, if it may: enough for a thousand sessions.
const DESCRIPTORS: u64 = 8192;
/// Descriptors of one session: 8 on a machine with one address (measured); each address, and each TURN
/// server, takes some more.
const SESSION_DESCRIPTORS: usize = 12;
/// Descriptors for what is not a session: encoders that start, files, the way back to the server.
const OTHER_DESCRIPTORS: usize = 24;
/// Threads of one session: 12 where it sends pictures and sound (measured), and what it decodes with.
const SESSION_THREADS: usize = 24;
/// How long a session takes to have all that it needs.
const START: Duration = Duration::from_secs(5);
/// The most threads that are tried at once.
const THREADS: usize = 4 * SESSION_THREADS;
/// The stack of one that is only tried.
const STACK: usize = 64 * 1024;

/// When the last sessions began: what they need isn't in use yet. Those of the last [`START`] only.
static YOUNG: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

/// Lets this process have more descriptors than the usual 1024, as far as the system allows that.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if current.is_some_and(|current| current < wanted) {
        let current = Some(wanted);
        // Without, sessions are refused sooner.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// Says whether a session can begin, and takes it that it does. Takes some hundred microseconds.
///
/// # Errors
/// [`MediaError::Descriptors`], [`MediaError::Threads`].
pub(super) fn check() -> Result<(), MediaError> {
    let mut young = YOUNG.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    young.retain(|at| now.saturating_duration_since(*at) < START);
    let sessions = young.len() + 1;
    if let Some(limit) = getrlimit(Resource::Nofile).current
        && let Some(open) = open(limit)
    {
        descriptors(open, limit, sessions)?;
    }
    threads((SESSION_THREADS * sessions).min(THREADS))?;
    young.push(now);
    Ok(())
}

/// Whether `open` of `limit` leave enough for sessions that begin.
fn descriptors(open: u64, limit: u64, sessions: usize) -> Result<(), MediaError> {
    let needed = OTHER_DESCRIPTORS + SESSION_DESCRIPTORS * sessions;
    match open + needed as u64 > limit {
        true => Err(MediaError::Descriptors { open, limit }),
        false => Ok(()),
    }
}

/// How many descriptors are open; `None` where the system doesn't say.
fn open(limit: u64) -> Option<u64> {
    match std::fs::read_dir("/proc/self/fd") {
        // Without the one that this takes.
        Ok(list) => Some(list.count().saturating_sub(1) as u64),
        Err(error) => {
            let none_left = rustix::io::Errno::MFILE.raw_os_error();
            (error.raw_os_error() == Some(none_left)).then_some(limit)
        }
    }
}

/// Has so many threads for a moment: what bounds them (`ulimit -u`, a container's pids) can't be asked.
fn threads(count: usize) -> Result<(), MediaError> {
    let held = Mutex::new(());
    std::thread::scope(|scope| {
        // All of them are there until it is let go.
        let _hold = held.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let wait = || drop(held.lock().unwrap_or_else(PoisonError::into_inner));
            thread
                .spawn_scoped(scope, wait)
                .map_err(|error| MediaError::Threads(error.to_string()))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_counted_for_each_session_that_begins() {
        assert!(descriptors(64, 100, 1).is_ok());
        assert!(descriptors(65, 100, 1).is_err());
        assert!(descriptors(64, 100, 2).is_err());
        let error = descriptors(1000, 1024, 1).unwrap_err().to_string();
        assert!(error.contains("1000 of 1024"), "{error}");
    }

    #[test]
    fn threads_are_there_and_gone_again() {
        assert!(threads(THREADS).is_ok());
    }
}

//! The child process: one interpreter, one script, one socket. It blocks wherever it waits, because
//! it does nothing else.
//!
//! It starts without a runtime, without GStreamer, without the command line, so that a worker costs
//! little. What it may do is decided before the script arrives in the interpreter; see [`sandbox`].

mod engine;
mod errors;
mod functions;
mod link;
pub(super) mod memory;
mod modules;
mod raw;
mod sandbox;
mod state;
pub(super) mod text;
pub(super) mod urls;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use self::link::Link;
use self::sandbox::SandboxError;
use self::state::State;
use super::StartError;
use super::wire::{FromHost, ToHost};

/// Is a worker's process until the worker is over. Standard input is the socket to the parent.
/// Whatever goes wrong is told there; the exit code says nothing.
#[must_use]
pub(crate) fn run() -> ExitCode {
    let closed = raw::close_inherited();
    // Without a socket there is nobody to tell.
    if let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() {
        work(Link::new(UnixStream::from(socket)), closed);
    }
    ExitCode::SUCCESS
}

fn work(mut link: Link, closed: io::Result<()>) {
    let Ok(Some(ToHost::Start(start, script))) = link.next(None) else {
        return;
    };
    link.bound_aside(start.limits.queue_bytes + start.limits.message_bytes);
    let closed = closed.map_err(SandboxError::Descriptors);
    match closed.and_then(|()| sandbox::confine(&start.limits)) {
        Ok((cpu, memory)) => engine::run(State::new(*start, link, cpu, memory), &script),
        Err(error) => {
            // If the parent is gone, there is nobody to tell.
            let _ = link.send(&FromHost::Failed(StartError::Process(error.to_string())));
            let _ = link.flush();
        }
    }
}

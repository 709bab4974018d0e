//! The measured servers.

use std::ops::Deref;
use std::process::Command;

use super::process::Process;

/// A server in a process of its own.
pub(crate) struct Server {
    process: Process,
    /// `HOST:PORT`
    pub(crate) address: String,
    pub(crate) is_floor: bool,
}

impl Server {
    /// The bare relay.
    pub(crate) fn floor() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(super::FLOOR);
        let (process, address) = Process::listening(command);
        Self {
            process,
            address,
            is_floor: true,
        }
    }

    /// `switchboard serve`, as it is by default but for more arguments.
    pub(crate) fn ours(arguments: &[&str]) -> Self {
        let (process, address) = Process::switchboard(arguments);
        Self {
            process,
            address,
            is_floor: false,
        }
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

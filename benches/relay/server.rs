//! The measured servers.

use std::ops::Deref;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;

/// The token of the peers of a guarded server, and its operator's.
const PEER: &str = "peer-token";
pub(crate) const ADMIN: &str = "admin-token";
/// What the peers' token allows.
pub(crate) const PEER_GRANTS: &str = r#"[{"role": "peer", "ids": ["a*", "b*"], "rooms": []}]"#;
/// Rates that the load doesn't reach, but a flood would.
const LIMITS: &str = "messages_per_second = 5_000\nbytes_per_second = 5_000_000\naddress_messages_per_second = 100_000\n\
                      address_bytes_per_second = 100_000_000\naddress_connections = 1_000\n";

/// A server in a process of its own.
pub(crate) struct Server {
    process: Process,
    /// `HOST:PORT`
    pub(crate) address: String,
    pub(crate) is_floor: bool,
    /// What its peers need to come in.
    pub(crate) token: Option<&'static str>,
    /// Where its configuration is.
    _directory: Option<TempDir>,
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
            token: None,
            _directory: None,
        }
    }

    /// `switchboard serve`, as it is by default but for more arguments.
    pub(crate) fn ours(arguments: &[&str]) -> Self {
        Self::switchboard(arguments, None, None)
    }

    /// One that asks for tokens, and has tighter limits.
    pub(crate) fn guarded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let tokens = format!(
            "[[tokens]]\ntoken = \"{PEER}\"\nuser = \"peer\"\n\
             grants = [{{ role = \"peer\", ids = [\"a*\", \"b*\"], rooms = [] }}]\n\
             [[tokens]]\ntoken = \"{ADMIN}\"\nuser = \"admin\"\ngrants = [{{ role = \"admin\" }}]\n"
        );
        std::fs::write(path("tokens.toml"), tokens).unwrap();
        let config = format!(
            "[auth.static]\nfile = {:?}\n[limits]\n{LIMITS}",
            path("tokens.toml")
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let config = path("config.toml");
        Self::switchboard(&["--config", &config], Some(PEER), Some(directory))
    }

    fn switchboard(
        arguments: &[&str],
        token: Option<&'static str>,
        directory: Option<TempDir>,
    ) -> Self {
        let (process, address) = Process::switchboard(arguments);
        Self {
            process,
            address,
            is_floor: false,
            token,
            _directory: directory,
        }
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

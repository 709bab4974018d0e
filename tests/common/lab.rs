//! Networks of a test's own: hosts in network namespaces, joined by cables.
//!
//! A namespace has no name. A process holds it, which ends when its standard input does: so whatever
//! becomes of the test, its namespaces, cables and rules are gone with it. Nothing outside of them is
//! touched, and any address may be used inside. Needs root, or user namespaces.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary that wants it compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use crate::process::Process;

/// A network without hosts yet.
pub struct Lab {
    /// The user namespace of all hosts, where the test isn't root.
    owner: Option<Holder>,
}

/// A machine in it. Its processes are to be ended before it is dropped.
pub struct Host {
    holder: Holder,
    /// Whether it is in a user namespace, where the test isn't root.
    is_owned: bool,
}

/// What keeps a namespace alive.
struct Holder(Child);

impl Lab {
    /// `None` if this machine lets nobody make networks; that is said.
    pub fn new() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            let lab = Self { owner: None };
            return lab.try_host().map(|_| lab).or_else(skipped);
        }
        let arguments = ["--user", "--map-root-user", "--net"];
        let owner = Holder::start(Command::new("unshare").args(arguments));
        let lab = Self {
            owner: Some(owner.or_else(skipped)?),
        };
        lab.try_host().map(|_| lab).or_else(skipped)
    }

    /// A machine with a loopback and nothing else.
    pub fn host(&self) -> Host {
        self.try_host().expect("a network namespace")
    }

    fn try_host(&self) -> Option<Host> {
        let owner = self.owner.as_ref().map(Holder::id);
        let mut command = match owner {
            Some(owner) => enter(owner, &["user"], "unshare"),
            None => Command::new("unshare"),
        };
        let host = Host {
            holder: Holder::start(command.arg("--net"))?,
            is_owned: owner.is_some(),
        };
        // Without the right to configure it a namespace is worth nothing.
        host.execute("ip", "link set lo up").ok()?;
        Some(host)
    }
}

impl Host {
    /// Lays a cable to another machine; both ends are up, and have these addresses (`10.0.0.1/24`).
    pub fn cable(&self, name: &str, own: &[&str], other: &Self, far: &str, theirs: &[&str]) {
        let pid = other.holder.id();
        self.ip(&format!(
            "link add {name} type veth peer name {far} netns {pid}"
        ));
        for (host, name, addresses) in [(self, name, own), (other, far, theirs)] {
            host.ip(&format!("link set {name} up"));
            for address in addresses {
                // Without waiting for who might have the same address.
                let nodad = if address.contains(':') { "nodad" } else { "" };
                host.ip(&format!("addr add {address} dev {name} {nodad}"));
            }
        }
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) {
        self.execute("ip", words).unwrap();
    }

    /// Passes packets on from one cable to another.
    pub fn forward(&self) {
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let script = format!("echo 1 > /proc/sys/net/{key}");
            self.execute_words("sh", &["-c", &script]).unwrap();
        }
    }

    /// Loads rules for `nft`.
    pub fn nft(&self, rules: &str) {
        self.execute_words("nft", &[rules]).unwrap();
    }

    /// What a program prints when run with these words.
    pub fn execute(&self, program: &str, words: &str) -> Result<String, String> {
        let words: Vec<_> = words.split_whitespace().collect();
        self.execute_words(program, &words)
    }

    /// The same, with words that may have blanks.
    pub fn execute_words(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let output = self.command(program).args(words).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        match status.success() {
            true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
            false => Err(format!(
                "{program} {words:?}: {}",
                String::from_utf8_lossy(&stderr)
            )),
        }
    }

    /// A program on this machine. It keeps the process id that it is started with.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let namespaces: &[_] = match self.is_owned {
            true => &["user", "net"],
            false => &["net"],
        };
        enter(self.holder.id(), namespaces, program)
    }

    /// Starts `switchboard` on this machine.
    pub fn switchboard(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(env!("CARGO_BIN_EXE_switchboard"));
        command.args(arguments);
        Process::spawn(command.into())
    }
}

impl Holder {
    /// Starts the command, which goes into a new namespace, and waits until it is there.
    fn start(command: &mut Command) -> Option<Self> {
        let command = command.args(["sh", "-c", "echo && exec cat"]);
        let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
        let mut child = command.stdin(stdin).stdout(stdout).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?)
            .read_line(&mut line)
            .ok()?;
        let holder = Self(child);
        (!line.is_empty()).then_some(holder)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A program in these namespaces of a process.
fn enter(process: u32, namespaces: &[&str], program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    for namespace in namespaces {
        command.arg(format!("--{namespace}=/proc/{process}/ns/{namespace}"));
    }
    if namespaces.contains(&"user") {
        command.arg("--preserve-credentials");
    }
    command.arg("--").arg(program);
    command
}

#[allow(clippy::unnecessary_wraps, reason = "what is skipped gives nothing")]
fn skipped<T>() -> Option<T> {
    // Not by a macro, whose output is kept back unless the test fails.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no network namespace can be made here; run the tests as root, or allow user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0)"
    );
    None
}

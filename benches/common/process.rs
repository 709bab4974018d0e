//! The measured process: where it runs, and what it takes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// A server in a process of its own, on the first processor alone. Killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server that tells its address, of HTTP or HTTPS, and gives that: `HOST:PORT`.
    pub(crate) fn listening(mut command: Command) -> (Self, String) {
        command.stdout(Stdio::piped());
        let mut process = Self::start(command);
        let mut lines = BufReader::new(process.child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(url) = line.strip_prefix("listening on ") {
                let (_, address) = url.split_once("://").unwrap();
                break address.trim_end_matches('/').to_owned();
            }
        };
        // Nothing that it prints later may stop it.
        std::thread::spawn(move || lines.for_each(drop));
        (process, address)
    }

    /// `switchboard serve`, as it is by default but for more arguments, and its address.
    pub(crate) fn switchboard(arguments: &[&str]) -> (Self, String) {
        Self::serving(&[&["--listen", "127.0.0.1:0"], arguments].concat())
    }

    /// `switchboard serve` with these arguments only, and its address.
    pub(crate) fn serving(arguments: &[&str]) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.arg("serve").args(arguments);
        Self::listening(command)
    }

    /// Starts a server whose output goes where the command says.
    pub(crate) fn start(mut command: Command) -> Self {
        // A child inherits its parent's processors.
        run_on(|processor| processor == 0);
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        leave_first_processor();
        Self { child }
    }

    /// How long its threads have run until now.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = threads.map(|thread| {
            let path = thread.unwrap().path().join("schedstat");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let first = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
            first.unwrap_or_default()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Bytes of memory that it has now.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// A number that the system keeps of it, by its name with a colon.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This thread, and those that it starts, run elsewhere than the server, if there is another
/// processor.
pub(crate) fn leave_first_processor() {
    run_on(|processor| processor > 0);
}

fn run_on(takes: impl Fn(usize) -> bool) {
    let mut set = CpuSet::new();
    for processor in (0..CpuSet::MAX_CPU).filter(|&it| takes(it)) {
        set.set(processor);
    }
    // On a machine with one processor there is no choice.
    let _ = sched_setaffinity(None, &set);
}

pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

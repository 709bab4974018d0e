//! What the kernel forbids a worker's process: files, network, other processes, and more memory and
//! processor time than it was given.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use super::raw;
use crate::worker::Limits;

/// Descriptors that the process has: the standard three, its socket, and [`Memory`].
const DESCRIPTORS: u64 = 5;
/// How long after a turn's end the kernel may end the process, so that the interpreter is the first to
/// notice. It counts whole seconds, and so it does up to a second later.
const AFTER_TURN: Duration = Duration::from_millis(200);

/// Whether and how the kernel was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    #[error("its limits can't be set: {0}")]
    Limits(#[from] rustix::io::Errno),
    #[error("it can't be confined: {0}")]
    Descriptors(#[from] io::Error),
    #[error("it can't be confined: {0}")]
    Filter(#[from] seccompiler::Error),
    #[error("it can't be confined: {0}")]
    FilterText(#[from] BackendError),
}

/// The processor time that this process may still use.
#[derive(Debug)]
pub(super) struct Cpu {
    total: Duration,
    turn_ends: Cell<Duration>,
    /// Where the kernel ends the process now, in whole seconds.
    guarded: Cell<u64>,
}

/// How much memory this process has had at most.
#[derive(Debug)]
pub(super) struct Memory {
    /// Can be read for ever, once it is open.
    status: File,
    at_start: u64,
}

/// Limits the process, for ever. No file can be opened and no connection made from here on.
pub(super) fn confine(limits: &Limits) -> Result<(Cpu, Memory), SandboxError> {
    // When memory runs out, let it be a worker that goes. Some systems don't have it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    raw::let_go_of_libraries()?;
    let memory = Memory::watch()?;
    let space = address_space()?.saturating_add(limits.process_bytes as u64);
    let set = |resource, value| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit)
    };
    set(Resource::As, space)?;
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    set(Resource::Nofile, DESCRIPTORS)?;
    set(Resource::Nproc, 0)?;
    let cpu = Cpu {
        total: limits.total_cpu,
        turn_ends: Cell::default(),
        guarded: Cell::default(),
    };
    cpu.begin_turn(limits.start_cpu)?;
    filter()?;
    Ok((cpu, memory))
}

impl Memory {
    fn watch() -> io::Result<Self> {
        let status = File::open("/proc/self/status")?;
        let at_start = peak(&status);
        Ok(Self { status, at_start })
    }

    /// Whether the process has once had most of what the interpreter may have.
    pub(super) fn has_taken_most(&self, limits: &Limits) -> bool {
        let taken = peak(&self.status).saturating_sub(self.at_start);
        taken >= limits.heap_bytes as u64 / 4 * 3
    }
}

/// Bytes of memory that a process has had at most, from its status; 0 if that says nothing.
fn peak(status: &File) -> u64 {
    let mut text = [0; 4096];
    let read = status.read_at(&mut text, 0).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..read]);
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

impl Cpu {
    /// From now on, so much may be used.
    pub(super) fn begin_turn(&self, budget: Duration) -> io::Result<()> {
        let used = used();
        let ends = (used + budget).min(self.total);
        self.turn_ends.set(ends);
        let left = ends.saturating_sub(used) + AFTER_TURN;
        // Far off, because it can't be raised again.
        let maximum = self.total.as_secs() * 2 + 10;
        let guard = ((raw::counted()? + left).as_secs() + 1).min(maximum);
        if self.guarded.replace(guard) != guard {
            // The kernel kills at the hard limit; at the soft limit it says why.
            let limit = Rlimit {
                current: Some(guard),
                maximum: Some(maximum),
            };
            setrlimit(Resource::Cpu, limit)?;
        }
        Ok(())
    }

    /// Whether the turn has used what it may.
    pub(super) fn is_used_up(&self) -> bool {
        used() >= self.turn_ends.get()
    }
}

/// The processor time that this process has used.
pub(super) fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Bytes of address space that the process has now: mostly libraries, most of them shared.
fn address_space() -> io::Result<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm")?;
    let pages = sizes
        .split(' ')
        .next()
        .and_then(|it| it.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Only what an interpreter on a socket needs passes; the rest fails with `EPERM`.
fn filter() -> Result<(), SandboxError> {
    let equal = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    // Memory can be had, but none that runs.
    let not_executable = || {
        let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, executable, 0)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_read,
        libc::SYS_recvfrom,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigreturn,
        libc::SYS_sendto,
        libc::SYS_write,
    ]
    .into_iter()
    .map(|call| (call, vec![]))
    .collect();
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    // Its own limits only.
    rules.insert(
        libc::SYS_prlimit64,
        vec![SeccompRule::new(vec![equal(0, 0)?])?],
    );
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

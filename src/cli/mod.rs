//! The command line: one file per subcommand, flags in, exit code out. Nothing else parses flags or
//! prints. Exit codes: 0 success, 1 the thing asked for failed, 2 wrong usage or configuration.

#[cfg(any(feature = "server", feature = "peer"))]
mod access;
#[cfg(any(feature = "server", feature = "peer"))]
mod addresses;
#[cfg(feature = "peer")]
mod call;
#[cfg(all(feature = "server", feature = "peer"))]
mod demo;
#[cfg(feature = "peer")]
mod device;
#[cfg(feature = "peer")]
mod doctor;
#[cfg(feature = "peer")]
mod gecko;
#[cfg(feature = "server")]
mod health;
mod log;
mod manual;
#[cfg(feature = "peer")]
mod media;
#[cfg(feature = "peer")]
mod mesh;
#[cfg(feature = "peer")]
mod pipelines;
#[cfg(feature = "peer")]
mod probe;
#[cfg(feature = "peer")]
mod room;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "peer")]
mod sessions;
#[cfg(feature = "server")]
mod token;
#[cfg(any(feature = "server", feature = "peer"))]
mod top;

#[cfg(feature = "fuzzing")]
pub use top::fuzzing;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// WebRTC signaling for four existing dialects, and headless media peers on GStreamer.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    log: log::Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "server")]
    Serve(Box<serve::Flags>),
    #[cfg(feature = "peer")]
    Device(device::Flags),
    #[cfg(feature = "peer")]
    Gecko(Box<gecko::Flags>),
    #[cfg(feature = "peer")]
    Call(call::Flags),
    #[cfg(feature = "peer")]
    Mesh(mesh::Flags),
    #[cfg(feature = "peer")]
    Room(room::Flags),
    #[cfg(all(feature = "server", feature = "peer"))]
    Demo(demo::Flags),
    #[cfg(feature = "peer")]
    Doctor(doctor::Flags),
    #[cfg(feature = "peer")]
    Probe(Box<probe::Flags>),
    #[cfg(feature = "peer")]
    Pipelines(pipelines::Flags),
    #[cfg(feature = "server")]
    Token(token::Flags),
    #[cfg(feature = "server")]
    Health(health::Flags),
    Completions(manual::Completions),
    Manual(manual::Flags),
    #[cfg(any(feature = "server", feature = "peer"))]
    Top(top::Flags),
}

/// How a subcommand failed.
#[derive(Debug)]
enum Failure {
    /// Wrong usage, configuration or set-up: exit code 2.
    Usage(anyhow::Error),
    /// The thing asked for failed: exit code 1.
    Failed(anyhow::Error),
}

type Outcome = Result<(), Failure>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything else: a worker's process has no use for it, and starts often.
    #[cfg(feature = "peer")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|it| it == crate::worker::HOST_ARGUMENT)
    {
        return crate::worker::host::run();
    }
    #[cfg(feature = "peer")]
    if let [_, word, text] = &std::env::args().collect::<Vec<_>>()[..]
        && word == crate::media::TRIAL_ARGUMENT
    {
        return crate::media::host_trial(text);
    }
    let cli = Cli::parse();
    #[cfg(feature = "peer")]
    crate::media::try_in_children("/proc/self/exe".into());
    cli.log.init(cli.command.log());
    let outcome = match cli.command {
        #[cfg(feature = "server")]
        Command::Serve(flags) => block_on(serve::run(*flags)),
        #[cfg(feature = "peer")]
        Command::Device(flags) => block_on(device::run(flags)),
        #[cfg(feature = "peer")]
        Command::Gecko(flags) => block_on(gecko::run(*flags)),
        #[cfg(feature = "peer")]
        Command::Call(flags) => block_on(call::run(flags)),
        #[cfg(feature = "peer")]
        Command::Mesh(flags) => block_on(mesh::run(flags)),
        #[cfg(feature = "peer")]
        Command::Room(flags) => block_on(room::run(flags)),
        #[cfg(all(feature = "server", feature = "peer"))]
        Command::Demo(flags) => block_on(demo::run(flags)),
        #[cfg(feature = "peer")]
        Command::Doctor(flags) => block_on(doctor::run(flags)),
        #[cfg(feature = "peer")]
        Command::Probe(flags) => block_on(probe::run(*flags)),
        #[cfg(feature = "peer")]
        Command::Pipelines(flags) => pipelines::run(flags),
        #[cfg(feature = "server")]
        Command::Token(flags) => token::run(flags),
        #[cfg(feature = "server")]
        Command::Health(flags) => block_on(health::run(flags)),
        Command::Completions(flags) => manual::complete(&flags, Cli::command()),
        Command::Manual(flags) => manual::run(&flags, Cli::command()),
        #[cfg(any(feature = "server", feature = "peer"))]
        Command::Top(flags) => block_on(top::run(flags)),
    };
    let (error, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (error, 1),
        Err(Failure::Usage(error)) => (error, 2),
    };
    // Nothing is left to do when standard error is gone too.
    let _ = writeln!(std::io::stderr(), "switchboard: {error:#}");
    ExitCode::from(code)
}

impl Command {
    /// What is logged if nothing is asked for.
    const fn log(&self) -> &'static str {
        match self {
            // Its own words say what is to be said.
            #[cfg(feature = "peer")]
            Self::Doctor(_) | Self::Probe(_) => "warn",
            // The screen is its own.
            #[cfg(any(feature = "server", feature = "peer"))]
            Self::Top(_) => "error",
            _ => "info",
        }
    }
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }
}

fn block_on(run: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::Failed(anyhow::Error::new(error).context("cannot start the runtime"))
        })?;
    runtime.block_on(async {
        // To write more than the system lets a file have (`ulimit -f`) then fails like writing to a full
        // disk, and doesn't end the process with everything else that it does. Nobody waits for it.
        drop(caught(SignalKind::from_raw(
            rustix::process::Signal::XFSZ.as_raw(),
        )));
        run.await
    })
}

/// What the signals ask of a process.
struct Signals<D, S> {
    /// Completes at the first SIGTERM.
    drain: D,
    /// Completes at Ctrl-C, or at the second SIGTERM.
    shutdown: S,
}

/// Catches the signals: from the call on they don't kill the process any more.
fn signals() -> Signals<impl Future<Output = ()>, impl Future<Output = ()>> {
    let [mut first, mut second] = [(); 2].map(|()| caught(SignalKind::terminate()));
    let mut interrupt = caught(SignalKind::interrupt());
    Signals {
        drain: async move { received(&mut first).await },
        shutdown: async move {
            let twice = async {
                received(&mut second).await;
                received(&mut second).await;
            };
            tokio::select! {
                () = twice => {}
                () = received(&mut interrupt) => {}
            }
        },
    }
}

/// Ends at Ctrl-C or SIGTERM. From the call on, and not only when it is awaited, they don't kill the
/// process any more.
#[cfg(any(feature = "server", feature = "peer"))]
fn interrupted() -> impl Future<Output = ()> {
    let Signals { drain, shutdown } = signals();
    async {
        tokio::select! {
            () = drain => {}
            () = shutdown => {}
        }
        tracing::info!("stopping");
    }
}

fn caught(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::warn!(%error, ?kind, "a signal can't be caught"))
        .ok()
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Prints a line of results to standard output. A reader that has gone away is no error.
fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

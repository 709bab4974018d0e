//! JavaScript workers: each runs in a child process of this binary, in an interpreter (QuickJS) that
//! has neither network nor files. This side starts it, feeds it, and outlives it.
//!
//! ```text
//! owner ── Worker, Events ── this process │ socket pair │ child: `host`, QuickJS, prelude, script
//!                    └── Loader (scripts, `fetch`)
//! ```
//!
//! The script sees the global scope of a dedicated worker (gecko.md B2) and `self.media`. What it
//! posts and logs waits in a bounded queue; when the owner doesn't take it, the script stops in its
//! `postMessage` until there is room. What is posted to it waits in a bounded queue too.
//!
//! A worker that overruns a limit is over: politely by the interpreter's own checks, and otherwise by
//! the kernel, which counts the child's processor time and kills it. Nothing that a script does
//! costs another worker anything but its share of the processors.

pub mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod host;
mod limits;
mod loader;
mod parent;
mod pump;
mod queue;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use limits::Limits;
pub use loader::{LoadError, Loader, Purpose, Request, Response};
pub use parent::{Events, Worker};

/// The first argument that makes this binary a worker's process.
pub const HOST_ARGUMENT: &str = "--worker-host";

/// What a worker is started with.
#[derive(Clone)]
pub struct Options {
    /// What it runs.
    pub script: Script,
    /// What it may use.
    pub limits: Limits,
    /// `navigator.userAgent`.
    pub user_agent: String,
    /// What `self.media` says at the start.
    pub media: Media,
    /// Who brings what the script imports and fetches.
    pub loader: Arc<dyn Loader>,
    /// The binary that is the child; this one by default. Another one in tests, which are not it.
    pub program: PathBuf,
}

/// A worker's main script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where it came from: `location`, and the base of its imports. After redirects.
    pub url: String,
    /// The source text.
    pub text: String,
    /// How it is compiled.
    pub kind: ScriptKind,
}

/// How a script is compiled (HTML, `WorkerType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ScriptKind {
    /// A classic script: has `importScripts`.
    Classic,
    /// A module: has `import` and top-level `await`.
    Module,
}

/// A message between the worker and its client, as on a data channel of protocol `rws.v1` (gecko.md
/// B1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Any value but bytes, in its JSON form.
    Text(String),
    /// Bytes: an `ArrayBuffer` for the script.
    Binary(Bytes),
}

/// What the script can see of the client's media: `self.media.lines`, `.playing`, `.recording`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Media {
    /// The media lines that the client offered.
    pub lines: Vec<MediaLine>,
    /// The pipeline that plays now.
    pub playing: Option<String>,
    /// The name of the recording that runs now.
    pub recording: Option<String>,
    /// Why the last command failed. The script gets an `error` event with this on `self.media`;
    /// without it, a `change` event.
    pub error: Option<String>,
}

/// One media line of the client's offer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MediaLine {
    /// `audio` or `video`.
    pub kind: String,
    /// The client takes what is played.
    pub plays: bool,
    /// The client sends, which can be recorded.
    pub sends: bool,
}

/// What the script wants of the client's media.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MediaCommand {
    /// Play this pipeline instead of what plays now.
    Play(String),
    /// Play nothing.
    Stop,
    /// Record what the client sends, under this name. The name is the script's: don't trust it.
    Record(String),
    /// End the recording.
    StopRecording,
}

/// How important a line of a script's `console` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// `console.debug` and `console.trace`
    Debug,
    /// `console.log` and `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error` and a failed `console.assert`
    Error,
}

/// What a worker tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The script posted a message.
    Message(Message),
    /// The script logged something. Cut off at [`Limits::console_bytes`].
    Console {
        /// How important it is.
        level: Level,
        /// The values, formatted.
        text: String,
    },
    /// An exception that nobody caught, or a rejection that nobody handled. The worker goes on.
    Error(Uncaught),
    /// The script steers the client's media.
    Media(MediaCommand),
    /// The worker is over. Nothing follows.
    Ended(Ended),
}

/// An exception that nobody caught.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize,
)]
#[error("{message}{}", self.place())]
pub struct Uncaught {
    /// What was thrown, as text: `TypeError: not a function`.
    pub message: String,
    /// The URL of the script that threw, if known.
    pub file: String,
    /// The line that threw, from 1; 0 if unknown.
    pub line: u32,
    /// The stack, one call a line; empty if it isn't known.
    pub stack: String,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Ended {
    /// The script called `close()`.
    #[error("the worker closed itself")]
    Closed,
    /// [`Worker::stop`] was called.
    #[error("the worker was stopped")]
    Stopped,
    /// It used more than it may.
    #[error("the worker was stopped: {0}")]
    Overrun(Overrun),
    /// Its process ended in another way, or spoke nonsense.
    #[error("the worker's process failed: {0}")]
    Crashed(String),
}

/// Which limit a worker overran.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize,
)]
pub enum Overrun {
    /// [`Limits::turn_cpu`], [`Limits::start_cpu`] or [`Limits::total_cpu`].
    #[error("it used more processor time than it may")]
    Cpu,
    /// [`Limits::start_wall`].
    #[error("its script did not finish starting in time")]
    Start,
    /// [`Limits::heap_bytes`] or [`Limits::process_bytes`].
    #[error("it used more memory than it may")]
    Memory,
    /// Messages that came while the script waited for an import.
    #[error("too many messages came while it waited for a script")]
    Queue,
}

/// Why a worker didn't start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum StartError {
    /// A script that it imports could not be fetched: errno 201.
    #[error("{url} could not be loaded: {why}")]
    Fetch {
        /// Which script.
        url: String,
        /// What the loader said.
        why: String,
    },
    /// The script, or one that it imports, doesn't parse: errno 202.
    #[error(transparent)]
    Syntax(Uncaught),
    /// The script threw while it started: errno 203.
    #[error(transparent)]
    Uncaught(Uncaught),
    /// The script overran a limit while it started: errno 203.
    #[error("the worker was stopped: {0}")]
    Overrun(Overrun),
    /// The child process doesn't start, or failed.
    #[error("the worker's process failed: {0}")]
    Process(String),
}

/// A message wasn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The worker is over.
    #[error("the worker is over")]
    Ended,
    /// [`Limits::queue_bytes`] or [`Limits::queue_messages`] wait for the worker already.
    #[error("too many messages wait for the worker")]
    Full,
    /// The message has more bytes than [`Limits::message_bytes`].
    #[error("the message is longer than a worker's message may be")]
    TooLong,
}

impl Options {
    /// The script with everything else as it is by default.
    #[must_use]
    pub fn new(script: Script, loader: Arc<dyn Loader>) -> Self {
        Self {
            script,
            limits: Limits::default(),
            user_agent: concat!("Switchboard/", env!("CARGO_PKG_VERSION")).to_owned(),
            media: Media::default(),
            loader,
            // Not the path of the binary, which an update may have replaced.
            program: PathBuf::from("/proc/self/exe"),
        }
    }
}

impl Message {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Uncaught {
    fn place(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => String::new(),
            (file, 0) => format!(" ({file})"),
            (file, line) => format!(" ({file}:{line})"),
        }
    }
}

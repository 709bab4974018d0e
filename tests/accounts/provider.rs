//! oidc-provider as a process, and the tokens that it mints.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::common::Answer;
use crate::common::process::Process;

/// What tokens are for unless a test says otherwise.
pub(crate) const AUDIENCE: &str = "urn:switchboard";

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("package.json")),
    ("package-lock.json", include_str!("package-lock.json")),
    ("provider.js", include_str!("provider.js")),
];

/// A running server. Killed when dropped.
pub(crate) struct Provider {
    process: Process,
    pub(crate) issuer: String,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();
        let directory = INSTALLED.get_or_init(install).await;
        let mut command = Command::new("node");
        command.arg(directory.join("provider.js"));
        let mut process = Process::spawn(command);
        let issuer = process
            .line("issuer", |line| {
                line.starts_with("http://").then(|| line.to_owned())
            })
            .await;
        Self { process, issuer }
    }

    /// A token that the provider makes itself; the query is that of `/mint`.
    pub(crate) async fn mint(&self, query: &str) -> String {
        self.get(&format!("/mint?{query}")).await
    }

    /// A signed token with claims of the test's own; the query is that of `/forge`.
    pub(crate) async fn forge(&self, query: &str) -> String {
        self.get(&format!("/forge?{query}")).await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let address = self.issuer.strip_prefix("http://").unwrap();
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut tcp).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// The process stands still: connections are made, and nothing is answered.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// The process is gone.
    pub(crate) async fn kill(&mut self) {
        self.process.end(Signal::KILL).await;
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }
}

/// Installs the packages once, into the target directory, in the versions of the lock file.
async fn install() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("accounts");
    fs::create_dir_all(&directory).unwrap();
    // Another run of the tests may be about to do the same.
    let lock = File::create(directory.join("lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = lock.await.unwrap().unwrap();
    let done = directory.join("installed");
    let installed = fs::read_to_string(&done).unwrap_or_default();
    for (name, text) in FILES {
        let path = directory.join(name);
        if fs::read_to_string(&path).unwrap_or_default() != text {
            fs::write(path, text).unwrap();
        }
    }
    let (_, wanted) = FILES[1];
    if installed != wanted {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .output()
            .await
            .expect("npm, which ./dev test installs");
        let error = String::from_utf8_lossy(&npm.stderr);
        assert!(npm.status.success(), "npm ci failed: {error}");
        fs::write(done, wanted).unwrap();
    }
    directory
}

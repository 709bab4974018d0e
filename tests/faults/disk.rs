//! Recordings on a disk that gets full: the call goes on, the reason is told with the file's name, and
//! what was written can be played.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::sleep;

use crate::common::{Server, wait_until};
use crate::file::play;
use crate::peers::receives;
use crate::process::{PATIENCE, Process};
use crate::{SMALL, memory, say};

/// Full after a second or two of what nothing can compress.
const DISK: &str = "400k";
const SNOW: &str = "test pattern=snow width=320 height=240";

/// A directory that is a small disk to those who are started by it, and to nobody else.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` if this machine mounts nothing for us; that is said.
    async fn new() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounts = disk.command("true").status().await;
        if mounts.is_ok_and(|it| it.success()) {
            return Some(disk);
        }
        say("SKIPPED: no small disk can be mounted here; run the tests as root");
        None
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && shift 2 && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", DISK]);
        command.arg(self.0.path()).arg(program);
        command
    }

    /// Starts a peer that has this disk.
    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(env!("CARGO_BIN_EXE_switchboard"));
        command.args(arguments);
        Process::spawn(command)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A copy of what such a peer has written.
    fn copy(&self, peer: &Process, name: &str) -> PathBuf {
        let seen = format!("/proc/{}/root{}", peer.id(), self.path(name));
        let copy = self.0.path().join(name);
        std::fs::copy(seen, &copy).unwrap();
        copy
    }
}

/// The peer says that the disk is full, once, and needs no more memory from then on; its file can be
/// played, and at the end it says that it failed.
async fn is_full(disk: &Disk, mut peer: Process, name: &str, others: impl Future<Output = ()>) {
    let full = "no space is left on the disk";
    takes_no_more(&peer, full, &disk.path(name), others).await;
    let copy = disk.copy(&peer, name);
    check(&copy).await;
    assert_eq!(peer.end(Signal::TERM).await.code(), Some(1));
}

/// The peer says once why its file takes no more, and needs no more memory from then on.
async fn takes_no_more(peer: &Process, why: &str, file: &str, others: impl Future<Output = ()>) {
    // What is encoded for the file takes its time on a busy machine.
    wait_until(3 * PATIENCE, async || peer.log().contains(why)).await;
    let before = memory(peer.id());
    others.await;
    sleep(Duration::from_secs(1)).await;
    let grown = memory(peer.id()).saturating_sub(before);
    assert!(grown < 30_000, "{grown} kB more");
    let log = peer.log();
    let told: Vec<_> = log.lines().filter(|it| it.contains(why)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(file), "{told:?}");
}

/// There is a second of pictures in it at least.
pub(crate) async fn check(path: &Path) {
    let path = path.to_owned();
    let size = std::fs::metadata(&path).unwrap().len();
    let played = tokio::task::spawn_blocking(move || play(&path)).await;
    let played = played.unwrap();
    say(&format!("{size} bytes of a recording: {played:?}"));
    assert!(
        played.frames > 5 && played.samples > 10_000 && played.waves > 10,
        "{played:?}"
    );
}

async fn call(name: &str) {
    let Some(disk) = Disk::new().await else {
        return;
    };
    let server = Server::start(&[]).await;
    let mut callee = callee(&server).await;
    let file = disk.path(name);
    let caller = disk.start(&recording(&url(&server), &file));
    is_full(&disk, caller, name, receives(&mut callee, &[""])).await;
}

fn url(server: &Server) -> String {
    format!("ws://{}", server.address())
}

/// Who sends what nothing can compress, and counts what it receives.
async fn callee(server: &Server) -> Process {
    let url = url(server);
    let arguments = ["call", &url, "--id", "7", "--send", SNOW];
    let callee = Process::start(&[&arguments[..], &["--receive", "count"]].concat());
    callee.logged("registered").await;
    callee
}

/// A call to that one, which records what it receives.
fn recording<'a>(url: &'a str, file: &'a str) -> [&'a str; 8] {
    [
        "call",
        url,
        "--peer",
        "7",
        "--send",
        SMALL,
        "--receive",
        file,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_the_disk_of_its_recording() {
    call("x.webm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_has_of_an_mp4_can_be_played() {
    call("x.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_what_the_system_lets_a_file_have() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.mp4");
    let name = file.to_str().unwrap();
    let server = Server::start(&[]).await;
    let mut callee = callee(&server).await;
    let mut command = Command::new("prlimit");
    command
        .args(["--fsize=1000000", env!("CARGO_BIN_EXE_switchboard")])
        .args(recording(&url(&server), name));
    let mut caller = Process::spawn(command);
    let others = receives(&mut callee, &[""]);
    takes_no_more(&caller, "no more than 1000000 bytes", name, others).await;
    check(&file).await;
    assert_eq!(caller.end(Signal::TERM).await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_outlives_the_disk_of_its_recordings() {
    for kind in ["room", "mesh"] {
        let Some(disk) = Disk::new().await else {
            return;
        };
        let server = Server::start(&[]).await;
        let url = format!("ws://{}", server.address());
        let (name, send) = match kind {
            "room" => ("--user", "--publish"),
            _ => ("--id", "--send"),
        };
        let member = |id| [kind, &url, "--room", "r", name, id, send];
        let arguments = [&member("loud")[..], &[SNOW, "--receive", "count"]].concat();
        let mut loud = Process::start(&arguments);
        loud.logged("joined the room").await;
        let files = disk.path("");
        let arguments = [&member("taker")[..], &[SMALL, "--receive", &files]].concat();
        let taker = disk.start(&arguments);
        is_full(&disk, taker, "loud.webm", receives(&mut loud, &["taker"])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_nothing_can_be_written_is_told_at_once() {
    let Some(disk) = Disk::new().await else {
        return;
    };
    // A disk without room for one more name.
    let run = async |script: &str, arguments: &[&str], why: &str| {
        let mut command = disk.command("sh");
        command.args([
            "-c",
            &format!("cd '{}' && {script} && exec \"$@\"", disk.path("")),
        ]);
        command.args(["sh", env!("CARGO_BIN_EXE_switchboard")]);
        command.args(arguments);
        let mut process = Process::spawn(command);
        assert_eq!(process.exit_in(PATIENCE).await.code(), Some(2));
        process.logged(why).await;
    };
    let read_only = format!("mount -o remount,ro '{}'", disk.path(""));
    let (file, below) = (disk.path("x.webm"), disk.path("no/x.webm"));
    let call = ["call", "ws://127.0.0.1:1", "--send", "none", "--receive"];
    run(
        &read_only,
        &[&call[..], &[&file]].concat(),
        "no file can be written",
    )
    .await;
    run(
        "true",
        &[&call[..], &[&below]].concat(),
        "there is no directory",
    )
    .await;
    let path = disk.path("");
    for kind in ["mesh", "room"] {
        let user = ["--user", "u"];
        let user = &user[..if kind == "room" { 2 } else { 0 }];
        let member = [kind, "ws://127.0.0.1:1", "--room", "r", "--receive"];
        let arguments = [&member[..], &[&path], user].concat();
        run(&read_only, &arguments, "no file can be written").await;
        let arguments = [&member[..], &[&file], user].concat();
        run("touch x.webm", &arguments, "cannot make the directory").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_who_is_killed_can_be_played() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    let arguments = ["call", &url, "--id", "7", "--keep", "--send", SNOW];
    let callee = Process::start(&arguments);
    for (calls, name) in ["x.webm", "x.mkv", "x.mp4"].into_iter().enumerate() {
        let registered = || callee.log().matches("registered").count();
        wait_until(PATIENCE, async || registered() > calls).await;
        let file = directory.path().join(name);
        let path = file.to_str().unwrap();
        let arguments = ["call", &url, "--peer", "7", "--wait", "--send", "none"];
        let mut caller = Process::start(&[&arguments[..], &["--receive", path]].concat());
        caller.logged("recording file").await;
        let size = || std::fs::metadata(&file).map_or(0, |it| it.len());
        wait_until(PATIENCE, async || size() > 400_000).await;
        caller.end(Signal::KILL).await;
        check(&file).await;
        callee.logged("conversation ended").await;
    }
}

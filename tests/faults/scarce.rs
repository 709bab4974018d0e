//! A device whose system gives it nothing more: it refuses who would be the one too many, and the others
//! go on.

use std::time::Duration;

use switchboard::peer::ice::Ice;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::common::Server;
use crate::process::{PATIENCE, Process};
use crate::say;
use crate::watcher::Watcher;

/// More than the device can have.
const MANY: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_descriptors_refuses_a_viewer_and_goes_on_with_the_others() {
    refuses(
        &["prlimit", "--nofile=90:90"],
        "too few files may be opened",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_threads_refuses_a_viewer_and_goes_on_with_the_others() {
    // A user of its own, whose threads nobody else has; root may always have one more.
    let other: &[_] = &[
        "setpriv",
        "--reuid=61234",
        "--regid=61234",
        "--clear-groups",
    ];
    let may_run = Command::new(other[0])
        .args(&other[1..])
        .args([env!("CARGO_BIN_EXE_switchboard"), "--version"])
        .output();
    if !may_run.await.is_ok_and(|it| it.status.success()) {
        return say(
            "SKIPPED: the program can't be run as another user, who has a limit of threads",
        );
    }
    let limited = [other, &["prlimit", "--nproc=110:110"]].concat();
    refuses(&limited, "too few threads are left").await;
}

/// Viewers come to a device that is run by this command, until one is refused.
async fn refuses(limited: &[&str], why: &str) {
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    let mut command = Command::new(limited[0]);
    command
        .args(&limited[1..])
        .arg(env!("CARGO_BIN_EXE_switchboard"))
        .args(["device", &url, "--id", "it", "--metrics", "0"])
        .args(["--pipeline", "test width=160 height=120 fps=10"]);
    let device = Process::spawn(command);
    device.logged("registered").await;
    let mut watchers = Vec::new();
    let refused = loop {
        assert!(watchers.len() < MANY, "nobody was refused");
        let ice = Ice::new(Vec::new(), false);
        let watcher = Watcher::begin(server.address(), "it", ice, &[]).await;
        let deadline = Instant::now() + PATIENCE;
        while watcher.eyes.frames() == 0 && !device.log().contains(why) {
            assert!(Instant::now() < deadline, "neither seen nor refused");
            sleep(Duration::from_millis(20)).await;
        }
        if device.log().contains(why) {
            break watcher;
        }
        watchers.push(watcher);
    };
    say(&format!("{} viewers; then {why}", watchers.len()));
    assert!(watchers.len() > 1, "{}", device.log());
    for watcher in &mut watchers {
        let frames = watcher.eyes.frames();
        watcher
            .until("more pictures", |seen| {
                seen.pictures.values().any(|it| it.frames > frames + 10)
            })
            .await;
    }
    drop(refused);
    // There is room again for as many as leave.
    watchers.truncate(watchers.len() - 1);
    device.logged("viewer left").await;
    let back = async {
        loop {
            let before = device.log().matches(why).count();
            let ice = Ice::new(Vec::new(), false);
            let mut watcher = Watcher::begin(server.address(), "it", ice, &[]).await;
            while watcher.eyes.frames() == 0 && device.log().matches(why).count() == before {
                sleep(Duration::from_millis(20)).await;
            }
            if watcher.eyes.frames() > 0 {
                watcher.sees().await;
                return;
            }
        }
    };
    let back = tokio::time::timeout(PATIENCE, back).await;
    assert!(back.is_ok(), "no room again: {}", device.log());
}

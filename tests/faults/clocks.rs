//! The system's clock jumps, as when a machine gets its time from the network late, or an operator sets
//! it. What lasts isn't measured by that clock; what names a time of day is.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::{self, Server};
use crate::file::play;
use crate::peers::receives;
use crate::process::{PATIENCE, Process};
use crate::{SMALL, say};

/// Where Debian's libfaketime is.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// How long a token is good whose end is waited for.
const BRIEF: (&str, Duration) = ("10s", Duration::from_secs(10));
/// Ended tokens are looked for more often than this.
const LOOKED_FOR: Duration = Duration::from_secs(2);

/// A wall clock for those who are started by it.
struct Clock {
    library: String,
    /// What it reads is how far off it is.
    directory: tempfile::TempDir,
}

impl Clock {
    /// `None` without libfaketime; that is said.
    fn new() -> Option<Self> {
        let places = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let places = places.map(|place| place.path().join(LIBRARY));
        let Some(library) = places.into_iter().find(|place| place.exists()) else {
            say("SKIPPED: there is no libfaketime; install it: sudo apt install libfaketime");
            return None;
        };
        let clock = Self {
            library: library.display().to_string(),
            directory: tempfile::tempdir().unwrap(),
        };
        clock.jump("+0");
        Some(clock)
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("clock")
    }

    fn jump(&self, to: &str) {
        // At once: nobody may read half of it.
        let new = self.directory.path().join("new");
        std::fs::write(&new, to).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .args(arguments)
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }

    fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }

    async fn server(&self, config: &Path) -> Server {
        let config = config.to_str().unwrap();
        let command = self.command(&["serve", "--listen", "127.0.0.1:0", "--config", config]);
        Server::spawn(command, None, 1).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_keepalives_and_recordings_do_not_mind_a_jump() {
    let Some(clock) = Clock::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.toml");
    std::fs::write(&config, "[limits]\nping_after = 0.5\nping_timeout = 5").unwrap();
    let server = clock.server(&config).await;
    let url = format!("ws://{}", server.address());
    let files = directory.path().join("files");
    let member = |user, rest: &[&str]| {
        let room = ["room", &url, "--room", "r", "--user", user];
        clock.start(&[&room[..], rest].concat())
    };
    let publisher = member("one", &["--publish", SMALL]);
    publisher.logged("publishing").await;
    let mut counter = member("two", &["--receive", "count"]);
    let mut recorder = member("three", &["--receive", files.to_str().unwrap()]);
    recorder.logged("recording file").await;
    receives(&mut counter, &["one"]).await;
    for jump in ["+1h", "-1d", "+10y"] {
        clock.jump(jump);
        receives(&mut counter, &["one"]).await;
    }
    for process in [&publisher, &counter, &recorder] {
        let log = process.log();
        for trouble in ["ERROR", "no signaling", "conversation ended", "ends here"] {
            assert!(!log.contains(trouble), "{trouble}: {log}");
        }
    }
    assert_eq!(recorder.end(Signal::TERM).await.code(), Some(0));
    let (file, _) = crate::peers::result(&mut recorder, "file").await;
    let played = tokio::task::spawn_blocking(move || play(&files.join("one.webm"))).await;
    let played = played.unwrap();
    say(&format!("recorded over jumps: {file}, {played:?}"));
    let told = file["seconds"].as_f64().unwrap();
    assert!((2.0..120.0).contains(&told), "{file}");
    assert!((played.last - told).abs() < 2.0, "{played:?}");
}

/// A token of the key, for a device and an operator.
async fn mint(key: &Path, lasts: &str) -> String {
    let mint = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["token", "mint", "--user", "it", "--for", lasts, "--key"])
        .arg(key)
        .args(["--grant", "device", "--grant", "admin"])
        .output();
    let token = String::from_utf8(mint.await.unwrap().stdout).unwrap();
    token.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_as_long_as_their_tokens_and_newcomers_go_by_the_clock_as_it_is() {
    let Some(clock) = Clock::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("token.key");
    let token = mint(&key, "1h").await;
    let config = directory.path().join("config.toml");
    let text = format!(
        "[auth.local]\nkey = \"{}\"\n[limits]\ntoken_good = 0.1\n\
         [ice]\nsecret = \"north\"\nlifetime = 600\n[[ice.servers]]\nurls = [\"turn:192.0.2.1\"]",
        key.display()
    );
    std::fs::write(&config, text).unwrap();
    let server = clock.server(&config).await;
    let expiry = async || {
        let answer = server.get(&format!("/ice-servers?token={token}")).await;
        if answer.status != 200 {
            return Err(answer.status);
        }
        let name = answer.json()["iceServers"][0]["username"].clone();
        let name: Value = name;
        let name = name
            .as_str()
            .unwrap_or_else(|| panic!("{answer:?}"))
            .to_owned();
        Ok(name.split(':').next().unwrap().parse::<u64>().unwrap())
    };
    let register = async |token: &str, id: &str| {
        let mut device = server.ws(&format!("/register_device?token={token}")).await;
        device.register(id).await;
        assert_eq!(device.recv_json().await["message_type"], "config");
        device
    };
    let begun = Instant::now();
    let brief = register(&mint(&key, BRIEF.0).await, "brief").await.stays();
    let brief = tokio::spawn(async move { (brief.await.unwrap(), begun.elapsed()) });
    let long = register(&token, "long").await.stays();
    let now = expiry().await.unwrap();
    clock.jump("+30m");
    let later = expiry().await.unwrap();
    assert!((1_795..1_860).contains(&(later - now)), "{now} {later}");
    // Their time is over by this clock, and no one new comes in by the token.
    clock.jump("+2h");
    common::wait_until(PATIENCE, async || expiry().await == Err(401)).await;
    tokio::time::sleep(LOOKED_FOR).await;
    assert!(!long.is_finished());
    // By this one the brief session would have a day.
    clock.jump("-1d");
    let (closed, lasted) = timeout(PATIENCE, brief).await.unwrap().unwrap();
    say(&format!("after {lasted:?}: {closed:?}"));
    assert_eq!(closed, (1008, "the token has expired".to_owned()));
    // Tokens name whole seconds.
    assert!(lasted > BRIEF.1 - Duration::from_secs(1), "{lasted:?}");
    // It was a mistake.
    clock.jump("+0");
    common::wait_until(PATIENCE, async || expiry().await.is_ok()).await;
    assert!(!long.is_finished());
}

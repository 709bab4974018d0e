//! What every attack has around it: a server with a plain and a TLS listener, an innocent pair that
//! talks all the time, and the system's account of what the server uses.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::{Client, Server};

/// The innocent pair says something this often.
const PACE: Duration = Duration::from_millis(20);
/// Memory that an attack may leave behind: the allocator keeps some of what it once had, in an arena
/// for each thread; what leaks grows with the attack, which is made larger than this.
pub(crate) const LEFT_BEHIND: u64 = 24 << 20;
/// Threads that may be left: those for blocking work stay for ten seconds.
const LEFT_THREADS: u64 = 4;
/// How long the innocent pair may wait for a word: on a machine that does much else, behind ten
/// thousand others who came at once, in a build that isn't optimized. The server's runtime takes what is
/// ready in the order in which it became so, and a word waits for the whole crowd before it: 3,300 upgrades
/// at once are 2 to 4 s of a processor in such a build, and so is the end of 10,000 connections.
const INNOCENT_PATIENCE: Duration = Duration::from_secs(60);
/// How long everything may take to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(30);

/// A server that is attacked.
pub(crate) struct Scene {
    // Ends before the server does.
    innocent: Innocent,
    pub(crate) server: Server,
    /// Where its certificate and key are.
    files: tempfile::TempDir,
    before: Usage,
}

/// What the server takes of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

/// A device and its viewer, which answer each other until they are asked to stop.
struct Innocent {
    /// There until it ends.
    thread: Option<JoinHandle<()>>,
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// The longest round until now, in microseconds.
    longest: Arc<AtomicU64>,
}

impl Scene {
    /// Starts a server with these limits; `more` is what else is in its configuration.
    pub(crate) async fn set(limits: &str, more: &str) -> Self {
        Self::arranged(
            limits,
            more,
            Command::new(env!("CARGO_BIN_EXE_switchboard")),
        )
        .await
    }

    /// The same, with the server as the last words of a command.
    pub(crate) async fn arranged(limits: &str, more: &str, mut command: Command) -> Self {
        raise_descriptor_limit();
        let files = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let place = |name: &str| files.path().join(name);
        std::fs::write(place("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(place("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let text = format!("{more}\n[limits]\n{limits}\n");
        std::fs::write(place("switchboard.toml"), text).unwrap();
        let tls = format!(
            "{},{}",
            place("cert.pem").display(),
            place("key.pem").display()
        );
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--listen"])
            .args(["tls:127.0.0.1:0", "--tls", &tls, "--config"])
            .arg(place("switchboard.toml"));
        let server = Server::spawn(command, None, 2).await;
        // One session by TLS before anything is counted: the first one of all takes memory for ever.
        drop(crate::wire::tls(&server).await);
        let innocent = Innocent::begin(&server);
        let mut scene = Self {
            before: Usage::of(server.process()),
            server,
            files,
            innocent,
        };
        // What the first rounds take isn't the attack's.
        scene.innocent.goes_on().await;
        scene.before = Usage::of(scene.server.process());
        scene
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// What the server uses now.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.server.process())
    }

    /// The innocent pair has talked since this was called.
    pub(crate) async fn innocents_go_on(&self) {
        self.innocent.goes_on().await;
    }

    /// Forgets how much memory the server ever had, so that [`Self::grown_by`] tells of what comes.
    pub(crate) fn watch_memory(&self) {
        let path = format!("/proc/{}/clear_refs", self.server.process());
        std::fs::write(path, "5").unwrap();
    }

    /// How much more memory than before the server had at most since [`Self::watch_memory`].
    pub(crate) fn grown_by(&self) -> u64 {
        status(self.server.process(), "VmHWM:")
            .saturating_mul(1024)
            .saturating_sub(self.before.memory)
    }

    /// The attack is over, and everything of it closed: the innocent pair was never in trouble, and
    /// what the attack took is given back.
    pub(crate) async fn is_calm_again(&mut self) {
        self.is_calm_within(LEFT_BEHIND).await;
    }

    /// The same, with this many bytes that may be left.
    pub(crate) async fn is_calm_within(&mut self, left: u64) {
        self.innocent.goes_on().await;
        let most = Usage {
            memory: self.before.memory + left,
            threads: self.before.threads + LEFT_THREADS,
            descriptors: self.before.descriptors,
        };
        let end = Instant::now() + GIVEN_BACK;
        loop {
            let now = self.usage();
            if now.memory <= most.memory
                && now.threads <= most.threads
                && now.descriptors <= most.descriptors
            {
                break;
            }
            assert!(
                Instant::now() < end,
                "before: {:?}, now: {now:?}",
                self.before
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The pair's two, and the one that asks.
        self.server
            .wait_for_metric("switchboard_connections", 3.0)
            .await;
        self.innocent.goes_on().await;
        let longest = Duration::from_micros(self.innocent.longest.load(Ordering::Relaxed));
        eprintln_usage(self.before, self.usage(), self.grown_by(), longest);
    }
}

#[allow(
    clippy::print_stderr,
    reason = "seen with --nocapture, for who looks at numbers"
)]
fn eprintln_usage(before: Usage, after: Usage, peak: u64, longest: Duration) {
    let name = std::thread::current();
    eprintln!(
        "{}: memory {} → {} KiB (peak +{} KiB), descriptors {} → {}, threads {} → {}, longest round {longest:?}",
        name.name().unwrap_or_default(),
        before.memory / 1024,
        after.memory / 1024,
        peak / 1024,
        before.descriptors,
        after.descriptors,
        before.threads,
        after.threads,
    );
}

impl Usage {
    fn of(process: u32) -> Self {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        Self {
            memory: status(process, "VmRSS:") * 1024,
            threads: status(process, "Threads:"),
            descriptors: descriptors.count() as u64,
        }
    }
}

impl Innocent {
    /// On a thread of its own: what the attackers do here must not delay it.
    fn begin(server: &Server) -> Self {
        let (rounds, stop, longest) =
            <(Arc<AtomicU64>, Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let pair = Pair {
            address: server.address().to_owned(),
            rounds: Arc::clone(&rounds),
            stop: Arc::clone(&stop),
            longest: Arc::clone(&longest),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(pair.talk()));
        Self {
            thread: Some(thread),
            rounds,
            stop,
            longest,
        }
    }

    /// Waits for a round that began after this call.
    async fn goes_on(&self) {
        let wanted = self.rounds.load(Ordering::Relaxed) + 2;
        let end = Instant::now() + INNOCENT_PATIENCE;
        while self.rounds.load(Ordering::Relaxed) < wanted {
            assert!(
                !self.thread.as_ref().is_none_or(JoinHandle::is_finished),
                "the innocent pair lost each other"
            );
            assert!(Instant::now() < end, "the innocent pair waits");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Innocent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its failure has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The two, and what they tell of themselves.
struct Pair {
    address: String,
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
}

impl Pair {
    /// Everything that is awaited here has a deadline of its own, and a panic if it passes.
    async fn talk(self) {
        let mut device = self.connect("/register_device").await;
        device.register("innocent").await;
        hears(&mut device, |it| it["message_type"] == "config").await;
        let mut viewer = self.connect("/connect_client").await;
        let connect = json!({"message_type": "connect", "device_id": "innocent"});
        viewer.send_json(&connect).await;
        hears(&mut viewer, |it| it["message_type"] == "device_info").await;
        for n in 0_u64.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let begun = Instant::now();
            viewer.forward(&json!({ "n": n })).await;
            // Attackers may call the device, too.
            hears(&mut device, |it| {
                it["client_id"] == 1 && it["payload"]["n"] == n
            })
            .await;
            device.forward_to(1, &json!({ "n": n })).await;
            hears(&mut viewer, |it| it["payload"]["n"] == n).await;
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
            self.longest.fetch_max(took, Ordering::Relaxed);
            self.rounds.store(n + 1, Ordering::Relaxed);
            tokio::time::sleep(PACE).await;
        }
    }

    async fn connect(&self, path: &str) -> Client {
        let tcp = TcpStream::connect(&self.address).await.unwrap();
        Client::over(tcp, path).await.unwrap()
    }
}

/// Passes over what it hears until this; some of it may be made to be no JSON that anybody could parse.
async fn hears(client: &mut Client, wanted: impl Fn(&Value) -> bool) {
    let hearing = async {
        loop {
            let message = client.socket.next().await.expect("more to come");
            let text = message.expect("no end").into_data();
            if serde_json::from_slice(&text).is_ok_and(|it: Value| wanted(&it)) {
                return;
            }
        }
    };
    let hearing = timeout(INNOCENT_PATIENCE, hearing);
    hearing.await.expect("a word in time");
}

/// A number of what the system keeps of a process; those of memory are in KiB.
fn status(process: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap()
}

/// As many descriptors as the system allows, for many connections.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// How many connections this machine lets a test and its server have at once, of so many wanted.
pub(crate) fn at_most(wanted: usize) -> usize {
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    wanted.min(usize::try_from(allowed).unwrap_or(usize::MAX) - 500)
}

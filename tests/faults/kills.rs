//! Each party is killed at each step. The others notice and say so, nothing of it stays, and when it comes
//! back everything works again, under the same names.

use std::time::Duration;

use rustix::process::Signal;
use switchboard::peer::ice::Ice;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{Client, Server, wait_until};
use crate::disk;
use crate::gate::{Gate, Step};
use crate::page::{Heard, Page, channel};
use crate::peers::receives;
use crate::process::{PATIENCE, Process, is_alive};
use crate::watcher::Watcher;
use crate::{SMALL, say};

/// Who is killed. The party behind the gate is that one, or what the server deals with meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Device,
    Gecko,
    Caller,
    Publisher,
    Subscriber,
    Recorder,
    /// While a device and its viewer meet.
    Server,
    /// While a participant publishes.
    RoomServer,
}

/// The rows: who, at which steps.
const ALL: &[Step] = &[
    Step::Registering,
    Step::Offered,
    Step::Answered,
    Step::Flowing,
];

/// Who dies without a word is forgotten at once; a participant only when it may not come back any more.
const GRACE: &str = "[limits]\ngecko_grace = 0.5\nkurento_resume = 0.5";
/// How long it may take until the server has forgotten, and the others know: the rest is for busy machines.
const NOTICED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_device_is_replaced_by_itself() {
    survive(Who::Device, ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gecko_takes_its_workers_along_and_comes_back() {
    survive(Who::Gecko, ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_caller_leaves_its_partner_free_for_the_next_call() {
    survive(Who::Caller, ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_publisher_may_publish_again() {
    survive(Who::Publisher, ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_subscriber_costs_the_room_nothing() {
    survive(Who::Subscriber, ALL).await;
    survive(Who::Recorder, &[Step::Flowing]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_missed_by_nobody_once_it_is_back() {
    survive(Who::Server, ALL).await;
    survive(Who::RoomServer, &[Step::Answered, Step::Flowing]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_stops_its_source_when_its_last_viewer_is_killed() {
    let server = Server::start(&[]).await;
    let gate = Gate::new(server.address(), true).await;
    let url = format!("ws://{}", server.address());
    let arguments = ["device", &url, "--id", "it", "--pipeline", SMALL];
    let quick = ["--linger", "0", "--log", "debug"];
    let device = Process::start(&[&arguments[..], &quick].concat());
    device.logged("registered").await;
    let _watcher = Watcher::start(&gate.address, "it", &[]).await;
    gate.cut();
    device.logged("viewer left").await;
    device.logged("source stopped").await;
}

/// The driver of all rows.
async fn survive(who: Who, steps: &[Step]) {
    let mut scene = Scene::new(who).await;
    for &step in steps {
        scene.gate.wish(step);
        let mut party = scene.launch();
        scene.meet(step).await;
        match step {
            Step::Flowing => scene.flows(&mut party).await,
            _ => scene.gate.caught().await,
        }
        let children = party.children();
        assert!(who != Who::Gecko || step == Step::Registering || children.len() == 1);
        let died = Instant::now();
        if scene.is_about_server() {
            scene.server.signal(Signal::KILL);
            scene.server.ended().await;
            scene.miss(&mut party, step).await;
            scene.restart().await;
            scene.again(&mut party).await;
            party.end(Signal::KILL).await;
            scene.forget().await;
        } else {
            party.end(Signal::KILL).await;
            scene.forget().await;
            scene.notice(step).await;
        }
        wait_until(NOTICED, async || !children.iter().any(|id| is_alive(*id))).await;
        let took = died.elapsed();
        say(&format!(
            "{who:?} killed at {step:?}: all is well after {took:?}"
        ));
    }
    scene.gate.wish(Step::Flowing);
    let mut party = scene.launch();
    scene.meet(Step::Flowing).await;
    scene.flows(&mut party).await;
}

/// Everyone but the one that is killed.
pub(crate) struct Scene {
    who: Who,
    server: Server,
    pub(crate) gate: Gate,
    /// Who is called, or who is in the room.
    other: Option<Process>,
    /// How often it has noticed.
    noticed: usize,
    watcher: Option<Watcher>,
    /// One without media, which hears what the server says.
    viewer: Option<Client>,
    page: Option<Page>,
    files: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new(who: Who) -> Self {
        let server = Server::configured(GRACE, &[]).await;
        let gate = Gate::new(server.address(), who != Who::Gecko).await;
        let url = format!("ws://{}", server.address());
        let room = ["room", &url, "--room", "r", "--user", "other"];
        let other = match who {
            Who::Caller => {
                let arguments = ["call", &url, "--id", "other", "--keep", "--send", SMALL];
                let callee = Process::start(&[&arguments[..], &["--receive", "count"]].concat());
                callee.logged("registered").await;
                Some(callee)
            }
            Who::Publisher | Who::RoomServer => {
                let other = Process::start(&[&room[..], &["--receive", "count"]].concat());
                other.logged("joined the room").await;
                Some(other)
            }
            Who::Subscriber | Who::Recorder => {
                let other = Process::start(&[&room[..], &["--publish", SMALL]].concat());
                other.logged("publishing").await;
                Some(other)
            }
            Who::Device | Who::Gecko | Who::Server => None,
        };
        Self {
            who,
            server,
            gate,
            other,
            noticed: 0,
            watcher: None,
            viewer: None,
            page: None,
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn is_about_server(&self) -> bool {
        matches!(self.who, Who::Server | Who::RoomServer)
    }

    /// Starts the party behind the gate.
    pub(crate) fn launch(&self) -> Process {
        let url = format!("ws://{}", self.gate.address);
        let files = self.files.path().to_str().unwrap();
        let room = ["room", &url, "--room", "r", "--user", "it"];
        let join = |rest: &[&str]| Process::start(&[&room[..], rest].concat());
        match self.who {
            Who::Device | Who::Server => {
                Process::start(&["device", &url, "--id", "it", "--pipeline", SMALL])
            }
            Who::Gecko => {
                // Where its scripts come from is not behind the gate.
                let origin = format!("http://{}", self.server.address());
                Process::start(&["gecko", &url, "--id", "it", "--allow-origin", &origin])
            }
            Who::Caller => {
                let call = ["call", &url, "--id", "it", "--peer", "other", "--wait"];
                Process::start(&[&call[..], &["--send", SMALL]].concat())
            }
            Who::Publisher | Who::RoomServer => join(&["--publish", SMALL]),
            Who::Subscriber => join(&["--receive", "count"]),
            Who::Recorder => join(&["--receive", files]),
        }
    }

    /// Lets the others begin, where it is for them to do so.
    pub(crate) async fn meet(&mut self, step: Step) {
        if step == Step::Registering {
            return;
        }
        let address = self.server.address();
        match self.who {
            Who::Device | Who::Server => {
                self.registered().await;
                self.viewer = Some(self.server.viewer("it").await);
                let ice = Ice::new(Vec::new(), false);
                self.watcher = Some(Watcher::begin(address, "it", ice, &[]).await);
            }
            Who::Gecko => {
                self.registered().await;
                let echo = format!("http://{address}/console/workers/echo.js");
                self.page = Some(Page::start(address, &echo, channel()).await);
            }
            _ => {}
        }
    }

    /// Waits until media, or what a worker says, has come through.
    pub(crate) async fn flows(&mut self, party: &mut Process) {
        match (self.who, &mut self.other) {
            (Who::Device | Who::Server, _) => self.watcher.as_mut().unwrap().sees().await,
            (Who::Gecko, _) => {
                let page = self.page.as_mut().unwrap();
                page.answered().await;
                page.opened().await;
                assert_eq!(page.json().await, "hello from the echo worker");
            }
            (Who::Caller, Some(callee)) => receives(callee, &[""]).await,
            (Who::Publisher | Who::RoomServer, Some(other)) => receives(other, &["it"]).await,
            (Who::Recorder, _) => {
                party.logged("recording file").await;
                let file = self.files.path().join("other.webm");
                let size = || std::fs::metadata(&file).map_or(0, |it| it.len());
                wait_until(3 * PATIENCE, async || size() > 30_000).await;
            }
            _ => receives(party, &["other"]).await,
        }
    }

    /// Those who met the party leave it.
    pub(crate) async fn part(&mut self) {
        (self.watcher, self.viewer) = (None, None);
        if let Some(page) = self.page.take() {
            page.close().await;
        }
    }

    /// Waits until the server knows nothing of the party any more.
    async fn forget(&self) {
        wait_until(NOTICED, async || {
            let all = self.server.get("/api/endpoints").await.body;
            let rooms = self.server.get("/api/rooms").await.body;
            !all.contains("\"it\"") && !rooms.contains("\"it\"")
        })
        .await;
    }

    async fn registered(&self) {
        wait_until(3 * PATIENCE, async || {
            let all = self.server.get("/api/endpoints").await;
            all.body.contains("\"it\"")
        })
        .await;
    }

    /// Waits until those who had to do with it know.
    async fn notice(&mut self, step: Step) {
        self.watcher = None;
        if let Some(mut viewer) = self.viewer.take() {
            // This dialect has no word for it but the end.
            assert_eq!(viewer.closed().await.0, 1000);
        }
        if let Some(mut page) = self.page.take()
            && step != Step::Flowing
        {
            page.heard("end", |heard| match heard {
                Heard::Server(message) => (message["messageType"] == "worker-error").then_some(()),
                Heard::Closed(_) | Heard::Over => Some(()),
                Heard::Event(_) => None,
            })
            .await;
        }
        if self.who == Who::Gecko {
            let sessions = "switchboard_gecko_sessions";
            self.server.wait_for_metric(sessions, 0.0).await;
        }
        if self.who == Who::Recorder {
            let file = self.files.path().join("other.webm");
            disk::check(&file).await;
            std::fs::remove_file(file).unwrap();
        }
        let Some(other) = &self.other else { return };
        let (text, silent) = match self.who {
            // Who isn't in a call yet is unknown to its partner; so is who isn't in a room.
            Who::Caller => ("conversation ended", step == Step::Registering),
            _ => ("left peer=\"it\"", false),
        };
        self.noticed += usize::from(!silent);
        let noticed = || other.log().matches(text).count();
        let wanted = self.noticed;
        let done = timeout(NOTICED, async {
            while noticed() < wanted {
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(
            done.await.is_ok(),
            "{wanted} times {text:?}: {}",
            other.log()
        );
    }

    /// The server is gone: what flows between two flows on.
    async fn miss(&mut self, party: &mut Process, step: Step) {
        party.logged("no signaling").await;
        if step != Step::Flowing {
            self.watcher = None;
        }
        if let Some(watcher) = &mut self.watcher {
            let frames = watcher.eyes.frames();
            watcher
                .until("more pictures", |seen| {
                    seen.pictures.values().any(|it| it.frames > frames + 10)
                })
                .await;
        }
        self.watcher = None;
    }

    /// The next server, at the same place.
    async fn restart(&mut self) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("switchboard.toml");
        std::fs::write(&file, GRACE).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(["serve", "--listen", self.server.address(), "--config"]);
        command.arg(file);
        self.server = Server::spawn(command, Some(directory), 1).await;
    }

    /// Everyone comes back without being asked.
    async fn again(&mut self, party: &mut Process) {
        self.gate.wish(Step::Flowing);
        self.meet(Step::Flowing).await;
        self.flows(party).await;
        self.watcher = None;
    }
}

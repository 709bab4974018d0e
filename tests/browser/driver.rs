//! A real Chromium, driven through chromedriver.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::WindowHandle};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a page may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a page is asked whether something has happened.
const POLL: Duration = Duration::from_millis(50);
/// How long Chromium may take to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the browser's window looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// 1280×800, with a mouse.
    Desktop,
    /// 390×780, with fingers.
    Phone,
}

/// One Chromium with a profile of its own. Ends when dropped.
pub(crate) struct Browser {
    client: Client,
    chromium: Option<Pid>,
    driver: Driver,
    profile: TempDir,
}

impl Browser {
    pub(crate) async fn start(screen: Screen) -> Self {
        Self::launch(screen, &["--use-fake-ui-for-media-stream"]).await
    }

    /// One whose user has let no page use a microphone: it hides the machine's addresses from pages.
    pub(crate) async fn start_hiding(screen: Screen) -> Self {
        Self::launch(screen, &[]).await
    }

    async fn launch(screen: Screen, more: &[&str]) -> Self {
        let driver = Driver::start().await;
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let Value::Object(capabilities) = capabilities(screen, &profile, more) else {
            unreachable!("an object was written");
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let client = timeout(PATIENCE, builder.connect(&driver.url))
            .await
            .expect("Chromium starts in time")
            .expect("Chromium starts");
        let id = client
            .capabilities()
            .and_then(|found| found.get("goog:processID")?.as_i64());
        Self {
            client,
            chromium: id.and_then(|id| Pid::from_raw(id.try_into().ok()?)),
            driver,
            profile,
        }
    }

    /// The WebDriver client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// Opens a page in a window of its own, which everything goes to from here on.
    pub(crate) async fn open_window(&self, url: &str) {
        let window = self.client.new_window(false).await.expect("a window opens");
        self.switch_to(&window.handle).await;
        self.open(url).await;
    }

    /// The window that everything goes to.
    pub(crate) async fn window(&self) -> WindowHandle {
        self.client.window().await.expect("there is a window")
    }

    /// Makes everything go to a window from here on.
    pub(crate) async fn switch_to(&self, window: &WindowHandle) {
        let switched = self.client.switch_to_window(window.clone()).await;
        switched.expect("the window is there");
    }

    /// Closes the window that everything goes to, and goes to another one.
    pub(crate) async fn close_window(&self, next: &WindowHandle) {
        self.client.close_window().await.expect("a window closes");
        self.switch_to(next).await;
    }

    /// Runs a script's body in the page, and gives what it returns. A promise is awaited.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        // A page that is busy for ever never answers.
        timeout(PATIENCE, self.client.execute(script, arguments))
            .await
            .unwrap_or_else(|_| panic!("{script}: no answer"))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until a JavaScript expression is truthy, and gives its value.
    pub(crate) async fn until(&self, expression: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.run(&format!("return {expression}"), vec![]).await;
            if !matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != "" {
                return value;
            }
            assert!(Instant::now() < deadline, "never became true: {expression}");
            sleep(POLL).await;
        }
    }

    pub(crate) async fn find(&self, selector: &str) -> Element {
        self.client
            .find(Locator::Css(selector))
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        let clicked = timeout(PATIENCE, element.click()).await;
        let clicked = clicked.unwrap_or_else(|_| panic!("{selector}: no answer"));
        clicked.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types into an element.
    pub(crate) async fn write(&self, selector: &str, text: &str) {
        let written = self.find(selector).await.send_keys(text).await;
        written.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }
}

fn capabilities(screen: Screen, profile: &TempDir, more: &[&str]) -> Value {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        format!("--user-data-dir={}", profile.path().display()),
        "--window-size=1280,800".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        // Windows beside each other all play.
        "--disable-backgrounding-occluded-windows".to_owned(),
        "--disable-renderer-backgrounding".to_owned(),
        "--no-first-run".to_owned(),
        // A microphone that plays beeps; and no question whether it may be used, if `more` says so.
        "--use-fake-device-for-media-stream".to_owned(),
    ];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    if rustix::process::geteuid().is_root() {
        // Chromium refuses its sandbox to root, as in containers.
        arguments.push("--no-sandbox".to_owned());
    }
    let mut options = json!({ "args": arguments });
    if screen == Screen::Phone {
        options["mobileEmulation"] = json!({
            "deviceMetrics": { "width": 390, "height": 780, "pixelRatio": 2.0, "touch": true }
        });
    }
    json!({ "goog:chromeOptions": options })
}

/// chromedriver on a port of its own choice.
struct Driver {
    child: Child,
    url: String,
}

impl Driver {
    async fn start() -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts; Debian has it in the package chromium-driver");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.expect("chromedriver writes text");
                let line = line.expect("chromedriver runs");
                if let Some((_, port)) = line.rsplit_once("successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        })
        .await
        .expect("chromedriver is ready in time");
        // What it writes later must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        }
    }
}

impl Drop for Browser {
    /// chromedriver would leave Chromium behind, and a panicking test can't await the session's end.
    fn drop(&mut self) {
        if let Some(chromium) = self.chromium {
            let _ = kill_process(chromium, Signal::TERM);
            wait_until(|| !is_running(chromium));
        }
        // Chromium's helpers may write for a moment longer.
        wait_until(|| std::fs::remove_dir_all(self.profile.path()).is_ok());
        let _ = self.driver.child.start_kill();
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + GOODBYE;
    while Instant::now() < deadline && !condition() {
        std::thread::sleep(POLL);
    }
}

/// Whether a process is there and isn't a zombie, which only waits for its parent.
fn is_running(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which stands in brackets.
    status
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

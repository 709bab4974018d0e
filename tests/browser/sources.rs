//! What the pipeline files of this machine's means look like in Chromium.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::process::Command;

use crate::cameras::{Rtsp, Sender, UdpPort};
use crate::common::{Server, wait_until};
use crate::driver::{Browser, Screen};
use crate::geckos;
use crate::page;
use crate::process::Process;
use crate::program::{PATIENCE, Program};

/// What counts as heard, of a tone whose loudest sample is 0.8.
const AUDIBLE: f64 = 0.1;
/// Reads the clock of `pipelines/test-clock.toml` from each frame that is shown; pushes how old it
/// was, in milliseconds, to `window.ages`.
const READ_CLOCK: &str = "
const video = document.querySelector('.screen video');
const canvas = new OffscreenCanvas(24 * 16, 16);
const context = canvas.getContext('2d', { willReadFrequently: true });
window.ages = [];
const read = () => {
  const now = performance.timeOrigin + performance.now();
  context.drawImage(video, 0, 0);
  const { data } = context.getImageData(0, 8, 24 * 16, 1);
  let clock = 0;
  for (let bit = 0; bit < 24; bit += 1) clock = clock * 2 + (data[(bit * 16 + 8) * 4] > 127 ? 1 : 0);
  window.ages.push(((now % 2 ** 24) - clock + 2 ** 24) % 2 ** 24);
  video.requestVideoFrameCallback(read);
};
video.requestVideoFrameCallback(read);";

/// A server, and a page that plays one device after the other.
struct Cinema {
    url: String,
    browser: Browser,
    _server: Server,
}

impl Cinema {
    async fn open() -> Self {
        let server = Server::start(&[]).await;
        let url = format!("http://{}/", server.address());
        let browser = Browser::start(Screen::Desktop).await;
        Self {
            url,
            browser,
            _server: server,
        }
    }

    /// Plays a pipeline until the page shows moving pictures. The device, and the spread of
    /// brightness in the picture.
    async fn play(&self, id: &str, words: &[&str]) -> (Program, u64) {
        let device = Program::device(&self.url, id, &[&["--pipeline"], words].concat());
        self.browser
            .open(&format!("{}#device={id}", self.url))
            .await;
        page::plays(&self.browser).await;
        let contrast = page::moves(&self.browser, ".screen video").await;
        (device, contrast)
    }

    async fn size(&self) -> String {
        let script = "const video = document.querySelector('.screen video');
            return `${video.videoWidth}x${video.videoHeight}`";
        let size = self.browser.run(script, vec![]).await;
        size.as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn test_pictures_and_files_play() {
    let cinema = Cinema::open().await;
    let directory = tempfile::tempdir().unwrap();
    let film = directory.path().join("film.webm");
    record(&film).await;
    for (id, pipeline, size) in [
        ("test", "test".to_owned(), "640x480"),
        ("clock", "test-clock".to_owned(), "640x480"),
        (
            "file",
            format!("file uri=file://{}", film.display()),
            "640x360",
        ),
        (
            "pass",
            format!("file-pass path={}", film.display()),
            "320x240",
        ),
    ] {
        let (device, contrast) = cinema.play(id, &[&pipeline]).await;
        assert!(
            contrast > 150,
            "{id}: a white ball on black, not {contrast}"
        );
        assert_eq!(cinema.size().await, size, "{id}");
        // The film has 60; it plays again and again.
        page::more_frames(&cinema.browser, 90).await;
        device.stop().await;
    }
}

#[tokio::test]
async fn the_screen_and_a_window_of_a_virtual_x_server_play() {
    let cinema = Cinema::open().await;
    let mut server = Command::new("Xvfb");
    server.args([
        "-displayfd",
        "1",
        "-nolisten",
        "tcp",
        "-screen",
        "0",
        "640x480x24",
    ]);
    let mut server = Process::spawn(server);
    let display = server
        .line("display", |line| Some(format!(":{line}")))
        .await;
    let mut clock = Command::new("xclock");
    // The face of a clock whose second hand moves, on blue.
    clock.args(["-display", &display, "-update", "1", "-bg", "#0000ff"]);
    clock.args(["-geometry", "320x320+0+0"]);
    let _clock = Process::spawn(clock);
    for (pipeline, size) in [("screen", "1280x720"), ("window", "320x320")] {
        let window = match pipeline {
            "window" => " window=xclock",
            _ => "",
        };
        let pipeline_text = format!("{pipeline} display={display}{window}");
        let (device, contrast) = cinema.play(pipeline, &[&pipeline_text]).await;
        assert!(contrast > 0, "{pipeline}");
        assert_eq!(cinema.size().await, size);
        // A corner of the clock: blue alone has a third of white's brightness.
        let blue = page::brightness(&cinema.browser, 8, 8).await;
        assert!((70.0..100.0).contains(&blue), "{pipeline}: {blue}");
        device.stop().await;
    }
}

#[tokio::test]
async fn a_program_on_a_virtual_x_server_is_started_and_plays() {
    let cinema = Cinema::open().await;
    // Nobody else's, like a port that the system gives.
    let port = UdpPort::keep();
    let number = port.number;
    let words = [
        "xvfb",
        &format!("number={number}"),
        "width=640",
        "height=480",
        "program=xclock -update 1 -bg #0000ff -geometry 640x480+0+0",
    ];
    let (device, contrast) = cinema.play("xvfb", &words).await;
    assert!(contrast > 0, "a clock's hands");
    assert_eq!(cinema.size().await, "640x480");
    let blue = page::brightness(&cinema.browser, 8, 8).await;
    assert!((70.0..100.0).contains(&blue), "{blue}");
    device.stop().await;
    // The server is gone, too, and may be started again.
    let socket = format!("/tmp/.X11-unix/X{number}");
    let dead = async || UnixStream::connect(&socket).await.is_err();
    wait_until(PATIENCE, dead).await;
}

#[tokio::test]
async fn an_rtsp_camera_plays_goes_away_and_plays_on_when_it_is_back() {
    let cinema = Cinema::open().await;
    let camera = Rtsp::start().await;
    let port = camera.port;
    let (device, contrast) = cinema
        .play("camera", &["rtsp", &format!("url={}", camera.url())])
        .await;
    assert!(contrast > 150, "a white ball on black, not {contrast}");
    assert_eq!(cinema.size().await, "320x240");
    drop(camera);
    wait_until(PATIENCE, async || device.log().contains("a source stopped")).await;
    assert!(
        device.log().contains("gst-discoverer-1.0"),
        "{}",
        device.log()
    );
    let _camera = Rtsp::at(port, &[]).await;
    // In the same page and connection.
    page::more_frames(&cinema.browser, 60).await;
    assert!(device.log().contains("a source started again"));
    device.stop().await;
}

#[tokio::test]
async fn a_page_that_joins_between_key_frames_sees_at_once_and_not_later_than_the_camera() {
    let cinema = Cinema::open().await;
    let sender = Sender::start(150);
    let pipeline = format!("rtp port={}", sender.port.number);
    let first = Cinema::open().await;
    let _device = Program::device(&cinema.url, "rtp", &["--pipeline", &pipeline]);
    // Keeps the source running.
    first
        .browser
        .open(&format!("{}#device=rtp", cinema.url))
        .await;
    page::plays(&first.browser).await;
    let mut waited = Vec::new();
    for _ in 0..4 {
        cinema.browser.open("about:blank").await;
        cinema
            .browser
            .open(&format!("{}#device=rtp", cinema.url))
            .await;
        page::plays(&cinema.browser).await;
        let wait = cinema
            .browser
            .run("return window.switchboard.stats().firstFrameMs", vec![]);
        waited.push(wait.await.as_f64().unwrap());
        cinema.browser.run(READ_CLOCK, vec![]).await;
        // Two seconds of pictures.
        cinema.browser.until("window.ages.length > 60").await;
        let ages = cinema
            .browser
            .run("return window.ages.slice(-15)", vec![])
            .await;
        let mut ages: Vec<f64> = serde_json::from_value(ages).unwrap();
        ages.sort_by(f64::total_cmp);
        assert!(ages[7] < 400.0, "{ages:?}");
    }
    // Key frames come every five seconds: who waits for one waits for 2.5 s, half of the time.
    waited.sort_by(f64::total_cmp);
    assert!(waited[2] < 2_000.0, "{waited:?}");
}

#[tokio::test]
async fn sound_alone_is_heard_from_every_peer() {
    let cinema = Cinema::open().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sound.toml");
    let text = "title='sound'\npipeline='''audiotestsrc is-live=true wave=sine samplesperbuffer=480 \
        ! audio/x-raw,rate=48000,channels=2 ! appsink name=audio'''";
    std::fs::write(&file, text).unwrap();
    let sound = file.to_str().unwrap();
    let url = &cinema.url;
    let _device = Program::device(url, "ear", &["--pipeline", sound]);
    let _call = Program::peer("call", url, "1234", &["--keep", "--send", sound]);
    let mesh = ["--room", "lobby", "--send", sound];
    let _mesh = Program::peer("mesh", url, "55", &mesh);
    let room = url.replacen("http", "ws", 1);
    let room = [
        "room",
        &room,
        "--room",
        "hall",
        "--user",
        "bob",
        "--publish",
        sound,
    ];
    let _room = Program::start(&room);
    let _gecko = Program::peer("gecko", url, "lab", &["--pipeline", sound]);
    let browser = &cinema.browser;
    for (place, player) in [
        ("device=ear", "audio"),
        ("call=1234", "[data-member=\"1234\"] video"),
        ("mesh=lobby&name=ann", "[data-member=\"55\"] video"),
        ("room=hall&name=ann", "[data-member=\"bob\"] video"),
        ("gecko=lab", "[data-member=gecko] video"),
    ] {
        browser.open("about:blank").await;
        browser.open(&format!("{url}#{place}")).await;
        if place.starts_with("gecko") {
            browser
                .until("document.querySelector('#setup-kind [value=pipeline]')?.offsetParent")
                .await;
            browser.click("#setup-kind [value=pipeline]").await;
            let name = "document.querySelector('#setup-pipeline').value = 'sound';
                document.querySelector('#setup-audio').checked = true;";
            browser.run(name, vec![]).await;
            geckos::runs(browser).await;
        }
        browser
            .until(&format!("document.querySelector('{player}')?.srcObject"))
            .await;
        // A page without camera and microphone may make sound only after a click.
        if place.starts_with("device") {
            browser.click("#sound-on").await;
        }
        let deadline = Instant::now() + PATIENCE;
        while page::loudness(browser, player, 500).await < AUDIBLE {
            assert!(Instant::now() < deadline, "{place} is not heard");
        }
        // Nothing waits for a picture that never comes.
        browser
            .until("document.querySelector('#progress')?.offsetParent == null")
            .await;
    }
}

/// Makes a film of two seconds with a ball and a tone.
async fn record(path: &Path) {
    let text = format!(
        "webmmux name=m ! filesink location={} \
         videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc deadline=1 keyframe-max-dist=30 ! m. \
         audiotestsrc num-buffers=94 ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 \
         ! opusenc ! m.",
        path.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(text.split_whitespace());
    let status = tokio::time::timeout(Duration::from_secs(20), command.status()).await;
    let status = status
        .expect("a film in time")
        .expect("gst-launch-1.0 runs");
    assert!(status.success());
}

//! What the tests look at in the console: its picture, its sound, its words.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::driver::Browser;
use crate::program::PATIENCE;

/// The first display of a device.
const DISPLAY: &str = ".screen video";
/// Paints the present picture of a video onto a canvas, so that its pixels can be read.
const SNAPSHOT: &str = "
const video = document.querySelector(arguments[0]);
const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
const context = canvas.getContext('2d');
context.drawImage(video, 0, 0);
";

/// Where the console stands when a device plays: the first frame is on the screen.
pub(crate) async fn plays(browser: &Browser) {
    browser
        .until("window.switchboard?.stats()?.firstFrameMs")
        .await;
    browser
        .until("document.querySelector('#player-state').textContent === 'Live'")
        .await;
}

/// The brightness (0–255) of one pixel of the first display.
pub(crate) async fn brightness(browser: &Browser, x: i64, y: i64) -> f64 {
    let script = format!(
        "{SNAPSHOT} const [r, g, b] = context.getImageData(arguments[1], arguments[2], 1, 1).data;
        return (r + g + b) / 3;"
    );
    let value = browser
        .run(&script, vec![json!(DISPLAY), json!(x), json!(y)])
        .await;
    value.as_f64().expect("a brightness is a number")
}

/// Keeps the greatest brightness of some pixels of the first display from now on, frame by frame, in
/// `window.brightest`.
pub(crate) async fn watch_brightness(browser: &Browser, pixels: &[(i64, i64)]) {
    let script = "
        const pixels = arguments[0];
        const video = document.querySelector('.screen video');
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
        const context = canvas.getContext('2d', { willReadFrequently: true });
        window.brightest = pixels.map(() => 0);
        const look = () => {
          context.drawImage(video, 0, 0);
          pixels.forEach(([x, y], at) => {
            const [r, g, b] = context.getImageData(x, y, 1, 1).data;
            window.brightest[at] = Math.max(window.brightest[at], (r + g + b) / 3);
          });
          video.requestVideoFrameCallback(look);
        };
        look();";
    browser.run(script, vec![json!(pixels)]).await;
}

/// A number that differs between pictures that differ, and the spread of brightness in the picture.
pub(crate) async fn picture(browser: &Browser) -> (u64, u64) {
    picture_in(browser, DISPLAY).await
}

/// Waits until the picture in a video element changes, and gives the spread of brightness in it.
pub(crate) async fn moves(browser: &Browser, video: &str) -> u64 {
    browser
        .until(&format!(
            "document.querySelector('{video}')?.videoWidth > 16"
        ))
        .await;
    let (first, _) = picture_in(browser, video).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (now, contrast) = picture_in(browser, video).await;
        if now != first {
            return contrast;
        }
        assert!(Instant::now() < deadline, "{video} never moves");
    }
}

/// The same as `picture`, of any video element.
async fn picture_in(browser: &Browser, video: &str) -> (u64, u64) {
    let script = format!(
        "{SNAPSHOT} const {{ data }} = context.getImageData(0, 0, canvas.width, canvas.height);
        let hash = 0, low = 255, high = 0;
        for (let at = 0; at < data.length; at += 4) {{
          hash = (hash * 31 + data[at]) >>> 0;
          low = Math.min(low, data[at]);
          high = Math.max(high, data[at]);
        }}
        return [hash, high - low];"
    );
    let value = browser.run(&script, vec![json!(video)]).await;
    let number = |at: usize| value[at].as_u64().expect("whole numbers");
    (number(0), number(1))
}

/// The loudest sample (0–1) within a while of what an element plays.
pub(crate) async fn loudness(browser: &Browser, player: &str, milliseconds: u32) -> f64 {
    let script = "
        const audio = document.querySelector(given[0]);
        const context = new AudioContext();
        await context.resume();
        const analyser = context.createAnalyser();
        context.createMediaStreamSource(audio.srcObject).connect(analyser);
        const samples = new Float32Array(analyser.fftSize);
        const end = performance.now() + given[1];
        let loudest = 0;
        while (performance.now() < end) {
          analyser.getFloatTimeDomainData(samples);
          loudest = Math.max(loudest, ...samples.map(Math.abs));
          await new Promise((next) => setTimeout(next, 10));
        }
        await context.close();
        return loudest;";
    let script = format!("return (async (...given) => {{ {script} }})(...arguments)");
    let arguments = vec![json!(player), json!(milliseconds)];
    let value = browser.run(&script, arguments).await;
    value.as_f64().expect("loudness is a number")
}

/// How many frames the first display has shown.
pub(crate) async fn frames(browser: &Browser) -> u64 {
    let script =
        "return document.querySelector('.screen video').getVideoPlaybackQuality().totalVideoFrames";
    browser.run(script, vec![]).await.as_u64().expect("a count")
}

/// Waits until that many further frames were shown.
pub(crate) async fn more_frames(browser: &Browser, count: u64) {
    let wanted = frames(browser).await + count;
    let shown =
        "document.querySelector('.screen video').getVideoPlaybackQuality().totalVideoFrames";
    browser.until(&format!("{shown} >= {wanted}")).await;
}

/// Where a pixel of the first display lies: its offset from the centre of the display's element, in
/// pixels of the page.
pub(crate) async fn offset_of(browser: &Browser, x: i64, y: i64) -> (f64, f64) {
    let script = "
        const video = document.querySelector('.screen video');
        const box = video.getBoundingClientRect();
        const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
        return [(arguments[0] + 0.5 - video.videoWidth / 2) * scale, (arguments[1] + 0.5 - video.videoHeight / 2) * scale];";
    let value = browser.run(script, vec![json!(x), json!(y)]).await;
    let number = |at: usize| value[at].as_f64().expect("numbers");
    (number(0), number(1))
}

/// Nothing of the page sticks out to the right.
pub(crate) async fn fits(browser: &Browser) {
    let script = "return document.documentElement.scrollWidth > innerWidth";
    let sticks_out = browser.run(script, vec![]).await;
    assert_eq!(sticks_out, false, "the page is as wide as the screen");
}

/// Everything on the stage that a finger may want is large enough for one.
pub(crate) async fn fits_fingers(browser: &Browser) {
    let script = "return [...document.querySelectorAll('#player :is(button, a, input)')]
        .filter((one) => one.offsetParent)
        .filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 40)
        .map((one) => one.outerHTML)";
    let small = browser.run(script, vec![]).await;
    assert_eq!(small, json!([]), "fingers need 40 pixels");
}

/// Waits until the tiles of these members, and of nobody else, show moving pictures. Gives the spread
/// of brightness in each.
pub(crate) async fn sees(browser: &Browser, members: &[&str]) -> Vec<u64> {
    let others = "[...document.querySelectorAll('.tile:not(.self)')]";
    let mut wanted = members.to_vec();
    wanted.sort_unstable();
    browser
        .until(&format!(
            "{others}.filter((tile) => tile.querySelector('.tile-cover').hidden)
                .map((tile) => tile.dataset.member).sort().join() === '{}'",
            wanted.join(",")
        ))
        .await;
    let mut spreads = Vec::new();
    for member in members {
        let video = format!("[data-member=\"{member}\"] video");
        spreads.push(moves(browser, &video).await);
    }
    spreads
}

/// Waits until a member has no tile.
pub(crate) async fn gone(browser: &Browser, member: &str) {
    browser
        .until(&format!(
            "!document.querySelector('[data-member=\"{member}\"]')"
        ))
        .await;
}

/// Keeps a picture of the page in `tests/artifacts`, for people to look at.
pub(crate) async fn keep(browser: &Browser, name: &str) {
    let picture = browser.client().screenshot().await.expect("a screenshot");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifacts");
    std::fs::create_dir_all(&directory).expect("a directory for artefacts");
    std::fs::write(directory.join(format!("{name}.png")), picture)
        .expect("the artefact is written");
}

/// Whether a touch message has these coordinates, give or take two pixels.
pub(crate) fn is_touch(message: &Value, x: i64, y: i64, down: bool) -> bool {
    let near =
        |value: &Value, wanted: i64| value[0].as_i64().is_some_and(|at| (at - wanted).abs() <= 2);
    message["type"] == "multi-touch"
        && message["down"] == i64::from(down)
        && near(&message["x"], x)
        && near(&message["y"], y)
}

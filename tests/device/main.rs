//! The built `switchboard device` at the built server, watched through it.
#![cfg(all(feature = "server", feature = "peer"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod metrics;
#[path = "../common/process.rs"]
mod process;
mod relay;
#[path = "../common/turn.rs"]
mod turn;
mod view;
#[path = "../common/viewer.rs"]
mod viewer;
#[path = "../common/watcher.rs"]
mod watcher;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use switchboard::media::SessionEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use process::{PATIENCE, Process};
use watcher::Watcher;

/// Starts a server on an address and says where it listens.
async fn server(address: &str) -> (Process, String) {
    // A page of a server that was started anew waits for its device, too.
    let mut server = Process::start(&["serve", "--wait-for-device", "--listen", address]);
    let address = server
        .line("address", |line| {
            Some(
                line.strip_prefix("listening on http://")?
                    .trim_end_matches('/')
                    .to_owned(),
            )
        })
        .await;
    (server, address)
}

/// Starts a device and waits until it is registered.
async fn device(server: &str, arguments: &[&str]) -> Process {
    let url = format!("ws://{server}");
    let device = Process::start(&[&["device", &url, "--id", "it"], arguments].concat());
    device.logged("registered").await;
    device
}

fn touch(x: i64, y: i64, down: i64) -> Value {
    json!({"type": "multi-touch", "id": [0], "x": [x], "y": [y], "down": down, "device_label": "display_0"})
}

#[tokio::test(flavor = "multi_thread")]
async fn two_displays_and_sound_come_through_the_server() {
    let (_server, address) = server("127.0.0.1:0").await;
    let white = "test pattern=white";
    let _device = device(
        &address,
        &["--pipeline", "test pattern=black", "--pipeline", white],
    )
    .await;
    let mut watcher = Watcher::start(&address, "it", &[]).await;
    watcher
        .until("black and white picture and sound", |seen| {
            let brightness = |id: &str| {
                let picture = seen
                    .pictures
                    .values()
                    .find(|it| it.stream_id.as_deref() == Some(id))?;
                let middle = picture
                    .luma
                    .get(picture.width * (picture.height / 2) + picture.width / 4)?;
                Some(*middle)
            };
            brightness("display_0").is_some_and(|luma| luma < 40)
                && brightness("display_1").is_some_and(|luma| luma > 200)
                && seen.sounds.values().any(|sound| sound.peak > 1000)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_viewer_does_is_printed_handed_to_the_command_and_seen() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("events");
    let command = format!("cat > {}", kept.display());
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = [
        "--pipeline",
        "test",
        "pattern=black",
        "--on-input",
        &command,
    ];
    let mut device = device(&address, &arguments).await;
    let mut watcher = Watcher::start(&address, "it", &["input-channel", "location-channel"]).await;
    watcher.opened("location-channel").await;

    watcher
        .text("input-channel", touch(320, 240, 1).to_string())
        .await;
    let line = device
        .line("touch", |line| {
            line.contains("multi-touch").then(|| line.to_owned())
        })
        .await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        event,
        json!({"client": 1, "channel": "input-channel", "message": touch(320, 240, 1)})
    );
    watcher
        .until("touch on the picture", |seen| {
            seen.pictures.values().any(|it| {
                let around = (230..250).flat_map(|y| (310..330).map(move |x| (x, y)));
                it.width == 640 && around.map(|(x, y)| it.luma[y * 640 + x]).max() > Some(120)
            })
        })
        .await;

    watcher.text("location-channel", "8.5,47.3,400").await;
    let line = device
        .line("location", |line| {
            line.contains("location").then(|| line.to_owned())
        })
        .await;
    assert_eq!(
        line,
        r#"{"client":1,"channel":"location-channel","text":"8.5,47.3,400"}"#
    );

    let status = device.end(Signal::TERM).await;
    assert_eq!(status.code(), Some(0));
    let handed = std::fs::read_to_string(&kept).unwrap();
    assert!(
        handed.contains("multi-touch") && handed.contains("location"),
        "{handed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn device_control_greets_and_takes_buttons() {
    let (_server, address) = server("127.0.0.1:0").await;
    let mut device = device(&address, &[]).await;
    let mut watcher = Watcher::start(&address, "it", &[]).await;
    for expected in [
        "VIRTUAL_DEVICE_BOOT_STARTED",
        "VIRTUAL_DEVICE_BOOT_COMPLETED",
    ] {
        let text = watcher
            .event("greeting", |event| match event {
                SessionEvent::Text { label, text } if label == "device-control" => Some(text),
                _ => None,
            })
            .await;
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"event": expected})
        );
    }
    let button = r#"{"command":"home","button_state":"down"}"#;
    watcher.text("device-control", button).await;
    let line = device
        .line("button", |line| {
            line.contains("home").then(|| line.to_owned())
        })
        .await;
    assert!(line.contains(r#""channel":"device-control""#), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adb_is_carried_to_a_tcp_address_and_back() {
    let adbd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = adbd.local_addr().unwrap().to_string();
    let (_server, address) = server("127.0.0.1:0").await;
    let _device = device(&address, &["--adb", &to]).await;
    let mut watcher = Watcher::start(&address, "it", &["adb-channel"]).await;
    watcher.opened("adb-channel").await;
    watcher.binary("adb-channel", b"CNXN").await;
    let (mut adb, _) = timeout(PATIENCE, adbd.accept()).await.unwrap().unwrap();
    let mut got = [0; 4];
    timeout(PATIENCE, adb.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&got, b"CNXN");
    // More than one message can carry.
    adb.write_all(&vec![7; 300_000]).await.unwrap();
    let mut count = 0;
    while count < 300_000 {
        count += watcher
            .event("adb bytes", |event| match event {
                SessionEvent::Binary { label, bytes } if label == "adb-channel" => {
                    Some(bytes.len())
                }
                _ => None,
            })
            .await;
    }
    assert_eq!(count, 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_offer_again_and_goes_on_seeing() {
    let (_server, address) = server("127.0.0.1:0").await;
    let _device = device(&address, &[]).await;
    let mut watcher = Watcher::start(&address, "it", &[]).await;
    for _ in 0..2 {
        watcher.offer().await;
        let before = watcher.eyes.frames();
        watcher
            .until("more pictures", |seen| {
                seen.pictures.values().any(|it| it.frames > before + 30)
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_goes_on_while_the_server_is_away_and_new_viewers_come_when_it_is_back() {
    let (mut first, address) = server("127.0.0.1:0").await;
    let _device = device(&address, &[]).await;
    let mut watcher = Watcher::start(&address, "it", &[]).await;
    // The first second is that of a stream that settles.
    let frames = watcher.eyes.frames();
    watcher
        .until("settled stream", |seen| {
            seen.pictures.values().any(|it| it.frames > frames + 30)
        })
        .await;
    let quiet = watcher.longest_gap(sleep(Duration::from_secs(2))).await;

    first.end(Signal::KILL).await;
    let mut second = None;
    let away = async {
        sleep(Duration::from_secs(1)).await;
        let back = server(&address).await;
        second = Some((Watcher::start(&address, "it", &[]).await, back));
    };
    let away = async {
        timeout(Duration::from_secs(10), away)
            .await
            .expect("a new viewer within 10 s")
    };
    let gap = watcher.longest_gap(away).await;
    assert!(
        gap < Duration::from_millis(200).max(quiet * 2),
        "a gap of {gap:?}; {quiet:?} before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_registers_over_tls_with_a_certificate_that_it_trusts_only() {
    let state = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args([
            "serve",
            "--listen",
            "tls:127.0.0.1:0",
            "--tls",
            "self-signed",
        ])
        .env("XDG_STATE_HOME", state.path());
    let mut server = Process::spawn(command);
    let url = server
        .line("address", |line| {
            Some(
                line.strip_prefix("listening on https://")?
                    .trim_end_matches('/')
                    .to_owned(),
            )
        })
        .await;
    let url = format!("wss://{url}");
    let certificate = state.path().join("switchboard/tls/cert.pem");

    let distrustful = Process::start(&["device", &url]);
    distrustful.logged("no signaling").await;
    let log = distrustful.log();
    assert!(
        log.contains("UnknownIssuer") && log.contains("--ca"),
        "{log}"
    );
    let trusting = Process::start(&["device", &url, "--ca", certificate.to_str().unwrap()]);
    trusting.logged("registered").await;
    let careless = Process::start(&["device", &url, "--id", "other", "--insecure"]);
    careless.logged("registered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_leaves_stops_the_source() {
    let (_server, address) = server("127.0.0.1:0").await;
    let device = device(&address, &["--linger", "0", "--log", "debug"]).await;
    let watcher = Watcher::start(&address, "it", &[]).await;
    drop(watcher);
    device.logged("viewer left").await;
    device.logged("source stopped").await;
}

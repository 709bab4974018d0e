//! A viewer whose token is for viewing, and who tries more.

use std::path::Path;

use serde_json::json;
use switchboard::config::Secret;
use switchboard::media::SessionEvent;
use switchboard::peer::ice::Ice;
use tokio::net::TcpListener;

use crate::process::Process;
use crate::touch;
use crate::watcher::Watcher;

const TOKENS: &str = r#"
tokens = [
  { token = "camera", user = "camera", grants = [{ role = "device" }] },
  { token = "viewer", user = "viewer", grants = [{ role = "client", control = false }] },
  { token = "owner", user = "owner", grants = [{ role = "client" }] },
]
"#;

/// A watcher with a token, which sees a picture.
async fn watch(server: &str, token: &str, channels: &[&str]) -> Watcher {
    let token = Secret::new(token);
    let ice = Ice::new(Vec::new(), false);
    let mut watcher = Watcher::begin_with(server, Some(&token), "it", ice, channels).await;
    watcher.sees().await;
    watcher
}

/// A server that asks for these tokens, and where it listens.
async fn server(directory: &Path) -> (Process, String) {
    let path = |name: &str| directory.join(name).display().to_string();
    std::fs::write(path("tokens"), TOKENS).unwrap();
    let auth = format!("[auth.static]\nfile = {:?}", path("tokens"));
    std::fs::write(path("config"), auth).unwrap();
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let mut server = Process::start(&[&listen[..], &["--config", &path("config")]].concat());
    let address = server.listening().await;
    (server, address)
}

/// Tries everything that isn't viewing.
async fn meddle(viewer: &Watcher) {
    let power = json!({"command": "power", "button_state": "down"});
    viewer.text("device-control", power.to_string()).await;
    viewer
        .text("input-channel", touch(1, 1, 1).to_string())
        .await;
    viewer.text("location-channel", "1,2,3").await;
    viewer.binary("adb-channel", b"CNXN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_view_sees_the_device_and_moves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = server(directory.path()).await;
    let adbd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = adbd.local_addr().unwrap().to_string();
    let url = format!("ws://{address}");
    let start = ["device", &url, "--id", "it", "--token", "camera"];
    let mut device = Process::start(&[&start[..], &["--adb", &to]].concat());
    device.logged("registered").await;

    let channels = ["input-channel", "adb-channel", "location-channel"];
    let mut viewer = watch(&address, "viewer", &channels).await;
    viewer
        .event("word that this is for viewing", |event| match event {
            SessionEvent::Text { text, .. } => text.contains("SWITCHBOARD_VIEW_ONLY").then_some(()),
            _ => None,
        })
        .await;
    meddle(&viewer).await;
    for channel in [
        "device-control",
        "input-channel",
        "location-channel",
        "adb-channel",
    ] {
        let line = format!("not taken: this viewer may only view client=1 channel=\"{channel}\"");
        device.logged(&line).await;
    }
    // It goes on to see, also when it offers again, and may ask for a picture.
    let refresh = json!({"command": "display", "refresh_display": 0});
    viewer.text("device-control", refresh.to_string()).await;
    viewer.offer().await;
    let before = viewer.eyes.frames();
    viewer
        .until("more pictures", |seen| {
            seen.pictures.values().any(|it| it.frames > before + 30)
        })
        .await;

    // The device prints the touches that it takes, and the first is the owner's.
    let mut owner = watch(&address, "owner", &["input-channel"]).await;
    owner.opened("input-channel").await;
    owner
        .text("input-channel", touch(2, 2, 1).to_string())
        .await;
    let touched = device
        .line("the owner's touch", |line| {
            line.contains("multi-touch").then(|| line.to_owned())
        })
        .await;
    assert!(touched.contains("\"client\":2"), "{touched}");
    let adbd = adbd.into_std().unwrap();
    assert!(adbd.accept().is_err(), "adb was opened for a viewer");
    drop(viewer);
    device.logged("viewer left refused=4").await;
}

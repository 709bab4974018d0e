//! The doctor beside real parts: our server, coturn, networks without a way out, GStreamer without a plugin.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/lab.rs"]
mod lab;
#[path = "../network/scenes.rs"]
#[allow(dead_code, reason = "calls are not made here")]
mod scenes;
#[path = "../common/turn.rs"]
mod turn;

use common::process::{self, log};

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use common::Server;
use lab::Lab;
use process::PATIENCE;
use scenes::Town;
use switchboard::doctor::{Finding, Level, Report, Topic};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;
use tokio::time::timeout;
use turn::Turn;

/// What a doctor said, and how it ended.
struct Said {
    report: Report,
    code: Option<i32>,
    text: String,
}

/// Runs the doctor with these arguments.
async fn doctor(arguments: &[&str]) -> Said {
    run(Command::new(env!("CARGO_BIN_EXE_switchboard")), arguments).await
}

async fn run(mut command: Command, arguments: &[&str]) -> Said {
    command.args(["doctor", "--json"]).args(arguments);
    log::verbose(&mut command);
    let secrets = log::secrets_of(&command);
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(3 * PATIENCE, command.output())
        .await
        .expect("an end in time")
        .unwrap();
    let logged = String::from_utf8_lossy(&stderr);
    assert_eq!(log::leak(&logged, &secrets), None);
    let text = String::from_utf8(stdout).unwrap();
    let report =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {logged}"));
    Said {
        report,
        code: status.code(),
        text,
    }
}

impl Said {
    fn of(&self, topic: Topic, level: Level) -> Vec<&Finding> {
        let all = self.report.findings.iter();
        all.filter(|it| it.topic == topic && it.level == level)
            .collect()
    }

    /// A finding that has this text; with its cure, unless it is ok.
    #[track_caller]
    fn has(&self, topic: Topic, level: Level, what: &str) -> &Finding {
        let found = self.of(topic, level);
        let found = found.into_iter().find(|it| it.what.contains(what));
        let found = found.unwrap_or_else(|| panic!("no {what:?}: {}", self.text));
        assert_eq!(level != Level::Ok, found.fix.is_some(), "{found:?}");
        found
    }
}

/// A wrong URL is wrong usage.
#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for wrong in [
        &["nonsense"][..],
        &["--ice-server", "turn:h"],
        &["--ca", "/nowhere", "wss://h"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        let output = command.arg("doctor").args(wrong).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

#[tokio::test]
async fn our_own_server_is_well_in_every_dialect() {
    let server = Server::start(&[]).await;
    let said = doctor(&[&format!("ws://{}", server.address())]).await;
    let open = said.has(Topic::Server, Level::Ok, "WebSockets open");
    for dialect in [
        "Cuttlefish at /register_device",
        "GStreamer at /",
        "gecko at /worker",
        "Kurento at /room",
    ] {
        assert!(open.what.contains(dialect), "{open:?}");
    }
    said.has(Topic::Server, Level::Ok, "clock");
    said.has(Topic::Server, Level::Warning, "names no ICE servers");
    said.has(Topic::Gstreamer, Level::Ok, "GStreamer");
    said.has(Topic::Encoders, Level::Ok, "VP8 by ");
    said.has(Topic::Loopback, Level::Ok, "connect in");
    said.has(Topic::Addresses, Level::Ok, "media uses");
    assert_eq!(
        (said.report.count(Level::Problem), said.code),
        (0, Some(0)),
        "{}",
        said.text
    );
    assert!(Duration::from_millis(said.report.milliseconds) < PATIENCE);
    // Nobody is left registered, and nothing went wrong on the server's side.
    let left = server.get("/api/endpoints").await.json();
    assert_eq!(left["endpoints"], serde_json::json!([]));
}

#[tokio::test]
async fn people_get_one_line_for_what_is_well_and_the_cure_for_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let output = command
        .args(["doctor", &format!("ws://{address}")])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = format!("PROBLEM  {address} can't be reached");
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("serve --listen 0.0.0.0:"), "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("  ok       two peers")),
        "{text}"
    );
}

#[tokio::test]
async fn without_network_it_says_so_and_looks_at_the_rest() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.host();
    let command = host.command(env!("CARGO_BIN_EXE_switchboard"));
    let arguments = [
        "wss://example.org",
        "--ice-server",
        "stun:192.0.2.1",
        "--ice-server",
        "turn:me:hidden@turn.example.org",
    ];
    let said = run(command.into(), &arguments).await;
    assert_eq!(said.code, Some(1));
    let addresses = said.has(
        Topic::Addresses,
        Level::Problem,
        "no address but its loopback",
    );
    assert!(addresses.command.is_some());
    said.has(
        Topic::Server,
        Level::Problem,
        "example.org:443 can't be reached",
    );
    said.has(
        Topic::Stun,
        Level::Problem,
        "192.0.2.1:3478 can't be reached over UDP",
    );
    said.has(Topic::Turn, Level::Problem, "can't be looked up");
    // What needs no network works.
    said.has(Topic::Loopback, Level::Ok, "connect in");
    said.has(Topic::Encoders, Level::Ok, "VP8");
    assert!(!said.text.contains("hidden"));
}

#[tokio::test]
async fn a_relay_is_tried_over_udp_tcp_and_tls() {
    let turn = Turn::start().await;
    let (plain, tls) = (turn.url("udp"), turn.url("tls"));
    let (server, address) = turn::server(&plain, turn::SECRET).await;
    let ca = turn.certificate();
    let url = format!("ws://{address}");
    let named = with_password(&tls, &minted(&address).await);
    let said = doctor(&[&url, "--ca", ca.to_str().unwrap(), "--ice-server", &named]).await;
    for over in ["UDP", "TCP", "TLS"] {
        said.has(Topic::Turn, Level::Ok, &format!("over {over} relays"));
    }
    said.has(Topic::Server, Level::Ok, "names TURN servers");
    said.has(Topic::Stun, Level::Ok, "no NAT");
    assert_eq!(said.code, Some(0), "{}", said.text);
    drop(server);
}

#[tokio::test]
async fn a_broken_relay_is_told_with_its_cure() {
    let turn = Turn::start().await;
    // The signaling server has another secret than the TURN server.
    let (_server, address) = turn::server(&turn.url("udp"), "south").await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let said = doctor(&[
        &format!("ws://{address}"),
        "--ice-server",
        &format!("turn:me:hidden@{silent}"),
        "--ice-server",
        &format!("turn:me:hidden@{gone}?transport=tcp"),
        "--ice-server",
        &with_password(&turn.url("tls"), &("me".to_owned(), "hidden".to_owned())),
    ])
    .await;
    let wrong = said.has(Topic::Turn, Level::Problem, "refuses with 401");
    assert!(
        wrong
            .command
            .as_ref()
            .unwrap()
            .contains("static-auth-secret"),
        "{wrong:?}"
    );
    let silent = said.has(
        Topic::Turn,
        Level::Problem,
        &format!("{silent} over UDP: no answer"),
    );
    assert!(
        silent.fix.as_ref().unwrap().contains("UDP port"),
        "{silent:?}"
    );
    let gone = said.has(
        Topic::Turn,
        Level::Problem,
        &format!("{gone} over TCP: nobody is there"),
    );
    assert!(
        gone.fix.as_ref().unwrap().contains("is it running"),
        "{gone:?}"
    );
    let untrusted = said.has(Topic::Turn, Level::Problem, "certificate is not trusted");
    assert!(
        untrusted.fix.as_ref().unwrap().contains("--ca"),
        "{untrusted:?}"
    );
    assert_eq!(said.code, Some(1));
    assert!(!said.text.contains("hidden"));
}

#[tokio::test]
async fn a_missing_element_is_named_with_its_package() {
    let plugins = tempfile::tempdir().unwrap();
    let system = gstreamer_plugins();
    let leave = ["libgstnice.so", "libgstx264.so", "libgstvideo4linux2.so"];
    for entry in std::fs::read_dir(&system).unwrap() {
        let entry = entry.unwrap();
        if !leave.iter().any(|name| entry.file_name() == *name) {
            std::os::unix::fs::symlink(entry.path(), plugins.path().join(entry.file_name()))
                .unwrap();
        }
    }
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .env("GST_PLUGIN_SYSTEM_PATH", plugins.path())
            .env("GST_REGISTRY", plugins.path().join("registry"));
        command
    };
    // The first start reads every plugin, for as long as that takes. It fails: the core isn't whole.
    let first = command().args(["pipelines", "check"]).output();
    timeout(3 * PATIENCE, first).await.unwrap().unwrap();
    let said = run(command(), &[]).await;
    let nice = said.has(Topic::Gstreamer, Level::Problem, "lacks nicesink, nicesrc");
    let camera = said.has(Topic::Gstreamer, Level::Warning, "lacks v4l2src");
    assert!(
        camera.why.as_ref().unwrap().contains("cameras"),
        "{camera:?}"
    );
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if os.contains("debian") {
        let install = "sudo apt install gstreamer1.0-nice";
        assert_eq!(nice.command.as_deref(), Some(install));
    }
    said.has(Topic::Encoders, Level::Ok, "VP8 by vp8enc");
    assert_eq!(said.of(Topic::Loopback, Level::Ok), [] as [&Finding; 0]);
    assert_eq!(said.code, Some(1));
}

/// A server with a certificate that was good for so long, and the file to trust.
async fn certified(directory: &Path, name: &str, last: (i32, u8, u8)) -> (Server, String) {
    let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    wanted.not_before = rcgen::date_time_ymd(2020, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = wanted.self_signed(&key).unwrap();
    let (certificate, private) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let files = format!("{},{}", certificate.display(), private.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["serve", "--listen", "tls:127.0.0.1:0", "--tls", &files]);
    let server = Server::spawn(command, None, 1).await;
    (server, certificate.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_certificate_says_how_it_fails() {
    for (name, last, trust, expected, cure) in [
        (
            "127.0.0.1",
            (2021, 1, 1),
            true,
            "has expired: it was good until 2021-01-01",
            "certbot renew",
        ),
        (
            "other.example",
            (2120, 1, 1),
            true,
            "is not for 127.0.0.1; it is for other.example",
            "wss://other.example:",
        ),
        (
            "127.0.0.1",
            (2120, 1, 1),
            false,
            "signed by nobody",
            "--ca FILE",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (server, file) = certified(directory.path(), name, last).await;
        let url = format!("wss://{}", server.address());
        let all = [url.as_str(), "--ca", file.as_str()];
        let said = doctor(if trust { &all[..] } else { &all[..1] }).await;
        let finding = said.has(Topic::Server, Level::Problem, expected);
        assert!(
            finding.command.as_ref().unwrap().contains(cure),
            "{finding:?}"
        );
        assert_eq!(said.code, Some(1));
    }
}

#[tokio::test]
async fn a_good_certificate_is_told_with_its_names_and_its_last_day() {
    let directory = tempfile::tempdir().unwrap();
    let (server, file) = certified(directory.path(), "127.0.0.1", (2120, 1, 1)).await;
    let said = doctor(&[&format!("wss://{}", server.address()), "--ca", &file]).await;
    said.has(
        Topic::Server,
        Level::Ok,
        "for 127.0.0.1 is good until 2120-01-01",
    );
    said.has(Topic::Server, Level::Ok, "Kurento at /room");
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[tokio::test]
async fn the_kind_of_nat_is_told() {
    let Some(town) = Town::new() else { return };
    let _first = town.turn().await;
    town.internet.ip("addr add 203.0.113.2/32 dev lo");
    let stdbuf = town.internet.command("stdbuf").into();
    let second = "203.0.113.2".parse().unwrap();
    let _second = Turn::launch(stdbuf, second, (3478, 5349)).await;
    let stun = [
        "--ice-server",
        "stun:203.0.113.1",
        "--ice-server",
        "stun:203.0.113.2",
    ];
    let binary = env!("CARGO_BIN_EXE_switchboard");
    let said = run(town.homes[0].host.command(binary).into(), &stun).await;
    let seen = said.has(Topic::Stun, Level::Ok, "endpoint-independent");
    assert!(seen.what.contains(&town.homes[0].address), "{seen:?}");
    assert_eq!(said.code, Some(0), "{}", said.text);
    // Another port for each destination.
    town.homes[1].router.nft(
        "table ip scatter {
            chain out { type nat hook postrouting priority 90; oifname wan masquerade fully-random; }
        }",
    );
    let said = run(town.homes[1].host.command(binary).into(), &stun).await;
    let seen = said.has(Topic::Stun, Level::Warning, "endpoint-dependent");
    assert!(seen.command.as_ref().unwrap().contains("turn:"), "{seen:?}");
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[tokio::test]
async fn a_server_that_wants_a_token_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    std::fs::write(
        &file,
        "[[tokens]]\ntoken = \"good-token\"\nuser = \"me\"\nscopes = [\"remote_server\"]\n",
    )
    .unwrap();
    let config = format!("[accounts.static]\nfile = \"{}\"", file.display());
    let server = Server::configured(&config, &[]).await;
    let url = format!("ws://{}", server.address());
    for (token, code) in [(None, 1), (Some("other-token"), 1), (Some("good-token"), 0)] {
        let flag = token.map(|token| format!("--token={token}"));
        let arguments: Vec<_> = [url.as_str()].into_iter().chain(flag.as_deref()).collect();
        let said = doctor(&arguments).await;
        assert_eq!(said.code, Some(code), "{token:?} {}", said.text);
        if code == 1 {
            let finding = said.has(Topic::Server, Level::Problem, "told to tokens only");
            assert!(
                finding.command.as_ref().unwrap().contains("--token"),
                "{finding:?}"
            );
        }
        assert!(!said.text.contains("-token\""), "{}", said.text);
    }
}

/// Answers everything so, as a proxy does before which a server is missing.
async fn answers(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _ = tokio::io::AsyncReadExt::read(&mut tcp, &mut asked).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, text.as_bytes()).await;
            });
        }
    });
    format!("ws://{address}")
}

#[tokio::test]
async fn a_proxy_in_the_way_is_told_with_the_lines_that_it_needs() {
    let url = answers(
        "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    let said = doctor(&[&url]).await;
    said.has(Topic::Server, Level::Ok, "behind a proxy: nginx");
    said.has(
        Topic::Server,
        Level::Problem,
        "502 Bad Gateway to GET /health",
    );
    said.has(Topic::Server, Level::Problem, "clock");
    let socket = said.has(Topic::Server, Level::Problem, "Kurento at /room: HTTP 502");
    let lines = "proxy_set_header Upgrade";
    assert!(
        socket.command.as_ref().unwrap().contains(lines),
        "{socket:?}"
    );
}

/// What a server mints for who asks now.
async fn minted(address: &str) -> (String, String) {
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /ice-servers HTTP/1.0\r\nHost: {address}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut tcp, request.as_bytes())
        .await
        .unwrap();
    let told = common::Answer::read(&mut tcp).await.json();
    let text = |key: &str| told["iceServers"][0][key].as_str().unwrap().to_owned();
    (text("username"), text("credential"))
}

/// `turn:HOST` with a user name and a password, as the flag takes it.
fn with_password(url: &str, (name, password): &(String, String)) -> String {
    url.replacen(':', &format!(":{name}:{password}@"), 1)
}

/// Where this machine's plugins are.
fn gstreamer_plugins() -> String {
    let output = std::process::Command::new("pkg-config")
        .args(["--variable=pluginsdir", "gstreamer-1.0"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

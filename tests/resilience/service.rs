//! As a service: a changed configuration, and what systemd wants.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use crate::common::process::Process;
use crate::common::{PATIENCE, Server, wait_until};

fn tokens(names: &[&str]) -> String {
    let entry = |name| {
        format!("[[tokens]]\ntoken = \"{name}\"\nuser = \"u\"\ngrants = [{{ role = \"admin\" }}]\n")
    };
    names.iter().map(entry).collect()
}

#[tokio::test]
async fn sighup_takes_over_what_can_change_and_names_what_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let (file, config) = (
        directory.path().join("t.toml"),
        directory.path().join("c.toml"),
    );
    let write = |more: &str| {
        let text = format!("{more}\n[auth.static]\nfile = {file:?}");
        std::fs::write(&config, text).unwrap();
    };
    std::fs::write(&file, tokens(&["old"])).unwrap();
    write("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config);
    let server = Server::spawn(command, None, 1).await;
    let status = async |token: &str| {
        server
            .get(&format!("/api/rooms?token={token}"))
            .await
            .status
    };
    assert_eq!((status("old").await, status("new").await), (200, 401));

    std::fs::write(&file, tokens(&["new"])).unwrap();
    write("[limits]\nrooms = 5\n[media]\nthreads = 1");
    server.signal(Signal::HUP);
    wait_until(PATIENCE, async || status("new").await == 200).await;
    assert_eq!(status("old").await, 401);
    let named = async || server.log().contains("parts=\"media, limits\"");
    wait_until(PATIENCE, named).await;

    write("nonsense = 1");
    server.signal(Signal::HUP);
    let told = async || server.log().contains("the old one stays");
    wait_until(PATIENCE, told).await;
    assert!(server.log().contains("nonsense"));
    assert_eq!(status("new").await, 200);
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path);
    let mut server = Server::spawn(command, None, 1).await;
    assert!(heard().contains("READY=1"));
    server.signal(Signal::HUP);
    assert!(heard().contains("RELOADING=1"));
    assert!(heard().contains("READY=1"));
    assert!(server.terminate().await.success());
    assert!(heard().contains("STOPPING=1"));
}

/// What systemd does with a socket: listens, and hands it over as descriptor 3.
const ACTIVATE: &str = r#"
use IO::Socket::INET; use POSIX;
$^F = 9;
my $socket = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1:0") or die;
POSIX::dup2(fileno($socket), 3) if fileno($socket) != 3;
$ENV{LISTEN_FDS} = 1; $ENV{LISTEN_PID} = $$;
exec $ARGV[0], "serve", "--listen", "127.0.0.1:" . $socket->sockport or die;
"#;

#[tokio::test]
async fn a_socket_of_systemd_is_used() {
    let mut command = Command::new("perl");
    command.args(["-e", ACTIVATE, env!("CARGO_BIN_EXE_switchboard")]);
    let mut process = Process::spawn(command);
    let url = process
        .line("listener", |line| {
            line.strip_prefix("listening on ").map(str::to_owned)
        })
        .await;
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let connected = tokio::net::TcpStream::connect(address);
    assert!(
        tokio::time::timeout(Duration::from_secs(5), connected)
            .await
            .unwrap()
            .is_ok()
    );
    assert!(process.end(Signal::TERM).await.success());
}

/// What `switchboard health` says of a server at these places, and its exit code.
async fn health(listen: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["health", "--listen", listen]).args(arguments);
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn health_is_asked_where_the_server_listens() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "tls:127.0.0.1:0",
        ])
        .args(["--tls", "self-signed", "--drain", "60"])
        .env("STATE_DIRECTORY", directory.path());
    let mut server = Server::spawn(command, None, 2).await;
    let [plain, tls] = &server.addresses[..] else {
        panic!("{:?}", server.addresses);
    };
    let (plain, tls) = (plain.clone(), format!("tls:{tls}"));
    assert_eq!(health(&plain, &[]).await, (Some(0), "OK\n".to_owned()));
    assert_eq!(health(&tls, &["--ready"]).await.0, Some(0));

    // It drains as long as somebody talks.
    let mut device = server.device("cvd-1").await;
    let mut viewer = server.viewer("cvd-1").await;
    viewer.forward(&serde_json::json!({"a": 1})).await;
    device.recv_json().await;
    server.ask_to_end();
    let refused = async || health(&plain, &["--ready"]).await.0 == Some(1);
    wait_until(PATIENCE, refused).await;
    assert_eq!(health(&plain, &[]).await.0, Some(0));

    server.terminate().await;
    let (code, said) = health(&plain, &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&plain), "{said}");
}

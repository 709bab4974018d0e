//! Media through a real TURN server, coturn, with credentials that the signaling server minted.

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use switchboard::media::SessionConfig;
use switchboard::peer::ice::Ice;
use switchboard::peer::link::{Dialer, ServerUrl, Trust};
use tokio::process::Command;

use crate::process::Process;
use crate::watcher::Watcher;

/// What the signaling server and the TURN server share.
const SECRET: &str = "north";

/// A coturn of this test's own. It ends when dropped.
struct Turn {
    process: Process,
    address: IpAddr,
    port: u16,
    tls_port: u16,
    directory: tempfile::TempDir,
}

impl Turn {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = own_address();
        let made = rcgen::generate_simple_self_signed([address.to_string()]).unwrap();
        let (certificate, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (port, tls_port) = (free_port(address), free_port(address));
        let text = format!(
            "listening-ip={address}\nrelay-ip={address}\nlistening-port={port}\n\
             tls-listening-port={tls_port}\ncert={}\npkey={}\nuse-auth-secret\n\
             static-auth-secret={SECRET}\nrealm=example.org\nno-cli\nno-rfc5780\nno-dtls\nrelay-threads=1\nverbose\n\
             log-file=stdout\nsimple-log\nuserdb={}\npidfile={}\n",
            certificate.display(),
            key.display(),
            directory.path().join("db").display(),
            directory.path().join("pid").display(),
        );
        let file = directory.path().join("turnserver.conf");
        std::fs::write(&file, text).unwrap();
        // What it says shall come line by line, not when its buffer is full.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "turnserver", "-c"]).arg(&file);
        let mut process = Process::spawn(command);
        // In whatever order.
        let mut awaited = vec![
            format!("UDP listener opened on: {address}:{port}"),
            format!("TCP listener opened on : {address}:{port}"),
            format!("TCP listener opened on : {address}:{tls_port}"),
        ];
        process
            .line("TURN server", |line| {
                awaited.retain(|opened| !line.contains(opened));
                awaited.is_empty().then_some(())
            })
            .await;
        Self {
            process,
            address,
            port,
            tls_port,
            directory,
        }
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// The URL for a way to it.
    fn url(&self, way: &str) -> String {
        let Self {
            address,
            port,
            tls_port,
            ..
        } = self;
        match way {
            "tls" => format!("turns:{address}:{tls_port}?transport=tcp"),
            way => format!("turn:{address}:{port}?transport={way}"),
        }
    }
}

/// An address of this machine that libnice uses: not the loopback's.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

/// A port that is free for UDP and TCP.
fn free_port(address: IpAddr) -> u16 {
    loop {
        let tcp = TcpListener::bind((address, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((address, port)).is_ok() {
            return port;
        }
    }
}

/// A signaling server that names this TURN server.
async fn server(url: &str, secret: &str) -> (Process, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[ice]\nsecret = \"{secret}\"\nservers = [{{ urls = [\"{url}\"] }}]\n");
    std::fs::write(file.path(), text).unwrap();
    let config = file.path().to_str().unwrap();
    let mut server = Process::start(&["serve", "--listen", "127.0.0.1:0", "--config", config]);
    let address = server
        .line("address", |line| {
            let address = line.strip_prefix("listening on http://")?;
            Some(address.trim_end_matches('/').to_owned())
        })
        .await;
    (server, address)
}

/// How a viewer finds its way through TURN only, by what the server tells it.
async fn relay_only(server: &str, ca: PathBuf) -> SessionConfig {
    let url = ServerUrl::new(&format!("ws://{server}"), "/").unwrap();
    let trust = Trust {
        ca: Some(ca),
        anyone: false,
    };
    let dialer = Dialer::new(url, &trust).unwrap();
    let ice = Ice::new(Vec::new(), true)
        .trusting(&dialer)
        .asking(&dialer, None);
    ice.session(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn video_comes_through_a_relay_over_udp_tcp_and_tls() {
    let mut turn = Turn::start().await;
    for way in ["udp", "tcp", "tls"] {
        let (_server, address) = server(&turn.url(way), SECRET).await;
        let ca = turn.certificate();
        let relay = ["--ice-policy", "relay", "--ca", ca.to_str().unwrap()];
        let device = crate::device(&address, &relay).await;
        let config = relay_only(&address, ca.clone()).await;
        assert_eq!(config.ice_servers.len(), 1, "{way}");
        let mut watcher = Watcher::begin(&address, "it", config).await;
        watcher.sees().await;
        let path = ("relay".to_owned(), "relay".to_owned());
        assert_eq!(watcher.path().await, path, "{way}");
        // Both of them have got a relay from it.
        for _ in 0..2 {
            turn.process
                .line("allocation", |line| {
                    line.contains("ALLOCATE processed, success").then_some(())
                })
                .await;
        }
        drop((watcher, device));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_said_to_be_why_no_media_comes() {
    let turn = Turn::start().await;
    for way in ["udp", "tls"] {
        let (_server, address) = server(&turn.url(way), "south").await;
        let ca = turn.certificate();
        let relay = ["--ice-policy", "relay", "--ca", ca.to_str().unwrap()];
        let device = crate::device(&address, &relay).await;
        let _watcher = Watcher::begin(&address, "it", SessionConfig::default()).await;
        device
            .logged(
                "no TURN server gave a relay address: none answers, or none takes the credentials",
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_server_whose_certificate_is_unknown_is_not_used() {
    let turn = Turn::start().await;
    let (_server, address) = server(&turn.url("tls"), SECRET).await;
    let device = crate::device(&address, &["--ice-policy", "relay"]).await;
    let _watcher = Watcher::begin(&address, "it", SessionConfig::default()).await;
    device.logged("no TLS connection to a TURN server").await;
    device.logged("no TURN server gave a relay address").await;
    assert!(device.log().contains("UnknownIssuer"), "{}", device.log());
}

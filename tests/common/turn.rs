//! A real TURN server, coturn, and a signaling server that names it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary that wants it compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use tokio::process::Command;

use crate::process::Process;

/// What the signaling server and the TURN server share.
pub const SECRET: &str = "north";

/// A coturn of this test's own. It ends when dropped.
pub struct Turn {
    pub process: Process,
    address: IpAddr,
    port: u16,
    tls_port: u16,
    directory: tempfile::TempDir,
}

impl Turn {
    /// Starts it on this machine and waits until it listens.
    pub async fn start() -> Self {
        let address = own_address();
        let ports = (free_port(address), free_port(address));
        Self::launch(Command::new("stdbuf"), address, ports).await
    }

    /// Starts it by a command that runs `stdbuf` somewhere, where this address is, and these ports are free
    /// for plain TURN and for TLS.
    pub async fn launch(
        mut stdbuf: Command,
        address: IpAddr,
        (port, tls_port): (u16, u16),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([address.to_string()]).unwrap();
        let (certificate, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
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
        stdbuf.args(["-oL", "turnserver", "-c"]).arg(&file);
        let mut process = Process::spawn(stdbuf);
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

    /// Its certificate, which nobody knows.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// The URL for a way to it: `udp`, `tcp` or `tls`.
    pub fn url(&self, way: &str) -> String {
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
pub async fn server(url: &str, secret: &str) -> (Process, String) {
    let file = configuration(url, secret);
    let config = file.path().to_str().unwrap();
    let mut server = Process::start(&["serve", "--listen", "127.0.0.1:0", "--config", config]);
    let address = server.listening().await;
    (server, address)
}

/// The configuration of a signaling server that names one.
pub fn configuration(url: &str, secret: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[ice]\nsecret = \"{secret}\"\nservers = [{{ urls = [\"{url}\"] }}]\n");
    std::fs::write(file.path(), text).unwrap();
    file
}

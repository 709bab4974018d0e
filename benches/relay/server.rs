//! The measured servers.

use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::process::Process;

/// Tenths of a second that another server may take to listen.
const PATIENCE: u32 = 100;

/// A server in a process of its own.
pub(crate) struct Server {
    process: Process,
    /// `HOST:PORT`
    pub(crate) address: String,
    pub(crate) is_floor: bool,
}

impl Server {
    /// The bare relay.
    pub(crate) fn floor() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(super::FLOOR);
        let (process, address) = Process::listening(command);
        Self {
            process,
            address,
            is_floor: true,
        }
    }

    /// `switchboard serve` over TLS alone, with a certificate for localhost, and who trusts it.
    pub(crate) fn secure(files: &Path) -> (Self, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| files.join(name));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let pair = format!("{},{}", certificate.display(), key.display());
        let (process, address) = Process::serving(&["--listen", "tls:127.0.0.1:0", "--tls", &pair]);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = Self {
            process,
            address,
            is_floor: false,
        };
        (server, TlsConnector::from(Arc::new(client)))
    }

    /// The server that the environment names, if it does, when it answers.
    pub(crate) async fn reference() -> Option<Self> {
        let text = std::env::var("SWITCHBOARD_REFERENCE").ok()?;
        // The system's choice, free again for the other server.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let port = port.unwrap().port();
        let text = text.replace("{port}", &port.to_string());
        let mut words = text.split_whitespace();
        let mut command = Command::new(words.next()?);
        command.args(words).stdout(Stdio::null());
        let process = Process::start(command);
        let address = format!("127.0.0.1:{port}");
        for _ in 0..PATIENCE {
            if TcpStream::connect(&address).is_ok() {
                return Some(Self {
                    process,
                    address,
                    is_floor: false,
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{text}: nobody listens on port {port}");
    }

    /// `switchboard serve`, as it is by default but for more arguments.
    pub(crate) fn ours(arguments: &[&str]) -> Self {
        let (process, address) = Process::switchboard(arguments);
        Self {
            process,
            address,
            is_floor: false,
        }
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

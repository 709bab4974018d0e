//! The measured servers.

use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use super::process::Process;

/// The token of the peers of a guarded server, and its operator's.
const PEER: &str = "peer-token";
pub(crate) const ADMIN: &str = "admin-token";
/// What the peers' token allows.
pub(crate) const PEER_GRANTS: &str = r#"[{"role": "peer", "ids": ["a*", "b*"], "rooms": []}]"#;
/// Rates that the load doesn't reach, but a flood would.
const LIMITS: &str =
    "messages_per_second = 20_000\nbytes_per_second = 20_000_000\naddress_connections = 1_000\n";
/// Tenths of a second that another server may take to listen.
const PATIENCE: u32 = 100;

/// A server in a process of its own.
pub(crate) struct Server {
    process: Process,
    /// `HOST:PORT`
    pub(crate) address: String,
    pub(crate) is_floor: bool,
    /// What its peers need to come in.
    pub(crate) token: Option<&'static str>,
    /// Where its configuration is.
    _directory: Option<TempDir>,
}

impl Server {
    /// The bare relay.
    pub(crate) fn floor() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(super::FLOOR);
        let (process, address) = Process::listening(command);
        Self {
            is_floor: true,
            ..Self::new(process, address)
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
        let server = Self::new(process, address);
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
                return Some(Self::new(process, address));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{text}: nobody listens on port {port}");
    }

    /// `switchboard serve`, as it is by default but for more arguments.
    pub(crate) fn ours(arguments: &[&str]) -> Self {
        let (process, address) = Process::switchboard(arguments);
        Self::new(process, address)
    }

    /// One that asks for tokens, and has tighter limits.
    pub(crate) fn guarded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let tokens = format!(
            "[[tokens]]\ntoken = \"{PEER}\"\nuser = \"peer\"\n\
             grants = [{{ role = \"peer\", ids = [\"a*\", \"b*\"], rooms = [] }}]\n\
             [[tokens]]\ntoken = \"{ADMIN}\"\nuser = \"admin\"\ngrants = [{{ role = \"admin\" }}]\n"
        );
        std::fs::write(path("tokens.toml"), tokens).unwrap();
        let config = format!(
            "[auth.static]\nfile = {:?}\n[limits]\n{LIMITS}",
            path("tokens.toml")
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let config = path("config.toml");
        Self {
            token: Some(PEER),
            _directory: Some(directory),
            ..Self::ours(&["--config", &config])
        }
    }

    fn new(process: Process, address: String) -> Self {
        Self {
            process,
            address,
            is_floor: false,
            token: None,
            _directory: None,
        }
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

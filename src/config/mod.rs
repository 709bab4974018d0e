//! File + environment + flags → one validated [`Config`]. Every limit with its default and its key.

mod limits;

pub use limits::Limits;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that `switchboard serve` needs to know, checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// Where the certificate of the TLS listeners comes from; present if any listener has TLS.
    pub tls: Option<TlsSource>,
    /// A directory of static files to serve at `/`, in front of the console.
    pub assets: Option<PathBuf>,
    /// The ICE servers that every peer and page is told of.
    pub ice_servers: Vec<IceServer>,
    /// The Cuttlefish dialect's own settings.
    pub cuttlefish: Cuttlefish,
    /// How much of everything.
    pub limits: Limits,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether this listener speaks TLS.
    pub tls: bool,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// PEM files.
    Files {
        /// The certificate chain, the server's own certificate first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made by the server and kept in a directory for the next start.
    SelfSigned {
        /// Where `cert.pem` and `key.pem` are kept.
        directory: PathBuf,
        /// The names and addresses that the certificate is for.
        names: Vec<String>,
    },
}

/// One ICE server, in the form of the browser's `RTCIceServer` (W3C WebRTC, section 4.2.2).
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs (RFC 7064, RFC 7065). Always an array on the wire: old devices
    /// accept no plain string.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// What only the Cuttlefish dialect asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuttlefish {
    /// Hold a client that asks for an absent device until the device registers, instead of refusing it.
    pub wait_for_device: bool,
    /// Serve `/devices/{id}/files/…` from the HTTP server that the device named as its `device_port`.
    pub device_files: bool,
}

impl Default for Cuttlefish {
    fn default() -> Self {
        Self {
            wait_for_device: false,
            device_files: true,
        }
    }
}

/// Without the credential.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username.as_ref().map(|_| "…"))
            .field("credential", &self.credential.as_ref().map(|_| "…"))
            .finish()
    }
}

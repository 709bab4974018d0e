//! Tokens for every dialect: the built binary, and clients that may do some things and not others.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod dialects;
mod door;
mod minted;

use common::Server;
use tempfile::TempDir;

/// Each token is the name of whom it is for.
const TOKENS: &str = r#"
[[tokens]]
token = "camera"
user = "camera"
grants = [{ role = "device", ids = ["cam-*"] }]
[[tokens]]
token = "viewer"
user = "viewer"
grants = [{ role = "client", ids = ["cam-1"] }]
[[tokens]]
token = "watcher"
user = "watcher"
grants = [{ role = "client", control = false }]
[[tokens]]
token = "gecko"
user = "gecko"
grants = [{ role = "gecko", ids = ["g"] }]
[[tokens]]
token = "peer"
user = "peer"
grants = [{ role = "peer", ids = ["one", "two"], calls = ["two"], rooms = ["open"] }]
[[tokens]]
token = "speaker"
user = "speaker"
grants = [{ role = "participant", rooms = ["lab"] }]
[[tokens]]
token = "listener"
user = "listener"
grants = [{ role = "participant", ids = ["ear"], publish = false }]
[[tokens]]
token = "mute"
user = "mute"
grants = [{ role = "participant", subscribe = false }]
[[tokens]]
token = "guest"
user = "guest"
grants = [
  { role = "participant", rooms = ["lab"], publish = false, message = false },
  { role = "participant", rooms = ["hall"], subscribe = false },
]
[[tokens]]
token = "admin"
user = "admin"
grants = [{ role = "admin" }]
[[tokens]]
token = "nothing"
user = "nothing"
"#;

/// A server that knows [`TOKENS`].
async fn server() -> (Server, TempDir) {
    server_with("").await
}

/// The same, with more in its configuration.
async fn server_with(more: &str) -> (Server, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    std::fs::write(&file, TOKENS).unwrap();
    let config = format!("[auth.static]\nfile = \"{}\"\n{more}", file.display());
    (Server::configured(&config, &[]).await, directory)
}

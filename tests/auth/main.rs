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

/// Each token is the name of whom it is for.
const TOKENS: &str = r#"
tokens = [
  { token = "camera", user = "camera", grants = [{ role = "device", ids = ["cam-*"] }] },
  { token = "viewer", user = "viewer", grants = [{ role = "client", ids = ["cam-1"] }] },
  { token = "watcher", user = "watcher", grants = [{ role = "client", control = false }] },
  { token = "gecko", user = "gecko", grants = [{ role = "gecko", ids = ["g"] }] },
  { token = "peer", user = "peer", grants = [{ role = "peer", ids = ["one", "two"], calls = ["two"], rooms = ["open"] }] },
  { token = "speaker", user = "speaker", grants = [{ role = "participant", rooms = ["lab"] }] },
  { token = "listener", user = "listener", grants = [{ role = "participant", ids = ["ear"], publish = false }] },
  { token = "mute", user = "mute", grants = [{ role = "participant", subscribe = false }] },
  { token = "guest", user = "guest", grants = [{ role = "participant", rooms = ["lab"], publish = false, message = false }, { role = "participant", rooms = ["hall"], subscribe = false }] },
  { token = "admin", user = "admin", grants = [{ role = "admin" }] },
  { token = "nothing", user = "nothing" },
]
"#;

/// A server that knows [`TOKENS`].
async fn server() -> Server {
    Server::guarded(TOKENS, "").await
}

//! The server's side of a gecko's, and of a client's connection (gecko.md A2 to A8, with the
//! decisions).

mod client;
mod gecko;
#[cfg(test)]
mod tests;

pub use client::ClientSession;
pub use gecko::GeckoSession;

use super::wire;
use crate::config::IceServer;
use crate::dialect::Effect;
use crate::dialect::cause::Cause;
use crate::hub::Payload;

/// What all sessions of a server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Tell clients of errors in the reference server's own form, which old ones know.
    pub legacy_progress_errors: bool,
    /// Bytes in a gecko's id.
    pub id_bytes: usize,
    /// What client and gecko are told of ICE servers, an addition of ours: [`ice_servers`].
    pub ice_servers: Option<Payload>,
}

/// Prints a list of ICE servers, once for all messages with it; nothing for an empty one.
#[must_use]
pub fn ice_servers(servers: &[IceServer]) -> Option<Payload> {
    let is_there = !servers.is_empty();
    is_there.then(|| Payload::from(serde_json::json!(servers).to_string()))
}

/// Counts an error.
fn report(cause: &Cause<'_>, out: &mut Vec<Effect>) {
    let row = cause.row();
    out.push(Effect::Report {
        label: row.label,
        level: row.level,
    });
}

/// A frame's text, of whichever kind it is; `None` if it isn't UTF-8.
fn as_text(frame: &Payload) -> Option<Payload> {
    if frame.is_binary() {
        Payload::from_utf8(frame.clone().into_bytes()).ok()
    } else {
        Some(frame.clone())
    }
}

//! The server's side of a Cuttlefish WebSocket (cuttlefish.md A2 to A6, with its decisions).
//!
//! A session sends nothing that the protocol doesn't have: real devices take any other message for
//! a failure and connect anew. All closes are 1000 without a reason, after what is queued, but that
//! of an evicted device, which is 1011.

mod client;
mod device;
#[cfg(test)]
mod tests;

pub use client::{BareClientSession, ClientSession};
pub use device::DeviceSession;

use super::wire;
use crate::config::IceServer;
use crate::dialect::Effect;
use crate::dialect::cause::Cause;
use crate::hub::Payload;

/// What all sessions of a server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `config` message, ready to send.
    pub config: Payload,
    /// Hold a client that asks for an absent device, instead of refusing it.
    pub wait_for_device: bool,
    /// Take it that every device holds its clients to their [`Access`](crate::hub::Access).
    pub unguarded_devices: bool,
}

impl Settings {
    /// Prints the `config` message once for all sessions.
    #[must_use]
    pub fn new(ice_servers: &[IceServer], chosen: &crate::config::Cuttlefish) -> Self {
        Self {
            config: wire::config(ice_servers),
            wait_for_device: chosen.wait_for_device,
            unguarded_devices: chosen.unguarded_devices,
        }
    }

    /// The same with other ICE servers.
    #[must_use]
    pub fn with(&self, ice_servers: &[IceServer]) -> Self {
        Self {
            config: wire::config(ice_servers),
            ..*self
        }
    }

    /// The body of `GET /infra_config`: the `config` message, as both generations of servers send it.
    #[must_use]
    pub const fn infra_config(&self) -> &Payload {
        &self.config
    }
}

/// Tells the other side what went wrong, in its own form. Says whether the conversation ended.
fn refuse(cause: &Cause<'_>, out: &mut Vec<Effect>) -> bool {
    let row = cause.row();
    out.push(Effect::Report {
        label: row.label,
        level: row.level,
    });
    if let Some(text) = &row.cuttlefish.text {
        out.push(Effect::Send(wire::error(text)));
    }
    if let Some(code) = row.cuttlefish.close {
        out.push(Effect::Close { code, reason: "" });
    }
    row.cuttlefish.close.is_some()
}

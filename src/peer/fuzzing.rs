//! For the targets of `fuzz/`: what servers answer to peers.

use http::StatusCode;

use super::ice::Found;
use super::link::advice;

/// A server tells its ICE servers.
pub fn ice_servers(body: &[u8]) {
    let _ = Found::read(body);
}

/// A server opens no WebSocket.
///
/// # Panics
/// If there is nothing to say about that.
pub fn refusal(status: u16, body: &[u8], path: &str) {
    if let Ok(status) = StatusCode::from_u16(status) {
        let advice = advice(status, body, path);
        assert!(advice.len() <= 4_000 + path.len());
    }
}

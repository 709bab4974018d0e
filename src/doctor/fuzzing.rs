//! For the targets of `fuzz/`: what servers and networks answer.

use std::net::SocketAddr;

use super::certificate::Certificate;
use super::{stun, turn};
use crate::net::mdns;

/// A datagram comes to who has asked a STUN server, or over a stream a TURN server.
///
/// # Panics
/// If a message is said to be longer than messages are.
pub fn datagram(bytes: &[u8]) {
    let _ = stun::other_address(bytes);
    assert!(turn::message_length(bytes).is_none_or(|it| it < 70_000));
}

/// A datagram comes to who has asked the local network for a name.
///
/// # Panics
/// If the answer is no address of one machine.
pub fn name(name: &str, bytes: &[u8]) {
    let from = SocketAddr::from(([127, 0, 0, 1], 5353));
    let _ = mdns::is_name(name);
    if let Some(ip) = mdns::answer(name, bytes, from) {
        assert!(!ip.is_unspecified() && !ip.is_multicast());
    }
}

/// A server's certificate.
///
/// # Panics
/// If one of its names would steer a terminal.
pub fn certificate(der: &[u8]) {
    if let Some(read) = Certificate::read(der) {
        let is_plain = |name: &String| name.chars().all(|it| !it.is_control());
        assert!(read.names.iter().all(is_plain));
    }
}

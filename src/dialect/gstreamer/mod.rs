//! GStreamer's simple signalling: `HELLO`, `SESSION` and `ROOM`.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | what the server reads and prints |
//! | [`server`] | the server's side of a WebSocket |
//! | [`payload`] | what peers say to each other: SDP and ICE in JSON, unread by the server |
//! | [`client`] | a peer's side of the conversation with a server |

pub mod client;
pub mod payload;
pub mod server;
pub mod wire;

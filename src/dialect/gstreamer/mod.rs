//! GStreamer's simple signalling: `HELLO`, `SESSION` and `ROOM`.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | what the server reads and prints |
//! | [`server`] | the server's side of a WebSocket |

pub mod server;
pub mod wire;

//! Kurento rooms: `/room`, JSON-RPC 2.0. The server is an end of the media itself.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | the messages, as both sides read and print them |
//! | [`server`] | the server's side of a client's connection |
//! | [`client`] | a participant's side |
//! | [`errors`] | what is refused, and how |

pub mod client;
pub mod errors;
pub mod server;
pub mod wire;

//! Android Cuttlefish: `/register_device`, `/connect_client` and their polling relatives.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | the envelope: what the server reads and prints |
//! | [`server`] | the server's side of a WebSocket |
//! | [`polled`] | the server's side of a client that polls over HTTP |
//! | [`payload`] | the layer inside the envelope, between device and client |
//! | [`device_info`], [`channels`] | what a device says of itself; the data channels |
//! | [`client`] | a device's, and a viewer's, side of the conversation |

pub mod channels;
pub mod client;
pub mod device_info;
pub mod payload;
pub mod polled;
pub mod server;
pub mod wire;

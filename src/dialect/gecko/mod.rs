//! Geckos: `/worker` for them, `/` for their clients.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | the messages, read and printed |
//! | [`server`] | the server's side of a gecko's, and of a client's WebSocket |
//! | [`client`] | a gecko's own side |
//! | [`page`] | the side of a gecko's client |

pub mod client;
pub mod page;
pub mod server;
pub mod wire;

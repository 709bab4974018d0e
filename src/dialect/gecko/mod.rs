//! Geckos: `/worker` for them, `/` for their clients.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | the messages as the server reads and prints them |
//! | [`server`] | the server's side of a gecko's, and of a client's WebSocket |

pub mod server;
pub mod wire;

//! The forwarding plane, with peers on str0m over real sockets.

mod client;
mod house;

mod forwarding;
mod negotiation;

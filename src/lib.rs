//! Switchboard: a WebRTC signaling server that speaks four existing dialects on one port, a headless
//! media peer on GStreamer, and an end-to-end media tester built from the two.
//!
//! # The plan of the house
//!
//! | room | what it is for | may use |
//! |---|---|---|
//! | [`cli`] | one file per subcommand: flags in, exit code out | everything below |
//! | [`config`] | file + environment + flags → one validated [`config::Config`]; every limit | `net` |
//! | [`net`] | this machine's addresses: which carry media, and what is told instead of them | nothing |
//! | [`rooms`] | the forwarding plane: str0m endpoints, threads, UDP sockets, media over TCP | `net` |
//! | [`server`] | the edge: listeners, TLS, HTTP, WebSockets, limits, metrics, the console | `dialect`, `hub`, `rooms`, `config` |
//! | [`doctor`] | what works on this machine and network, what doesn't, and what mends it | `peer`, `media`, `net`, `web` |
//! | [`probe`] | end-to-end tests of media: coded pictures and sound, and the judge of what arrives | `peer`, `media` |
//! | [`peer`] | devices, callers and participants: a dialect's client × media, with reconnection | `dialect` clients, `media`, `worker` |
//! | [`worker`] | JavaScript workers: the child process and its parent; what they may load | `web` |
//! | [`media`] | GStreamer: pipeline files, encoders, fan-out, `webrtcbin` sessions, statistics | nothing |
//! | `vitals` | what the system knows of this process, for metrics and long probes | nothing |
//! | [`web`] | a small HTTP client, for authorities, worker scripts and a server's own pages | `config` |
//! | [`dialect`] | the languages, pure: wire types, the server's side, a peer's side | `hub`, `config` |
//! | [`hub`] | who is here and who talks to whom, pure | nothing |
//!
//! Imports point down only. `dialect` and `hub` know no sockets, threads, clocks, tokio or GStreamer:
//! input in, effects out, time as an argument. `server`, `rooms` and `hub` never name GStreamer, so that
//! `--no-default-features --features server` builds a server that needs no libgstreamer.

pub mod cli;
pub mod config;
pub mod dialect;
#[cfg(feature = "peer")]
pub mod doctor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hub;
#[cfg(feature = "peer")]
pub mod media;
pub mod net;
#[cfg(feature = "peer")]
pub mod peer;
#[cfg(feature = "peer")]
pub mod probe;
#[cfg(feature = "server")]
pub mod rooms;
#[cfg(feature = "server")]
pub mod server;
#[cfg(any(feature = "server", feature = "peer"))]
mod vitals;
#[cfg(any(feature = "server", feature = "peer"))]
pub mod web;
#[cfg(feature = "peer")]
pub mod worker;

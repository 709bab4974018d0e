//! The console in a real Chromium, against the real binary with real media.

mod calls;
#[path = "../common/cameras.rs"]
mod cameras;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod devices;
mod diagnosis;
mod driver;
mod geckos;
mod mesh;
mod names;
mod operations;
mod original;
mod page;
mod program;
mod relay;
mod rooms;
mod sources;
#[path = "../common/turn.rs"]
mod turn;

use common::process;

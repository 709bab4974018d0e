//! The console in a real Chromium, against the real binary with real media.

mod console;
mod devices;
mod driver;
mod original;
mod page;
mod program;

//! Coded test media, and the judge of what arrives.

mod diagnosis;
mod ends;
pub mod judge;
mod media;
pub mod outcome;
pub mod plan;
mod ramp;
pub mod resources;
mod run;
mod spectator;

pub use run::{News, Tell, Tick, run};

pub use crate::media::code::now;

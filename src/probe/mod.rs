//! Coded test media, and the judge of what arrives.

mod diagnosis;
mod ends;
pub mod html;
pub mod judge;
pub mod junit;
mod media;
pub mod outcome;
pub mod plan;
pub mod plot;
mod ramp;
pub mod resources;
mod run;
mod spectator;
pub mod suite;

pub use run::{News, Tell, Tick, run};

pub use crate::media::code::now;

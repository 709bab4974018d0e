//! End-to-end tests of media: coded pictures and sound at one end, a judge at the other.
//!
//! [`run()`] runs one [`plan::Plan`]: it starts the ends of a scenario with our own peers, watches their
//! sessions, and gives an [`outcome::Outcome`] in which the judge's findings stand beside the reasons why
//! something did not come about. The reports (JSON, JUnit, a web page, an image) are made of that.

mod diagnosis;
mod ends;
mod flow;
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
#[cfg(test)]
mod tests;
mod witness;

pub use crate::media::code::now;
pub use flow::{News, Tell, Tick};
pub use run::run;
pub use witness::{Decoded, Look, Witness, stream_id};

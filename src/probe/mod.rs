//! Coded test media, and the judge of what arrives.

pub mod judge;
#[cfg(test)]
mod tests;
mod witness;

pub use crate::media::code::now;
pub use witness::{Decoded, Look, Witness, stream_id};

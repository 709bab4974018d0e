//! Coded test media, and the judge of what arrives.

pub mod judge;

pub use crate::media::code::now;

//! What the network takes, and what the encoders do about it. Pure: time is an argument.
//!
//! ```text
//! transport-wide feedback ─► Estimator, one per viewer ─► Sharing, one per source and codec
//!                                                            ├─► Aim of each encoder: bit rate, then
//!                                                            │   frame rate, then size (Ladder)
//!                                                            └─► which Rung each viewer is on
//! ```
//!
//! Written by ourselves, because the `rtpgccbwe` of gst-plugin-rtp doesn't hold up (its estimate falls
//! with every report while a queue drains, and its own queue of packets has no bound).

mod budget;
mod estimator;
mod ladder;
mod sharing;

pub(super) use budget::{FrameGate, Load, Retransmissions};
pub(super) use estimator::{Estimator, Packet};
pub(super) use ladder::{Aim, Picture};
pub(super) use sharing::{Plan, Report, Sharing, ViewerId};

/// Which of a source's encoders of one codec a viewer is served by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rung {
    /// The one that everybody with a fair connection shares.
    #[default]
    Full,
    /// A smaller and slower picture, for those whose connection can't keep up with the others'.
    Low,
}

impl Rung {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Low => "low",
        }
    }
}

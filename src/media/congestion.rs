//! What the network takes, and what the encoders do about it. Pure: time is an argument.

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

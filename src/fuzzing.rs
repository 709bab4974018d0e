//! The narrow doors through which the targets of `fuzz/` reach what isn't public: one for each room of
//! the house, that stands beside what it opens.

pub use crate::config::fuzzing as config;
pub use crate::hub::fuzzing as hub;
pub use crate::rooms::fuzzing as rooms;
pub use crate::server::fuzzing as server;

//! The narrow doors through which the targets of `fuzz/` reach what isn't public: one for each room of
//! the house, that stands beside what it opens.

pub use crate::cli::fuzzing as cli;
pub use crate::config::fuzzing as config;
pub use crate::doctor::fuzzing as doctor;
pub use crate::hub::fuzzing as hub;
pub use crate::media::fuzzing as media;
pub use crate::peer::fuzzing as peer;
pub use crate::rooms::fuzzing as rooms;
pub use crate::server::fuzzing as server;
pub use crate::worker::fuzzing as worker;

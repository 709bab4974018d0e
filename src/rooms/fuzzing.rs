//! For the targets of `fuzz/`: the path of packets in pieces, and one thread of the plane without the
//! thread.

mod crypto;
mod packets;
mod plane;

pub use packets::Packets;
pub use plane::{Plane, Rtp};

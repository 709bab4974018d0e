//! For the targets of `fuzz/`.

use super::Hub;

/// Everything that the hub keeps of anybody, beside what it remembers of those who left.
#[must_use]
pub fn entries(hub: &Hub) -> usize {
    hub.entries()
}

/// The ids whose last call number it remembers.
#[must_use]
pub fn remembered(hub: &Hub) -> usize {
    hub.remembered()
}

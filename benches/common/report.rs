//! What benchmarks say of what they measured.

use std::time::Duration;

/// The median and the 99th of a hundred.
pub(crate) fn percentiles(mut waits: Vec<Duration>) -> (Duration, Duration) {
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied();
    (at(50).unwrap_or_default(), at(99).unwrap_or_default())
}

/// A line that says whether a target is met.
pub(crate) fn target(name: &str, found: f64, unit: &str, met: bool, wanted: &str) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("    {name}: {found:.3} {unit} (target {wanted}: {verdict})");
}

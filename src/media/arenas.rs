//! Keeps the C allocator from spreading over many arenas.
//!
//! glibc gives every few threads an arena of their own and keeps what was freed in each. Encoders
//! and sessions start and end threads all the time, so memory grows in steps that look like a leak:
//! 44 to 160 MB over 20 viewers, against a plateau of 84 MB with two arenas (measured, GStreamer 1.22).
#![allow(unsafe_code)] // the C library has no safe way to set this

/// How many arenas: one for bursts beside the main one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

/// Limits the arenas of this process. Later threads keep to it, so this comes before they start.
pub(super) fn limit() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt has no memory preconditions; any integer is allowed for M_ARENA_MAX. It takes
    // the allocator's own lock, so other threads may run.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

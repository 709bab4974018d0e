//! What one connection has sent and been sent.

use std::sync::atomic::{AtomicU64, Ordering};

use super::outbox::Load;

/// A connection's counters. Only one task or holder of a lock writes them, so that no addition needs
/// to be atomic; anybody may read.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
}

/// What they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) messages_in: u64,
    pub(super) bytes_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_out: u64,
}

/// What a connection has done, and what waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) traffic: Counted,
    pub(super) queued: Load,
}

impl Traffic {
    /// A message came.
    pub(super) fn received(&self, bytes: usize) {
        add(&self.messages_in, 1);
        add(&self.bytes_in, bytes as u64);
    }

    /// A message goes.
    pub(super) fn sent(&self, bytes: usize) {
        add(&self.messages_out, 1);
        add(&self.bytes_out, bytes as u64);
    }

    pub(super) fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            messages_in: read(&self.messages_in),
            bytes_in: read(&self.bytes_in),
            messages_out: read(&self.messages_out),
            bytes_out: read(&self.bytes_out),
        }
    }
}

fn add(to: &AtomicU64, number: u64) {
    to.store(to.load(Ordering::Relaxed) + number, Ordering::Relaxed);
}

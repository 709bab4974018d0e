//! What all endpoints note of the packets of one stretch of time.

use std::ops::Range;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Notes {
    /// Packets that were sent in this time count, whenever they arrive.
    window: Option<Range<Instant>>,
    /// Packets that publishers sent.
    pub(crate) sent: u64,
    /// How long each packet took from a publisher to a subscriber.
    pub(crate) waits: Vec<Duration>,
    pub(crate) keyframe_requests: u64,
    /// What should not happen: errors of sockets and connections.
    pub(crate) failures: u64,
    /// How long the thread of the endpoints ran in the window.
    pub(crate) busy: Duration,
}

impl Notes {
    pub(crate) fn of(window: Range<Instant>) -> Self {
        Self {
            window: Some(window),
            ..Self::default()
        }
    }

    pub(crate) fn sent(&mut self, at: Instant) {
        self.sent += u64::from(self.counts(at));
    }

    pub(crate) fn received(&mut self, sent: Instant, now: Instant) {
        if self.counts(sent) {
            self.waits.push(now - sent);
        }
    }

    fn counts(&self, at: Instant) -> bool {
        self.window.as_ref().is_some_and(|it| it.contains(&at))
    }
}

//! A session's stream of pictures, as its source sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::media::congestion::{Aim, Report, Rung, ViewerId};
use crate::media::session::feedback::Way;
use crate::media::session::meter::{Meter, Quality};

/// See the module.
#[derive(Debug)]
pub(in crate::media) struct Viewer {
    id: ViewerId,
    way: Way,
    meter: Arc<Meter>,
    rung: watch::Sender<Rung>,
}

impl Viewer {
    pub(in crate::media) fn new(way: Way, meter: Arc<Meter>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: ViewerId(NEXT.fetch_add(1, Ordering::Relaxed)),
            way,
            meter,
            rung: watch::Sender::new(Rung::Full),
        })
    }

    /// The rung that it should be on, now and as it changes.
    pub(in crate::media) fn rung(&self) -> watch::Receiver<Rung> {
        self.rung.subscribe()
    }

    pub(super) fn id(&self) -> ViewerId {
        self.id
    }

    pub(super) fn report(&self) -> Report {
        self.way.report()
    }

    /// See [`Way::seed`].
    pub(super) fn seed(&self, bits_per_second: u32) {
        self.way.seed(bits_per_second);
    }

    /// Puts it on a rung from now on.
    pub(super) fn put(&self, rung: Rung, trial: Option<u32>) {
        if let Some(bits_per_second) = trial {
            self.way.assume(bits_per_second);
        }
        let queue = self.way.queue();
        if self.rung.send_replace(rung) != rung {
            let (estimate, rung) = (self.way.estimate(), rung.name());
            tracing::debug!(estimate, rung, ?queue, "a viewer gets another encoder");
        }
    }

    /// Tells its statistics how it is served.
    pub(super) fn tell(&self, aim: Option<Aim>, size: Option<(u32, u32)>) {
        self.meter.set_quality(Quality {
            estimate: self.way.estimate(),
            target: aim.map(|aim| u64::from(aim.bitrate)),
            size: aim.map(|aim| aim.size).or(size),
            rung: *self.rung.borrow(),
        });
    }
}

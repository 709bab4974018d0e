//! The quiet end of a server: nobody new comes in, and who is there may finish.

use std::time::Duration;

use axum::response::Response;
use hyper::StatusCode;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::info;

use super::{App, http};
use crate::hub::Counts;

/// What is hinted to who comes during a drain: another server may take it at once, and this one's
/// successor soon.
const RETRY: Duration = Duration::from_secs(2);
/// Changes of the hub are looked at this often at most.
const LOOK: Duration = Duration::from_millis(100);

/// How far a server is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Far.
    Serving,
    /// It takes nobody new, and ends with the last conversation.
    Draining,
    /// It says goodbye to everybody.
    Stopping,
}

impl Phase {
    /// In the admin API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

impl App {
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the server shuts down.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as `self`.
        let mut phases = self.phase.subscribe();
        let _ = phases.wait_for(|phase| *phase == Phase::Stopping).await;
    }

    /// What somebody new is answered; `None` while the server takes them.
    pub(super) fn refuses_newcomers(&self) -> Option<Response> {
        if self.phase() == Phase::Serving {
            return None;
        }
        self.metrics.refused("draining");
        let text = "this server is about to stop, and takes nobody new; connect again";
        Some(http::come_again(
            StatusCode::SERVICE_UNAVAILABLE,
            text,
            RETRY,
        ))
    }

    /// Takes nobody new, and waits until all conversations are over, at most for so long.
    pub(super) async fn drain(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.phase.send_replace(Phase::Draining);
        info!(
            patience = patience.as_secs_f64(),
            "draining: nobody new is taken, and conversations may end"
        );
        let mut changes = self.switch.changes();
        let over = async {
            while is_busy(&self.switch.counts()) {
                // The switch lives as long as `self`.
                let _ = changes.changed().await;
                sleep_until(Instant::now() + LOOK).await;
            }
        };
        let in_time = timeout_at(deadline, over).await.is_ok();
        info!(in_time, "drained");
    }
}

/// Whether somebody talks with somebody.
const fn is_busy(counts: &Counts) -> bool {
    counts.calls > 0 || counts.rooms > 0 || counts.sessions > 0 || counts.participants > 0
}

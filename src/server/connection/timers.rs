//! What a connection does when time has passed: it looks whether the other side lives, answers for it
//! where the hub asks, and closes who is silent.

use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Message;
use bytes::Bytes;
use tokio::time::Instant;

use super::Connection;
use super::end::{End, close};
use crate::hub::Command;

/// A holder of an id that was heard this recently answers a probe without a ping…
const HEARD_RECENTLY: Duration = Duration::from_secs(1);
/// …but only after this time: the end of its connection may have come, and not be read yet, when the
/// same device comes back on another.
const PROBE_GRACE: Duration = Duration::from_millis(100);

impl Connection {
    /// When [`Self::timeouts`] has something to do at the earliest.
    pub(super) fn deadline(&self) -> Instant {
        let keepalive = match self.pinged {
            // Nothing is read meanwhile, and it has a deadline of its own.
            _ if self.verifying.is_some() => Instant::now() + self.ping_timeout,
            Some(pinged) => pinged + self.ping_timeout,
            None => self.heard + self.ping_after,
        };
        let first_message =
            (!self.spoke).then(|| self.opened + self.app.config.limits.first_message);
        [
            first_message,
            self.held_until,
            self.probe_deadline(),
            self.session_deadline(),
        ]
        .into_iter()
        .flatten()
        .fold(keepalive, Instant::min)
    }

    pub(super) fn session_deadline(&self) -> Option<Instant> {
        self.session.next_timeout().map(Instant::from_std)
    }

    pub(super) fn timeouts(&mut self, now: Instant) -> Result<(), End> {
        self.held_until = self.held_until.filter(|until| *until > now);
        if self.session_deadline().is_some_and(|at| now >= at) {
            self.session
                .handle_timeout(now.into_std(), &mut self.effects);
            self.obey(now)?;
        }
        if self
            .probe_deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.answer_probe();
        }
        if !self.spoke && now >= self.opened + self.app.config.limits.first_message {
            return Err(close(1008, "no message came"));
        }
        match self.pinged {
            _ if self.verifying.is_some() => Ok(()),
            Some(pinged) if now >= pinged + self.ping_timeout => {
                Err(close(1011, "no answer to a ping"))
            }
            None if now >= self.heard + self.ping_after => {
                self.pinged = Some(now);
                self.send(Message::Ping(Bytes::new()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn probe(&mut self, now: Instant) -> Result<(), End> {
        self.probed = Some(now);
        if self.probe_deadline().is_some() {
            return Ok(());
        }
        self.send(Message::Ping(Bytes::new()))
    }

    /// When to answer a probe, if no ping is needed for it.
    fn probe_deadline(&self) -> Option<Instant> {
        let probed = self.probed?;
        // The hub's patience may be shorter.
        let grace = PROBE_GRACE.min(self.app.config.limits.probe / 2);
        (probed < self.heard + HEARD_RECENTLY).then(|| probed + grace)
    }

    pub(super) fn answer_probe(&mut self) {
        self.probed = None;
        self.command(Instant::now(), Command::Alive);
    }
}

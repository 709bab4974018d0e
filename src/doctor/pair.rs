//! A connection of this machine with itself: two sessions as peers have them, joined without a server.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::media::{self, MediaError, Session, SessionConfig, SessionEvent, SessionEvents};
use crate::net::InterfaceRules;

/// How long it may take. On an idle machine it takes 0.2 s.
const PATIENCE: Duration = Duration::from_secs(6);
/// The data channel that shows that the connection is good.
const CHANNEL: &str = "doctor";

/// How it went.
pub(super) enum Pair {
    /// From the first offer to an open data channel.
    Connected(Duration),
    /// Not: why.
    Failed(String),
    /// GStreamer lacks what it takes; that is said elsewhere.
    Untried,
}

/// Connects two sessions over the addresses that media would use.
pub(super) async fn connect(interfaces: InterfaceRules) -> Pair {
    if media::init().is_err() {
        return Pair::Untried;
    }
    let started = Instant::now();
    match timeout(PATIENCE, join(interfaces)).await {
        Ok(Ok(())) => Pair::Connected(started.elapsed()),
        Ok(Err(error)) => Pair::Failed(error.to_string()),
        Err(_) => Pair::Failed(format!("not within {} s", PATIENCE.as_secs())),
    }
}

async fn join(interfaces: InterfaceRules) -> Result<(), MediaError> {
    let config = SessionConfig {
        interfaces,
        ..SessionConfig::default()
    };
    let offering = SessionConfig {
        channels: vec![CHANNEL.to_owned()],
        ..config.clone()
    };
    let (mut one, mut one_events) = Session::start(offering).await?;
    let (mut two, mut two_events) = Session::start(config).await?;
    let offer = one.offer().await?;
    let answer = two.answer(&offer).await?;
    one.accept_answer(&answer).await?;
    let mut open = (false, false);
    while open != (true, true) {
        tokio::select! {
            heard = hear(&mut one_events, &mut two) => open.0 |= heard?,
            heard = hear(&mut two_events, &mut one) => open.1 |= heard?,
        }
    }
    // Both at once, and the verdict needn't wait for them.
    drop((one, two));
    Ok(())
}

/// Carries the next candidate over; whether the channel is open now.
async fn hear(from: &mut SessionEvents, to: &mut Session) -> Result<bool, MediaError> {
    match from.recv().await {
        Some(SessionEvent::Candidate {
            mline_index,
            mid,
            candidate,
        }) => {
            to.add_candidate(mline_index, mid.as_deref(), &candidate);
            Ok(false)
        }
        Some(SessionEvent::ChannelOpen { .. }) => Ok(true),
        Some(SessionEvent::Failed { why }) => Err(MediaError::Run(why)),
        Some(_) => Ok(false),
        None => Err(MediaError::Closed),
    }
}

//! What this machine can do by itself.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::time::timeout;

use super::pair::{self, Pair};
use crate::media::{self, EncoderInfo, Inventory};
use crate::net::InterfaceRules;

/// How long GStreamer may take to load its plugins, the first time after they were installed.
const LOADING: Duration = Duration::from_secs(9);
/// How long all encoders may take to be tried.
const TRIALS: Duration = Duration::from_secs(6);

/// What it can do.
pub(super) struct Machine {
    /// What GStreamer has, or why it doesn't start.
    pub(super) gstreamer: Result<Inventory, Failure>,
    /// Every encoder, tried; or why they weren't.
    pub(super) encoders: Result<Vec<EncoderInfo>, Failure>,
    /// File descriptors of a process: how many it has, and how many it may have.
    pub(super) descriptors: (u64, u64),
    /// A connection with itself.
    pub(super) pair: Pair,
}

/// Why something can't be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It took longer than so many seconds.
    #[error("it took more than {0} s")]
    Slow(u64),
    /// It doesn't work.
    #[error("{0}")]
    Broken(String),
}

/// Looks at it.
pub(super) async fn look(interfaces: InterfaceRules) -> Machine {
    let limit = getrlimit(Resource::Nofile);
    let descriptors = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    let gstreamer = blocking(LOADING, media::inventory).await;
    let gstreamer =
        gstreamer.and_then(|found| found.map_err(|error| Failure::Broken(error.to_string())));
    let (encoders, pair) = match &gstreamer {
        Ok(_) => tokio::join!(
            blocking(TRIALS, media::try_encoders),
            pair::connect(interfaces),
        ),
        Err(why) => (Err(why.clone()), Pair::Untried),
    };
    Machine {
        gstreamer,
        encoders,
        descriptors,
        pair,
    }
}

async fn blocking<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    match timeout(patience, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::Broken(error.to_string())),
        Err(_) => Err(Failure::Slow(patience.as_secs())),
    }
}

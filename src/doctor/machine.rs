//! What this machine can do by itself.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::time::timeout;

use super::pair::{self, Pair};
use crate::media::{self, EncoderInfo, Inventory};
use crate::net::InterfaceRules;

/// How long GStreamer may take to load its plugins, the first time after they were installed.
const LOADING: Duration = Duration::from_secs(6);
/// How long all encoders may take to be tried.
const TRIALS: Duration = Duration::from_secs(8);

/// What it can do.
pub(super) struct Machine {
    /// What GStreamer has, or why it doesn't start.
    pub(super) gstreamer: Result<Inventory, String>,
    /// Every encoder, tried; or why they weren't.
    pub(super) encoders: Result<Vec<EncoderInfo>, String>,
    /// File descriptors of a process: how many it has, and how many it may have.
    pub(super) descriptors: (u64, u64),
    /// A connection with itself.
    pub(super) pair: Pair,
}

/// Looks at it.
pub(super) async fn look(interfaces: InterfaceRules) -> Machine {
    let limit = getrlimit(Resource::Nofile);
    let descriptors = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    let gstreamer = blocking(LOADING, "GStreamer", media::inventory).await;
    let gstreamer = gstreamer.and_then(|found| found.map_err(|error| error.to_string()));
    let (encoders, pair) = match &gstreamer {
        Ok(_) => tokio::join!(
            blocking(TRIALS, "trying the encoders", media::try_encoders),
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
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    match timeout(patience, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} took more than {} s", patience.as_secs())),
    }
}

//! Who is here, printed once for all that want to know, however many there are and however slowly they
//! read.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What stands before a snapshot in an event stream, and behind it.
const EVENT: (&[u8], &[u8]) = (b"data: ", b"\n\n");

/// The last snapshot, and the places of those that follow.
pub(super) struct Snapshots {
    latest: Mutex<Latest>,
    places: Arc<Semaphore>,
}

struct Latest {
    /// Tells whether the event is out of date.
    changes: watch::Receiver<()>,
    event: Option<Bytes>,
}

impl Snapshots {
    /// For at most so many streams at once.
    pub(super) fn new(changes: watch::Receiver<()>, streams: usize) -> Self {
        let latest = Latest {
            changes,
            event: None,
        };
        Self {
            latest: Mutex::new(latest),
            places: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// A place among the streams, if one is free.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// The latest snapshot as an event, printed by `print` if anything changed. All share its memory.
    pub(super) fn event(&self, print: impl FnOnce() -> String) -> Bytes {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stale = latest.changes.has_changed().unwrap_or(true);
        if let Some(event) = latest.event.as_ref().filter(|_| !is_stale) {
            return event.clone();
        }
        // Before the snapshot is made: what changes meanwhile makes it out of date.
        latest.changes.mark_unchanged();
        let event = in_an_event(&print());
        latest.event = Some(event.clone());
        event
    }
}

fn in_an_event(json: &str) -> Bytes {
    let mut event = BytesMut::with_capacity(EVENT.0.len() + json.len() + EVENT.1.len());
    event.extend_from_slice(EVENT.0);
    event.extend_from_slice(json.as_bytes());
    // Where endpoints' own words have line breaks they are blanks, for JSON; but they'd end the event.
    for byte in &mut event[EVENT.0.len()..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    event.extend_from_slice(EVENT.1);
    event.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_again_only_after_a_change() {
        let sender = watch::Sender::new(());
        let snapshots = Snapshots::new(sender.subscribe(), 1);
        let first = snapshots.event(|| "{\"a\":\r\n1}".to_owned());
        assert_eq!(first, "data: {\"a\":  1}\n\n");
        assert_eq!(snapshots.event(|| panic!("nothing changed")), first);
        sender.send_replace(());
        assert_eq!(snapshots.event(|| "2".to_owned()), "data: 2\n\n");
    }

    #[test]
    fn has_so_many_places_and_gets_them_back() {
        let sender = watch::Sender::new(());
        let snapshots = Snapshots::new(sender.subscribe(), 1);
        let first = snapshots.place();
        assert!(first.is_some() && snapshots.place().is_none());
        drop(first);
        assert!(snapshots.place().is_some());
    }
}

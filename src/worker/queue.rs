//! A queue with a bound on its items and a bound on their bytes. Whoever puts something in waits.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What an item weighs beside its bytes.
const ITEM: usize = 64;

#[derive(Debug)]
pub(super) struct Sender<T> {
    items: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bytes: u32,
}

#[derive(Debug)]
pub(super) struct Receiver<T> {
    items: mpsc::Receiver<(T, OwnedSemaphorePermit)>,
}

/// Room for one item.
#[derive(Debug)]
pub(super) struct Place<'a, T> {
    slot: mpsc::Permit<'a, (T, OwnedSemaphorePermit)>,
    weight: OwnedSemaphorePermit,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    Full,
    /// The other end is gone.
    Closed,
}

/// A queue of so many items, and so many bytes beside one item of any size.
pub(super) fn bounded<T>(items: usize, bytes: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(items.max(1));
    let bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
    let sender = Sender {
        items: sender,
        room: Arc::new(Semaphore::new(bytes as usize)),
        bytes,
    };
    (sender, Receiver { items: receiver })
}

impl<T> Sender<T> {
    /// Waits for room; `None` when the other end is gone. Cancel-safe.
    pub(super) async fn reserve(&self, bytes: usize) -> Option<Place<'_, T>> {
        let slot = self.items.reserve().await.ok()?;
        let acquired = self.room.clone().acquire_many_owned(self.weight(bytes));
        tokio::select! {
            biased;
            () = self.items.closed() => None,
            weight = acquired => Some(Place { slot, weight: weight.ok()? }),
        }
    }

    pub(super) fn try_reserve(&self, bytes: usize) -> Result<Place<'_, T>, NoRoom> {
        let slot = self.items.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => NoRoom::Full,
            TrySendError::Closed(()) => NoRoom::Closed,
        })?;
        let acquired = self.room.clone().try_acquire_many_owned(self.weight(bytes));
        let weight = acquired.map_err(|_| NoRoom::Full)?;
        Ok(Place { slot, weight })
    }

    /// Waits until the other end is gone.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }

    fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.saturating_add(ITEM)).map_or(self.bytes, |it| it.min(self.bytes))
    }
}

impl<T> Place<'_, T> {
    pub(super) fn put(self, item: T) {
        self.slot.send((item, self.weight));
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when the other end is gone and nothing is left. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<T> {
        self.items.recv().await.map(|(item, _)| item)
    }

    /// The next item if it is there already.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        self.items.try_recv().ok().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_leave_when_items_do() {
        let (sender, mut receiver) = bounded(2, 1000);
        sender.try_reserve(800).unwrap().put(1);
        assert_eq!(sender.try_reserve(800).unwrap_err(), NoRoom::Full);
        sender.try_reserve(1).unwrap().put(2);
        assert_eq!(sender.try_reserve(1).unwrap_err(), NoRoom::Full);
        assert_eq!(receiver.try_recv(), Some(1));
        sender.try_reserve(800).unwrap().put(3);
        drop(receiver);
        assert_eq!(sender.try_reserve(1).unwrap_err(), NoRoom::Closed);
    }

    #[test]
    fn one_item_may_be_larger_than_the_bound() {
        let (sender, mut receiver) = bounded(9, 10);
        sender.try_reserve(usize::MAX).unwrap().put(());
        assert_eq!(sender.try_reserve(0).unwrap_err(), NoRoom::Full);
        assert_eq!(receiver.try_recv(), Some(()));
        assert!(sender.try_reserve(0).is_ok());
    }

    #[tokio::test]
    async fn a_waiting_sender_goes_on_when_there_is_room_and_when_nobody_is_left() {
        let (sender, mut receiver) = bounded(9, 10);
        sender.try_reserve(10).unwrap().put(());
        let (place, taken) = tokio::join!(sender.reserve(10), receiver.recv());
        assert!(taken.is_some());
        place.unwrap().put(());
        let (place, ()) = tokio::join!(sender.reserve(10), async { drop(receiver) });
        assert!(place.is_none());
    }
}

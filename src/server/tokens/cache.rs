//! The verdicts on tokens that came lately, by the tokens' SHA-256.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Account, TokenError};
use crate::config::Secret;

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

/// What was found out about a token, and until when that holds.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) result: Result<Account, TokenError>,
    pub(super) until: Instant,
}

/// Where the verdict on one token is, or will be.
pub(super) type Place = Arc<OnceCell<Verdict>>;

/// So many places at most; a new one pushes out the oldest.
pub(super) struct Cache {
    most: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    places: HashMap<Digest, (u64, Place)>,
    /// The oldest first.
    ages: BTreeMap<u64, Digest>,
    last: u64,
}

impl Digest {
    pub(super) fn of(token: &Secret) -> Self {
        Self::of_text(token.expose())
    }

    pub(super) fn of_text(text: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }

    /// From 64 hex digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            shelf: Mutex::default(),
        }
    }

    /// The place of a token: one with a verdict that holds still, or one where a verdict is awaited,
    /// or a new one.
    pub(super) fn place(&self, token: Digest, now: Instant) -> Place {
        // Nothing in here can panic half-way.
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = shelf.places.get(&token)
            && place.get().is_none_or(|verdict| now < verdict.until)
        {
            return Arc::clone(place);
        }
        if let Some((age, _)) = shelf.places.remove(&token) {
            shelf.ages.remove(&age);
        }
        while shelf.places.len() >= self.most
            && let Some((_, oldest)) = shelf.ages.pop_first()
        {
            shelf.places.remove(&oldest);
        }
        shelf.last += 1;
        let age = shelf.last;
        let place = Place::default();
        shelf.places.insert(token, (age, Arc::clone(&place)));
        shelf.ages.insert(age, token);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_pushed_out() {
        let cache = Cache::new(2);
        let now = Instant::now();
        let place = |text| cache.place(Digest::of_text(text), now);
        let (a, b) = (place("a"), place("b"));
        assert!(Arc::ptr_eq(&a, &place("a")));
        place("c");
        assert!(Arc::ptr_eq(&b, &place("b")));
        assert!(!Arc::ptr_eq(&a, &place("a")));
        let shelf = cache.shelf.lock().unwrap();
        assert_eq!((shelf.places.len(), shelf.ages.len()), (2, 2));
    }

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::from_hex(hex), Some(Digest::of_text("abc")));
        assert_eq!(Digest::from_hex(&hex.to_uppercase()), Digest::from_hex(hex));
        assert_eq!(Digest::from_hex(&hex[1..]), None);
        assert_eq!(Digest::from_hex(&hex.replace('b', "x")), None);
    }
}

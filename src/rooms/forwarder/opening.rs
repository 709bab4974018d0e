//! New endpoints.

use std::sync::atomic::Ordering;
use std::time::Instant;

use str0m::IceCreds;

use super::super::connection::{ESTIMATE, Opened, open};
use super::super::demux::Held;
use super::super::endpoint::{Endpoint, Incoming};
use super::super::numbers::Numbers;
use super::super::outgoing::Outgoing;
use super::super::sdp::{Offer, Selection, Shape, fit};
use super::super::{EndpointKey, Event, MediaError, RoomKey};
use super::Forwarder;

/// The answer, and the section that the candidates belong to.
pub(super) struct Answer {
    sdp: String,
    mid: String,
    line: u16,
}

impl Forwarder {
    pub(super) fn answer(&self, endpoint: EndpointKey, answer: Result<Answer, MediaError>) {
        let Answer { sdp, mid, line } = match answer {
            Ok(answer) => answer,
            Err(why) => return (self.on_event)(Event::Refused { endpoint, why }),
        };
        (self.on_event)(Event::Answered { endpoint, sdp });
        for candidate in self.addresses.candidates() {
            (self.on_event)(Event::Candidate {
                endpoint,
                mid: mid.clone(),
                line,
                candidate: candidate.to_sdp_string(),
            });
        }
    }

    pub(super) fn publish(
        &mut self,
        now: Instant,
        room: RoomKey,
        key: EndpointKey,
        offer: &str,
        loopback: bool,
    ) -> Result<Answer, MediaError> {
        let offer = Offer::parse(offer)?;
        let pinned = self.rooms.get(&room).and_then(|room| room.pinned.as_ref());
        let selection = offer.published(&self.config.video, pinned)?;
        let opening = Opening {
            room,
            key,
            offer: &offer,
            selection: &selection,
            estimates: false,
            feedback: true,
        };
        let (slot, answer) = self.open(now, &opening)?;
        let back = loopback && selection.lines().any(|line| line.both);
        let fitted = fit(
            &answer,
            &offer,
            &selection,
            &Shape {
                stream: &stream(key),
                sends: back,
                receives: true,
                bitrate: Some(self.config.path()),
            },
        );
        let room = self.rooms.entry(room).or_default();
        room.publishers.push(slot);
        if room.pinned.is_none() {
            room.pinned = selection.video.as_ref().map(|line| line.payload.clone());
        }
        let answered = answered(fitted, &selection);
        if let Some(endpoint) = self.endpoints.get_mut(slot) {
            if back {
                endpoint.outgoing = Some(Outgoing::new(&mut endpoint.rtc, &selection, slot, None));
            }
            endpoint.incoming = Some(Incoming::new(selection, back.then_some(slot), now));
        }
        self.wake(now, slot);
        Ok(answered)
    }

    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        room: RoomKey,
        key: EndpointKey,
        publisher: EndpointKey,
        offer: &str,
    ) -> Result<Answer, MediaError> {
        let publishes = |e: &Endpoint| e.room == room && e.incoming.is_some();
        let from = self.keys.get(&publisher).copied();
        let from = from.filter(|&slot| self.endpoints.get(slot).is_some_and(publishes));
        let Some(from) = from else {
            return Err(MediaError::NoPublisher);
        };
        let offer = Offer::parse(offer)?;
        let incoming = self.endpoints.get(from).and_then(|e| e.incoming.as_ref());
        let Some(incoming) = incoming else {
            return Err(MediaError::NoPublisher);
        };
        let selection = offer.subscribed(&incoming.selection)?;
        let simulcast = incoming.is_simulcast();
        let opening = Opening {
            room,
            key,
            offer: &offer,
            selection: &selection,
            estimates: simulcast,
            feedback: simulcast,
        };
        let (slot, answer) = self.open(now, &opening)?;
        let fitted = fit(
            &answer,
            &offer,
            &selection,
            &Shape {
                stream: &stream(publisher),
                sends: true,
                receives: false,
                bitrate: None,
            },
        );
        if let Some(endpoint) = self.endpoints.get_mut(slot) {
            let estimate = simulcast.then_some(ESTIMATE);
            endpoint.outgoing = Some(Outgoing::new(&mut endpoint.rtc, &selection, from, estimate));
        }
        let publisher = self.endpoints.get_mut(from);
        if let Some(incoming) = publisher.and_then(|e| e.incoming.as_mut()) {
            incoming.subscribers.push(slot);
        }
        self.wake(now, slot);
        Ok(answered(fitted, &selection))
    }

    /// Makes an endpoint and finds it a place.
    fn open(&mut self, now: Instant, opening: &Opening<'_>) -> Result<(usize, String), MediaError> {
        if self.keys.contains_key(&opening.key) {
            return Err(MediaError::Exists);
        }
        let limit = self.config.endpoints;
        let place = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            });
        if place.is_err() {
            return Err(MediaError::Full(limit));
        }
        let slot = self.endpoints.vacant_key();
        let (credentials, held) = self.credentials(slot);
        let opened = open(
            &self.common,
            self.addresses.candidates(),
            credentials,
            opening.offer,
            opening.selection,
            opening.estimates,
            opening.feedback,
        );
        let Opened { rtc, answer } = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.demux.remove(&held);
                self.taken.fetch_sub(1, Ordering::Relaxed);
                return Err(why);
            }
        };
        let mut endpoint = Endpoint::new(
            (opening.key, opening.room),
            rtc,
            held,
            self.addresses(),
            opening.selection,
            now,
        );
        endpoint.numbers = Numbers::new(opening.offer.text());
        self.keys.insert(opening.key, slot);
        Ok((self.endpoints.insert(endpoint), answer))
    }

    /// A user name fragment that nobody here has, and that leads to this thread. There are 62^12, so
    /// this ends.
    fn credentials(&mut self, slot: usize) -> (IceCreds, Held) {
        loop {
            let mut credentials = IceCreds::new();
            credentials.ufrag = super::super::fragment_of(self.thread, &credentials.ufrag);
            if let Some(held) = self.demux.add(&credentials.ufrag, slot) {
                return (credentials, held);
            }
        }
    }
}

struct Opening<'a> {
    room: RoomKey,
    key: EndpointKey,
    offer: &'a Offer,
    selection: &'a Selection,
    estimates: bool,
    feedback: bool,
}

fn answered(sdp: String, selection: &Selection) -> Answer {
    let first = selection.lines().min_by_key(|line| line.index);
    Answer {
        sdp,
        mid: first.map(|line| line.mid.clone()).unwrap_or_default(),
        line: first.map_or(0, |line| line.index as u16),
    }
}

/// The id of the stream that a subscriber sees of a publisher.
fn stream(publisher: EndpointKey) -> String {
    format!("publisher-{}", publisher.0)
}

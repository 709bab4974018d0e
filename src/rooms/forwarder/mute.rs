//! Publishers whose sound or picture isn't passed on for a while.

use std::time::Instant;

use super::super::EndpointKey;
use super::super::endpoint::Muted;
use super::super::outgoing::Packet;
use super::Forwarder;

impl Forwarder {
    /// Passes on a publisher's sound and picture, or not. What was left out doesn't look lost to its
    /// subscribers, and the picture comes back with a keyframe.
    pub(super) fn mute(&mut self, now: Instant, key: EndpointKey, muted: Muted) {
        let slot = self.keys.get(&key).copied();
        let found = slot.and_then(|slot| Some((slot, self.endpoints.get_mut(slot)?)));
        let Some((slot, incoming)) = found.and_then(|(at, it)| Some((at, it.incoming.as_mut()?)))
        else {
            return;
        };
        let before = std::mem::replace(&mut incoming.muted, muted);
        let (audio, video) = (before.audio && !muted.audio, before.video && !muted.video);
        for subscriber in incoming.subscribers.clone() {
            self.touch(subscriber, |endpoint| {
                if let Some(outgoing) = &mut endpoint.outgoing {
                    outgoing.go_on(audio, video);
                }
                // Nothing is to be measured for, until layers are chosen again.
                if muted.video && endpoint.is_paced() {
                    endpoint.desire(0);
                }
            });
        }
        if video {
            self.ask_keyframe(now, slot, None);
        }
    }

    /// Asks again for a keyframe that a subscriber waits for: the request, too, may be lost.
    pub(super) fn ask_again(&mut self, now: Instant, slot: usize) {
        let Some(incoming) = self.endpoints.get(slot).and_then(|e| e.incoming.as_ref()) else {
            return;
        };
        let waits = |slot: &usize| {
            let outgoing = self.endpoints.get(*slot).and_then(|e| e.outgoing.as_ref());
            outgoing.is_some_and(|outgoing| outgoing.awaits_keyframe)
        };
        if incoming.subscribers.iter().any(waits) {
            self.ask_keyframe(now, slot, None);
        }
    }
}

impl Muted {
    /// Whether a packet isn't passed on.
    pub(super) fn holds(self, packet: &Packet<'_>) -> bool {
        match packet.layer {
            Some(_) => self.video,
            None => self.audio,
        }
    }
}

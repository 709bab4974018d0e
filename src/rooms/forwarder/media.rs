//! What endpoints say, and who hears it.

use std::time::{Duration, Instant};

use str0m::rtp::{RtpPacket, Vp8Descriptor};

use super::super::Event;
use super::super::endpoint::{Endpoint, Happened, Incoming};
use super::super::layers::PERIOD;
use super::super::outgoing::Packet;
use super::super::video::begins_keyframe;
use super::Forwarder;

/// How often a publisher is told its limit. Once would do, if nothing got lost.
const REMIND: Duration = Duration::from_secs(1);
/// What is asked of the path above the best layer, in percent: the room that rising needs.
const DESIRE: u64 = 130;

impl Forwarder {
    pub(super) fn happened(&mut self, now: Instant, slot: usize, what: Happened) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        match what {
            Happened::Connected => {
                let (checks, handshake) = endpoint.connect(now);
                let publisher = endpoint.outgoing.as_ref().map(|o| o.publisher);
                (self.on_event)(Event::Connected {
                    endpoint: endpoint.key,
                    checks,
                    handshake,
                });
                if let Some(publisher) = publisher {
                    self.ask_keyframe(now, publisher, None);
                }
            }
            Happened::IceDown(down) => endpoint.ice_down = down && endpoint.connected,
            Happened::Packet(rtp) => self.forward(now, slot, &rtp),
            Happened::KeyframeWanted => {
                if let Some(outgoing) = &endpoint.outgoing {
                    let (publisher, layer) = (outgoing.publisher, outgoing.layer);
                    self.ask_keyframe(now, publisher, layer);
                }
            }
            Happened::Estimate(estimate) => {
                if let Some(outgoing) = &mut endpoint.outgoing {
                    outgoing.estimate = Some(estimate);
                }
            }
            Happened::Begin(peer) => endpoint.reports.begin(&peer),
            Happened::Received(stats) => endpoint.reports.received(&stats),
            Happened::Sent(stats) => endpoint.reported(now, &stats),
            Happened::ChannelOpen(id, label) => endpoint.channels.open(id, label),
            Happened::ChannelClosed(id) => endpoint.channels.closed(id),
            Happened::ChannelData(id, binary, data) => {
                if let Some(label) = endpoint.channels.says(id) {
                    let label = label.to_owned();
                    self.relay(slot, &label, binary, &data);
                }
            }
        }
    }

    /// A subscriber's regular duties: a keyframe to go on with, where its video pauses.
    pub(super) fn tend_subscriber(&mut self, now: Instant, slot: usize) {
        let Some(outgoing) = self
            .endpoints
            .get_mut(slot)
            .and_then(|e| e.outgoing.as_mut())
        else {
            return;
        };
        if outgoing.strain.asks(now) {
            let (publisher, layer) = (outgoing.publisher, outgoing.choice.wanted());
            self.ask_keyframe(now, publisher, layer);
        }
    }

    /// A publisher's regular duties: its limit, its layers, and keyframes that had to wait.
    pub(super) fn tend_publisher(&mut self, now: Instant, slot: usize) {
        let limit = self.config.path();
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        let Some(incoming) = &mut endpoint.incoming else {
            return;
        };
        let simulcast = incoming.is_simulcast();
        if now >= incoming.next_tick {
            incoming.next_tick = now + if simulcast { PERIOD } else { REMIND };
            let remind = now >= incoming.reminded + REMIND;
            if let Some(ssrc) = incoming.layers.first().map(|l| l.ssrc).filter(|_| remind) {
                incoming.reminded = now;
                endpoint.limit(ssrc, limit);
            }
            if simulcast {
                self.choose_layers(now, slot);
            }
            self.ask_again(now, slot);
        }
        self.fire_keyframes(now, slot);
    }

    fn forward(&mut self, now: Instant, slot: usize, rtp: &RtpPacket) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        endpoint.numbers.came(rtp.header.ext_vals.transport_cc);
        let Some(packet) = classify(endpoint, rtp) else {
            return;
        };
        endpoint.counts.packets_in += 1;
        endpoint.counts.bytes_in += rtp.payload.len() as u64;
        endpoint.flows(now);
        let Some(incoming) = &mut endpoint.incoming else {
            return;
        };
        if incoming.muted.holds(&packet) {
            return;
        }
        let subscribers = std::mem::take(&mut incoming.subscribers);
        for &subscriber in &subscribers {
            self.touch(subscriber, |e| e.forward(now, &packet));
        }
        if let Some(incoming) = self
            .endpoints
            .get_mut(slot)
            .and_then(|e| e.incoming.as_mut())
        {
            incoming.subscribers = subscribers;
        }
        if packet.needs_keyframe {
            self.ask_keyframe(now, slot, packet.layer);
        }
    }

    /// Asks a publisher for a keyframe of one layer, or of all.
    pub(super) fn ask_keyframe(&mut self, now: Instant, slot: usize, layer: Option<usize>) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        // Of a picture that nobody gets, none is needed.
        let incoming = endpoint.incoming.as_mut().filter(|it| !it.muted.video);
        let Some(incoming) = incoming else {
            return;
        };
        for (index, each) in incoming.layers.iter_mut().enumerate() {
            if layer.is_none_or(|layer| layer == index) {
                each.keyframes.ask();
            }
        }
        self.fire_keyframes(now, slot);
        if let Some(endpoint) = self.endpoints.get(slot) {
            let due = endpoint.due(now, self.config.connect, super::SILENCE);
            self.timers.set(slot, due);
        }
    }

    fn fire_keyframes(&mut self, now: Instant, slot: usize) {
        self.touch(slot, |endpoint| {
            let layers = endpoint.incoming.as_mut().map(|i| i.layers.iter_mut());
            let due: Vec<_> = layers
                .into_iter()
                .flatten()
                .filter_map(|layer| layer.keyframes.fire(now).then_some(layer.ssrc))
                .collect();
            for ssrc in due {
                endpoint.request_keyframe(ssrc);
            }
        });
    }

    /// Measures a publisher's layers, and chooses for each of its subscribers.
    fn choose_layers(&mut self, now: Instant, slot: usize) {
        let Some(incoming) = self
            .endpoints
            .get_mut(slot)
            .and_then(|e| e.incoming.as_mut())
        else {
            return;
        };
        let rates: Vec<u64> = incoming
            .layers
            .iter_mut()
            .map(|layer| {
                layer.meter.tick();
                layer.meter.rate()
            })
            .collect();
        if incoming.muted.video {
            return;
        }
        let desired = rates.iter().max().map_or(0, |best| best * DESIRE / 100);
        let mut wanted = Vec::new();
        for subscriber in incoming.subscribers.clone() {
            self.touch(subscriber, |endpoint| {
                let Some(outgoing) = &mut endpoint.outgoing else {
                    return;
                };
                let estimate = outgoing.estimate.unwrap_or(u64::MAX);
                let settles = outgoing.settling.is_on(now);
                outgoing.choice.choose(now, &rates, estimate, settles);
                let choice = outgoing.choice.wanted();
                if choice != outgoing.layer && !wanted.contains(&choice) {
                    wanted.push(choice);
                }
                let missing = outgoing.choice.is_missing(&rates);
                let retries = outgoing.retry.fires(now, missing);
                let held = outgoing.layer.and_then(|layer| rates.get(layer).copied());
                let held = held.filter(|held| *held > estimate && outgoing.settling.fires(now));
                if outgoing.estimate.is_some() {
                    endpoint.desire(desired);
                    if let Some(held) = held {
                        endpoint.measure_anew(held * DESIRE / 100);
                    } else if retries {
                        endpoint.measure_anew(estimate);
                    }
                }
            });
        }
        for layer in wanted.into_iter().flatten() {
            self.ask_keyframe(now, slot, Some(layer));
        }
    }

    /// Passes a data channel's message on to the room's other publishers with a channel of that name.
    /// Who has no room for it misses it.
    fn relay(&mut self, from: usize, label: &str, binary: bool, data: &[u8]) {
        let Some(endpoint) = self.endpoints.get(from).filter(|e| e.incoming.is_some()) else {
            return;
        };
        let Some(room) = self.rooms.get(&endpoint.room) else {
            return;
        };
        for slot in room.publishers.clone() {
            if slot != from {
                self.touch(slot, |endpoint| {
                    if let Some(id) = endpoint.channels.hears(label) {
                        endpoint.write(id, binary, data);
                    }
                });
            }
        }
    }
}

/// What a publisher's packet is. None: nothing that is forwarded.
fn classify<'a>(endpoint: &mut Endpoint, rtp: &'a RtpPacket) -> Option<Packet<'a>> {
    let incoming = endpoint.incoming.as_ref()?;
    let pt = *rtp.header.payload_type;
    let audio = incoming.selection.audio.as_ref().map(|l| l.payload.pt);
    if audio == Some(pt) {
        return Some(Packet::audio(rtp));
    }
    let video = incoming.selection.video.as_ref();
    if video.is_none_or(|line| line.payload.pt != pt) {
        return None;
    }
    let simulcast = incoming.is_simulcast();
    let known = incoming.layers.iter().any(|l| l.ssrc == rtp.header.ssrc);
    let layer = endpoint.layer(rtp.header.ssrc)?;
    let incoming: &mut Incoming = endpoint.incoming.as_mut()?;
    let payload = &incoming.selection.video.as_ref()?.payload;
    let keyframe = begins_keyframe(payload, &rtp.payload);
    let vp8 = (simulcast && payload.name.eq_ignore_ascii_case("vp8"))
        .then(|| Vp8Descriptor::parse(&rtp.payload).ok())
        .flatten();
    incoming.layers[layer].meter.add(rtp.payload.len());
    Some(Packet {
        rtp,
        layer: Some(layer),
        keyframe,
        simulcast,
        vp8,
        // A publisher that shares its encoder begins in the middle.
        needs_keyframe: !known && !keyframe,
    })
}

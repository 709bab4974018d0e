//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): the other side says
//! when each packet arrived, and an estimator says what the path takes.
//!
//! webrtcbin numbers the packets and reads the reports; it tells of them by events that go upstream
//! through the auxiliary sender of each transport. Ours is an element that does nothing, with a probe.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::{WebRTCDTLSTransport, WebRTCRTPSender, WebRTCRTPTransceiver};

use crate::media::Kind;
use crate::media::congestion::{Estimator, Packet, Report, Retransmissions};
use crate::media::guard;

/// The element that writes a packet's number.
pub(in crate::media) const ELEMENT: &str = "rtphdrexttwcc";
/// The extension's id in our own offers, as Chromium and others number it.
pub(super) const OFFERED_ID: u8 = 3;
/// Who doesn't give feedback for so long after the first packet never will.
const PATIENCE: Duration = Duration::from_secs(5);
/// Feedback that stops for so long won't come back.
const GONE: Duration = Duration::from_secs(60);
/// The id that nothing is negotiated for, and that everybody ignores.
const NO_ID: u8 = 14;
/// The part of a path that is left for payload.
const PAYLOAD: f64 = 0.95;
/// What sound takes, with its headers, in bits per second.
const SOUND: u64 = 90_000;
/// The least that is left for a stream of pictures, in bits per second.
const PICTURES: u64 = 100_000;
/// What a packet that is sent again is taken to weigh, in bytes.
const PACKET: usize = 1250;

/// Whether feedback can be asked for on this machine.
pub(in crate::media) fn is_possible() -> bool {
    gst::ElementFactory::find(ELEMENT).is_some()
}

/// The transports of a session.
#[derive(Debug, Default)]
pub(in crate::media) struct Paths {
    /// By their transports, without keeping these alive.
    paths: Mutex<Vec<(glib::WeakRef<WebRTCDTLSTransport>, Arc<Path>)>>,
    /// What to start with, in bits per second.
    seed: AtomicU64,
    videos: AtomicUsize,
    sounds: AtomicUsize,
}

/// One transport.
#[derive(Debug, Default)]
struct Path {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    estimator: Estimator,
    retransmissions: Retransmissions,
    /// When the first packet left.
    first: Option<Duration>,
    /// When the last feedback came.
    heard: Option<Duration>,
    /// It won't come any more.
    deaf: bool,
    /// Retransmissions that were refused.
    refused: u64,
}

impl Paths {
    /// Listens to every transport that webrtcbin makes.
    pub(super) fn listen(webrtc: &gst::Element) -> Arc<Self> {
        let paths = Arc::new(Self::default());
        let shared = paths.clone();
        webrtc.connect("request-aux-sender", false, move |values| {
            let transport = values.get(1)?.get::<WebRTCDTLSTransport>().ok()?;
            let element = gst::ElementFactory::make("identity")
                .property("silent", true)
                .build()
                .ok()?;
            let path = Arc::new(Path::default());
            path.attach(&element.static_pad("src")?);
            path.lock()
                .estimator
                .seed(shared.seed.load(Ordering::SeqCst));
            let mut paths = shared.paths.lock().unwrap_or_else(PoisonError::into_inner);
            paths.push((transport.downgrade(), path));
            Some(element.to_value())
        });
        paths
    }

    /// Another stream shares the session's paths.
    pub(super) fn share(&self, kind: Kind) {
        match kind {
            Kind::Video => self.videos.fetch_add(1, Ordering::SeqCst),
            Kind::Audio => self.sounds.fetch_add(1, Ordering::SeqCst),
        };
    }

    fn sound(&self) -> u64 {
        SOUND * self.sounds.load(Ordering::SeqCst) as u64
    }

    fn videos(&self) -> u64 {
        (self.videos.load(Ordering::SeqCst) as u64).max(1)
    }

    /// One stream's part of all that may be sent.
    fn part(&self, target: u64) -> u64 {
        let payload = (target as f64 * PAYLOAD) as u64;
        (payload.saturating_sub(self.sound()) / self.videos()).max(PICTURES)
    }

    /// The opposite of [`Self::part`].
    fn whole(&self, part: u32) -> u64 {
        let payload = u64::from(part) * self.videos() + self.sound();
        (payload as f64 / PAYLOAD) as u64
    }

    fn of(&self, transceiver: &WebRTCRTPTransceiver) -> Option<Arc<Path>> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if let [(_, only)] = paths.as_slice() {
            return Some(only.clone());
        }
        let sender = transceiver.property::<Option<WebRTCRTPSender>>("sender")?;
        let transport = sender.property::<Option<WebRTCDTLSTransport>>("transport")?;
        let mut found = paths
            .iter()
            .filter(|(known, _)| known.upgrade().as_ref() == Some(&transport));
        found.next().map(|(_, path)| path.clone())
    }
}

/// A stream's way to its viewer.
#[derive(Debug, Clone)]
pub(in crate::media) struct Way {
    pub(super) paths: Arc<Paths>,
    pub(super) transceiver: WebRTCRTPTransceiver,
}

impl Way {
    /// What the whole way takes, in bits per second; `None` without feedback.
    pub(in crate::media) fn estimate(&self) -> Option<u64> {
        let path = self.paths.of(&self.transceiver)?;
        let inner = path.lock();
        inner.heard.map(|_| inner.estimator.estimate())
    }

    /// What this one stream may take.
    pub(in crate::media) fn report(&self) -> Report {
        let Some(path) = self.paths.of(&self.transceiver) else {
            return Report::default();
        };
        let now = now();
        let mut inner = path.lock();
        let expected = inner
            .first
            .is_none_or(|first| now.saturating_sub(first) < PATIENCE);
        if inner.deaf || inner.heard.is_none() && !expected {
            return Report::default();
        }
        if inner.heard.is_some() {
            inner.estimator.sending(now);
        }
        Report {
            target: Some(self.paths.part(inner.estimator.target())),
            steady: self.paths.part(inner.estimator.estimate()),
            limited: inner.estimator.is_limited() && !inner.estimator.is_congested(now),
        }
    }

    /// Starts with so much for this stream if nothing is known of the way yet.
    pub(in crate::media) fn seed(&self, bits_per_second: u32) {
        let whole = self.paths.whole(bits_per_second);
        self.paths.seed.store(whole, Ordering::SeqCst);
        if let Some(path) = self.paths.of(&self.transceiver) {
            path.lock().estimator.seed(whole);
        }
    }

    /// Tries so much for this stream.
    pub(in crate::media) fn assume(&self, bits_per_second: u32) {
        if let Some(path) = self.paths.of(&self.transceiver) {
            path.lock()
                .estimator
                .assume(self.paths.whole(bits_per_second));
        }
    }

    /// How long packets wait on it.
    pub(in crate::media) fn queue(&self) -> Option<Duration> {
        let path = self.paths.of(&self.transceiver)?;
        let queue = path.lock().estimator.queue();
        Some(queue)
    }
}

impl Path {
    fn attach(self: &Arc<Self>, pad: &gst::Pad) {
        let path = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let Some(gst::PadProbeData::Event(event)) = &info.data else {
                return gst::PadProbeReturn::Ok;
            };
            let (Some(path), Some(structure)) = (path.upgrade(), event.structure()) else {
                return gst::PadProbeReturn::Ok;
            };
            match structure.name().as_str() {
                "RTPTWCCPackets" => path.hear(structure),
                "GstRTPRetransmissionRequest" if !path.may_send_again() => {
                    // Not `Drop`: with that one the bindings leave GStreamer a NULL event to unref.
                    return gst::PadProbeReturn::Handled;
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        let path = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(path) = path.upgrade() else {
                return gst::PadProbeReturn::Remove;
            };
            if let (true, Some(buffer)) = (path.is_deaf(), info.buffer_mut()) {
                forget_number(buffer.make_mut());
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Whether the other side doesn't say what arrived, though a packet was sent. webrtcbin 1.22 keeps
    /// every number that it sent until it is told of, so that there must be no more.
    fn is_deaf(&self) -> bool {
        let mut inner = self.lock();
        let now = now();
        let first = *inner.first.get_or_insert(now);
        let (since, patience) = match inner.heard {
            Some(heard) => (heard, GONE),
            None => (first, PATIENCE),
        };
        if !inner.deaf && now.saturating_sub(since) > patience {
            inner.deaf = true;
            inner.heard = None;
            tracing::info!("the other side doesn't say what arrives; its bit rate stays constant");
        }
        inner.deaf
    }

    fn hear(&self, report: &gst::StructureRef) {
        let Ok(packets) = report.get::<glib::ValueArray>("packets") else {
            return;
        };
        let packets: Vec<Packet> = packets
            .iter()
            .filter_map(|value| value.get::<gst::Structure>().ok())
            .filter_map(|structure| packet(&structure))
            .collect();
        let now = now();
        let mut inner = self.lock();
        inner.heard = Some(now);
        let lost = packets.iter().filter(|it| it.arrived.is_none()).count();
        inner.retransmissions.lost(lost);
        inner.estimator.feedback(now, packets);
        tracing::trace!(
            estimate = inner.estimator.estimate(),
            target = inner.estimator.target(),
            queue = ?inner.estimator.queue(),
            refused = inner.refused,
            "feedback"
        );
    }

    /// Whether a lost packet may be sent again. Where a queue stands, sending again what it pushed out
    /// only keeps it full.
    fn may_send_again(&self) -> bool {
        let mut inner = self.lock();
        if inner.heard.is_none() {
            return true;
        }
        let now = now();
        let estimate = inner.estimator.estimate();
        let congested = inner.estimator.is_congested(now);
        let may = inner.retransmissions.pass(now, PACKET, estimate, congested);
        inner.refused += u64::from(!may);
        may
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the number in a packet an id that webrtcbin doesn't look for (RFC 8285 section 4.2). It is the
/// only extension that our payloaders write.
fn forget_number(packet: &mut gst::BufferRef) {
    let Ok(mut map) = packet.map_writable() else {
        return;
    };
    let has_extension = map.first().is_some_and(|first| first & 0x10 != 0);
    let sources = usize::from(map.first().map_or(0, |first| first & 0x0f));
    let start = 12 + 4 * sources;
    if let Some([0xbe, 0xde, _, _, number, ..]) = map.get_mut(start..).filter(|_| has_extension) {
        *number = NO_ID << 4 | *number & 0x0f;
    }
}

/// A packet of which we still know when it was sent.
fn packet(structure: &gst::StructureRef) -> Option<Packet> {
    let sent = structure.get::<gst::ClockTime>("local-ts").ok()?;
    let lost = structure.get::<bool>("lost").ok()?;
    let arrived = structure.get::<gst::ClockTime>("remote-ts").ok();
    let bytes = structure.get::<u32>("size").ok()?;
    Some(Packet {
        sent: sent.into(),
        arrived: arrived.filter(|_| !lost).map(Into::into),
        bytes: usize::try_from(bytes).ok()?,
    })
}

fn now() -> Duration {
    guard::clock().time().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_nobody_answers_to_is_no_longer_found() {
        crate::media::init().unwrap();
        let bytes = |id: u8| {
            let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
            packet.extend([0xbe, 0xde, 0, 1, id << 4 | 1, 0x12, 0x34, 0, 1, 2, 3]);
            packet
        };
        let mut packet = gst::Buffer::from_slice(bytes(OFFERED_ID));
        forget_number(packet.make_mut());
        assert_eq!(packet.map_readable().unwrap().as_slice(), bytes(NO_ID));
        for plain in [vec![], vec![0x80; 12], vec![0x9f; 30]] {
            let mut packet = gst::Buffer::from_slice(plain.clone());
            forget_number(packet.make_mut());
            assert_eq!(packet.map_readable().unwrap().as_slice(), plain);
        }
    }

    #[test]
    fn a_stream_gets_its_part_of_the_path() {
        crate::media::init().unwrap();
        let paths = Arc::new(Paths::default());
        for kind in [Kind::Video, Kind::Video, Kind::Audio] {
            paths.share(kind);
        }
        assert_eq!(paths.part(2_000_000), (1_900_000 - SOUND) / 2);
        assert_eq!(paths.part(1000), PICTURES);
        assert!(paths.whole(905_000).abs_diff(2_000_000) <= 1);
    }
}

//! Looks after a session from time to time: warns when media doesn't come, and takes samples for the
//! metrics and the log. Once a second at most, and never on a thread that carries media.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gst::glib::WeakRef;
use gstreamer as gst;
use tokio::time::{MissedTickBehavior, interval};

use super::jitter::{InboundStats, JitterBuffers};
use super::promise;
use super::stats::{Outbound, Reply, Sent};
use super::witness::Witness;
use crate::media::Kind;
use crate::media::metrics::{self, Share};

/// How often it looks for what takes too long.
const TICK: Duration = Duration::from_secs(1);
/// So many of them make a sample.
const SAMPLE: u32 = 5;
/// From this share of lost or late packets on, of a hundred, a sample is worth an info line.
const BAD_LOSS: u64 = 5;

/// What one session's samples are compared with.
struct Sampler {
    witness: Arc<Witness>,
    jitter: JitterBuffers,
    sent: HashMap<u32, Before>,
    received: HashMap<&'static str, InboundStats>,
    retransmitted: u64,
    arrived: u64,
    estimate: Option<Share>,
    target: Option<Share>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Before {
    outbound: Outbound,
    frames: u64,
}

/// Runs until it is aborted, with the session.
pub(super) async fn run(
    webrtc: WeakRef<gst::Element>,
    jitter: JitterBuffers,
    witness: Arc<Witness>,
) {
    let mut sampler = Sampler::new(jitter, witness);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1_u32.. {
        ticks.tick().await;
        // A warning about media that doesn't come needs to know whether packets do.
        if sampler.witness.is_impatient() || tick.is_multiple_of(SAMPLE) {
            let Some(webrtc) = webrtc.upgrade() else {
                return;
            };
            let reply = ask(&webrtc).await;
            drop(webrtc);
            if let Some(reply) = reply {
                sampler.sample(&reply);
            }
        }
        sampler.witness.warn();
    }
}

async fn ask(webrtc: &gst::Element) -> Option<Reply> {
    let reply = promise::statistics(webrtc).await;
    let reply = reply.inspect_err(|error| tracing::debug!(%error, "no statistics"));
    reply.ok()
}

impl Sampler {
    fn new(jitter: JitterBuffers, witness: Arc<Witness>) -> Self {
        let share = |sum: fn(&metrics::Instruments) -> Share| witness.instruments().map(sum);
        Self {
            estimate: share(|it| Share::new(&it.estimate)),
            target: share(|it| Share::new(&it.target)),
            witness,
            jitter,
            sent: HashMap::new(),
            received: HashMap::new(),
            retransmitted: 0,
            arrived: 0,
        }
    }

    fn sample(&mut self, reply: &Reply) {
        self.witness.look(reply);
        let streams = self.witness.streams();
        for stream in &streams {
            self.sample_sent(stream, reply);
        }
        let retransmitted = reply.retransmitted(&streams);
        if let Some(it) = self.witness.instruments() {
            let news = retransmitted.saturating_sub(self.retransmitted);
            it.retransmitted.inc_by(news);
        }
        self.retransmitted = retransmitted;
        let arrived = reply.arrived_bytes();
        if let Some(it) = self.witness.instruments() {
            let news = arrived.saturating_sub(self.arrived);
            it.received_bytes.inc_by(news);
        }
        self.arrived = arrived;
        let qualities = || streams.iter().map(|stream| stream.meter.quality());
        if let (Some(estimate), Some(target)) = (&mut self.estimate, &mut self.target) {
            // It is for all streams together.
            estimate.set(qualities().find_map(|it| it.estimate).unwrap_or_default());
            target.set(qualities().filter_map(|it| it.target).sum());
        }
        for inbound in self.jitter.stats() {
            self.sample_received(inbound);
        }
    }

    fn sample_sent(&mut self, stream: &Sent, reply: &Reply) {
        let (outbound, frames) = (reply.outbound(stream.ssrc), stream.meter.total());
        let now = Before { outbound, frames };
        let before = self.sent.insert(stream.ssrc, now).unwrap_or_default();
        let lost = outbound
            .lost
            .max(0)
            .saturating_sub(before.outbound.lost.max(0));
        let sent = metrics::Sent {
            frames: frames.saturating_sub(before.frames),
            packets: outbound.packets.saturating_sub(before.outbound.packets),
            bytes: outbound.bytes.saturating_sub(before.outbound.bytes),
            lost: u64::try_from(lost).unwrap_or_default(),
        };
        let kind = stream.codec.kind();
        if let Some(it) = self.witness.instruments() {
            it.sent(kind, sent, outbound.round_trip);
        }
        let (peer, stream) = (self.witness.name(), stream.stream_id.as_str());
        let metrics::Sent {
            frames,
            packets,
            bytes,
            lost,
        } = sent;
        macro_rules! say {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    peer,
                    stream,
                    kind = kind.name(),
                    frames,
                    packets,
                    bytes,
                    lost,
                    round_trip = outbound.round_trip,
                    $text
                )
            };
        }
        match is_bad(lost, packets) {
            true => say!(info, "the other side misses much of what is sent"),
            false => say!(debug, "sent"),
        }
    }

    fn sample_received(&mut self, inbound: InboundStats) {
        let kind: Kind = inbound.kind;
        let before = self.received.insert(kind.name(), inbound);
        let since = |of: fn(&InboundStats) -> u64| {
            of(&inbound).saturating_sub(before.as_ref().map_or(0, of))
        };
        let received = metrics::Received {
            packets: since(|it| it.packets),
            lost: since(|it| it.lost),
            late: since(|it| it.late),
            duplicate: since(|it| it.duplicates),
        };
        if let Some(it) = self.witness.instruments() {
            it.received(kind, received, inbound.jitter);
        }
        let peer = self.witness.name();
        let metrics::Received {
            packets,
            lost,
            late,
            duplicate,
        } = received;
        let jitter_ms = inbound.jitter.as_millis();
        macro_rules! say {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    peer,
                    kind = kind.name(),
                    packets,
                    lost,
                    late,
                    duplicate,
                    jitter_ms,
                    $text
                )
            };
        }
        match (is_bad(late, packets), is_bad(lost, packets)) {
            (true, _) => say!(
                info,
                "many packets come too late; a longer --latency would keep them"
            ),
            (false, true) => say!(info, "many packets are lost"),
            (false, false) => say!(debug, "received"),
        }
    }
}

/// Whether too many were lost of those that passed.
const fn is_bad(lost: u64, passed: u64) -> bool {
    lost * 100 > BAD_LOSS * (passed + lost)
}

//! Statistics, out of webrtcbin's `get-stats` (W3C webrtc-stats, in GStreamer's 1.22 dress).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::glib;
use gstreamer as gst;

use super::jitter::InboundStats;
use super::meter::{FrameAge, Meter};
use super::witness::Phases;
use crate::media::{Codec, Rung};

/// How a session is doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Each stream that we send.
    pub outbound: Vec<OutboundStats>,
    /// Packets received from the other side since the start.
    pub received_packets: u64,
    /// Bytes received from the other side since the start, with RTP headers.
    pub received_bytes: u64,
    /// Packets that we sent once more.
    pub retransmitted_packets: u64,
    /// What the jitter buffers did with each kind of media that is received.
    pub inbound: Vec<InboundStats>,
    /// How long received packets wait for late ones.
    pub receive_latency: Duration,
    /// How long the phases of the session's beginning took.
    pub phases: Phases,
    /// The kind of the local candidate in use: `host`, `srflx`, `prflx`, `relay`. Empty if not told.
    pub local_candidate: String,
    /// The kind of the remote candidate in use.
    pub remote_candidate: String,
}

/// How one stream that we send is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundStats {
    /// The media stream's id.
    pub stream_id: String,
    /// The codec.
    pub codec: Codec,
    /// Packets sent since the start.
    pub packets: u64,
    /// Bytes sent since the start, without RTP headers.
    pub bytes: u64,
    /// Bits per second since the last call; 0 at the first.
    pub bitrate: u64,
    /// Packets that the other side misses, by its own reports.
    pub lost: i64,
    /// Interarrival jitter that the other side reports, in seconds.
    pub jitter: f64,
    /// Round-trip time, in seconds; 0 before the first report.
    pub round_trip: f64,
    /// Packets that the other side asked for again.
    pub nacks: u64,
    /// Pictures that the other side asked for.
    pub picture_requests: u64,
    /// How old the frames were when they left, since the last call.
    pub frame_age: FrameAge,
    /// Frames per second since the last call; 0 at the first.
    pub frame_rate: f64,
    /// What the network takes to this viewer, in bits per second, for all that we send together;
    /// `None` as long as the other side gives no feedback.
    pub estimate: Option<u64>,
    /// What the encoder aims at, in bits per second; `None` for media that was encoded already.
    pub target_bitrate: Option<u64>,
    /// The width and height of the picture as it is sent, if known.
    pub picture_size: Option<(u32, u32)>,
    /// By which of its source's encoders the viewer is served.
    pub rung: Rung,
}

/// What the bit rate is computed from.
#[derive(Debug, Default)]
pub(super) struct Previous {
    at: Option<Instant>,
    bytes: HashMap<u32, u64>,
}

impl Previous {
    /// Bits per second of a stream since the last time.
    fn rate(&mut self, ssrc: u32, bytes: u64, elapsed: Option<Duration>) -> u64 {
        let before = self.bytes.insert(ssrc, bytes);
        let (Some(before), Some(elapsed)) = (before, elapsed) else {
            return 0;
        };
        let bits = u128::from(bytes.saturating_sub(before)) * 8;
        let millis = elapsed.as_millis().max(1);
        u64::try_from(bits * 1000 / millis).unwrap_or(u64::MAX)
    }
}

/// A stream of ours as the session knows it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) ssrc: u32,
    pub(super) codec: Codec,
    pub(super) stream_id: String,
    pub(super) meter: Arc<Meter>,
}

/// The reply of `get-stats`.
pub(super) struct Reply(Vec<gst::Structure>);

/// What webrtcbin counts of one stream that we send, and what the other side reports of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outbound {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: i64,
    pub(super) round_trip: f64,
    jitter: f64,
    nacks: u64,
    picture_requests: u64,
}

impl Reply {
    pub(super) fn new(reply: &gst::StructureRef) -> Self {
        let entries = reply.iter();
        Self(
            entries
                .filter_map(|(_, value)| value.get::<gst::Structure>().ok())
                .collect(),
        )
    }

    /// One stream that we send.
    pub(super) fn outbound(&self, ssrc: u32) -> Outbound {
        let of = |name: &str| {
            let mut entries = self.0.iter();
            entries.find(|entry| kind(entry) == name && entry.get::<u32>("ssrc") == Ok(ssrc))
        };
        let outbound = of("outbound-rtp");
        let remote = of("remote-inbound-rtp");
        let count = |field: &str| outbound.map_or(0, |entry| unsigned(entry, field));
        let report = |field: &str| remote.and_then(|entry| entry.get::<f64>(field).ok());
        Outbound {
            packets: count("packets-sent"),
            bytes: count("bytes-sent"),
            lost: remote.map_or(0, |entry| signed(entry, "packets-lost")),
            round_trip: report("round-trip-time").unwrap_or_default(),
            jitter: report("jitter").unwrap_or_default(),
            nacks: count("nack-count"),
            picture_requests: count("pli-count") + count("fir-count"),
        }
    }

    /// Packets that were sent once more: those of our streams that the session doesn't know.
    pub(super) fn retransmitted(&self, sent: &[Sent]) -> u64 {
        let is_ours = |ssrc| sent.iter().any(|sent| Ok(sent.ssrc) == ssrc);
        let streams = self
            .0
            .iter()
            .filter(|entry| kind(entry) == "outbound-rtp" && !is_ours(entry.get::<u32>("ssrc")));
        streams.map(|entry| unsigned(entry, "packets-sent")).sum()
    }

    /// Packets that came, whether or not they can be used.
    pub(super) fn arrived(&self) -> u64 {
        let streams = self.0.iter().filter(|entry| kind(entry) == "inbound-rtp");
        streams
            .map(|entry| unsigned(entry, "packets-received"))
            .sum()
    }

    /// Bytes of these, with RTP headers.
    pub(super) fn arrived_bytes(&self) -> u64 {
        let streams = self.0.iter().filter(|entry| kind(entry) == "inbound-rtp");
        streams.map(|entry| unsigned(entry, "bytes-received")).sum()
    }

    /// A number that changes whenever media or a report comes; 0 as long as none did.
    pub(super) fn pulse(&self) -> u64 {
        let beats = self.0.iter().map(|entry| {
            let source = entry.get::<gst::Structure>("gst-rtpsource-stats");
            let of = |field: &str| source.as_ref().map_or(0, |it| unsigned(it, field));
            match kind(entry).as_str() {
                "inbound-rtp" => unsigned(entry, "packets-received").wrapping_add(of("sr-ntptime")),
                "remote-inbound-rtp" => of("rb-lsr").wrapping_add(of("rb-exthighestseq")),
                _ => 0,
            }
        });
        beats.fold(0, u64::wrapping_add)
    }

    /// The kinds of the local and the remote candidate in use.
    pub(super) fn path(&self) -> Option<(String, String)> {
        let of = |id: &str| {
            // By its id: 1.22 says "remote-candidate" of the local one, and the other way round.
            let mut entries = self.0.iter();
            let entry = entries.find(|entry| {
                let known = entry.get::<&str>("id");
                kind(entry).ends_with("-candidate")
                    && known.is_ok_and(|known| known.starts_with(id))
            })?;
            entry.get::<String>("candidate-type").ok()
        };
        of("ice-candidate-local_").zip(of("ice-candidate-remote_"))
    }
}

/// Reads the reply of `get-stats`.
pub(super) fn read(reply: &Reply, sent: &[Sent], previous: &mut Previous, now: Instant) -> Stats {
    let elapsed = previous.at.replace(now).map(|at| now.duration_since(at));
    let mut stats = Stats {
        retransmitted_packets: reply.retransmitted(sent),
        ..Stats::default()
    };
    for Sent {
        ssrc,
        codec,
        stream_id,
        meter,
    } in sent
    {
        let outbound = reply.outbound(*ssrc);
        let (frame_age, quality) = (meter.take(), meter.quality());
        stats.outbound.push(OutboundStats {
            stream_id: stream_id.clone(),
            codec: *codec,
            packets: outbound.packets,
            bytes: outbound.bytes,
            bitrate: previous.rate(*ssrc, outbound.bytes, elapsed),
            lost: outbound.lost,
            jitter: outbound.jitter,
            round_trip: outbound.round_trip,
            nacks: outbound.nacks,
            picture_requests: outbound.picture_requests,
            frame_age,
            frame_rate: elapsed.map_or(0.0, |elapsed| {
                frame_age.frames as f64 / elapsed.as_secs_f64().max(0.001)
            }),
            estimate: quality.estimate,
            target_bitrate: quality.target,
            picture_size: quality.size,
            rung: quality.rung,
        });
    }
    (stats.local_candidate, stats.remote_candidate) = reply.path().unwrap_or_default();
    stats
}

/// The entry's type by its nickname, whether or not this build knows the enum's number.
fn kind(entry: &gst::StructureRef) -> String {
    entry
        .value("type")
        .ok()
        .and_then(|value| {
            glib::EnumValue::from_value(value).map(|(_, value)| value.nick().to_owned())
        })
        .unwrap_or_default()
}

fn unsigned(entry: &gst::StructureRef, field: &str) -> u64 {
    entry
        .get::<u64>(field)
        .or_else(|_| entry.get::<u32>(field).map(u64::from))
        .unwrap_or_default()
}

fn signed(entry: &gst::StructureRef, field: &str) -> i64 {
    let plain = entry
        .get::<i64>(field)
        .or_else(|_| entry.get::<i32>(field).map(i64::from));
    plain.unwrap_or_else(|_| i64::try_from(unsigned(entry, field)).unwrap_or(i64::MAX))
}

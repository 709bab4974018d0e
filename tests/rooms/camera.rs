//! Moving pictures whose packets tell when they were sent and what they are part of.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use str0m::rtp::RtpPacket;

use crate::client::Client;

/// The most bytes in a packet.
const PACKET: usize = 1_100;
/// Pictures in a second.
pub(crate) const RATE: u32 = 25;
/// How much larger a keyframe is than others.
const KEYFRAME: usize = 3;
/// How much faster than at its bit rate a layer may be sent, and for how long at once.
const PACING: f64 = 2.5;
const BURST: Duration = Duration::from_millis(5);
/// How often one comes unasked.
const PERIOD: u32 = 250;

/// A source of one or more layers.
pub(crate) struct Camera {
    begin: Instant,
    layers: Vec<Encoding>,
    next: u32,
    /// The next packet of sound, if there is sound.
    sound: Option<u64>,
}

struct Encoding {
    rid: Option<&'static str>,
    bitrate: usize,
    seq: u64,
    /// Packets that wait to be sent, each with its picture and whether it is the picture's last.
    waiting: VecDeque<(u32, bool, Vec<u8>)>,
    /// When the next one may go.
    free: Duration,
}

/// What one packet says.
#[derive(Debug, Clone, Copy)]
struct Part {
    picture: u32,
    layer: u8,
    part: u8,
    parts: u8,
    key: bool,
    /// Since the camera began.
    sent: Duration,
}

/// A picture that arrived whole, and that could be decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) sent: Duration,
    /// From its sending to the arrival of what was last.
    pub(crate) latency: Duration,
    pub(crate) bytes: usize,
}

impl Camera {
    /// One layer of this bit rate.
    pub(crate) fn single(bitrate: usize) -> Self {
        Self::of(&[(None, bitrate)])
    }

    /// Several, by their names.
    pub(crate) fn simulcast(layers: &[(&'static str, usize)]) -> Self {
        let named: Vec<_> = layers
            .iter()
            .map(|(rid, rate)| (Some(*rid), *rate))
            .collect();
        Self::of(&named)
    }

    fn of(layers: &[(Option<&'static str>, usize)]) -> Self {
        let layers = layers.iter().map(|&(rid, bitrate)| Encoding {
            rid,
            bitrate,
            seq: 1,
            waiting: VecDeque::new(),
            free: Duration::ZERO,
        });
        Self {
            begin: Instant::now(),
            layers: layers.collect(),
            next: 0,
            sound: None,
        }
    }

    /// With a packet of sound every 20 ms.
    pub(crate) fn with_sound(self) -> Self {
        Self {
            sound: Some(1),
            ..self
        }
    }

    /// How long it has been running.
    pub(crate) fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Sends the pictures that are due, with keyframes where they were asked for.
    pub(crate) fn turn(&mut self, client: &mut Client) {
        while self.time() >= Duration::from_secs(1) * self.next / RATE {
            let wanted: Vec<_> = client.keyframes_wanted.drain(..).map(|it| it.1).collect();
            for layer in 0..self.layers.len() {
                let rid = self.layers[layer].rid;
                let asked = |it: &Option<str0m::media::Rid>| it.as_deref() == rid;
                let key = self.next.is_multiple_of(PERIOD) || wanted.iter().any(asked);
                self.take(layer, key);
            }
            self.next += 1;
        }
        let now = self.time();
        while let Some(n) = self
            .sound
            .filter(|n| now.as_millis() >= u128::from(*n) * 20)
        {
            client.send_audio(n, &[0; 80]);
            self.sound = Some(n + 1);
        }
        for encoding in &mut self.layers {
            encoding.send(client, now);
        }
    }

    fn take(&mut self, layer: usize, key: bool) {
        let sent = self.time();
        let encoding = &mut self.layers[layer];
        let bytes = encoding.bitrate / 8 / RATE as usize * if key { KEYFRAME } else { 1 };
        let parts = bytes.div_ceil(PACKET);
        for part in 0..parts {
            let start = if part == 0 { 0x90 } else { 0x80 };
            let [high, low] = (self.next as u16 & 0x7fff).to_be_bytes();
            let mut payload = vec![start, 0xe0, 0x80 | high, low, self.next as u8, 0];
            // A keyframe's first bit is 0 (RFC 7741, section 4.3).
            payload.push(u8::from(!key));
            payload.extend_from_slice(&self.next.to_be_bytes());
            payload.extend_from_slice(&[layer as u8, part as u8, parts as u8, u8::from(key)]);
            payload.extend_from_slice(&(sent.as_micros() as u64).to_be_bytes());
            payload.resize((bytes / parts).max(payload.len()), 0xaa);
            let last = part + 1 == parts;
            encoding.waiting.push_back((self.next, last, payload));
        }
    }
}

impl Encoding {
    /// Sends what may go: as browsers do, large pictures are spread.
    fn send(&mut self, client: &mut Client, now: Duration) {
        self.free = self.free.max(now.saturating_sub(BURST));
        while self.free <= now {
            let Some((picture, last, payload)) = self.waiting.pop_front() else {
                return;
            };
            let seconds = (payload.len() * 8) as f64 / (self.bitrate as f64 * PACING);
            self.free += Duration::from_secs_f64(seconds);
            let time = picture * 90_000 / RATE;
            client.send_picture(self.rid, self.seq, time, last, &payload);
            self.seq += 1;
        }
    }
}

impl Part {
    fn of(payload: &[u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes(*payload[at..].first_chunk().unwrap());
        let micros = u64::from_be_bytes(*payload[15..].first_chunk().unwrap());
        Self {
            picture: number(7),
            layer: payload[11],
            part: payload[12],
            parts: payload[13],
            key: payload[14] != 0,
            sent: Duration::from_micros(micros),
        }
    }
}

/// What a subscriber of this camera could show of what it got.
pub(crate) fn shown(camera: &Camera, packets: &[&RtpPacket]) -> Vec<Shown> {
    let mut pictures: BTreeMap<(u32, u8), (Part, HashSet<u8>, Shown)> = BTreeMap::new();
    for packet in packets {
        let part = Part::of(&packet.payload);
        let arrived = packet.timestamp.saturating_duration_since(camera.begin);
        let entry = pictures.entry((part.picture, part.layer));
        let (_, have, shown) = entry.or_insert_with(|| {
            let shown = Shown {
                sent: part.sent,
                latency: Duration::ZERO,
                bytes: 0,
            };
            (part, HashSet::new(), shown)
        });
        if have.insert(part.part) {
            shown.bytes += packet.payload.len();
            shown.latency = shown.latency.max(arrived.saturating_sub(part.sent));
        }
    }
    let mut decoded: Option<(u32, u8)> = None;
    let mut all = Vec::new();
    for ((picture, layer), (part, have, shown)) in pictures {
        let is_whole = have.len() == usize::from(part.parts);
        let follows = decoded == Some((picture.wrapping_sub(1), layer));
        if is_whole && (part.key || follows) {
            decoded = Some((picture, layer));
            all.push(shown);
        }
    }
    all
}

/// What was sent in a time.
pub(crate) fn between(shown: &[Shown], from: Duration, to: Duration) -> Vec<Shown> {
    let is_in = |it: &&Shown| (from..to).contains(&it.sent);
    shown.iter().filter(is_in).copied().collect()
}

/// The latency that this share of pictures, in percent, stays below.
pub(crate) fn latency(shown: &[Shown], percent: usize) -> Duration {
    let mut all: Vec<_> = shown.iter().map(|it| it.latency).collect();
    all.sort_unstable();
    all[(all.len() * percent / 100).min(all.len() - 1)]
}

/// Bits per second of what was shown.
pub(crate) fn bitrate(shown: &[Shown], time: Duration) -> f64 {
    let bytes: usize = shown.iter().map(|it| it.bytes).sum();
    bytes as f64 * 8.0 / time.as_secs_f64()
}

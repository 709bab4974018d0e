//! One peer connection: str0m, and what it is for.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::channel::ChannelId;
use str0m::media::{Mid, Rid};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::stats::{MediaEgressStats, MediaIngressStats, PeerStats};
use str0m::{Input, Output, Rtc, RtcError};

use super::addresses::Addresses;
use super::channels::Channels;
use super::demux::Held;
use super::intake::Intake;
use super::keyframes::Throttle;
use super::layers::Meter;
use super::numbers::Numbers;
use super::outgoing::{Outgoing, Packet};
use super::report::Reports;
use super::round::Round;
use super::sdp::{Line, Selection};
use super::trouble::{Reach, Unconnected};
use super::{EndpointKey, Failure, RoomKey};

/// A larger payload could not be sent in one datagram, and str0m has no room for it.
const PAYLOAD: usize = 1_400;
/// How often an endpoint may ask for another round at the same instant before it has to wait.
const ROUNDS: usize = 16;
/// How long it waits then.
const BREATHER: Duration = Duration::from_millis(5);
/// How late str0m may be woken where nothing is paced: its reports and requests don't mind, and the
/// next packet mostly comes first and does what is due.
const SLACK: Duration = Duration::from_millis(10);
/// Encodings of one video: browsers send three.
const LAYERS: usize = 4;

/// One peer connection.
pub(super) struct Endpoint {
    pub(super) key: EndpointKey,
    pub(super) room: RoomKey,
    pub(super) rtc: Rtc,
    pub(super) held: Held,
    pub(super) incoming: Option<Incoming>,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) born: Instant,
    pub(super) connected: bool,
    pub(super) beginning: Beginning,
    /// What it was told, and how far it has come.
    pub(super) addresses: Arc<Addresses>,
    pub(super) reach: Reach,
    pub(super) reports: Reports,
    /// Its connections, for media over TCP.
    pub(super) streams: Vec<usize>,
    /// Whether ICE has given up hope, and the last time anything came from the peer.
    pub(super) ice_down: bool,
    pub(super) heard: Instant,
    /// When str0m wants to be woken.
    pub(super) wake: Instant,
    /// Whether it has something to send.
    pub(super) dirty: bool,
    /// Packets of the publisher's that str0m has not sent yet.
    queued: usize,
    pub(super) counts: Counts,
    pub(super) channels: Channels,
    pub(super) intake: Intake,
    pub(super) numbers: Numbers,
    /// Where its datagrams must come from, on a machine with several addresses.
    pub(super) local: Option<IpAddr>,
}

/// When an endpoint came how far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Beginning {
    checked: Option<Instant>,
    connected: Option<Instant>,
    flows: bool,
    /// How long after it was connected its first media came or went, until that is told.
    pub(super) news: Option<Duration>,
}

/// What an endpoint has done.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) packets_in: u64,
    pub(super) bytes_in: u64,
    pub(super) packets_out: u64,
    pub(super) bytes_out: u64,
    pub(super) keyframe_requests: u64,
    /// Packets for the peer that were left out because its path didn't take them.
    pub(super) left_out: u64,
}

/// What a publisher gives.
pub(super) struct Incoming {
    pub(super) selection: Selection,
    pub(super) layers: Vec<Layer>,
    /// Who gets it, by slot; with loopback also itself.
    pub(super) subscribers: Vec<usize>,
    pub(super) next_tick: Instant,
    /// When it was last told its limit.
    pub(super) reminded: Instant,
    pub(super) muted: Muted,
}

/// What of a publisher its subscribers don't get.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Muted {
    pub(super) audio: bool,
    pub(super) video: bool,
}

/// One encoding of a publisher's video.
pub(super) struct Layer {
    pub(super) ssrc: Ssrc,
    pub(super) rid: Option<Rid>,
    pub(super) meter: Meter,
    pub(super) keyframes: Throttle,
}

impl Endpoint {
    /// An endpoint without a purpose yet.
    pub(super) fn new(
        (key, room): (EndpointKey, RoomKey),
        rtc: Rtc,
        held: Held,
        addresses: Arc<Addresses>,
        selection: &Selection,
        now: Instant,
    ) -> Self {
        let clock = |line: &Line| (Mid::from(line.mid.as_str()), line.payload.clock);
        Self {
            key,
            room,
            addresses,
            reach: Reach::default(),
            reports: Reports::new(selection.lines().map(clock)),
            streams: Vec::new(),
            rtc,
            held,
            incoming: None,
            outgoing: None,
            born: now,
            connected: false,
            beginning: Beginning::default(),
            ice_down: false,
            heard: now,
            wake: now,
            dirty: true,
            queued: 0,
            counts: Counts::default(),
            channels: Channels::default(),
            intake: Intake::default(),
            numbers: Numbers::default(),
            local: None,
        }
    }

    /// Whether a datagram is this endpoint's: a check with its credentials, or from an address that
    /// such checks came from.
    pub(super) fn accepts(&self, input: &Input<'_>) -> bool {
        self.rtc.accepts(input)
    }

    /// Takes a datagram or the time. [`Self::drive`] must follow before the next datagram.
    ///
    /// # Errors
    /// The endpoint is lost.
    pub(super) fn take(&mut self, input: Input<'_>) -> Result<(), Failure> {
        if let Input::Receive(now, _) = &input {
            // Whatever it asks for, str0m must have its say.
            self.wake = *now;
        }
        guarded(|| self.rtc.handle_input(input).map_err(|e| e.to_string()))
            .map_err(Failure::Protocol)
    }

    /// Lets str0m say all that it has to say at this time.
    ///
    /// # Errors
    /// The endpoint is lost.
    pub(super) fn drive(
        &mut self,
        now: Instant,
        mut transmit: impl FnMut(&str0m::net::Transmit),
        happened: &mut Vec<Happened>,
    ) -> Result<(), Failure> {
        self.dirty = false;
        let queued = std::mem::take(&mut self.queued);
        // Where the path is measured, str0m's rounds spread the packets, and measure it. Where
        // something else is due, it gets its rounds too.
        let quick = self.wake > now && !self.is_paced();
        let outgoing = self.outgoing.as_ref().filter(|_| quick);
        let mut round = outgoing.map_or(Round::default(), |o| Round::new(queued, o.ssrcs()));
        let rtc = &mut self.rtc;
        let outgoing = &mut self.outgoing;
        let closed = guarded(|| {
            for _ in 0..ROUNDS {
                loop {
                    match rtc.poll_output().map_err(|e: RtcError| e.to_string())? {
                        Output::Transmit(t) => {
                            round.sent(&t.contents);
                            transmit(&t);
                            if let Some(outgoing) = outgoing.as_mut() {
                                outgoing.sent(now, rtc, &t.contents);
                            }
                            // Media goes last. To ask for the time is as dear as a packet, and then
                            // str0m wants another round; the next packet will make it.
                            if round.is_complete() {
                                return Ok(false);
                            }
                        }
                        Output::Event(str0m::Event::Closed) => return Ok(true),
                        Output::Event(event) => happened.extend(Happened::of(event)),
                        Output::Timeout(at) if at > now => {
                            self.wake = at;
                            return Ok(false);
                        }
                        Output::Timeout(_) => break,
                    }
                }
                rtc.handle_input(Input::Timeout(now))
                    .map_err(|e| e.to_string())?;
            }
            self.wake = now + BREATHER;
            Ok(false)
        })
        .map_err(Failure::Protocol)?;
        if closed {
            return Err(Failure::Closed);
        }
        Ok(())
    }

    /// Says goodbye to the peer: what [`Self::drive`] sends next is the last.
    pub(super) fn close(&mut self) {
        let rtc = &mut self.rtc;
        let closed = guarded(|| rtc.close().map_err(|e| e.to_string()));
        if let Err(error) = closed {
            tracing::debug!(media = self.key.0, error, "cannot close cleanly");
        }
    }

    /// Whether str0m spreads what is sent, by what it measures.
    pub(super) fn is_paced(&self) -> bool {
        let outgoing = self.outgoing.as_ref();
        outgoing.is_some_and(|outgoing| outgoing.estimate.is_some())
    }

    /// When it must be woken, for str0m or otherwise.
    pub(super) fn due(&self, now: Instant, connect: Duration, silence: Duration) -> Instant {
        let slack = if self.is_paced() {
            Duration::ZERO
        } else {
            SLACK
        };
        let mut due = self.wake + slack;
        if !self.connected {
            due = due.min(self.born + connect);
        }
        if self.ice_down {
            due = due.min(self.heard + silence);
        }
        if let Some(incoming) = &self.incoming {
            due = due.min(incoming.next_tick);
            for layer in &incoming.layers {
                due = layer.keyframes.due(now).map_or(due, |at| due.min(at));
            }
        }
        let strain = self.outgoing.as_ref().and_then(|o| o.strain.due());
        strain.map_or(due, |at| due.min(at))
    }

    /// A connectivity check came, whose password is right or wrong.
    pub(super) fn checked(&mut self, now: Instant, from: SocketAddr, is_right: bool) {
        self.reach.checked(from, is_right);
        if is_right && self.beginning.checked.is_none() {
            self.beginning.checked = Some(now);
        }
    }

    /// ICE and DTLS are up. How long it took to the first check, and from there.
    pub(super) fn connect(&mut self, now: Instant) -> (Duration, Duration) {
        self.connected = true;
        self.reach.connected();
        let checked = self.beginning.checked.unwrap_or(self.born);
        self.beginning.connected = Some(now);
        (checked - self.born, now - checked)
    }

    /// Media came or went.
    pub(super) fn flows(&mut self, now: Instant) {
        if !self.beginning.flows {
            self.beginning.flows = true;
            self.beginning.news = self.beginning.connected.map(|since| now - since);
        }
    }

    /// Why it isn't connected, if it isn't.
    pub(super) fn unconnected(&self, now: Instant) -> Option<Unconnected> {
        let seconds = now.saturating_duration_since(self.born).as_secs();
        (!self.connected).then(|| Unconnected::new(seconds, self.reach, &self.addresses))
    }

    /// Queues a packet of the publisher's for this subscriber.
    pub(super) fn forward(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        if !self.connected {
            return;
        }
        if !outgoing.takes(now, packet) {
            self.counts.left_out += u64::from(!outgoing.strain.is_open());
            return;
        }
        let video = packet.layer.is_some();
        let track = match video {
            true => &mut outgoing.video,
            false => &mut outgoing.audio,
        };
        let Some(track) = track else {
            return;
        };
        let RtpPacket {
            header,
            payload,
            seq_no,
            timestamp,
            ..
        } = packet.rtp;
        let Some(place) = track.rewriter.place(
            now,
            *header.ssrc,
            **seq_no,
            header.timestamp,
            packet.vp8.as_ref(),
        ) else {
            return;
        };
        let patch = place.patch(packet.vp8);
        let mut write = RtpWrite::new(
            track.pt,
            place.seq.into(),
            place.time,
            *timestamp,
            Arc::clone(payload),
        )
        .marker(header.marker)
        .nackable(video)
        .ext_vals(forwarded(&header.ext_vals));
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        if let Some(stream) = self.rtc.direct_api().stream_tx(&track.ssrc) {
            stream.write_rtp(write);
            self.counts.packets_out += 1;
            self.counts.bytes_out += payload.len() as u64;
            self.queued += 1;
            self.dirty = true;
            self.flows(now);
        }
    }

    /// Takes the subscriber's report: if the path is overloaded, its video falls to the smallest layer, or
    /// pauses.
    pub(super) fn reported(&mut self, now: Instant, stats: &MediaEgressStats) {
        let loss = self.reports.sent(stats);
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        let Some(loss) = loss.filter(|_| outgoing.is_video(stats.mid)) else {
            return;
        };
        let pauses = outgoing.strain.reported(now, loss, stats.rtt);
        if outgoing.strain.shows() {
            outgoing.settling.end();
        }
        if pauses {
            let falls = outgoing.choice.fall();
            if falls {
                outgoing.strain.relieve(now);
            }
            let rtt = stats.rtt.unwrap_or_default().as_millis();
            let media = self.key.0;
            tracing::debug!(media, loss, rtt, falls, "the path can't take the video");
        }
    }

    /// Asks this publisher for a keyframe of one layer.
    pub(super) fn request_keyframe(&mut self, ssrc: Ssrc) {
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
            self.counts.keyframe_requests += 1;
            self.dirty = true;
        }
    }

    /// Tells this publisher what it may send as video (draft-alvestrand-rmcat-remb).
    pub(super) fn limit(&mut self, ssrc: Ssrc, bitrate: u64) {
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.request_remb(Bitrate::from(bitrate));
            self.dirty = true;
        }
    }

    /// Tells the estimator what would be sent if the path took it.
    pub(super) fn desire(&mut self, bitrate: u64) {
        self.rtc.bwe().set_desired_bitrate(Bitrate::from(bitrate));
        self.dirty = true;
    }

    /// Has the path measured anew, from this estimate.
    pub(super) fn measure_anew(&mut self, estimate: u64) {
        self.rtc.bwe().reset(Bitrate::from(estimate));
        self.dirty = true;
    }

    /// The layer that an SSRC belongs to; a new one is noted, up to a number.
    pub(super) fn layer(&mut self, ssrc: Ssrc) -> Option<usize> {
        let incoming = self.incoming.as_mut()?;
        if let Some(index) = incoming.layers.iter().position(|layer| layer.ssrc == ssrc) {
            return Some(index);
        }
        let rid = self.rtc.direct_api().stream_rx(&ssrc)?.rid();
        // The same encoding with a new SSRC, as after the sender was restarted.
        if let Some(index) = incoming.layers.iter().position(|layer| layer.rid == rid) {
            incoming.layers[index].ssrc = ssrc;
            return Some(index);
        }
        if incoming.layers.len() == LAYERS {
            return None;
        }
        incoming.layers.push(Layer {
            ssrc,
            rid,
            meter: Meter::default(),
            keyframes: Throttle::default(),
        });
        Some(incoming.layers.len() - 1)
    }

    /// Sends to a data channel. False: there was no room, or it isn't open.
    pub(super) fn write(&mut self, channel: ChannelId, binary: bool, data: &[u8]) -> bool {
        let rtc = &mut self.rtc;
        let written = guarded(|| match rtc.channel(channel) {
            Some(mut channel) => channel.write(binary, data).map_err(|e| e.to_string()),
            None => Ok(false),
        });
        self.dirty = true;
        written.unwrap_or(false)
    }
}

impl Incoming {
    /// Before the first packet.
    pub(super) fn new(selection: Selection, itself: Option<usize>, now: Instant) -> Self {
        Self {
            selection,
            layers: Vec::new(),
            subscribers: itself.into_iter().collect(),
            next_tick: now,
            reminded: now,
            muted: Muted::default(),
        }
    }

    /// Whether the video comes in several sizes.
    pub(super) fn is_simulcast(&self) -> bool {
        self.selection
            .video
            .as_ref()
            .is_some_and(|line| line.simulcast)
    }
}

/// What str0m told.
pub(super) enum Happened {
    ChannelClosed(ChannelId),
    ChannelData(ChannelId, bool, Vec<u8>),
    ChannelOpen(ChannelId, String),
    Connected,
    Estimate(u64),
    Begin(Box<PeerStats>),
    Received(Box<MediaIngressStats>),
    Sent(Box<MediaEgressStats>),
    IceDown(bool),
    KeyframeWanted,
    Packet(Box<RtpPacket>),
}

impl Happened {
    fn of(event: str0m::Event) -> Option<Self> {
        use str0m::Event as E;
        Some(match event {
            E::Connected => Self::Connected,
            E::IceConnectionStateChange(state) => Self::IceDown(state.is_disconnected()),
            E::RtpPacket(packet) if packet.payload.len() <= PAYLOAD => {
                Self::Packet(Box::new(packet))
            }
            E::KeyframeRequest(_) => Self::KeyframeWanted,
            E::EgressBitrateEstimate(str0m::bwe::BweKind::Twcc { estimate, .. }) => {
                Self::Estimate(estimate.as_u64())
            }
            E::PeerStats(stats) => Self::Begin(Box::new(stats)),
            E::MediaIngressStats(stats) => Self::Received(Box::new(stats)),
            E::MediaEgressStats(stats) => Self::Sent(Box::new(stats)),
            E::ChannelOpen(id, label) => Self::ChannelOpen(id, label),
            E::ChannelData(data) => Self::ChannelData(data.id, data.binary, data.data),
            E::ChannelClose(id) => Self::ChannelClosed(id),
            _ => return None,
        })
    }
}

/// Runs a piece of str0m. It has assertions that a hostile peer might find; such a peer then loses its
/// own endpoint, which isn't used again, and nothing else.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("it broke the media engine".to_owned()))
}

/// What of a publisher's header extensions means something to a subscriber.
fn forwarded(theirs: &ExtensionValues) -> ExtensionValues {
    ExtensionValues {
        audio_level: theirs.audio_level,
        voice_activity: theirs.voice_activity,
        video_orientation: theirs.video_orientation,
        ..ExtensionValues::default()
    }
}

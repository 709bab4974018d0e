//! What a subscriber gets of a publisher: its streams, and which packets go into them. Owned by the
//! subscriber's [`Endpoint`](super::endpoint::Endpoint).

use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpPacket, Ssrc, StreamTx, Vp8Descriptor};

use super::intake::source;
use super::layers::{Choice, Retry, Settling};
use super::resends::Resends;
use super::rewrite::Rewriter;
use super::sdp::{Line, Selection};
use super::strain::Strain;

/// Packets kept for retransmission, per stream: two seconds of 2.5 Mbit/s. Their payloads are shared.
const RESENDS: usize = 512;
/// How long they are kept, and the share of retransmissions in what is sent, at most. A receiver asks
/// twice and more for what is a round trip away, so that 5 % of losses are easily 15 %, where str0m stops
/// unless told otherwise; then one loss breaks all pictures up to the next keyframe.
const RESENT_AGE: Duration = Duration::from_secs(2);
const RESENT_SHARE: f32 = 0.5;

/// What a subscriber gets.
pub(super) struct Outgoing {
    pub(super) publisher: usize,
    pub(super) audio: Option<Track>,
    pub(super) video: Option<Track>,
    /// The layer that is sent, and the one that should be.
    pub(super) layer: Option<usize>,
    pub(super) choice: Choice,
    pub(super) settling: Settling,
    pub(super) retry: Retry,
    pub(super) estimate: Option<u64>,
    pub(super) strain: Strain,
    resends: Resends,
    /// Whether its video goes on with a keyframe only, after a pause.
    pub(super) awaits_keyframe: bool,
}

/// One stream to a subscriber.
pub(super) struct Track {
    mid: Mid,
    pub(super) ssrc: Ssrc,
    /// Of what is sent once more.
    rtx: Option<Ssrc>,
    pub(super) pt: Pt,
    pub(super) rewriter: Rewriter,
}

/// A packet on its way from a publisher to its subscribers.
pub(super) struct Packet<'a> {
    pub(super) rtp: &'a RtpPacket,
    /// For video.
    pub(super) layer: Option<usize>,
    /// Whether a keyframe begins here.
    pub(super) keyframe: bool,
    pub(super) simulcast: bool,
    /// For VP8, of simulcast.
    pub(super) vp8: Option<Vp8Descriptor>,
    /// Nobody can decode its layer before a keyframe comes.
    pub(super) needs_keyframe: bool,
}

impl<'a> Packet<'a> {
    /// Of the publisher's audio.
    pub(super) fn audio(rtp: &'a RtpPacket) -> Self {
        Self {
            rtp,
            layer: None,
            keyframe: false,
            simulcast: false,
            vp8: None,
            needs_keyframe: false,
        }
    }
}

impl Outgoing {
    /// Nothing sent yet. `estimate`: what the path takes, if that is measured.
    pub(super) fn new(
        rtc: &mut Rtc,
        selection: &Selection,
        publisher: usize,
        estimate: Option<u64>,
    ) -> Self {
        let mut track = |line: &Option<Line>| {
            let line = line.as_ref()?;
            let mid = Mid::from(line.mid.as_str());
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid, None)?;
            // Publishers pace what they send. To pace it again by an estimate that has just fallen would
            // let it wait, up to two seconds, until the smaller layer comes.
            stream.set_unpaced(true);
            keep_resends(stream);
            Some(Track {
                mid,
                ssrc: stream.ssrc(),
                rtx: stream.rtx(),
                pt: Pt::from(line.payload.pt),
                rewriter: Rewriter::new(line.payload.clock),
            })
        };
        Self {
            publisher,
            audio: track(&selection.audio),
            video: track(&selection.video),
            layer: None,
            choice: Choice::default(),
            settling: Settling::default(),
            retry: Retry::default(),
            estimate,
            strain: Strain::default(),
            resends: Resends::default(),
            awaits_keyframe: false,
        }
    }

    /// Whether an m= section is that of its video.
    pub(super) fn is_video(&self, mid: Mid) -> bool {
        self.video.as_ref().is_some_and(|track| track.mid == mid)
    }

    /// A datagram was sent. If too much went once more, nothing does for now: what was kept is forgotten.
    pub(super) fn sent(&mut self, now: Instant, rtc: &mut Rtc, datagram: &[u8]) {
        let (Some(track), Some(source)) = (&self.video, source(datagram)) else {
            return;
        };
        if source == *track.ssrc {
            self.resends.sent(now);
        } else if track.rtx.is_some_and(|rtx| *rtx == source)
            && !self.resends.resent(now)
            && let Some(stream) = rtc.direct_api().stream_tx(&track.ssrc)
        {
            keep_resends(stream);
        }
    }

    /// Under which its streams go.
    pub(super) fn ssrcs(&self) -> [Option<Ssrc>; 2] {
        [&self.audio, &self.video].map(|track| track.as_ref().map(|track| track.ssrc))
    }

    /// The publisher's sound or picture comes again after a pause that shall not look like a loss.
    pub(super) fn go_on(&mut self, audio: bool, video: bool) {
        if let Some(track) = self.audio.as_mut().filter(|_| audio) {
            track.rewriter.cut();
        }
        self.awaits_keyframe |= video;
    }

    /// Whether the subscriber gets a packet. Switches to its layer if it should.
    pub(super) fn takes(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        let Some(layer) = packet.layer else {
            return true;
        };
        if self.awaits_keyframe || !self.strain.is_open() {
            let fits = self.choice.wanted().is_none_or(|wanted| wanted == layer);
            let may_go_on = self.strain.is_open() || self.strain.is_ajar();
            if !(may_go_on && packet.keyframe && fits) {
                return false;
            }
            self.awaits_keyframe = false;
            if !self.strain.is_open() {
                self.strain.open(now);
            }
            self.layer = Some(layer);
            if let Some(track) = &mut self.video {
                track.rewriter.cut();
            }
        }
        if !packet.simulcast {
            return true;
        }
        if packet.keyframe
            && self.layer != Some(layer)
            && (self.layer.is_none() || self.choice.wanted() == Some(layer))
        {
            self.layer = Some(layer);
            self.settling.begin(now);
        }
        self.layer == Some(layer)
    }
}

/// Lets a stream keep what it sends, and nothing of what it kept before.
fn keep_resends(stream: &mut StreamTx) {
    stream.set_rtx_cache(RESENDS, RESENT_AGE, Some(RESENT_SHARE));
}

//! A peer of the plane on str0m: publishes what a test gives it, and keeps what it gets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::{Codec, FormatParams};
use str0m::media::{
    Direction, Frequency, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// The payload types and the codecs of a client.
#[derive(Debug, Clone)]
pub(crate) struct Codecs {
    pub(crate) opus: u8,
    pub(crate) video: Vec<(u8, Codec, &'static str)>,
}

impl Codecs {
    /// VP8 and Opus under these numbers; retransmissions one above.
    pub(crate) fn vp8(opus: u8, vp8: u8) -> Self {
        Self {
            opus,
            video: vec![(vp8, Codec::Vp8, "")],
        }
    }
}

/// What a test asks of a client's offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) audio: Option<Direction>,
    pub(crate) video: Option<Direction>,
    pub(crate) rids: &'static [&'static str],
    pub(crate) channel: Option<&'static str>,
    pub(crate) estimates: bool,
}

/// Which incoming datagrams are lost.
pub(crate) type Lose = Box<dyn FnMut(&[u8]) -> bool>;

pub(crate) struct Client {
    pub(crate) rtc: Rtc,
    pub(crate) socket: UdpSocket,
    pending: Option<SdpPendingOffer>,
    pub(crate) audio: Option<Mid>,
    pub(crate) video: Option<Mid>,
    codecs: Codecs,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    pub(crate) packets: Vec<RtpPacket>,
    pub(crate) keyframes_wanted: Vec<(Instant, Option<Rid>)>,
    pub(crate) channels: Vec<(ChannelId, String)>,
    pub(crate) messages: Vec<(bool, Vec<u8>)>,
    pub(crate) estimate: u64,
    pub(crate) lose: Lose,
    wake: Instant,
}

impl Client {
    pub(crate) fn new(codecs: Codecs, wish: &Wish) -> (Self, String) {
        let mut rtc = config(&codecs, wish).build(Instant::now());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut changes = rtc.sdp_api();
        let simulcast = (!wish.rids.is_empty()).then(|| Simulcast {
            send: wish
                .rids
                .iter()
                .map(|rid| SimulcastLayer::new(rid))
                .collect(),
            recv: Vec::new(),
        });
        let audio = wish
            .audio
            .map(|direction| changes.add_media(MediaKind::Audio, direction, None, None, None));
        let video = wish
            .video
            .map(|direction| changes.add_media(MediaKind::Video, direction, None, None, simulcast));
        if let Some(label) = wish.channel {
            changes.add_channel(label.to_owned());
        }
        let (offer, pending) = changes.apply().unwrap();
        let client = Self {
            rtc,
            socket,
            pending: Some(pending),
            audio,
            video,
            codecs,
            connected: false,
            closed: false,
            packets: Vec::new(),
            keyframes_wanted: Vec::new(),
            channels: Vec::new(),
            messages: Vec::new(),
            estimate: 0,
            lose: Box::new(|_| false),
            wake: Instant::now(),
        };
        (client, offer.to_sdp_string())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap_or_else(|e| panic!("{e}: {sdp}"));
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    pub(crate) fn send_audio(&mut self, seq: u64, payload: &[u8]) {
        let mid = self.audio.unwrap();
        self.send(mid, None, self.codecs.opus, seq, seq as u32 * 960, payload);
    }

    pub(crate) fn send_video(&mut self, seq: u64, payload: &[u8]) {
        self.send_layer(None, seq, payload);
    }

    pub(crate) fn send_layer(&mut self, rid: Option<&str>, seq: u64, payload: &[u8]) {
        let mid = self.video.unwrap();
        let pt = self.codecs.video[0].0;
        self.send(mid, rid.map(Rid::from), pt, seq, seq as u32 * 3000, payload);
    }

    fn send(&mut self, mid: Mid, rid: Option<Rid>, pt: u8, seq: u64, time: u32, payload: &[u8]) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).unwrap();
        let write = RtpWrite::new(pt.into(), seq.into(), time, Instant::now(), payload)
            .nackable(true)
            .marker(true);
        stream.write_rtp(write);
        self.turn(true);
    }

    pub(crate) fn want_keyframe(&mut self, ssrc: Ssrc) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc).unwrap();
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.turn(true);
    }

    pub(crate) fn write(&mut self, binary: bool, data: &[u8]) {
        let id = self.channels[0].0;
        assert!(self.rtc.channel(id).unwrap().write(binary, data).unwrap());
        self.turn(true);
    }

    /// Of its video, in the order of arrival.
    pub(crate) fn of(&self, mid: Option<Mid>) -> Vec<&RtpPacket> {
        let video = mid == self.video;
        let is = |p: &RtpPacket| {
            self.codecs
                .video
                .iter()
                .any(|v| v.0 == *p.header.payload_type)
        };
        self.packets.iter().filter(|p| is(p) == video).collect()
    }

    /// Takes what has arrived and sends what is due. False: there was nothing to do.
    pub(crate) fn turn(&mut self, dirty: bool) -> bool {
        let now = Instant::now();
        let mut buffer = [0; 2000];
        let mut busy = dirty;
        while let Ok((len, source)) = self.socket.recv_from(&mut buffer) {
            busy = true;
            let bytes = &buffer[..len];
            if (self.lose)(bytes) {
                continue;
            }
            let Ok(receive) = Receive::new(Protocol::Udp, source, self.address(), bytes) else {
                continue;
            };
            self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
            self.drain(now);
        }
        if dirty || now >= self.wake {
            busy = true;
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain(now);
        }
        busy
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Transmit(t) => {
                    let _ = self.socket.send_to(&t.contents, t.destination);
                }
                Output::Event(event) => self.event(now, event),
                Output::Timeout(at) if at > now => {
                    self.wake = at;
                    return;
                }
                Output::Timeout(_) => self.rtc.handle_input(Input::Timeout(now)).unwrap(),
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed => self.closed = true,
            Event::RtpPacket(packet) => self.packets.push(packet),
            Event::KeyframeRequest(request) => self.keyframes_wanted.push((now, request.rid)),
            Event::ChannelOpen(id, label) => self.channels.push((id, label)),
            Event::ChannelData(data) => self.messages.push((data.binary, data.data)),
            Event::EgressBitrateEstimate(str0m::bwe::BweKind::Twcc { estimate, .. }) => {
                self.estimate = estimate.as_u64();
            }
            _ => {}
        }
    }
}

fn config(codecs: &Codecs, wish: &Wish) -> RtcConfig {
    let mut config = Rtc::builder()
        .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
        .set_rtp_mode(true)
        .clear_codecs();
    if wish.estimates {
        config = config.enable_bwe(Some(str0m::bwe::Bitrate::kbps(500)));
    }
    let list = config.codec_config();
    let pt = |n: u8| n.into();
    let format = FormatParams::parse_line("minptime=10;useinbandfec=1");
    let opus = (Codec::Opus, Frequency::FORTY_EIGHT_KHZ);
    list.add_config(pt(codecs.opus), None, opus.0, opus.1, Some(2), format);
    for &(n, codec, fmtp) in &codecs.video {
        let format = FormatParams::parse_line(fmtp);
        list.add_config(
            pt(n),
            Some(pt(n + 1)),
            codec,
            Frequency::NINETY_KHZ,
            None,
            format,
        );
    }
    config
}

/// Runs clients until something is so.
///
/// # Panics
/// If it isn't in time.
pub(crate) fn until(
    what: &str,
    clients: &mut [&mut Client],
    mut done: impl FnMut(&mut [&mut Client]) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(clients) {
        assert!(Instant::now() < deadline, "in 20 s not: {what}");
        let mut busy = false;
        for client in clients.iter_mut() {
            busy |= client.turn(false);
        }
        if !busy {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

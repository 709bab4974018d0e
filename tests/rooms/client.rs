//! A peer of the plane on str0m: publishes what a test gives it, and keeps what it gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::crypto::CryptoProvider;
use str0m::format::{Codec, FormatParams};
use str0m::media::{
    Direction, Frequency, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig, RtcError};

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
    /// What encrypts for it, unless that is the usual one.
    pub(crate) provider: Option<Arc<CryptoProvider>>,
}

/// Which incoming datagrams are lost.
pub(crate) type Lose = Box<dyn FnMut(&[u8]) -> bool + Send>;

pub(crate) struct Client {
    pub(crate) rtc: Rtc,
    pub(crate) socket: UdpSocket,
    /// Instead of the socket: a connection, and what was read of it.
    pub(crate) stream: Option<(TcpStream, Vec<u8>)>,
    pending: Option<SdpPendingOffer>,
    pub(crate) audio: Option<Mid>,
    pub(crate) video: Option<Mid>,
    codecs: Codecs,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    /// Whether its connection may break, and whether it did.
    pub(crate) may_break: bool,
    pub(crate) broken: bool,
    pub(crate) packets: Vec<RtpPacket>,
    pub(crate) keyframes_wanted: Vec<(Instant, Option<Rid>)>,
    pub(crate) channels: Vec<(ChannelId, String)>,
    pub(crate) messages: Vec<(bool, Vec<u8>)>,
    pub(crate) estimate: u64,
    /// What it is told that it may send.
    pub(crate) limit: Option<u64>,
    pub(crate) lose: Lose,
    /// What it sends, for who wants to have it.
    pub(crate) tap: Option<Vec<Vec<u8>>>,
    wake: Instant,
}

impl Client {
    pub(crate) fn new(codecs: Codecs, wish: &Wish) -> (Self, String) {
        Self::by(codecs, wish, None)
    }

    /// Over TCP, to this listener (RFC 6544, active).
    pub(crate) fn over_tcp(codecs: Codecs, wish: &Wish, to: SocketAddr) -> (Self, String) {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self::by(codecs, wish, Some(stream))
    }

    fn by(codecs: Codecs, wish: &Wish, stream: Option<TcpStream>) -> (Self, String) {
        let mut rtc = config(&codecs, wish).build(Instant::now());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        rtc.add_local_candidate(match &stream {
            None => Candidate::host(socket.local_addr().unwrap(), "udp").unwrap(),
            Some(stream) => {
                let tcp = Candidate::builder().tcp();
                let host = tcp.host(stream.local_addr().unwrap());
                host.tcptype(TcpType::Active).build().unwrap()
            }
        });
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
            stream: stream.map(|stream| (stream, Vec::new())),
            pending: Some(pending),
            audio,
            video,
            codecs,
            connected: false,
            closed: false,
            may_break: false,
            broken: false,
            packets: Vec::new(),
            keyframes_wanted: Vec::new(),
            channels: Vec::new(),
            messages: Vec::new(),
            estimate: 0,
            limit: None,
            lose: Box::new(|_| false),
            tap: None,
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
        // Browsers don't stop resending at 15 % of what they send.
        if let Some(mid) = self.video {
            let mut api = self.rtc.direct_api();
            if let Some(stream) = api.stream_tx_by_mid(mid, None) {
                stream.set_rtx_cache(1_000, Duration::from_secs(2), None);
            }
        }
    }

    /// A packet of a picture, of a layer; `last`: no more of this picture follow.
    pub(crate) fn send_picture(
        &mut self,
        rid: Option<&str>,
        seq: u64,
        time: u32,
        last: bool,
        payload: &[u8],
    ) {
        let mid = self.video.unwrap();
        let pt = self.codecs.video[0].0;
        let rid = rid.map(Rid::from);
        self.send(mid, rid, pt, seq, (time, last), payload);
    }

    pub(crate) fn send_audio(&mut self, seq: u64, payload: &[u8]) {
        let mid = self.audio.unwrap();
        let time = (seq as u32 * 960, true);
        self.send(mid, None, self.codecs.opus, seq, time, payload);
    }

    pub(crate) fn send_video(&mut self, seq: u64, payload: &[u8]) {
        self.send_layer(None, seq, payload);
    }

    pub(crate) fn send_layer(&mut self, rid: Option<&str>, seq: u64, payload: &[u8]) {
        let mid = self.video.unwrap();
        let pt = self.codecs.video[0].0;
        let time = (seq as u32 * 3000, true);
        self.send(mid, rid.map(Rid::from), pt, seq, time, payload);
    }

    fn send(
        &mut self,
        mid: Mid,
        rid: Option<Rid>,
        pt: u8,
        seq: u64,
        (time, last): (u32, bool),
        payload: &[u8],
    ) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).unwrap();
        let write = RtpWrite::new(pt.into(), seq.into(), time, Instant::now(), payload)
            .nackable(true)
            .marker(last);
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
        let mut busy = dirty | self.read_stream(now);
        while let Ok((len, source)) = self.socket.recv_from(&mut buffer) {
            busy = true;
            let bytes = &buffer[..len];
            if (self.lose)(bytes) {
                continue;
            }
            let Ok(receive) = Receive::new(Protocol::Udp, source, self.address(), bytes) else {
                continue;
            };
            self.input(now, Input::Receive(now, receive));
        }
        if dirty || now >= self.wake {
            busy = true;
            self.input(now, Input::Timeout(now));
        }
        busy
    }

    /// Takes the frames (RFC 4571) that have arrived. False: there were none.
    fn read_stream(&mut self, now: Instant) -> bool {
        let Some((stream, bytes)) = &mut self.stream else {
            return false;
        };
        let (source, to) = (stream.peer_addr(), stream.local_addr());
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
        }
        let mut frames = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let Some(frame) = rest.get(..usize::from(u16::from_be_bytes(*head))) else {
                break;
            };
            frames.push(frame.to_vec());
            bytes.drain(..2 + frames.last().unwrap().len());
        }
        for frame in &frames {
            let (source, to) = (*source.as_ref().unwrap(), *to.as_ref().unwrap());
            let receive = Receive::new(Protocol::Tcp, source, to, frame).unwrap();
            self.input(now, Input::Receive(now, receive));
        }
        !frames.is_empty()
    }

    /// Takes something, and does what follows. After its connection broke it does nothing any more.
    fn input(&mut self, now: Instant, input: Input<'_>) {
        if self.broken {
            return;
        }
        let done = self.rtc.handle_input(input).and_then(|()| self.drain(now));
        if let Err(error) = done {
            assert!(self.may_break, "{error}");
            self.broken = true;
        }
    }

    fn transmit(&mut self, to: SocketAddr, packet: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.push(packet.to_vec());
        }
        let Some((stream, _)) = &mut self.stream else {
            let _ = self.socket.send_to(packet, to);
            return;
        };
        let length = u16::try_from(packet.len()).unwrap();
        let frame = [&length.to_be_bytes(), packet].concat();
        let mut frame = frame.as_slice();
        while !frame.is_empty() {
            match stream.write(frame) {
                Ok(n) => frame = &frame[n..],
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => return,
            }
        }
    }

    fn drain(&mut self, now: Instant) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(t) => self.transmit(t.destination, &t.contents),
                Output::Event(event) => self.event(now, event),
                Output::Timeout(at) if at > now => {
                    self.wake = at;
                    return Ok(());
                }
                Output::Timeout(_) => self.rtc.handle_input(Input::Timeout(now))?,
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
            Event::EgressBitrateEstimate(str0m::bwe::BweKind::Remb { estimate, .. }) => {
                self.limit = Some(estimate.as_u64());
            }
            _ => {}
        }
    }
}

fn config(codecs: &Codecs, wish: &Wish) -> RtcConfig {
    let usual = || Arc::new(str0m::crypto::from_feature_flags());
    let mut config = Rtc::builder()
        .set_crypto_provider(wish.provider.clone().unwrap_or_else(usual))
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

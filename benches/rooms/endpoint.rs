//! One end of one connection of a client: a publisher's or a subscriber's. It costs as little as it
//! can, and notes when what it receives was sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::crypto::dtls::DtlsCert;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::sync::oneshot;

use super::notes::Notes;

/// What a publisher sends.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) video_per_second: u32,
    pub(crate) audio_per_second: u32,
}

const VIDEO_BYTES: usize = 1200;
const AUDIO_BYTES: usize = 100;
/// The last bytes of a payload: a mark, and when it was sent.
const MARK: [u8; 8] = *b"stamped:";
const STAMP: usize = MARK.len() + size_of::<u64>();

/// This machine's own address, because Janus doesn't use that of the loopback interface. What is
/// sent to it stays in the machine all the same.
pub(crate) static ADDRESS: LazyLock<IpAddr> = LazyLock::new(|| {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: it only picks a route.
    match socket.connect("198.51.100.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
});
/// What sending times are counted from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Making one takes longer than the rest of an offer; browsers have theirs ready as well.
static CERTIFICATE: LazyLock<DtlsCert> = LazyLock::new(|| {
    let provider = str0m::crypto::from_feature_flags();
    provider.dtls_provider.generate_certificate().unwrap()
});

pub(crate) struct Endpoint {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    /// When it wants to be called even if nothing arrives.
    pub(crate) due: Instant,
    load: Option<Load>,
    /// Of audio and video.
    mids: Vec<Mid>,
    tracks: Vec<Track>,
    wants_keyframe: bool,
    connected: Option<oneshot::Sender<Instant>>,
}

/// Something that a publisher sends.
struct Track {
    mid: Mid,
    pt: Pt,
    is_video: bool,
    every: Duration,
    next: Instant,
    sent: u64,
    /// What the clock of the media advances by with each packet.
    ticks: u32,
}

/// An endpoint whose offer has no answer yet.
pub(crate) struct Offering {
    endpoint: Endpoint,
    pending: SdpPendingOffer,
}

impl Offering {
    /// Offers to send a load, or to receive audio and video.
    pub(crate) fn new(load: Option<Load>) -> (Self, String) {
        let mut endpoint = Endpoint::new(load);
        let direction = match load {
            Some(_) => Direction::SendOnly,
            None => Direction::RecvOnly,
        };
        let mut changes = endpoint.rtc.sdp_api();
        let mids = [MediaKind::Audio, MediaKind::Video]
            .map(|kind| changes.add_media(kind, direction, None, None, None));
        let (offer, pending) = changes.apply().unwrap();
        endpoint.mids.extend(mids);
        let offering = Self { endpoint, pending };
        (offering, offer.to_sdp_string())
    }

    pub(crate) fn answered(mut self, answer: &str) -> Endpoint {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let changes = self.endpoint.rtc.sdp_api();
        changes.accept_answer(self.pending, answer).unwrap();
        self.endpoint
    }
}

impl Endpoint {
    fn new(load: Option<Load>) -> Self {
        let socket = UdpSocket::bind((*ADDRESS, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = socket.local_addr().unwrap();
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_dtls_cert(CERTIFICATE.clone())
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        Self {
            rtc,
            socket,
            local,
            due: now,
            load,
            mids: Vec::new(),
            tracks: Vec::new(),
            wants_keyframe: true,
            connected: None,
        }
    }

    /// Answers a server that offers to send.
    pub(crate) fn answering(offer: &str) -> (Self, String) {
        let mut endpoint = Self::new(None);
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let answer = endpoint.rtc.sdp_api().accept_offer(offer).unwrap();
        (endpoint, answer.to_sdp_string())
    }

    /// Will be told when media can flow.
    pub(crate) fn connected(&mut self) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.connected = Some(sender);
        receiver
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Takes one datagram from the socket.
    pub(crate) fn receive(&mut self, notes: &mut Notes) {
        let mut buffer = [0; 2048];
        let (length, from) = match self.socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return notes.failures += 1,
        };
        let now = Instant::now();
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, &buffer[..length]) else {
            return notes.failures += 1;
        };
        if self.rtc.handle_input(Input::Receive(now, receive)).is_err() {
            notes.failures += 1;
        }
        self.drain(now, notes);
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Instant, notes: &mut Notes) {
        for track in 0..self.tracks.len() {
            while self.tracks[track].next <= now {
                self.send(track, notes);
            }
        }
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            notes.failures += 1;
        }
        self.drain(now, notes);
    }

    fn send(&mut self, track: usize, notes: &mut Notes) {
        let track = &mut self.tracks[track];
        let now = Instant::now();
        let is_keyframe = track.is_video && std::mem::take(&mut self.wants_keyframe);
        let payload = payload(track, is_keyframe, now);
        let (sequence, time) = (
            track.sent.into(),
            (track.sent as u32).wrapping_mul(track.ticks),
        );
        let packet = RtpWrite::new(track.pt, sequence, time, now, payload)
            .marker(track.is_video)
            .nackable(track.is_video);
        track.sent += 1;
        track.next += track.every;
        notes.sent(now);
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(track.mid, None) {
            stream.write_rtp(packet);
        }
    }

    fn drain(&mut self, now: Instant, notes: &mut Notes) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    break;
                }
                Ok(Output::Transmit(it)) => {
                    if self.socket.send_to(&it.contents, it.destination).is_err() {
                        notes.failures += 1;
                    }
                }
                Ok(Output::Event(event)) => self.handle(event, now, notes),
                Err(_) => {
                    notes.failures += 1;
                    self.due = now + Duration::from_secs(1);
                    break;
                }
            }
        }
        if let Some(next) = self.tracks.iter().map(|track| track.next).min() {
            self.due = self.due.min(next);
        }
    }

    fn handle(&mut self, event: Event, now: Instant, notes: &mut Notes) {
        match event {
            Event::RtpPacket(packet) => {
                if let Some(sent) = sent_at(&packet.payload) {
                    notes.received(sent, now);
                }
            }
            Event::KeyframeRequest(_) => {
                notes.keyframe_requests += 1;
                self.wants_keyframe = true;
            }
            Event::Connected => {
                if let Some(load) = self.load {
                    self.tracks = self.tracks(load, now);
                }
                if let Some(sender) = self.connected.take() {
                    // Nobody may wait for it.
                    let _ = sender.send(now);
                }
            }
            _ => {}
        }
    }

    fn tracks(&mut self, load: Load, now: Instant) -> Vec<Track> {
        let wanted = [
            (Codec::Opus, load.audio_per_second),
            (Codec::Vp8, load.video_per_second),
        ];
        let track = |(mid, (codec, per_second))| {
            let accepted = self.rtc.media(mid)?.remote_pts();
            let mut params = self.rtc.codec_config().params().iter();
            let params =
                params.find(|it| it.spec().codec == codec && accepted.contains(&it.pt()))?;
            Some(Track {
                mid,
                pt: params.pt(),
                is_video: codec.is_video(),
                every: Duration::from_secs(1) / per_second,
                next: now,
                sent: 0,
                ticks: params.spec().clock_rate.get() / per_second,
            })
        };
        let mids = self.mids.iter().copied();
        mids.zip(wanted).filter_map(track).collect()
    }
}

/// A VP8 packet, or what stands for an Opus one, that tells when it was sent.
fn payload(track: &Track, is_keyframe: bool, now: Instant) -> Vec<u8> {
    let mut payload = if track.is_video {
        // RFC 7741, 4.2: a descriptor with a picture number of 15 bits, then the first bytes of a frame.
        let [high, low] = (track.sent as u16).to_be_bytes();
        let mut payload = vec![0x90, 0x80, high | 0x80, low];
        payload.extend(if is_keyframe {
            // RFC 6386, 9.1: 640×480.
            [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]
        } else {
            [0x11, 0x02, 0, 0, 0, 0, 0, 0, 0, 0]
        });
        payload.resize(VIDEO_BYTES - STAMP, 0);
        payload
    } else {
        vec![0xfc; AUDIO_BYTES - STAMP]
    };
    payload.extend(MARK);
    payload.extend((now.duration_since(*EPOCH).as_nanos() as u64).to_be_bytes());
    payload
}

fn sent_at(payload: &[u8]) -> Option<Instant> {
    let (rest, nanoseconds) = payload.split_last_chunk()?;
    rest.ends_with(&MARK)
        .then(|| *EPOCH + Duration::from_nanos(u64::from_be_bytes(*nanoseconds)))
}

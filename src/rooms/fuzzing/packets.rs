//! The pieces that a packet passes, each with what must hold whatever comes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::rtp::{Ssrc, Vp8Descriptor};

use super::super::demux::{Demux, Held};
use super::super::keyframes::{PAUSE, Throttle};
use super::super::layers::{Choice, Meter, PERIOD, Retry, Settling};
use super::super::mapping::Mapping;
use super::super::rewrite::Rewriter;
use super::super::round::Round;
use super::super::sdp::Payload;
use super::super::streams::{FRAME, HEAD, first_frame};
use super::super::trouble::Reach;
use super::super::{forwarder, thread_of, video};
use crate::net;

/// Layers of a publisher.
const LAYERS: usize = 3;

/// One publisher's and one subscriber's pieces.
#[derive(Debug)]
pub struct Packets {
    now: Instant,
    rewriter: Rewriter,
    meters: [Meter; LAYERS],
    choice: Choice,
    settling: Settling,
    retry: Retry,
    throttle: Throttle,
    fired: Option<Instant>,
    demux: Demux,
    held: Vec<(usize, Held, Vec<SocketAddr>)>,
    endpoints: usize,
    reach: Reach,
}

impl Packets {
    /// Before anything came.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            rewriter: Rewriter::new(90_000),
            meters: Default::default(),
            choice: Choice::default(),
            settling: Settling::default(),
            retry: Retry::default(),
            throttle: Throttle::default(),
            fired: None,
            demux: Demux::default(),
            held: Vec::new(),
            endpoints: 0,
            reach: Reach::default(),
        }
    }

    /// A packet of a publisher's layer.
    ///
    /// # Panics
    /// If it gets no place that str0m could send it at, or another one the second time.
    pub fn packet(&mut self, layer: u8, seq: u64, time: u32, payload: &[u8]) {
        for name in ["VP8", "VP9", "H264", "AV1", "x"] {
            let codec = Payload {
                pt: 96,
                rtx: None,
                name: name.to_owned(),
                clock: 90_000,
                channels: None,
                fmtp: String::new(),
            };
            let begins = video::begins_keyframe(&codec, payload);
            assert!(!begins || !payload.is_empty(), "nothing is a keyframe");
        }
        let layer = usize::from(layer) % LAYERS;
        self.meters[layer].add(payload.len());
        let vp8 = Vp8Descriptor::parse(payload).ok();
        let source = layer as u32;
        let mut place = || {
            self.rewriter
                .place(self.now, source, seq, time, vp8.as_ref())
        };
        let Some(at) = place() else {
            return;
        };
        assert!((1..=u64::MAX / 2).contains(&at.seq), "{at:?}");
        assert_eq!(
            place(),
            Some(at),
            "a packet that comes twice has two places"
        );
        let _ = at.patch(vp8);
    }

    /// What was left out until now shall not look lost.
    pub fn cut(&mut self) {
        self.rewriter.cut();
    }

    /// Time passes, and the path takes so many bit/s.
    ///
    /// # Panics
    /// If a layer is chosen that isn't sent, or too many keyframes are asked for.
    pub fn wait(&mut self, milliseconds: u16, estimate: u32, settles: bool) {
        self.now += Duration::from_millis(milliseconds.into());
        let periods = u128::from(milliseconds) / PERIOD.as_millis();
        for _ in 0..periods.min(8) {
            self.meters.iter_mut().for_each(Meter::tick);
        }
        let rates = [0, 1, 2].map(|layer: usize| self.meters[layer].rate());
        let had = self.choice.wanted();
        self.choice
            .choose(self.now, &rates, estimate.into(), settles);
        let wanted = self.choice.wanted();
        if rates.iter().any(|rate| *rate > 0) {
            assert!(
                wanted.is_some_and(|layer| rates[layer] > 0),
                "{wanted:?} of {rates:?}"
            );
        }
        if wanted != had {
            self.settling.begin(self.now);
            self.throttle.ask();
        }
        let missing = self.choice.is_missing(&rates);
        assert!(missing || !self.retry.fires(self.now, missing));
        assert!(!self.settling.fires(self.now) || !self.settling.fires(self.now));
        if self.throttle.fire(self.now) {
            let pause = self.fired.map(|last| self.now - last);
            assert!(pause.is_none_or(|pause| pause >= PAUSE), "{pause:?}");
            self.fired = Some(self.now);
        }
        assert!(self.throttle.due(self.now).is_none_or(|due| due > self.now));
    }

    /// The path is overloaded.
    pub fn overload(&mut self) {
        self.settling.end();
        self.choice.fall();
    }

    /// A new endpoint.
    pub fn add(&mut self, fragment: &str) {
        let is_taken = self.demux.by_fragment(fragment).is_some();
        let held = self.demux.add(fragment, self.endpoints);
        assert_eq!(held.is_none(), is_taken);
        self.held
            .extend(held.map(|held| (self.endpoints, held, Vec::new())));
        self.endpoints += 1;
    }

    /// A check of one of the endpoints came from there.
    ///
    /// # Panics
    /// If it takes another's address away, or one endpoint has ever more.
    pub fn learn(&mut self, nth: u8, address: SocketAddr, is_right: bool) {
        self.reach.checked(address, is_right);
        let before = self.demux.by_address(address);
        let count = self.held.len();
        let Some((endpoint, held, known)) = self.held.get_mut(usize::from(nth) % count.max(1))
        else {
            return;
        };
        if Demux::is_new(held, address) && self.demux.learn(held, *endpoint, address) {
            known.push(address);
            assert_eq!(self.demux.by_address(address), before.or(Some(*endpoint)));
        }
        assert!(known.len() < 100);
    }

    /// One of the endpoints goes.
    ///
    /// # Panics
    /// If something of it stays.
    pub fn remove(&mut self, nth: u8) {
        if self.held.is_empty() {
            return;
        }
        let nth = usize::from(nth) % self.held.len();
        let (endpoint, held, known) = self.held.swap_remove(nth);
        self.demux.remove(&held);
        for address in known {
            assert_ne!(self.demux.by_address(address), Some(endpoint));
        }
    }

    /// A datagram came from there.
    ///
    /// # Panics
    /// If a STUN server's answer says two things.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        if let Some(fragment) = forwarder::check(bytes) {
            let _ = (self.demux.by_fragment(fragment), thread_of(fragment));
        }
        self.reach.received(from, bytes);
        let mut round = Round::new(1, [Some(Ssrc::from(1)), None]);
        round.sent(bytes);
        // As if it were the answer to what was asked.
        let mut answer = bytes.to_vec();
        let request = net::request();
        if let (Some(id), Some(asked)) = (answer.get_mut(4..20), request.get(4..20)) {
            id.copy_from_slice(asked);
        }
        let _ = net::answer(&request, &answer);
        let mut mapping = Mapping::new(vec![from], self.now);
        assert!(!mapping.answer(from, bytes) || mapping.mapped().len() == 1);
    }

    /// Bytes came over TCP, in two pieces.
    ///
    /// # Panics
    /// If the frames depend on where the pieces end, or one is too long.
    pub fn stream(&mut self, bytes: &[u8], cut: u16) {
        let frames = |pieces: &[&[u8]]| {
            let (mut incoming, mut found) = (Vec::new(), Vec::new());
            for piece in pieces {
                incoming.extend_from_slice(piece);
                let mut taken = 0;
                loop {
                    match first_frame(&incoming[taken..]) {
                        Some(Some(frame)) => {
                            assert!(frame.len() <= FRAME);
                            taken += HEAD + frame.len();
                            found.push(frame.to_vec());
                        }
                        Some(None) => break,
                        None => return (found, true),
                    }
                }
                incoming.drain(..taken);
                assert!(incoming.len() < HEAD + FRAME);
            }
            (found, false)
        };
        let (one, other) = bytes.split_at(usize::from(cut).min(bytes.len()));
        assert_eq!(frames(&[bytes]), frames(&[one, other]));
    }
}

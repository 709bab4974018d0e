//! Offer and answer with webrtcbin 1.22, and the work-arounds that they need.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::{
    WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection as Direction, WebRTCSDPType,
};
use tokio::sync::watch;

use super::SessionConfig;
use super::addresses::Told;
use super::channels::Channels;
use super::check;
use super::feed::{Feed, Wire};
use super::feedback::{self, Paths};
use super::meter::Meter;
use super::promise;
use super::sdp::{self, Format, Role};
use super::stats::Sent;
use super::witness::Witness;
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind};
use crate::media::source::Source;
use crate::net::{InterfaceRules, mdns};

/// Candidates that wait for the remote description; more are dropped. Browsers send about a dozen.
const CANDIDATES: usize = 64;
/// Candidates that are taken in one session's life; more are dropped, so that nobody can fill the agent.
/// An ICE restart brings a dozen again.
const ALL_CANDIDATES: usize = 1_000;
/// Candidates with names that are looked up; browsers send one for each of their addresses.
const NAMES: usize = 16;
/// The first payload type that we offer, in the dynamic range of RFC 3551; each stream gets the next.
/// webrtcbin finds free ones for retransmissions. VP8 as 96 and Opus as 97 are what webrtc-sendrecv.c
/// sends, even if it asked us for the offer.
const FIRST_PAYLOAD_TYPE: u8 = 96;
/// The last one that we offer.
const LAST_PAYLOAD_TYPE: u8 = 126;

/// The `a=mid` of each media section, shared with the callback that tells candidates.
#[derive(Debug, Clone, Default)]
pub(super) struct Mids(Arc<Mutex<Vec<Option<String>>>>);

impl Mids {
    /// The mid of a section.
    pub(super) fn get(&self, mline_index: u32) -> Option<String> {
        let mids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mids.get(usize::try_from(mline_index).ok()?)
            .cloned()
            .flatten()
    }

    fn find(&self, mid: &str) -> Option<u32> {
        let mids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = mids
            .iter()
            .position(|known| known.as_deref() == Some(mid))?;
        u32::try_from(index).ok()
    }

    fn learn(&self, sdp: &str) {
        let mids = sdp::sections(sdp)
            .iter()
            .map(|section| section.mid.map(String::from))
            .collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mids;
    }
}

/// A stream that is in place and waits to be fed.
pub(super) struct Bound {
    pub(super) feed: Feed,
    pub(super) source: Arc<Source>,
    pub(super) codec: Codec,
}

/// Where a session's negotiation stands.
#[derive(Debug)]
pub(super) struct Negotiation {
    config: SessionConfig,
    webrtc: gst::Element,
    mids: Mids,
    witness: Arc<Witness>,
    paths: Arc<Paths>,
    /// The sections of the last description of ours.
    layout: Vec<check::Known>,
    /// For each configured stream how it was bound, once it is.
    wires: Vec<Option<Wire>>,
    has_channels: bool,
    /// An offer of ours waits for its answer.
    offering: bool,
    /// The other side's DTLS role, once it is settled.
    their_role: Option<Role>,
    /// Whether candidates can be added; for those that wait for an address, too.
    has_remote: watch::Sender<bool>,
    /// Candidates with a name instead of an address.
    names: usize,
    /// The offer that we are to answer.
    offered: String,
    candidates: Vec<(u32, String)>,
    /// That came until now.
    all_candidates: usize,
    dropped_candidates: usize,
}

impl Negotiation {
    pub(super) fn new(
        config: SessionConfig,
        webrtc: gst::Element,
        mids: Mids,
        (witness, paths): (Arc<Witness>, Arc<Paths>),
    ) -> Self {
        let wires = vec![None; config.streams.len()];
        Self {
            config,
            webrtc,
            mids,
            witness,
            paths,
            layout: Vec::new(),
            wires,
            has_channels: false,
            offering: false,
            their_role: None,
            has_remote: watch::Sender::new(false),
            names: 0,
            offered: String::new(),
            candidates: Vec::new(),
            all_candidates: 0,
            dropped_candidates: 0,
        }
    }

    /// The streams that are in place.
    pub(super) fn sent(&self) -> Vec<Sent> {
        let bound = self.config.streams.iter().zip(&self.wires);
        bound
            .filter_map(|(stream, wire)| {
                let wire = wire.as_ref()?;
                Some(Sent {
                    ssrc: wire.ssrc,
                    codec: wire.codec,
                    stream_id: stream.stream_id.clone(),
                    meter: wire.meter.clone(),
                })
            })
            .collect()
    }

    /// Puts every stream and channel in place that isn't yet.
    pub(super) fn prepare_offer(
        &mut self,
        pipeline: &gst::Pipeline,
        channels: &Channels,
    ) -> Result<Vec<Bound>, MediaError> {
        if self.offering {
            return Err(MediaError::OutOfOrder("an offer is under way already"));
        }
        let mut bound = Vec::new();
        if !*self.has_remote.borrow() {
            if !self.config.bundle {
                self.webrtc.set_property_from_str("bundle-policy", "none");
            }
            for index in 0..self.wires.len() {
                let (codecs, kind) = self.codecs(index);
                let codec = *codecs.first().ok_or_else(|| MediaError::NoSuchStream {
                    kind,
                    wanted: self.wanted(index),
                })?;
                let mline = u32::try_from(index).unwrap_or(u32::MAX);
                let wire = Wire {
                    codec,
                    pt: payload_type(index),
                    ssrc: new_ssrc(),
                    meter: Arc::new(Meter::new(kind, &self.witness)),
                    profile: None,
                    feedback: offered_feedback(),
                    mline,
                    direction: if self.config.invite {
                        Direction::Sendrecv
                    } else {
                        Direction::Sendonly
                    },
                };
                bound.push(self.bind(index, wire, pipeline)?);
            }
            self.ask_for_media();
        }
        self.make_channels(channels)?;
        Ok(bound)
    }

    /// Makes the offer, and applies it here.
    pub(super) async fn offer(&mut self) -> Result<String, MediaError> {
        let text = promise::create(&self.webrtc, "create-offer").await?;
        let text = sdp::with_retransmissions(&text);
        self.mids.learn(&text);
        self.layout = check::layout(&text);
        let local = "set-local-description";
        promise::set(&self.webrtc, local, WebRTCSDPType::Offer, &text).await?;
        self.offering = true;
        let text = Told::new(&self.config).description(text);
        Ok(if self.their_role.is_some() {
            sdp::with_open_role(&text)
        } else {
            text
        })
    }

    /// Applies the answer to our offer.
    pub(super) async fn accept_answer(&mut self, text: &str) -> Result<(), MediaError> {
        if !self.offering {
            return Err(MediaError::OutOfOrder(
                "there is no offer that waits for an answer",
            ));
        }
        check::answer(text, &self.layout).map_err(MediaError::Description)?;
        self.check_taken(text)?;
        let remote = "set-remote-description";
        let applied = sdp::both_ways(text, &self.open_sections());
        promise::set(&self.webrtc, remote, WebRTCSDPType::Answer, &applied).await?;
        self.offering = false;
        self.their_role = self.their_role.or_else(|| sdp::role(text));
        self.remote_is_set();
        Ok(())
    }

    /// Whether the answer takes any of our streams. One alone may be refused: not everyone has a screen.
    fn check_taken(&self, answer: &str) -> Result<(), MediaError> {
        let sections = sdp::sections(answer);
        let mut refused = None;
        for (index, wire) in self.wires.iter().enumerate() {
            let Some(wire) = wire else { continue };
            let place = usize::try_from(wire.mline).unwrap_or(usize::MAX);
            let Some(section) = sections.get(place) else {
                continue;
            };
            let takes = |format: &Format<'_>| format.pt == wire.pt && wire.codec.has_name(format);
            if !section.refused && section.formats.iter().any(takes) {
                return Ok(());
            }
            let (mut possible, kind) = self.codecs(index);
            possible.retain(|codec| *codec != wire.codec);
            let theirs = match section.refused {
                true => Vec::new(),
                false => formats(section),
            };
            refused = refused.or(Some(MediaError::Refused {
                kind,
                offered: wire.codec,
                theirs,
                possible,
            }));
        }
        refused.map_or(Ok(()), Err)
    }

    /// Applies an offer of the other side.
    pub(super) async fn take_offer(&mut self, text: &str) -> Result<(), MediaError> {
        if self.offering {
            // webrtcbin 1.22 can't take an offer back.
            return Err(MediaError::OutOfOrder(
                "both sides made an offer at once; start the session again",
            ));
        }
        check::offer(text, &self.layout).map_err(MediaError::Description)?;
        text.clone_into(&mut self.offered);
        let text = sdp::both_ways(text, &self.open_sections());
        let text = match self.their_role {
            Some(role) => sdp::with_role(&text, role),
            None => text,
        };
        let remote = "set-remote-description";
        promise::set(&self.webrtc, remote, WebRTCSDPType::Offer, &text).await
    }

    /// Binds our streams to the sections of the offer that want them.
    pub(super) fn prepare_answer(
        &mut self,
        offer: &str,
        pipeline: &gst::Pipeline,
        channels: &Channels,
    ) -> Result<Vec<Bound>, MediaError> {
        let mut bound = Vec::new();
        for (mline, section) in (0_u32..).zip(sdp::sections(offer)) {
            let taken = self.wires.iter().flatten().any(|wire| wire.mline == mline);
            let wants = matches!(section.direction, "sendrecv" | "recvonly") && !section.refused;
            let next = (0..self.wires.len()).find(|&index| {
                self.wires[index].is_none()
                    && self.config.streams[index].kind.name() == section.kind
            });
            let (false, true, Some(index)) = (taken, wants, next) else {
                continue;
            };
            let wire = self.choose(index, mline, &section)?;
            bound.push(self.bind(index, wire, pipeline)?);
        }
        if sdp::sections(offer)
            .iter()
            .any(|section| section.kind == "application")
        {
            self.make_channels(channels)?;
        }
        Ok(bound)
    }

    /// Makes the answer to the offer that was applied.
    pub(super) async fn answer(&mut self) -> Result<String, MediaError> {
        let text = promise::create(&self.webrtc, "create-answer").await?;
        let text = sdp::with_feedback(&text, &self.offered);
        self.mids.learn(&text);
        self.layout = check::layout(&text);
        let local = "set-local-description";
        promise::set(&self.webrtc, local, WebRTCSDPType::Answer, &text).await?;
        self.their_role = self
            .their_role
            .or_else(|| sdp::role(&text).map(Role::other));
        self.remote_is_set();
        let text = Told::new(&self.config).description(text);
        let sections = sdp::sections(&self.offered);
        let offered: Vec<_> = sections.iter().map(|it| it.direction).collect();
        Ok(sdp::answering(&text, &offered))
    }

    /// See [`super::Session::add_candidate`].
    pub(super) fn add_candidate(&mut self, mline_index: u32, mid: Option<&str>, candidate: &str) {
        let candidate = candidate.trim();
        if candidate.is_empty() {
            return;
        }
        tracing::trace!(candidate, "their candidate");
        let index = self.index(mline_index, mid);
        self.all_candidates = self.all_candidates.saturating_add(1);
        let has_room = self.all_candidates <= ALL_CANDIDATES;
        if has_room && *self.has_remote.borrow() {
            self.webrtc
                .emit_by_name::<()>("add-ice-candidate", &[&index, &candidate]);
        } else if has_room && self.candidates.len() < CANDIDATES {
            self.candidates.push((index, candidate.to_owned()));
        } else {
            self.dropped_candidates += 1;
            tracing::debug!(dropped = self.dropped_candidates, "too many candidates");
        }
    }

    /// What finds the address of a candidate that has a browser's made-up name instead (RFC 8839 section
    /// 5.1), and adds it; `None` for one that has an address. Without an answer it is left out: the other
    /// side's own checks reveal its address.
    pub(super) fn find_address(
        &mut self,
        mline_index: u32,
        mid: Option<&str>,
        candidate: &str,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let name = candidate.split(' ').nth(4)?;
        if !name.ends_with(".local") || self.names >= ALL_CANDIDATES {
            return None;
        }
        let (name, index) = (name.to_owned(), self.index(mline_index, mid));
        self.names += 1;
        let is_asked = mdns::is_name(&name) && self.names <= NAMES;
        let (nth, candidate) = (self.names, candidate.trim().to_owned());
        let (webrtc, interfaces) = (self.webrtc.clone(), self.config.interfaces.clone());
        let mut has_remote = self.has_remote.subscribe();
        Some(async move {
            let found = match is_asked {
                true => look_up(&name, interfaces).await,
                false => None,
            };
            tracing::debug!(name, nth, ?found, "a candidate with a name");
            let Some(ip) = found else { return };
            let candidate = candidate.replacen(&name, &ip.to_string(), 1);
            if has_remote.wait_for(|is_set| *is_set).await.is_ok() {
                webrtc.emit_by_name::<()>("add-ice-candidate", &[&index, &candidate]);
            }
        })
    }

    fn index(&self, mline_index: u32, mid: Option<&str>) -> u32 {
        let known = mid.and_then(|mid| self.mids.find(mid));
        known.unwrap_or(mline_index)
    }

    fn remote_is_set(&mut self) {
        self.has_remote.send_replace(true);
        for (index, candidate) in self.candidates.drain(..) {
            self.webrtc
                .emit_by_name::<()>("add-ice-candidate", &[&index, &candidate]);
        }
    }

    /// The sections of our streams in which the other side may send, too.
    fn open_sections(&self) -> Vec<u32> {
        let wires = self.wires.iter().flatten();
        wires
            .filter(|wire| wire.direction == Direction::Sendrecv)
            .map(|wire| wire.mline)
            .collect()
    }

    fn wanted(&self, index: usize) -> Vec<Codec> {
        let stream = &self.config.streams[index];
        if stream.codecs.is_empty() {
            stream.source.codecs(stream.kind)
        } else {
            stream.codecs.clone()
        }
    }

    /// The codecs in which a stream can be sent, in order, and its kind.
    fn codecs(&self, index: usize) -> (Vec<Codec>, Kind) {
        let stream = &self.config.streams[index];
        let possible = stream.source.codecs(stream.kind);
        let wanted = self
            .wanted(index)
            .into_iter()
            .filter(|codec| possible.contains(codec))
            .collect();
        (wanted, stream.kind)
    }

    /// The first of a stream's codecs that a section of an offer has, with the offer's payload type.
    fn choose(
        &self,
        index: usize,
        mline: u32,
        section: &sdp::Section<'_>,
    ) -> Result<Wire, MediaError> {
        let (codecs, kind) = self.codecs(index);
        let found = codecs.iter().find_map(|codec| {
            Some((
                *codec,
                section
                    .formats
                    .iter()
                    .find(|format| codec.matches(format))?,
            ))
        });
        let (codec, format) = found.ok_or_else(|| mismatch(kind, &codecs, section))?;
        Ok(Wire {
            codec,
            pt: format.pt,
            ssrc: new_ssrc(),
            meter: Arc::new(Meter::new(kind, &self.witness)),
            profile: format.parameter("profile-level-id").map(String::from),
            feedback: section.feedback.filter(|_| feedback::is_possible()),
            mline,
            direction: if section.direction == "sendrecv" {
                Direction::Sendrecv
            } else {
                Direction::Sendonly
            },
        })
    }

    fn bind(
        &mut self,
        index: usize,
        wire: Wire,
        pipeline: &gst::Pipeline,
    ) -> Result<Bound, MediaError> {
        let stream = &self.config.streams[index];
        let feed = Feed::bind(
            pipeline,
            &self.webrtc,
            &self.paths,
            &wire,
            &stream.stream_id,
        )?;
        let bound = Bound {
            feed,
            source: stream.source.clone(),
            codec: wire.codec,
        };
        self.wires[index] = Some(wire);
        self.witness.sends(self.sent());
        Ok(bound)
    }

    /// Adds a section for each kind of media that we only receive, with every codec that is wanted.
    fn ask_for_media(&self) {
        for (index, section) in (self.wires.len()..).zip(sections_of(&self.config.wanted)) {
            let mut caps = gst::Caps::new_empty();
            for (alternative, codec) in section.iter().enumerate() {
                caps.merge(
                    codec.wanted_caps(alternative_type(index, alternative), offered_feedback()),
                );
            }
            let transceiver = self.webrtc.emit_by_name::<Option<WebRTCRTPTransceiver>>(
                "add-transceiver",
                &[&Direction::Recvonly, &caps],
            );
            if let Some(transceiver) = transceiver {
                let is_video = section.iter().any(|codec| codec.kind() == Kind::Video);
                transceiver.set_property("do-nack", is_video);
            }
        }
    }

    fn make_channels(&mut self, channels: &Channels) -> Result<(), MediaError> {
        if !self.has_channels {
            self.has_channels = true;
            for label in &self.config.channels {
                channels.create(&self.webrtc, label, &self.config.channel_protocol)?;
            }
        }
        Ok(())
    }
}

/// Why an offer's section has none of our codecs.
fn mismatch(kind: Kind, ours: &[Codec], section: &sdp::Section<'_>) -> MediaError {
    let by_name = ours.iter().find_map(|codec| {
        let named = section.formats.iter().filter(|it| codec.has_name(it));
        let theirs: Vec<_> = named.map(|it| it.parameters().to_owned()).collect();
        (!theirs.is_empty()).then_some((*codec, theirs))
    });
    match by_name {
        Some((codec, theirs)) => MediaError::NoCommonFormat { codec, theirs },
        None => MediaError::NoCommonCodec {
            kind,
            ours: ours.to_vec(),
            theirs: formats(section),
        },
    }
}

/// The names of a section's codecs, each once.
fn formats(section: &sdp::Section<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for format in section.formats.iter().filter(|it| !it.is_auxiliary()) {
        if !names.iter().any(|name| name == format.name) {
            names.push(format.name.to_owned());
        }
    }
    names
}

/// Asks the networks that the session uses.
async fn look_up(name: &str, interfaces: InterfaceRules) -> Option<IpAddr> {
    let interfaces = tokio::task::spawn_blocking(move || interfaces.addresses());
    let interfaces = interfaces.await.ok()?.ok()?;
    mdns::resolve(name, &interfaces).await
}

/// The id by which we offer feedback.
fn offered_feedback() -> Option<u8> {
    feedback::is_possible().then_some(feedback::OFFERED_ID)
}

/// The payload type that we offer for a section.
fn payload_type(index: usize) -> u8 {
    let offset = u8::try_from(index).unwrap_or(u8::MAX);
    FIRST_PAYLOAD_TYPE.saturating_add(offset).min(127)
}

/// The payload type for a section's codecs: the first one gets what a section with one codec would,
/// the others are counted down from the end, out of the way of those that webrtcbin finds for
/// retransmissions: 1.22 doesn't look at any but the first codec's.
fn alternative_type(index: usize, alternative: usize) -> u8 {
    match u8::try_from(alternative) {
        Ok(0) => payload_type(index),
        Ok(alternative) => LAST_PAYLOAD_TYPE.saturating_sub(2 * (alternative - 1)),
        Err(_) => LAST_PAYLOAD_TYPE,
    }
}

/// The wanted codecs by kind, in the order in which the kinds and then the codecs come.
fn sections_of(wanted: &[Codec]) -> Vec<Vec<Codec>> {
    let mut sections: Vec<Vec<Codec>> = Vec::new();
    for codec in wanted.iter().copied().filter(|codec| codec.can_receive()) {
        match sections
            .iter_mut()
            .find(|section| section[0].kind() == codec.kind())
        {
            Some(section) => section.push(codec),
            None => sections.push(vec![codec]),
        }
    }
    sections
}

/// A synchronisation source that isn't 0, which webrtcbin takes for "none".
fn new_ssrc() -> u32 {
    fastrand::u32(1..u32::MAX)
}

//! One viewer: a pipeline around one `webrtcbin`, which offers or answers.
//!
//! The session belongs to one task, which takes its events and calls its methods; the methods that
//! negotiate need `&mut self`, so that one negotiation is in flight at a time.

mod addresses;
mod channels;
mod check;
mod config;
mod events;
mod feed;
pub(super) mod feedback;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod ice;
mod jitter;
pub(super) mod meter;
mod negotiation;
mod promise;
mod receive;
mod sampler;
pub(super) mod sdp;
mod silence;
mod stats;
mod tunnel;
mod verdict;
mod witness;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::{
    WebRTCICEConnectionState, WebRTCICEGatheringState, WebRTCKind, WebRTCPeerConnectionState,
    WebRTCRTPTransceiver,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::MediaError;
use super::guard::{self, Guard};
use super::metrics::Share;
use super::source::Source;
use addresses::Told;
use channels::Channels;
use events::Emitter;
use feedback::Paths;
use jitter::JitterBuffers;
use negotiation::Negotiation;
use silence::Silence;
use witness::Witness;

pub use channels::ChannelError;
pub use check::{Offered, OfferedLine};
pub use config::{RECEIVE_LATENCY, SessionConfig, StreamConfig};
pub use events::{SessionEvent, SessionEvents};
pub use jitter::InboundStats;
pub use meter::FrameAge;
pub use receive::{MakeReceiver, Receive, ReceivedTrack};
pub use stats::{OutboundStats, Stats};
pub use verdict::{Reason, Verdict};
pub(super) use witness::PHASES;
pub use witness::Phases;

/// A connection to one viewer.
#[derive(Debug)]
pub struct Session {
    negotiation: Negotiation,
    channels: Channels,
    received: Arc<receive::Counters>,
    previous: Mutex<stats::Previous>,
    emitter: Emitter,
    witness: Arc<Witness>,
    jitter: JitterBuffers,
    /// Of the open sessions of this process.
    _one: Option<Share>,
    /// Ends with the session, before the pipeline.
    tasks: JoinSet<()>,
    webrtc: gst::Element,
    pipeline: Guard,
}

impl Session {
    /// Builds the pipeline. Nothing is negotiated and no media runs yet; call [`Self::offer`] or
    /// [`Self::answer`] next.
    ///
    /// # Errors
    /// If [`super::init`] fails, or the pipeline can't be built.
    pub async fn start(mut config: SessionConfig) -> Result<(Self, SessionEvents), MediaError> {
        let (emitter, events) = events::queue(config.queue);
        let mut tasks = JoinSet::new();
        let tls = config.turn_tls.as_ref();
        config.ice_servers = tunnel::open(&config.ice_servers, tls, &mut tasks).await;
        let witness = Witness::new(&config, emitter.clone());
        let started = {
            let (config, emitter, witness) = (config.clone(), emitter.clone(), witness.clone());
            tokio::task::spawn_blocking(move || build(&config, &emitter, &witness))
        };
        let Parts {
            pipeline,
            webrtc,
            received,
            channels,
            mids,
            relays,
            silence,
            jitter,
            paths,
        } = started
            .await
            .map_err(|error| MediaError::Run(error.to_string()))??;
        if let Some(relays) = relays {
            tasks.spawn(ice::judge(relays, witness.clone()).in_current_span());
        }
        tasks.spawn(silence.watch(emitter.clone()).in_current_span());
        let samples = sampler::run(webrtc.downgrade(), jitter.clone(), witness.clone());
        tasks.spawn(samples.in_current_span());
        if let Some(bus) = pipeline.get()?.bus() {
            let (pipeline, witness) = (pipeline.get()?.downgrade(), witness.clone());
            let watch = watch_bus(pipeline, bus, emitter.clone(), witness);
            tasks.spawn(watch.in_current_span());
        }
        let shared = (witness.clone(), paths);
        let negotiation = Negotiation::new(config, webrtc.clone(), mids, shared);
        let previous = Mutex::default();
        let session = Self {
            negotiation,
            channels,
            received,
            previous,
            emitter,
            _one: witness.instruments().map(|it| Share::one(&it.sessions)),
            witness,
            jitter,
            tasks,
            webrtc,
            pipeline,
        };
        Ok((session, events))
    }

    /// Makes an offer: the first one, or a later one.
    ///
    /// # Errors
    /// If an offer is under way, no codec is installed, or webrtcbin fails. After an error close the
    /// session.
    pub async fn offer(&mut self) -> Result<String, MediaError> {
        let feeds = self
            .negotiation
            .prepare_offer(self.pipeline.get()?, &self.channels)?;
        self.spawn(feeds);
        self.negotiation.offer().await
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// If there is no offer to answer, or the answer can't be used.
    pub async fn accept_answer(&mut self, sdp: &str) -> Result<(), MediaError> {
        self.negotiation.accept_answer(sdp).await?;
        self.witness.described(sdp, true);
        Ok(())
    }

    /// Answers an offer: the first one, or a later one, whoever made the first.
    ///
    /// # Errors
    /// If an offer of ours is under way, the offer can't be used, or there is no common codec.
    pub async fn answer(&mut self, offer: &str) -> Result<String, MediaError> {
        self.negotiation.take_offer(offer).await?;
        let feeds = self
            .negotiation
            .prepare_answer(offer, self.pipeline.get()?, &self.channels)?;
        self.spawn(feeds);
        let answer = self.negotiation.answer().await?;
        self.witness.described(offer, true);
        Ok(answer)
    }

    /// Adds a candidate of the other side; kept until there is a remote description. An empty one
    /// (the end of candidates) is ignored. One that names an mDNS host is added once its address is
    /// found, if that is soon ([`crate::net::mdns`]); nothing waits for it.
    pub fn add_candidate(&mut self, mline_index: u32, mid: Option<&str>, candidate: &str) {
        self.witness.remote_candidate(candidate);
        match self.negotiation.find_address(mline_index, mid, candidate) {
            Some(search) => drop(self.tasks.spawn(search)),
            None => self.negotiation.add_candidate(mline_index, mid, candidate),
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// If the channel isn't open, or the other side takes messages too slowly.
    pub fn send_text(&self, label: &str, text: &str) -> Result<(), ChannelError> {
        self.channels.send_text(label, text)
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// If the channel isn't open, or the other side takes messages too slowly.
    pub fn send_binary(&self, label: &str, bytes: Bytes) -> Result<(), ChannelError> {
        self.channels.send_binary(label, bytes)
    }

    /// The protocol of a channel, as who made it said (RFC 8832 section 5.1); `None` if there is none
    /// of that label.
    #[must_use]
    pub fn channel_protocol(&self, label: &str) -> Option<String> {
        self.channels.protocol(label)
    }

    /// Closes one channel.
    pub fn close_channel(&self, label: &str) {
        self.channels.close_one(label);
    }

    /// Plays another source in all streams that were negotiated from now on, or nothing. Streams that
    /// the source doesn't have fall silent.
    ///
    /// # Errors
    /// If the source has one of the streams, but not in the codec that was negotiated for it. Then
    /// nothing changes.
    pub fn play(&self, source: Option<Arc<Source>>) -> Result<(), MediaError> {
        if let Some(source) = &source {
            for sent in self.negotiation.sent() {
                let (kind, codecs) = (sent.codec.kind(), source.codecs(sent.codec.kind()));
                if !codecs.is_empty() && !codecs.contains(&sent.codec) {
                    return Err(MediaError::NoCommonCodec {
                        kind,
                        ours: codecs,
                        theirs: vec![sent.codec.name().to_owned()],
                    });
                }
            }
        }
        self.emitter.play(source);
        Ok(())
    }

    /// How many bytes wait to be sent on a channel; `None` if there is none of that label.
    #[must_use]
    pub fn buffered_amount(&self, label: &str) -> Option<u64> {
        self.channels.buffered(label)
    }

    /// Sends a whole picture on every display soon, because the viewer asked for it in its own words.
    /// Throttled together with the requests of all other viewers.
    pub fn refresh(&self) {
        self.emitter.refresh();
    }

    /// How the session is doing.
    ///
    /// # Errors
    /// If webrtcbin doesn't answer.
    pub async fn stats(&self) -> Result<Stats, MediaError> {
        let reply = promise::statistics(&self.webrtc).await?;
        let sent = self.negotiation.sent();
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats = stats::read(&reply, &sent, &mut previous, Instant::now());
        stats.received_packets = self
            .received
            .packets
            .load(std::sync::atomic::Ordering::Relaxed);
        stats.received_bytes = self
            .received
            .bytes
            .load(std::sync::atomic::Ordering::Relaxed);
        stats.inbound = self.jitter.stats();
        stats.receive_latency = self.receive_latency();
        stats.phases = self.witness.phases();
        Ok(stats)
    }

    /// What the jitter buffers did until now, for each kind of media that came.
    #[must_use]
    pub fn inbound(&self) -> Vec<InboundStats> {
        self.jitter.stats()
    }

    /// How long received packets wait for late ones.
    #[must_use]
    pub fn receive_latency(&self) -> Duration {
        Duration::from_millis(self.webrtc.property::<u32>("latency").into())
    }

    /// Lets received packets wait this long for late ones, from now on. What is played shifts once.
    pub fn set_receive_latency(&self, latency: Duration) {
        self.webrtc.set_property("latency", milliseconds(latency));
    }

    /// Whether it has connected, even if the connection is lost for now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.emitter.connected().borrow()
    }

    /// Why there is no connection, for who ends the session for that; it is logged and counted.
    #[must_use]
    pub fn give_up(&self) -> Verdict {
        self.witness.give_up()
    }

    /// Ends the session: tells the other side's channels, gives the streams back, stops the pipeline.
    /// Takes 5 s at most. Dropping a session does the same without waiting.
    pub async fn close(mut self) {
        self.channels.close().await;
        self.tasks.shutdown().await;
        self.pipeline.close().await;
    }

    fn spawn(&mut self, feeds: Vec<negotiation::Bound>) {
        for negotiation::Bound {
            feed,
            source,
            codec,
        } in feeds
        {
            self.tasks
                .spawn(feed.run(source, codec, self.emitter.clone()));
        }
    }
}

/// What [`build`] makes.
struct Parts {
    pipeline: Guard,
    webrtc: gst::Element,
    received: Arc<receive::Counters>,
    channels: Channels,
    mids: negotiation::Mids,
    relays: Option<watch::Receiver<ice::Search>>,
    silence: Arc<Silence>,
    jitter: JitterBuffers,
    paths: Arc<Paths>,
}

/// Builds the pipeline and starts it. Blocks for some milliseconds.
fn build(
    config: &SessionConfig,
    emitter: &Emitter,
    witness: &Arc<Witness>,
) -> Result<Parts, MediaError> {
    super::init()?;
    super::spare::check()?;
    let pipeline = Guard::new(gst::Pipeline::new());
    pipeline.use_common_time();
    let webrtc = gst::ElementFactory::make("webrtcbin")
        .property_from_str("bundle-policy", "max-bundle")
        .property("latency", milliseconds(config.receive_latency))
        .build()
        .map_err(|error| MediaError::Build(error.to_string()))?;
    ice::quieten(&webrtc, config.tcp);
    addresses::configure(&webrtc, config)?;
    ice::configure(&webrtc, &config.ice_servers);
    if config.relay_only {
        webrtc.set_property_from_str("ice-transport-policy", "relay");
    }
    let inner = pipeline.get()?;
    inner
        .add(&webrtc)
        .map_err(|error| MediaError::Build(error.to_string()))?;
    let mids = negotiation::Mids::default();
    // Before the events: who is told that it failed asks why.
    witness::listen(&webrtc, witness);
    listen(&webrtc, (emitter, witness), &mids, Told::new(config));
    let relays = ice::watch(&webrtc, config);
    let silence = Silence::listen(&webrtc);
    let jitter = JitterBuffers::listen(&webrtc);
    let (receive, told) = (config.receive.clone(), emitter.clone());
    let received = receive::listen(&webrtc, inner, receive, told, witness.clone());
    retransmit(&webrtc);
    let paths = Paths::listen(&webrtc);
    let channels = Channels::listen(&webrtc, emitter.clone());
    pipeline.set_state(gst::State::Playing)?;
    Ok(Parts {
        pipeline,
        webrtc,
        received,
        channels,
        mids,
        relays,
        silence,
        jitter,
        paths,
    })
}

/// Lets lost packets of pictures that we receive be asked for again. Sound can do without them.
fn retransmit(webrtc: &gst::Element) {
    webrtc.connect("on-new-transceiver", false, |values| {
        let transceiver = values.get(1)?.get::<WebRTCRTPTransceiver>().ok()?;
        let is_video = transceiver.kind() == WebRTCKind::Video;
        transceiver.set_property("do-nack", is_video);
        None
    });
}

/// Turns webrtcbin's signals into events.
fn listen(
    webrtc: &gst::Element,
    (emitter, witness): (&Emitter, &Arc<Witness>),
    mids: &negotiation::Mids,
    told: Told,
) {
    let (to, mids) = (emitter.clone(), mids.clone());
    webrtc.connect("on-ice-candidate", false, move |values| {
        let index = values.get(1).and_then(|value| value.get::<u32>().ok());
        let candidate = values.get(2).and_then(|value| value.get::<String>().ok());
        if let (Some(mline_index), Some(candidate)) = (index, candidate) {
            for candidate in told.candidates(&candidate) {
                tracing::trace!(candidate, "our candidate");
                to.emit(SessionEvent::Candidate {
                    mline_index,
                    mid: mids.get(mline_index),
                    candidate,
                });
            }
        }
        None
    });
    let to = emitter.clone();
    webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
        if webrtc.property::<WebRTCICEGatheringState>("ice-gathering-state")
            == WebRTCICEGatheringState::Complete
        {
            to.emit(SessionEvent::GatheringDone);
        }
    });
    let to = emitter.clone();
    webrtc.connect_notify(Some("ice-connection-state"), move |webrtc, _| {
        let state = webrtc.property::<WebRTCICEConnectionState>("ice-connection-state");
        // The first of them may be passed over.
        if matches!(
            state,
            WebRTCICEConnectionState::Connected | WebRTCICEConnectionState::Completed
        ) {
            to.emit(SessionEvent::Checked);
        }
    });
    let (to, witness) = (emitter.clone(), witness.clone());
    webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
        let state = webrtc.property::<WebRTCPeerConnectionState>("connection-state");
        tracing::debug!(?state, "connection");
        match state {
            WebRTCPeerConnectionState::Connected => {
                witness.connected();
                to.set_connected(true);
                to.emit(SessionEvent::Connected);
            }
            WebRTCPeerConnectionState::Disconnected => {
                witness.lost();
                to.emit(SessionEvent::Disconnected);
            }
            WebRTCPeerConnectionState::Failed => witness.fail(),
            WebRTCPeerConnectionState::Closed => {
                to.fail("the other side ended the connection".to_owned());
            }
            _ => {}
        }
    });
}

/// Fails the session on an error of its pipeline, and keeps the latency right.
async fn watch_bus(
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    bus: gst::Bus,
    emitter: Emitter,
    witness: Arc<Witness>,
) {
    let mut messages = bus.stream();
    while let Some(message) = messages.next().await {
        match message.view() {
            // Streams come after the pipeline has started. Without the latency the RTCP reports
            // lack the times by which a viewer keeps sound and pictures together.
            gst::MessageView::Latency(_) => {
                if let Some(pipeline) = pipeline.upgrade() {
                    pipeline.call_async(|pipeline| {
                        if let Err(error) = pipeline.recalculate_latency() {
                            tracing::debug!(%error, "no latency");
                        }
                    });
                }
            }
            gst::MessageView::Error(_) => {
                let from = message
                    .src()
                    .map(|src| src.name().to_string())
                    .unwrap_or_default();
                // A viewer that leaves takes its SCTP association along; that is how it ends.
                emitter.fail(match from.starts_with("sctp") {
                    true => "the other side ended the connection".to_owned(),
                    false => {
                        witness.failed("pipeline");
                        guard::describe(&message)
                    }
                });
            }
            _ => {}
        }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

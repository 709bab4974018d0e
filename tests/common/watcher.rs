//! A viewer that comes through a real server, as a page does.

#![allow(
    dead_code,
    reason = "each test binary that wants it compiles this file, and none uses all of it"
)]

use std::time::Duration;

use bytes::Bytes;
use switchboard::dialect::cuttlefish::client::{ViewerClient, ViewerEvent};
use switchboard::dialect::cuttlefish::payload::{FromClient, FromDevice};
use switchboard::dialect::negotiation::{Candidate, Sdp};
use switchboard::hub::{EndpointId, Namespace};
use switchboard::media::{Session, SessionConfig, SessionEvent, SessionEvents, Stats};
use switchboard::peer::link::{Dialer, Link, ServerUrl, Trust};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::process::PATIENCE;
use crate::viewer::{Eyes, Seen};

/// A viewer of one device. It leaves when dropped.
pub(crate) struct Watcher {
    pub(crate) eyes: Eyes,
    events: mpsc::Receiver<SessionEvent>,
    orders: mpsc::Sender<Order>,
    seen: watch::Receiver<Seen>,
}

enum Order {
    Text(&'static str, String),
    Binary(&'static str, Bytes),
    Offer,
    Stats(oneshot::Sender<Stats>),
}

struct Call {
    client: ViewerClient,
    session: Session,
    told: SessionEvents,
    link: Option<Link>,
}

impl Watcher {
    /// Connects to a device, with channels of its own, and waits until it sees the first picture.
    pub(crate) async fn start(server: &str, device: &str, channels: &[&str]) -> Self {
        let config = SessionConfig {
            channels: channels.iter().map(|&label| label.to_owned()).collect(),
            ..SessionConfig::default()
        };
        let mut watcher = Self::begin(server, device, config).await;
        watcher.sees().await;
        watcher
    }

    /// Connects to a device by a session of this kind.
    pub(crate) async fn begin(server: &str, device: &str, config: SessionConfig) -> Self {
        let url = ServerUrl::new(&format!("ws://{server}"), "/connect_client").unwrap();
        let mut link = Dialer::new(url, &Trust::default())
            .unwrap()
            .dial()
            .await
            .unwrap();
        let client = ViewerClient::new(&EndpointId::new(Namespace::Device, device).unwrap());
        for frame in client.opened() {
            link.send(frame).await.unwrap();
        }
        let eyes = Eyes::new();
        let config = SessionConfig {
            receive: eyes.receive(),
            receive_latency: Duration::ZERO,
            ..config
        };
        let (session, told) = Session::start(config).await.unwrap();
        let (tell, events) = mpsc::channel(10_000);
        let (orders, ordered) = mpsc::channel(16);
        let seen = eyes.watch();
        let call = Call {
            client,
            session,
            told,
            link: Some(link),
        };
        tokio::spawn(call.run(ordered, tell));
        Self {
            eyes,
            events,
            orders,
            seen,
        }
    }

    /// Waits for the first picture.
    pub(crate) async fn sees(&mut self) {
        self.until("a picture", |seen| {
            seen.pictures.values().any(|it| it.frames > 0)
        })
        .await;
    }

    /// The kinds of the candidates in use: the viewer's and the device's.
    pub(crate) async fn path(&self) -> (String, String) {
        let (tell, told) = oneshot::channel();
        self.order(Order::Stats(tell)).await;
        let stats = timeout(PATIENCE, told).await.unwrap().unwrap();
        (stats.local_candidate, stats.remote_candidate)
    }

    /// Waits until what was seen is as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let found = timeout(PATIENCE, self.seen.wait_for(wanted)).await;
        assert!(matches!(found, Ok(Ok(_))), "no {what}");
    }

    /// The next event for which `wanted` gives something.
    pub(crate) async fn event<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(SessionEvent) -> Option<T>,
    ) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await?;
                if let Some(found) = wanted(event) {
                    return Some(found);
                }
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(Some(found)) => found,
            _ => panic!("no {what}"),
        }
    }

    /// Waits until a channel can be used.
    pub(crate) async fn opened(&mut self, channel: &str) {
        self.event("open channel", |event| match event {
            SessionEvent::ChannelOpen { label } if label == channel => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn text(&self, channel: &'static str, text: impl Into<String>) {
        self.order(Order::Text(channel, text.into())).await;
    }

    pub(crate) async fn binary(&self, channel: &'static str, bytes: &'static [u8]) {
        self.order(Order::Binary(channel, Bytes::from_static(bytes)))
            .await;
    }

    /// Makes an offer, as a page does for its microphone.
    pub(crate) async fn offer(&self) {
        self.order(Order::Offer).await;
    }

    async fn order(&self, order: Order) {
        assert!(self.orders.send(order).await.is_ok(), "the session is over");
    }

    /// The longest time without a new picture, over a span that lasts until `done`.
    pub(crate) async fn longest_gap(&mut self, done: impl Future<Output = ()>) -> Duration {
        let mut frames = self.eyes.frames();
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        tokio::pin!(done);
        loop {
            tokio::select! {
                () = &mut done => return longest.max(last.elapsed()),
                changed = self.seen.changed() => {
                    changed.expect("the session goes on");
                    if self.eyes.frames() > frames {
                        frames = self.eyes.frames();
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                }
            }
        }
    }
}

impl Call {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, tell: mpsc::Sender<SessionEvent>) {
        loop {
            tokio::select! {
                frame = next(&mut self.link) => self.frame(frame).await,
                event = self.told.recv() => match event {
                    Some(event) => self.event(event, &tell).await,
                    None => break,
                },
                order = orders.recv() => match order {
                    Some(Order::Text(channel, text)) => self.session.send_text(channel, &text).unwrap(),
                    Some(Order::Binary(channel, bytes)) => self.session.send_binary(channel, bytes).unwrap(),
                    Some(Order::Offer) => {
                        let offer = self.session.offer().await.unwrap();
                        self.send(&FromClient::Offer(Sdp::new(offer))).await;
                    }
                    Some(Order::Stats(tell)) => {
                        let _ = tell.send(self.session.stats().await.unwrap());
                    }
                    None => break,
                },
            }
        }
        self.session.close().await;
        if let Some(link) = self.link {
            link.close().await;
        }
    }

    async fn frame(&mut self, frame: Option<String>) {
        let Some(frame) = frame else {
            self.link = None;
            return;
        };
        match self.client.frame(&frame) {
            Some(ViewerEvent::DeviceInfo { .. }) => {
                let ice_servers = Vec::new();
                self.send(&FromClient::RequestOffer { ice_servers }).await;
            }
            Some(ViewerEvent::FromDevice(FromDevice::Offer(sdp))) => {
                let answer = self.session.answer(sdp.as_str()).await.unwrap();
                self.send(&FromClient::Answer(Sdp::new(answer))).await;
            }
            Some(ViewerEvent::FromDevice(FromDevice::Answer(sdp))) => {
                self.session.accept_answer(sdp.as_str()).await.unwrap();
            }
            Some(ViewerEvent::FromDevice(FromDevice::IceCandidate(it))) => {
                self.session.add_candidate(
                    it.mline_index.unwrap(),
                    it.mid.as_deref(),
                    &it.candidate,
                );
            }
            _ => {}
        }
    }

    async fn event(&mut self, event: SessionEvent, tell: &mpsc::Sender<SessionEvent>) {
        match event {
            SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } => {
                let candidate = Candidate {
                    candidate,
                    mid,
                    mline_index: Some(mline_index),
                };
                self.send(&FromClient::IceCandidate(candidate)).await;
            }
            event => {
                let _ = tell.try_send(event);
            }
        }
    }

    async fn send(&mut self, message: &FromClient) {
        if let Some(link) = &mut self.link {
            // A server that is gone is noticed by reading.
            let _ = link.send(self.client.to_device(message)).await;
        }
    }
}

/// The next frame, `None` at the end; never without a link.
async fn next(link: &mut Option<Link>) -> Option<String> {
    match link {
        Some(link) => link
            .receive()
            .await
            .ok()
            .map(|frame| frame.as_str().to_owned()),
        None => std::future::pending().await,
    }
}

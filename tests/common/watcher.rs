//! A viewer that comes through a real server, as a page does.

#![allow(
    dead_code,
    reason = "each test binary that wants it compiles this file, and none uses all of it"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use switchboard::config::Secret;
use switchboard::hub::{EndpointId, Namespace};
use switchboard::media::SessionEvent;
use switchboard::peer::ice::Ice;
use switchboard::peer::link::{Dialer, ServerUrl, Trust};
use switchboard::peer::reception::Reception;
use switchboard::peer::viewer::{Options, Order, PATH, Viewer};
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
    /// The viewer runs as long as this is here.
    _alive: oneshot::Sender<()>,
}

impl Watcher {
    /// Connects to a device, with channels of its own, and waits until it sees the first picture.
    pub(crate) async fn start(server: &str, device: &str, channels: &[&str]) -> Self {
        let ice = Ice::new(Vec::new(), false);
        let mut watcher = Self::begin(server, device, ice, channels).await;
        watcher.sees().await;
        watcher
    }

    /// Connects to a device with this way for media, and waits for nothing.
    pub(crate) async fn begin(server: &str, device: &str, ice: Ice, channels: &[&str]) -> Self {
        Self::begin_with(server, None, device, ice, channels).await
    }

    /// The same at a server that asks for a token.
    pub(crate) async fn begin_with(
        server: &str,
        token: Option<&Secret>,
        device: &str,
        ice: Ice,
        channels: &[&str],
    ) -> Self {
        let url = ServerUrl::new(&format!("ws://{server}"), PATH).unwrap();
        let mut dialer = Dialer::new(url, &Trust::default()).unwrap();
        if let Some(token) = token {
            dialer = dialer.with_token(token).unwrap();
        }
        let eyes = Eyes::new();
        let (tell, events) = mpsc::channel(10_000);
        let (orders, ordered) = mpsc::channel(16);
        let seen = eyes.watch();
        let viewer = Viewer::new(Options {
            device: EndpointId::new(Namespace::Device, device).unwrap(),
            reception: Reception::Display(eyes.receive()),
            accepts: Vec::new(),
            channels: channels.iter().map(|&label| label.to_owned()).collect(),
            ice: Arc::new(ice.waiting(Duration::ZERO)),
            orders: ordered,
            events: Some(tell),
        });
        let (alive, dropped) = oneshot::channel::<()>();
        tokio::spawn(viewer.run(dialer, async {
            let _ = dropped.await;
        }));
        Self {
            eyes,
            events,
            orders,
            seen,
            _alive: alive,
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
        self.order(Order::Text(channel.to_owned(), text.into()))
            .await;
    }

    pub(crate) async fn binary(&self, channel: &'static str, bytes: &'static [u8]) {
        self.order(Order::Binary(channel.to_owned(), Bytes::from_static(bytes)))
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

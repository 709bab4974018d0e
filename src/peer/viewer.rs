//! A viewer of a Cuttlefish device, as a page is one: it asks for an offer, answers it, and receives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::conversation::until;
use super::events::Events;
use super::ice::Ice;
use super::link::{Dialer, Link, LinkError};
use super::observe::Moment;
use super::reception::{Receiver, Reception};
use crate::config::IceServer;
use crate::dialect::cuttlefish::client::{ViewerClient, ViewerEvent};
use crate::dialect::cuttlefish::payload::{FromClient, FromDevice};
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::hub::EndpointId;
use crate::media::{
    Codec, MediaError, Offered, Session, SessionConfig, SessionEvent, SessionEvents, Stats,
};

/// Where viewers connect.
pub const PATH: &str = "/connect_client";

/// How long the device may take from the request for an offer to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broken connection may take to mend itself.
const MEND_TIMEOUT: Duration = Duration::from_secs(15);

/// What a viewer is.
pub struct Options {
    /// Which device to watch.
    pub device: EndpointId,
    /// What becomes of its media.
    pub reception: Reception,
    /// How long received packets wait for late ones.
    pub receive_latency: Duration,
    /// The codecs that are taken; an offer that sends media in none of them is refused. Empty for all.
    pub accepts: Vec<Codec>,
    /// Data channels to open, by label.
    pub channels: Vec<String>,
    /// How media finds its way, beside what the server tells of ICE servers.
    pub ice: Arc<Ice>,
    /// What to do in the session; without a sender, nothing.
    pub orders: mpsc::Receiver<Order>,
    /// Who is told what happens in the session; whoever doesn't keep up misses some of it.
    pub events: Option<mpsc::Sender<SessionEvent>>,
}

/// Something to do in the session.
#[derive(Debug)]
pub enum Order {
    /// Send a text on the channel of this label.
    Text(String, String),
    /// Send bytes on the channel of this label.
    Binary(String, Bytes),
    /// Offer anew, as a page does for its microphone.
    Offer,
    /// Tell how the session is doing.
    Stats(oneshot::Sender<Stats>),
}

/// Why a viewer sees nothing, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// There is no connection to the server.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server refused; above all because the device isn't registered.
    #[error("the server says: {0}")]
    Server(String),
    /// The device gave up.
    #[error("the device says: {0}")]
    Device(String),
    /// The session failed here.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// No connection came about, or it broke.
    #[error("{0}")]
    NotConnected(String),
}

/// A viewer, ready to connect.
pub struct Viewer {
    options: Options,
    client: ViewerClient,
    events: Events,
    /// The servers of the server's `config`.
    ice_servers: Vec<IceServer>,
    link: Option<Link>,
    live: Option<Live>,
    connected: bool,
    /// When to give up, and what to say then.
    deadline: Option<(Instant, &'static str)>,
}

struct Live {
    session: Session,
    events: SessionEvents,
    receiver: Receiver,
}

enum Happening {
    Event(SessionEvent),
    /// It is time to tell how the session is doing.
    Report,
    Over,
}

impl Viewer {
    /// Prepares a viewer.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            client: ViewerClient::new(&options.device),
            options,
            events: Events::new(Vec::new()),
            ice_servers: Vec::new(),
            link: None,
            live: None,
            connected: false,
            deadline: None,
        }
    }

    /// Connects and receives until the session is over, or `shutdown` ends. A server that goes away
    /// once there is media is no end.
    ///
    /// # Errors
    /// If there was no media session, or it failed.
    pub async fn run(
        mut self,
        dialer: Dialer,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ViewError> {
        let result = tokio::select! {
            result = self.watch(&dialer) => result,
            () = shutdown => Ok(()),
        };
        if let Some(live) = self.live.take() {
            if let Err(error) = &result {
                let why = error.to_string();
                live.receiver.tell_sight(|| Some(Moment::Failed(why)));
            }
            live.session.close().await;
            live.receiver.finish(&self.events).await?;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        result
    }

    async fn watch(&mut self, dialer: &Dialer) -> Result<(), ViewError> {
        let mut link = dialer.dial().await?;
        self.options.reception.registered();
        for frame in self.client.opened() {
            link.send(frame).await?;
        }
        self.link = Some(link);
        loop {
            let deadline = self.deadline;
            tokio::select! {
                frame = receive(&mut self.link) => match frame {
                    Ok(frame) => self.frame(&frame).await?,
                    Err(_) if self.connected => self.link = None,
                    Err(error) => return Err(error.into()),
                },
                happening = next(&mut self.live) => match happening {
                    Happening::Event(event) => self.event(event).await?,
                    Happening::Report => self.report().await,
                    Happening::Over => return Ok(()),
                },
                Some(order) = self.options.orders.recv() => self.order(order).await?,
                () = until(deadline.map(|(at, _)| at)) => {
                    let why = deadline.map_or("", |(_, why)| why);
                    return Err(ViewError::NotConnected(why.to_owned()));
                }
            }
        }
    }

    async fn frame(&mut self, frame: &str) -> Result<(), ViewError> {
        match self.client.frame(frame) {
            Some(ViewerEvent::Config { ice_servers }) => self.ice_servers = ice_servers,
            Some(ViewerEvent::DeviceInfo { .. }) => self.begin().await?,
            Some(ViewerEvent::FromDevice(message)) => self.message(message).await?,
            Some(ViewerEvent::ServerError(text)) if !self.connected => {
                return Err(ViewError::Server(text));
            }
            Some(ViewerEvent::ServerError(error)) => {
                tracing::warn!(%error, "the server reports an error");
            }
            Some(ViewerEvent::Unreadable(why)) => tracing::warn!(%why, "an unreadable message"),
            None => {}
        }
        Ok(())
    }

    /// The call is open: gets ready to answer, and asks for the offer.
    async fn begin(&mut self) -> Result<(), ViewError> {
        let receiver = self.options.reception.start(None);
        let config = SessionConfig {
            channels: self.options.channels.clone(),
            receive: receiver.receive(),
            receive_latency: self.options.receive_latency,
            ..self.options.ice.session(&[&self.ice_servers]).await
        };
        let (session, events) = Session::start(config).await?;
        self.live = Some(Live {
            session,
            events,
            receiver,
        });
        self.deadline = Some((
            Instant::now() + CONNECT_TIMEOUT,
            "no connection to the device within 30 s",
        ));
        let ice_servers = self.ice_servers.clone();
        self.send(&FromClient::RequestOffer { ice_servers }).await;
        Ok(())
    }

    async fn message(&mut self, message: FromDevice) -> Result<(), ViewError> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        match message {
            FromDevice::Offer(sdp) => {
                if let Err(error) = Offered::read(sdp.as_str())
                    .and_then(|offered| offered.is_in(&self.options.accepts))
                {
                    self.send(&FromClient::Error(error.to_string())).await;
                    return Err(error.into());
                }
                let answer = live.session.answer(sdp.as_str()).await?;
                live.receiver.tell_sight(|| Some(Moment::Negotiated));
                self.send(&FromClient::Answer(Sdp::new(answer))).await;
            }
            FromDevice::Answer(sdp) => live.session.accept_answer(sdp.as_str()).await?,
            FromDevice::IceCandidate(it) => {
                live.receiver
                    .tell_sight(|| Some(Moment::RemoteCandidate(it.candidate.clone())));
                live.session.add_candidate(
                    it.mline_index.unwrap_or(0),
                    it.mid.as_deref(),
                    &it.candidate,
                );
            }
            FromDevice::Error(text) if !self.connected => return Err(ViewError::Device(text)),
            FromDevice::Error(error) => tracing::warn!(%error, "the device reports an error"),
            FromDevice::Unknown(kind) => tracing::debug!(kind, "an unknown message"),
        }
        Ok(())
    }

    async fn event(&mut self, event: SessionEvent) -> Result<(), ViewError> {
        if let Some(live) = &self.live {
            live.receiver.tell_sight(|| Moment::of(&event));
        }
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
                return Ok(());
            }
            SessionEvent::Connected => (self.connected, self.deadline) = (true, None),
            SessionEvent::Disconnected => {
                let broken = "the connection broke and did not come back within 15 s";
                self.deadline = Some((Instant::now() + MEND_TIMEOUT, broken));
            }
            SessionEvent::Failed { ref why } => {
                return Err(ViewError::NotConnected(why.clone()));
            }
            _ => {}
        }
        if let Some(events) = &self.options.events {
            let _ = events.try_send(event);
        }
        Ok(())
    }

    async fn order(&mut self, order: Order) -> Result<(), ViewError> {
        let Some(live) = &mut self.live else {
            tracing::warn!("there is no session to do this in: {order:?}");
            return Ok(());
        };
        let sent = match order {
            Order::Text(channel, text) => live.session.send_text(&channel, &text),
            Order::Binary(channel, bytes) => live.session.send_binary(&channel, bytes),
            Order::Offer => {
                let offer = live.session.offer().await?;
                self.send(&FromClient::Offer(Sdp::new(offer))).await;
                Ok(())
            }
            Order::Stats(tell) => {
                let _ = tell.send(live.session.stats().await?);
                Ok(())
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a message was not sent");
        }
        Ok(())
    }

    async fn report(&mut self) {
        if let Some(live) = &mut self.live {
            live.receiver.report(&self.events, &live.session).await;
        }
    }

    async fn send(&mut self, message: &FromClient) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.send(self.client.to_device(message)).await
        {
            // A server that is gone is noticed by reading.
            tracing::debug!(%error, "a message to the device is lost");
        }
    }
}

/// The next frame; never without a connection.
async fn receive(link: &mut Option<Link>) -> Result<String, LinkError> {
    match link {
        Some(link) => link.receive().await.map(|frame| frame.as_str().to_owned()),
        None => std::future::pending().await,
    }
}

/// What happens in the session; never without one.
async fn next(live: &mut Option<Live>) -> Happening {
    let Some(live) = live else {
        return std::future::pending().await;
    };
    tokio::select! {
        event = live.events.recv() => event.map_or(Happening::Over, Happening::Event),
        () = live.receiver.due() => Happening::Report,
    }
}

//! A viewer of a Cuttlefish device, as a page is one: it asks for an offer, answers it, and receives.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::ice::Ice;
use super::link::{Dialer, Link};
use super::reception::Reception;
use super::watching::{Watching, finish, next, receive};
use crate::config::IceServer;
use crate::dialect::cuttlefish::client::{ViewerClient, ViewerEvent};
use crate::dialect::cuttlefish::payload::{FromClient, FromDevice};
use crate::dialect::negotiation::Sdp;
use crate::hub::EndpointId;
use crate::media::{Codec, Offered, SessionConfig, SessionEvent};

pub use super::watching::{Order, WatchError};

/// Where viewers connect.
pub const PATH: &str = "/connect_client";

/// What a viewer is.
pub struct Options {
    /// Which device to watch.
    pub device: EndpointId,
    /// What becomes of its media.
    pub reception: Reception,
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

/// A viewer, ready to connect.
pub struct Viewer {
    options: Options,
    client: ViewerClient,
    /// The servers of the server's `config`.
    ice_servers: Vec<IceServer>,
    link: Option<Link>,
    watching: Option<Watching>,
}

impl Viewer {
    /// Prepares a viewer.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            client: ViewerClient::new(&options.device),
            options,
            ice_servers: Vec::new(),
            link: None,
            watching: None,
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
    ) -> Result<(), WatchError> {
        let result = tokio::select! {
            Err(error) = self.watch(&dialer) => Err(error),
            () = shutdown => Ok(()),
        };
        finish(result, self.watching.take(), self.link.take()).await
    }

    /// Watches until something fails.
    async fn watch(&mut self, dialer: &Dialer) -> Result<std::convert::Infallible, WatchError> {
        let mut link = dialer.dial().await?;
        for frame in self.client.opened() {
            link.send(frame).await?;
        }
        self.link = Some(link);
        loop {
            tokio::select! {
                frame = receive(&mut self.link) => match frame {
                    Ok(frame) => self.frame(&frame).await?,
                    Err(_) if self.is_connected() => self.link = None,
                    Err(error) => return Err(error.into()),
                },
                happening = next(&mut self.watching) => {
                    if let Some(watching) = &mut self.watching
                        && let Some(candidate) = watching.happened(happening).await?
                    {
                        self.send(&FromClient::IceCandidate(candidate)).await;
                    }
                }
                Some(order) = self.options.orders.recv() => {
                    if let Some(watching) = &mut self.watching
                        && let Some(offer) = watching.obey(order).await?
                    {
                        self.send(&FromClient::Offer(offer)).await;
                    }
                }
            }
        }
    }

    async fn frame(&mut self, frame: &str) -> Result<(), WatchError> {
        match self.client.frame(frame) {
            Some(ViewerEvent::Config { ice_servers }) => {
                self.options.reception.registered();
                self.ice_servers = ice_servers;
            }
            Some(ViewerEvent::DeviceInfo { .. }) => self.begin().await?,
            Some(ViewerEvent::FromDevice(message)) => self.message(message).await?,
            Some(ViewerEvent::ServerError(text)) if !self.is_connected() => {
                return Err(WatchError::Refused(format!("the server says: {text}")));
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
    async fn begin(&mut self) -> Result<(), WatchError> {
        let config = SessionConfig {
            channels: self.options.channels.clone(),
            ..self.options.ice.session(&[&self.ice_servers]).await
        };
        let told = self.options.events.clone();
        let watching = Watching::start(&self.options.reception, config, told).await?;
        self.watching = Some(watching);
        let ice_servers = self.ice_servers.clone();
        self.send(&FromClient::RequestOffer { ice_servers }).await;
        Ok(())
    }

    async fn message(&mut self, message: FromDevice) -> Result<(), WatchError> {
        let Some(watching) = &mut self.watching else {
            return Ok(());
        };
        match message {
            FromDevice::Offer(sdp) => {
                if let Err(error) = is_acceptable(&sdp, &self.options.accepts) {
                    self.send(&FromClient::Error(error.to_string())).await;
                    return Err(error);
                }
                let answer = watching.answer(&sdp).await?;
                self.send(&FromClient::Answer(answer)).await;
            }
            FromDevice::Answer(sdp) => watching.accept_answer(&sdp).await?,
            FromDevice::IceCandidate(it) => watching.candidate(&it),
            FromDevice::Error(text) if !watching.is_connected() => {
                return Err(WatchError::Refused(format!("the device says: {text}")));
            }
            FromDevice::Error(error) => tracing::warn!(%error, "the device reports an error"),
            FromDevice::Unknown(kind) => tracing::debug!(kind, "an unknown message"),
        }
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.watching.as_ref().is_some_and(Watching::is_connected)
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

fn is_acceptable(offer: &Sdp, accepts: &[Codec]) -> Result<(), WatchError> {
    Ok(Offered::read(offer.as_str())?.is_in(accepts)?)
}

//! A page that has a gecko run a worker: it offers channels and media, and receives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::ice::Ice;
use super::link::{Dialer, Link};
use super::reception::Reception;
use super::watching::{Watching, finish, next, receive};
use crate::config::Secret;
use crate::dialect::cause::Errno;
use crate::dialect::gecko::page::{PageClient, PageEvent};
use crate::dialect::negotiation::Sdp;
use crate::media::{Codec, SessionConfig, SessionEvent};

pub use super::watching::{Order, WatchError};

/// Where pages connect.
pub const PATH: &str = "/";

/// How soon a server without a gecko is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// What a page is.
pub struct Options {
    /// Whose worker it is.
    pub token: Secret,
    /// What is to run: a script's URL, or `pipeline:NAME`.
    pub source: String,
    /// What becomes of its media.
    pub reception: Reception,
    /// The codecs that are asked for, the preferred one first; no media without any.
    pub wanted: Vec<Codec>,
    /// How long to ask again while the server has no gecko.
    pub patience: Duration,
    /// Data channels to open, by label.
    pub channels: Vec<String>,
    /// How media finds its way.
    pub ice: Arc<Ice>,
    /// What to do in the session; without a sender, nothing.
    pub orders: mpsc::Receiver<Order>,
    /// Who is told what happens in the session; whoever doesn't keep up misses some of it.
    pub events: Option<mpsc::Sender<SessionEvent>>,
}

/// A page, ready to connect.
pub struct Page {
    options: Options,
    client: PageClient,
    link: Option<Link>,
    watching: Option<Watching>,
    /// The gecko said that page and worker are connected: it can know before our own session does.
    is_connected: bool,
}

impl Page {
    /// Prepares a page.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            client: PageClient::default(),
            link: None,
            watching: None,
            is_connected: false,
        }
    }

    /// Demands the worker and receives until the session is over, or `shutdown` ends. The server's
    /// connection ends once page and worker are connected.
    ///
    /// # Errors
    /// If there was no worker or no media session, or it failed.
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
        let offer = self.begin().await?;
        let give_up = Instant::now() + self.options.patience;
        loop {
            match self.talk(dialer, &offer).await {
                Err(WatchError::NoGecko) if Instant::now() < give_up => {
                    tracing::debug!("no gecko yet");
                    sleep(AGAIN).await;
                }
                result => return result,
            }
        }
    }

    /// Demands the worker, and talks until something fails.
    async fn talk(
        &mut self,
        dialer: &Dialer,
        offer: &Sdp,
    ) -> Result<std::convert::Infallible, WatchError> {
        let mut link = dialer.dial().await?;
        let (token, source) = (self.options.token.expose(), &self.options.source);
        link.send(self.client.hello(token, source, offer)).await?;
        self.link = Some(link);
        self.options.reception.registered();
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
                        self.send(self.client.candidate(&candidate)).await;
                    }
                }
                Some(order) = self.options.orders.recv() => {
                    if let Some(watching) = &mut self.watching
                        && watching.obey(order).await?.is_some()
                    {
                        tracing::warn!("a page offers once only");
                    }
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.is_connected || self.watching.as_ref().is_some_and(Watching::is_connected)
    }

    async fn begin(&mut self) -> Result<Sdp, WatchError> {
        let config = SessionConfig {
            wanted: self.options.wanted.clone(),
            channels: self.options.channels.clone(),
            ..self.options.ice.session(&[]).await
        };
        let told = self.options.events.clone();
        let mut watching = Watching::start(&self.options.reception, config, told).await?;
        let offer = watching.session.offer().await?;
        self.watching = Some(watching);
        Ok(Sdp::new(offer))
    }

    async fn frame(&mut self, frame: &str) -> Result<(), WatchError> {
        let Some(watching) = &mut self.watching else {
            return Ok(());
        };
        match self.client.frame(frame) {
            Some(PageEvent::Answered { answer, .. }) => watching.accept_answer(&answer).await?,
            Some(PageEvent::Candidate(it)) => watching.candidate(&it),
            Some(PageEvent::Connected) => self.is_connected = true,
            None => {}
            Some(PageEvent::Refused { errno, .. }) if errno == Errno::NO_GECKO => {
                return Err(WatchError::NoGecko);
            }
            Some(PageEvent::Refused { errno, reason }) => {
                let why = format!("no worker runs: {reason} (error {})", errno.0);
                return Err(WatchError::Refused(why));
            }
            Some(PageEvent::Unreadable(why)) => tracing::warn!(%why, "an unreadable message"),
        }
        Ok(())
    }

    async fn send(&mut self, frame: String) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.send(frame).await
        {
            // A server that is gone is noticed by reading.
            tracing::debug!(%error, "a message to the server is lost");
        }
    }
}

//! The edge: listeners, TLS, HTTP, WebSockets, limits, metrics, the console.
//!
//! One task serves each TCP connection. An upgraded one hands its socket to a task of its own,
//! which owns a dialect's session (`connection`). All sessions meet in the hub (`switch`), which
//! answers into one bounded queue per connection (`outbox`).

mod accounts;
mod addresses;
mod admin;
mod auth;
mod connection;
mod console;
mod cuttlefish;
mod documents;
mod drain;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gecko;
mod gstreamer;
mod hook;
mod http;
mod ice;
mod kurento;
mod listener;
mod media;
mod metrics;
mod outbox;
mod pace;
mod polling;
mod scripts;
mod settings;
mod snapshots;
mod stream;
mod switch;
mod tls;
pub mod tokens;
mod traffic;
mod upgrade;

pub use settings::Reloader;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::hub::MediaEvent;
use addresses::Addresses;
use admin::Begun;
use auth::Revoked;
use drain::Phase;
use hook::Hook;
use listener::{Inherited, Listener};
use media::Media;
use metrics::Metrics;
use pace::Rate;
use polling::PollingClients;
use scripts::Scripts;
use settings::Settings;
use snapshots::Snapshots;
use switch::Switch;
use tls::Tls;
use tokens::VerifierError;

/// Descriptors that the server needs beside one per connection.
const OWN_DESCRIPTORS: u64 = 64;

/// A server that has everything it needs, and accepts nothing yet.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<Listener>,
    /// What the media plane says.
    media: mpsc::Receiver<MediaEvent>,
    tls: Option<Tls>,
}

/// Where a listener is. Displays as the URL of its console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The address, with the port that the system chose if it had to.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no address to listen on.
    #[error("no address to listen on is given: add one, such as `--listen 127.0.0.1:8080`")]
    NoListener,
    /// A listener shall speak TLS, and no certificate is named.
    #[error(
        "{0} shall speak TLS, but there is no certificate: name one, or let the server make one"
    )]
    NoTls(SocketAddr),
    /// Another program has the port.
    #[error("{0} is in use by another program: stop that, or choose another port")]
    InUse(SocketAddr),
    /// The system doesn't let this user have the port.
    #[error(
        "the system doesn't let this user listen on {0}: choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
    )]
    Forbidden(SocketAddr),
    /// No listener for another reason.
    #[error("cannot listen on {address}: {source}; choose an address of this machine")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A certificate or key can't be read.
    #[error("cannot read {}: {source}; check the path and its permissions", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A made certificate or key can't be kept.
    #[error("cannot write {}: {source}; name a directory that this user can write to", .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A certificate file without a certificate.
    #[error("{} holds no certificate in PEM form (a block that starts with BEGIN CERTIFICATE)", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A key file without a key.
    #[error("{} holds no private key in PEM form (a block that starts with BEGIN PRIVATE KEY)", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of another certificate.
    #[error("the key in {} isn't that of the certificate in {}: name the two that belong together", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate or key that can't be used.
    #[error("cannot use the certificate in {}: {source}", .path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What TLS says of it.
        source: rustls::Error,
    },
    /// The certificates by which devices' own are checked can't be used.
    #[error("cannot check devices by the certificates in {}: {why}", .path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate couldn't be made.
    #[error("cannot make a certificate for {}: {source}; use host names and IP addresses", .names.join(", "))]
    Make {
        /// The names that it was for.
        names: Vec<String>,
        /// The reason.
        source: rcgen::Error,
    },
    /// Tokens can't be checked.
    #[error(transparent)]
    Accounts(#[from] VerifierError),
    /// The media plane can't start.
    #[error(transparent)]
    Media(#[from] crate::rooms::StartError),
    /// The hook for custom requests can't be asked.
    #[error("cannot set up TLS towards the hook for custom requests: {0}")]
    Hook(rustls::Error),
    /// The directory of static files is missing.
    #[error("{} is no directory: name the one that holds the files to serve", .path.display())]
    NoAssets {
        /// What was named.
        path: PathBuf,
    },
}

/// What all of the edge shares.
struct App {
    begun: Begun,
    config: Config,
    settings: RwLock<Arc<Settings>>,
    kurento: Arc<kurento::Settings>,
    switch: Arc<Switch>,
    media: Arc<Media>,
    metrics: Arc<Metrics>,
    polling: PollingClients,
    scripts: Scripts,
    snapshots: Snapshots,
    revoked: Revoked,
    /// Who answers custom requests, if anybody does.
    hook: Option<Hook>,
    phase: watch::Sender<Phase>,
    addresses: Arc<Addresses>,
    /// How fast one WebSocket may send…
    rate: Rate,
    /// …and one of Kurento's, whose requests may be told to a whole room.
    kurento_rate: Rate,
    /// One permit per TCP connection.
    slots: Arc<Semaphore>,
    /// How many permits there are.
    slot_count: u32,
    /// Whether only this machine reaches the listeners, and no proxy passes others on.
    is_local: bool,
}

/// Loads the certificate and takes every address. Nothing is accepted yet.
///
/// Raises the process's limit of open files to the most that the system allows.
///
/// # Errors
/// [`StartError`]; each says what is wrong, where, and what to do.
pub async fn bind(config: Config) -> Result<Server, StartError> {
    if config.listen.is_empty() {
        return Err(StartError::NoListener);
    }
    if let Some(path) = config.assets.as_ref().filter(|path| !path.is_dir()) {
        return Err(StartError::NoAssets { path: path.clone() });
    }
    raise_descriptor_limit(config.limits.connections);
    let tls = match &config.tls {
        Some(source) if config.listen.iter().any(|listen| listen.tls) => {
            Some(tls::load(source, config.client_ca.as_deref())?)
        }
        _ => None,
    };
    let mut inherited = Inherited::take();
    let listeners = config
        .listen
        .iter()
        .map(|&listen| listener::bind(listen, tls.as_ref(), &mut inherited))
        .collect::<Result<Vec<_>, _>>()?;
    let metrics = Arc::new(Metrics::new());
    metrics.certificate_ends(tls.as_ref().and_then(Tls::ends));
    let bound: Vec<_> = listeners.iter().map(|it| it.bound.address).collect();
    let (plane, media) = Media::start(&config, &bound, Arc::clone(&metrics)).await?;
    Ok(Server {
        app: Arc::new(App::new(config, Arc::new(plane), metrics)?),
        listeners,
        media,
        tls,
    })
}

impl Server {
    /// What gives it another configuration while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.app))
    }

    /// Where the server listens, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<Bound> {
        self.listeners
            .iter()
            .map(|listener| listener.bound)
            .collect()
    }

    /// SHA-256 of the certificate that the server made, as browsers show it: upper-case hex bytes
    /// with colons between. `None` if it made none.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.tls.as_ref()?.fingerprint.as_deref()
    }

    /// Serves until `shutdown` completes, then tells everyone goodbye. Returns when all connections
    /// are closed, or after [`Limits::shutdown`](crate::config::Limits::shutdown) at the latest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.run_and_drain(std::future::pending(), shutdown).await;
    }

    /// The same, but when `drain` completes before, the server takes nobody new from then on, and
    /// shuts down when nobody talks with anybody, or after [`Config::drain`].
    pub async fn run_and_drain(
        self,
        drain: impl Future<Output = ()>,
        shutdown: impl Future<Output = ()>,
    ) {
        let Self {
            app,
            listeners,
            mut media,
            tls,
        } = self;
        let mut tasks = JoinSet::new();
        for listener in listeners {
            info!(url = %listener.bound, "listening");
            tasks.spawn(listener::accept(listener, Arc::clone(&app)));
        }
        if let Some(tls) = tls {
            tasks.spawn(tls.follow(Arc::clone(&app)));
        }
        let switch = Arc::clone(&app.switch);
        tasks.spawn(async move { switch.keep_time().await });
        let switch = Arc::clone(&app.switch);
        tasks.spawn(async move {
            while let Some(event) = media.recv().await {
                switch.media(event);
            }
        });
        let expelling = Arc::clone(&app);
        tasks.spawn(async move { auth::expire(&expelling).await });
        let plane = Arc::clone(&app.media);
        tasks.spawn(async move { plane.keep_addresses().await });
        let expiring = Arc::clone(&app);
        tasks.spawn(async move { polling::expire(&expiring).await });

        let drained = async {
            drain.await;
            app.drain(app.config.drain).await;
        };
        tokio::select! {
            () = shutdown => {}
            () = drained => {}
        }
        info!("shutting down");
        app.phase.send_replace(Phase::Stopping);
        app.switch.shut_down();
        let all_closed = app.slots.acquire_many(app.slot_count);
        if tokio::time::timeout(app.config.limits.shutdown, all_closed)
            .await
            .is_err()
        {
            let open = app.slot_count as usize - app.slots.available_permits();
            warn!(open, "connections did not close in time");
        }
        tasks.shutdown().await;
    }
}

impl App {
    fn new(config: Config, media: Arc<Media>, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let settings = Settings::new(&config, &metrics)?;
        let slot_count = u32::try_from(config.limits.connections.min(Semaphore::MAX_PERMITS))
            .unwrap_or(u32::MAX);
        let switch = Arc::new(Switch::new(
            &config.limits,
            Arc::clone(&metrics),
            Arc::clone(&media),
        ));
        let is_own = |it: &config::Listen| it.address.ip().is_loopback();
        Ok(Self {
            is_local: config.proxies.is_none() && config.listen.iter().all(is_own),
            begun: Begun::now(),
            snapshots: Snapshots::new(switch.changes(), config.limits.event_streams),
            settings: RwLock::new(Arc::new(settings)),
            addresses: Arc::new(Addresses::new(&config)),
            rate: Rate::new(
                config.limits.messages_per_second,
                config.limits.bytes_per_second,
            ),
            kurento_rate: Rate::new(
                config
                    .limits
                    .kurento_requests
                    .min(config.limits.messages_per_second),
                config.limits.bytes_per_second,
            ),
            kurento: Arc::new(kurento_settings(&config)),
            hook: match &config.kurento.custom_request_url {
                Some(url) => {
                    let most = config.limits.custom_request_bytes;
                    Some(Hook::new(url.clone(), most).map_err(StartError::Hook)?)
                }
                None => None,
            },
            switch,
            media,
            polling: PollingClients::default(),
            scripts: Scripts::default(),
            revoked: Revoked::default(),
            metrics,
            phase: watch::Sender::new(Phase::Serving),
            slots: Arc::new(Semaphore::new(slot_count as usize)),
            slot_count,
            config,
        })
    }
}

fn kurento_settings(config: &Config) -> kurento::Settings {
    let limits = &config.limits;
    kurento::Settings {
        name_bytes: limits.id_bytes,
        waiting: limits.queue_messages,
        waiting_bytes: limits.queue_bytes,
        has_hook: config.kurento.custom_request_url.is_some(),
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/", self.address)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// Each connection takes a descriptor, and the usual soft limit of 1024 is there for programs that
/// use `select`.
fn raise_descriptor_limit(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = connections as u64 + OWN_DESCRIPTORS;
    if allowed < needed {
        warn!(
            allowed,
            needed,
            connections,
            "the limit of open files is too low for the limit of connections; raise the one \
             (ulimit -n) or lower the other ([limits] connections)"
        );
    }
}

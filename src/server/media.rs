//! Between the hub's words and those of the media plane.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use super::metrics::{Metrics, Phase};
use crate::config::{self, Config, TlsSource, stun_servers};
use crate::dialect::Dialect;
use crate::hub::{
    MediaCandidate, MediaCommand, MediaEnd, MediaEvent, MediaLoss, MediaRefusal, MediaRoom,
};
use crate::net::{self, Advertise, AdvertiseError};
use crate::rooms::{
    self, Busy, ChannelUse, Command, EndpointKey, EndpointStats, Event, Failure, MediaError, Plane,
    RoomKey, Unwanted,
};

/// Events that may wait for each media endpoint: its answer, a few candidates, its connection, and
/// its end.
const EVENTS_PER_ENDPOINT: usize = 8;
/// How often the names that are advertised are looked up again.
const LOOK_UP: Duration = Duration::from_secs(300);
/// How long the look-up of a STUN server's name may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// STUN servers that are asked at once.
const SERVERS: usize = 2;
/// Files by which Docker and Podman tell that this is a container.
const CONTAINERS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// The media plane.
pub(super) struct Media {
    plane: Plane,
    /// What is to be told, to be looked up again.
    media: config::Media,
    takes_tcp: bool,
}

impl Media {
    /// Takes the ports and starts the threads. What the plane says is to be received, and given to
    /// the hub. `listeners`: where the server listens.
    pub(super) async fn start(
        config: &Config,
        listeners: &[SocketAddr],
        metrics: Arc<Metrics>,
    ) -> Result<(Self, mpsc::Receiver<MediaEvent>), rooms::StartError> {
        let most = config.limits.media_endpoints;
        let most = most.saturating_mul(EVENTS_PER_ENDPOINT);
        let (told, events) = mpsc::channel(most.clamp(1, Semaphore::MAX_PERMITS));
        let mut plane_config = plane_config(config);
        plane_config.tcp = tcp_listeners(config.media.tcp_port, listeners);
        plane_config.advertise = addresses(&config.media).await?;
        let asks_stun = config.media.advertise.contains(&Advertise::Stun);
        if asks_stun {
            plane_config.stun = servers(config).await;
        }
        let takes_tcp = !plane_config.tcp.is_empty();
        let servers = plane_config.stun.clone();
        let on_event = move |event| {
            let Some(event) = translated(event, &metrics) else {
                return;
            };
            // The media threads can't wait. Whoever waits for an answer has a deadline.
            if told
                .try_send(event)
                .is_err_and(|it| matches!(it, mpsc::error::TrySendError::Full(_)))
            {
                error!("an event of the media plane is lost: too many wait");
            }
        };
        // STUN servers may take two seconds for each thread's socket.
        let start = move || Plane::start(plane_config, on_event);
        let plane = tokio::task::spawn_blocking(start).await;
        let plane = plane.map_err(|e| rooms::StartError::Thread(e.into()))??;
        if asks_stun && !plane.is_mapped() {
            warn!("{}", unanswered(&servers));
        }
        for address in plane.addresses() {
            info!(%address, "listening for media");
        }
        say_where(config, listeners, plane.told());
        let media = Self {
            plane,
            media: config.media.clone(),
            takes_tcp,
        };
        Ok((media, events))
    }

    /// Looks the advertised names up again and again. Runs for ever, if there are names.
    pub(super) async fn keep_addresses(&self) {
        let is_name = |it: &Advertise| matches!(it, Advertise::Name(_));
        if !self.media.advertise.iter().any(is_name) {
            return;
        }
        let mut known = None;
        let mut often = interval(LOOK_UP);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            often.tick().await;
            let Some(now) = advertised(&self.media).await else {
                continue;
            };
            let before = known.replace(now.clone());
            if before.is_some_and(|before| before != now) && self.plane.advertise(&now).is_err() {
                // The next look-up finds a difference again.
                known = None;
            }
        }
    }

    /// Whether peers are told that they can send media over TCP.
    pub(super) const fn takes_tcp(&self) -> bool {
        self.takes_tcp
    }

    /// Gives the plane a connection whose first bytes were media.
    ///
    /// # Errors
    /// Why it doesn't take it.
    pub(super) fn connect(&self, tcp: TcpStream, first: Vec<u8>) -> Result<(), ConnectError> {
        let (peer, local) = (tcp.peer_addr()?, tcp.local_addr()?);
        let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let tcp = tcp.into_std()?;
        Ok(self
            .plane
            .connect(tcp, canonical(peer), canonical(local), first)?)
    }

    /// All media endpoints' numbers.
    pub(super) fn stats(&self) -> Vec<EndpointStats> {
        self.plane.stats()
    }

    /// Each media thread's numbers in sums.
    pub(super) fn thread_stats(&self) -> Vec<rooms::ThreadStats> {
        self.plane.thread_stats()
    }

    /// Gives the plane a command. Commands of one room must come in order.
    pub(super) fn pass(&self, command: MediaCommand) -> Result<(), Busy> {
        self.plane.command(match command {
            MediaCommand::Publish {
                room,
                end,
                offer,
                loopback,
                rights,
            } => Command::Publish {
                room: room_key(room),
                endpoint: endpoint_key(end),
                offer,
                loopback,
                channels: ChannelUse {
                    says: rights.message,
                    hears: rights.subscribe,
                },
            },
            MediaCommand::Receive {
                room,
                end,
                from,
                offer,
            } => Command::Subscribe {
                room: room_key(room),
                endpoint: endpoint_key(end),
                publisher: endpoint_key(from),
                offer,
            },
            MediaCommand::Remove { room, end } => Command::Remove {
                room: room_key(room),
                endpoint: endpoint_key(end),
            },
            MediaCommand::Mute { room, end, muted } => Command::Mute {
                room: room_key(room),
                endpoint: endpoint_key(end),
                audio: muted.audio,
                video: muted.video,
            },
            MediaCommand::CloseRoom(room) => Command::CloseRoom {
                room: room_key(room),
            },
        })
    }
}

/// Why a connection isn't taken for media.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Unwanted(#[from] Unwanted),
}

/// Where peers are told to connect to. A port that is named is that of something in front of the
/// server, whose addresses are those of the rest of media.
fn tcp_listeners(port: Option<u16>, listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    match port {
        None => listeners.to_vec(),
        Some(0) => Vec::new(),
        Some(port) => vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
    }
}

/// What peers are told at the start: what is configured, or this machine's addresses.
async fn addresses(media: &config::Media) -> Result<Vec<IpAddr>, rooms::StartError> {
    if let Some(told) = advertised(media).await.filter(|told| !told.is_empty()) {
        return Ok(told);
    }
    let own = media.interfaces.addresses()?;
    Ok(own.into_iter().map(|interface| interface.ip).collect())
}

/// What is configured but for STUN, which the media sockets ask themselves. `None` if not everything can
/// be looked up now.
async fn advertised(media: &config::Media) -> Option<Vec<IpAddr>> {
    let named = media.advertise.iter().filter(|it| **it != Advertise::Stun);
    let named: Vec<_> = named.cloned().collect();
    let advertised = Advertise::resolve(&named, &[]).await;
    for error in &advertised.failed {
        warn!("{error}");
    }
    let is_whole = advertised.failed.is_empty() || !advertised.addresses.is_empty();
    is_whole.then_some(advertised.addresses)
}

/// The STUN servers to ask.
async fn servers(config: &Config) -> Vec<SocketAddr> {
    let named = stun_servers(&config.ice.servers);
    if named.is_empty() {
        warn!("{}", AdvertiseError::NoStun);
    }
    let mut servers = Vec::new();
    for (host, port) in named.into_iter().take(SERVERS) {
        match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
            // One of each family.
            Ok(Ok(found)) => {
                let found: Vec<_> = found.collect();
                let of = |v4: bool| found.iter().copied().find(move |it| it.is_ipv4() == v4);
                servers.extend([of(true), of(false)].into_iter().flatten());
            }
            Ok(Err(error)) => debug!(host, %error, "cannot look up a STUN server"),
            Err(_) => debug!(host, "the look-up of a STUN server takes too long"),
        }
    }
    servers
}

fn unanswered(servers: &[SocketAddr]) -> AdvertiseError {
    AdvertiseError::Unanswered(servers.iter().map(ToString::to_string).collect())
}

/// Says what participants are told, and who can't reach that.
fn say_where(config: &Config, listeners: &[SocketAddr], told: &[SocketAddr]) {
    let told: BTreeSet<_> = told.iter().map(SocketAddr::ip).collect();
    let is_open = listeners.iter().any(|it| !it.ip().is_loopback());
    if !is_open || !told.iter().copied().all(net::is_private) {
        return;
    }
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    let told = told.join(", ");
    let advice = "name the address that they reach, with --advertise or under [media]: \
                  advertise = [\"media.example.org\"]";
    let is_container = CONTAINERS.iter().any(|file| Path::new(file).exists());
    if is_container || has_public_name(config) {
        warn!(
            told,
            "participants outside of this network will see no picture; {advice}"
        );
    } else {
        info!(told, "for participants outside of this network, {advice}");
    }
}

/// Whether the certificate is for a name or an address that is used from outside.
fn has_public_name(config: &Config) -> bool {
    let Some(TlsSource::SelfSigned { names, .. }) = &config.tls else {
        return false;
    };
    names.iter().any(|name| match name.parse() {
        Ok(ip) => !net::is_private(ip),
        Err(_) => name.contains('.') && !name.ends_with(".local"),
    })
}

/// On all addresses, wherever the server listens: some clients never try a loopback address, and
/// nothing is taken from whoever has not got an answer over a listener.
fn plane_config(config: &Config) -> rooms::Config {
    let defaults = rooms::Config::default();
    let (media, limits) = (&config.media, &config.limits);
    rooms::Config {
        threads: media.threads.map_or(defaults.threads, NonZeroUsize::get),
        port: media.port,
        tcp_connections: limits.media_tcp_connections,
        max_bitrate: limits.media_bitrate as u64,
        endpoints: limits.media_endpoints,
        connect: limits.media_connect,
        ..defaults
    }
}

fn translated(event: Event, metrics: &Metrics) -> Option<MediaEvent> {
    Some(match event {
        Event::Answered { endpoint, sdp } => MediaEvent::Answered {
            end: MediaEnd(endpoint.0),
            sdp,
        },
        Event::Refused { endpoint, why } => MediaEvent::Refused {
            end: MediaEnd(endpoint.0),
            why: refusal(&why),
        },
        Event::Candidate {
            endpoint,
            mid,
            line,
            candidate,
        } => MediaEvent::Candidate {
            end: MediaEnd(endpoint.0),
            candidate: MediaCandidate {
                mid,
                line,
                candidate,
            },
        },
        Event::Connected {
            endpoint,
            checks,
            handshake,
        } => {
            metrics.set_up(Dialect::Kurento, Phase::Checks, checks);
            metrics.set_up(Dialect::Kurento, Phase::Dtls, handshake);
            debug!(media = endpoint.0, "media connected");
            return None;
        }
        Event::Flows { endpoint, after } => {
            metrics.set_up(Dialect::Kurento, Phase::FirstPacket, after);
            debug!(media = endpoint.0, "media flows");
            return None;
        }
        Event::Failed { endpoint, why } => {
            if why != Failure::Closed {
                metrics.media_failed(why.reason());
            }
            debug!(media = endpoint.0, %why, "media failed");
            MediaEvent::Failed {
                end: MediaEnd(endpoint.0),
                loss: match why {
                    Failure::Closed => MediaLoss::Closed,
                    Failure::NeverConnected(_) => MediaLoss::Unconnected,
                    _ => MediaLoss::Lost,
                },
                why: why.to_string().into(),
            }
        }
        Event::GaveUp { endpoint, why } => {
            metrics.media_failed(why.reach.reason());
            info!(media = endpoint.0, %why, "gave up before media was connected");
            return None;
        }
    })
}

fn refusal(why: &MediaError) -> MediaRefusal {
    let text = why.to_string().into();
    match why {
        MediaError::Sdp(_) | MediaError::NoCodec { .. } => MediaRefusal::Offer(text),
        MediaError::NoPublisher => MediaRefusal::NoPublisher,
        MediaError::Exists | MediaError::Full(_) => MediaRefusal::Full(text),
    }
}

const fn room_key(room: MediaRoom) -> RoomKey {
    RoomKey(room.0)
}

const fn endpoint_key(end: MediaEnd) -> EndpointKey {
    EndpointKey(end.0)
}

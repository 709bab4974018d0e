//! Between the hub's words and those of the media plane.

use std::num::NonZeroUsize;

use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, error, info};

use crate::config::Config;
use crate::hub::{MediaCandidate, MediaCommand, MediaEnd, MediaEvent, MediaRefusal, MediaRoom};
use crate::rooms::{self, Busy, Command, EndpointKey, Event, Failure, MediaError, Plane, RoomKey};

/// Events that may wait for each media endpoint: its answer, a few candidates, its connection, and
/// its end.
const EVENTS_PER_ENDPOINT: usize = 8;

/// The media plane.
pub(super) struct Media(Plane);

impl Media {
    /// Takes the ports and starts the threads. What the plane says is to be received, and given to
    /// the hub.
    pub(super) fn start(
        config: &Config,
    ) -> Result<(Self, mpsc::Receiver<MediaEvent>), rooms::StartError> {
        let endpoints = config.limits.media_endpoints;
        let most = endpoints.saturating_mul(EVENTS_PER_ENDPOINT);
        let (told, events) = mpsc::channel(most.clamp(1, Semaphore::MAX_PERMITS));
        let plane = Plane::start(plane_config(config), move |event| {
            let Some(event) = translated(event) else {
                return;
            };
            // The media threads can't wait. Whoever waits for an answer has a deadline.
            if told
                .try_send(event)
                .is_err_and(|it| matches!(it, mpsc::error::TrySendError::Full(_)))
            {
                error!("an event of the media plane is lost: too many wait");
            }
        })?;
        for address in plane.addresses() {
            info!(%address, "listening for media");
        }
        Ok((Self(plane), events))
    }

    /// Gives the plane a command. Commands of one room must come in order.
    pub(super) fn pass(&self, command: MediaCommand) -> Result<(), Busy> {
        self.0.command(match command {
            MediaCommand::Publish {
                room,
                end,
                offer,
                loopback,
            } => Command::Publish {
                room: room_key(room),
                endpoint: endpoint_key(end),
                offer,
                loopback,
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
            MediaCommand::CloseRoom(room) => Command::CloseRoom {
                room: room_key(room),
            },
        })
    }
}

/// On all addresses, wherever the server listens: some clients never try a loopback address, and
/// nothing is taken from whoever has not got an answer over a listener.
fn plane_config(config: &Config) -> rooms::Config {
    let defaults = rooms::Config::default();
    let (media, limits) = (&config.media, &config.limits);
    rooms::Config {
        threads: media.threads.map_or(defaults.threads, NonZeroUsize::get),
        port: media.port,
        advertise: media.advertise.clone(),
        max_bitrate: limits.media_bitrate as u64,
        endpoints: limits.media_endpoints,
        connect: limits.media_connect,
        ..defaults
    }
}

fn translated(event: Event) -> Option<MediaEvent> {
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
        Event::Connected { endpoint } => {
            debug!(endpoint = endpoint.0, "media connected");
            return None;
        }
        Event::Failed { endpoint, why } => {
            debug!(endpoint = endpoint.0, %why, "media failed");
            MediaEvent::Failed {
                end: MediaEnd(endpoint.0),
                closed: why == Failure::Closed,
                why: why.to_string().into(),
            }
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

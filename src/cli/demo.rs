//! `switchboard demo`: a server and test peers in one process.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::sync::watch;

use super::device::{self, Media};
use super::media::pipeline;
use super::serve::{self, Listen};
use super::sessions::Sessions;
use super::{Failure, Outcome, interrupted, say};
use crate::dialect::gstreamer::client::{PeerId, RoomId};
use crate::hub::EndpointId;
use crate::media::{Source, SourceOptions};
use crate::net;
use crate::peer::call::{self, Caller, Lines};
use crate::peer::gecko::{self, Gecko};
use crate::peer::ice::Ice;
use crate::peer::link::{Dialer, ServerUrl, Trust};
use crate::peer::mesh::{self, Mesh};
use crate::peer::participant::{self, Participant};
use crate::peer::reception::Reception;
use crate::server::Bound;
use crate::worker::Limits;
use crate::worker::fetch::{Origin, Origins};

/// The peer that waits for calls. A number, because some clients take only those (gst.md A.3).
const CALLEE: &str = "1000";
/// The peer in the room.
const MEMBER: &str = "2000";
/// The gecko.
const GECKO: &str = "demo";
/// The mesh room, and the forwarding one.
const ROOM: &str = "demo";
/// The participant of the forwarding room.
const PARTICIPANT: &str = "camera";
/// Workers of the gecko at once.
const CAPACITY: usize = 16;
/// What these play, to be told from the device.
const PICTURE: &str = "test pattern=smpte";
/// What the participant publishes, to be told from all others.
const CAMERA: &str = "test pattern=circular";

/// Run a server, a test device, a waiting caller, rooms with somebody in them and a gecko, and print the pages to open
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchboard demo
  switchboard demo --listen 127.0.0.1:8888 pattern=snow")]
pub(super) struct Flags {
    /// Values for the variables of the device's pipelines
    #[arg(value_name = "KEY=VALUE")]
    variables: Vec<String>,
    #[command(flatten)]
    listen: Listen,
    /// The device's id
    #[arg(long, default_value = "demo", value_parser = device::id)]
    id: EndpointId,
    #[command(flatten)]
    media: Media,
    #[command(flatten)]
    sessions: Sessions,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let id = flags.id.to_string();
    let make_ice = flags.sessions.prepare().map_err(Failure::Usage)?;
    let device = flags
        .media
        .prepare(flags.id, &flags.variables, make_ice())
        .await
        .map_err(Failure::Usage)?;
    let file = pipeline("--send", PICTURE, &[]).map_err(Failure::Usage)?;
    let source = Source::open(file, SourceOptions::default()).await;
    let source = source.map_err(Failure::usage)?;
    let (callee, member) = peers(&media(&source, &make_ice)).map_err(Failure::Usage)?;
    let participant = participant(&make_ice).await.map_err(Failure::Usage)?;
    let server = serve::start(flags.listen.into_overrides()).await?;
    let Some(bound) = server.addresses().into_iter().next() else {
        return Err(Failure::Usage(anyhow!("there is no address to listen on")));
    };
    let page = local_url(&bound);
    let workers = workers(&page, media(&source, &make_ice)).map_err(Failure::Usage)?;
    let interrupted = interrupted();
    say(format_args!("open {page}#device={}", percent_encoded(&id)));
    say(format_args!("open {page}#call={CALLEE}"));
    say(format_args!("open {page}#mesh={ROOM}"));
    say(format_args!("open {page}#room={ROOM}"));
    say(format_args!("open {page}#gecko={GECKO}"));

    let (stop, stopped) = watch::channel(false);
    let interrupt = async {
        interrupted.await;
        let _ = stop.send(true);
    };
    let callee = callee.run(dialer(&page, call::PATH)?, until(&stopped));
    let member = member.run(dialer(&page, mesh::PATH)?, until(&stopped));
    let workers = workers.run(dialer(&page, gecko::PATH)?, until(&stopped));
    let participant = participant.run(dialer(&page, participant::PATH)?, until(&stopped));
    let (_, _, (), called, met, served, published) = tokio::join!(
        interrupt,
        device.run(dialer(&page, crate::peer::device::PATH)?, until(&stopped)),
        server.run(until(&stopped)),
        callee,
        member,
        workers,
        participant,
    );
    called.map_err(|error| Failure::Failed(error.into()))?;
    met.map_err(|error| Failure::Failed(error.into()))?;
    served.map_err(|error| Failure::Failed(error.into()))?;
    published.map_err(|error| Failure::Failed(error.into()))
}

/// Somebody who publishes in the forwarding room.
async fn participant(make_ice: &impl Fn() -> Ice) -> anyhow::Result<Participant> {
    let file = pipeline("--publish", CAMERA, &[])?;
    let source = Source::open(file, SourceOptions::default()).await?;
    let options = participant::Options {
        user: PARTICIPANT.to_owned(),
        room: ROOM.to_owned(),
        media: media(&source, make_ice),
        loopback: false,
        codecs: Vec::new(),
        accepts: Vec::new(),
        channel: None,
        lines: Lines::Ended,
        is_one_of_many: false,
        events: Vec::new(),
    };
    Ok(Participant::new(options).await?)
}

/// What a peer plays and takes.
fn media(source: &Arc<Source>, make_ice: &impl Fn() -> Ice) -> call::Media {
    call::Media {
        source: Some(Arc::clone(source)),
        reception: Reception::Nothing,
        ice: Arc::new(make_ice()),
    }
}

/// A gecko that runs the scripts of our own server.
fn workers(page: &str, media: call::Media) -> anyhow::Result<Gecko> {
    let limits = Limits::default();
    let own = ServerUrl::new(page, "/")?.origin();
    let origins = Origins {
        listed: vec![own.parse::<Origin>()?.trusted()],
        ..Origins::default()
    };
    Ok(Gecko::new(gecko::Options {
        id: GECKO.to_owned(),
        capacity: CAPACITY,
        pipelines: media.source.iter().cloned().collect(),
        media,
        fetcher: super::gecko::fetcher(&own_server(), origins, &limits)?,
        limits,
        events: Vec::new(),
    }))
}

/// The peers of GStreamer's dialect, ready to register.
fn peers(media: &call::Media) -> anyhow::Result<(Caller, Mesh)> {
    let peer = |id| PeerId::new(id).context("a peer's id");
    let callee = Caller::new(call::Options {
        id: peer(CALLEE)?,
        partner: None,
        remote_offers: false,
        wait: true,
        keep: true,
        channel: Some("data".to_owned()),
        media: media.clone(),
        lines: Lines::Ended,
        events: Vec::new(),
    });
    let member = Mesh::new(mesh::Options {
        id: peer(MEMBER)?,
        room: RoomId::new(ROOM).context("a room's id")?,
        media: media.clone(),
        events: Vec::new(),
    });
    Ok((callee, member))
}

/// Our own server's certificate needs no check within one process.
const fn own_server() -> Trust {
    Trust {
        ca: None,
        anyone: true,
        identity: None,
    }
}

/// Connections to our own server.
fn dialer(page: &str, path: &str) -> Result<Dialer, Failure> {
    let url = ServerUrl::new(page, path).map_err(Failure::usage)?;
    Dialer::new(url, &own_server()).map_err(Failure::usage)
}

async fn until(stopped: &watch::Receiver<bool>) {
    let _ = stopped.clone().wait_for(|stop| *stop).await;
}

/// The URL under which this machine reaches a server's address.
fn local_url(bound: &Bound) -> String {
    let address = net::from_here(bound.address);
    Bound { address, ..*bound }.to_string()
}

/// Percent-encodes what a URL's fragment can't hold (RFC 3986 section 3.5).
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

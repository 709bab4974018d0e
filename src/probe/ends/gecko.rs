//! The ends of a gecko's scenario: the gecko with its echo script, and pages.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::echo::{CHANNEL, EchoCounter};
use super::{Expects, Peer, Stage, wrong};
use crate::config::Secret;
use crate::media::Codec;
use crate::peer::gecko::{self, Gecko};
use crate::peer::link::client_config;
use crate::peer::page::{self, Page};
use crate::probe::outcome::Failure;
use crate::probe::plan::Ends;
use crate::probe::spectator::Spectator;
use crate::worker::Limits;
use crate::worker::fetch::{FetchLimits, Fetcher, Origin, Origins};

/// Workers at once.
const CAPACITY: usize = 256;
/// Orders and events that wait between a page and its echo.
const QUEUE: usize = 64;
/// How long a request for the script may take.
const REQUEST: std::time::Duration = std::time::Duration::from_secs(5);
/// Bytes of such a request.
const REQUEST_BYTES: usize = 8 * 1024;
/// How long a page waits for the gecko: no server answers a gecko's hello.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// The script.
const ECHO: &str = "onmessage = ({ data }) => postMessage(data);";
/// Whose worker it is, if nothing else is said.
const TOKEN: &str = "probe";

/// Serves the echo script to our own gecko: whatever the server is, the gecko can load it.
pub(super) struct Script {
    origin: String,
    task: JoinHandle<()>,
}

impl Script {
    pub(super) async fn serve() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(|error| wrong("the script's server", error))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| wrong("the script's server", error))?;
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // One after the other: each takes a moment only, and our own gecko asks.
                if timeout(REQUEST, answer(tcp)).await.is_err() {
                    tracing::debug!("a request for the script took too long");
                }
            }
        });
        Ok(Self {
            origin: format!("http://{address}"),
            task,
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut tcp: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        match tcp.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{ECHO}",
        ECHO.len()
    );
    // A gecko that doesn't get it says so.
    let _ = tcp.write_all(answer.as_bytes()).await;
}

impl Stage {
    pub(super) fn gecko(&self) -> Result<Peer, Failure> {
        let spectator = Spectator::new("gecko", false);
        let dialer = self.dialer(gecko::PATH)?;
        let limits = Limits::default();
        let origin = self.script.as_ref().map_or("", |script| &script.origin);
        let origin: Origin = origin.parse().map_err(|error| wrong("the script", error))?;
        let origins = Origins {
            listed: vec![origin.trusted()],
            ..Origins::default()
        };
        let fetch_limits = FetchLimits {
            bytes: limits.load_bytes,
            time: limits.load_wall,
        };
        let tls = client_config(&self.plan.way.trust);
        let tls = tls.map_err(|error| wrong("the certificates", error))?;
        let gecko = Gecko::new(gecko::Options {
            id: self.tag.clone(),
            capacity: CAPACITY,
            media: self.call_media(&spectator, self.source.clone(), false),
            pipelines: self.source.iter().cloned().collect(),
            fetcher: Fetcher::new(tls, origins, fetch_limits),
            limits,
            events: Vec::new(),
        });
        Ok(Peer::spawn(spectator, Expects::Nothing, |stop| {
            gecko.run(dialer, stop.wait())
        }))
    }

    pub(super) fn page(&self, number: u32, judges: bool) -> Result<Peer, Failure> {
        let spectator = Spectator::new(&format!("page {number}"), judges);
        let dialer = self.dialer(page::PATH)?;
        let source = match (&self.plan.ends, &self.script) {
            (Ends::Receive { watch }, _) => watch.clone(),
            (_, Some(script)) => format!("{}/echo.js", script.origin),
            (_, None) => String::new(),
        };
        let echoes = !source.starts_with("pipeline:");
        let (order, orders) = mpsc::channel(QUEUE);
        let (tell, told) = mpsc::channel(QUEUE);
        let mut wanted = match self.accepts() {
            codecs if codecs.is_empty() => Codec::ALL.to_vec(),
            codecs => codecs,
        };
        wanted.retain(|codec| codec.can_receive());
        let token = self.plan.way.token.clone();
        let page = Page::new(page::Options {
            token: token.unwrap_or_else(|| Secret::new(TOKEN)),
            source,
            reception: spectator.reception(true),
            wanted,
            patience: PATIENCE,
            channels: echoes.then(|| CHANNEL.to_owned()).into_iter().collect(),
            ice: Arc::clone(&self.plan.way.ice),
            orders,
            events: Some(tell),
        });
        let expects = Expects::These(vec![None]);
        let mut peer = Peer::spawn(spectator, expects, |stop| page.run(dialer, stop.wait()));
        if echoes {
            let echo = EchoCounter::new();
            // Ends with the page.
            tokio::spawn(Arc::clone(&echo).run(order, told));
            peer.echo = Some(echo);
        }
        Ok(peer)
    }
}

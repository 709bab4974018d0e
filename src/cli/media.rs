//! What the subcommands for peers have in common: the server's URL, pipelines, and printed events.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::access::Access;
use super::addresses::Addresses;
use super::say;
use super::sessions::Sessions;
use crate::config::{IceKind, IceServer, IceUrl};
use crate::dialect::gstreamer::client::PeerId;
use crate::media::pipeline::PipelineFile;
use crate::media::{Codec, EncoderChoice, Source, SourceOptions, display};
use crate::net::PortRange;
use crate::peer::call::Media;
use crate::peer::ice;
use crate::peer::link::{Dialer, ServerUrl, Trust};
use crate::peer::reception::Reception;

/// Events that wait to be printed; more are dropped.
const EVENT_QUEUE: usize = 256;
/// How long the last events may take to be printed.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// The server to connect to.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The server's URL, then values for the pipelines' variables
    #[arg(value_name = "URL [KEY=VALUE]", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    access: Access,
}

/// What a peer of GStreamer's dialect sends, and how it gets through.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The pipeline to play to the others: a name or a file, and values for its variables; or `none`
    #[arg(long, value_name = "NAME [KEY=VALUE…]", default_value = "test")]
    send: String,
    #[command(flatten)]
    encoding: Encoding,
    #[command(flatten)]
    ice: Ice,
}

/// How what a peer sends is encoded.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Encoding {
    /// The codecs to send in and no others, the preferred one first: VP8, H264, VP9, AV1
    /// [default: what the pipeline file says]
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',')]
    codec: Vec<Codec>,
    /// What encodes pictures: hardware, software, or an element's name
    /// [default: the first one that works, hardware before software]
    #[arg(long, value_name = "NAME")]
    encoder: Option<EncoderChoice>,
}

/// How a peer's media finds its way.
#[derive(Debug, Args)]
pub(super) struct Ice {
    /// A server that helps to connect, beside those that the signaling server names (repeatable):
    /// stun:HOST:PORT, or turn:USER:PASSWORD@HOST:PORT with ?transport=tcp, or turns: for TLS
    #[arg(long, value_name = "URL", value_parser = ice_server)]
    ice_server: Vec<IceServer>,
    /// Which ways media may take: all, or through TURN servers only
    #[arg(long, value_name = "POLICY", default_value = "all")]
    ice_policy: Policy,
    #[command(flatten)]
    addresses: Addresses,
    /// Use these UDP ports of this machine for media, as a firewall lets them through; each session takes one of them on
    /// each address [default: any]
    #[arg(long, value_name = "MIN-MAX")]
    ports: Option<PortRange>,
    #[command(flatten)]
    sessions: Sessions,
}

/// The names of the browsers' `iceTransportPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    All,
    Relay,
}

/// Prints events, one a line.
pub(super) struct Printer {
    lines: mpsc::Sender<Arc<str>>,
    done: oneshot::Receiver<()>,
}

impl Server {
    /// Whom to trust.
    pub(super) fn trust(&self) -> Trust {
        self.access.trust()
    }

    /// The connections to make, and the values for pipelines' variables.
    pub(super) fn prepare(self, path: &str) -> anyhow::Result<(Dialer, Vec<String>)> {
        let (urls, variables): (Vec<_>, Vec<_>) =
            self.words.into_iter().partition(|word| is_url(word));
        let [url] = &urls[..] else {
            bail!("give one server's URL, as in ws://127.0.0.1:8080");
        };
        let dialer = self.access.dialer(ServerUrl::new(url, path)?)?;
        Ok((dialer, variables))
    }
}

impl Send {
    /// Checks everything and loads the pipeline; nothing plays yet.
    pub(super) async fn prepare(
        self,
        dialer: &Dialer,
        variables: &[String],
        reception: Reception,
    ) -> anyhow::Result<Media> {
        let source = source("--send", &self.send, variables, self.encoding).await?;
        self.ice.media(dialer, source, reception)
    }
}

impl Encoding {
    /// The codecs that were named.
    pub(super) fn codecs(&self) -> &[Codec] {
        &self.codec
    }

    /// For a source.
    pub(super) fn options(self) -> SourceOptions {
        SourceOptions {
            codecs: self.codec,
            encoder: self.encoder.unwrap_or_default(),
            ..SourceOptions::default()
        }
    }
}

impl Ice {
    /// For a peer of this server, which is told of more in its own messages.
    pub(super) fn prepare(self, dialer: &Dialer) -> anyhow::Result<ice::Ice> {
        let (interfaces, advertise) = self.addresses.into_rules();
        let network = ice::Network {
            interfaces,
            advertise,
            ports: self.ports,
        };
        let ice = ice::Ice::new(self.ice_server, self.ice_policy == Policy::Relay)
            .through(network)
            .trusting(dialer);
        self.sessions.apply(ice)
    }

    /// Whether media goes through TURN servers only.
    pub(super) fn is_relay_only(&self) -> bool {
        self.ice_policy == Policy::Relay
    }

    /// For a peer that asks this server for more; with what is sent and received.
    pub(super) fn media(
        self,
        dialer: &Dialer,
        source: Option<Arc<Source>>,
        reception: Reception,
    ) -> anyhow::Result<Media> {
        Ok(Media {
            source,
            reception,
            ice: Arc::new(self.prepare(dialer)?.asking(dialer)),
        })
    }
}

impl Printer {
    pub(super) fn start() -> Self {
        let (lines, mut receiver) = mpsc::channel::<Arc<str>>(EVENT_QUEUE);
        let (sender, done) = oneshot::channel::<()>();
        // A thread of its own: standard output may block for as long as its reader likes.
        std::thread::spawn(move || {
            while let Some(line) = receiver.blocking_recv() {
                say(line);
            }
            drop(sender);
        });
        Self { lines, done }
    }

    /// Where to put lines.
    pub(super) fn lines(&self) -> mpsc::Sender<Arc<str>> {
        self.lines.clone()
    }

    /// Waits until everything is printed, once all other senders of lines are gone.
    pub(super) async fn finish(self) {
        drop(self.lines);
        if timeout(LAST_EVENTS, self.done).await.is_err() {
            tracing::warn!("the last events were not printed: nobody reads them");
        }
    }
}

/// What a pipeline gives, by its name or file; nothing for `none`.
pub(super) async fn source(
    flag: &str,
    words: &str,
    variables: &[String],
    encoding: Encoding,
) -> anyhow::Result<Option<Arc<Source>>> {
    match (words, variables) {
        ("none", []) => Ok(None),
        ("none", [variable, ..]) => {
            bail!("\"{variable}\" has no meaning, because {flag} none plays no pipeline")
        }
        (words, _) => {
            let file = pipeline(flag, words, variables)?;
            Ok(Some(Source::open(file, encoding.options()).await?))
        }
    }
}

/// A pipeline by its name or file, with its own variables after those for all.
pub(super) fn pipeline(
    flag: &str,
    words: &str,
    variables: &[String],
) -> anyhow::Result<PipelineFile> {
    let mut words = words.split_whitespace();
    let name = words.next().ok_or_else(|| anyhow!("{flag} needs a name"))?;
    let pairs = variables
        .iter()
        .map(String::as_str)
        .chain(words)
        .map(key_value)
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(PipelineFile::find(name, &pairs)?)
}

/// Splits `KEY=VALUE`.
pub(super) fn key_value(word: &str) -> anyhow::Result<(String, String)> {
    word.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| anyhow!("\"{word}\" is no KEY=VALUE for a pipeline's variable"))
}

/// An id that every client of GStreamer's dialect takes: Rust ones want a number (gst.md A.3).
pub(super) fn some_peer_id() -> Option<PeerId> {
    PeerId::new(&fastrand::u32(1_000..1_000_000).to_string())
}

pub(super) fn peer_id(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).ok_or_else(|| "an id has at least one character, and no blanks".to_owned())
}

/// The receptions that are words, not files.
pub(super) fn no_file(word: &Path) -> anyhow::Result<Option<Reception>> {
    Ok(match word.to_str() {
        Some("count") => Some(Reception::Count),
        Some("display") => Some(Reception::Display(display()?)),
        _ => None,
    })
}

/// Whether files can be made in a directory: better told now than when the first picture comes.
pub(super) fn writable(directory: &Path) -> anyhow::Result<()> {
    use rustix::fs::{Access, access};
    access(directory, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
        format!(
            "no file can be written in the directory {}",
            directory.display()
        )
    })
}

/// `uri=file:///x` is no URL, `ws://x/?y=z` is.
fn is_url(word: &str) -> bool {
    word.find("://")
        .is_some_and(|at| word[..at].chars().all(|c| c.is_ascii_alphanumeric()))
}

/// TURN credentials stand before the host, as in other URLs, because a flag is one word.
pub(super) fn ice_server(text: &str) -> Result<IceServer, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let Some((credentials, place)) = rest.rsplit_once('@') else {
        return match IceUrl::parse(text)?.kind {
            IceKind::Stun => Ok(IceServer::bare(text)),
            IceKind::Turn => Err(format!("write {scheme}:USER:PASSWORD@HOST[:PORT]")),
        };
    };
    let url = format!("{scheme}:{place}");
    if IceUrl::parse(&url)?.kind == IceKind::Stun {
        return Err("a STUN server takes no password; write stun:HOST[:PORT]".to_owned());
    }
    // Short-lived user names have a colon, `TIME:NAME`; their passwords have none.
    let (user, password) = credentials
        .rsplit_once(':')
        .ok_or_else(|| format!("write {scheme}:USER:PASSWORD@HOST[:PORT]"))?;
    Ok(IceServer {
        urls: vec![url],
        username: Some(user.to_owned()),
        credential: Some(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_servers_are_one_word() {
        assert_eq!(ice_server("stun:h:1").unwrap().urls, ["stun:h:1"]);
        let turn = ice_server("turn:17:me:p@+/@h:3478?transport=tcp").unwrap();
        assert_eq!(turn.urls, ["turn:h:3478?transport=tcp"]);
        assert_eq!(turn.username.as_deref(), Some("17:me"));
        assert_eq!(turn.credential.as_deref(), Some("p@+/"));
        for wrong in [
            "h",
            "stun:",
            "turn:h",
            "turn:me@h",
            "stun:me:p@h",
            "http://h",
        ] {
            assert!(ice_server(wrong).is_err(), "{wrong}");
        }
    }
}

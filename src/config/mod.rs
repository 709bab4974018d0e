//! File + environment + flags → one validated [`Config`]. Every limit with its default and its key.

mod accounts;
#[cfg(test)]
mod example;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ice;
mod limits;
mod proxies;
mod secret;
#[cfg(test)]
mod tests;

pub use accounts::{Accounts, Algorithm, Authority, DEFAULT_FXA, DEFAULT_SCOPES, Scope};
pub use ice::{DEFAULT_LIFETIME, Ice, IceKind, IceServer, IceUrl, Transport, stun_servers};
pub use limits::Limits;
pub use proxies::Proxies;
pub use secret::Secret;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use toml::Spanned;

use crate::net::{Advertise, InterfaceName, InterfaceRules};

/// Where `serve` listens unless told otherwise. Browsers treat it as secure.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// What [`Config::drain`] may be at most.
pub const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Where GStreamer's peers connect: their examples to `/`, their forks to the others.
pub const GSTREAMER_PATHS: [&str; 4] = ["/", "/ws", "/signalling", "/signaling"];

/// What the flags and the environment say; each goes before the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// A configuration file to read first.
    pub file: Option<PathBuf>,
    /// `--listen`, `[tls:]ADDRESS:PORT` each; any replaces the file's list.
    pub listen: Vec<String>,
    /// `--insecure`.
    pub insecure: bool,
    /// `--tls`.
    pub tls: Option<TlsFlag>,
    /// `--tls-name`: more names for a self-signed certificate.
    pub tls_names: Vec<String>,
    /// `--assets`.
    pub assets: Option<PathBuf>,
    /// `--ice-server`: URLs beside those of the file. TURN servers need the file's secret.
    pub ice_servers: Vec<String>,
    /// `--wait-for-device`.
    pub wait_for_device: bool,
    /// `--drain`, in seconds.
    pub drain: Option<f64>,
    /// `--media-port`.
    pub media_port: Option<u16>,
    /// `--media-threads`.
    pub media_threads: Option<NonZeroUsize>,
    /// `--media-tcp-port`.
    pub media_tcp_port: Option<u16>,
    /// `--advertise`; any replaces the file's list.
    pub advertise: Vec<Advertise>,
    /// `--interface` and `--no-interface`; any of the one replaces the file's list of those.
    pub interfaces: InterfaceRules,
}

/// The value of `--tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFlag {
    /// `self-signed`
    SelfSigned,
    /// `CERTIFICATE,KEY`: two PEM files.
    Files(PathBuf, PathBuf),
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, with the key and the fix.
        what: String,
    },
    /// A flag's value is wrong.
    #[error("{flag}: {what}")]
    Flag {
        /// As typed, with its dashes.
        flag: &'static str,
        /// What is wrong, and the fix.
        what: String,
    },
    /// TLS is listened for without a certificate.
    #[error(
        "{0} speaks TLS but there is no certificate; add --tls self-signed or --tls CERTIFICATE,KEY"
    )]
    NoCertificate(SocketAddr),
    /// A secret to mint credentials from, and no server that takes them.
    #[error(
        "ice.secret: no TURN server needs it; add one under [[ice.servers]] without username and \
         credential, as in urls = [\"turn:turn.example.org\"]"
    )]
    UnusedSecret,
    /// Open to the network without protection.
    #[error(
        "{address} can be reached from other machines, and {danger}; {cure}, or add --insecure if that is \
         what you want, or listen on 127.0.0.1"
    )]
    Open {
        /// Where it would listen.
        address: SocketAddr,
        /// What would be wrong with that.
        danger: &'static str,
        /// What to do about it.
        cure: &'static str,
    },
}

/// Everything that `switchboard serve` needs to know, checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// Where the certificate of the TLS listeners comes from; present if any listener has TLS.
    pub tls: Option<TlsSource>,
    /// Whose certificates of devices are believed: a PEM file. A device registers by the names in its
    /// own certificate then.
    pub client_ca: Option<PathBuf>,
    /// A directory of static files to serve at `/`, in front of the console.
    pub assets: Option<PathBuf>,
    /// The ICE servers that every peer and page is told of.
    pub ice: Ice,
    /// The Cuttlefish dialect's own settings.
    pub cuttlefish: Cuttlefish,
    /// The GStreamer dialect's own settings.
    pub gstreamer: GStreamer,
    /// The gecko dialect's own settings.
    pub gecko: Gecko,
    /// The Kurento dialect's own settings.
    pub kurento: Kurento,
    /// Where the media of rooms is.
    pub media: Media,
    /// Who checks the tokens of gecko clients and geckos; without, none are asked for.
    pub accounts: Option<Accounts>,
    /// Who checks the tokens of everybody; without, none are asked for.
    pub auth: Option<Accounts>,
    /// The proxies in front of this server, if there are any.
    pub proxies: Option<Proxies>,
    /// Pages of which other origins may use this server, as in `https://app.example.org`; `None` for
    /// all.
    pub origins: Option<Vec<String>>,
    /// How long conversations may go on after SIGTERM; zero for not at all.
    pub drain: Duration,
    /// How much of everything.
    pub limits: Limits,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether this listener speaks TLS.
    pub tls: bool,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// PEM files.
    Files {
        /// The certificate chain, the server's own certificate first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made by the server and kept in a directory for the next start.
    SelfSigned {
        /// Where `cert.pem` and `key.pem` are kept.
        directory: PathBuf,
        /// The names and addresses that the certificate is for.
        names: Vec<String>,
    },
}

/// What only the Cuttlefish dialect asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuttlefish {
    /// Hold a client that asks for an absent device until the device registers, instead of refusing it.
    pub wait_for_device: bool,
    /// Serve `/devices/{id}/files/…` from the HTTP server that the device named as its `device_port`.
    pub device_files: bool,
    /// Let clients that may only view call devices that don't hold them to it.
    pub unguarded_devices: bool,
}

/// What only the GStreamer dialect asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GStreamer {
    /// Where its WebSocket is, with or without a slash at the end: [`GSTREAMER_PATHS`], and those of
    /// the configuration. A path that serves something else already goes on to do so.
    pub paths: Vec<String>,
}

/// What only the gecko dialect asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gecko {
    /// Tell clients of errors as Mozilla's server did (`progress`), instead of as it is documented
    /// (`worker-error`); and geckos of none.
    pub legacy_progress_errors: bool,
}

/// What only the Kurento dialect asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kurento {
    /// Who answers custom requests, by HTTP; without, they are refused.
    pub custom_request_url: Option<Uri>,
    /// What `/getUpdateSpeakerInterval` tells pages, in milliseconds.
    pub update_speaker_interval: u32,
    /// What `/getThresholdSpeaker` tells pages, in decibels.
    pub threshold_speaker: i32,
    /// `loopbackRemote` of `/getClientConfig`: pages ask to get back what they publish.
    pub loopback_remote: bool,
    /// `loopbackAndLocal` there: and show their own camera beside it.
    pub loopback_and_local: bool,
    /// `filterRequestParam` there: what pages send in custom requests.
    pub filter_request_param: String,
}

/// Where the media is that the server forwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Media {
    /// The UDP port of the first thread; each further one has the next. 0 lets the system choose.
    pub port: u16,
    /// How many threads; as many as there are processors, if nobody says.
    pub threads: Option<NonZeroUsize>,
    /// The port that clients are told for media over TCP: for where something in front of the
    /// listeners has another one than they. 0: clients aren't told of media over TCP.
    pub tcp_port: Option<u16>,
    /// The addresses that clients are told to send to. If there are none, those of the interfaces.
    pub advertise: Vec<Advertise>,
    /// Which interfaces these are.
    pub interfaces: InterfaceRules,
}

impl Default for Kurento {
    fn default() -> Self {
        Self {
            custom_request_url: None,
            update_speaker_interval: 1_800,
            threshold_speaker: -50,
            loopback_remote: false,
            loopback_and_local: false,
            filter_request_param: "hat".to_owned(),
        }
    }
}

impl Default for GStreamer {
    fn default() -> Self {
        Self {
            paths: GSTREAMER_PATHS.map(str::to_owned).to_vec(),
        }
    }
}

impl Default for Cuttlefish {
    fn default() -> Self {
        Self {
            wait_for_device: false,
            device_files: true,
            unguarded_devices: false,
        }
    }
}

impl Config {
    /// Reads the file that the overrides name, puts the overrides on top, and checks the whole.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and its fix.
    pub fn load(overrides: Overrides) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut insecure = overrides.insecure;
        if let Some(path) = &overrides.file {
            insecure = config.read(&file::Source::read(path)?, insecure)?;
        }
        config.apply(overrides)?;
        config.check(insecure)?;
        Ok(config)
    }

    /// Takes over what a file says; whether it or the flags, `insecure`, allow to go without protection.
    fn read(&mut self, source: &file::Source<'_>, insecure: bool) -> Result<bool, ConfigError> {
        let file = source.parse()?;
        let insecure = insecure || file.insecure.unwrap_or(false);
        for listen in file.listen {
            let at = listen.span().start;
            let parsed = parse_listen(listen.get_ref())
                .map_err(|e| source.error(at, format!("listen: {e}")))?;
            self.listen.push(parsed);
        }
        let ice = file.ice.check();
        self.ice = ice.map_err(|(at, what)| source.error(at.start, what))?;
        for path in file.gstreamer.paths {
            let at = path.span().start;
            check_path(path.get_ref())
                .map_err(|e| source.error(at, format!("gstreamer.paths: {e}")))?;
            self.gstreamer.paths.push(path.into_inner());
        }
        for (key, value) in &file.limits {
            self.limits.set(key.get_ref(), value).map_err(|e| {
                source.error(key.span().start, format!("limits.{}: {e}", key.get_ref()))
            })?;
        }
        if let Some(tls) = file.tls {
            self.client_ca.clone_from(&tls.client_ca);
            self.tls = Some(tls_from_file(tls).map_err(|e| source.error(0, e))?);
        }
        self.kurento =
            kurento(file.kurento, insecure).map_err(|(at, what)| source.error(at.start, what))?;
        self.media = Media {
            port: file.media.port.unwrap_or_default(),
            threads: file.media.threads,
            tcp_port: file.media.tcp_port,
            advertise: file.media.advertise,
            interfaces: InterfaceRules {
                allow: file.media.interfaces,
                deny: file.media.no_interfaces,
            },
        };
        self.gecko = Gecko {
            legacy_progress_errors: file.gecko.legacy_progress_errors,
        };
        let wrong = |(at, what): accounts::Wrong| source.error(at.start, what);
        let accounts = file.accounts.map(|it| (it.span(), it.into_inner()));
        let accounts = accounts.map(|(at, section)| section.check(at, insecure));
        self.accounts = accounts.transpose().map_err(wrong)?;
        let auth = file.auth.map(|it| (it.span(), it.into_inner()));
        let auth = auth.map(|(at, section)| section.check(at, insecure));
        self.auth = auth.transpose().map_err(wrong)?;
        self.assets = file.assets;
        self.proxies = file.proxy.map(|it| it.check()).transpose().map_err(wrong)?;
        self.origins = file.origins.map(origins).transpose().map_err(wrong)?;
        if let Some(typed) = file.drain {
            self.drain = drain(*typed.get_ref())
                .map_err(|e| source.error(typed.span().start, format!("drain: {e}")))?;
        }
        self.cuttlefish = cuttlefish(&file.cuttlefish);
        Ok(insecure)
    }

    fn apply(&mut self, overrides: Overrides) -> Result<(), ConfigError> {
        let flag = |flag: &'static str| move |what: String| ConfigError::Flag { flag, what };
        if !overrides.listen.is_empty() {
            self.listen = overrides
                .listen
                .iter()
                .map(|listen| parse_listen(listen).map_err(flag("--listen")))
                .collect::<Result<_, _>>()?;
        }
        if self.listen.is_empty() {
            self.listen
                .push(parse_listen(DEFAULT_LISTEN).map_err(flag("--listen"))?);
        }
        match overrides.tls {
            Some(TlsFlag::SelfSigned) => self.tls = Some(self_signed(None, overrides.tls_names)),
            Some(TlsFlag::Files(certificate, key)) => {
                self.tls = Some(TlsSource::Files { certificate, key })
            }
            None => {}
        }
        for url in overrides.ice_servers {
            self.ice
                .add(IceServer::bare(url))
                .map_err(flag("--ice-server"))?;
        }
        self.assets = overrides.assets.or(self.assets.take());
        self.cuttlefish.wait_for_device |= overrides.wait_for_device;
        if let Some(seconds) = overrides.drain {
            self.drain = drain(seconds).map_err(flag("--drain"))?;
        }
        self.media.port = overrides.media_port.unwrap_or(self.media.port);
        self.media.threads = overrides.media_threads.or(self.media.threads);
        self.media.tcp_port = overrides.media_tcp_port.or(self.media.tcp_port);
        let replace = |list: &mut Vec<InterfaceName>, by: Vec<InterfaceName>| {
            if !by.is_empty() {
                *list = by;
            }
        };
        replace(&mut self.media.interfaces.allow, overrides.interfaces.allow);
        replace(&mut self.media.interfaces.deny, overrides.interfaces.deny);
        if !overrides.advertise.is_empty() {
            self.media.advertise = overrides.advertise;
        }
        Ok(())
    }

    fn check(&self, insecure: bool) -> Result<(), ConfigError> {
        if self.ice.secret.is_some() && !self.ice.mints() {
            return Err(ConfigError::UnusedSecret);
        }
        for listen in &self.listen {
            if listen.tls && self.tls.is_none() {
                return Err(ConfigError::NoCertificate(listen.address));
            }
            let is_safe = (listen.tls && self.auth.is_some()) || listen.address.ip().is_loopback();
            if !insecure && !is_safe {
                let (danger, cure) = match (listen.tls, self.auth.is_some()) {
                    (true, _) => (
                        "everyone there may register devices and watch them",
                        "name who checks tokens under [auth]",
                    ),
                    (false, false) => (
                        "everyone there may register devices and watch them, without encryption",
                        "name who checks tokens under [auth], listen on tls:IP:PORT",
                    ),
                    (false, true) => (
                        "tokens would go there without encryption",
                        "listen on tls:IP:PORT",
                    ),
                };
                return Err(ConfigError::Open {
                    address: listen.address,
                    danger,
                    cure,
                });
            }
        }
        Ok(())
    }
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    let (tls, address) = match text.strip_prefix("tls:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let address = address.parse().map_err(|_| {
        format!("\"{text}\" is no address; write IP:PORT or tls:IP:PORT, as in tls:0.0.0.0:8443")
    })?;
    Ok(Listen { address, tls })
}

fn cuttlefish(typed: &file::Cuttlefish) -> Cuttlefish {
    let defaults = Cuttlefish::default();
    Cuttlefish {
        wait_for_device: typed.wait_for_device.unwrap_or(defaults.wait_for_device),
        device_files: typed.device_files.unwrap_or(defaults.device_files),
        unguarded_devices: typed
            .unguarded_devices
            .unwrap_or(defaults.unguarded_devices),
    }
}

fn origins(typed: Vec<Spanned<String>>) -> Result<Vec<String>, accounts::Wrong> {
    let each = typed.into_iter().map(|origin| {
        let wrong = |e| (origin.span(), format!("origins: {e}"));
        check_origin(origin.get_ref()).map_err(wrong)?;
        Ok(origin.into_inner())
    });
    each.collect()
}

fn kurento(typed: file::Kurento, insecure: bool) -> Result<Kurento, accounts::Wrong> {
    let defaults = Kurento::default();
    let url = typed.custom_request_url.map(|typed| {
        accounts::parse_url(typed.get_ref(), insecure)
            .map_err(|what| (typed.span(), format!("kurento.custom_request_url: {what}")))
    });
    Ok(Kurento {
        custom_request_url: url.transpose()?,
        update_speaker_interval: typed
            .update_speaker_interval
            .unwrap_or(defaults.update_speaker_interval),
        threshold_speaker: typed
            .threshold_speaker
            .unwrap_or(defaults.threshold_speaker),
        loopback_remote: typed.loopback_remote,
        loopback_and_local: typed.loopback_and_local,
        filter_request_param: typed
            .filter_request_param
            .unwrap_or(defaults.filter_request_param),
    })
}

fn tls_from_file(tls: file::Tls) -> Result<TlsSource, String> {
    match (tls.self_signed, tls.certificate, tls.key) {
        (true, None, None) => Ok(self_signed(tls.directory, tls.names)),
        (false, Some(certificate), Some(key)) => Ok(TlsSource::Files { certificate, key }),
        _ => Err("tls: give either self_signed = true, or both certificate and key".to_owned()),
    }
}

fn self_signed(directory: Option<PathBuf>, mut names: Vec<String>) -> TlsSource {
    names.extend([
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ]);
    names.dedup();
    TlsSource::SelfSigned {
        directory: directory.unwrap_or_else(|| state_directory().join("tls")),
        names,
    }
}

/// Where the server keeps what must outlive it, by the XDG base directory specification.
fn state_directory() -> PathBuf {
    let from = |key: &str| {
        std::env::var_os(key)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from("STATE_DIRECTORY")
        .or_else(|| from("XDG_STATE_HOME").map(|dir| dir.join("switchboard")))
        .or_else(|| from("HOME").map(|dir| dir.join(".local/state/switchboard")))
        .unwrap_or_else(|| PathBuf::from("switchboard-state"))
}

fn drain(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= LONGEST_DRAIN)
        .ok_or_else(|| {
            format!(
                "{seconds} is no time; write seconds, from 0 to {}",
                LONGEST_DRAIN.as_secs()
            )
        })
}

/// An origin as browsers write it in a request (RFC 6454 section 6.2).
fn check_origin(origin: &str) -> Result<(), String> {
    let is_plain = origin.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@'])
    });
    if is_plain
        && origin
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    {
        return Ok(());
    }
    Err(format!(
        "\"{origin}\" is no origin; write it as browsers do, as in https://app.example.org"
    ))
}

/// A path as it comes in a request, so that it can be compared.
fn check_path(path: &str) -> Result<(), String> {
    let is_plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
    if path.starts_with('/') && is_plain {
        return Ok(());
    }
    Err(format!(
        "\"{path}\" is no path; write it as in a URL and without a query, as in /peers"
    ))
}

//! `switchboard serve`: the signaling server.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind};

use super::addresses::Addresses;
use super::{Failure, Outcome, Signals, caught, received, say, signals};
use crate::config::{Config, Overrides, TlsFlag};
use crate::server::{self, Reloader, Server};

/// Run the signaling server
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM ends it within 5 seconds, after --drain; SIGHUP reads its configuration again. The configuration file is
described in /etc/switchboard/switchboard.toml, with every key and its default.

Examples:
  switchboard serve
  switchboard serve --listen tls:0.0.0.0:8443 --tls self-signed --insecure
  switchboard serve --config /etc/switchboard/switchboard.toml --drain 60")]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) listen: Listen,
    /// Read this configuration file (TOML); flags go before it
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CONFIG")]
    config: Option<PathBuf>,
    /// Serve the static files of this directory at `/`; the console is at `/console/` then
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_ASSETS")]
    assets: Option<PathBuf>,
    /// Tell every peer and page of this STUN server (repeatable). TURN servers go into the file, under [[ice.servers]];
    /// here if the file has their shared secret
    #[arg(long, value_name = "URL")]
    ice_server: Vec<String>,
    #[command(flatten)]
    media: Media,
    /// Hold a Cuttlefish client that asks for an absent device until it registers
    #[arg(long)]
    wait_for_device: bool,
    /// At SIGTERM let conversations go on for so long, and take nobody new meanwhile; a second signal
    /// ends it [default: 0]
    #[arg(long, value_name = "SECONDS", env = "SWITCHBOARD_DRAIN")]
    drain: Option<f64>,
}

/// Where the media of rooms is.
#[derive(Debug, Args)]
struct Media {
    /// The UDP port of the first media thread, each further one has the next: with --media-threads N the N ports
    /// from here on; 0 lets the system choose [default: 0]
    #[arg(long, value_name = "PORT", env = "SWITCHBOARD_MEDIA_PORT")]
    media_port: Option<u16>,
    /// Threads that forward media [default: one per processor]
    #[arg(long, value_name = "N", env = "SWITCHBOARD_MEDIA_THREADS")]
    media_threads: Option<NonZeroUsize>,
    /// Tell room clients this port for media over TCP, which every --listen takes beside HTTP; 0 tells them of none
    /// [default: that of --listen]
    #[arg(long, value_name = "PORT", env = "SWITCHBOARD_MEDIA_TCP_PORT")]
    media_tcp_port: Option<u16>,
    #[command(flatten)]
    addresses: Addresses,
}

/// Where a server listens.
#[derive(Debug, Args)]
pub(super) struct Places {
    /// Where the server listens (repeatable); `tls:` in front for TLS; port 0 lets the system choose
    /// [default: 127.0.0.1:8080]
    #[arg(
        long,
        value_name = "[tls:]IP:PORT",
        env = "SWITCHBOARD_LISTEN",
        value_delimiter = ','
    )]
    pub(super) listen: Vec<String>,
}

/// Where and how to listen.
#[derive(Debug, Args)]
pub(super) struct Listen {
    #[command(flatten)]
    places: Places,
    /// The certificate of the TLS listeners: `self-signed` (made once and kept), or two PEM files
    #[arg(long, value_name = "self-signed|CERTIFICATE,KEY", value_parser = tls)]
    tls: Option<TlsFlag>,
    /// A further name or address in a self-signed certificate (repeatable)
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// Let other machines in without encryption or without tokens
    #[arg(long)]
    insecure: bool,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let (interfaces, advertise) = flags.media.addresses.into_rules();
    let overrides = Overrides {
        file: flags.config,
        assets: flags.assets,
        ice_servers: flags.ice_server,
        wait_for_device: flags.wait_for_device,
        drain: flags.drain,
        media_port: flags.media.media_port,
        media_threads: flags.media.media_threads,
        media_tcp_port: flags.media.media_tcp_port,
        advertise,
        interfaces,
        ..flags.listen.into_overrides()
    };
    // Before anyone can know that the server is there, and ask it to stop.
    let Signals { drain, shutdown } = signals();
    let hangup = caught(SignalKind::hangup());
    let server = start(overrides.clone()).await?;
    let reloader = server.reloader();
    tell_systemd(&[NotifyState::Ready]);
    let drain = async {
        drain.await;
        tell_systemd(&[NotifyState::Stopping]);
    };
    tokio::select! {
        () = server.run_and_drain(drain, shutdown) => {}
        () = reload(hangup, overrides, &reloader) => {}
    }
    Ok(())
}

/// Reads the configuration again at each SIGHUP. Runs for ever.
async fn reload(mut hangup: Option<Signal>, overrides: Overrides, reloader: &Reloader) {
    loop {
        received(&mut hangup).await;
        tell_systemd(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
        ]);
        let (overrides, reloader) = (overrides.clone(), reloader.clone());
        // It reads files.
        let reloaded = tokio::task::spawn_blocking(move || {
            let config = Config::load(overrides)?;
            anyhow::Ok(reloader.reload(&config)?)
        });
        match reloaded.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(
                error = format!("{error:#}"),
                "the configuration can't be used; the old one stays"
            ),
            Err(error) => tracing::error!(%error, "the configuration was not read"),
        }
        tell_systemd(&[NotifyState::Ready]);
    }
}

/// Tells systemd, if it started this process as a service of `Type=notify` or `notify-reload`.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

impl Listen {
    pub(super) fn into_overrides(self) -> Overrides {
        Overrides {
            listen: self.places.listen,
            insecure: self.insecure,
            tls: self.tls,
            tls_names: self.tls_name,
            ..Overrides::default()
        }
    }
}

/// Binds a server and says where it listens.
pub(super) async fn start(overrides: Overrides) -> Result<Server, Failure> {
    let config = Config::load(overrides).map_err(Failure::usage)?;
    let server = server::bind(config).await.map_err(Failure::usage)?;
    if let Some(fingerprint) = server.fingerprint() {
        say(format_args!(
            "self-signed certificate, SHA-256 fingerprint {fingerprint}"
        ));
    }
    for bound in server.addresses() {
        say(format_args!("listening on {bound}"));
    }
    Ok(server)
}

fn tls(text: &str) -> Result<TlsFlag, String> {
    if text == "self-signed" {
        return Ok(TlsFlag::SelfSigned);
    }
    match text.split_once(',') {
        Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
            Ok(TlsFlag::Files(certificate.into(), key.into()))
        }
        _ => Err("write self-signed, or two PEM files as CERTIFICATE,KEY".to_owned()),
    }
}

//! `switchboard serve`: the signaling server.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::addresses::Addresses;
use super::{Failure, Outcome, interrupted, say};
use crate::config::{Config, Overrides, TlsFlag};
use crate::server::{self, Server};

/// Run the signaling server
#[derive(Debug, Args)]
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

/// Where and how to listen.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Listen here (repeatable); `tls:` in front for TLS; port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(
        long,
        value_name = "[tls:]IP:PORT",
        env = "SWITCHBOARD_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<String>,
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
        media_port: flags.media.media_port,
        media_threads: flags.media.media_threads,
        media_tcp_port: flags.media.media_tcp_port,
        advertise,
        interfaces,
        ..flags.listen.into_overrides()
    };
    // Before anyone can know that the server is there, and ask it to stop.
    let interrupted = interrupted();
    let server = start(overrides).await?;
    server.run(interrupted).await;
    Ok(())
}

impl Listen {
    pub(super) fn into_overrides(self) -> Overrides {
        Overrides {
            listen: self.listen,
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

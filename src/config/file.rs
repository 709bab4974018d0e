//! The configuration file: TOML, every key optional, unknown keys refused with their line.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, accounts, ice, proxies};
use crate::net::{Advertise, InterfaceName};

/// What a configuration file says, key by key, as it was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen: Vec<Spanned<String>>,
    pub(super) insecure: Option<bool>,
    pub(super) drain: Option<Spanned<f64>>,
    pub(super) proxy: Option<proxies::Section>,
    pub(super) origins: Option<Vec<Spanned<String>>>,
    pub(super) assets: Option<PathBuf>,
    pub(super) tls: Option<Tls>,
    pub(super) ice: ice::Section,
    pub(super) cuttlefish: Cuttlefish,
    pub(super) gstreamer: GStreamer,
    pub(super) gecko: Gecko,
    pub(super) kurento: Kurento,
    pub(super) media: Media,
    pub(super) accounts: Option<Spanned<accounts::Section>>,
    pub(super) auth: Option<Spanned<accounts::Auth>>,
    pub(super) limits: BTreeMap<Spanned<String>, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) self_signed: bool,
    pub(super) directory: Option<PathBuf>,
    pub(super) names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cuttlefish {
    pub(super) wait_for_device: Option<bool>,
    pub(super) device_files: Option<bool>,
    pub(super) unguarded_devices: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GStreamer {
    pub(super) paths: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Gecko {
    pub(super) legacy_progress_errors: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kurento {
    pub(super) custom_request_url: Option<Spanned<String>>,
    pub(super) update_speaker_interval: Option<u32>,
    pub(super) threshold_speaker: Option<i32>,
    pub(super) loopback_remote: bool,
    pub(super) loopback_and_local: bool,
    pub(super) filter_request_param: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Media {
    pub(super) port: Option<u16>,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) tcp_port: Option<u16>,
    pub(super) advertise: Vec<Advertise>,
    pub(super) interfaces: Vec<InterfaceName>,
    pub(super) no_interfaces: Vec<InterfaceName>,
}

/// A file's text and name, to say where in it something is wrong.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> Source<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(path, text))
    }

    pub(super) fn new(path: &'a Path, text: String) -> Self {
        Self { path, text }
    }

    pub(super) fn parse(&self) -> Result<File, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            self.error(
                error.span().map_or(0, |span| span.start),
                error.message().trim().to_owned(),
            )
        })
    }

    /// An error at a byte of this file.
    pub(super) fn error(&self, at: usize, what: String) -> ConfigError {
        let before = self.text.get(..at).unwrap_or_default();
        ConfigError::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            what,
        }
    }
}

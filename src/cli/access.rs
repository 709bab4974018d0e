//! The flags for how to be let in by a server, and whether to trust it.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::config::Secret;
use crate::web::dialer::{Dialer, ServerUrl, Trust};

/// How to be let in by a server, and whether to trust it.
#[derive(Debug, Args)]
pub(super) struct Access {
    /// Trust these certificates too (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate of the server
    #[arg(long)]
    insecure: bool,
    /// Show this certificate to a server that asks for one: two PEM files
    #[arg(long, value_name = "CERTIFICATE,KEY", value_parser = pair)]
    client_cert: Option<(PathBuf, PathBuf)>,
    /// Show this token to a server that asks for one. Other users of this machine see flags, but not the
    /// environment
    #[arg(long, env = "SWITCHBOARD_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
}

impl Access {
    /// Whom to trust.
    pub(super) fn trust(&self) -> Trust {
        Trust {
            ca: self.ca.clone(),
            anyone: self.insecure,
            identity: self.client_cert.clone(),
        }
    }

    /// The connections to make to a server.
    pub(super) fn dialer(&self, url: ServerUrl) -> anyhow::Result<Dialer> {
        let is_open = !url.is_tls() && !url.is_here();
        let dialer = Dialer::new(url, &self.trust())?;
        let Some(token) = &self.token else {
            return Ok(dialer);
        };
        if is_open {
            let server = dialer.url();
            tracing::warn!(%server, "the token goes there without encryption, for everyone on the way to read; use wss://");
        }
        dialer.with_token(token).context("--token")
    }

    /// What to show to a server.
    #[cfg(feature = "peer")]
    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

fn pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once(',') {
        Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
            Ok((certificate.into(), key.into()))
        }
        _ => Err("write two PEM files as CERTIFICATE,KEY".to_owned()),
    }
}

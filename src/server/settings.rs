//! What a running server can take over from a changed configuration.

use std::sync::{Arc, PoisonError};

use tracing::{info, warn};

use super::ice::IceServers;
use super::metrics::Metrics;
use super::tokens::{Verifier, VerifierError};
use super::{App, StartError};
use crate::config::Config;

/// The part of the configuration that can change while the server runs. Who is connected keeps what
/// it came in by.
pub(super) struct Settings {
    pub(super) ice: IceServers,
    /// Who checks the tokens of geckos and their clients; `None` if none are asked for.
    pub(super) accounts: Option<Verifier>,
    /// Who checks the tokens of everyone; `None` if none are asked for.
    pub(super) auth: Option<Verifier>,
    /// Pages of which other origins may use the server; `None` for all.
    pub(super) origins: Option<Vec<String>>,
}

/// Gives a running server another configuration.
#[derive(Clone)]
pub struct Reloader(pub(super) Arc<App>);

impl Settings {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Result<Self, VerifierError> {
        let verifier = |accounts: &Option<_>| {
            let accounts = accounts.as_ref();
            let made = accounts.map(|it| Verifier::new(it, &config.limits, metrics.tokens.clone()));
            made.transpose()
        };
        Ok(Self {
            ice: IceServers::new(config),
            accounts: verifier(&config.accounts)?,
            auth: verifier(&config.auth)?,
            origins: config.origins.clone(),
        })
    }
}

impl App {
    /// As they are now. Not to be kept.
    pub(super) fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reloader {
    /// Takes over ICE servers, who checks tokens, and allowed origins: files that these name are read
    /// anew. What else has changed needs a restart, and is logged.
    ///
    /// # Errors
    /// As at the start. Then everything stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        let app = &self.0;
        let settings = Settings::new(config, &app.metrics)?;
        let mut current = app.settings.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(settings);
        drop(current);
        info!("the configuration was read again");
        let fixed = fixed_parts(&app.config, config);
        if !fixed.is_empty() {
            let parts = fixed.join(", ");
            warn!(parts, "changes in these parts count after a restart only");
        }
        Ok(())
    }
}

/// What is different in two configurations, and can't change.
fn fixed_parts(old: &Config, new: &Config) -> Vec<&'static str> {
    let parts = [
        ("listen", old.listen != new.listen),
        ("tls", old.tls != new.tls || old.client_ca != new.client_ca),
        ("assets", old.assets != new.assets),
        ("cuttlefish", old.cuttlefish != new.cuttlefish),
        ("gstreamer", old.gstreamer != new.gstreamer),
        ("gecko", old.gecko != new.gecko),
        ("kurento", old.kurento != new.kurento),
        ("media", old.media != new.media),
        ("proxy", old.proxies != new.proxies),
        ("drain", old.drain != new.drain),
        ("limits", old.limits != new.limits),
    ];
    let changed = parts.into_iter().filter(|(_, is_other)| *is_other);
    changed.map(|(part, _)| part).collect()
}

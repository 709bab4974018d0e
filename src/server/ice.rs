//! The ICE servers that everyone is told of, with credentials that are minted for each session.
//!
//! A TURN server that shares a secret with this one takes the user name `EXPIRY:NAME`, where the
//! expiry is in seconds since 1970, and as its password the base64 of HMAC-SHA1 of that user name
//! under the secret (draft-uberti-behave-turn-rest-00, section 2.2; coturn's `use-auth-secret`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, HeaderName, HeaderValue,
};
use ring::hmac;
use serde::Serialize;

use super::{App, accounts, http};
use crate::config::{Config, Ice, IceServer, Secret};
use crate::dialect::cuttlefish::server as cuttlefish;
use crate::dialect::gecko::server as gecko;

/// Bytes of randomness in the name of a minted credential, so that a TURN server counts each session
/// by itself.
const NAME_BYTES: usize = 8;
/// How long a browser may remember that it may ask.
const PREFLIGHT_SECONDS: &str = "86400";

/// What each dialect's sessions need of the list.
pub(super) struct IceServers {
    ice: Ice,
    // Those of all sessions, if nothing is minted.
    cuttlefish: Arc<cuttlefish::Settings>,
    gecko: Arc<gecko::Settings>,
}

/// The body of `GET /ice-servers`, in the form of the browser's `RTCConfiguration`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    ice_servers: &'a [IceServer],
    /// How many seconds the credentials can be used; for ever if it isn't said.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
}

impl IceServers {
    pub(super) fn new(config: &Config) -> Self {
        let servers = &config.ice.servers;
        Self {
            ice: config.ice.clone(),
            cuttlefish: Arc::new(cuttlefish::Settings::new(servers, &config.cuttlefish)),
            gecko: Arc::new(gecko::Settings {
                legacy_progress_errors: config.gecko.legacy_progress_errors,
                id_bytes: config.limits.id_bytes,
                ice_servers: gecko::ice_servers(servers),
            }),
        }
    }

    /// For a Cuttlefish session that begins now.
    pub(super) fn cuttlefish(&self) -> Arc<cuttlefish::Settings> {
        match self.minted() {
            Some(servers) => Arc::new(self.cuttlefish.with(&servers)),
            None => Arc::clone(&self.cuttlefish),
        }
    }

    /// For the session of a gecko's client that begins now.
    pub(super) fn gecko(&self) -> Arc<gecko::Settings> {
        match self.minted() {
            Some(servers) => Arc::new(gecko::Settings {
                ice_servers: gecko::ice_servers(&servers),
                ..*self.gecko
            }),
            None => Arc::clone(&self.gecko),
        }
    }

    /// The list with credentials for a session that begins now; `None` if it is the same for all.
    fn minted(&self) -> Option<Vec<IceServer>> {
        let secret = self.ice.secret.as_ref().filter(|_| self.ice.mints())?;
        let mut random = [0; NAME_BYTES];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system has no randomness; no TURN credentials are minted");
            return None;
        }
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let expiry = SystemTime::now() + self.ice.lifetime;
        let (username, credential) = mint(secret, expiry, &name);
        let mut servers = self.ice.servers.clone();
        for server in servers.iter_mut().filter(|it| it.lacks_credential()) {
            server.username = Some(username.clone());
            server.credential = Some(credential.clone());
        }
        Some(servers)
    }
}

/// `GET /ice-servers`, for everyone whose dialect doesn't tell them. Where tokens are asked for, it
/// takes one.
///
/// Pages of any origin may read it: what it says, every page learns from a WebSocket too, which
/// knows no origins.
pub(super) async fn servers(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = match accounts::of_request(&app, &request, "this list needs a token").await {
        Ok(_) => answer(&app.settings().ice),
        Err(refused) => refused,
    };
    const HEADERS: [(HeaderName, &str); 2] = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CACHE_CONTROL, "no-store"),
    ];
    (HEADERS, answer).into_response()
}

/// `OPTIONS /ice-servers`: a page with a token asks whether it may send it.
pub(super) async fn preflight() -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization"),
        (ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
    ];
    (StatusCode::NO_CONTENT, HEADERS).into_response()
}

/// Keeps what holds for one session only out of caches.
pub(super) fn not_stored(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn answer(ice: &IceServers) -> Response {
    let minted = ice.minted();
    let answer = Answer {
        ice_servers: minted.as_deref().unwrap_or(&ice.ice.servers),
        ttl: minted.is_some().then_some(ice.ice.lifetime.as_secs()),
    };
    match serde_json::to_string(&answer) {
        Ok(text) => http::json_text(StatusCode::OK, text),
        Err(error) => http::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A user name and its password.
fn mint(secret: &Secret, expiry: SystemTime, name: &str) -> (String, String) {
    let expiry = expiry.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let username = format!("{}:{name}", expiry.as_secs());
    let key = hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        secret.expose().as_bytes(),
    );
    let password = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf 1700000000:anna | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_credential_is_the_one_that_openssl_makes() {
        let expiry = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (username, password) = mint(&Secret::new("north"), expiry, "anna");
        assert_eq!(username, "1700000000:anna");
        assert_eq!(password, "WS1fjjHj2gNlXzhc/ZcwmC3ofIo=");
    }
}

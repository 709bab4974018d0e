//! Firefox Accounts: `POST /v1/verify` (gecko.md A8).

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::fetch::{Unreachable, Web};
use super::{Authority, Grant, TokenError, UserId, Words};
use crate::config::Secret;

/// A Firefox Accounts server.
pub(super) struct Fxa {
    url: Uri,
    web: Web,
}

/// All three keys must be there (gecko.md A8).
#[derive(Deserialize)]
pub(super) struct Verified {
    user: String,
    #[serde(rename = "client_id")]
    _client: String,
    scope: Words,
}

impl Fxa {
    pub(super) fn new(server: &Uri, web: Web) -> Self {
        Self {
            url: verify_url(server),
            web,
        }
    }

    async fn verify(&self, token: &Secret) -> Result<Grant, TokenError> {
        let body = json!({ "token": token.expose() }).to_string();
        let answer = self.web.post(&self.url, "application/json", None, body);
        let answer = answer.await.map_err(TokenError::Unreachable)?;
        // 400 with their errno 108 for an unknown token, 115 for an expired one.
        if matches!(
            answer.status,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return Err(TokenError::Invalid("the accounts server refuses it"));
        }
        let verified: Verified = answer.json().map_err(TokenError::Unreachable)?;
        let user = UserId::new(&verified.user).ok_or_else(|| {
            TokenError::Unreachable(Unreachable::Nonsense("the user is empty".to_owned()))
        })?;
        Ok(Grant {
            user,
            scopes: verified.scope.0,
            grants: Vec::new(),
            id: None,
            expires: None,
        })
    }
}

impl Authority for Fxa {
    fn kind(&self) -> &'static str {
        "fxa"
    }

    fn ask<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>> {
        self.verify(token).boxed()
    }
}

/// `/v1` is added unless it is there already, as the reference does.
fn verify_url(server: &Uri) -> Uri {
    let base = server.path().trim_end_matches('/');
    let version = if base.ends_with("/v1") { "" } else { "/v1" };
    super::with_path(server, &format!("{base}{version}/verify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_added_once() {
        for (server, expected) in [
            ("https://a.example", "https://a.example/v1/verify"),
            ("https://a.example/v1", "https://a.example/v1/verify"),
            (
                "https://a.example:1/x/v1/",
                "https://a.example:1/x/v1/verify",
            ),
            ("http://[::1]:1/x/", "http://[::1]:1/x/v1/verify"),
        ] {
            assert_eq!(verify_url(&Uri::from_static(server)), expected);
        }
    }
}

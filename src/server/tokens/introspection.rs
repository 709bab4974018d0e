//! Token introspection (RFC 7662).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};
use serde::Deserialize;

use super::fetch::Web;
use super::{Authority, Grant, TokenError, UserId, Words, moment};
use crate::config::Secret;

/// An OAuth server's introspection endpoint.
pub(super) struct Introspection {
    url: Uri,
    credentials: HeaderValue,
    audience: Option<String>,
    web: Web,
}

/// RFC 7662 section 2.2.
#[derive(Deserialize)]
pub(super) struct Introspected {
    active: bool,
    sub: Option<String>,
    username: Option<String>,
    #[serde(default)]
    scope: Words,
    #[serde(default)]
    aud: Words,
    exp: Option<f64>,
    jti: Option<String>,
    #[serde(default)]
    switchboard: Vec<crate::hub::Grant>,
}

impl Introspection {
    pub(super) fn new(
        url: Uri,
        client: &str,
        password: &Secret,
        audience: Option<String>,
        web: Web,
    ) -> Self {
        // RFC 6749 section 2.3.1: both parts are form-encoded first.
        let pair = format!("{}:{}", encode(client), encode(password.expose()));
        let credentials = format!("Basic {}", STANDARD.encode(pair));
        // Base64 fits in a header.
        let mut credentials =
            HeaderValue::try_from(credentials).unwrap_or(HeaderValue::from_static(""));
        credentials.set_sensitive(true);
        Self {
            url,
            credentials,
            audience,
            web,
        }
    }

    async fn introspect(&self, token: &Secret) -> Result<Grant, TokenError> {
        let body = format!(
            "token={}&token_type_hint=access_token",
            encode(token.expose())
        );
        let answer = self.web.post(
            &self.url,
            "application/x-www-form-urlencoded",
            Some(&self.credentials),
            body,
        );
        let answer = answer.await.map_err(TokenError::Unreachable)?;
        // Some servers answer so to a token of a kind that they don't introspect.
        if answer.status == StatusCode::BAD_REQUEST {
            return Err(TokenError::Invalid("the accounts server refuses it"));
        }
        let answer: Introspected = answer.json().map_err(TokenError::Unreachable)?;
        if !answer.active {
            return Err(TokenError::Invalid("the accounts server refuses it"));
        }
        if let Some(audience) = &self.audience
            && !answer.aud.0.contains(audience)
        {
            return Err(TokenError::Invalid("it is for another audience"));
        }
        // A token of client credentials has neither: it speaks for no user.
        let user = answer.sub.or(answer.username);
        let user = user.and_then(|user| UserId::new(&user));
        Ok(Grant {
            user: user.ok_or(TokenError::Invalid("it speaks for no user"))?,
            scopes: answer.scope.0,
            grants: answer.switchboard,
            id: answer.jti,
            expires: answer.exp.and_then(moment),
        })
    }
}

impl Authority for Introspection {
    fn kind(&self) -> &'static str {
        "introspection"
    }

    fn ask<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>> {
        self.introspect(token).boxed()
    }
}

/// As in a form (`application/x-www-form-urlencoded`).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_token_holds_stays_in_its_field() {
        assert_eq!(encode("aZ0-._~&=+ é"), "aZ0-._%7E%26%3D%2B%20%C3%A9");
    }
}

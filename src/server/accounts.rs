//! Whose token it is (gecko.md A8).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use ring::digest::{SHA256, digest};

use super::auth::{token, unauthorized};
use super::tokens::TokenError;
use super::{App, http};
use crate::config::Secret;
use crate::dialect::Unverified;
use crate::hub::AccountId;

/// Finds out whose token it is, within [`Limits::token_check`](crate::config::Limits::token_check).
pub(super) async fn verify(app: Arc<App>, token: Secret) -> Result<AccountId, Unverified> {
    let settings = app.settings();
    let Some(verifier) = &settings.accounts else {
        return Ok(own_account(&token));
    };
    match verifier.verify(&token).await {
        Ok(account) => Ok(AccountId::new(account.user.as_str())),
        Err(error @ TokenError::Unreachable(_)) => Err(Unverified::Unavailable(error.to_string())),
        Err(error) => Err(Unverified::Refused(error.to_string())),
    }
}

/// Whose request it is, or the answer that refuses it; nobody's where no tokens are asked for.
/// `lack` is what to say of a request without a token, up to the fix.
pub(super) fn of_request(
    app: &Arc<App>,
    request: &Request,
    lack: &str,
) -> impl Future<Output = Result<Option<AccountId>, Response>> + Send + use<> {
    let path = request.uri().path();
    let lack = format!("{lack}; send Authorization: Bearer TOKEN, or use {path}?token=TOKEN");
    let (app, token) = (Arc::clone(app), token(request));
    async move {
        if app.settings().accounts.is_none() {
            return Ok(None);
        }
        let Some(token) = token else {
            app.metrics.refused("no_authorization");
            return Err(unauthorized(&lack));
        };
        match verify(Arc::clone(&app), token).await {
            Ok(account) => Ok(Some(account)),
            Err(Unverified::Refused(why)) => {
                app.metrics.refused("token_refused");
                Err(unauthorized(&why))
            }
            Err(Unverified::Unavailable(why)) => {
                app.metrics.refused("authority_unavailable");
                Err(http::error(StatusCode::SERVICE_UNAVAILABLE, &why))
            }
        }
    }
}

/// Where no authority is configured, each token is an account of its own. Geckos are told the
/// account's name, so the token mustn't be found from it.
fn own_account(token: &Secret) -> AccountId {
    let hash = digest(&SHA256, token.expose().as_bytes());
    let mut name = String::with_capacity(2 * hash.as_ref().len());
    for byte in hash.as_ref() {
        // Writing to a String can't fail.
        let _ = write!(name, "{byte:02x}");
    }
    AccountId::new(&name)
}

//! Whose token it is (gecko.md A8).

use std::fmt::Write as _;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::App;
use super::tokens::TokenError;
use crate::config::Secret;
use crate::dialect::Unverified;
use crate::hub::AccountId;

/// Finds out whose token it is, within [`Limits::token_check`](crate::config::Limits::token_check).
pub(super) async fn verify(app: Arc<App>, token: Secret) -> Result<AccountId, Unverified> {
    let Some(verifier) = &app.accounts else {
        return Ok(own_account(&token));
    };
    match verifier.verify(&token).await {
        Ok(account) => Ok(AccountId::new(account.user.as_str())),
        Err(error @ TokenError::Unreachable(_)) => Err(Unverified::Unavailable(error.to_string())),
        Err(error) => Err(Unverified::Refused(error.to_string())),
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

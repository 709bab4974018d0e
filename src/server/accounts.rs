//! Whose token it is.

use std::fmt::Write as _;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::App;
use crate::dialect::{Token, Unverified};
use crate::hub::AccountId;

/// Finds out whose token it is, within [`Limits::verify`](crate::config::Limits::verify).
pub(super) async fn verify(app: Arc<App>, token: Token) -> Result<AccountId, Unverified> {
    let patience = app.config.limits.verify;
    tokio::time::timeout(patience, async { Ok(own_account(&token)) })
        .await
        .unwrap_or(Err(Unverified::Unavailable))
}

/// Where no authority is configured, each token is its own account. The account's name is told
/// geckos and logs, so the token mustn't be found from it.
fn own_account(token: &Token) -> AccountId {
    let hash = digest(&SHA256, token.expose().as_bytes());
    let mut name = String::with_capacity(2 * hash.as_ref().len());
    for byte in hash.as_ref() {
        // Writing to a String can't fail.
        let _ = write!(name, "{byte:02x}");
    }
    AccountId::new(&name)
}

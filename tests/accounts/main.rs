//! Tokens against real authorities: oidc-provider, which is a certified OAuth server, for
//! introspection and signed tokens; and a stand-in for Firefox Accounts, which nobody can install.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests doesn't cover their helpers"
)]

#[path = "../common/mod.rs"]
mod common;

mod fxa;
mod introspection;
mod jwt;
mod provider;
mod serve;

use std::time::Duration;

use switchboard::config::{Config, Limits, Overrides, Secret};
use switchboard::server::tokens::{Account, Meters, TokenError, Verifier};

/// A verifier as a configuration file describes it.
fn verifier(accounts: &str) -> Verifier {
    with_limits(accounts, |_| {})
}

fn with_limits(accounts: &str, change: impl FnOnce(&mut Limits)) -> Verifier {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("switchboard.toml");
    std::fs::write(&file, accounts).unwrap();
    let mut config = Config::load(Overrides {
        file: Some(file),
        ..Overrides::default()
    })
    .unwrap();
    // The machine may be busy.
    config.limits.token_check = Duration::from_secs(15);
    change(&mut config.limits);
    Verifier::new(&config.accounts.unwrap(), &config.limits, Meters::default()).unwrap()
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Account, TokenError> {
    verifier.verify(&Secret::new(token)).await
}

fn assert_user(result: &Result<Account, TokenError>, user: &str) {
    let account = result.as_ref().unwrap();
    assert_eq!(account.user.as_str(), user);
}

/// The token is refused for a reason with these words.
fn assert_refused(result: &Result<Account, TokenError>, why: &str) {
    match result {
        Err(error @ TokenError::Invalid(_)) => {
            assert!(error.to_string().contains(why), "{error}");
        }
        other => panic!("{other:?} instead of: {why}"),
    }
}

fn assert_scope(result: &Result<Account, TokenError>) {
    assert!(
        matches!(result, Err(TokenError::Scope { .. })),
        "{result:?}"
    );
}

fn assert_unreachable(result: &Result<Account, TokenError>) {
    assert!(
        matches!(result, Err(TokenError::Unreachable(_))),
        "{result:?}"
    );
}

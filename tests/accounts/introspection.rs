//! Opaque tokens, by introspection (RFC 7662).

use std::time::Duration;

use crate::common::{PATIENCE, wait_until};
use crate::provider::{AUDIENCE, Provider};
use crate::*;

fn accounts(provider: &Provider) -> String {
    named(provider, AUDIENCE, "p&ss:w%rd")
}

fn named(provider: &Provider, audience: &str, password: &str) -> String {
    format!(
        "[accounts.introspection]\nurl = \"{}/token/introspection\"\nclient_id = \"switchboard\"\n\
         client_secret = \"{password}\"\naudience = \"{audience}\"",
        provider.issuer
    )
}

#[tokio::test]
async fn a_good_token_names_its_user() {
    let provider = Provider::start().await;
    let verifier = verifier(&accounts(&provider));
    let token = provider.mint("sub=alice&scope=remote_server+profile").await;
    let result = verify(&verifier, &token).await;
    assert_user(&result, "alice");
    assert_eq!(result.unwrap().scopes, ["remote_server", "profile"]);
}

#[tokio::test]
async fn another_scope_audience_or_token_is_refused() {
    let provider = Provider::start().await;
    let here = verifier(&accounts(&provider));
    let token = provider.mint("sub=alice&scope=profile").await;
    assert_scope(&verify(&here, &token).await);
    let result = verify(&here, "made&token_type_hint=up").await;
    assert_refused(&result, "refuses");
    // The server doesn't introspect these, and says so by a status.
    let signed = provider.mint("sub=a&scope=remote_server&format=jwt").await;
    assert_refused(&verify(&here, &signed).await, "refuses");
    assert!(here.is_reachable());

    let token = provider.mint("sub=alice&scope=remote_server").await;
    let there = verifier(&named(&provider, "urn:another", "p&ss:w%rd"));
    assert_refused(&verify(&there, &token).await, "another audience");
}

#[tokio::test]
async fn a_token_is_refused_once_it_has_expired() {
    let provider = Provider::start().await;
    let verifier = verifier(&accounts(&provider));
    let token = provider.mint("sub=alice&scope=remote_server&ttl=2").await;
    // Nothing is remembered beyond the token's end, so that no limit has to be shorter for this.
    wait_until(PATIENCE, async || {
        matches!(verify(&verifier, &token).await, Err(TokenError::Invalid(_)))
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_once_it_is_forgotten() {
    let provider = Provider::start().await;
    let verifier = with_limits(&accounts(&provider), |limits| {
        limits.token_good = Duration::from_millis(50);
    });
    let token = provider.mint("sub=alice&scope=remote_server").await;
    assert_user(&verify(&verifier, &token).await, "alice");
    provider.get(&format!("/revoke?token={token}")).await;
    wait_until(PATIENCE, async || {
        matches!(verify(&verifier, &token).await, Err(TokenError::Invalid(_)))
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_our_fault_and_not_the_tokens() {
    let provider = Provider::start().await;
    let verifier = verifier(&named(&provider, AUDIENCE, "wrong"));
    let token = provider.mint("sub=alice&scope=remote_server").await;
    match verify(&verifier, &token).await {
        Err(TokenError::Unreachable(why)) => {
            assert!(why.to_string().contains("check client_id"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_stands_still_or_is_gone_is_unreachable() {
    let mut provider = Provider::start().await;
    let verifier = with_limits(&accounts(&provider), |limits| {
        limits.token_check = Duration::from_secs(1);
    });
    let token = provider.mint("sub=alice&scope=remote_server").await;
    provider.stop();
    assert_unreachable(&verify(&verifier, &token).await);
    assert!(!verifier.is_reachable());
    provider.go_on();
    wait_until(PATIENCE, async || verify(&verifier, &token).await.is_ok()).await;
    assert!(verifier.is_reachable());

    provider.kill().await;
    assert_user(&verify(&verifier, &token).await, "alice");
    assert_unreachable(&verify(&verifier, "another").await);
}

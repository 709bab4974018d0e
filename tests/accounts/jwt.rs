//! Signed tokens, checked with the issuer's keys.

use std::time::Duration;

use crate::common::{PATIENCE, wait_until};
use crate::provider::{AUDIENCE, Provider};
use crate::*;

fn accounts(provider: &Provider) -> String {
    format!(
        "[accounts.jwt]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"",
        provider.issuer
    )
}

#[tokio::test]
async fn a_token_of_each_algorithm_names_its_user() {
    let provider = Provider::start().await;
    let verifier = verifier(&accounts(&provider));
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let query = format!("sub=alice&scope=remote_server&format=jwt&alg={algorithm}");
        let token = provider.mint(&query).await;
        let result = verify(&verifier, &token).await;
        assert_user(&result, "alice");
        assert_eq!(result.unwrap().scopes, ["remote_server"]);
    }
}

#[tokio::test]
async fn only_pinned_algorithms_are_accepted() {
    let provider = Provider::start().await;
    let accounts = accounts(&provider);
    let jwks = format!("{accounts}\njwks = \"{}/jwks\"", provider.issuer);
    let verifier = verifier(&format!("{jwks}\nalgorithms = [\"ES256\"]"));
    let token = provider.mint("sub=alice&scope=remote_server&format=jwt&alg=ES256");
    assert_user(&verify(&verifier, &token.await).await, "alice");
    for query in [
        "sub=a&alg=RS256",
        // The two classic ways around a signature.
        "sub=a&alg=none",
        "sub=a&alg=HS256&kid=RS256-1",
    ] {
        let token = provider.forge(query).await;
        assert_refused(&verify(&verifier, &token).await, "signed");
    }
}

#[tokio::test]
async fn every_claim_counts() {
    let provider = Provider::start().await;
    let verifier = verifier(&accounts(&provider));
    assert_user(
        &verify(&verifier, &provider.forge("sub=alice").await).await,
        "alice",
    );
    for (query, why) in [
        ("sub=a&exp=-120", "has expired"),
        ("sub=a&nbf=120", "not valid yet"),
        ("sub=a&aud=urn:another", "another audience"),
        ("sub=a&iss=https://another.test", "another issuer"),
        ("sub=", "speaks for no user"),
        ("", "lacks one of"),
        ("sub=a&typ=logout%2Bjwt", "another type"),
        ("sub=a&kid=unknown", "no such key"),
        ("sub=a&alg=ES256&kid=RS256-1", "no such key"),
    ] {
        let token = provider.forge(query).await;
        assert_refused(&verify(&verifier, &token).await, why);
    }
    let token = provider.forge("sub=a&scope=profile").await;
    assert_scope(&verify(&verifier, &token).await);
    assert!(verifier.is_reachable());
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused() {
    let provider = Provider::start().await;
    let verifier = verifier(&accounts(&provider));
    let alice = provider.forge("sub=alice").await;
    let mallory = provider.forge("sub=mallory").await;
    let part = |token: &str, n: usize| token.split('.').nth(n).unwrap().to_owned();
    let mixed = format!(
        "{}.{}.{}",
        part(&alice, 0),
        part(&alice, 1),
        part(&mallory, 2)
    );
    assert_refused(&verify(&verifier, &mixed).await, "signature is wrong");
    for nonsense in ["x", "a.b.c", "..", "e30.e30.e30"] {
        assert_refused(&verify(&verifier, nonsense).await, "no signed token");
    }
}

#[tokio::test]
async fn new_keys_are_fetched_but_not_for_every_unknown_one() {
    let provider = Provider::start().await;
    let eager = with_limits(&accounts(&provider), |limits| {
        limits.token_keys_retry = Duration::from_millis(50);
        limits.token_bad = Duration::from_millis(1);
    });
    let patient = verifier(&accounts(&provider));
    let old = provider.forge("sub=alice").await;
    assert_user(&verify(&eager, &old).await, "alice");
    assert_user(&verify(&patient, &old).await, "alice");
    provider.get("/rotate").await;
    let new = provider.forge("sub=bob").await;
    wait_until(PATIENCE, async || verify(&eager, &new).await.is_ok()).await;
    assert_refused(&verify(&patient, &new).await, "no such key");
}

#[tokio::test]
async fn known_keys_outlive_their_issuer() {
    let mut provider = Provider::start().await;
    let known = with_limits(&accounts(&provider), |limits| {
        limits.token_keys_refresh = Duration::from_millis(1);
        limits.token_keys_retry = Duration::from_millis(1);
    });
    let unknown = verifier(&accounts(&provider));
    let first = provider.forge("sub=alice").await;
    let second = provider.forge("sub=bob").await;
    assert_user(&verify(&known, &first).await, "alice");
    provider.kill().await;
    assert_user(&verify(&known, &second).await, "bob");
    assert_unreachable(&verify(&unknown, &second).await);
}

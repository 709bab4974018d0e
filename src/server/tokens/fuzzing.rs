//! For the targets of `fuzz/`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::Authority as _;
use super::fixed::Fixed;
use super::fxa::Verified;
use super::introspection::Introspected;
use super::jwt::Jwt;
use super::keys::{Discovered, Key, KeySet};
use crate::config::Secret;

/// The server's own key. Nobody can find the signature of another.
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap_or_else(|error| panic!("{error}"))
});
static OWN: LazyLock<Jwt> = LazyLock::new(|| Jwt::local(KEY.public_key().as_ref()));

pub(in crate::server) fn answers(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Introspected>(bytes);
    let _ = serde_json::from_slice::<Verified>(bytes);
    let _ = serde_json::from_slice::<Discovered>(bytes);
    if let Ok(set) = serde_json::from_slice::<KeySet>(bytes) {
        let _: Vec<Key> = set.keys.into_iter().filter_map(Key::parse).collect();
    }
}

pub(in crate::server) fn file(text: &str) {
    if let Err((at, _)) = Fixed::parse(text) {
        assert!(at <= text.len(), "an error beyond the file's end");
    }
}

/// Whether the token is believed. Our own key is at hand, so that nothing is waited for.
pub(in crate::server) fn is_good(token: &str) -> bool {
    let token = Secret::new(token);
    let outcome = OWN.ask(&token).now_or_never();
    outcome.is_some_and(|outcome| outcome.is_ok())
}

pub(in crate::server) fn sign(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let text = format!(
        "{}.{}",
        part(r#"{"alg":"EdDSA","typ":"JWT"}"#),
        part(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

//! An issuer's published keys (RFC 7517): fetched when first needed, again when they are old, and
//! again when a token names an unknown one, but not too often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::TokenError;
use super::fetch::{Unreachable, Web};
use crate::config::Limits;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    /// Where they are, if it isn't the issuer who says so.
    url: Option<Uri>,
    web: Web,
    known: Mutex<Known>,
    /// One permit: who has it fetches.
    turn: Semaphore,
    refresh: Duration,
    retry: Duration,
    /// Less than a check may take, so that known keys can be used when new ones don't come.
    patience: Duration,
}

#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    fetched: Option<Instant>,
    /// When fetching began last, and how it failed.
    tried: Option<(Instant, Option<Unreachable>)>,
}

pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// OpenID Connect Discovery 1.0, section 3.
#[derive(Deserialize)]
pub(super) struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(issuer: &str, url: Option<Uri>, web: Web, limits: &Limits) -> Self {
        Self {
            issuer: issuer.to_owned(),
            url,
            web,
            known: Mutex::default(),
            turn: Semaphore::new(1),
            refresh: limits.token_keys_refresh,
            retry: limits.token_keys_retry,
            patience: limits.token_check / 2,
        }
    }

    /// The key with this id, or the only key of the algorithm if the token names none.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, TokenError> {
        let began = Instant::now();
        if let Some(key) = self.known().pick(id, algorithm, Some(self.refresh)) {
            return Ok(key);
        }
        // Nobody closes the semaphore.
        let _turn = self.turn.acquire().await;
        if self.known().may_fetch(began, self.retry) {
            self.fetch().await;
        }
        let known = self.known();
        if let Some(key) = known.pick(id, algorithm, None) {
            return Ok(key);
        }
        match &known.tried {
            Some((_, Some(why))) => Err(TokenError::Unreachable(why.clone())),
            _ => Err(TokenError::Invalid("its issuer has no such key")),
        }
    }

    async fn fetch(&self) {
        let began = Instant::now();
        let fetched = timeout(self.patience, self.download()).await;
        let fetched = fetched.unwrap_or(Err(Unreachable::Late(self.patience)));
        let mut known = self.known();
        known.tried = Some((began, fetched.as_ref().err().cloned()));
        if let Ok(keys) = fetched {
            known.keys = keys;
            known.fetched = Some(began);
        }
    }

    async fn download(&self) -> Result<Vec<Key>, Unreachable> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set: KeySet = self.web.get(&url).await?.json()?;
        // A key of a kind that we don't know doesn't spoil the others.
        Ok(set.keys.into_iter().filter_map(Key::parse).collect())
    }

    async fn discover(&self) -> Result<Uri, Unreachable> {
        let nonsense = |what: &str| Unreachable::Nonsense(what.to_owned());
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let url = url.parse().map_err(|_| nonsense("the issuer is no URL"))?;
        let found: Discovered = self.web.get(&url).await?.json()?;
        if found.issuer != self.issuer {
            return Err(nonsense(
                "it calls itself by another name than accounts.jwt.issuer",
            ));
        }
        let keys: Uri = found
            .jwks_uri
            .parse()
            .map_err(|_| nonsense("jwks_uri is no URL"))?;
        if keys.scheme_str() != Some("https") && keys.scheme_str() != url.scheme_str() {
            return Err(nonsense("jwks_uri is not encrypted"));
        }
        Ok(keys)
    }

    /// Never held while anything is awaited.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn pick(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        age: Option<Duration>,
    ) -> Option<DecodingKey> {
        let is_old = |at: Instant| age.is_some_and(|age| at.elapsed() >= age);
        if self.fetched.is_none_or(is_old) {
            return None;
        }
        let fits =
            |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.keys.iter().filter(fits);
        let key = fitting.next()?;
        fitting.next().is_none().then(|| key.key.clone())
    }

    /// Not if someone else has fetched since `began`; without any keys yet always, and else not too
    /// often.
    fn may_fetch(&self, began: Instant, retry: Duration) -> bool {
        self.tried.as_ref().is_none_or(|(tried, _)| {
            *tried < began && (self.fetched.is_none() || tried.elapsed() >= retry)
        })
    }
}

impl Key {
    /// `None` for a key that signs nothing that we accept.
    pub(super) fn parse(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let is_for_another = common.key_algorithm.is_some_and(|other| other != named)
            || matches!(&common.public_key_use, Some(other) if *other != PublicKeyUse::Signature);
        if is_for_another {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(&jwk).ok()?,
        })
    }
}

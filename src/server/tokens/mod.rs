//! Tokens: who is it that a `Bearer` token speaks for, and does it allow what we do (gecko.md A8, C)?
//!
//! An `Authority` is asked, one of four kinds. A [`Verifier`] stands in front of it: it remembers
//! verdicts for a while (`cache`), asks once for a token that many bring at the same time, asks
//! about so many tokens at once and no more, and gives up in time. No token is logged, and none is
//! kept but as its SHA-256.

mod cache;
mod fetch;
mod fixed;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod fxa;
mod introspection;
mod jwt;
mod keys;
mod local;
mod meters;
mod signatures;
#[cfg(test)]
mod tests;

pub use fetch::Unreachable;
pub use fixed::FileError;
pub use local::{KeyError, Minted, mint, show};
pub use meters::Meters;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::config::{self, Accounts, Limits, Scope, Secret};
use cache::{Cache, Digest, Verdict};
use fetch::Web;

/// Checks tokens.
pub struct Verifier {
    authority: Box<dyn Authority>,
    scopes: Vec<Scope>,
    cache: Cache,
    /// One permit per token that is being checked.
    turns: Semaphore,
    time: Times,
    /// Bytes in a token.
    longest: usize,
    /// Whether the authority answered when it was asked last.
    is_reachable: AtomicBool,
    meters: Meters,
}

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's id at the authority.
    pub user: UserId,
    /// What the token allows, in OAuth's words.
    pub scopes: Vec<String>,
    /// What the token allows, in this server's words.
    pub grants: Vec<crate::hub::Grant>,
    /// The token's own id, if it has one.
    pub id: Option<String>,
    /// Until when it is good, if it says so: by a clock that goes on evenly, whatever becomes of the
    /// time of day after the token was checked.
    pub expires: Option<Instant>,
}

/// A user's id at the authority; not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Why a token is not accepted. Says nothing of the token, and nothing of the authority that a
/// client shouldn't know, so that it can be shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is no good.
    #[error(
        "the token is not valid: {0}; log in again, or ask whoever runs this server for another"
    )]
    Invalid(&'static str),
    /// The token is good, but not for this.
    #[error("the token does not allow this; it needs the scope {}", list(.needed))]
    Scope {
        /// One of them is needed.
        needed: Vec<Scope>,
    },
    /// Nobody knows: the authority can't be asked.
    #[error("the accounts server can't be asked whether the token is valid; try again later")]
    Unreachable(Unreachable),
}

/// Why there can be no verifier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// The file of tokens is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of the key is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// TLS can't be set up.
    #[error("cannot set up TLS towards the accounts server: {0}")]
    Tls(#[from] rustls::Error),
}

/// Someone who knows which tokens are good.
trait Authority: Send + Sync {
    /// The kind, for logs and metrics.
    fn kind(&self) -> &'static str;

    /// What a token grants. Whoever asks sets the deadline.
    fn ask<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>>;
}

/// What an authority says of a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    user: UserId,
    scopes: Vec<String>,
    grants: Vec<crate::hub::Grant>,
    id: Option<String>,
    expires: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    check: Duration,
    good: Duration,
    bad: Duration,
}

impl Verifier {
    /// Reads the file of tokens, if it is one. Nothing is fetched before it is needed.
    ///
    /// # Errors
    /// [`VerifierError`]; says what is wrong, where, and the fix.
    pub fn new(
        accounts: &Accounts,
        limits: &Limits,
        meters: Meters,
    ) -> Result<Self, VerifierError> {
        let web = || Web::new(limits.token_answer_bytes);
        let authority: Box<dyn Authority> = match &accounts.authority {
            config::Authority::Fxa { url } => Box::new(fxa::Fxa::new(url, web()?)),
            config::Authority::Introspection {
                url,
                client_id,
                client_secret,
                audience,
            } => Box::new(introspection::Introspection::new(
                url.clone(),
                client_id,
                client_secret,
                audience.clone(),
                web()?,
            )),
            config::Authority::Jwt {
                issuer,
                audience,
                jwks,
                algorithms,
            } => {
                let keys = keys::Keys::new(issuer, jwks.clone(), web()?, limits);
                Box::new(jwt::Jwt::new(issuer, audience, algorithms, keys))
            }
            config::Authority::Static { file } => Box::new(fixed::Fixed::read(file)?),
            config::Authority::Local { key } => Box::new(jwt::Jwt::local(&local::public(key)?)),
        };
        Ok(Self::ask_at(
            authority,
            accounts.scopes.clone(),
            limits,
            meters,
        ))
    }

    fn ask_at(
        authority: Box<dyn Authority>,
        scopes: Vec<Scope>,
        limits: &Limits,
        meters: Meters,
    ) -> Self {
        meters.expect(authority.kind());
        Self {
            authority,
            scopes,
            cache: Cache::new(limits.tokens_remembered),
            turns: Semaphore::new(limits.token_checks.min(Semaphore::MAX_PERMITS)),
            time: Times {
                check: limits.token_check,
                good: limits.token_good,
                bad: limits.token_bad,
            },
            longest: limits.token_bytes,
            is_reachable: AtomicBool::new(true),
            meters,
        }
    }

    /// Whom a token speaks for, if it is good and has one of the scopes. Takes
    /// [`Limits::token_check`] at most. May be dropped at any time; others who wait for the same
    /// token lose nothing by it.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn verify(&self, token: &Secret) -> Result<Account, TokenError> {
        let result = self.check(token).await;
        let label = match &result {
            Ok(_) => "accepted",
            Err(TokenError::Invalid(_)) => "invalid",
            Err(TokenError::Scope { .. }) => "scope",
            Err(TokenError::Unreachable(_)) => "unreachable",
        };
        self.meters.checked(self.authority.kind(), label);
        result
    }

    /// Whether the authority answered when it was asked last. True before it was asked.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.is_reachable.load(Ordering::Relaxed)
    }

    async fn check(&self, token: &Secret) -> Result<Account, TokenError> {
        match token.expose().len() {
            0 => return Err(TokenError::Invalid("it is empty")),
            length if length > self.longest => return Err(TokenError::Invalid("it is too long")),
            _ => {}
        }
        let now = Instant::now();
        let deadline = now + self.time.check;
        let place = self.cache.place(Digest::of(token), now);
        if let Some(verdict) = place.get() {
            self.meters.cache_hits.inc();
            return verdict.result.clone();
        }
        // The first to come asks, the others wait for it. If it leaves, the next one asks.
        let verdict = place.get_or_init(|| self.ask(token, deadline));
        match timeout_at(deadline, verdict).await {
            Ok(verdict) => verdict.result.clone(),
            Err(_) => Err(self.late()),
        }
    }

    /// Asks the authority.
    async fn ask(&self, token: &Secret, deadline: Instant) -> Verdict {
        let answer = async {
            // Nobody closes the semaphore.
            let _turn = self.turns.acquire().await;
            let started = Instant::now();
            let answer = self.authority.ask(token).await;
            self.meters.took(started.elapsed());
            answer
        };
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(self.late()));
        self.note(&answer);
        let now = Instant::now();
        match answer {
            Ok(grant) => {
                let left = grant.expires.map_or(Duration::MAX, |at| {
                    at.duration_since(SystemTime::now()).unwrap_or_default()
                });
                let result = self.allow(grant, now.checked_add(left));
                let most = if result.is_ok() {
                    self.time.good
                } else {
                    self.time.bad
                };
                Verdict {
                    result,
                    until: now + left.min(most),
                }
            }
            Err(error @ TokenError::Unreachable(_)) => Verdict {
                result: Err(error),
                until: now,
            },
            Err(error) => Verdict {
                result: Err(error),
                until: now + self.time.bad,
            },
        }
    }

    fn late(&self) -> TokenError {
        TokenError::Unreachable(Unreachable::Late(self.time.check))
    }

    /// Any of the scopes is enough.
    fn allow(&self, grant: Grant, expires: Option<Instant>) -> Result<Account, TokenError> {
        let has = |scope: &Scope| grant.scopes.iter().any(|had| scope.is_covered_by(had));
        if self.scopes.is_empty() || self.scopes.iter().any(has) {
            return Ok(Account {
                user: grant.user,
                scopes: grant.scopes,
                grants: grant.grants,
                id: grant.id,
                expires,
            });
        }
        Err(TokenError::Scope {
            needed: self.scopes.clone(),
        })
    }

    /// Logs when the authority goes away and when it comes back, and nothing between.
    fn note(&self, answer: &Result<Grant, TokenError>) {
        let kind = self.authority.kind();
        if let Err(TokenError::Unreachable(why)) = answer {
            if self.is_reachable.swap(false, Ordering::Relaxed) {
                warn!(kind, %why, "cannot check tokens; they are refused until the authority answers");
            }
        } else if !self.is_reachable.swap(true, Ordering::Relaxed) {
            info!(kind, "tokens can be checked again");
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("kind", &self.authority.kind())
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl UserId {
    /// `None` for the empty text.
    fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A list of scopes or audiences as the three kinds of server write them: words in a string, or
/// strings in an array.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Typed {
            Text(String),
            List(Vec<String>),
        }
        Ok(Self(match Typed::deserialize(deserializer)? {
            Typed::Text(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Typed::List(list) => list,
        }))
    }
}

/// The moment that a `NumericDate` means (RFC 7519 section 2). `None` if it is beyond all time.
fn moment(seconds: f64) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    UNIX_EPOCH.checked_add(since)
}

fn list(scopes: &[Scope]) -> String {
    let texts: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    texts.join(" or ")
}

/// The same server with another path, and no query.
fn with_path(server: &http::Uri, path: &str) -> http::Uri {
    let mut parts = server.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    http::Uri::from_parts(parts).unwrap_or_else(|_| server.clone())
}

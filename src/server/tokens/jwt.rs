//! Signed tokens (RFC 7519), in the profile of RFC 9068 where they follow it.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::keys::Keys;
use super::{Authority, Grant, TokenError, UserId, Words, moment, signatures};
use crate::config::{self, Secret};

/// Seconds that the issuer's clock may be off by.
const CLOCK_SKEW: u64 = 30;

/// An issuer of signed tokens.
pub(super) struct Jwt {
    validation: Validation,
    signers: Signers,
}

/// Whose signatures count.
enum Signers {
    /// Those of the issuer's published keys.
    Published(Box<Keys>),
    /// This server's own.
    Own(DecodingKey),
}

/// What is used of them. That the required ones are there, and hold, is checked by the library.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    exp: f64,
    /// RFC 9068 section 2.2.3.
    #[serde(default)]
    scope: Words,
    jti: Option<String>,
    /// What the token allows here.
    #[serde(default)]
    switchboard: Vec<crate::hub::Grant>,
}

impl Jwt {
    pub(super) fn new(
        issuer: &str,
        audience: &str,
        algorithms: &[config::Algorithm],
        keys: Keys,
    ) -> Self {
        signatures::install();
        let algorithms = algorithms.iter().map(|algorithm| match algorithm {
            config::Algorithm::EdDsa => Algorithm::EdDSA,
            config::Algorithm::Es256 => Algorithm::ES256,
            config::Algorithm::Rs256 => Algorithm::RS256,
        });
        let mut validation = Validation {
            algorithms: algorithms.collect(),
            leeway: CLOCK_SKEW,
            validate_nbf: true,
            ..Validation::default()
        };
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        let signers = Signers::Published(Box::new(keys));
        Self {
            validation,
            signers,
        }
    }

    /// Tokens that are signed by the owner of this Ed25519 key.
    pub(super) fn local(public_key: &[u8]) -> Self {
        signatures::install();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = CLOCK_SKEW;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.set_issuer(&[super::local::ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let signers = Signers::Own(DecodingKey::from_ed_der(public_key));
        Self {
            validation,
            signers,
        }
    }

    async fn check(&self, token: &Secret) -> Result<Grant, TokenError> {
        let header = decode_header(token.expose()).map_err(refusal)?;
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(refusal(ErrorKind::InvalidAlgorithm.into()));
        }
        // RFC 7515 section 4.1.11: what is critical and not understood makes it invalid.
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it asks for something unknown"));
        }
        // RFC 9068 section 2.1, and what issuers wrote before it. Anything else is another kind of
        // token, which must not pass for one that gives access (RFC 8725 section 3.11).
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !matches!(
            kind.as_deref(),
            None | Some("jwt" | "at+jwt" | "application/at+jwt")
        ) {
            return Err(TokenError::Invalid("it is of another type"));
        }
        let key = match &self.signers {
            Signers::Published(keys) => keys.find(header.kid.as_deref(), header.alg).await?,
            Signers::Own(key) => key.clone(),
        };
        // The library wants to be told of algorithms of the key's own family only.
        let validation = Validation {
            algorithms: vec![header.alg],
            ..self.validation.clone()
        };
        let token = decode::<Claims>(token.expose(), &key, &validation).map_err(refusal)?;
        let claims = token.claims;
        let user = UserId::new(&claims.sub);
        Ok(Grant {
            user: user.ok_or(TokenError::Invalid("it speaks for no user"))?,
            scopes: claims.scope.0,
            grants: claims.switchboard,
            id: claims.jti,
            expires: moment(claims.exp),
        })
    }
}

impl Authority for Jwt {
    fn kind(&self) -> &'static str {
        "jwt"
    }

    fn ask<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>> {
        self.check(token).boxed()
    }
}

fn refusal(error: Error) -> TokenError {
    TokenError::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAlgorithm => "it is signed in a way that is not accepted here",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::InvalidIssuer => "it is from another issuer",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of aud, exp, iss and sub",
        _ => "it is no signed token of the kind that is accepted here",
    })
}

//! The sections that say who checks tokens: `[accounts]` for gecko clients (gecko.md A8, C), and
//! `[auth]` for everybody.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::Secret;

/// Mozilla's accounts, which the gecko reference asks (gecko.md A8).
pub const DEFAULT_FXA: &str = "https://oauth.accounts.firefox.com";

/// What a token must allow unless told otherwise; one of them is enough. The reference's code has
/// the one, its documents have the other (gecko.md A8).
pub const DEFAULT_SCOPES: [&str; 2] = ["remote_server", "remote-worker-server"];

/// Who checks tokens, and what they must allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Who knows which tokens are good.
    pub authority: Authority,
    /// A token must have one of these scopes; with none, every good token will do.
    pub scopes: Vec<Scope>,
    /// What pages are told to log in as, by `/v1/fxa-oauth/params`.
    pub client_id: Option<String>,
    /// Where pages are told to log in.
    pub oauth_uri: Option<String>,
}

/// Who knows which tokens are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A Firefox Accounts server, asked by `POST /v1/verify`.
    Fxa {
        /// The server, with or without `/v1` at the end.
        url: Uri,
    },
    /// An OAuth server, asked by token introspection (RFC 7662).
    Introspection {
        /// The introspection endpoint.
        url: Uri,
        /// This server's name at the endpoint.
        client_id: String,
        /// This server's password at the endpoint.
        client_secret: Secret,
        /// What `aud` must name, if anything.
        audience: Option<String>,
    },
    /// Signed tokens (RFC 7519, RFC 9068), checked here with the issuer's published keys.
    Jwt {
        /// What `iss` must be.
        issuer: String,
        /// What `aud` must name.
        audience: String,
        /// Where the keys are; asked of the issuer if absent (OpenID Connect Discovery 1.0).
        jwks: Option<Uri>,
        /// The signatures that are accepted; at least one.
        algorithms: Vec<Algorithm>,
    },
    /// A file of tokens, for development.
    Static {
        /// The file.
        file: PathBuf,
    },
    /// Tokens that `switchboard token mint` signs.
    Local {
        /// The file of the key that signs them, or of its public half.
        key: PathBuf,
    },
}

/// A signature by a key pair. Shared secrets are left out on purpose: whoever can check such a
/// token could make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 section 3.4).
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS #1 with SHA-256 (RFC 7518 section 3.3).
    #[serde(rename = "RS256")]
    Rs256,
}

/// One scope of OAuth (RFC 6749 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(String);

/// The section as it was typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    scopes: Option<Vec<Spanned<String>>>,
    client_id: Option<String>,
    oauth_uri: Option<String>,
    fxa: Option<Fxa>,
    introspection: Option<Introspection>,
    jwt: Option<Jwt>,
    #[serde(rename = "static")]
    fixed: Option<Static>,
}

/// The `[auth]` section as it was typed: who checks the tokens of everybody.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    introspection: Option<Introspection>,
    jwt: Option<Jwt>,
    #[serde(rename = "static")]
    fixed: Option<Static>,
    local: Option<Local>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fxa {
    url: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Introspection {
    url: Spanned<String>,
    client_id: String,
    client_secret: Secret,
    audience: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwt {
    issuer: Spanned<String>,
    audience: String,
    jwks: Option<Spanned<String>>,
    algorithms: Option<Spanned<Vec<Algorithm>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    file: PathBuf,
}

/// Where in the file something is wrong, and what.
pub(super) type Wrong = (Range<usize>, String);

impl Scope {
    /// Parses a scope.
    ///
    /// # Errors
    /// What a scope must look like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_token = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
        if !text.is_empty() && text.bytes().all(is_token) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "\"{text}\" is no scope; write one word, as in remote_server"
        ))
    }

    /// The scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a token with scope `had` has this scope: it is the same, or the root of this one
    /// ("a" has "a:b", but "a:b" doesn't have "a"; gecko.md A8).
    #[must_use]
    pub fn is_covered_by(&self, had: &str) -> bool {
        self.0 == had || self.0.split_once(':').is_some_and(|(root, _)| root == had)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Section {
    /// Checks the section, which starts at `at`. Tokens go unencrypted to other machines only if
    /// `insecure`.
    pub(super) fn check(self, at: Range<usize>, insecure: bool) -> Result<Accounts, Wrong> {
        let scopes = match self.scopes {
            None => DEFAULT_SCOPES
                .iter()
                .map(|&text| Scope(text.to_owned()))
                .collect(),
            Some(typed) => typed.iter().map(scope).collect::<Result<_, _>>()?,
        };
        let mut oauth_uri = self.oauth_uri;
        match (&self.fxa, &self.jwt) {
            (Some(fxa), _) => {
                let typed = fxa.url.as_ref().map(|url| url.get_ref().as_str());
                let url = typed.unwrap_or(DEFAULT_FXA).trim_end_matches('/');
                oauth_uri.get_or_insert_with(|| url.to_owned());
            }
            (None, Some(jwt)) => {
                oauth_uri.get_or_insert_with(|| jwt.issuer.get_ref().clone());
            }
            (None, None) => {}
        }
        let kinds = Kinds {
            fxa: self.fxa,
            introspection: self.introspection,
            jwt: self.jwt,
            fixed: self.fixed,
            local: None,
        };
        Ok(Accounts {
            authority: kinds.one("accounts", at, insecure)?,
            scopes,
            client_id: self.client_id,
            oauth_uri,
        })
    }
}

impl Auth {
    /// Checks the section, as [`Section::check`] does.
    pub(super) fn check(self, at: Range<usize>, insecure: bool) -> Result<Accounts, Wrong> {
        let kinds = Kinds {
            fxa: None,
            introspection: self.introspection,
            jwt: self.jwt,
            fixed: self.fixed,
            local: self.local,
        };
        Ok(Accounts {
            authority: kinds.one("auth", at, insecure)?,
            // What a token allows is said by its grants.
            scopes: Vec::new(),
            client_id: None,
            oauth_uri: None,
        })
    }
}

/// The kinds of authority, of which a section names one.
struct Kinds {
    fxa: Option<Fxa>,
    introspection: Option<Introspection>,
    jwt: Option<Jwt>,
    fixed: Option<Static>,
    local: Option<Local>,
}

impl Kinds {
    fn one(self, section: &str, at: Range<usize>, insecure: bool) -> Result<Authority, Wrong> {
        let url = |key: &str, typed: &Spanned<String>| {
            parse_url(typed.get_ref(), insecure)
                .map_err(|what| (typed.span(), format!("{section}.{key}: {what}")))
        };
        Ok(
            match (
                self.fxa,
                self.introspection,
                self.jwt,
                self.fixed,
                self.local,
            ) {
                (Some(fxa), None, None, None, None) => Authority::Fxa {
                    url: match &fxa.url {
                        Some(typed) => url("fxa.url", typed)?,
                        None => Uri::from_static(DEFAULT_FXA),
                    },
                },
                (None, Some(typed), None, None, None) => Authority::Introspection {
                    url: url("introspection.url", &typed.url)?,
                    client_id: typed.client_id,
                    client_secret: typed.client_secret,
                    audience: typed.audience,
                },
                (None, None, Some(typed), None, None) => jwt(section, typed, url)?,
                (None, None, None, Some(typed), None) => Authority::Static { file: typed.file },
                (None, None, None, None, Some(typed)) => Authority::Local { key: typed.key },
                _ => {
                    let others = match section {
                        "accounts" => {
                            "[accounts.fxa], [accounts.introspection], [accounts.jwt] and \
                                       [accounts.static]"
                        }
                        _ => "[auth.local], [auth.jwt], [auth.introspection] and [auth.static]",
                    };
                    let what =
                        format!("{section}: say who checks tokens by exactly one of {others}");
                    return Err((at, what));
                }
            },
        )
    }
}

fn jwt(
    section: &str,
    typed: Jwt,
    url: impl Fn(&str, &Spanned<String>) -> Result<Uri, Wrong>,
) -> Result<Authority, Wrong> {
    let jwks = match &typed.jwks {
        Some(typed) => Some(url("jwt.jwks", typed)?),
        // The keys are asked of the issuer then, which must be a URL for that.
        None => url("jwt.issuer", &typed.issuer).map(|_| None)?,
    };
    let algorithms = match typed.algorithms {
        None => vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256],
        Some(typed) if typed.get_ref().is_empty() => {
            let what = format!("{section}.jwt.algorithms: name at least one, as in [\"RS256\"]");
            return Err((typed.span(), what));
        }
        Some(typed) => typed.into_inner(),
    };
    Ok(Authority::Jwt {
        issuer: typed.issuer.into_inner(),
        audience: typed.audience,
        jwks,
        algorithms,
    })
}

fn scope(typed: &Spanned<String>) -> Result<Scope, Wrong> {
    Scope::parse(typed.get_ref()).map_err(|e| (typed.span(), format!("accounts.scopes: {e}")))
}

pub(super) fn parse_url(text: &str, insecure: bool) -> Result<Uri, String> {
    let example = "write it as in https://accounts.example.org/path";
    let uri: Uri = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no URL; {example}"))?;
    let host = uri.host().unwrap_or_default();
    let is_loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Err(format!("\"{text}\" names no host; {example}")),
        Some("https") => Ok(uri),
        Some("http") if is_loopback || insecure => Ok(uri),
        Some("http") => Err(format!(
            "\"{text}\" would send tokens unencrypted to another machine; use https, or add \
             insecure = true if that is what you want"
        )),
        _ => Err(format!(
            "\"{text}\" must start with https:// or http://; {example}"
        )),
    }
}

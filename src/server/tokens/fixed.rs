//! A file of tokens, for development and tests.
//!
//! ```toml
//! [[tokens]]
//! token = "let-me-in"      # or its SHA-256 as sha256 = "…"
//! user = "alice"
//! scopes = ["remote_server"]
//! ```

use std::collections::HashMap;
use std::future::ready;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use toml::Spanned;

use super::cache::Digest;
use super::{Authority, Grant, TokenError, UserId};
use crate::config::Secret;

/// A file of tokens that was read. Tokens are looked up by their hash, so that the time it takes
/// says nothing of them.
#[derive(Debug)]
pub(super) struct Fixed(HashMap<Digest, Grant>);

/// What is wrong with a file of tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It can't be read.
    #[error("cannot read the file of tokens {}: {source}; check accounts.static.file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and the fix.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: Option<Secret>,
    sha256: Option<String>,
    user: String,
    #[serde(default)]
    scopes: Vec<String>,
}

impl Fixed {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|(at, what)| FileError::Wrong {
            path: path.to_owned(),
            line: text.get(..at).unwrap_or_default().matches('\n').count() + 1,
            what,
        })
    }

    /// An error is a place in the text, and what is wrong there.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        // What the parser says of a wrong value doesn't show it.
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (at, error.message().trim().to_owned())
        })?;
        let mut grants = HashMap::new();
        for entry in file.tokens {
            let at = entry.span().start;
            let (digest, grant) = entry.into_inner().grant().map_err(|what| (at, what))?;
            if grants.insert(digest, grant).is_some() {
                return Err((at, "this token is in the file twice; remove one".to_owned()));
            }
        }
        Ok(Self(grants))
    }
}

impl Entry {
    fn grant(self) -> Result<(Digest, Grant), String> {
        let digest = match (&self.token, &self.sha256) {
            (Some(token), None) if !token.expose().is_empty() => Digest::of(token),
            (None, Some(hex)) => Digest::from_hex(hex)
                .ok_or("sha256 must be 64 hex digits, as printf %s TOKEN | sha256sum gives them")?,
            _ => return Err("give either token or sha256".to_owned()),
        };
        let user = UserId::new(&self.user).ok_or("user must not be empty")?;
        let grant = Grant {
            user,
            scopes: self.scopes,
            expires: None,
        };
        Ok((digest, grant))
    }
}

impl Authority for Fixed {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn ask<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>> {
        let grant = self.0.get(&Digest::of(token)).cloned();
        ready(grant.ok_or(TokenError::Invalid("it is not in the file of tokens"))).boxed()
    }
}

//! A file of tokens, for development and tests.
//!
//! ```toml
//! [[tokens]]
//! token = "let-me-in"      # or its SHA-256 as sha256 = "…"
//! user = "alice"
//! scopes = ["remote_server"]                         # for [accounts]
//! grants = [{ role = "device", ids = ["cam-*"] }]    # for [auth]
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
    #[error("cannot read the file of tokens {}: {source}; check the key static.file", path.display())]
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
    #[serde(default)]
    grants: Vec<crate::hub::Grant>,
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
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
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
            grants: self.grants,
            id: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, String) {
        Fixed::parse(text).unwrap_err()
    }

    #[tokio::test]
    async fn a_token_stands_there_as_it_is_or_as_its_hash() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = format!(
            "[[tokens]]\ntoken = \"let-me-in\"\nuser = \"alice\"\nscopes = [\"a\", \"b\"]\n\
             [[tokens]]\nsha256 = \"{hash}\"\nuser = \"bob\"\n"
        );
        let fixed = Fixed::parse(&file).unwrap();
        let alice = fixed.ask(&Secret::new("let-me-in")).await.unwrap();
        assert_eq!((alice.user.as_str(), alice.scopes.len()), ("alice", 2));
        let bob = fixed.ask(&Secret::new("abc")).await.unwrap();
        assert_eq!((bob.user.as_str(), bob.scopes.len()), ("bob", 0));
        let nobody = fixed.ask(&Secret::new(hash)).await;
        assert!(matches!(nobody, Err(TokenError::Invalid(_))));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, expected) in [
            ("[[tokens]]\nuser = \"a\"", "give either token or sha256"),
            ("[[tokens]]\ntoken = \"\"\nuser = \"a\"", "give either"),
            (
                "[[tokens]]\nsha256 = \"12\"\nuser = \"a\"",
                "sha256 must be 64 hex digits",
            ),
            (
                "[[tokens]]\ntoken = \"t\"\nuser = \"\"",
                "user must not be empty",
            ),
            ("[[tokens]]\ntoken = \"t\"", "missing field `user`"),
            ("[[token]]\n", "unknown field `token`"),
            (
                "[[tokens]]\ntoken = \"t\"\nuser = \"a\"\n[[tokens]]\ntoken = \"t\"\nuser = \"b\"",
                "twice",
            ),
        ] {
            let (_, what) = error(text);
            assert!(what.contains(expected), "{text:?} gave {what:?}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        std::fs::write(&file, "\n[[tokens]]\nuser = \"a\"\n").unwrap();
        let error = Fixed::read(&file).unwrap_err().to_string();
        assert!(
            error.contains("tokens.toml, line 2: give either"),
            "{error}"
        );
        let error = Fixed::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("check the key static.file"), "{error}");
    }
}

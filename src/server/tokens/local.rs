//! Tokens of this server's own: signed with an Ed25519 key from a file (RFC 8037), and checked with
//! it or its public half.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

use crate::config::Secret;
use crate::hub::Grant;

/// What comes before the key in the SubjectPublicKeyInfo of Ed25519 (RFC 8410 section 4).
const PUBLIC_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Who has issued these tokens.
pub(super) const ISSUER: &str = "switchboard";

/// What is wrong with the file of the key, or with a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("cannot use the key file {}: {source}; check the path and its permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no such key.
    #[error(
        "{} holds no Ed25519 key in PEM form; `switchboard token mint --key FILE` makes one where there is no file",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The file holds only the public half.
    #[error("{} holds a public key, which can check tokens and not sign them; name the private one", .0.display())]
    PublicOnly(PathBuf),
    /// The system has no randomness, or something else that a key needs.
    #[error("no key can be made: {0}")]
    Make(String),
    /// A text that is no signed token.
    #[error("this is no signed token: it needs three parts in base64url with dots between")]
    NoToken,
}

/// What a token shall say.
#[derive(Debug, Clone)]
pub struct Minted {
    /// Whom it speaks for.
    pub user: String,
    /// How long it is good.
    pub lifetime: Duration,
    /// What it allows.
    pub grants: Vec<Grant>,
}

/// Signs a token. Makes the key if there is no such file yet; only its owner can read it.
///
/// # Errors
/// If the key can't be used.
pub fn mint(key: &Path, what: &Minted) -> Result<Secret, KeyError> {
    if !key.exists() {
        make(key)?;
    }
    let signer = private(key)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| KeyError::Make(error.to_string()))?;
    let now = since_epoch();
    let claims = json!({
        "iss": ISSUER,
        "sub": what.user,
        "iat": now.as_secs(),
        "exp": (now + what.lifetime).as_secs(),
        "jti": URL_SAFE_NO_PAD.encode(id),
        "switchboard": what.grants,
    });
    let head = json!({"alg": "EdDSA", "typ": "JWT"});
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&head), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(text.as_bytes()));
    Ok(Secret::new(format!("{text}.{signature}")))
}

/// What a token says; whether it is true isn't looked at.
///
/// # Errors
/// If it is no token.
pub fn show(token: &Secret) -> Result<Value, KeyError> {
    let parts: Vec<&str> = token.expose().trim().split('.').collect();
    let [_, claims, _] = parts[..] else {
        return Err(KeyError::NoToken);
    };
    let bytes = URL_SAFE_NO_PAD.decode(claims);
    let claims = bytes.ok().and_then(|it| serde_json::from_slice(&it).ok());
    claims.ok_or(KeyError::NoToken)
}

/// The public key of a file that holds it, or the private one.
pub(super) fn public(path: &Path) -> Result<Vec<u8>, KeyError> {
    let bytes = read(path)?;
    if let Ok(info) = SubjectPublicKeyInfoDer::from_pem_slice(&bytes) {
        let key = info.strip_prefix(&PUBLIC_PREFIX);
        let key = key.filter(|key| key.len() == 32);
        return key
            .map(<[u8]>::to_vec)
            .ok_or_else(|| KeyError::NoKey(path.to_owned()));
    }
    let key = private(path)?;
    warn_of_readers(path);
    Ok(key.public_key().as_ref().to_vec())
}

/// Whoever can read the private key can make tokens for everything.
fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o004 != 0 {
        let path = path.display();
        tracing::warn!(%path, "every user of this machine can read the key that signs tokens; chmod o-r it, or name its public half");
    }
}

fn private(path: &Path) -> Result<Ed25519KeyPair, KeyError> {
    let bytes = read(path)?;
    if SubjectPublicKeyInfoDer::from_pem_slice(&bytes).is_ok() {
        return Err(KeyError::PublicOnly(path.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    key.and_then(|key| Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_der()).ok())
        .ok_or_else(|| KeyError::NoKey(path.to_owned()))
}

fn make(path: &Path) -> Result<(), KeyError> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .map_err(|error| KeyError::Make(error.to_string()))?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(key.serialize_pem().as_bytes()))
        .map_err(|source| failed(path, source))
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    fs::read(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        source,
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

//! The certificate of the TLS listeners: from files, or made here and kept. Changed files are taken
//! over while the server runs; who is connected stays connected.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{App, StartError};
use crate::config::TlsSource;

/// Browsers refuse certificates that are valid for more than 398 days.
const VALID_FOR: Duration = Duration::from_secs(397 * DAY);
/// A kept certificate that ends sooner than this is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// A certificate that this server made is looked at this often, whether or not its files changed.
const LOOK_AGAIN: Duration = Duration::from_secs(DAY);

/// What the TLS listeners need.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate that this server made, in the form that browsers show.
    pub(super) fingerprint: Option<String>,
    /// Where the certificate that is shown next is put.
    shown: Arc<Shown>,
    source: TlsSource,
    /// The files as they were before they were read.
    read: [Stamp; 2],
}

/// The certificate that new connections are shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

/// Who a client is by its certificate.
#[derive(Debug)]
pub(super) struct Identity {
    /// The names in it (subjectAltName, DNS names: RFC 5280 section 4.2.1.6).
    pub(super) names: Vec<String>,
    /// When it ends.
    pub(super) ends: Option<SystemTime>,
}

/// What tells whether a file is still the same one.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Loads the certificate, or makes it.
///
/// With an authority for clients, those that have a certificate show it, and it must be good; others
/// need none.
pub(super) fn load(source: &TlsSource, client_ca: Option<&Path>) -> Result<Tls, StartError> {
    let read = stamps(source);
    let certified = certified(source)?;
    let fingerprint = match source {
        TlsSource::Files { .. } => None,
        TlsSource::SelfSigned { .. } => certified.cert.first().map(fingerprint),
    };
    let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| StartError::Certificate {
            path: files(source).0,
            source: error,
        })?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(clients(path)?),
    };
    let mut config = builder.with_cert_resolver(shown.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls {
        config: Arc::new(config),
        fingerprint,
        shown,
        source: source.clone(),
        read,
    })
}

impl Tls {
    /// When the certificate ends that is shown now.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        self.shown.ends()
    }

    /// Takes over the certificate's files whenever they change; runs until it is dropped. A change
    /// that can't be used is told once, and the old certificate stays.
    pub(super) async fn follow(self, app: Arc<App>) {
        let Self {
            shown,
            source,
            read: mut known,
            ..
        } = self;
        let mut ticks = interval(app.config.limits.tls_reload);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            ticks.tick().await;
            let is_own = matches!(source, TlsSource::SelfSigned { .. });
            let is_due = is_own && looked.elapsed() >= LOOK_AGAIN;
            let found = stamps(&source);
            if found == known && !is_due {
                continue;
            }
            (known, looked) = (found, Instant::now());
            let source = source.clone();
            // Reads files, and may make a key.
            let loaded = tokio::task::spawn_blocking(move || certified(&source)).await;
            match loaded {
                Ok(Ok(certified)) => {
                    if shown.replace(certified) {
                        app.metrics.tls_reloads.inc();
                        app.metrics.certificate_ends(shown.ends());
                        info!("new connections are shown the certificate that came");
                    }
                }
                Ok(Err(error)) => {
                    app.metrics.tls_reload_failures.inc();
                    warn!(%error, "the certificate's files changed and can't be used; the old one stays");
                }
                Err(error) => warn!(%error, "the certificate's files were not read"),
            }
        }
    }
}

impl Shown {
    /// When it ends.
    fn ends(&self) -> Option<SystemTime> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ends(shown.cert.first()?)
    }

    /// Shows another certificate; whether it is another one.
    fn replace(&self, certified: CertifiedKey) -> bool {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.cert != certified.cert;
        *shown = Arc::new(certified);
        is_other
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// Checks clients' certificates by those of an authority.
fn clients(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, StartError> {
    let unusable = |why: String| StartError::ClientCa {
        path: path.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(error.to_string()))
}

/// Who a client is by its certificate, which was checked.
pub(super) fn identity(certificates: Option<&[CertificateDer<'_>]>) -> Option<Arc<Identity>> {
    let certificate = certificates?.first()?;
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(Arc::new(Identity {
        names: parsed.valid_dns_names().map(str::to_owned).collect(),
        ends: ends(certificate),
    }))
}

/// When a certificate ends (RFC 5280 section 4.1.2.5).
fn ends(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// The certificate's file and the key's.
fn files(source: &TlsSource) -> (PathBuf, PathBuf) {
    match source {
        TlsSource::Files { certificate, key } => (certificate.clone(), key.clone()),
        TlsSource::SelfSigned { directory, .. } => {
            (directory.join("cert.pem"), directory.join("key.pem"))
        }
    }
}

fn stamps(source: &TlsSource) -> [Stamp; 2] {
    let (certificate, key) = files(source);
    [certificate, key].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    })
}

/// Reads the certificate and its key; makes them first if they are the server's own to make.
fn certified(source: &TlsSource) -> Result<CertifiedKey, StartError> {
    let (certificate, key) = files(source);
    let chain = match source {
        TlsSource::Files { .. } => read_chain(&certificate)?,
        TlsSource::SelfSigned { directory, names } => match read_chain(&certificate) {
            Ok(chain) if key.is_file() && still_good(&chain, names) => chain,
            _ => {
                make(directory, names)?;
                read_chain(&certificate)?
            }
        },
    };
    let private = PrivateKeyDer::from_pem_slice(&read(&key)?)
        .map_err(|_| StartError::NoKey { path: key.clone() })?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|source| match source {
        rustls::Error::InconsistentKeys(_) => StartError::KeyMismatch { certificate, key },
        source => StartError::Certificate {
            path: certificate,
            source,
        },
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(StartError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Whether a client that trusts exactly this certificate would accept it for every name, and for
/// some time to come.
fn still_good(chain: &[CertificateDer<'static>], names: &[String]) -> bool {
    let Some(certificate) = chain.first() else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    if roots.add(certificate.clone()).is_err() {
        return false;
    }
    let Ok(verifier) =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()
    else {
        return false;
    };
    let then = UnixTime::since_unix_epoch(since_epoch() + RENEW_BEFORE);
    names.iter().all(|name| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| {
            verifier
                .verify_server_cert(certificate, &[], &name, &[], then)
                .is_ok()
        })
    })
}

fn make(directory: &Path, names: &[String]) -> Result<(), StartError> {
    let failed = |source| StartError::Make {
        names: names.to_vec(),
        source,
    };
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let mut parameters = rcgen::CertificateParams::new(names).map_err(failed)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // A day's grace for clients whose clock is slow.
    parameters.not_before = epoch + since_epoch().saturating_sub(Duration::from_secs(DAY));
    parameters.not_after = epoch + since_epoch() + VALID_FOR - Duration::from_secs(DAY);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Switchboard");
    let certificate = parameters.self_signed(&key).map_err(failed)?;

    fs::create_dir_all(directory).map_err(|source| StartError::Write {
        path: directory.to_owned(),
        source,
    })?;
    write(directory.join("key.pem"), &key.serialize_pem(), 0o600)?;
    write(directory.join("cert.pem"), &certificate.pem(), 0o644)
}

/// Replaces a file whole, so that a crash leaves the old one or the new one.
fn write(path: PathBuf, text: &str, mode: u32) -> Result<(), StartError> {
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(|source| StartError::Write { path, source })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let sha256 = ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .map(|suite| suite.common.hash_provider.hash(certificate));
    let mut text = String::new();
    for byte in sha256.iter().flat_map(|hash| hash.as_ref()) {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn self_signed(directory: &Path, names: &[&str]) -> Tls {
        load(
            &TlsSource::SelfSigned {
                directory: directory.to_owned(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            },
            None,
        )
        .unwrap()
    }

    #[test]
    fn a_made_certificate_is_kept_while_it_fits_the_names() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("tls");
        let first = self_signed(&kept, &["localhost", "127.0.0.1", "::1"]);
        let second = self_signed(&kept, &["127.0.0.1"]);
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.fingerprint.unwrap().len(), 32 * 3 - 1);
        let third = self_signed(&kept, &["example.test"]);
        assert_ne!(second.fingerprint, third.fingerprint);
    }

    #[test]
    fn only_the_owner_can_read_the_key() {
        let directory = tempfile::tempdir().unwrap();
        self_signed(directory.path(), &["localhost"]);
        let key = fs::metadata(directory.path().join("key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn says_what_is_wrong_with_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("1"), directory.path().join("2"));
        self_signed(&one, &["localhost"]);
        self_signed(&two, &["localhost"]);
        let load = |certificate: PathBuf, key: PathBuf| {
            load(&TlsSource::Files { certificate, key }, None).map(|tls| tls.fingerprint)
        };

        assert!(load(one.join("cert.pem"), one.join("key.pem")).is_ok());
        assert!(matches!(
            load(one.join("cert.pem"), two.join("key.pem")),
            Err(StartError::KeyMismatch { .. })
        ));
        assert!(matches!(
            load(one.join("key.pem"), one.join("key.pem")),
            Err(StartError::NoCertificate { .. })
        ));
        assert!(matches!(
            load(one.join("cert.pem"), one.join("cert.pem")),
            Err(StartError::NoKey { .. })
        ));
        assert!(matches!(
            load(one.join("absent.pem"), one.join("key.pem")),
            Err(StartError::Read { .. })
        ));
    }
}

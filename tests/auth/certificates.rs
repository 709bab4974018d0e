//! Devices that show certificates (mutual TLS).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::{Client, Server};

const HOUR: Duration = Duration::from_secs(3_600);

/// What a certificate for some names says.
fn parameters(names: &[&str], good_for: Duration) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&it| it.to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + good_for;
    parameters
}

/// Writes a certificate and its key into a directory.
fn write(directory: &Path, name: &str, certificate: &Certificate, key: &KeyPair) {
    std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A certificate of its own authority for some names, and its key, in a directory.
fn certificate(directory: &Path, name: &str, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let made = parameters(names, HOUR).self_signed(&key).unwrap();
    write(directory, name, &made, &key);
}

/// A server that believes the certificate `known`.
async fn server(directory: &Path) -> Server {
    let config = directory.join("c.toml");
    let text = format!(
        "[tls]\nself_signed = true\ndirectory = {directory:?}\nclient_ca = {:?}",
        directory.join("known.pem")
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args(["serve", "--listen", "tls:127.0.0.1:0", "--config"])
        .arg(&config);
    Server::spawn(command, None, 1).await
}

/// A device that has asked to be registered, by a certificate.
async fn registering(
    server: &Server,
    directory: &Path,
    identity: &str,
    id: &str,
) -> Client<TlsStream<TcpStream>> {
    let tls = connect(server, directory, Some(identity)).await;
    let mut device = Client::over(tls, "/register_device").await.unwrap();
    device.register(id).await;
    device
}

async fn connect(
    server: &Server,
    directory: &Path,
    identity: Option<&str>,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let own = CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap();
    roots.add(own).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let file = |end: &str| directory.join(format!("{name}.{end}"));
            let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let tcp = TcpStream::connect(&server.addresses[0]).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_device_registers_by_a_name_in_its_certificate_and_others_need_none() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    certificate(directory, "known", &["cam-1", "cam-2"]);
    certificate(directory, "stranger", &["cam-1"]);
    let server = server(directory).await;

    let registered = async |id: &str| {
        let mut device = registering(&server, directory, "known", id).await;
        device.recv_json().await
    };
    assert_eq!(registered("cam-2").await["message_type"], "config");
    let refused = registered("cam-3").await;
    assert!(
        refused["error"].as_str().unwrap().contains("'cam-3'"),
        "{refused}"
    );

    let nobody = connect(&server, directory, None).await;
    assert!(
        Client::over(nobody, "/register_device?token=x")
            .await
            .is_err()
    );
    let viewer = connect(&server, directory, None).await;
    assert!(Client::over(viewer, "/connect_client").await.is_ok());
    // With TLS 1.3 the refusal comes after the handshake.
    let stranger = connect(&server, directory, Some("stranger")).await;
    assert!(Client::over(stranger, "/connect_client").await.is_err());
}

#[tokio::test]
async fn a_certificates_end_is_the_end_of_its_connections() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut authority = parameters(&[], HOUR);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write(
        directory,
        "known",
        &authority.self_signed(&key).unwrap(),
        &key,
    );
    let server = server(directory).await;

    let authority = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let short = parameters(&["cam"], Duration::from_secs(6));
    let short = short.signed_by(&key, &authority).unwrap();
    write(directory, "cam", &short, &key);
    let mut device = registering(&server, directory, "cam", "cam").await;
    assert_eq!(device.recv_json().await["message_type"], "config");
    let (code, reason) = device.closed().await;
    assert_eq!((code, &*reason), (1008, "the token has expired"));
}

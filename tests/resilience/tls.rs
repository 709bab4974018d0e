//! TLS: the server's own certificate, and files.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::{Answer, Server};
use crate::lifecycle::fails;

/// A server with a plain and a TLS listener, and where it keeps its certificate.
async fn self_signed(directory: &Path) -> Server {
    let config = directory.join("switchboard.toml");
    let text = format!(
        "[tls]\nself_signed = true\ndirectory = {:?}",
        directory.join("kept")
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "tls:127.0.0.1:0",
            "--config",
        ])
        .arg(config);
    Server::spawn(command, None, 2).await
}

/// `GET /health` by TLS, from a client that trusts one certificate.
async fn health(address: &str, certificate: &Path) -> std::io::Result<Answer> {
    let mut tls = connect(address, certificate).await?;
    tls.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    Ok(Answer::read(&mut tls).await)
}

/// A connection by TLS, from a client that trusts one certificate.
async fn connect(address: &str, certificate: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

#[tokio::test]
async fn the_made_certificate_is_trusted_by_who_trusts_its_file_and_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("kept/cert.pem");
    let server = self_signed(directory.path()).await;
    let answer = health(&server.addresses[1], &certificate).await.unwrap();
    assert_eq!(answer.body, "OK\n");
    assert_eq!(server.get("/health").await.body, "OK\n");

    let made = std::fs::read(&certificate).unwrap();
    drop(server);
    let server = self_signed(directory.path()).await;
    assert_eq!(std::fs::read(&certificate).unwrap(), made);
    assert!(health(&server.addresses[1], &certificate).await.is_ok());
}

#[tokio::test]
async fn files_are_served_and_wrong_ones_end_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    drop(self_signed(directory.path()).await);
    let certificate = directory.path().join("kept/cert.pem");
    let key = directory.path().join("kept/key.pem");
    let files =
        |certificate: &Path, key: &Path| format!("{},{}", certificate.display(), key.display());

    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args([
        "serve",
        "--listen",
        "tls:127.0.0.1:0",
        "--tls",
        &files(&certificate, &key),
    ]);
    let server = Server::spawn(command, None, 1).await;
    assert_eq!(
        health(server.address(), &certificate).await.unwrap().body,
        "OK\n"
    );

    for (wrong, reason) in [
        (files(&certificate, &certificate), "no private key"),
        (files(&key, &key), "no certificate"),
        (files(Path::new("/does/not/exist"), &key), "/does/not/exist"),
    ] {
        let (status, text) = fails(&["--listen", "tls:127.0.0.1:0", "--tls", &wrong]).await;
        assert_eq!(status, Some(2), "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn plain_text_at_the_tls_port_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = self_signed(directory.path()).await;
    let mut tcp = TcpStream::connect(&server.addresses[1]).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    server
        .wait_for_metric("switchboard_tls_handshake_failures_total", 1.0)
        .await;
    let certificate = directory.path().join("kept/cert.pem");
    assert!(health(&server.addresses[1], &certificate).await.is_ok());
}

#[tokio::test]
async fn changed_files_are_taken_over_and_nobody_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["old", "new"] {
        std::fs::create_dir(place(name)).unwrap();
        drop(self_signed(&place(name)).await);
    }
    let (old, new) = (place("old/kept/cert.pem"), place("new/kept/cert.pem"));
    let (certificate, key) = (place("cert.pem"), place("key.pem"));
    // Whole at once, as whoever renews certificates does it.
    let put = |from: &Path, to: &Path| {
        let fresh = to.with_extension("fresh");
        std::fs::copy(from, &fresh).unwrap();
        std::fs::rename(fresh, to).unwrap();
    };
    put(&old, &certificate);
    put(&place("old/kept/key.pem"), &key);
    let config = place("switchboard.toml");
    std::fs::write(&config, "[limits]\ntls_reload = 0.05").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "tls:127.0.0.1:0",
            "--tls",
        ])
        .arg(format!("{},{}", certificate.display(), key.display()))
        .arg("--config")
        .arg(config);
    let server = Server::spawn(command, None, 2).await;
    let tls = server.addresses[1].clone();
    let mut before = connect(&tls, &old).await.unwrap();

    put(&new, &certificate);
    server
        .wait_for_metric("switchboard_tls_reload_failures_total", 1.0)
        .await;
    assert!(health(&tls, &old).await.is_ok(), "half a change is none");
    put(&place("new/kept/key.pem"), &key);
    server
        .wait_for_metric("switchboard_tls_reloads_total", 1.0)
        .await;
    assert_eq!(health(&tls, &new).await.unwrap().body, "OK\n");
    assert!(health(&tls, &old).await.is_err());
    before
        .write_all(b"GET /health HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Answer::read(&mut before).await.body, "OK\n");
}

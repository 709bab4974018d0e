//! Files that change under load: certificates, again and again and by halves, and the configuration.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Answer, wait_until};
use crate::scene::Scene;
use crate::wire::tls;

/// Clients that come and go by TLS, each again as soon as it was served.
const CLIENTS: usize = 12;

#[tokio::test]
async fn no_handshake_fails_while_certificates_change_and_half_written_ones_are_never_shown() {
    let mut scene = Scene::set("tls_reload = 0.05", "").await;
    let (is_over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let clients = (0..CLIENTS).map(async |_| {
        while !is_over.load(Ordering::Relaxed) {
            // The client checks that the key is the certificate's.
            let mut stream = tls(&scene.server).await;
            stream
                .write_all(b"GET /health HTTP/1.0\r\n\r\n")
                .await
                .unwrap();
            assert_eq!(Answer::read(&mut stream).await.body, "OK\n");
            served.fetch_add(1, Ordering::Relaxed);
        }
    });
    let rotation = async {
        let reloads = "switchboard_tls_reloads_total";
        for number in 1..=10_u32 {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            let before = served.load(Ordering::Relaxed);
            // In pieces, in place, with time to be looked at between: the certificate, then the key.
            for (name, text) in [
                ("cert.pem", made.cert.pem()),
                ("key.pem", made.signing_key.serialize_pem()),
            ] {
                let path = scene.file(name);
                for part in [0, text.len() / 2, text.len() - 2, text.len()] {
                    std::fs::write(&path, &text[..part]).unwrap();
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            }
            scene
                .server
                .wait_for_metric(reloads, f64::from(number))
                .await;
            wait_until(Duration::from_secs(20), async || {
                served.load(Ordering::Relaxed) > before + CLIENTS as u64
            })
            .await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    join(join_all(clients), rotation).await;
    assert_eq!(
        scene
            .server
            .metric("switchboard_tls_handshake_failures_total")
            .await,
        0.0
    );
    scene.is_calm_again().await;
}

#[tokio::test]
async fn a_storm_of_signals_to_read_the_configuration_again_stops_nobody() {
    let mut scene = Scene::set("", "").await;
    let file = scene.file("switchboard.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    for number in 0..300 {
        // By turns good, half written, nonsense, and gone.
        match number % 4 {
            0 => std::fs::write(&file, &good).unwrap(),
            1 => std::fs::write(&file, "[limits").unwrap(),
            2 => std::fs::write(&file, "\u{0}").unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        scene.server.signal(Signal::HUP);
        if number % 100 == 99 {
            scene.innocents_go_on().await;
        }
    }
    std::fs::write(&file, &good).unwrap();
    scene.server.signal(Signal::HUP);
    assert_eq!(scene.server.get("/health").await.body, "OK\n");
    assert!(scene.server.log().len() < 200_000);
    scene.is_calm_again().await;
}

//! gecko.md A6: many at once don't disturb one another, and the order is first in, first out.

use tokio::task::JoinSet;

use super::*;

const CLIENTS: u32 = 40;
const CANDIDATES: u32 = 20;

/// Answers every demand; sends candidates back as they come, and `connected` after the last one.
async fn echo(mut gecko: Client) {
    while let Some(Ok(message)) = gecko.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let mut message: Value = serde_json::from_str(&text).unwrap();
        let worker = message["workerId"].as_str().unwrap().to_owned();
        if message["messageType"] == "new-worker" {
            gecko.send_json(&created(&worker)).await;
            continue;
        }
        message["action"] = "worker-candidate".into();
        gecko.send_json(&message).await;
        if message["candidate"] == candidate(CANDIDATES - 1) {
            gecko.send_json(&connected(&worker)).await;
        }
    }
}

#[tokio::test]
async fn sessions_are_independent_and_each_is_in_order() {
    let server = Server::start(&[]).await;
    let mut geckos = JoinSet::new();
    for id in ["a", "b", "c"] {
        geckos.spawn(echo(gecko(&server, id).await));
    }
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let mut client = client(&server, &n.to_string()).await;
        clients.spawn(async move {
            if n % 4 == 0 {
                // A neighbour that leaves in the middle.
                client.send_json(&client_ice(0)).await;
                return reset(client);
            }
            for n in 0..CANDIDATES {
                client.send_json(&client_ice(n)).await;
            }
            let hello = client.recv_json().await;
            let worker = hello["workerId"].as_str().unwrap();
            assert_eq!(hello, worker_hello(worker));
            for n in 0..CANDIDATES {
                client.expect(ice("worker-candidate", worker, n)).await;
            }
            client.expect(connected(worker)).await;
            assert_eq!(is_closed_next(&mut client).await, close(1000));
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    server
        .wait_for_metric("switchboard_gecko_sessions", 0.0)
        .await;
    assert!((server.metric("switchboard_endpoints").await - 3.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_gecko_that_takes_nothing_costs_its_own_clients_only() {
    let limits = "[limits]\ngecko_queue_messages = 20\nqueue_messages = 50";
    let server = Server::configured(limits, &[]).await;
    let stuck = gecko(&server, "stuck").await;
    // Its socket's buffers take a lot before anything waits.
    let mut hello = client_hello("anna");
    hello["webrtcOffer"] = "x".repeat(900_000).into();
    let mut refused = 0;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = server.ws("/").await;
        client.send_json(&hello).await;
        let sessions = server.metric("switchboard_gecko_sessions").await;
        if sessions < clients.len() as f64 + 1.0 {
            let ended =
                tokio::time::timeout(std::time::Duration::from_millis(200), client.next()).await;
            if let Ok(Some(Ok(Message::Text(text)))) = ended {
                let text: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(text["errno"], 429, "{text}");
                refused += 1;
                if refused > 3 {
                    break;
                }
                continue;
            }
        }
        clients.push(client);
    }
    assert!(refused > 3, "{} sessions were taken", clients.len());
    let mut other = gecko(&server, "other").await;
    let mut client = client(&server, "bert").await;
    let worker = demanded(&mut other).await;
    answer(&mut other, &mut client, &worker).await;
    drop(stuck);
}

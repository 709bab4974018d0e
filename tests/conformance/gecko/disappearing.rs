//! gecko.md A6: one of the three disappears, at each step of the dialogue. The other two are told,
//! and nothing stays behind.

use std::time::{Duration, Instant};

use super::*;

/// How far a dialogue has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Demanded,
    CandidateSent,
    Answered,
    CandidateReceived,
}

const STEPS: [Progress; 4] = [
    Progress::Demanded,
    Progress::CandidateSent,
    Progress::Answered,
    Progress::CandidateReceived,
];

/// A dialogue that has come so far, with a gecko that wants to know of closes.
async fn dialogue(server: &Server, progress: Progress) -> (Client, Client, String) {
    let mut hello = gecko_hello("g");
    hello["capabilities"] = json!(["worker-closed"]);
    let mut gecko = gecko_saying(server, &hello).await;
    let mut client = client(server, "anna").await;
    let worker = demanded(&mut gecko).await;
    if progress != Progress::Demanded {
        client.send_json(&client_ice(1)).await;
        gecko.expect(ice("client-candidate", &worker, 1)).await;
    }
    if matches!(progress, Progress::Answered | Progress::CandidateReceived) {
        answer(&mut gecko, &mut client, &worker).await;
    }
    if progress == Progress::CandidateReceived {
        gecko.send_json(&ice("worker-candidate", &worker, 1)).await;
        client.expect(ice("worker-candidate", &worker, 1)).await;
    }
    (gecko, client, worker)
}

fn worker_closed(worker: &str, reason: &str) -> Value {
    json!({"messageType": "worker-closed", "workerId": worker, "reason": reason})
}

#[tokio::test]
async fn the_client_goes() {
    let server = Server::configured("[limits]\ngecko_grace = 0.1", &[]).await;
    for step in STEPS {
        for abruptly in [false, true] {
            let (mut gecko, client, worker) = dialogue(&server, step).await;
            if abruptly {
                reset(client);
            } else {
                goodbye(client).await;
            }
            gecko.expect(worker_closed(&worker, "client-gone")).await;
            gecko.send_json(&created(&worker)).await;
            is_told_nothing(&mut gecko).await;
            reset(gecko);
            nothing_stays(&server).await;
        }
    }
}

#[tokio::test]
async fn the_client_goes_and_a_gecko_that_did_not_ask_is_told_nothing() {
    let server = Server::start(&[]).await;
    let (mut gecko, client, worker) = pair(&server).await;
    reset(client);
    server
        .wait_for_metric("switchboard_gecko_sessions", 0.0)
        .await;
    gecko.send_json(&created(&worker)).await;
    gecko.send_json(&ice("worker-candidate", &worker, 1)).await;
    is_told_nothing(&mut gecko).await;
}

#[tokio::test]
async fn the_gecko_goes_for_good() {
    let server = Server::configured("[limits]\ngecko_grace = 0.7", &[]).await;
    for step in STEPS {
        for abruptly in [false, true] {
            let (gecko, mut client, worker) = dialogue(&server, step).await;
            if abruptly {
                reset(gecko);
            } else {
                goodbye(gecko).await;
            }
            let gone = Instant::now();
            let (errno, named, _) = error(&mut client).await;
            assert_eq!((errno, named), (303, Some(worker)), "{step:?}");
            assert!(gone.elapsed() > Duration::from_millis(500), "{step:?}");
            assert_eq!(is_closed_next(&mut client).await, close(1000));
            nothing_stays(&server).await;
        }
    }
}

#[tokio::test]
async fn the_gecko_comes_back_and_goes_on() {
    let server = Server::start(&[]).await;
    for step in STEPS {
        let (gecko, mut client, worker) = dialogue(&server, step).await;
        reset(gecko);
        server.wait_for_metric("switchboard_geckos_away", 1.0).await;
        client.send_json(&client_ice(7)).await;
        let mut gecko = server.ws("/worker").await;
        gecko.send_json(&gecko_hello("g")).await;
        // Only what it hasn't been sent.
        gecko.expect(ice("client-candidate", &worker, 7)).await;
        is_told_nothing(&mut gecko).await;
        answer(&mut gecko, &mut client, &worker).await;
        gecko.send_json(&connected(&worker)).await;
        client.expect(connected(&worker)).await;
        assert_eq!(is_closed_next(&mut client).await, close(1000));
        goodbye(gecko).await;
    }
}

#[tokio::test]
async fn the_client_goes_while_the_gecko_is_away() {
    let server = Server::start(&[]).await;
    for step in STEPS {
        let (gecko, mut client, worker) = dialogue(&server, step).await;
        reset(gecko);
        server.wait_for_metric("switchboard_geckos_away", 1.0).await;
        client.send_json(&client_ice(7)).await;
        goodbye(client).await;
        server
            .wait_for_metric("switchboard_gecko_sessions", 0.0)
            .await;
        let mut hello = gecko_hello("g");
        hello["capabilities"] = json!(["worker-closed"]);
        let mut gecko = server.ws("/worker").await;
        gecko.send_json(&hello).await;
        gecko.expect(worker_closed(&worker, "client-gone")).await;
        is_told_nothing(&mut gecko).await;
        goodbye(gecko).await;
    }
}

#[tokio::test]
async fn nobody_says_anything_and_both_are_told() {
    let limits = "[limits]\ngecko_answer = 0.4\ngecko_connect = 0.4";
    let server = Server::configured(limits, &[]).await;
    for step in STEPS {
        let (mut gecko, mut client, worker) = dialogue(&server, step).await;
        let (errno, named, _) = error(&mut client).await;
        assert_eq!((errno, named.as_deref()), (302, Some(&*worker)));
        assert_eq!(is_closed_next(&mut client).await, close(1000));
        gecko.expect(worker_closed(&worker, "timeout")).await;
        goodbye(gecko).await;
        server
            .wait_for_metric("switchboard_gecko_sessions", 0.0)
            .await;
    }
}

#[tokio::test]
async fn the_server_goes() {
    for step in STEPS {
        let mut server = Server::start(&[]).await;
        let (mut gecko, mut client, _) = dialogue(&server, step).await;
        let (status, _, _) = tokio::join!(
            server.terminate(),
            async { assert_eq!(is_closed_next(&mut gecko).await.0, 1001) },
            async { assert_eq!(is_closed_next(&mut client).await.0, 1001) },
        );
        assert!(status.success());
    }
}

#[tokio::test]
async fn the_server_is_killed() {
    for step in STEPS {
        let server = Server::start(&[]).await;
        let (mut gecko, mut client, _) = dialogue(&server, step).await;
        drop(server);
        assert_eq!(gecko.closed().await.0, 1006);
        assert_eq!(client.closed().await.0, 1006);
    }
}

#[tokio::test]
async fn a_gecko_without_sessions_and_accounts_is_not_awaited() {
    let server = Server::start(&[]).await;
    let gecko = gecko(&server, "g").await;
    goodbye(gecko).await;
    nothing_stays(&server).await;
}

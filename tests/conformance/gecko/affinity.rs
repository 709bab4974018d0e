//! gecko.md A6, A7: which gecko, and the same gecko again.

use super::*;

#[tokio::test]
async fn an_account_stays_with_its_gecko_and_another_one_goes_where_least_is() {
    let server = Server::start(&[]).await;
    let mut a = gecko(&server, "a").await;
    let mut b = gecko(&server, "b").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(client(&server, "anna").await);
        demanded(&mut a).await;
    }
    for _ in 0..2 {
        clients.push(client(&server, "bert").await);
        demanded(&mut b).await;
    }
    clients.push(client(&server, "carl").await);
    demanded(&mut b).await;
    // Nobody has a session any more, but the accounts stay spread.
    for client in clients {
        goodbye(client).await;
    }
    server
        .wait_for_metric("switchboard_gecko_sessions", 0.0)
        .await;
    let _client = client(&server, "dora").await;
    demanded(&mut a).await;
    let _client = client(&server, "carl").await;
    demanded(&mut b).await;
}

#[tokio::test]
async fn a_gecko_gets_no_more_than_its_capacity() {
    let server = Server::start(&[]).await;
    let mut hello = gecko_hello("a");
    hello["capacity"] = 1.into();
    let mut a = gecko_saying(&server, &hello).await;
    hello["geckoId"] = "none".into();
    hello["capacity"] = 0.into();
    let mut none = gecko_saying(&server, &hello).await;
    let _first = client(&server, "anna").await;
    demanded(&mut a).await;
    let mut full = client(&server, "bert").await;
    assert_eq!(error(&mut full).await.0, 429);
    let mut b = gecko(&server, "b").await;
    let _second = client(&server, "bert").await;
    demanded(&mut b).await;
    // Anna's gecko is full, and she stays with it.
    let mut full = client(&server, "anna").await;
    assert_eq!(error(&mut full).await.0, 429);
    is_told_nothing(&mut a).await;
    is_told_nothing(&mut none).await;
}

#[tokio::test]
async fn a_capacity_that_is_no_whole_number_is_refused() {
    let server = Server::start(&[]).await;
    for capacity in [json!(-1), json!(1.5), json!("8")] {
        let mut hello = gecko_hello("g");
        hello["capacity"] = capacity;
        let mut gecko = server.ws("/worker").await;
        gecko.send_json(&hello).await;
        let (errno, _, reason) = error(&mut gecko).await;
        assert!(
            errno == 400 && reason.contains("capacity"),
            "{errno} {reason}"
        );
        assert_eq!(is_closed_next(&mut gecko).await.0, 1011);
    }
}

#[tokio::test]
async fn the_newest_registration_wins_and_the_sessions_move_over() {
    let server = Server::start(&[]).await;
    let (mut old, mut first, one) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let two = demanded(&mut old).await;
    answer(&mut old, &mut first, &one).await;
    let mut new = server.ws("/worker").await;
    new.send_json(&gecko_hello("gecko")).await;
    assert_eq!(
        is_closed_next(&mut old).await,
        (4001, "replaced".to_owned())
    );
    // What the old connection was sent isn't sent again.
    is_told_nothing(&mut new).await;
    first.send_json(&client_ice(1)).await;
    new.expect(ice("client-candidate", &one, 1)).await;
    new.send_json(&connected(&one)).await;
    first.expect(connected(&one)).await;
    answer(&mut new, &mut second, &two).await;
    let _third = client(&server, "anna").await;
    demanded(&mut new).await;
}

#[tokio::test]
async fn a_replaced_connection_s_end_does_not_touch_the_new_one() {
    let server = Server::start(&[]).await;
    let mut last = gecko(&server, "g").await;
    for _ in 0..10 {
        let mut new = server.ws("/worker").await;
        new.send_json(&gecko_hello("g")).await;
        assert_eq!(is_closed_next(&mut last).await.0, 4001);
        last = new;
    }
    is_told_nothing(&mut last).await;
    let _client = client(&server, "anna").await;
    demanded(&mut last).await;
    assert!((server.metric("switchboard_endpoints").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn demands_and_candidates_wait_for_a_gecko_that_is_briefly_away_and_come_once_in_order() {
    let server = Server::start(&[]).await;
    let mut other = {
        let (gecko, client, _) = pair(&server).await;
        let other = super::gecko(&server, "other").await;
        goodbye(client).await;
        reset(gecko);
        other
    };
    server.wait_for_metric("switchboard_geckos_away", 1.0).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = client(&server, "anna").await;
        for n in 0..5 {
            client.send_json(&client_ice(n)).await;
        }
        server
            .wait_for_metric("switchboard_gecko_sessions", (clients.len() + 1) as f64)
            .await;
        clients.push(client);
    }
    // One of them doesn't wait.
    goodbye(clients.remove(1)).await;
    server
        .wait_for_metric("switchboard_gecko_sessions", 2.0)
        .await;
    let mut back = server.ws("/worker").await;
    back.send_json(&gecko_hello("gecko")).await;
    let mut workers: Vec<String> = Vec::new();
    for _ in 0..12 {
        let message = back.recv_json().await;
        let worker = message["workerId"].as_str().unwrap().to_owned();
        if message["messageType"] == "new-worker" {
            workers.push(worker);
        } else {
            assert!(workers.contains(&worker), "a candidate before its demand");
        }
    }
    is_told_nothing(&mut back).await;
    for (client, worker) in clients.iter_mut().zip(&workers) {
        answer(&mut back, client, worker).await;
    }
    // Once: the next connection gets nothing of it.
    let mut again = gecko(&server, "gecko").await;
    is_told_nothing(&mut again).await;
    is_told_nothing(&mut other).await;
}

#[tokio::test]
async fn after_the_grace_an_account_gets_another_gecko_with_what_waited() {
    let server = Server::configured("[limits]\ngecko_grace = 1.5", &[]).await;
    let (gecko, first, _) = pair(&server).await;
    goodbye(first).await;
    let mut other = super::gecko(&server, "other").await;
    goodbye(gecko).await;
    server.wait_for_metric("switchboard_geckos_away", 1.0).await;
    let mut client = client(&server, "anna").await;
    client.send_json(&client_ice(1)).await;
    is_told_nothing(&mut other).await;
    let worker = demanded(&mut other).await;
    other.expect(ice("client-candidate", &worker, 1)).await;
    answer(&mut other, &mut client, &worker).await;
    // The account belongs there now, even when its first gecko is back.
    let _back = super::gecko(&server, "gecko").await;
    let _next = super::client(&server, "anna").await;
    demanded(&mut other).await;
}

#[tokio::test]
async fn too_much_for_an_absent_gecko_is_429() {
    let server = Server::configured("[limits]\ngecko_queue_messages = 3", &[]).await;
    let (gecko, first, _) = pair(&server).await;
    goodbye(first).await;
    reset(gecko);
    server.wait_for_metric("switchboard_geckos_away", 1.0).await;
    let mut client = client(&server, "anna").await;
    for n in 0..3 {
        client.send_json(&client_ice(n)).await;
    }
    let (errno, _, _) = error(&mut client).await;
    assert_eq!(errno, 429);
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    // And all of it is gone.
    let mut back = super::gecko(&server, "gecko").await;
    is_told_nothing(&mut back).await;
}

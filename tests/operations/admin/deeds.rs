//! What operators do to others, and what those hear.

use async_tungstenite::tungstenite::Message;

use super::*;
use crate::common::{PATIENCE, wait_until};

/// The number of the connection that is registered so.
async fn connection_of(server: &Server, id: &str) -> u64 {
    let page = get(server, &format!("/api/connections?endpoint={id}")).await;
    page["connections"][0]["id"].as_u64().unwrap()
}

#[tokio::test]
async fn whoever_is_kicked_hears_why_and_the_others_hear_that_it_is_gone() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    let id = connection_of(&server, "d").await;
    let path = format!("/api/connections/{id}?reason=maintenance%20of%20the%20roof");
    assert_eq!(does(&server, "DELETE", &path, "").await, closed(1));
    assert_eq!(get(&server, "/api/endpoints").await["endpoints"], json!([]));
    assert_eq!(asks(&server, "DELETE", &path, "").await.0, 404);
    assert_eq!(
        device.closed().await,
        (1008, "maintenance of the roof".to_owned())
    );
    viewer
        .expect(json!({ "error": "Device disconnected" }))
        .await;
    assert_eq!(viewer.closed().await.0, 1000);
    let deed = "switchboard_admin_deeds_total{deed=\"close_connection\"}";
    assert!((server.metric(deed).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn endpoints_of_each_dialect_are_closed_by_their_ids() {
    let server = Server::start(&[]).await;
    let device = server.device("d").await;
    let (one, mut two) = pair(&server, "one", "two").await;
    let (gecko, mut client, worker) = gecko(&server).await;
    for (path, mut kicked) in [
        ("cuttlefish/d", device),
        ("gstreamer/one", one),
        ("gecko/g", gecko),
    ] {
        let path = format!("/api/endpoints/{path}");
        let done = does(&server, "DELETE", &path, r#"{"reason": "tidy"}"#).await;
        assert_eq!(done, closed(1), "{path}");
        assert_eq!(kicked.closed().await, (1008, "tidy".to_owned()), "{path}");
        assert_eq!(asks(&server, "GET", &path, "").await.0, 404);
    }
    assert_eq!(two.closed().await, (1000, String::new()));
    // A gecko is awaited back, as after every loss; its sessions can be ended meanwhile.
    let left = get(&server, "/api/calls").await;
    assert_eq!(left["calls"][0]["endpoint_connection"], Value::Null);
    does(
        &server,
        "DELETE",
        &format!("/api/calls/session-{worker}"),
        "",
    )
    .await;
    assert_eq!(client.recv_json().await["errno"], 303);
}

#[tokio::test]
async fn a_kicked_participant_is_evicted_and_not_awaited_back() {
    let server = Server::start(&[]).await;
    let mut a = participant(&server, "r", "a").await;
    let mut b = participant(&server, "r", "b").await;
    let room = get(&server, "/api/rooms/r").await;
    let id = room["participants"][0]["connection"].as_u64().unwrap();
    does(&server, "DELETE", &format!("/api/connections/{id}"), "").await;
    assert_eq!(
        event(&mut b, "participantLeft").await,
        json!({ "name": "a" })
    );
    assert_eq!(event(&mut a, "participantEvicted").await, json!({}));
    assert_eq!(
        a.closed().await,
        (1008, "closed by the operator".to_owned())
    );
    assert_eq!(get(&server, "/api/rooms/r").await["members"], json!(["b"]));
    assert_eq!(
        get(&server, "/api/server").await["counts"]["participants"],
        1
    );
}

#[tokio::test]
async fn a_polling_client_is_kicked() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let open = json!({ "device_id": "d" });
    let own = server.post("/polled_connections", &open).await.json();
    let path = format!(
        "/polled_connections/{}/messages",
        own["connection_id"].as_str().unwrap()
    );
    let call = get(&server, "/api/calls").await["calls"][0].clone();
    does(
        &server,
        "DELETE",
        &format!("/api/connections/{}", call["caller"]),
        "",
    )
    .await;
    assert_eq!(server.get(&path).await.status, 404);
    let told = device.recv_json().await;
    assert_eq!(told["message_type"], "client_disconnected");
}

#[tokio::test]
async fn a_call_ends_for_both_as_if_the_other_had_hung_up() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewers = [server.viewer("d").await, server.viewer("d").await];
    let calls = get(&server, "/api/calls").await;
    let path = format!("/api/calls/{}", calls["calls"][0]["id"].as_str().unwrap());
    assert_eq!(does(&server, "DELETE", &path, "").await, closed(1));
    assert_eq!(asks(&server, "DELETE", &path, "").await.0, 404);
    let gone = json!({ "message_type": "client_disconnected", "client_id": 1 });
    device.expect(gone).await;
    viewers[0]
        .expect(json!({ "error": "Device disconnected" }))
        .await;
    assert_eq!(viewers[0].closed().await.0, 1000);
    // The other call goes on.
    device.forward_to(2, &json!("still here")).await;
    assert_eq!(viewers[1].recv_json().await["payload"], "still here");
    assert_eq!(get(&server, "/api/calls").await["total"], 1);
}

#[tokio::test]
async fn pairs_and_sessions_end_for_both() {
    let server = Server::start(&[]).await;
    let (mut one, mut two) = pair(&server, "one", "two").await;
    let calls = get(&server, "/api/calls").await;
    let path = format!("/api/calls/{}", calls["calls"][0]["id"].as_str().unwrap());
    does(&server, "DELETE", &path, "").await;
    for peer in [&mut one, &mut two] {
        assert_eq!(peer.closed().await, (1000, String::new()));
    }
    let (mut gecko, mut client, worker) = gecko(&server).await;
    does(
        &server,
        "DELETE",
        &format!("/api/calls/session-{worker}"),
        "",
    )
    .await;
    assert_eq!(client.recv_json().await["errno"], 303);
    assert_eq!(gecko.recv_json().await["messageType"], "worker-closed");
    let nobody = json!({ "calls": [], "total": 0 });
    assert_eq!(get(&server, "/api/calls").await, nobody);
}

#[tokio::test]
async fn rooms_are_closed_and_participants_put_out() {
    let server = Server::start(&[]).await;
    let mut a = participant(&server, "r", "a").await;
    let mut b = participant(&server, "r", "b").await;
    let path = "/api/rooms/r/participants/a";
    assert_eq!(does(&server, "DELETE", path, "").await, closed(1));
    event(&mut a, "participantEvicted").await;
    assert_eq!(does(&server, "DELETE", "/api/rooms/r", "").await, closed(1));
    assert_eq!(event(&mut b, "roomClosed").await, json!({ "room": "r" }));
    let deeds = ["evict", "close_room"];
    for deed in deeds.map(|it| format!("switchboard_admin_deeds_total{{deed=\"{it}\"}}")) {
        assert!(
            (server.metric(&deed).await - 1.0).abs() < f64::EPSILON,
            "{deed}"
        );
    }
}

#[tokio::test]
async fn what_is_muted_stays_so_for_the_participants_time_in_the_room() {
    let server = Server::start(&[]).await;
    let mut a = participant(&server, "r", "a").await;
    let path = "/api/rooms/r/participants/a/mute";
    let muted = async || get(&server, "/api/rooms/r").await["participants"][0]["muted"].clone();
    let sound = json!({ "audio": true, "video": false });
    let done = does(&server, "PUT", path, r#"{"audio": true}"#).await;
    assert_eq!((done, muted().await), (sound.clone(), sound));
    let both = json!({ "audio": true, "video": true });
    assert_eq!(does(&server, "PUT", path, r#"{"video": true}"#).await, both);
    assert_eq!(does(&server, "PUT", path, "{}").await, both);
    let neither = json!({ "audio": false, "video": false });
    let back = r#"{"audio": false, "video": false}"#;
    assert_eq!(does(&server, "PUT", path, back).await, neither);
    does(&server, "PUT", path, r#"{"audio": true}"#).await;
    ask(&mut a, "leaveRoom", json!({})).await;
    let _again = participant(&server, "r", "a").await;
    assert_eq!(muted().await, neither);
}

#[tokio::test]
async fn deeds_are_for_operators_and_are_logged_with_who_did_them() {
    let server = Server::guarded(TOKENS, "").await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let mut device = server
        .try_ws("/register_device?token=camera", &[])
        .await
        .unwrap();
    device.register("d").await;
    device.recv_json().await;
    let boss = bearer("boss");
    let page = server
        .request("GET", "/api/connections", &boss, "")
        .await
        .json();
    let one = &page["connections"][0];
    assert_eq!(
        (&one["user"], &one["endpoint"]),
        (&json!("camera"), &json!("d"))
    );
    let path = format!("/api/connections/{}", one["id"]);
    for (token, status) in [("", 401), ("camera", 403), ("viewer", 403)] {
        let header = if token.is_empty() {
            String::new()
        } else {
            bearer(token)
        };
        for (method, path) in [
            ("DELETE", &*path),
            ("GET", "/api/server"),
            ("PUT", "/api/rooms/r/participants/u/mute"),
        ] {
            let answer = server.request(method, path, &header, "").await;
            assert_eq!(answer.status, status, "{method} {path} by {token:?}");
        }
    }
    let done = server.request("DELETE", &path, &boss, "").await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(device.closed().await.0, 1008);
    let line = || {
        server
            .log()
            .lines()
            .find(|it| it.contains("close_connection"))
            .map(str::to_owned)
    };
    wait_until(PATIENCE, async || line().is_some()).await;
    assert!(line().unwrap().contains("by=\"olga\""), "{}", server.log());
}

#[tokio::test]
async fn pages_of_other_servers_do_nothing() {
    let server = Server::start(&[]).await;
    let mut peer = peer(&server, "p").await;
    let id = connection_of(&server, "p").await;
    for (method, path) in [
        ("DELETE", format!("/api/connections/{id}")),
        ("DELETE", "/api/endpoints/gstreamer/p".to_owned()),
        ("DELETE", format!("/api/calls/pair-{id}")),
        ("PUT", "/api/rooms/r/participants/u/mute".to_owned()),
    ] {
        for header in [
            "Origin: https://elsewhere.example\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
        ] {
            assert_eq!(
                server.request(method, &path, header, "{}").await.status,
                403,
                "{path}"
            );
        }
    }
    peer.send(Message::text("SESSION nobody")).await;
    assert_eq!(peer.recv_text().await, "ERROR peer 'nobody' not found");
}

#[tokio::test]
async fn a_reason_is_one_short_line() {
    let server = Server::start(&[]).await;
    let mut peer = peer(&server, "p").await;
    let path = format!("/api/connections/{}", connection_of(&server, "p").await);
    let most = "x".repeat(123);
    for reason in ["", "two\nlines", &format!("{most}x"), &"ä".repeat(62)] {
        let body = json!({ "reason": reason }).to_string();
        assert_eq!(
            asks(&server, "DELETE", &path, &body).await.0,
            400,
            "{reason:?}"
        );
    }
    does(
        &server,
        "DELETE",
        &path,
        &json!({ "reason": most }).to_string(),
    )
    .await;
    assert_eq!(peer.closed().await, (1008, most));
}

//! kurento.md A7.

use super::*;

#[tokio::test]
async fn joining_twice_is_refused_and_changes_nothing() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let join = |room: &str, user: &str| json!({ "room": room, "user": user });
    assert_eq!(peers[0].code("joinRoom", join("r", "a")).await, 104);
    assert_eq!(peers[0].code("joinRoom", join("r", "z")).await, 101);
    assert_eq!(peers[0].code("joinRoom", join("s", "a")).await, 101);
    assert_eq!(rooms_of(&server).await, json!(["r"]));
    peers[1].expect_nothing().await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
}

#[tokio::test]
async fn a_join_that_failed_makes_no_room_and_may_be_repeated() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    assert_eq!(
        peer.code("joinRoom", json!({ "room": "r", "user": "" }))
            .await,
        999
    );
    assert_eq!(rooms_of(&server).await, json!([]));
    assert_eq!(peer.code("leaveRoom", json!({})).await, 102);
    peer.ok("joinRoom", json!({ "room": "r", "user": "a" }))
        .await;
}

#[tokio::test]
async fn publish_unpublish_publish_is_told_each_time() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    for _ in 0..3 {
        peers[0].publish().await;
        peers[1]
            .expect(
                "participantPublished",
                json!({ "id": "a", "streams": webcam() }),
            )
            .await;
        peers[1].receive("a").await;
        peers[0].ok("unpublishVideo", json!({})).await;
        peers[1]
            .expect("participantUnpublished", json!({ "name": "a" }))
            .await;
    }
}

#[tokio::test]
async fn the_last_one_takes_the_room_along() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    for _ in 0..2 {
        assert_eq!(rooms_of(&server).await, json!(["r"]));
        let mut peer = peers.remove(0);
        peer.ok("leaveRoom", json!({})).await;
    }
    assert_eq!(rooms_of(&server).await, json!([]));
}

#[tokio::test]
async fn what_a_join_shows_and_what_is_told_later_fit_together() {
    let server = Server::start(&[]).await;
    let mut tasks = tokio::task::JoinSet::new();
    let server = std::sync::Arc::new(server);
    for n in 0..12 {
        let server = std::sync::Arc::clone(&server);
        tasks.spawn(async move {
            let user = format!("u{n}");
            let (mut peer, shown) = Peer::join(&server, "r", &user).await;
            peer.publish().await;
            let mut known: Vec<(String, bool)> = Vec::new();
            for other in shown.as_array().unwrap() {
                let id = other["id"].as_str().unwrap().to_owned();
                known.push((id, other.get("streams").is_some()));
            }
            while known.len() < 11 || known.iter().any(|it| !it.1) {
                let event = peer.next_event().await;
                let id = event["params"]["id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let entry = known.iter_mut().find(|it| it.0 == id);
                match event["method"].as_str().unwrap() {
                    "participantJoined" => {
                        assert!(entry.is_none(), "{id} twice");
                        known.push((id, false));
                    }
                    "participantPublished" => {
                        let entry = entry.unwrap_or_else(|| panic!("{id} unknown"));
                        assert!(!std::mem::replace(&mut entry.1, true), "{id} twice");
                    }
                    "iceCandidate" => {}
                    other => panic!("{other}"),
                }
            }
            peer
        });
    }
    assert_eq!(tasks.join_all().await.len(), 12);
}

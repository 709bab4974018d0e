//! kurento.md A3: what is told unasked. Those that methods cause are beside these.

use super::*;

#[tokio::test]
async fn a_leaving_publisher_is_told_of_once() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    peers[1].receive("a").await;
    peers[0].ok("leaveRoom", json!({})).await;
    peers[1]
        .expect("participantLeft", json!({ "name": "a" }))
        .await;
    peers[1].expect_nothing().await;
    assert_eq!(peers[1].code("receiveVideoFrom", receive("a")).await, 102);
}

#[tokio::test]
async fn the_evicted_one_is_told_so_and_stays_connected() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r s", &["a/b", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a/b", "streams": webcam() }),
        )
        .await;
    let path = "/api/rooms/r%20s/participants/a%2Fb";
    assert_eq!(server.request("DELETE", path, "", "").await.status, 200);
    peers[1]
        .expect("participantLeft", json!({ "name": "a/b" }))
        .await;
    peers[0].expect("participantEvicted", json!({})).await;
    assert_eq!(peers[0].code("unpublishVideo", json!({})).await, 102);
    assert_eq!(server.request("POST", path, "", "").await.status, 404);
    peers[0]
        .ok("joinRoom", json!({ "room": "r s", "user": "a/b" }))
        .await;
    peers[1]
        .expect("participantJoined", json!({ "id": "a/b" }))
        .await;
    peers[1].expect_nothing().await;
}

#[tokio::test]
async fn a_closed_room_tells_each_once_and_leaves_them_connected() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    assert_eq!(server.get("/close?room=r").await.status, 200);
    for peer in &mut peers {
        peer.expect("roomClosed", json!({ "room": "r" })).await;
        assert_eq!(peer.code("unpublishVideo", json!({})).await, 102);
        peer.expect_nothing().await;
    }
    assert_eq!(rooms_of(&server).await, json!([]));
    peers[0]
        .ok("joinRoom", json!({ "room": "r", "user": "z" }))
        .await;
}

#[tokio::test]
async fn a_publisher_that_never_connects_is_put_out_with_a_media_error() {
    let server = Server::configured("[limits]\nmedia_connect = 1", &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    let mut event = peers[0].next_event().await;
    while event["method"] == "iceCandidate" {
        event = peers[0].next_event().await;
    }
    assert_eq!(event["method"], "mediaError", "{event}");
    let text = event["params"]["error"].as_str().unwrap();
    assert!(
        text.starts_with("MEDIA_CONNECTION: ") && text.ends_with("(errCode=304)"),
        "{text}"
    );
    peers[0].expect("participantEvicted", json!({})).await;
    peers[1]
        .expect("participantLeft", json!({ "name": "a" }))
        .await;
    peers[1].expect_nothing().await;
}

#[tokio::test]
async fn a_receiver_that_never_connects_is_told_and_may_try_again() {
    let server = Server::configured("[limits]\nmedia_connect = 2", &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1].receive("a").await;
    let mut event = peers[1].next_event().await;
    while event["method"] != "mediaError" {
        // The publisher's end comes to its own, too, and before.
        let known = ["iceCandidate", "participantPublished", "participantLeft"];
        let method = event["method"].as_str().unwrap();
        assert!(known.contains(&method), "{event}");
        if method == "participantLeft" {
            return;
        }
        event = peers[1].next_event().await;
    }
    peers[1]
        .ok("unsubscribeFromVideo", json!({ "sender": "a_webcam" }))
        .await;
}

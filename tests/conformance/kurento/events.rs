//! kurento.md A3: what is told unasked. Those that methods cause are beside these.

use super::*;

#[tokio::test]
async fn candidates_of_the_server_go_to_the_owner_and_name_whose_media_it_is() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    // The offer's own names of its sections come back.
    let offer = offers::subscriber()
        .replace("BUNDLE 0 1", "BUNDLE audio video")
        .replace("a=mid:0", "a=mid:audio")
        .replace("a=mid:1", "a=mid:video");
    let receive = json!({ "sender": "a_webcam", "sdpOffer": offer });
    peers[1].ok("receiveVideoFrom", receive).await;
    for (peer, mid) in peers.iter_mut().zip(["0", "audio"]) {
        let mut event = peer.next_event().await;
        let candidate = event["params"]["candidate"].take();
        let candidate = candidate.as_str().unwrap_or_default();
        assert!(
            candidate.starts_with("candidate:") && candidate.contains(" typ "),
            "{candidate}"
        );
        let params = json!({
            "endpointName": "a", "sdpMid": mid, "sdpMLineIndex": 0, "candidate": null,
        });
        let expected = json!({ "method": "iceCandidate", "params": params, "jsonrpc": "2.0" });
        assert_eq!(event, expected);
    }
}

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
async fn a_publisher_that_never_connects_is_told_and_publishes_no_more() {
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
    peers[1]
        .expect("participantUnpublished", json!({ "name": "a" }))
        .await;
    // It stays, and may try again.
    let say = json!({ "message": "no picture", "userMessage": "a", "roomMessage": "r" });
    peers[0].ok("sendMessage", say).await;
    let said = json!({ "room": "r", "user": "a", "name": "a", "message": "no picture" });
    peers[1].expect("sendMessage", said).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
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
        let known = [
            "iceCandidate",
            "participantPublished",
            "participantUnpublished",
        ];
        let method = event["method"].as_str().unwrap();
        assert!(known.contains(&method), "{event}");
        if method == "participantUnpublished" {
            return;
        }
        event = peers[1].next_event().await;
    }
    peers[1]
        .ok("unsubscribeFromVideo", json!({ "sender": "a_webcam" }))
        .await;
}

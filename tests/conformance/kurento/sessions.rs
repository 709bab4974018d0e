//! kurento.md A1.10 to A1.12, A1.15 and A1.17: sessions, and their connections.

use super::*;

async fn session_of(peer: &mut Peer) -> String {
    let result = peer.ok("connect", json!({})).await;
    result["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn connect_starts_a_session_that_stays() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    let result = peer.ok("connect", json!({})).await;
    assert_eq!(result["value"], "OK");
    let joined = peer
        .ok("joinRoom", json!({ "room": "r", "user": "a" }))
        .await;
    assert_eq!(joined["sessionId"], result["sessionId"]);
    let mut other = Peer::connect(&server).await;
    assert_ne!(
        other.ok("connect", json!({})).await["sessionId"],
        result["sessionId"]
    );
}

#[tokio::test]
async fn connect_with_an_unknown_session_is_40007() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    for id in ["nothing", "00000000000000000000000000", ""] {
        let reply = peer.ask("connect", json!({ "sessionId": id })).await;
        let error = json!({ "code": 40007, "message": "reconnection error" });
        assert_eq!(reply["error"], error);
    }
    assert_eq!(peer.ok("connect", json!({})).await["value"], "OK");
}

#[tokio::test]
async fn a_lost_session_goes_on_by_another_connection() {
    let server = Server::configured("[limits]\nkurento_resume = 20", &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    let session = session_of(&mut peers[0]).await;
    drop(peers.remove(0));
    let mut b = peers.remove(0);
    // The name stays taken, and the media goes on.
    let mut newcomer = Peer::connect(&server).await;
    assert_eq!(
        newcomer
            .code("joinRoom", json!({ "room": "r", "user": "a" }))
            .await,
        104
    );
    b.receive("a").await;
    let mut a = Peer::connect(&server).await;
    let resumed = a.ok("connect", json!({ "sessionId": session })).await;
    assert_eq!(resumed["value"], "reconnection successful");
    assert_eq!(resumed["sessionId"], *session);
    a.ok("unpublishVideo", json!({})).await;
    b.expect("participantUnpublished", json!({ "name": "a" }))
        .await;
    let (_c, _) = Peer::join(&server, "r", "c").await;
    a.expect("participantJoined", json!({ "id": "c" })).await;
    b.expect("participantJoined", json!({ "id": "c" })).await;
    b.expect_nothing().await;
}

#[tokio::test]
async fn a_session_that_lives_moves_and_its_old_connection_is_closed() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let session = session_of(&mut peers[0]).await;
    let mut a = Peer::connect(&server).await;
    a.ok("connect", json!({ "sessionId": session })).await;
    assert_eq!(peers.remove(0).closed().await.0, 1000);
    a.publish().await;
    peers[0]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    peers[0].expect_nothing().await;
}

#[tokio::test]
async fn who_does_not_come_back_in_time_is_gone() {
    let server = Server::configured(SOON, &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let session = session_of(&mut peers[0]).await;
    drop(peers.remove(0));
    peers[0]
        .expect("participantLeft", json!({ "name": "a" }))
        .await;
    let mut a = Peer::connect(&server).await;
    assert_eq!(
        a.code("connect", json!({ "sessionId": session })).await,
        40007
    );
    a.ok("joinRoom", json!({ "room": "r", "user": "a" })).await;
}

#[tokio::test]
async fn a_request_may_name_its_session() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let session = session_of(&mut peers[0]).await;
    let mut other = Peer::connect(&server).await;
    let say =
        json!({ "message": "m", "userMessage": "a", "roomMessage": "r", "sessionId": session });
    let result = other.ok("sendMessage", say).await;
    assert_eq!(result["sessionId"], *session);
    let said = json!({ "room": "r", "user": "a", "name": "a", "message": "m" });
    for peer in &mut peers {
        peer.expect("sendMessage", said.clone()).await;
    }
    other.expect_nothing().await;
    // One that nobody knows: a session of its own.
    let unknown = json!({ "room": "r", "user": "c", "sessionId": "00000000000000000000000000" });
    let joined = other.ok("joinRoom", unknown).await;
    assert_ne!(joined["sessionId"], "00000000000000000000000000");
    assert_eq!(joined["value"], json!([{ "id": "a" }, { "id": "b" }]));
}

#[tokio::test]
async fn close_session_says_bye_and_ends_it_at_once() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let session = session_of(&mut peers[0]).await;
    let reply = peers[0].ask("closeSession", json!({})).await;
    let id = peers[0].last_id;
    assert_eq!(
        reply,
        json!({ "id": id, "result": "bye", "jsonrpc": "2.0" })
    );
    peers[1]
        .expect("participantLeft", json!({ "name": "a" }))
        .await;
    assert_eq!(
        peers[1]
            .code("connect", json!({ "sessionId": session }))
            .await,
        40007
    );
    assert_eq!(peers[0].code("unpublishVideo", json!({})).await, 102);
}

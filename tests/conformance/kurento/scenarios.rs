//! kurento.md C: the reference's own tests, as far as they are about signaling.

use super::*;

const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];

async fn counts(server: &Server, publishers: usize, subscriptions: usize) {
    server
        .wait_for_metric("switchboard_publishers", publishers as f64)
        .await;
    server
        .wait_for_metric("switchboard_subscriptions", subscriptions as f64)
        .await;
}

#[tokio::test]
async fn join_many_users_one_room() {
    let server = Server::start(&[]).await;
    let mut peers: Vec<Peer> = Vec::new();
    for (n, user) in USERS.iter().enumerate() {
        let (peer, others) = Peer::join(&server, "r", user).await;
        let expected: Vec<_> = USERS[..n].iter().map(|id| json!({ "id": id })).collect();
        assert_eq!(others, json!(expected));
        for before in &mut peers {
            before
                .expect("participantJoined", json!({ "id": user }))
                .await;
        }
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn join_many_users_many_rooms() {
    let server = Server::start(&[]).await;
    let mut rooms = Vec::new();
    for room in ["r0", "r1", "r2"] {
        rooms.push(Peer::room(&server, room, &USERS).await);
    }
    assert_eq!(rooms_of(&server).await, json!(["r0", "r1", "r2"]));
    rooms[0][0].publish().await;
    for peer in &mut rooms[0][1..] {
        peer.expect(
            "participantPublished",
            json!({ "id": "u0", "streams": webcam() }),
        )
        .await;
    }
    for peer in rooms[1..].iter_mut().flatten() {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn leave_room() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    peers[1].ok("leaveRoom", json!({})).await;
    drop(peers.remove(1));
    for peer in &mut peers {
        peer.expect("participantLeft", json!({ "name": "u1" }))
            .await;
    }
    let (_, others) = Peer::join(&server, "r", "u4").await;
    assert_eq!(
        others,
        json!([{ "id": "u0" }, { "id": "u2" }, { "id": "u3" }])
    );
}

#[tokio::test]
async fn publisher_lifecycle() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    peers[0].publish().await;
    for peer in &mut peers[1..] {
        peer.expect(
            "participantPublished",
            json!({ "id": "u0", "streams": webcam() }),
        )
        .await;
        peer.receive("u0").await;
    }
    counts(&server, 1, 3).await;
    peers[0].ok("unpublishVideo", json!({})).await;
    counts(&server, 0, 0).await;
    for peer in &mut peers[1..] {
        peer.expect("participantUnpublished", json!({ "name": "u0" }))
            .await;
    }
}

#[tokio::test]
async fn publish_and_leave() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    for (publisher, subscriber) in [(0, 1), (1, 0)] {
        peers[publisher].publish().await;
        peers[subscriber].receive(USERS[publisher]).await;
    }
    counts(&server, 2, 2).await;
    peers[0].ok("leaveRoom", json!({})).await;
    counts(&server, 1, 0).await;
}

#[tokio::test]
async fn publish_with_loopback() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["u0", "u1"]).await;
    let loopback = json!({ "sdpOffer": offers::loopback(), "doLoopback": true });
    peers[0].ok("publishVideo", loopback).await;
    counts(&server, 1, 0).await;
    peers[1].receive("u0").await;
    counts(&server, 1, 1).await;
}

#[tokio::test]
async fn publish_with_loopback_error() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["u0", "u1"]).await;
    let broken = json!({ "sdpOffer": "v=0", "doLoopback": true });
    assert_eq!(peers[0].code("publishVideo", broken).await, 302);
    counts(&server, 0, 0).await;
    peers[1].expect_nothing().await;
}

#[tokio::test]
async fn many_publishers() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    for peer in &mut peers {
        peer.publish().await;
    }
    for (n, peer) in peers.iter_mut().enumerate() {
        for user in USERS
            .iter()
            .enumerate()
            .filter(|(m, _)| *m != n)
            .map(|it| it.1)
        {
            peer.receive(user).await;
        }
    }
    counts(&server, 4, 12).await;
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.ok("unpublishVideo", json!({})).await;
        let left = 3 - n;
        counts(&server, left, 3 * left).await;
    }
}

#[tokio::test]
async fn send_many_messages() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    for (n, user) in USERS.iter().enumerate() {
        let say = json!({ "message": format!("m{n}"), "userMessage": user, "roomMessage": "r" });
        peers[n].ok("sendMessage", say).await;
    }
    for peer in &mut peers {
        for (n, user) in USERS.iter().enumerate() {
            let said =
                json!({ "room": "r", "user": user, "name": user, "message": format!("m{n}") });
            peer.expect("sendMessage", said).await;
        }
    }
}

#[tokio::test]
async fn one_user_quick_reentry() {
    let server = Server::start(&[]).await;
    let (mut stays, _) = Peer::join(&server, "r", "stays").await;
    for _ in 0..5 {
        let (mut peer, _) = Peer::join(&server, "r", "quick").await;
        peer.publish().await;
        peer.ok("leaveRoom", json!({})).await;
        // As pages do: it closes when it has the answer.
        drop(peer);
    }
    for _ in 0..5 {
        stays
            .expect("participantJoined", json!({ "id": "quick" }))
            .await;
        stays
            .expect(
                "participantPublished",
                json!({ "id": "quick", "streams": webcam() }),
            )
            .await;
        stays
            .expect("participantLeft", json!({ "name": "quick" }))
            .await;
    }
    stays.expect_nothing().await;
}

#[tokio::test]
async fn unsubscribe_from_media() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &USERS).await;
    peers[0].publish().await;
    for peer in &mut peers[1..] {
        peer.receive("u0").await;
    }
    for peer in &mut peers[1..] {
        peer.ok("unsubscribeFromVideo", json!({ "sender": "u0_webcam" }))
            .await;
    }
    counts(&server, 1, 0).await;
}

//! kurento.md A2, A4 and A5: what can be asked, and what is refused.

use super::*;

#[tokio::test]
async fn join_room_names_the_others_and_streams_of_those_that_publish() {
    let server = Server::start(&[]).await;
    let (mut zero, others) = Peer::join(&server, "r", "u0").await;
    assert_eq!(others, json!([]));
    zero.publish().await;
    let (_one, others) = Peer::join(&server, "r", "u1").await;
    assert_eq!(others, json!([{ "id": "u0", "streams": webcam() }]));
    let (mut two, others) = Peer::join(&server, "r", "u2").await;
    assert_eq!(
        others,
        json!([{ "id": "u0", "streams": webcam() }, { "id": "u1" }])
    );
    zero.expect("participantJoined", json!({ "id": "u1" }))
        .await;
    zero.expect("participantJoined", json!({ "id": "u2" }))
        .await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn join_room_takes_more_parameters_and_any_name() {
    let server = Server::start(&[]).await;
    for user in ["a_b", "ä ö", "\"'<", "_"] {
        let mut peer = Peer::connect(&server).await;
        let params =
            json!({ "room": "r/\u{1f600}", "user": user, "dataChannels": true, "token": "t" });
        peer.ok("joinRoom", params).await;
        let (code, text) = peer
            .error("joinRoom", json!({ "room": "r/\u{1f600}", "user": user }))
            .await;
        assert_eq!(code, 104);
        assert_eq!(
            text,
            format!("User '{user}' already exists in room 'r/\u{1f600}'")
        );
    }
    let mut peer = Peer::connect(&server).await;
    let refused = peer
        .error("joinRoom", json!({ "room": "s", "user": "" }))
        .await;
    assert_eq!(refused, (999, "Empty user name is not allowed".to_owned()));
    let long = "x".repeat(30_000);
    assert_eq!(
        peer.code("joinRoom", json!({ "room": "s", "user": long }))
            .await,
        -1
    );
    assert_eq!(rooms_of(&server).await, json!(["r/\u{1f600}"]));
}

#[tokio::test]
async fn publish_video_answers_the_publisher_and_then_tells_the_others() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let answer = peers[0].publish().await;
    assert!(answer.contains("a=recvonly"), "{answer}");
    assert!(
        answer.contains("a=mid:0") && answer.contains("a=mid:1"),
        "{answer}"
    );
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    peers[0].expect_nothing().await;
}

#[tokio::test]
async fn loopback_is_asked_for_in_the_parameters_or_beside_them() {
    let server = Server::start(&[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    let params = json!({ "sdpOffer": offers::loopback(), "doLoopback": true });
    let answer = answer_of(&peer.ok("publishVideo", params).await);
    assert!(answer.contains("a=sendrecv"), "{answer}");
    peer.ok("unpublishVideo", json!({})).await;
    // As in the document's own example.
    let request = json!({
        "jsonrpc": "2.0", "method": "publishVideo", "id": 9,
        "params": { "sdpOffer": offers::loopback() }, "doLoopback": true,
    });
    peer.client.send_json(&request).await;
    let reply = peer.reply().await;
    assert!(
        answer_of(&reply["result"]).contains("a=sendrecv"),
        "{reply}"
    );
    peer.ok("unpublishVideo", json!({})).await;
    peer.ok("publishVideo", json!({ "sdpOffer": offers::publisher() }))
        .await;
}

#[tokio::test]
async fn a_bad_offer_is_302_and_leaves_the_room_as_it_was() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    for offer in ["", "x", "v=0\r\n", "v=0\r\nm=video"] {
        let (code, text) = peers[0]
            .error("publishVideo", json!({ "sdpOffer": offer }))
            .await;
        assert_eq!(code, 302, "{text}");
        assert!(
            text.starts_with("Error generating SDP response for publishing user a"),
            "{text}"
        );
    }
    peers[1].expect_nothing().await;
    let refused = peers[1].error("receiveVideoFrom", receive("a")).await;
    assert_eq!(
        refused,
        (105, "User 'a' not streaming media in room 'r'".to_owned())
    );
    peers[0].publish().await;
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    let bad = json!({ "sender": "a_webcam", "sdpOffer": "x" });
    let (code, text) = peers[1].error("receiveVideoFrom", bad).await;
    assert_eq!(code, 302, "{text}");
    assert!(
        text.starts_with("Unable to generate SDP answer when subscribing 'b' to 'a'"),
        "{text}"
    );
    peers[1].receive("a").await;
}

#[tokio::test]
async fn publishing_twice_is_refused_and_unpublishing_twice_too() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let not_publishing = (105, "Participant 'a' is not streaming media".to_owned());
    assert_eq!(
        peers[0].error("unpublishVideo", json!({})).await,
        not_publishing
    );
    peers[0].publish().await;
    assert_eq!(
        peers[0]
            .code("publishVideo", json!({ "sdpOffer": offers::publisher() }))
            .await,
        301
    );
    peers[1]
        .expect(
            "participantPublished",
            json!({ "id": "a", "streams": webcam() }),
        )
        .await;
    peers[0].ok("unpublishVideo", Value::Null).await;
    peers[1]
        .expect("participantUnpublished", json!({ "name": "a" }))
        .await;
    assert_eq!(
        peers[0].error("unpublishVideo", json!({})).await,
        not_publishing
    );
    peers[1].expect_nothing().await;
}

#[tokio::test]
async fn receive_video_from_answers_with_both_in_one_stream() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    let answer = peers[1].receive("a").await;
    assert!(
        answer.contains("a=sendonly") && !answer.contains("a=sendrecv"),
        "{answer}"
    );
    let streams = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=msid:"));
    let streams: Vec<_> = streams.filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(streams.len(), 2, "{answer}");
    assert_eq!(streams[0], streams[1], "{answer}");
}

#[tokio::test]
async fn one_may_receive_oneself_while_publishing() {
    let server = Server::start(&[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    assert_eq!(peer.code("receiveVideoFrom", receive("a")).await, 105);
    peer.publish().await;
    peer.receive("a").await;
    peer.ok("unpublishVideo", json!({})).await;
    assert_eq!(peer.code("receiveVideoFrom", receive("a")).await, 105);
}

#[tokio::test]
async fn receive_video_from_nobody_is_refused() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let (other, _) = Peer::join(&server, "s", "c").await;
    let mut other = other;
    other.publish().await;
    let refused = peers[1].error("receiveVideoFrom", receive("c")).await;
    assert_eq!(refused, (102, "User 'c' not found in room 'r'".to_owned()));
    assert_eq!(peers[1].code("receiveVideoFrom", receive("a")).await, 105);
    let no_stream = json!({ "sender": "a", "sdpOffer": offers::subscriber() });
    assert_eq!(peers[1].code("receiveVideoFrom", no_stream).await, -1);
    peers[0].publish().await;
    peers[1].receive("a").await;
    let (code, text) = peers[1].error("receiveVideoFrom", receive("a")).await;
    assert_eq!(code, 302);
    assert!(
        text.starts_with("Unable to generate SDP answer when subscribing 'b' to 'a'"),
        "{text}"
    );
}

#[tokio::test]
async fn unsubscribe_lets_one_receive_again() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    let sender = json!({ "sender": "a_webcam" });
    // Not subscribed: no error.
    peers[1].ok("unsubscribeFromVideo", sender.clone()).await;
    peers[1].receive("a").await;
    let done = peers[1].ok("unsubscribeFromVideo", sender).await;
    assert!(done.get("sdpAnswer").is_none(), "{done}");
    peers[1].receive("a").await;
    let refused = peers[1]
        .error("unsubscribeFromVideo", json!({ "sender": "z_webcam" }))
        .await;
    assert_eq!(refused, (102, "User 'z' not found in room 'r'".to_owned()));
}

#[tokio::test]
async fn candidates_may_come_early_and_for_anyone_and_with_a_text_as_index() {
    let server = Server::start(&[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    for of in ["a", "b", "nobody"] {
        let mut candidate = candidate(of);
        peer.ok("onIceCandidate", candidate.clone()).await;
        candidate["sdpMLineIndex"] = json!("1");
        peer.ok("onIceCandidate", candidate.clone()).await;
        candidate["sdpMLineIndex"] = json!("x");
        assert_eq!(peer.code("onIceCandidate", candidate).await, -1);
    }
    peer.publish().await;
    peer.ok("onIceCandidate", candidate("a")).await;
}

#[tokio::test]
async fn leave_room_is_answered_and_then_the_connection_is_closed() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b", "c", "d", "e"]).await;
    // Parameters may be an object, null, or none.
    for (name, request) in [
        ("e", r#"{"id":9,"method":"leaveRoom","params":[]}"#),
        ("d", r#"{"id":9,"method":"leaveRoom","params":{}}"#),
        ("c", r#"{"id":9,"method":"leaveRoom","params":null}"#),
        ("b", r#"{"id":9,"method":"leaveRoom"}"#),
    ] {
        let mut leaving = peers.pop().unwrap();
        leaving.client.send_text(request).await;
        let reply = leaving.reply().await;
        assert!(
            reply["id"] == 9 && reply["result"]["sessionId"].is_string(),
            "{reply}"
        );
        assert_eq!(leaving.closed().await.0, 1000);
        peers[0]
            .expect("participantLeft", json!({ "name": name }))
            .await;
        peers[0].expect_nothing().await;
    }
}

#[tokio::test]
async fn send_message_reaches_everyone_under_the_own_name() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    let say = |user: &str, room: &str| json!({ "message": "hi", "userMessage": user, "roomMessage": room });
    peers[0].ok("sendMessage", say("a", "r")).await;
    for peer in &mut peers {
        let said = json!({ "room": "r", "user": "a", "name": "a", "message": "hi" });
        peer.expect("sendMessage", said).await;
    }
    let text = "Provided username 'b' differs from the participant's name".to_owned();
    assert_eq!(
        peers[0].error("sendMessage", say("b", "r")).await,
        (102, text)
    );
    let text = "Provided room name 's' differs from the participant's room".to_owned();
    assert_eq!(
        peers[0].error("sendMessage", say("a", "s")).await,
        (202, text)
    );
    peers[1].expect_nothing().await;
}

#[tokio::test]
async fn outside_of_rooms_everything_is_102() {
    let server = Server::start(&[]).await;
    let mut peer = Peer::connect(&server).await;
    let id = peer.ok("connect", json!({})).await["sessionId"].clone();
    let text = format!(
        "No participant with id '{}' was found",
        id.as_str().unwrap()
    );
    for (method, params) in [
        ("publishVideo", json!({ "sdpOffer": offers::publisher() })),
        ("unpublishVideo", json!({})),
        ("receiveVideoFrom", receive("a")),
        ("unsubscribeFromVideo", json!({ "sender": "a_webcam" })),
        ("onIceCandidate", candidate("a")),
        (
            "sendMessage",
            json!({ "message": "m", "userMessage": "u", "roomMessage": "r" }),
        ),
        ("leaveRoom", json!({})),
    ] {
        assert_eq!(
            peer.error(method, params).await,
            (102, text.clone()),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a4_names_with_underscores_can_be_received() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a_b_c", "a"]).await;
    peers[0].publish().await;
    peers[1].receive("a_b_c").await;
}

#[tokio::test]
async fn a5_limits_have_their_codes() {
    let limits = "[limits]\nrooms = 1\nparticipants_per_room = 3\npublishers_per_room = 1\nkurento_sessions = 4";
    let server = Server::configured(limits, &[]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b", "c"]).await;
    let mut late = Peer::connect(&server).await;
    assert_eq!(
        late.code("joinRoom", json!({ "room": "r", "user": "d" }))
            .await,
        201
    );
    let refused = late
        .error("joinRoom", json!({ "room": "s", "user": "d" }))
        .await;
    assert_eq!(
        refused,
        (204, "No resources left to create new room".to_owned())
    );
    peers[0].publish().await;
    let offer = json!({ "sdpOffer": offers::publisher() });
    assert_eq!(peers[1].code("publishVideo", offer).await, 303);
    let mut fifth = Peer::connect(&server).await;
    assert_eq!(
        fifth
            .code("joinRoom", json!({ "room": "r", "user": "e" }))
            .await,
        999
    );
}

#[tokio::test]
async fn a5_the_planes_limit_is_303() {
    let server =
        Server::configured("[limits]\nmedia_endpoints = 1", &["--media-threads", "1"]).await;
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    let (code, text) = peers[1].error("receiveVideoFrom", receive("a")).await;
    assert_eq!(code, 303, "{text}");
}

//! kurento.md A6: REST, custom requests, and the admin API.

use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn all_rooms_are_named_by_any_verb() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/getAllRooms").await.body, "[]");
    let (_a, _) = Peer::join(&server, "b", "u").await;
    let (_b, _) = Peer::join(&server, "a", "u").await;
    for verb in ["GET", "POST", "PUT", "DELETE"] {
        let answer = server.request(verb, "/getAllRooms", "", "").await;
        assert_eq!((answer.status, answer.json()), (200, json!(["a", "b"])));
    }
}

#[tokio::test]
async fn pages_find_their_settings() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/getUpdateSpeakerInterval").await.body, "1800");
    assert_eq!(server.get("/getThresholdSpeaker").await.body, "-50");
    let defaults =
        json!({ "loopbackRemote": false, "loopbackAndLocal": false, "filterRequestParam": "hat" });
    assert_eq!(server.get("/getClientConfig").await.json(), defaults);
    let config = "[kurento]\nupdate_speaker_interval = 5\nthreshold_speaker = -7\nloopback_remote = true\nloopback_and_local = true\nfilter_request_param = \"marker\"";
    let server = Server::configured(config, &[]).await;
    assert_eq!(server.get("/getUpdateSpeakerInterval").await.body, "5");
    assert_eq!(server.get("/getThresholdSpeaker").await.body, "-7");
    let set =
        json!({ "loopbackRemote": true, "loopbackAndLocal": true, "filterRequestParam": "marker" });
    assert_eq!(server.get("/getClientConfig").await.json(), set);
}

#[tokio::test]
async fn rooms_are_closed_by_those_that_may() {
    let server = Server::start(&[]).await;
    let mut peers = Peer::room(&server, "r", &["a"]).await;
    assert_eq!(server.get("/close").await.status, 400);
    assert_eq!(server.get("/close?room=s").await.status, 404);
    // A page of another server, whoever looks at it.
    for (verb, path) in [
        ("GET", "/close?room=r"),
        ("POST", "/api/rooms/r"),
        ("DELETE", "/api/rooms/r/participants/a"),
    ] {
        for header in [
            "Origin: https://elsewhere.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            assert_eq!(
                server.request(verb, path, header, "").await.status,
                403,
                "{path}"
            );
        }
    }
    peers[0].expect_nothing().await;
    let done = server.request("DELETE", "/api/rooms/r", "", "").await;
    assert_eq!((done.status, done.json()), (200, json!({ "closed": 1 })));
    peers[0].expect("roomClosed", json!({ "room": "r" })).await;
    assert_eq!(
        server.request("POST", "/api/rooms/r", "", "").await.status,
        404
    );
}

#[tokio::test]
async fn the_admin_api_shows_who_receives_whom() {
    let server = Server::configured(SOON, &[]).await;
    let mut mesh = server.ws("/").await;
    for line in ["HELLO m", "ROOM k"] {
        mesh.send_text(line).await;
        mesh.recv_text().await;
    }
    let mut peers = Peer::room(&server, "r", &["a", "b"]).await;
    peers[0].publish().await;
    peers[1].receive("a").await;
    let unmuted = json!({ "audio": false, "video": false });
    let expected = json!([
        { "dialect": "gstreamer", "kind": "mesh", "id": "k", "members": ["m"] },
        { "dialect": "kurento", "kind": "forwarding", "id": "r", "members": ["a", "b"], "participants": [
            { "user": "a", "connection": 2, "publishing": true, "muted": unmuted, "receives": [], "away": false },
            { "user": "b", "connection": 3, "publishing": false, "muted": unmuted, "receives": ["a"], "away": false },
        ] },
    ]);
    // How the media does is told each second, and has tests of its own.
    let without_media = |mut rooms: Value| {
        for participant in rooms[1]["participants"].as_array_mut().unwrap() {
            participant.as_object_mut().unwrap().remove("media");
        }
        rooms
    };
    let rooms = server.get("/api/rooms").await.json();
    assert_eq!(without_media(rooms), expected);
    let rooms = server.get("/api/endpoints").await.json()["rooms"].take();
    assert_eq!(without_media(rooms), expected);
}

#[tokio::test]
async fn custom_requests_are_refused_where_nobody_answers_them() {
    let server = Server::start(&[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    let refused = peer.error("customRequest", json!({ "hat": true })).await;
    assert_eq!(
        refused,
        (
            -1,
            "java.lang.RuntimeException:Unsupported method".to_owned()
        )
    );
}

#[tokio::test]
async fn custom_requests_are_answered_by_the_hook() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hook = axum::Router::new().route(
        "/hook",
        post(
            async |Json(asked): Json<Value>| match asked["params"]["what"].as_str() {
                Some("echo") => Ok(Json(json!({ "asked": asked }))),
                Some("list") => Ok(Json(json!([1]))),
                Some("long") => Ok(Json(json!({ "long": "x".repeat(2_000) }))),
                _ => Err(StatusCode::FORBIDDEN),
            },
        ),
    );
    let running = tokio::spawn(async move { axum::serve(listener, hook).await });
    let config = format!(
        "[kurento]\ncustom_request_url = \"http://{address}/hook\"\n[limits]\ncustom_request = 20\ncustom_request_bytes = 2000"
    );
    let server = Server::configured(&config, &[]).await;
    let (mut peer, _) = Peer::join(&server, "r", "a").await;
    let result = peer
        .ok("customRequest", json!({ "what": "echo", "n": 1 }))
        .await;
    let asked = json!({ "room": "r", "user": "a", "sessionId": result["sessionId"], "params": { "what": "echo", "n": 1 } });
    assert_eq!(result["asked"], asked);
    for what in ["list", "nothing", "long"] {
        let (code, text) = peer.error("customRequest", json!({ "what": what })).await;
        assert_eq!(code, -1, "{text}");
    }
    running.abort();
    let _ = running.await;
    let (code, text) = peer.error("customRequest", json!({ "what": "echo" })).await;
    assert_eq!(code, -1, "{text}");
    // Where the hook is, is for the operator.
    assert!(!text.contains(&address.port().to_string()), "{text}");
    server.logged(&address.to_string()).await;
    peer.publish().await;
}

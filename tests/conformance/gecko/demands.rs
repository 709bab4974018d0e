//! gecko.md A2, A3: from the client to the gecko.

use super::*;

#[tokio::test]
async fn a_demand_reaches_the_gecko_with_the_documented_fields() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut hello = client_hello("anna");
    hello["more"] = 1.into();
    let mut client = server.ws("/").await;
    client.send_json(&hello).await;
    let mut demand = gecko.recv_json().await;
    let (user, worker) = (demand["userId"].take(), demand["workerId"].take());
    let expected = json!({
        "messageType": "new-worker", "userId": null, "workerId": null,
        "source": "https://example.org/worker.js", "webrtcOffer": OFFER,
    });
    assert_eq!(demand, expected);
    assert!(user.is_string());
    let worker = worker.as_str().unwrap();
    let shape: String = worker
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    assert_eq!(worker.as_bytes()[14], b'4', "{worker}");
}

#[tokio::test]
async fn one_token_is_one_user_and_another_is_another() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut users = Vec::new();
    for account in ["anna", "anna", "bert"] {
        let _client = client(&server, account).await;
        users.push(gecko.recv_json().await["userId"].clone());
    }
    assert!(users[0] == users[1] && users[1] != users[2], "{users:?}");
}

#[tokio::test]
async fn what_is_relayed_is_the_sender_s_own_text() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut client = server.ws("/").await;
    client
        .send_text(
            r#"{"webrtcOffer" : "v=0\r\n\u00e4","source":"pipeline:\u0074est", "action":"client-hello","authorization":"bearer t"}"#,
        )
        .await;
    let text = gecko.recv_text().await;
    assert!(text.contains(r#""source":"pipeline:\u0074est""#), "{text}");
    assert!(text.contains(r#""webrtcOffer":"v=0\r\n\u00e4""#), "{text}");
    client
        .send_text(r#"{"messageType":"ice","action":"client-candidate","candidate":{ "sdpMid":null,"sdpLineIndex":1.0 }}"#)
        .await;
    let text = gecko.recv_text().await;
    assert!(
        text.contains(r#""candidate":{ "sdpMid":null,"sdpLineIndex":1.0 }"#),
        "{text}"
    );
}

#[tokio::test]
async fn of_the_first_message_only_the_action_counts_and_the_scheme_in_any_case() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    for (kind, authorization) in [
        (json!("nonsense"), "Bearer a"),
        (json!(null), "bearer a"),
        (json!(1), "BEARER a b"),
    ] {
        let mut hello = client_hello("anna");
        hello["messageType"] = kind;
        hello["authorization"] = authorization.into();
        let mut client = server.ws("/").await;
        client.send_json(&hello).await;
        demanded(&mut gecko).await;
    }
}

#[tokio::test]
async fn candidates_go_on_at_once_before_and_after_the_answer_and_are_rebuilt() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    let mut first = client_ice(1);
    first["workerId"] = "not mine".into();
    first["more"] = json!([1]);
    client.send_json(&first).await;
    gecko.expect(ice("client-candidate", &worker, 1)).await;
    answer(&mut gecko, &mut client, &worker).await;
    client.send_json(&client_ice(2)).await;
    gecko.expect(ice("client-candidate", &worker, 2)).await;
    // The end of candidates is one too.
    let end = json!({"candidate": ""});
    client
        .send_json(&json!({"messageType": "ice", "action": "client-candidate", "candidate": end}))
        .await;
    assert_eq!(gecko.recv_json().await["candidate"], end);
}

#[tokio::test]
async fn candidates_sent_in_one_go_with_the_hello_follow_the_demand_in_order() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut client = client(&server, "anna").await;
    for n in 0..100 {
        client.send_json(&client_ice(n)).await;
    }
    let worker = demanded(&mut gecko).await;
    for n in 0..100 {
        gecko.expect(ice("client-candidate", &worker, n)).await;
    }
}

#[tokio::test]
async fn any_wrong_message_after_the_hello_is_an_error_and_ends_the_session() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut other_action = client_ice(1);
    other_action["action"] = "worker-candidate".into();
    for (message, text) in [
        (
            client_hello("anna").to_string(),
            "Wrong client ICE message type: ",
        ),
        (other_action.to_string(), "Wrong client ICE message type: "),
        (
            json!({"messageType": "ice", "action": "client-candidate"}).to_string(),
            "Wrong client ICE message type: ",
        ),
        (
            json!({"messageType": "what"}).to_string(),
            "Wrong client ICE message type: ",
        ),
        ("[1]".to_owned(), "Wrong client ICE message type: "),
        (
            "{\"messageT".to_owned(),
            "Message from client is not valid JSON: ",
        ),
        (String::new(), "Message from client is not valid JSON: "),
    ] {
        let mut client = client(&server, "anna").await;
        demanded(&mut gecko).await;
        client.send_text(&message).await;
        let expected = (400, None, format!("{text}{message}"));
        assert_eq!(error(&mut client).await, expected);
        assert_eq!(is_closed_next(&mut client).await, close(1000));
    }
    is_told_nothing(&mut gecko).await;
}

//! gecko.md A3, A4: from the gecko to the client.

use super::*;

#[tokio::test]
async fn a_registration_is_answered_by_nothing() {
    let server = Server::start(&[]).await;
    gecko(&server, "g").await;
}

#[tokio::test]
async fn an_answer_is_reshaped_and_a_second_one_passes_too() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    let mut created = created(&worker);
    created["more"] = 1.into();
    for _ in 0..2 {
        gecko.send_json(&created).await;
        client.expect(worker_hello(&worker)).await;
    }
}

#[tokio::test]
async fn a_failure_passes_verbatim_and_closes_the_client_with_1000() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    let mut client = client(&server, "anna").await;
    let worker = demanded(&mut gecko).await;
    let text = format!(
        r#"{{ "messageType":"worker-error", "workerId":"{worker}", "errno":201, "reason":"gone", "more":[1] }}"#
    );
    gecko.send_text(&text).await;
    assert_eq!(client.recv_text().await, text);
    assert_eq!(is_closed_next(&mut client).await, close(1000));
    is_told_nothing(&mut gecko).await;
}

#[tokio::test]
async fn an_errno_in_quotes_becomes_an_integer_and_one_that_is_none_304() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    for (sent, errno) in [
        (json!("203"), 203),
        (json!(" 202 "), 202),
        (json!("a lot"), 304),
        (json!(null), 304),
        (json!(2.5), 304),
    ] {
        let mut client = client(&server, "anna").await;
        let worker = demanded(&mut gecko).await;
        let mut failure = worker_error(Some(&worker), 0, "why");
        failure["errno"] = sent;
        failure["more"] = 1.into();
        gecko.send_json(&failure).await;
        failure["errno"] = errno.into();
        client.expect(failure).await;
        assert_eq!(is_closed_next(&mut client).await, close(1000));
    }
}

#[tokio::test]
async fn connected_passes_verbatim_and_closes_the_client_but_not_the_gecko() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut first, worker) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let other = demanded(&mut gecko).await;
    answer(&mut gecko, &mut first, &worker).await;
    let text = format!(r#"{{ "workerId": "{worker}", "messageType": "connected", "more": 1}}"#);
    gecko.send_text(&text).await;
    assert_eq!(first.recv_text().await, text);
    assert_eq!(is_closed_next(&mut first).await, close(1000));
    // What comes too late is dropped without a word.
    gecko.send_json(&ice("worker-candidate", &worker, 1)).await;
    gecko.send_json(&connected(&worker)).await;
    is_told_nothing(&mut gecko).await;
    answer(&mut gecko, &mut second, &other).await;
}

#[tokio::test]
async fn a_gecko_s_candidates_are_routed_by_their_worker() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut first, one) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let two = demanded(&mut gecko).await;
    for (n, (client, worker)) in [(&mut second, &two), (&mut first, &one)]
        .into_iter()
        .enumerate()
    {
        let n = u32::try_from(n).unwrap();
        gecko.send_json(&ice("worker-candidate", worker, n)).await;
        client.expect(ice("worker-candidate", worker, n)).await;
    }
}

fn nameless(candidate: Value) -> Value {
    json!({"messageType": "ice", "action": "worker-candidate", "candidate": candidate})
}

#[tokio::test]
async fn a_candidate_without_a_worker_goes_to_the_only_session() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    gecko.send_json(&nameless(candidate(1))).await;
    client.expect(ice("worker-candidate", &worker, 1)).await;
    answer(&mut gecko, &mut client, &worker).await;
    gecko.send_json(&nameless(candidate(2))).await;
    client.expect(ice("worker-candidate", &worker, 2)).await;
}

#[tokio::test]
async fn a_candidate_without_a_worker_goes_where_its_ufrag_was_in_the_answer() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut first, one) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let two = demanded(&mut gecko).await;
    for (client, worker, ufrag) in [(&mut first, &one, "aaaa"), (&mut second, &two, "bbbb")] {
        let sdp = format!("v=0\r\na=ice-ufrag:{ufrag}\r\n");
        let created =
            json!({"messageType": "worker-created", "workerId": worker, "webrtcAnswer": sdp});
        gecko.send_json(&created).await;
        assert_eq!(client.recv_json().await["webrtcAnswer"], sdp);
    }
    let in_line = json!({"candidate": "candidate:1 1 UDP 1 192.0.2.1 9 typ host generation 0 ufrag aaaa network-id 1"});
    let in_field = json!({"candidate": "candidate:1 1 UDP 1 192.0.2.1 9 typ host", "usernameFragment": "bbbb"});
    for (client, worker, candidate) in [(&mut first, &one, in_line), (&mut second, &two, in_field)]
    {
        gecko.send_json(&nameless(candidate.clone())).await;
        let mut expected = nameless(candidate);
        expected["workerId"] = worker.as_str().into();
        client.expect(expected).await;
    }
}

#[tokio::test]
async fn a_candidate_without_anything_goes_to_the_session_that_was_answered_last() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut first, one) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let two = demanded(&mut gecko).await;
    // Two sessions, none answered: it could be anyone's.
    gecko.send_json(&nameless(candidate(0))).await;
    assert_eq!(error(&mut gecko).await.0, 400);
    answer(&mut gecko, &mut second, &two).await;
    gecko.send_json(&nameless(candidate(1))).await;
    second.expect(ice("worker-candidate", &two, 1)).await;
    answer(&mut gecko, &mut first, &one).await;
    gecko.send_json(&nameless(candidate(2))).await;
    first.expect(ice("worker-candidate", &one, 2)).await;
    gecko.send_json(&connected(&one)).await;
    first.expect(connected(&one)).await;
    gecko.send_json(&nameless(candidate(3))).await;
    second.expect(ice("worker-candidate", &two, 3)).await;
    // Nobody is left that it could be for; the gecko stays.
    gecko.send_json(&connected(&two)).await;
    second.expect(connected(&two)).await;
    gecko.send_json(&nameless(candidate(4))).await;
    let (errno, worker, _) = error(&mut gecko).await;
    assert_eq!((errno, worker), (400, None));
    let mut third = client(&server, "carl").await;
    let three = demanded(&mut gecko).await;
    answer(&mut gecko, &mut third, &three).await;
}

#[tokio::test]
async fn only_its_own_gecko_may_speak_for_a_worker() {
    let server = Server::start(&[]).await;
    let (mut own, mut client, worker) = pair(&server).await;
    let mut other = gecko(&server, "other").await;
    for message in [
        created(&worker),
        ice("worker-candidate", &worker, 1),
        connected(&worker),
        worker_error(Some(&worker), 203, "a lie"),
    ] {
        other.send_json(&message).await;
        let (errno, named, _) = error(&mut other).await;
        assert_eq!((errno, named.as_deref()), (404, Some(&*worker)));
    }
    other.send_json(&created("no-uuid")).await;
    let (errno, named, _) = error(&mut other).await;
    assert_eq!((errno, named.as_deref()), (404, Some("no-uuid")));
    answer(&mut own, &mut client, &worker).await;
}

#[tokio::test]
async fn a_message_of_another_type_is_told_to_both_and_the_session_goes_on() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut client, worker) = pair(&server).await;
    for wrong in [
        json!({"messageType": "what", "workerId": worker}),
        json!({"messageType": "worker-created", "workerId": worker}),
        json!({"messageType": "ice", "workerId": worker}),
    ] {
        gecko.send_json(&wrong).await;
        let text = format!("Wrong message from Gecko: {wrong}");
        gecko.expect(worker_error(Some(&worker), 400, &text)).await;
        client.expect(worker_error(Some(&worker), 304, &text)).await;
    }
    answer(&mut gecko, &mut client, &worker).await;
}

#[tokio::test]
async fn what_is_no_json_ends_the_only_session_that_it_can_be_about() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut client, _) = pair(&server).await;
    gecko.send_text("{\"messageT").await;
    assert_eq!(error(&mut gecko).await.0, 400);
    let text = "Wrong JSON gecko message: {\"messageT";
    client.expect(worker_error(None, 304, text)).await;
    assert_eq!(is_closed_next(&mut client).await, close(1000));
}

#[tokio::test]
async fn what_is_no_json_and_can_be_about_several_sessions_ends_none() {
    let server = Server::start(&[]).await;
    let (mut gecko, mut first, one) = pair(&server).await;
    let mut second = client(&server, "bert").await;
    let two = demanded(&mut gecko).await;
    gecko.send_text("?").await;
    assert_eq!(error(&mut gecko).await.0, 400);
    answer(&mut gecko, &mut first, &one).await;
    answer(&mut gecko, &mut second, &two).await;
}

#[tokio::test]
async fn a_gecko_hello_that_is_none_is_told_and_closed() {
    let server = Server::start(&[]).await;
    for (hello, errno, code) in [
        ("{\"act".to_owned(), 400, 1011),
        ("[]".to_owned(), 400, 1011),
        (json!({"action": "worker-hello"}).to_string(), 400, 1011),
        (gecko_hello("").to_string(), 400, 1011),
        (gecko_hello(&"x".repeat(20_001)).to_string(), 400, 1011),
        (
            json!({"action": "worker-hello", "geckoId": 7}).to_string(),
            400,
            1011,
        ),
        (
            json!({"action": "client-hello", "geckoId": "g"}).to_string(),
            404,
            1000,
        ),
        ("{}".to_owned(), 404, 1000),
    ] {
        let mut gecko = server.ws("/worker").await;
        gecko.send_text(&hello).await;
        assert_eq!(error(&mut gecko).await.0, errno, "{hello}");
        assert_eq!(is_closed_next(&mut gecko).await, close(code), "{hello}");
    }
}

#[tokio::test]
async fn a_second_hello_is_an_error_and_changes_nothing() {
    let server = Server::start(&[]).await;
    let mut gecko = gecko(&server, "g").await;
    gecko.send_json(&gecko_hello("other")).await;
    assert_eq!(error(&mut gecko).await.0, 400);
    let mut client = client(&server, "anna").await;
    let worker = demanded(&mut gecko).await;
    answer(&mut gecko, &mut client, &worker).await;
}

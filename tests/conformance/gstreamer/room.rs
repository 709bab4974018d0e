//! gst.md A.6: rooms.

use super::Peer;
use crate::common::Server;

#[tokio::test]
async fn the_first_member_gets_a_blank_and_the_next_ones_get_the_others() {
    let server = Server::start(&[]).await;
    let mut a = Peer::hello(&server, "a").await;
    a.gets("ROOM r", "ROOM_OK ").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a").await;
    a.hears("ROOM_PEER_JOINED b").await;
    let mut c = Peer::hello(&server, "c").await;
    c.say("ROOM   r").await;
    let mut ids: Vec<_> = c.line().await.split(' ').map(str::to_owned).collect();
    ids[1..].sort();
    assert_eq!(ids, ["ROOM_OK", "a", "b"]);
    a.hears("ROOM_PEER_JOINED c").await;
    b.hears("ROOM_PEER_JOINED c").await;
    // Another room is another room.
    let _d = Peer::first_in(&server, "d", "R").await;
    for member in [&mut a, &mut b, &mut c] {
        member.hears_nothing_in_room().await;
    }
}

#[tokio::test]
async fn a_room_needs_one_word_for_an_id_and_any_but_one_will_do() {
    let server = Server::configured("[limits]\nid_bytes = 100", &[]).await;
    let mut peer = Peer::hello(&server, "me").await;
    let long = "x".repeat(101);
    for (said, shown) in [
        ("ROOM session", "'session'"),
        ("ROOM a b", "'a b'"),
        ("ROOM a ", "'a '"),
        ("ROOM a\tb", r"'a\tb'"),
        ("ROOM it's me", r#""it's me""#),
        ("ROOM", "''"),
        ("ROOM  ", "''"),
        (&*format!("ROOM {long}"), &*format!("'{long}'")),
    ] {
        peer.gets(said, &format!("ERROR invalid room id {shown}"))
            .await;
    }
    peer.gets("ROOM ROOM_PEER_LIST→😀", "ROOM_OK ").await;
}

#[tokio::test]
async fn messages_reach_the_named_member_as_they_were_sent() {
    let server = Server::start(&[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a").await;
    a.hears("ROOM_PEER_JOINED b").await;
    for (said, heard) in [
        ("ROOM_PEER_MSG b hi", "ROOM_PEER_MSG a hi"),
        ("ROOM_PEER_MSG   b \t hi", "ROOM_PEER_MSG a hi"),
        ("ROOM_PEER_MSG b a  b\n c ", "ROOM_PEER_MSG a a  b\n c "),
        (
            "ROOM_PEER_MSG b ROOM_PEER_MSG b x",
            "ROOM_PEER_MSG a ROOM_PEER_MSG b x",
        ),
        (
            "ROOM_PEER_MSG b {\"ice\": {}}",
            "ROOM_PEER_MSG a {\"ice\": {}}",
        ),
    ] {
        a.say(said).await;
        b.hears(heard).await;
    }
    // No acknowledgement; to oneself it works.
    a.gets("ROOM_PEER_MSG a me", "ROOM_PEER_MSG a me").await;
}

#[tokio::test]
async fn a_message_to_nobody_here_is_an_error() {
    let server = Server::start(&[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    let _idle = Peer::hello(&server, "idle").await;
    let _elsewhere = Peer::first_in(&server, "else", "other").await;
    a.gets("ROOM_PEER_MSG ghost hi", "ERROR peer 'ghost' not found")
        .await;
    a.gets("ROOM_PEER_MSG it's hi", "ERROR peer \"it's\" not found")
        .await;
    for id in ["idle", "else"] {
        let error = format!("ERROR peer '{id}' is not in the room");
        a.gets(&format!("ROOM_PEER_MSG {id} hi"), &error).await;
    }
}

#[tokio::test]
async fn a_message_to_a_member_that_has_just_left_is_dropped_and_later_it_is_an_error() {
    let server = Server::configured("[limits]\njust_left = 3", &[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a").await;
    a.hears("ROOM_PEER_JOINED b").await;
    b.close().await;
    a.hears("ROOM_PEER_LEFT b").await;
    let left = std::time::Instant::now();
    a.say("ROOM_PEER_MSG b late").await;
    let next = a.next_line_after_marker().await;
    if left.elapsed() < std::time::Duration::from_secs(2) {
        assert_eq!(next, None);
    }
    // Also when it is back, but elsewhere.
    let _b = Peer::hello(&server, "b").await;
    let mut answer = None;
    while answer.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        a.say("ROOM_PEER_MSG b late").await;
        answer = a.next_line_after_marker().await;
    }
    assert_eq!(answer.unwrap(), "ERROR peer 'b' is not in the room");
    assert!(left.elapsed() > std::time::Duration::from_millis(2_500));
}

#[tokio::test]
async fn the_list_names_the_others_and_mirrors_the_blank() {
    let server = Server::start(&[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    a.gets("ROOM_PEER_LIST", "ROOM_PEER_LIST ").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a").await;
    a.hears("ROOM_PEER_JOINED b").await;
    a.gets("ROOM_PEER_LIST", "ROOM_PEER_LIST b").await;
    b.gets("ROOM_PEER_LIST", "ROOM_PEER_LIST a").await;
}

#[tokio::test]
async fn anything_else_in_a_room_is_an_error_and_the_member_stays() {
    let server = Server::start(&[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    let _idle = Peer::hello(&server, "idle").await;
    for said in [
        "ROOM r",
        "ROOM other",
        "ROOM",
        "SESSION idle",
        "SESSION",
        "junk",
        "",
        "ROOM_PEER_LIST ",
        "ROOM_PEER_MSGX b c",
        "HELLO a",
    ] {
        a.gets(said, "ERROR invalid msg, already in room").await;
    }
    for said in ["ROOM_PEER_MSG", "ROOM_PEER_MSG idle", "ROOM_PEER_MSG idle "] {
        a.say(said).await;
        let line = a.line().await;
        assert!(line.starts_with("ERROR invalid msg"), "{said}: {line}");
    }
    a.say_binary(b"ROOM_PEER_LIST").await;
    assert!(a.line().await.starts_with("ERROR invalid msg"));
    a.gets("ROOM_PEER_LIST", "ROOM_PEER_LIST ").await;
}

#[tokio::test]
async fn who_goes_is_told_to_the_others_once_and_they_stay() {
    let server = Server::start(&[]).await;
    let mut a = Peer::first_in(&server, "a", "r").await;
    for round in 0..6 {
        let mut b = Peer::hello(&server, "b").await;
        b.gets("ROOM r", "ROOM_OK a").await;
        a.hears("ROOM_PEER_JOINED b").await;
        b.say("ROOM_PEER_MSG a bye").await;
        match round % 3 {
            0 => b.close().await,
            1 => drop(b),
            // A reset may overtake what was said before it.
            _ => {
                a.hears("ROOM_PEER_MSG b bye").await;
                b.reset();
            }
        }
        if round % 3 != 2 {
            a.hears("ROOM_PEER_MSG b bye").await;
        }
        a.hears("ROOM_PEER_LEFT b").await;
    }
    a.hears_nothing_in_room().await;
}

#[tokio::test]
async fn an_emptied_room_is_new_again() {
    let server = Server::start(&[]).await;
    for _ in 0..5 {
        Peer::first_in(&server, "a", "r").await.close().await;
    }
    server.wait_for_metric("switchboard_rooms", 0.0).await;
}

#[tokio::test]
async fn a_full_room_and_a_full_server_say_so_and_the_peer_may_try_again() {
    let server = Server::configured("[limits]\nmembers_per_room = 2\nrooms = 2", &[]).await;
    let _a = Peer::first_in(&server, "a", "r").await;
    let mut b = Peer::hello(&server, "b").await;
    b.gets("ROOM r", "ROOM_OK a").await;
    let mut c = Peer::hello(&server, "c").await;
    c.gets("ROOM r", "ERROR room full, no more than 2 peers are taken")
        .await;
    c.gets("ROOM s", "ROOM_OK ").await;
    let mut d = Peer::hello(&server, "d").await;
    d.gets("ROOM t", "ERROR too many rooms, no more than 2 are taken")
        .await;
    c.close().await;
    server.wait_for_metric("switchboard_rooms", 1.0).await;
    d.gets("ROOM t", "ROOM_OK ").await;
}

impl Peer {
    /// What a member hears before the answer to a marker; `None` if nothing.
    async fn next_line_after_marker(&mut self) -> Option<String> {
        const ANSWER: &str = "ERROR invalid msg, already in room";
        self.say("?").await;
        let line = self.line().await;
        if line == ANSWER {
            return None;
        }
        self.hears(ANSWER).await;
        Some(line)
    }
}

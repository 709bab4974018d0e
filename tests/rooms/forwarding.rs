//! Media: what a publisher sends is what its subscribers get.

use std::time::{Duration, Instant};

use str0m::media::Direction;
use switchboard::rooms::{ChannelUse, Event, Failure};

use crate::client::{Client, Codecs, Wish, until};
use crate::house::{House, number, receiving, sending, stream, vp8};

#[test]
fn video_and_audio_arrive_under_the_numbers_of_the_subscriber() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    // Before the second subscriber comes, the publisher's numbers roll over.
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    stream(&mut publisher, &mut subscriber, 65_500, 60);
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(109, 120), key);
    stream(&mut publisher, &mut subscriber, 65_700, 50);
    let video = subscriber.of(subscriber.video);
    assert!(video.iter().all(|p| *p.header.payload_type == 120));
    assert!(video.iter().all(|p| p.seq_no.roc() == 0));
    for pair in video.windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1);
        assert_eq!(number(&pair[1].payload), number(&pair[0].payload) + 1);
        assert_eq!(pair[1].header.timestamp - pair[0].header.timestamp, 3000);
    }
    let audio = subscriber.of(subscriber.audio);
    assert!(!audio.is_empty());
    assert!(audio.iter().all(|p| *p.header.payload_type == 109));
    assert!(audio.iter().all(|p| &*p.payload == b"opus"));
}

#[test]
fn a_loopback_publisher_gets_its_own_media_on_the_same_connection() {
    let mut house = House::new();
    let both = Wish {
        audio: Some(Direction::SendRecv),
        video: Some(Direction::SendRecv),
        ..Wish::default()
    };
    let (mut client, offer) = Client::new(Codecs::vp8(111, 96), &both);
    let (_, answer) = house.offer(&offer, true);
    let answer = answer.unwrap();
    assert_eq!(answer.matches("a=sendrecv").count(), 2);
    client.answer(&answer);
    until("connected", &mut [&mut client], |c| c[0].connected);
    let (mut n, mut last) = (0, Instant::now());
    until("own video", &mut [&mut client], |c| {
        if last.elapsed() >= Duration::from_millis(5) {
            last = Instant::now();
            c[0].send_video(n, &vp8(n as u16, n == 0, 900));
            n += 1;
        }
        c[0].packets.len() >= 20
    });
}

#[test]
fn a_late_joiner_makes_the_publisher_send_a_keyframe() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut first) = house.subscriber(Codecs::vp8(111, 96), key);
    stream(&mut publisher, &mut first, 1, 10);
    publisher.keyframes_wanted.clear();
    let (_, mut second) = house.subscriber(Codecs::vp8(111, 96), key);
    until(
        "keyframe request",
        &mut [&mut publisher, &mut second],
        |c| !c[0].keyframes_wanted.is_empty(),
    );
}

#[test]
fn many_keyframe_requests_become_one_per_half_second_and_the_last_is_not_lost() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    stream(&mut publisher, &mut subscriber, 1, 10);
    publisher.keyframes_wanted.clear();
    let ssrc = subscriber.of(subscriber.video)[0].header.ssrc;
    let begin = Instant::now();
    let mut asked = Instant::now();
    until(
        "a second of requests",
        &mut [&mut publisher, &mut subscriber],
        |c| {
            if asked.elapsed() > Duration::from_millis(20) {
                asked = Instant::now();
                c[1].want_keyframe(ssrc);
            }
            begin.elapsed() > Duration::from_millis(1200)
        },
    );
    let end = Instant::now();
    until(
        "the last request",
        &mut [&mut publisher, &mut subscriber],
        |c| {
            c[0].keyframes_wanted
                .last()
                .is_some_and(|(at, _)| *at + Duration::from_millis(600) > end)
        },
    );
    let times: Vec<_> = publisher
        .keyframes_wanted
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert!(times.len() >= 2);
    // From the first to the third it is a second, of which a loaded machine may take half by delaying the
    // first on its way.
    for three in times.windows(3) {
        assert!(
            three[2] - three[0] > Duration::from_millis(500),
            "{times:?}"
        );
    }
}

#[test]
fn lost_video_is_sent_again_on_both_ways() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    let mut seen = 0;
    // One in twenty of what is large, so of the media.
    subscriber.lose = Box::new(move |bytes| {
        seen += usize::from(bytes.len() > 500);
        bytes.len() > 500 && seen % 20 == 7
    });
    stream(&mut publisher, &mut subscriber, 1, 200);
    let complete = |client: &Client| {
        let mut seqs: Vec<_> = client.of(client.video).iter().map(|p| *p.seq_no).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs.last().unwrap() - seqs[0] + 1 == seqs.len() as u64
    };
    until("no gaps", &mut [&mut publisher, &mut subscriber], |c| {
        complete(c[1])
    });
}

#[test]
fn data_channels_of_one_name_are_joined() {
    let mut house = House::new();
    let wish = Wish {
        channel: Some("chat"),
        ..sending()
    };
    let (_, mut one) = house.publisher(Codecs::vp8(111, 96), &wish);
    let (_, mut two) = house.publisher(Codecs::vp8(111, 96), &wish);
    until("channels open", &mut [&mut one, &mut two], |c| {
        c.iter().all(|c| !c.channels.is_empty())
    });
    one.write(false, b"hello");
    one.write(true, &[1, 2, 3]);
    until("messages", &mut [&mut one, &mut two], |c| {
        c[1].messages.len() == 2
    });
    assert_eq!(two.messages[0], (false, b"hello".to_vec()));
    assert_eq!(two.messages[1], (true, vec![1, 2, 3]));
    assert!(one.messages.is_empty());
}

#[test]
fn who_may_not_say_or_hear_anything_has_data_channels_for_nothing() {
    let mut house = House::new();
    let wish = Wish {
        channel: Some("chat"),
        ..sending()
    };
    let mut publisher = |says, hears| {
        house.channels = ChannelUse { says, hears };
        house.publisher(Codecs::vp8(111, 96), &wish).1
    };
    let (mut mute, mut deaf) = (publisher(false, true), publisher(true, false));
    let mut free = publisher(true, true);
    until(
        "channels open",
        &mut [&mut mute, &mut deaf, &mut free],
        |c| c.iter().all(|c| !c.channels.is_empty()),
    );
    mute.write(false, b"from the mute");
    deaf.write(false, b"from the deaf");
    until("a message", &mut [&mut mute, &mut deaf, &mut free], |c| {
        !c[0].messages.is_empty() && !c[2].messages.is_empty()
    });
    // What comes after all others shows that nothing else comes.
    free.write(false, b"from the free");
    until("the last", &mut [&mut mute, &mut deaf, &mut free], |c| {
        c[0].messages.len() == 2
    });
    assert_eq!(mute.messages[0].1, b"from the deaf");
    assert_eq!(mute.messages[1].1, b"from the free");
    assert_eq!(free.messages, [(false, b"from the deaf".to_vec())]);
    assert!(deaf.messages.is_empty());
}

#[test]
fn unpublishing_closes_the_subscribers_connections() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    stream(&mut publisher, &mut subscriber, 1, 3);
    house.remove(key);
    until("closed", &mut [&mut publisher, &mut subscriber], |c| {
        c.iter().all(|c| c.closed)
    });
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &receiving());
    assert!(house.ask(key, &offer).1.is_err());
}

#[test]
fn a_peer_that_closes_its_connection_has_failed() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    publisher.rtc.close().unwrap();
    publisher.turn(true);
    loop {
        if let Event::Failed { endpoint, why } = house.event() {
            assert_eq!((endpoint, why), (key, Failure::Closed));
            break;
        }
    }
}

#[test]
fn a_check_with_a_spoofed_source_takes_nobodys_packets() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    // A participant's own credentials, from the publisher's address.
    let (mut thief, offer) = Client::new(Codecs::vp8(111, 96), &receiving());
    let (_, answer) = house.ask(key, &offer);
    thief.answer(&answer.unwrap());
    std::mem::swap(&mut thief.socket, &mut publisher.socket);
    let begin = Instant::now();
    until("the thief has tried", &mut [&mut thief], |_| {
        begin.elapsed() > Duration::from_millis(300)
    });
    std::mem::swap(&mut thief.socket, &mut publisher.socket);
    stream(&mut publisher, &mut subscriber, 1, 20);
}

#[test]
fn garbage_from_a_peers_address_harms_nothing() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    let to = house.plane.addresses()[0];
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_usize {
        let mut bytes = vec![0; 1 + round % 1_300];
        for byte in &mut bytes {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            *byte = noise as u8;
        }
        // Check, DTLS handshake, alert and data, RTP, RTCP.
        bytes[0] = [0, 22, 21, 23, 0x80, 0x80, 0x90, bytes[0]][round % 8];
        if let Some(kind) = bytes.get_mut(1) {
            *kind = [1, 96, 111, 200, 205, 206, *kind][round % 7];
        }
        publisher.socket.send_to(&bytes, to).unwrap();
    }
    stream(&mut publisher, &mut subscriber, 1, 20);
}

#[test]
fn the_end_of_the_plane_closes_every_connection() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut subscriber) = house.subscriber(Codecs::vp8(111, 96), key);
    drop(house);
    until("closed", &mut [&mut publisher, &mut subscriber], |c| {
        c.iter().all(|c| c.closed)
    });
}

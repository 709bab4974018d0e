//! Offers and answers.

use std::collections::HashSet;
use std::time::Duration;

use str0m::format::Codec;
use switchboard::rooms::{Config, Event, Failure, MediaError, Reach};

use crate::client::{Client, Codecs, Wish, until};
use crate::house::{House, config, receiving, sending};

const H264: (u8, Codec, &str) = (
    100,
    Codec::H264,
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
);

fn video(video: &[(u8, Codec, &'static str)]) -> Codecs {
    Codecs {
        opus: 111,
        video: video.to_vec(),
    }
}

#[test]
fn audio_and_video_of_an_answer_are_one_stream() {
    let mut house = House::new();
    let (key, _publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, offer) = Client::new(Codecs::vp8(109, 120), &receiving());
    let answer = house.ask(key, &offer).1.unwrap();
    assert_eq!(streams_of(&answer).len(), 1, "{answer}");
    assert!(!streams_of(&answer).contains("-"));
    assert_eq!(answer.matches("a=sendonly").count(), 2);
    assert!(answer.contains("a=setup:passive") && answer.contains("a=ice-lite"));
    assert!(answer.contains(" typ host"));
}

fn streams_of(answer: &str) -> HashSet<&str> {
    answer
        .lines()
        .filter_map(|line| line.split_once("msid:")?.1.split(' ').next())
        .collect()
}

/// Kurento's pages listen to each stream for speech, and fail at one that has no audio.
#[test]
fn who_receives_a_publisher_without_sound_gets_a_silent_track_in_the_same_stream() {
    let mut house = House::new();
    let silent = Wish {
        audio: None,
        ..sending()
    };
    let (key, _publisher) = house.publisher(Codecs::vp8(111, 96), &silent);
    let (_, offer) = Client::new(Codecs::vp8(109, 120), &receiving());
    let answer = house.ask(key, &offer).1.unwrap();
    assert_eq!(streams_of(&answer).len(), 1, "{answer}");
    let (head, video) = answer.split_once("m=video").unwrap();
    let (_, audio) = head.split_once("m=audio 9").unwrap();
    for section in [audio, video] {
        assert!(
            section.contains("a=sendonly") && section.contains("a=msid:"),
            "{answer}"
        );
    }
    assert!(!audio.contains("a=ssrc") && video.contains("a=ssrc"));
}

#[test]
fn a_publisher_is_told_its_limit_and_gets_no_stream() {
    let mut house = House::with(Config {
        max_bitrate: 1_000_000,
        ..config()
    });
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let answer = house.offer(&offer, false).1.unwrap();
    assert!(answer.contains("b=TIAS:1300000\r\n"), "{answer}");
    assert_eq!(answer.matches("a=recvonly").count(), 2);
    assert!(!answer.contains("a=ssrc") && !answer.contains("a=msid:"));
}

#[test]
fn the_first_publisher_pins_the_video_codec_until_the_last_has_left() {
    let mut house = House::new();
    let h264 = video(&[H264]);
    let (first, _client) = house.publisher(h264, &sending());
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let why = house.offer(&offer, false).1.unwrap_err();
    let expected = MediaError::NoCodec {
        room: vec!["H264".to_owned()],
        offered: vec!["VP8".to_owned()],
    };
    assert_eq!(why, expected);
    let both = video(&[(96, Codec::Vp8, ""), H264]);
    let (_, offer) = Client::new(both, &sending());
    let (second, answer) = house.offer(&offer, false);
    let answer = answer.unwrap();
    assert!(answer.contains("H264/90000") && !answer.contains("VP8"));
    house.remove(first);
    house.remove(second);
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    assert!(house.offer(&offer, false).1.is_ok());
}

#[test]
fn a_publisher_of_several_codecs_sends_the_rooms_first() {
    let mut house = House::new();
    let (_, offer) = Client::new(video(&[H264, (96, Codec::Vp8, "")]), &sending());
    let answer = house.offer(&offer, false).1.unwrap();
    assert!(answer.contains("VP8/90000") && !answer.contains("H264"));
}

#[test]
fn a_subscriber_that_cannot_decode_is_told() {
    let mut house = House::new();
    let (key, _publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, offer) = Client::new(video(&[H264]), &receiving());
    let why = house.ask(key, &offer).1.unwrap_err();
    assert!(matches!(why, MediaError::NoCodec { .. }), "{why}");
    assert!(why.to_string().contains("VP8") && why.to_string().contains("H264"));
}

#[test]
fn malformed_offers_are_refused_and_change_nothing() {
    let mut house = House::new();
    let (_, good) = Client::new(Codecs::vp8(111, 96), &sending());
    let bad = [
        String::new(),
        "v=0".to_owned(),
        "\0\u{ffff}m=".to_owned(),
        good.replace("a=group:BUNDLE", "a=group:XUNDLE"),
        good.replace("a=fingerprint", "a=fingerprung"),
        good.replace("a=ice-ufrag", "a=ice-afrug"),
        good.replace("a=mid:", "a=mud:"),
        good.replace("m=video", "m=video x"),
        good.replace("rtpmap:96 ", "rtpmap:111 "),
        good.replace("sendonly", "inactive"),
        good[..good.len() / 8].to_owned(),
        format!("{good}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(1000)),
        format!("{good}{}", "a=ssrc:1 cname:x\r\n".repeat(1000)),
    ];
    for offer in bad {
        let outcome = house.offer(&offer, false).1;
        assert!(outcome.is_err(), "{offer}");
    }
    assert!(house.offer(&good, false).1.is_ok());
}

#[test]
fn mutilated_offers_never_stop_the_plane() {
    let mut house = House::new();
    let (_, good) = Client::new(Codecs::vp8(111, 96), &sending());
    let lines: Vec<_> = good.lines().collect();
    for skip in 0..lines.len() {
        let mut less = lines.clone();
        let line = less.remove(skip);
        let _ = house.offer(&(less.join("\r\n") + "\r\n"), false);
        less.insert(skip, &line[..line.len() / 2]);
        let _ = house.offer(&(less.join("\r\n") + "\r\n"), true);
        less.insert(skip / 2, line);
        let _ = house.offer(&(less.join("\r\n") + "\r\n"), false);
    }
    assert!(house.offer(&good, false).1.is_ok());
}

#[test]
fn candidates_in_an_offer_are_passed_over() {
    let mut house = House::new();
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let strange = [
        "a=candidate:1 1 udp 1 8b7b2c7f-0c5e-4c0e-8f7c-111111111111.local 9 typ host",
        "a=candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active",
        "a=candidate:nonsense",
        "a=end-of-candidates",
    ];
    let offer = offer.replace("a=mid:", &format!("{}\r\na=mid:", strange.join("\r\n")));
    house.offer(&offer, false).1.unwrap();
}

#[test]
fn who_shows_another_certificate_than_it_offered_is_not_connected() {
    let mut house = House::new();
    let (mut client, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let mark = "a=fingerprint:sha-256 ";
    let at = offer.find(mark).unwrap() + mark.len();
    let own = &offer[at..at + 2];
    let other = if own == "00" { "01" } else { "00" };
    let forged = offer.replace(&format!("{mark}{own}"), &format!("{mark}{other}"));
    let (key, answer) = house.offer(&forged, false);
    client.answer(&answer.unwrap());
    let mut end = None;
    until("its end", &mut [&mut client], |_| {
        end = house.events.try_iter().find_map(|event| match event {
            Event::Failed { endpoint, why } => Some((endpoint, why)),
            Event::Connected { .. } => panic!("it is connected"),
            _ => None,
        });
        end.is_some()
    });
    let (endpoint, why) = end.unwrap();
    assert_eq!(endpoint, key);
    assert!(matches!(why, Failure::Protocol(_)), "{why}");
}

#[test]
fn one_endpoint_too_many_is_refused_until_another_leaves() {
    let mut house = House::with(Config {
        threads: 2,
        endpoints: 1,
        ..config()
    });
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let (key, answer) = house.offer(&offer, false);
    answer.unwrap();
    assert_eq!(
        house.offer(&offer, false).1.unwrap_err(),
        MediaError::Full(1)
    );
    house.remove(key);
    house.offer(&offer, false).1.unwrap();
}

#[test]
fn a_peer_that_never_connects_fails_in_time() {
    let mut house = House::with(Config {
        connect: Duration::from_millis(300),
        ..config()
    });
    let (_, offer) = Client::new(Codecs::vp8(111, 96), &sending());
    let (key, answer) = house.offer(&offer, false);
    answer.unwrap();
    loop {
        if let Event::Failed { endpoint, why } = house.event() {
            assert_eq!(endpoint, key);
            let Failure::NeverConnected(why) = why else {
                panic!("{why}");
            };
            assert_eq!(
                (why.reach, why.reach.reason()),
                (Reach::Nothing, "no_packets")
            );
            assert_eq!(why.udp, house.plane.addresses());
            break;
        }
    }
}

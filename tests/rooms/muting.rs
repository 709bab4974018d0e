//! A publisher that is muted: nobody gets its sound or its picture, and nobody sees a loss.

use std::time::{Duration, Instant};

use crate::camera::{Camera, RATE, shown};
use crate::client::{Client, Codecs, Wish, until};
use crate::house::{House, sending};

/// How long nothing must come before it counts as stopped.
const SILENCE: Duration = Duration::from_millis(400);
const BITRATE: usize = 400_000;

/// How much a subscriber has got: packets of sound, and of the picture.
fn got(client: &Client) -> [usize; 2] {
    [client.audio, client.video].map(|mid| client.of(mid).len())
}

/// Runs publisher and subscribers until one kind of packet hasn't come to any for a while.
fn until_silent(what: &str, kind: usize, camera: &mut Camera, clients: &mut [&mut Client]) {
    let (mut last, mut since) = (Vec::new(), Instant::now());
    until(what, clients, |c| {
        camera.turn(c[0]);
        let now: Vec<_> = c[1..].iter().map(|it| got(it)[kind]).collect();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= SILENCE
    });
}

/// Runs them until each has got so many more.
fn until_more(what: &str, more: [usize; 2], camera: &mut Camera, clients: &mut [&mut Client]) {
    let before: Vec<_> = clients[1..].iter().map(|it| got(it)).collect();
    until(what, clients, |c| {
        camera.turn(c[0]);
        let mut each = c[1..].iter().zip(&before);
        each.all(|(it, before)| (0..2).all(|kind| got(it)[kind] >= before[kind] + more[kind]))
    });
}

/// All that came is numbered without a gap.
fn assert_unbroken(client: &Client) {
    for mid in [client.audio, client.video] {
        let mut numbers: Vec<u64> = client.of(mid).iter().map(|it| *it.seq_no).collect();
        numbers.sort_unstable();
        let gaps: Vec<_> = numbers.windows(2).filter(|it| it[1] != it[0] + 1).collect();
        assert!(gaps.is_empty(), "{gaps:?}");
    }
}

/// Whether a packet of the camera is of a keyframe.
fn is_key(payload: &[u8]) -> bool {
    payload[14] != 0
}

#[test]
fn sound_and_picture_stop_and_come_back_without_a_gap() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut one) = house.subscriber(Codecs::vp8(111, 96), key);
    let mut camera = Camera::single(BITRATE).with_sound();
    until_more(
        "media",
        [50, 50],
        &mut camera,
        &mut [&mut publisher, &mut one],
    );
    house.mute(key, true, true);
    for kind in 0..2 {
        until_silent(
            "silence",
            kind,
            &mut camera,
            &mut [&mut publisher, &mut one],
        );
    }
    let before = got(&one);
    // Who comes meanwhile gets nothing either, and asks the publisher for nothing.
    publisher.keyframes_wanted.clear();
    let (_, mut two) = house.subscriber(Codecs::vp8(111, 96), key);
    until_silent(
        "still silence",
        1,
        &mut camera,
        &mut [&mut publisher, &mut one, &mut two],
    );
    assert_eq!((got(&one), got(&two)), (before, [0, 0]));
    assert!(publisher.keyframes_wanted.is_empty());
    house.mute(key, false, false);
    let mut clients = [&mut publisher, &mut one, &mut two];
    until_more("sound again", [50, 0], &mut camera, &mut clients);
    // What came since is a keyframe and the pictures that follow from it.
    let from = [before[1], 0];
    until("pictures", &mut clients, |c| {
        camera.turn(c[0]);
        let since = |at: usize| shown(&camera, &c[1 + at].of(c[1 + at].video)[from[at]..]);
        (0..2).all(|at| since(at).len() >= RATE as usize)
    });
    for (client, from) in [(&one, from[0]), (&two, from[1])] {
        assert_unbroken(client);
        assert!(is_key(&client.of(client.video)[from].payload));
    }
}

#[test]
fn only_what_is_muted_stops() {
    let mut house = House::new();
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &sending());
    let (_, mut one) = house.subscriber(Codecs::vp8(111, 96), key);
    let mut camera = Camera::single(BITRATE).with_sound();
    let mut clients = [&mut publisher, &mut one];
    until_more("media", [20, 20], &mut camera, &mut clients);
    house.mute(key, true, false);
    until_silent("no sound", 0, &mut camera, &mut clients);
    until_more("the picture goes on", [0, 30], &mut camera, &mut clients);
    house.mute(key, false, true);
    until_silent("no picture", 1, &mut camera, &mut clients);
    until_more("the sound is back", [30, 0], &mut camera, &mut clients);
    house.mute(key, false, false);
    until_more("all is back", [30, 30], &mut camera, &mut clients);
    assert_unbroken(&one);
}

#[test]
fn a_simulcast_publisher_comes_back_with_a_keyframe_of_one_layer() {
    let mut house = House::new();
    let wish = Wish {
        audio: None,
        rids: &["h", "l"],
        ..sending()
    };
    let (key, mut publisher) = house.publisher(Codecs::vp8(111, 96), &wish);
    let (_, mut one) = house.subscriber(Codecs::vp8(111, 96), key);
    let mut camera = Camera::simulcast(&[("h", 400_000), ("l", 100_000)]);
    let mut clients = [&mut publisher, &mut one];
    until_more("media", [0, 50], &mut camera, &mut clients);
    house.mute(key, false, true);
    until_silent("no picture", 1, &mut camera, &mut clients);
    let before = got(clients[1])[1];
    house.mute(key, false, false);
    until_more("the picture is back", [0, 50], &mut camera, &mut clients);
    assert!(is_key(&one.of(one.video)[before].payload));
    assert_unbroken(&one);
}

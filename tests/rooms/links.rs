//! Bad links, as the publisher of a test and its subscribers measure them.

use std::time::Duration;

use str0m::media::Direction;
use switchboard::rooms::EndpointKey;

use crate::badlink::{BadLink, Conditions, Side};
use crate::camera::{Camera, RATE, Shown, between, bitrate, latency, shown};
use crate::client::{Client, Codecs, Wish, until};
use crate::house::{House, receiving, sending};

const SECOND: Duration = Duration::from_secs(1);
/// A path as to another town.
const FAR: Conditions = Conditions {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(5),
    loss: 0.0,
    burst: 1.0,
    rate: None,
    queue: 64 * 1024,
    reorder: false,
    checks_only: false,
};
/// The link before and after it is narrow, and then, in bit/s.
const WIDE: u64 = 4_000_000;
const NARROW: u64 = 600_000;

/// Times are measured here: where the system lets it, this test and what it starts go before others.
fn hurry() {
    let _ = rustix::process::setpriority_process(None, -20);
}

/// A publisher, behind a link if there is one. The plane is side A of each.
fn publisher(house: &mut House, wish: &Wish, link: Option<&BadLink>) -> (EndpointKey, Client) {
    let (mut client, offer) = Client::new(Codecs::vp8(111, 96), wish);
    let (key, answer) = house.offer(&offer, false);
    client.answer(&through(link, &answer.unwrap()));
    until("connected", &mut [&mut client], |c| c[0].connected);
    (key, client)
}

fn subscriber(house: &mut House, of: EndpointKey, link: Option<&BadLink>) -> Client {
    let (mut client, offer) = Client::new(Codecs::vp8(109, 120), &receiving());
    let (_, answer) = house.ask(of, &offer);
    client.answer(&through(link, &answer.unwrap()));
    until("connected", &mut [&mut client], |c| c[0].connected);
    client
}

fn through(link: Option<&BadLink>, answer: &str) -> String {
    link.map_or_else(|| answer.to_owned(), |link| link.text(Side::A, answer))
}

/// Lets them run, the publisher first, until the camera has run so long.
fn run(camera: &mut Camera, time: Duration, clients: &mut [&mut Client]) {
    while camera.time() < time {
        camera.turn(clients[0]);
        let mut busy = false;
        for client in clients.iter_mut() {
            busy |= client.turn(false);
        }
        if !busy {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// What a subscriber has shown until now.
fn seen(camera: &Camera, client: &Client) -> Vec<Shown> {
    shown(camera, &client.of(client.video))
}

#[test]
fn at_five_percent_loss_on_both_links_video_is_complete_and_in_time() {
    hurry();
    let lossy = Conditions {
        loss: 0.05,
        burst: 1.5,
        ..FAR
    };
    let links = [1, 2].map(|seed| BadLink::start(seed, lossy));
    let mut house = House::new();
    let (key, mut one) = publisher(&mut house, &sending(), Some(&links[0]));
    let mut two = subscriber(&mut house, key, Some(&links[1]));
    let mut camera = Camera::single(1_000_000);
    run(&mut camera, 12 * SECOND, &mut [&mut one, &mut two]);
    let seen = between(&seen(&camera, &two), SECOND, 11 * SECOND);
    assert_eq!(seen.len(), 10 * RATE as usize);
    let late = latency(&seen, 95);
    assert!(late <= Duration::from_millis(300), "{late:?}");
}

#[test]
fn a_subscriber_behind_a_bottleneck_gets_what_fits_and_disturbs_nobody() {
    hurry();
    let wide = Conditions {
        rate: Some(WIDE),
        ..FAR
    };
    let link = BadLink::start(3, wide);
    let mut house = House::new();
    let wish = Wish {
        rids: &["h", "m", "l"],
        ..sending()
    };
    let (key, mut one) = publisher(&mut house, &wish, None);
    let mut narrow = subscriber(&mut house, key, Some(&link));
    let mut good = subscriber(&mut house, key, None);
    let mut camera = Camera::simulcast(&[("h", 2_200_000), ("m", 450_000), ("l", 150_000)]);
    let mut clients = [&mut one, &mut narrow, &mut good];

    // Until it has the largest layer, which takes more than the narrow link has.
    let mut began = Duration::ZERO;
    while bitrate(
        &between(&seen(&camera, clients[1]), began, began + SECOND),
        SECOND,
    ) < 2e6
    {
        assert!(began < 25 * SECOND, "never the largest layer");
        began = camera.time();
        run(&mut camera, began + SECOND + FAR.delay * 4, &mut clients);
    }
    let squeezed = camera.time();
    link.change(Side::A, |it| it.rate = Some(NARROW));
    run(&mut camera, squeezed + 5 * SECOND, &mut clients);
    link.traffic(Side::A);
    run(&mut camera, squeezed + 10 * SECOND, &mut clients);
    let queue = link.traffic(Side::A).longest_queue;
    let relieved = camera.time();
    link.change(Side::A, |it| it.rate = Some(WIDE));
    run(&mut camera, relieved + 21 * SECOND, &mut clients);

    // A probe of the path makes a small queue now and then.
    assert!(queue < Duration::from_millis(500), "{queue:?}");
    let shown = seen(&camera, &narrow);
    let during = between(&shown, squeezed + 5 * SECOND, relieved);
    assert!(during.len() >= 5 * 15, "{} pictures in 5 s", during.len());
    let late = latency(&during, 95);
    assert!(late <= Duration::from_millis(500), "{late:?}");
    let rates = (0..20).map(|n| {
        let from = relieved + n * SECOND;
        bitrate(&between(&shown, from, from + SECOND), SECOND)
    });
    let rates: Vec<_> = rates.collect();
    assert!(rates.iter().any(|it| *it >= 2e6), "{rates:?}");

    // The other one keeps what it has.
    let shown = between(&seen(&camera, &good), squeezed, relieved + 20 * SECOND);
    let time = relieved + 20 * SECOND - squeezed;
    let all = (time.as_secs_f64() * f64::from(RATE)) as usize;
    assert!(shown.len() + 10 >= all, "{} of {all}", shown.len());
    assert!(bitrate(&shown, time) >= 2e6, "{}", bitrate(&shown, time));
}

#[test]
fn where_nothing_smaller_is_sent_video_pauses_and_sound_goes_on() {
    hurry();
    let wide = Conditions {
        rate: Some(WIDE),
        ..FAR
    };
    let link = BadLink::start(4, wide);
    let mut house = House::new();
    let wish = Wish {
        audio: Some(Direction::SendOnly),
        ..sending()
    };
    let (key, mut one) = publisher(&mut house, &wish, None);
    let mut narrow = subscriber(&mut house, key, Some(&link));
    let mut good = subscriber(&mut house, key, None);
    let mut camera = Camera::single(2_200_000).with_sound();
    let mut clients = [&mut one, &mut narrow, &mut good];
    run(&mut camera, 3 * SECOND, &mut clients);
    link.change(Side::A, |it| it.rate = Some(NARROW));
    run(&mut camera, 7 * SECOND, &mut clients);
    // The queue empties, and what fills it again for a moment is a try.
    let mut empty = 0;
    for tenth in 0..80 {
        run(
            &mut camera,
            7 * SECOND + (tenth + 1) * SECOND / 10,
            &mut clients,
        );
        let queue = link.traffic(Side::A).queued_time;
        empty += usize::from(queue < Duration::from_millis(100));
    }
    assert!(empty >= 40, "empty {empty} tenths of 8 s");
    let heard = clients[1].of(clients[1].audio).len();
    run(&mut camera, 17 * SECOND, &mut clients);
    let sounds = clients[1].of(clients[1].audio).len() - heard;
    assert!(sounds > 30, "{sounds} packets of sound in 2 s");

    let relieved = camera.time();
    link.change(Side::A, |it| it.rate = Some(WIDE));
    let is_back = |camera: &Camera, client: &Client| {
        let now = camera.time();
        between(&seen(camera, client), now - SECOND, now).len() > 20
    };
    while !is_back(&camera, clients[1]) {
        assert!(camera.time() < relieved + 20 * SECOND, "never back");
        let next = camera.time() + SECOND / 2;
        run(&mut camera, next, &mut clients);
    }
    let shown = between(&seen(&camera, &good), SECOND, relieved);
    let all = ((relieved - SECOND).as_secs_f64() * f64::from(RATE)) as usize;
    assert!(shown.len() + 10 >= all, "{} of {all}", shown.len());
}

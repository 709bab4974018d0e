//! Bad links.

use std::time::Duration;

use crate::badlink::{BadLink, Conditions, Side};
use crate::camera::{Camera, RATE, between, bitrate, latency, shown};
use crate::client::{Client, Codecs, Wish};
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
};

/// A publisher behind a link.
fn publisher(
    house: &mut House,
    wish: &Wish,
    link: Option<&BadLink>,
) -> (switchboard::rooms::EndpointKey, Client) {
    let (mut client, offer) = Client::new(Codecs::vp8(111, 96), wish);
    let (key, answer) = house.offer(&offer, false);
    client.answer(&through(link, &answer.unwrap()));
    (key, client)
}

fn subscriber(
    house: &mut House,
    of: switchboard::rooms::EndpointKey,
    link: Option<&BadLink>,
) -> Client {
    let (mut client, offer) = Client::new(Codecs::vp8(109, 120), &receiving());
    let (_, answer) = house.ask(of, &offer);
    client.answer(&through(link, &answer.unwrap()));
    client
}

/// The plane is side A of each link.
fn through(link: Option<&BadLink>, answer: &str) -> String {
    link.map_or_else(|| answer.to_owned(), |link| link.text(Side::A, answer))
}

/// Lets them run until the camera has run so long.
fn run(
    camera: &mut Camera,
    until: Duration,
    clients: &mut [&mut Client],
    mut each: impl FnMut(Duration),
) {
    while camera.time() < until {
        camera.turn(clients[0]);
        let mut busy = false;
        for client in clients.iter_mut() {
            busy |= client.turn(false);
        }
        each(camera.time());
        if !busy {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

#[test]
fn at_five_percent_loss_on_both_links_video_is_complete_and_in_time() {
    let lossy = Conditions {
        loss: 0.05,
        burst: 1.5,
        ..FAR
    };
    let links = [1, 2].map(|seed| BadLink::start(seed, lossy));
    let mut house = House::new();
    let (key, mut one) = publisher(&mut house, &sending(), Some(&links[0]));
    let mut two = subscriber(&mut house, key, Some(&links[1]));
    crate::client::until("connected", &mut [&mut one, &mut two], |c| {
        c.iter().all(|c| c.connected)
    });
    let mut camera = Camera::single(1_000_000);
    run(&mut camera, 12 * SECOND, &mut [&mut one, &mut two], |_| {});
    println!(
        "{:?} {:?}",
        links[0].traffic(Side::A),
        links[0].traffic(Side::B)
    );
    println!(
        "{:?} {:?}",
        links[1].traffic(Side::A),
        links[1].traffic(Side::B)
    );
    for it in house.plane.stats() {
        println!("{it:?}");
    }
    let mut seqs: Vec<_> = two.of(two.video).iter().map(|p| *p.seq_no).collect();
    seqs.sort_unstable();
    for p in seqs.windows(2) {
        if p[1] > p[0] + 1 {
            println!("gap {} {}", p[0], p[1]);
        }
    }
    let shown = shown(&camera, &two.of(two.video));
    let seen = between(&shown, SECOND, 11 * SECOND);
    println!(
        "{} of {} pictures, p50 {:?} p95 {:?}",
        seen.len(),
        10 * RATE,
        latency(&seen, 50),
        latency(&seen, 95)
    );
    assert!(seen.len() >= (10 * RATE - 1) as usize, "{}", seen.len());
    assert!(latency(&seen, 95) <= Duration::from_millis(300));
}

#[test]
fn a_subscriber_behind_a_bottleneck_gets_what_fits_and_disturbs_nobody() {
    let wide = Conditions {
        rate: Some(4_000_000),
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
    crate::client::until("connected", &mut [&mut one, &mut narrow, &mut good], |c| {
        c.iter().all(|c| c.connected)
    });
    let mut camera = Camera::simulcast(&[("h", 2_300_000), ("m", 450_000), ("l", 150_000)]);
    let mut clients = [&mut one, &mut narrow, &mut good];
    let mut queues = Vec::new();
    let mut next = SECOND;
    let mut note = |at: Duration| {
        if at >= next {
            let traffic = link.traffic(Side::A);
            queues.push((at, traffic.longest_queue));
            next += SECOND;
        }
    };
    run(&mut camera, 12 * SECOND, &mut clients, &mut note);
    link.change(Side::A, |it| it.rate = Some(600_000));
    run(&mut camera, 30 * SECOND, &mut clients, &mut note);
    link.change(Side::A, |it| it.rate = Some(4_000_000));
    run(&mut camera, 55 * SECOND, &mut clients, &mut note);
    for (name, client) in [("narrow", &narrow), ("good", &good)] {
        let shown = shown(&camera, &client.of(client.video));
        for second in 0..55 {
            let now = between(&shown, second * SECOND, (second + 1) * SECOND);
            if now.is_empty() {
                println!("{name} {second} nothing");
                continue;
            }
            println!(
                "{name} {second}: {} pictures, {:.0} kbit/s, p95 {:?}, layers {:?} queue {:?} est {}",
                now.len(),
                bitrate(&now, SECOND) / 1000.0,
                latency(&now, 95),
                now.iter()
                    .map(|it| it.layer)
                    .collect::<std::collections::BTreeSet<_>>(),
                queues.get(second as usize),
                client.estimate,
            );
        }
    }
}

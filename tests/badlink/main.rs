//! The tests' bad network path does what it says.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[path = "../common/badlink.rs"]
mod badlink;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use badlink::{BadLink, Conditions, Side};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Packets that the system keeps for a socket that nobody reads for a moment.
const BURST: u32 = 40;

/// Two sockets with a bad link between them, which know each other by it only.
struct Ends {
    link: BadLink,
    a: UdpSocket,
    b: UdpSocket,
}

impl Ends {
    fn new(conditions: Conditions) -> Self {
        let link = BadLink::start(1, conditions);
        let [a, b] = [Side::A, Side::B].map(|side| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let address = socket.local_addr().unwrap();
            let line = format!(
                "candidate:1 1 UDP 2113 127.0.0.1 {} typ host",
                address.port()
            );
            let seen = link.candidate(side, &line).unwrap();
            let relay = link.address(side);
            let (ip, port) = (relay.ip(), relay.port());
            assert_eq!(seen, format!("candidate:1 1 UDP 2113 {ip} {port} typ host"));
            socket
        });
        a.connect(link.address(Side::B)).unwrap();
        b.connect(link.address(Side::A)).unwrap();
        Self { link, a, b }
    }

    /// Sends so many packets of 972 bytes (1000 with headers) from A, each with its number.
    fn send(&self, count: u32) {
        for number in 0..count {
            let mut packet = [0; 972];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            self.a.send(&packet).unwrap();
        }
    }

    /// The number of the next packet at B.
    fn receive(&self) -> u32 {
        let mut packet = [0; 2000];
        self.b.recv(&mut packet).unwrap();
        u32::from_be_bytes(packet[..4].try_into().unwrap())
    }

    /// Waits until all that A sent has become something.
    fn settled(&self, count: u64) -> badlink::Traffic {
        let end = Instant::now() + PATIENCE;
        let mut longest = Duration::ZERO;
        loop {
            let mut now = self.link.traffic(Side::A);
            longest = longest.max(now.longest_queue);
            now.longest_queue = longest;
            if now.forwarded + now.lost + now.overflown == count {
                return now;
            }
            assert!(Instant::now() < end, "{now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn packets_come_through_both_ways_from_the_address_they_were_sent_to() {
    let ends = Ends::new(Conditions::default());
    ends.send(3);
    assert_eq!([(); 3].map(|()| ends.receive()), [0, 1, 2]);
    ends.b.send(b"back").unwrap();
    let mut back = [0; 10];
    assert_eq!(ends.a.recv(&mut back).unwrap(), 4);
    assert_eq!(ends.link.traffic(Side::A).bytes, 3000);
    assert_eq!(ends.link.traffic(Side::B).forwarded, 1);
}

#[test]
fn a_delay_is_kept_to_the_millisecond_and_order_in_spite_of_jitter() {
    let delay = Duration::from_millis(80);
    let ends = Ends::new(Conditions {
        delay,
        ..Conditions::default()
    });
    // Until one is in time: the machine may be busy.
    let begun = Instant::now();
    loop {
        let start = Instant::now();
        ends.send(1);
        ends.receive();
        let took = start.elapsed();
        assert!(took >= delay, "{took:?}");
        if took < delay + Duration::from_millis(2) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{took:?}");
    }

    ends.link
        .change(Side::A, |it| it.jitter = Duration::from_millis(40));
    let start = Instant::now();
    ends.send(BURST);
    for number in 0..BURST {
        assert_eq!(ends.receive(), number);
    }
    assert!(start.elapsed() >= delay + Duration::from_millis(20));
}

#[test]
fn a_bottleneck_lets_through_its_rate_and_drops_what_its_queue_cannot_hold() {
    // A packet every 20 ms; room for 20.
    let ends = Ends::new(Conditions {
        rate: Some(400_000),
        queue: 20_000,
        ..Conditions::default()
    });
    let start = Instant::now();
    ends.send(BURST);
    let traffic = ends.settled(BURST.into());
    let queue = traffic.longest_queue;
    assert!((360..=400).contains(&queue.as_millis()), "{queue:?}");
    let (took, through) = (start.elapsed(), traffic.forwarded);
    // What left while the others were sent made room.
    assert!(
        (20..35).contains(&through) && traffic.lost == 0,
        "{traffic:?}"
    );
    let rate = 8000.0 * through as f64 / took.as_secs_f64();
    // A busy machine may take longer, never shorter.
    assert!(rate < 402_000.0, "{rate} bit/s");
    assert_eq!((traffic.queued, traffic.queued_time), (0, Duration::ZERO));
}

#[test]
fn a_rate_can_change_while_packets_wait() {
    // A packet in a second, then one in a millisecond.
    let ends = Ends::new(Conditions {
        rate: Some(8000),
        ..Conditions::default()
    });
    let start = Instant::now();
    ends.send(BURST);
    while ends.link.traffic(Side::A).queued < 40_000 {
        assert!(start.elapsed() < PATIENCE);
    }
    let slow = ends.link.traffic(Side::A).queued_time;
    assert!(slow > Duration::from_secs(38), "{slow:?}");
    ends.link.change(Side::A, |it| it.rate = Some(8_000_000));
    ends.settled(BURST.into());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn losses_have_their_share_and_come_in_bursts() {
    for (loss, burst) in [(0.05, 1.0), (0.05, 4.0), (0.3, 3.0)] {
        let ends = Ends::new(Conditions {
            loss,
            burst,
            ..Conditions::default()
        });
        let (mut lost, mut bursts, mut next) = (0, 0, 0);
        let (mut received, burst_size) = (0, u64::from(BURST));
        for round in 0..250 {
            ends.send(BURST);
            let traffic = ends.settled(burst_size * (round + 1));
            while received < traffic.forwarded {
                received += 1;
                let number = u64::from(ends.receive()) + round * burst_size;
                lost += number - next;
                bursts += u64::from(number > next);
                next = number + 1;
            }
        }
        let (share, length) = (lost as f64 / next as f64, lost as f64 / bursts as f64);
        assert!(
            (share / loss - 1.0).abs() < 0.3,
            "{share} instead of {loss}"
        );
        // One burst can follow the other at once: with single losses that is all that makes a row.
        assert!(
            (length / burst - 1.0).abs() < 0.3,
            "{length} instead of {burst}"
        );
    }
}

#[test]
fn no_candidate_leads_around_it() {
    let link = BadLink::start(1, Conditions::default());
    let relay = link.address(Side::A);
    let text = "{\"a\":\"v=0\\r\\na=candidate:1 1 UDP 99 10.0.0.9 4000 typ host\\r\\n\
        a=candidate:2 1 udp 98 10.0.0.8 4001 typ host\\r\\na=candidate:3 1 tcp 9 10.0.0.9 9 typ host tcptype active\\r\\n\
        a=candidate:4 1 udp 98 1.2.3.4 4001 typ srflx raddr 10.0.0.9 rport 4000\\r\\na=candidate:5 1 udp 9 fd00::2 5 typ host\\r\\n\",\
        \"candidate\":\"candidate:1 1 UDP 99 10.0.0.9 4000 typ host\",\"x\":\"candidate:\"}";
    let seen = link.text(Side::A, text);
    let ours = format!(
        "candidate:1 1 UDP 99 {} {} typ host",
        relay.ip(),
        relay.port()
    );
    assert_eq!(seen.matches(&ours).count(), 2, "{seen}");
    assert_eq!(seen.matches("127.0.0.1 9 typ host").count(), 4, "{seen}");
    assert!(
        !seen.contains("10.0.0") && !seen.contains("1.2.3.4"),
        "{seen}"
    );
    assert!(seen.ends_with("\"x\":\"candidate:\"}"), "{seen}");
    let local = "candidate:1 1 udp 2113 3cdc0d75.local 53705 typ host generation 0";
    let seen = link.candidate(Side::B, local).unwrap();
    assert!(
        seen.contains(&link.address(Side::B).port().to_string()),
        "{seen}"
    );
}

#[test]
fn it_ends_with_its_owner() {
    let link = BadLink::start(1, Conditions::default());
    let address = link.address(Side::A);
    drop(link);
    UdpSocket::bind(address).unwrap();
}

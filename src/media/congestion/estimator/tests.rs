//! The estimator at the end of a simulated path, in virtual time.

use std::collections::VecDeque;

use super::*;

const TICK: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_millis(33);

/// A bottleneck with a finite queue, and an encoder that sends what it is told to.
struct Path {
    now: Duration,
    bits_per_second: f64,
    queue_bytes: usize,
    one_way: Duration,
    jitter: Duration,
    loss: f64,
    /// What the encoder makes at most.
    most: u64,
    /// When the bottleneck is free again.
    busy: Duration,
    estimator: Estimator,
    reports: VecDeque<(Duration, Vec<Packet>)>,
    next_frame: Duration,
    rng: fastrand::Rng,
}

impl Path {
    fn new(bits_per_second: f64) -> Self {
        Self {
            now: Duration::from_secs(1000),
            bits_per_second,
            queue_bytes: 64_000,
            one_way: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            loss: 0.0,
            most: 2_500_000,
            busy: Duration::ZERO,
            estimator: Estimator::default(),
            reports: VecDeque::new(),
            next_frame: Duration::from_secs(1000),
            rng: fastrand::Rng::with_seed(7),
        }
    }

    fn send_frame(&mut self) {
        let rate = self.estimator.target().min(self.most) as f64;
        let mut bytes = (rate * FRAME.as_secs_f64() / 8.0) as usize;
        let mut report = Vec::new();
        let mut last = self.now;
        while bytes > 0 {
            let size = bytes.min(1200);
            bytes -= size;
            let start = self.busy.max(self.now);
            let waiting = (start - self.now).as_secs_f64() * self.bits_per_second / 8.0;
            let lost = waiting as usize > self.queue_bytes || self.rng.f64() < self.loss;
            let arrived = (!lost).then(|| {
                let bits = (size + HEADERS) as f64 * 8.0;
                self.busy = start + Duration::from_secs_f64(bits / self.bits_per_second);
                let jitter = self.jitter.mul_f64(self.rng.f64());
                // Another clock's zero.
                self.busy + self.one_way + jitter + Duration::from_secs(77)
            });
            last = last.max(arrived.map_or(last, |it| it - Duration::from_secs(77)));
            report.push(Packet {
                sent: self.now,
                arrived,
                bytes: size,
            });
        }
        self.reports.push_back((last + self.one_way, report));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            if self.now >= self.next_frame {
                self.next_frame += FRAME;
                self.send_frame();
            }
            while self.reports.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, report) = self.reports.pop_front().unwrap();
                self.estimator.feedback(self.now, report);
            }
        }
    }

    fn queue(&self) -> Duration {
        self.busy.saturating_sub(self.now)
    }

    fn estimate(&self) -> f64 {
        self.estimator.estimate() as f64
    }
}

#[test]
fn a_wide_path_is_used_up_to_what_is_sent() {
    let mut path = Path::new(50e6);
    path.run(Duration::from_secs(5));
    assert!(path.estimate() >= 2.5e6, "{}", path.estimate());
    path.run(Duration::from_secs(60));
    assert!(path.estimate() <= 2.5e6 * 1.7, "{}", path.estimate());
    assert!(path.estimator.is_limited());
}

#[test]
fn a_bottleneck_that_narrows_is_followed_within_seconds_and_left_within_twenty() {
    let mut path = Path::new(4e6);
    path.run(Duration::from_secs(20));
    assert!(path.estimate() >= 2.5e6);
    path.bits_per_second = 600e3;
    path.run(Duration::from_secs(3));
    assert!(
        path.queue() < Duration::from_millis(50),
        "{:?}",
        path.queue()
    );
    for _ in 0..60 {
        path.run(Duration::from_secs(1));
        let estimate = path.estimate();
        assert!((380e3..750e3).contains(&estimate), "{estimate}");
        assert!(
            path.queue() < Duration::from_millis(200),
            "{:?}",
            path.queue()
        );
    }
    path.bits_per_second = 4e6;
    path.run(Duration::from_secs(17));
    assert!(path.estimate() >= 2.0e6, "{}", path.estimate());
}

#[test]
fn a_narrow_path_is_found_at_the_start() {
    let mut path = Path::new(500e3);
    path.run(Duration::from_secs(4));
    assert!(
        path.queue() < Duration::from_millis(100),
        "{:?}",
        path.queue()
    );
    assert!(
        (300e3..600e3).contains(&path.estimate()),
        "{}",
        path.estimate()
    );
}

#[test]
fn jitter_and_some_loss_are_no_congestion() {
    let mut path = Path::new(50e6);
    (path.jitter, path.loss) = (Duration::from_millis(40), 0.05);
    path.run(Duration::from_secs(10));
    for _ in 0..60 {
        path.run(Duration::from_secs(1));
        assert!(path.estimate() >= 2.4e6, "{}", path.estimate());
    }
}

#[test]
fn heavy_loss_without_a_queue_is_congestion() {
    let mut path = Path::new(1.2e6);
    path.queue_bytes = 3000;
    path.run(Duration::from_secs(30));
    assert!(
        (600e3..1.6e6).contains(&path.estimate()),
        "{}",
        path.estimate()
    );
}

#[test]
fn a_path_that_becomes_longer_is_learnt() {
    let mut path = Path::new(50e6);
    path.run(Duration::from_secs(10));
    path.one_way = Duration::from_millis(150);
    path.run(Duration::from_secs(15));
    assert!(path.estimate() >= 2e6, "{}", path.estimate());
}

#[test]
fn silence_lowers_the_estimate_to_the_least() {
    let mut path = Path::new(50e6);
    path.run(Duration::from_secs(10));
    let mut now = path.now;
    for _ in 0..300 {
        now += Duration::from_millis(100);
        path.estimator.sending(now);
    }
    assert_eq!(path.estimator.estimate(), LEAST as u64);
}

#[test]
fn a_seed_counts_before_the_first_feedback_only() {
    let mut path = Path::new(50e6);
    path.estimator.seed(2_000_000);
    assert_eq!(path.estimator.estimate(), 2_000_000);
    path.run(Duration::from_millis(200));
    path.estimator.seed(9_000_000);
    assert!(path.estimate() < 4e6);
}

#[test]
fn odd_feedback_does_no_harm() {
    let mut estimator = Estimator::default();
    estimator.feedback(Duration::ZERO, []);
    let far = Duration::from_secs(u64::MAX / 4);
    let odd = [
        (Duration::ZERO, Some(far)),
        (far, Some(Duration::ZERO)),
        (far, Some(far)),
        (Duration::ZERO, None),
    ];
    for round in 0..10_000_u64 {
        let packets = odd.map(|(sent, arrived)| Packet {
            sent,
            arrived,
            bytes: usize::MAX / 1_000_000,
        });
        estimator.feedback(Duration::from_millis(round), packets);
        assert!((LEAST as u64..=MOST as u64).contains(&estimator.estimate()));
    }
    assert!(estimator.packets.len() <= PACKETS);
}

//! From a bit rate to a picture: first fewer bits, then fewer frames, then fewer pixels.

use std::time::Duration;

use super::Rung;
use super::budget::Load;

/// Bits that a pixel of a frame needs for a fair picture. With less, frames or pixels are left out.
const BITS_PER_PIXEL: f64 = 0.045;
/// What is left after a second of the bits that a difficult picture needed more.
const FORGOTTEN: f64 = 0.95;
/// Bits per pixel and frame that an encoder gets at most.
const BITS_PER_PIXEL_MOST: f64 = 0.12;
/// The most that small pictures get, and that any picture gets, in bits per second.
const MOST: (f64, f64) = (2_500_000.0, 6_000_000.0);
/// What is sent to viewers that give no feedback, in bits per second.
pub(super) const CONSTANT: u32 = 2_000_000;
/// Frames per second below which none are left out, but for a moment when the encoder makes too much:
/// so that there are always 15.
const FRAMES_LEAST: f64 = 16.0;
/// The least width and height.
const SIZE_LEAST: u32 = 64;
/// How much more than needed there must be before the next better step is taken.
const UP_MARGIN: f64 = 1.3;
/// How long, before the next better step is taken, at first.
const UP_TIME: Duration = Duration::from_millis(1500);
/// The same after steps that were taken too early. A path that takes more again shows it only when more
/// is tried.
const UP_TIME_MOST: Duration = Duration::from_secs(8);
/// A step back within this time says that it was.
const RELAPSE: Duration = Duration::from_secs(15);
/// A path that takes so many times what it took when such a step failed isn't the same any more.
const OTHER_PATH: f64 = 1.15;
/// With less than this part of the steady bit rate a queue is being emptied. What the encoder makes of
/// that says nothing.
const DRAINING: f64 = 0.9;
/// How long too little must be there before a worse step is taken.
const DOWN_TIME: Duration = Duration::from_millis(500);
/// The parts of the frame rate and of width and height, for each rung from the best step on.
const FULL: &[(f64, f64)] = &[
    (1.0, 1.0),
    (2.0 / 3.0, 1.0),
    (0.5, 1.0),
    (0.5, 0.75),
    (0.5, 0.5),
];
/// See [`FULL`].
const LOW: &[(f64, f64)] = &[
    (2.0 / 3.0, 0.75),
    (2.0 / 3.0, 0.5),
    (0.5, 0.5),
    (0.5, 0.375),
    (0.5, 0.25),
];
/// Where the low rung begins.
const LOW_START: usize = 1;

/// A source's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::media) struct Picture {
    /// In pixels.
    pub(in crate::media) width: u32,
    /// In pixels.
    pub(in crate::media) height: u32,
    /// Frames per second.
    pub(in crate::media) rate: f64,
}

/// What an encoder is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::media) struct Aim {
    /// In bits per second.
    pub(in crate::media) bitrate: u32,
    /// What the paths take, in bits per second; the encoder may be so far off.
    pub(in crate::media) room: u32,
    /// Frames per second.
    pub(in crate::media) rate: f64,
    /// Width and height.
    pub(in crate::media) size: (u32, u32),
}

/// What may be sent, in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// Now.
    pub(super) now: u32,
    /// When no queue is being emptied.
    pub(super) steady: u32,
    /// The same, but more than the picture is worth.
    pub(super) room: u32,
}

impl Bits {
    fn is_draining(self) -> bool {
        f64::from(self.now) < f64::from(self.steady) * DRAINING
    }

    /// The least of both.
    pub(super) fn least(self, other: Self) -> Self {
        Self {
            now: self.now.min(other.now),
            steady: self.steady.min(other.steady),
            room: self.room.min(other.room),
        }
    }
}

/// The steps of one encoder, and on which it stands.
#[derive(Debug)]
pub(super) struct Ladder {
    steps: &'static [(f64, f64)],
    step: usize,
    /// Bits that a pixel of this source's frames needs.
    per_pixel: f64,
    learnt: Option<Duration>,
    /// The encoder has bits to spare.
    idle: bool,
    /// When the last better step was taken, and how long the next one waits.
    rose: Option<Duration>,
    patience: Duration,
    /// The most bits per second that the path took since that step, and what it had taken when one failed.
    tried: u32,
    failed: Option<u32>,
    worse: Option<Duration>,
    better: Option<Duration>,
}

impl Picture {
    /// The most bits per second that this picture is worth.
    pub(super) fn most(self) -> u32 {
        let bits = pixels(self.width, self.height) * self.rate * BITS_PER_PIXEL_MOST;
        bits.clamp(MOST.0, MOST.1) as u32
    }

    fn at(self, (rate, size): (f64, f64)) -> Aim {
        Aim {
            bitrate: 0,
            room: 0,
            rate: (self.rate * rate).max(self.rate.min(FRAMES_LEAST)),
            size: (part(self.width, size), part(self.height, size)),
        }
    }
}

impl Aim {
    fn needs(self, per_pixel: f64) -> f64 {
        pixels(self.size.0, self.size.1) * self.rate * per_pixel
    }
}

impl Ladder {
    pub(super) const fn new(rung: Rung) -> Self {
        let (steps, step) = match rung {
            Rung::Full => (FULL, 0),
            Rung::Low => (LOW, LOW_START),
        };
        Self {
            steps,
            step,
            per_pixel: BITS_PER_PIXEL,
            learnt: None,
            idle: false,
            rose: None,
            patience: UP_TIME,
            tried: 0,
            failed: None,
            worse: None,
            better: None,
        }
    }

    /// One for the same source, which is as difficult here as it is there.
    pub(super) const fn beside(self, other: &Self) -> Self {
        Self {
            per_pixel: other.per_pixel,
            ..self
        }
    }

    /// What to make of so many bits per second. `load` is how the encoder got on with the last ones.
    pub(super) fn climb(&mut self, now: Duration, bits: Bits, picture: Picture, load: Load) -> Aim {
        self.learn(now, bits, picture, load);
        self.weigh(bits.steady);
        let enough = |step: usize, margin: f64| {
            let needs = self.at(step, picture).needs(self.per_pixel);
            f64::from(bits.steady) >= needs * margin
        };
        let last = self.steps.len() - 1;
        let too_little = self.step < last && !enough(self.step, 1.0);
        let better = self.step.saturating_sub(1);
        let spare = enough(better, UP_MARGIN) || self.idle;
        let plenty = self.step > 0 && spare && !bits.is_draining();
        let down = (self.step..last).find(|&step| enough(step, 1.0));
        let step = if held(&mut self.worse, now, too_little, DOWN_TIME) {
            self.fail(now);
            down.unwrap_or(last)
        } else if held(&mut self.better, now, plenty, self.patience) {
            (self.rose, self.tried) = (Some(now), 0);
            better
        } else {
            self.step
        };
        if step != self.step {
            (self.worse, self.better, self.idle) = (None, None, false);
        }
        self.step = step;
        Aim {
            bitrate: bits.now,
            room: if bits.is_draining() {
                bits.now
            } else {
                bits.room
            },
            ..self.at(step, picture)
        }
    }

    fn at(&self, step: usize, picture: Picture) -> Aim {
        picture.at(self.steps[step.min(self.steps.len() - 1)])
    }

    /// A worse step is taken: the one before may have been tried too early.
    fn fail(&mut self, now: Duration) {
        let relapsed = self.rose.is_some_and(|at| now.saturating_sub(at) < RELAPSE);
        (self.patience, self.failed) = match relapsed {
            true => ((self.patience * 2).min(UP_TIME_MOST), Some(self.tried)),
            false => (UP_TIME, None),
        };
    }

    /// What failed on another path says nothing of this one.
    fn weigh(&mut self, steady: u32) {
        self.tried = self.tried.max(steady);
        let other = |failed: u32| f64::from(steady) > f64::from(failed) * OTHER_PATH;
        if self.failed.is_some_and(other) {
            (self.patience, self.failed) = (UP_TIME, None);
        }
    }

    /// Learns what the encoder needs for the picture.
    fn learn(&mut self, now: Duration, bits: Bits, picture: Picture, load: Load) {
        let elapsed = self.learnt.replace(now).map(|at| now.saturating_sub(at));
        let kept = FORGOTTEN.powf(elapsed.unwrap_or_default().as_secs_f64());
        self.per_pixel = BITS_PER_PIXEL + (self.per_pixel - BITS_PER_PIXEL) * kept;
        let draining = bits.is_draining();
        match load {
            Load::Strained { bits } if !draining => {
                let (width, height) = self.at(self.step, picture).size;
                let needed = bits / pixels(width, height).max(1.0);
                (self.per_pixel, self.idle) = (self.per_pixel.max(needed), false);
            }
            Load::Idle => self.idle = true,
            Load::Fair => self.idle = false,
            Load::Strained { .. } | Load::Unknown => {}
        }
    }
}

/// Whether something holds for long enough.
pub(super) fn held(
    since: &mut Option<Duration>,
    now: Duration,
    holds: bool,
    time: Duration,
) -> bool {
    match holds {
        true => now.saturating_sub(*since.get_or_insert(now)) >= time,
        false => {
            *since = None;
            false
        }
    }
}

fn pixels(width: u32, height: u32) -> f64 {
    f64::from(width) * f64::from(height)
}

/// A part of a length, even as encoders want it.
fn part(length: u32, part: f64) -> u32 {
    match part < 1.0 {
        true => ((f64::from(length) * part) as u32 & !1).max(SIZE_LEAST.min(length)),
        false => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Picture = Picture {
        width: 1280,
        height: 720,
        rate: 30.0,
    };

    fn all(bits: u32) -> Bits {
        Bits {
            now: bits,
            steady: bits,
            room: bits,
        }
    }

    /// Where the ladder stands after so many seconds at a bit rate.
    fn after(ladder: &mut Ladder, now: &mut Duration, seconds: u64, bitrate: u32) -> Aim {
        let mut aim = ladder.climb(*now, all(bitrate), HD, Load::Fair);
        for _ in 0..seconds * 10 {
            *now += Duration::from_millis(100);
            aim = ladder.climb(*now, all(bitrate), HD, Load::Fair);
        }
        aim
    }

    #[test]
    fn first_bits_then_frames_then_pixels_are_left_out() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        let mut steps = Vec::new();
        for kilobits in (150..=2500).rev().step_by(10) {
            let aim = after(&mut ladder, &mut now, 1, kilobits * 1000);
            let step = (aim.rate as u32, aim.size);
            if steps.last() != Some(&step) {
                steps.push(step);
            }
        }
        let (hd, mid, half) = ((1280, 720), (960, 540), (640, 360));
        assert_eq!(steps, [(30, hd), (20, hd), (16, hd), (16, mid), (16, half)]);
    }

    #[test]
    fn a_rate_between_two_steps_stays_on_one() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        after(&mut ladder, &mut now, 2, 2_000_000);
        let mut changes = 0;
        let mut last = None;
        for round in 0..200 {
            // Around what 30 frames per second need.
            let aim = after(&mut ladder, &mut now, 1, 1_244_000 + (round % 2) * 200_000);
            changes += usize::from(last.replace(aim.rate) != Some(aim.rate));
        }
        assert!(changes <= 2, "{changes}");
    }

    #[test]
    fn a_difficult_picture_gets_smaller_sooner_and_is_tried_again_later() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        let hard = 1280.0 * 720.0 * 0.15;
        let strained = Load::Strained { bits: hard };
        ladder.climb(now, all(1_500_000), HD, strained);
        let aim = after(&mut ladder, &mut now, 1, 1_500_000);
        assert_eq!((aim.size, aim.rate as u32), ((960, 540), 16));
        let aim = after(&mut ladder, &mut now, 300, 1_900_000);
        assert_eq!((aim.size, aim.rate as u32), ((1280, 720), 30));
    }

    #[test]
    fn while_a_queue_is_emptied_the_picture_keeps_its_size() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        for _ in 0..20 {
            now += Duration::from_millis(100);
            let strained = Load::Strained { bits: 300_000.0 };
            let draining = Bits {
                now: 400_000,
                ..all(1_500_000)
            };
            let aim = ladder.climb(now, draining, HD, strained);
            assert_eq!((aim.bitrate, aim.size), (400_000, (1280, 720)));
        }
    }

    #[test]
    fn an_encoder_with_bits_to_spare_makes_a_better_picture() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        after(&mut ladder, &mut now, 1, 300_000);
        for _ in 0..20 {
            now += Duration::from_millis(100);
            ladder.climb(now, all(300_000), HD, Load::Idle);
        }
        assert!(ladder.step < 4, "{}", ladder.step);
    }

    #[test]
    fn it_climbs_back_step_by_step() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        assert_eq!(after(&mut ladder, &mut now, 1, 200_000).size, (640, 360));
        let aim = after(&mut ladder, &mut now, 2, 2_500_000);
        assert_eq!(aim.size, (960, 540));
        let aim = after(&mut ladder, &mut now, 20, 2_500_000);
        assert_eq!((aim.size, aim.rate as u32), ((1280, 720), 30));
    }

    #[test]
    fn steps_that_fail_wait_longer_until_the_path_takes_more() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        for _ in 0..6 {
            after(&mut ladder, &mut now, 10, 1_700_000);
            after(&mut ladder, &mut now, 1, 1_000_000);
        }
        assert_eq!(ladder.patience, UP_TIME_MOST);
        after(&mut ladder, &mut now, 1, 1_900_000);
        assert_eq!(ladder.patience, UP_TIME_MOST, "much the same path");
        after(&mut ladder, &mut now, 1, 2_100_000);
        assert_eq!(ladder.patience, UP_TIME);
    }

    #[test]
    fn the_low_rung_is_smaller_and_slower() {
        let mut ladder = Ladder::new(Rung::Low);
        let aim = ladder.climb(Duration::ZERO, all(500_000), HD, Load::Fair);
        assert_eq!((aim.size, aim.rate as u32), ((640, 360), 20));
    }

    #[test]
    fn small_and_slow_pictures_stay_as_they_are() {
        let tiny = Picture {
            width: 63,
            height: 33,
            rate: 10.0,
        };
        let mut ladder = Ladder::new(Rung::Low);
        let aim = ladder.climb(Duration::ZERO, all(1), tiny, Load::Fair);
        assert_eq!((aim.size, aim.rate), ((63, 33), 10.0));
    }
}

//! From a bit rate to a picture: first fewer bits, then fewer frames, then fewer pixels.

use std::time::Duration;

use super::Rung;

/// Bits that a pixel of a frame needs for a fair picture. With less, frames or pixels are left out.
const BITS_PER_PIXEL: f64 = 0.045;
/// Bits per pixel and frame that an encoder gets at most.
const BITS_PER_PIXEL_MOST: f64 = 0.12;
/// The most that small pictures get, and that any picture gets, in bits per second.
const MOST: (f64, f64) = (2_500_000.0, 6_000_000.0);
/// What is sent to viewers that give no feedback, in bits per second.
pub(super) const CONSTANT: u32 = 2_000_000;
/// Frames per second below which none are left out.
const FRAMES_LEAST: f64 = 15.0;
/// The least width and height.
const SIZE_LEAST: u32 = 64;
/// How much more than needed there must be before the next better step is taken.
const UP_MARGIN: f64 = 1.4;
/// How long, before the next better step is taken.
const UP_TIME: Duration = Duration::from_secs(5);
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
const LOW: &[(f64, f64)] = &[(2.0 / 3.0, 0.5), (0.5, 0.5), (0.5, 0.375), (0.5, 0.25)];

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
    /// Frames per second.
    pub(in crate::media) rate: f64,
    /// Width and height.
    pub(in crate::media) size: (u32, u32),
}

/// The steps of one encoder, and on which it stands.
#[derive(Debug)]
pub(super) struct Ladder {
    steps: &'static [(f64, f64)],
    step: usize,
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
            rate: (self.rate * rate).max(self.rate.min(FRAMES_LEAST)),
            size: (part(self.width, size), part(self.height, size)),
        }
    }
}

impl Aim {
    fn needs(self) -> f64 {
        pixels(self.size.0, self.size.1) * self.rate * BITS_PER_PIXEL
    }
}

impl Ladder {
    pub(super) const fn new(rung: Rung) -> Self {
        let steps = match rung {
            Rung::Full => FULL,
            Rung::Low => LOW,
        };
        Self {
            steps,
            step: 0,
            worse: None,
            better: None,
        }
    }

    /// What to make of so many bits per second.
    pub(super) fn climb(&mut self, now: Duration, bitrate: u32, picture: Picture) -> Aim {
        let aim = |step: usize| picture.at(self.steps[step.min(self.steps.len() - 1)]);
        let enough = |step: usize, margin: f64| f64::from(bitrate) >= aim(step).needs() * margin;
        let held = |since: &mut Option<Duration>, holds: bool, time: Duration| match holds {
            true => now.saturating_sub(*since.get_or_insert(now)) >= time,
            false => {
                *since = None;
                false
            }
        };
        let last = self.steps.len() - 1;
        let too_little = self.step < last && !enough(self.step, 1.0);
        let plenty = self.step > 0 && enough(self.step - 1, UP_MARGIN);
        let (mut worse, mut better) = (self.worse, self.better);
        let step = if held(&mut worse, too_little, DOWN_TIME) {
            (self.step..last)
                .find(|&step| enough(step, 1.0))
                .unwrap_or(last)
        } else if held(&mut better, plenty, UP_TIME) {
            self.step - 1
        } else {
            self.step
        };
        let aim = aim(step);
        if step != self.step {
            (worse, better) = (None, None);
        }
        (self.step, self.worse, self.better) = (step, worse, better);
        Aim { bitrate, ..aim }
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

    /// Where the ladder stands after so many seconds at a bit rate.
    fn after(ladder: &mut Ladder, now: &mut Duration, seconds: u64, bitrate: u32) -> Aim {
        let mut aim = ladder.climb(*now, bitrate, HD);
        for _ in 0..seconds * 10 {
            *now += Duration::from_millis(100);
            aim = ladder.climb(*now, bitrate, HD);
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
        assert_eq!(steps, [(30, hd), (20, hd), (15, hd), (15, mid), (15, half)]);
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
    fn it_climbs_back_step_by_step() {
        let (mut ladder, mut now) = (Ladder::new(Rung::Full), Duration::ZERO);
        assert_eq!(after(&mut ladder, &mut now, 1, 200_000).size, (640, 360));
        let aim = after(&mut ladder, &mut now, 6, 2_500_000);
        assert_eq!(aim.size, (960, 540));
        let aim = after(&mut ladder, &mut now, 20, 2_500_000);
        assert_eq!((aim.size, aim.rate as u32), ((1280, 720), 30));
    }

    #[test]
    fn the_low_rung_is_smaller_and_slower() {
        let mut ladder = Ladder::new(Rung::Low);
        let aim = ladder.climb(Duration::ZERO, 500_000, HD);
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
        let aim = ladder.climb(Duration::ZERO, 1, tiny);
        assert_eq!((aim.size, aim.rate), ((63, 33), 10.0));
    }
}

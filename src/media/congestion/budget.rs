//! Two gates that keep what is sent below what was meant: one before the encoder, one for
//! retransmissions.

use std::time::Duration;

/// How far an encoder may exceed its bit rate before frames are left out: what it may be ahead. The
/// first is for a path that takes just this, where it becomes a queue; the second for one with room.
const AHEAD: (f64, f64) = (0.3, 0.4);
/// More is forgotten, so that one big key frame doesn't stop the picture.
const AHEAD_MOST: f64 = 0.6;
/// What the encoder may exceed its bit rate by for ever; encoders aren't exact. The first is for a path
/// that takes just this, the second for one with room.
const TOLERANCE: (f64, f64) = (1.02, 1.25);
/// How often a lost packet may be sent again.
const TRIES: f64 = 2.0;
/// Packets that may be sent again at most because of losses that are known.
const CREDIT: f64 = 400.0;
/// Packets that may be sent again before their loss is known, and how many more in a second.
const UNKNOWN: f64 = 10.0;
/// See [`UNKNOWN`].
const UNKNOWN_RATE: f64 = 5.0;
/// Frames that an encoder needs to get used to another bit rate.
const SETTLING: u32 = 25;
/// Over so many frames the encoder is judged.
const JUDGED: u32 = 15;
/// An encoder that gets less than this part of the frames can't make them any smaller.
const STRAINED: f64 = 0.8;
/// One that makes less than this part of its bit rate could make a better picture.
const IDLE: f64 = 0.7;
/// The part of the path that retransmissions may take, and while a queue stands.
const SHARE: (f64, f64) = (0.25, 0.05);
/// Retransmissions saved up for a burst of losses: the time over which the share is taken.
const SAVED: f64 = 0.5;

/// How an encoder gets on with its bit rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::media) enum Load {
    /// It has not been seen for long enough.
    #[default]
    Unknown,
    /// It makes too much, and frames are left out.
    Strained {
        /// What one takes, which it can't make any smaller.
        bits: f64,
    },
    /// It makes what it should.
    Fair,
    /// It has more bits than this picture needs.
    Idle,
}

/// Lets frames pass to the encoder at the rate that is aimed at, and fewer while it makes too much.
#[derive(Debug, Default)]
pub(in crate::media) struct FrameGate {
    /// When the next frame is due.
    due: Option<Duration>,
    /// Bits that were made too early.
    ahead: f64,
    last: Option<Duration>,
    /// Frames that were due, and those of them that passed.
    wanted: u32,
    passed: u32,
    /// Frames that aren't judged yet.
    settling: u32,
    /// Bits of frames that aren't key frames, and how many these are.
    bits: f64,
    frames: u32,
}

impl FrameGate {
    /// Whether the frame of this time passes; `rate` is in frames, `bitrate` in bits per second: what
    /// the encoder aims at, and what the paths take.
    pub(in crate::media) fn passes(
        &mut self,
        time: Duration,
        rate: f64,
        (bitrate, room): (u32, u32),
    ) -> bool {
        let gap = Duration::from_secs_f64(1.0 / rate.clamp(1.0, 1000.0));
        let bits = f64::from(bitrate);
        let bearable = f64::from(room).clamp(bits * TOLERANCE.0, bits * TOLERANCE.1);
        let last = self.last.replace(time).unwrap_or(time);
        let elapsed = time.saturating_sub(last).as_secs_f64();
        self.ahead = (self.ahead - bearable * elapsed).clamp(0.0, bits * AHEAD_MOST);
        // Half a frame early is in time: the frames' times aren't exact.
        self.due = match self.due {
            Some(due) if time + gap / 4 < due && due < time + gap * 2 => return false,
            Some(due) if time < due + gap && due < time + gap * 2 => Some(due + gap),
            _ => Some(time + gap),
        };
        let tight = bearable < bits * TOLERANCE.1;
        let passes = self.ahead <= bits * if tight { AHEAD.0 } else { AHEAD.1 };
        if self.settling > 0 {
            self.settling -= 1;
            return passes;
        }
        self.wanted += 1;
        self.passed += u32::from(passes);
        passes
    }

    /// Notes that the encoder made so many bytes.
    pub(in crate::media) fn made(&mut self, bytes: usize, is_key: bool) {
        let bits = bytes as f64 * 8.0;
        self.ahead += bits;
        if !is_key && self.settling == 0 {
            self.bits += bits;
            self.frames += 1;
        }
    }

    /// Gives the encoder time for another picture or bit rate, before it is judged anew.
    pub(in crate::media) fn settle(&mut self) {
        self.forget();
        self.settling = SETTLING;
    }

    fn forget(&mut self) {
        (self.wanted, self.passed, self.bits, self.frames) = (0, 0, 0.0, 0);
    }

    /// How the encoder got on since the last time.
    pub(in crate::media) fn judge(&mut self, rate: f64, bitrate: u32) -> Load {
        if self.wanted < JUDGED {
            return Load::Unknown;
        }
        let passed = f64::from(self.passed) / f64::from(self.wanted);
        let bits = self.bits / f64::from(self.frames.max(1));
        let any = self.frames > 0;
        self.forget();
        if any && passed < STRAINED {
            Load::Strained { bits }
        } else if any && bits * rate < f64::from(bitrate) * IDLE {
            Load::Idle
        } else {
            Load::Fair
        }
    }
}

/// Lets retransmissions pass as long as they don't take the place of the picture; where a queue
/// stands, only for packets that are known to be lost: receivers ask for what only comes late, too.
#[derive(Debug)]
pub(in crate::media) struct Retransmissions {
    /// Bits that may be sent again.
    saved: Option<f64>,
    /// Packets that may be sent again.
    credit: f64,
    last: Duration,
}

impl Default for Retransmissions {
    fn default() -> Self {
        Self {
            saved: None,
            credit: UNKNOWN,
            last: Duration::ZERO,
        }
    }
}

impl Retransmissions {
    /// Notes that so many packets were lost.
    pub(in crate::media) fn lost(&mut self, packets: usize) {
        self.credit = (self.credit + packets as f64 * TRIES).min(CREDIT);
    }

    /// Whether a packet of so many bytes may be sent again.
    pub(in crate::media) fn pass(
        &mut self,
        now: Duration,
        bytes: usize,
        estimate: u64,
        congested: bool,
    ) -> bool {
        let share = if congested { SHARE.1 } else { SHARE.0 };
        let rate = estimate as f64 * share;
        let elapsed = now.saturating_sub(self.last).as_secs_f64();
        self.last = now;
        let most = estimate as f64 * SHARE.0 * SAVED;
        let saved = (self.saved.unwrap_or(most) + rate * elapsed).min(most);
        let bits = bytes as f64 * 8.0;
        if self.credit < UNKNOWN {
            self.credit = (self.credit + UNKNOWN_RATE * elapsed).min(UNKNOWN);
        }
        let passes = saved >= bits && (!congested || self.credit >= 1.0);
        self.saved = Some(if passes { saved - bits } else { saved });
        if passes {
            self.credit = (self.credit - 1.0).max(0.0);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_micros(33_333);

    /// How many of 300 frames in 10 s pass if each becomes so many bytes.
    fn passed(rate: f64, bitrate: u32, bytes: usize) -> usize {
        let mut gate = FrameGate::default();
        (0..300_u32)
            .filter(|&frame| {
                let passes = gate.passes(FRAME * frame, rate, (bitrate, bitrate));
                if passes {
                    gate.made(bytes, false);
                }
                passes
            })
            .count()
    }

    #[test]
    fn frames_pass_at_the_rate_that_is_aimed_at() {
        for (rate, frames) in [(30.0, 300), (20.0, 200), (15.0, 150), (60.0, 300)] {
            let passed = passed(rate, 2_000_000, 1000);
            assert!(passed.abs_diff(frames) <= 3, "{rate}: {passed}");
        }
    }

    #[test]
    fn an_encoder_that_makes_too_much_gets_fewer_frames() {
        // A frame of 8000 bytes is 64000 bits: 15.6 of them in a second are a million.
        let passed = passed(30.0, 1_000_000, 8000);
        assert!((150..175).contains(&passed), "{passed}");
    }

    #[test]
    fn an_encoder_is_judged_by_what_it_makes() {
        let strained = Load::Strained { bits: 64_000.0 };
        for (bytes, load) in [(8000, strained), (4000, Load::Fair), (1000, Load::Idle)] {
            let mut gate = FrameGate::default();
            let mut found = Load::Unknown;
            for frame in 0..60 {
                if gate.passes(FRAME * frame, 30.0, (1_000_000, 1_000_000)) {
                    gate.made(bytes, false);
                }
                match gate.judge(30.0, 1_000_000) {
                    Load::Unknown => {}
                    judged => found = judged,
                }
            }
            assert_eq!(found, load);
        }
    }

    #[test]
    fn one_big_frame_stops_the_picture_for_a_moment_only() {
        let mut gate = FrameGate::default();
        assert!(gate.passes(Duration::ZERO, 30.0, (500_000, 500_000)));
        gate.made(10_000_000, true);
        let next = (1..100).find(|&frame| gate.passes(FRAME * frame, 30.0, (500_000, 500_000)));
        assert!(next.is_some_and(|frame| frame <= 16), "{next:?}");
    }

    #[test]
    fn a_jump_of_the_time_does_not_stop_the_picture() {
        let mut gate = FrameGate::default();
        assert!(gate.passes(Duration::from_secs(1000), 30.0, (500_000, 500_000)));
        assert!(gate.passes(Duration::from_secs(1), 30.0, (500_000, 500_000)));
        assert!(gate.passes(Duration::from_secs(5000), 30.0, (500_000, 500_000)));
    }

    #[test]
    fn retransmissions_take_their_share_and_less_of_a_full_path() {
        for (congested, share) in [(false, 0.25), (true, 0.05)] {
            let mut budget = Retransmissions::default();
            let mut passed = 0;
            for at in 0..10_000_u32 {
                budget.lost(1);
                let now = Duration::from_millis(at.into());
                passed += u32::from(budget.pass(now, 1250, 2_000_000, congested));
            }
            let wanted = 10.0 * 2_000_000.0 * share / 10_000.0;
            let saved = 2_000_000.0 * 0.125 / 10_000.0;
            let most = wanted + saved + 1.0;
            assert!(
                (wanted - 1.0..=most).contains(&f64::from(passed)),
                "{passed}"
            );
        }
    }

    #[test]
    fn a_full_path_gets_only_again_what_is_lost() {
        let mut budget = Retransmissions::default();
        let mut passed = 0;
        for at in 0..10_000_u32 {
            let now = Duration::from_millis(at.into());
            passed += u32::from(budget.pass(now, 1250, 20_000_000, true));
        }
        assert!((55..=61).contains(&passed), "{passed}");
    }
}

//! One encoder for all viewers of a codec, and a second one for those who can't keep up.
//!
//! The encoder follows its weakest viewer, as long as that one takes at least [`FLOOR`] of what the
//! strongest takes. Who takes less for a while is moved to the low rung, and comes back when it takes
//! nearly as much as the others again. One viewer alone is never moved: then the encoder goes down
//! with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Rung;
use super::budget::Load;
use super::ladder::{Aim, Bits, CONSTANT, Ladder, Picture, held};

/// Viewers that take less than this part of what the strongest takes are below the floor.
const FLOOR: f64 = 0.65;
/// Who takes this part of what the shared encoder makes is soon tried with it.
const NEAR: f64 = 0.5;
/// Who takes this part of what the shared encoder makes may come back.
const BACK: f64 = 0.8;
/// How long a viewer must be below the floor before it is moved.
const BELOW: Duration = Duration::from_millis(600);
/// How long a viewer must take enough before it comes back, at first.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for a viewer that came back too early again and again.
const PATIENCE_MOST: Duration = Duration::from_secs(120);
/// The low rung's picture may be too simple to show what the path takes. Who takes at
/// least [`NEAR`] without congestion is tried after the same time, anyone else after this many times of it.
const TRIAL: u32 = 4;
/// Who must be moved again within this time came back too early.
const RELAPSE: Duration = Duration::from_secs(20);

/// A viewer of one source in one codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::media) struct ViewerId(pub(in crate::media) u64);

/// What is known of a viewer's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::media) struct Report {
    /// What this stream may send, in bits per second; `None` without feedback.
    pub(in crate::media) target: Option<u64>,
    /// The same when no queue is to be emptied.
    pub(in crate::media) steady: u64,
    /// Too little is sent to try more, and what is sent arrives.
    pub(in crate::media) limited: bool,
}

/// What the encoders do, and who moves.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) struct Plan {
    /// The shared encoder; `None` if nobody is on it.
    pub(in crate::media) full: Option<Aim>,
    /// The low rung's; `None` if nobody is on it.
    pub(in crate::media) low: Option<Aim>,
    /// Who moves where.
    pub(in crate::media) moves: Vec<Move>,
}

/// A viewer's move from one encoder to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Move {
    /// Who.
    pub(in crate::media) viewer: ViewerId,
    /// Where to.
    pub(in crate::media) rung: Rung,
    /// What its path is to be tried with, in bits per second: what it is known to take isn't enough
    /// to stay there.
    pub(in crate::media) trial: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::media) struct Sharing {
    viewers: BTreeMap<ViewerId, Viewer>,
    full: Ladder,
    low: Ladder,
    /// What the shared encoder made last.
    made: Option<u32>,
}

#[derive(Debug)]
struct Viewer {
    rung: Rung,
    below: Option<Duration>,
    enough: Option<Duration>,
    trial: Option<Duration>,
    back: Option<Duration>,
    patience: Duration,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            viewers: BTreeMap::new(),
            full: Ladder::new(Rung::Full),
            low: Ladder::new(Rung::Low),
            made: None,
        }
    }
}

impl Sharing {
    /// What the shared encoder was told last, in bits per second.
    pub(in crate::media) const fn made(&self) -> Option<u32> {
        self.made
    }

    /// Decides for all viewers that there are. Whoever is new is on [`Rung::Full`]. `load` says how an
    /// encoder got on.
    pub(in crate::media) fn decide(
        &mut self,
        now: Duration,
        picture: Picture,
        reports: &[(ViewerId, Report)],
        load: impl Fn(Rung) -> Load,
    ) -> Plan {
        let takes: Takes = reports
            .iter()
            .map(|(id, report)| (*id, Take::new(report, picture.most())))
            .collect();
        self.viewers.retain(|id, _| takes.contains_key(id));
        for id in takes.keys() {
            self.viewers.entry(*id).or_insert_with(Viewer::new);
        }
        let mut moves = self.gather();
        let strongest = self
            .on(Rung::Full, &takes)
            .map(|take| take.bits.steady)
            .max();
        let floor = f64::from(strongest.unwrap_or(0)) * FLOOR;
        self.look_below(now, floor, &takes, &mut moves);
        let followed = self.on(Rung::Full, &takes);
        let full =
            weakest(followed.filter(|take| f64::from(take.bits.steady) >= floor)).map(|bits| {
                Bits {
                    now: bits.now.max(floor as u32),
                    ..bits
                }
            });
        self.made = full.map(|bits| bits.now).or(self.made);
        self.look_above(now, full.map(|bits| bits.steady), &takes, &mut moves);
        let low = weakest(self.on(Rung::Low, &takes));
        if low.is_none() {
            self.low = Ladder::new(Rung::Low).beside(&self.full);
        }
        let full = full.map(|bits| self.full.climb(now, bits, picture, load(Rung::Full)));
        let low = low.map(|bits| self.low.climb(now, bits, picture, load(Rung::Low)));
        Plan { full, low, moves }
    }

    /// What the viewers on a rung take.
    fn on<'a>(&'a self, rung: Rung, takes: &'a Takes) -> impl Iterator<Item = Take> + 'a {
        let on = self.viewers.iter().filter(move |(_, it)| it.rung == rung);
        on.filter_map(|(id, _)| takes.get(id).copied())
    }

    /// If nobody is left on the shared encoder, the low rung has no point.
    fn gather(&mut self) -> Vec<Move> {
        if self
            .viewers
            .values()
            .any(|viewer| viewer.rung == Rung::Full)
        {
            return Vec::new();
        }
        let all = self.viewers.iter_mut();
        all.map(|(id, viewer)| {
            viewer.rung = Rung::Full;
            (viewer.enough, viewer.trial) = (None, None);
            Move::to(*id, Rung::Full)
        })
        .collect()
    }

    /// Moves whoever was below the floor for too long.
    fn look_below(&mut self, now: Duration, floor: f64, takes: &Takes, moves: &mut Vec<Move>) {
        for (id, viewer) in &mut self.viewers {
            let take = takes.get(id).copied().unwrap_or_default();
            if viewer.rung == Rung::Low || f64::from(take.bits.steady) >= floor {
                viewer.below = None;
                continue;
            }
            if now.saturating_sub(*viewer.below.get_or_insert(now)) < BELOW {
                continue;
            }
            let relapsed = viewer
                .back
                .is_some_and(|back| now.saturating_sub(back) < RELAPSE);
            viewer.patience = match relapsed {
                true => (viewer.patience * 2).min(PATIENCE_MOST),
                false => PATIENCE,
            };
            viewer.rung = Rung::Low;
            (viewer.below, viewer.enough, viewer.trial) = (None, None, None);
            moves.push(Move::to(*id, Rung::Low));
        }
    }

    /// Moves whoever takes enough for long enough back.
    fn look_above(
        &mut self,
        now: Duration,
        full: Option<u32>,
        takes: &Takes,
        moves: &mut Vec<Move>,
    ) {
        let enough = f64::from(full.unwrap_or(0)) * BACK;
        for (id, viewer) in &mut self.viewers {
            if viewer.rung == Rung::Full {
                continue;
            }
            let take = takes.get(id).copied().unwrap_or_default();
            let takes_enough = f64::from(take.bits.steady) >= enough;
            let proven = held(&mut viewer.enough, now, takes_enough, viewer.patience);
            let near = f64::from(take.bits.steady) >= enough / BACK * NEAR;
            let wait = viewer.patience * if near { 1 } else { TRIAL };
            let trial = held(&mut viewer.trial, now, take.limited, wait);
            if proven || trial {
                viewer.rung = Rung::Full;
                viewer.back = Some(now);
                (viewer.enough, viewer.trial) = (None, None);
                moves.push(Move {
                    trial: full.filter(|_| !proven),
                    ..Move::to(*id, Rung::Full)
                });
            }
        }
    }
}

/// What one viewer takes.
#[derive(Debug, Clone, Copy, Default)]
struct Take {
    bits: Bits,
    limited: bool,
}

type Takes = BTreeMap<ViewerId, Take>;

impl Take {
    fn new(report: &Report, most: u32) -> Self {
        let (target, steady) = match report.target {
            Some(target) => (target, report.steady.max(target)),
            None => (CONSTANT.into(), CONSTANT.into()),
        };
        let whole = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
        let bits = Bits {
            now: whole(target).min(most),
            steady: whole(steady).min(most),
            room: whole(steady),
        };
        let limited = report.limited;
        Self { bits, limited }
    }
}

/// The least that any of them takes.
fn weakest(takes: impl Iterator<Item = Take>) -> Option<Bits> {
    takes.map(|take| take.bits).reduce(Bits::least)
}

impl Move {
    const fn to(viewer: ViewerId, rung: Rung) -> Self {
        let trial = None;
        Self {
            viewer,
            rung,
            trial,
        }
    }
}

impl Viewer {
    const fn new() -> Self {
        Self {
            rung: Rung::Full,
            below: None,
            enough: None,
            trial: None,
            back: None,
            patience: PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Picture = Picture {
        width: 640,
        height: 360,
        rate: 30.0,
    };
    const A: ViewerId = ViewerId(1);
    const B: ViewerId = ViewerId(2);

    /// Everything that moved in so many seconds, and the last plan.
    fn run(
        sharing: &mut Sharing,
        now: &mut Duration,
        seconds: u64,
        takes: &[(ViewerId, Option<u64>, bool)],
    ) -> (Vec<Move>, Plan) {
        let reports: Vec<_> = takes
            .iter()
            .map(|&(id, target, limited)| {
                let steady = target.unwrap_or(0);
                let report = Report {
                    target,
                    steady,
                    limited,
                };
                (id, report)
            })
            .collect();
        let mut moves = Vec::new();
        let mut plan = sharing.decide(*now, PICTURE, &reports, |_| Load::Fair);
        moves.append(&mut plan.moves);
        for _ in 0..seconds * 10 {
            *now += Duration::from_millis(100);
            plan = sharing.decide(*now, PICTURE, &reports, |_| Load::Fair);
            moves.append(&mut plan.moves);
        }
        (moves, plan)
    }

    fn bits(aim: Option<Aim>) -> Option<u32> {
        aim.map(|aim| aim.bitrate)
    }

    #[test]
    fn the_encoder_follows_the_weakest_above_the_floor() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let takes = [(A, Some(1_600_000), false), (B, Some(2_400_000), false)];
        let (moves, plan) = run(&mut sharing, &mut now, 60, &takes);
        assert_eq!((moves, bits(plan.full)), (vec![], Some(1_600_000)));
        assert_eq!(plan.low, None);
    }

    #[test]
    fn one_viewer_alone_takes_the_encoder_along() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        for target in [2_400_000, 300_000, 2_400_000] {
            let takes = [(A, Some(target), false)];
            let (moves, plan) = run(&mut sharing, &mut now, 30, &takes);
            assert_eq!((moves, bits(plan.full)), (vec![], Some(target as u32)));
        }
    }

    #[test]
    fn one_bad_path_is_served_apart_and_comes_back() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let good = (B, Some(2_400_000), false);
        let (moves, plan) = run(
            &mut sharing,
            &mut now,
            2,
            &[(A, Some(500_000), false), good],
        );
        assert_eq!(moves, [Move::to(A, Rung::Low)]);
        assert_eq!(bits(plan.full), Some(2_400_000));
        let low = plan.low.unwrap();
        assert_eq!((low.bitrate, low.size), (500_000, (320, 180)));
        let (moves, _) = run(
            &mut sharing,
            &mut now,
            60,
            &[(A, Some(1_500_000), false), good],
        );
        assert_eq!(moves, []);
        let (moves, plan) = run(
            &mut sharing,
            &mut now,
            4,
            &[(A, Some(2_000_000), false), good],
        );
        assert_eq!(moves, [Move::to(A, Rung::Full)]);
        assert_eq!((bits(plan.full), plan.low), (Some(2_000_000), None));
    }

    #[test]
    fn who_falls_back_must_wait_longer_each_time() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let good = (B, Some(2_400_000), false);
        let mut moved = 0;
        // What a path of 1 Mbit/s looks like to someone who tries it all the time.
        for _ in 0..600 {
            let (moves, _) = run(&mut sharing, &mut now, 0, &[(A, Some(900_000), true), good]);
            moved += moves.len();
            now += Duration::from_secs(1);
        }
        assert!((4..16).contains(&moved), "{moved} moves in 10 minutes");
    }

    #[test]
    fn a_simple_picture_does_not_keep_a_viewer_down_for_ever() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let good = (B, Some(2_400_000), false);
        run(
            &mut sharing,
            &mut now,
            2,
            &[(A, Some(500_000), false), good],
        );
        let limited = [(A, Some(700_000), true), good];
        let (moves, _) = run(&mut sharing, &mut now, 12, &limited);
        let back = Move {
            trial: Some(2_400_000),
            ..Move::to(A, Rung::Full)
        };
        assert_eq!(moves, [back]);
    }

    #[test]
    fn the_last_viewer_is_on_the_shared_encoder() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let bad = (A, Some(500_000), false);
        run(
            &mut sharing,
            &mut now,
            2,
            &[bad, (B, Some(2_400_000), false)],
        );
        let (moves, plan) = run(&mut sharing, &mut now, 1, &[bad]);
        assert_eq!(moves, [Move::to(A, Rung::Full)]);
        assert_eq!((bits(plan.full), plan.low), (Some(500_000), None));
        assert_eq!(run(&mut sharing, &mut now, 1, &[]).1.full, None);
    }

    #[test]
    fn without_feedback_the_rate_is_constant() {
        let (mut sharing, mut now) = (Sharing::default(), Duration::ZERO);
        let (_, plan) = run(&mut sharing, &mut now, 10, &[(A, None, false)]);
        assert_eq!(bits(plan.full), Some(CONSTANT));
    }
}

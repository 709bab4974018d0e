//! Which layer of a simulcast publisher a subscriber gets.

use std::time::{Duration, Instant};

/// How often layers are measured and chosen.
pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// How long a higher layer must fit before it is taken.
const RISE_AFTER: Duration = Duration::from_secs(1);
/// A higher layer is taken only if the path has this much to spare, in percent of the layer's rate.
const RISE_MARGIN: u64 = 115;
/// How long an estimate isn't believed after a switch, and how often it begins anew meanwhile.
const SETTLE: Duration = Duration::from_secs(5);
const ANEW: Duration = Duration::from_millis(750);
/// The share of a new measurement in a layer's rate, in percent.
const SMOOTHING: u64 = 30;
/// How long a better layer is missed before the path is first measured anew, and at most.
const RETRY: Duration = Duration::from_secs(4);
const LONGEST_RETRY: Duration = Duration::from_secs(32);
/// What the subscriber's other streams need, in bit/s.
const AUDIO: u64 = 50_000;

/// Measures one layer's rate.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: u64,
    rate: u64,
    silent: u32,
}

impl Meter {
    /// A packet arrived.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A [`PERIOD`] is over.
    pub(super) fn tick(&mut self) {
        let periods = 1_000 / PERIOD.as_millis() as u64;
        let now = std::mem::take(&mut self.bytes) * 8 * periods;
        self.silent = if now == 0 { self.silent + 1 } else { 0 };
        self.rate = if self.rate == 0 {
            now
        } else {
            (self.rate * (100 - SMOOTHING) + now * SMOOTHING) / 100
        };
        // Five frames a second is the least that counts as running.
        if self.silent >= 3 {
            self.rate = 0;
        }
    }

    /// In bit/s; 0 for a layer that isn't sent.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }
}

/// One subscriber's choice.
#[derive(Debug, Default)]
pub(super) struct Choice {
    wanted: Option<usize>,
    /// The smallest that is sent.
    lowest: Option<usize>,
    rising: Option<(usize, Instant)>,
}

impl Choice {
    /// The layer to switch to at its next keyframe, or to stay on. None: whichever comes first.
    pub(super) fn wanted(&self) -> Option<usize> {
        self.wanted
    }

    /// Whether a better layer is sent than the path takes.
    pub(super) fn is_missing(&self, rates: &[u64]) -> bool {
        let held = self.wanted.and_then(|held| rates.get(held));
        held.is_some_and(|held| rates.iter().any(|rate| rate > held))
    }

    /// Falls to the smallest layer. False: there is none smaller than this one.
    pub(super) fn fall(&mut self) -> bool {
        self.rising = None;
        let falls = self.lowest.is_some() && self.lowest != self.wanted;
        if falls {
            self.wanted = self.lowest;
        }
        falls
    }

    /// Chooses again, by the layers' rates and the path's estimate, in bit/s. Falls at once to what
    /// fits, unless it `settles` on a layer; rises after a while with room to spare, and never below
    /// the lowest layer that is sent.
    pub(super) fn choose(&mut self, now: Instant, rates: &[u64], estimate: u64, settles: bool) {
        let room = estimate.saturating_sub(AUDIO);
        let fits = |margin: u64| best(rates, |rate| rate * margin / 100 <= room);
        let Some(lowest) = best(rates, |rate| {
            rates.iter().all(|&other| other == 0 || rate <= other)
        }) else {
            return;
        };
        self.lowest = Some(lowest);
        let Some(held) = self.wanted.filter(|&held| rates[held] > 0) else {
            self.wanted = Some(fits(100).unwrap_or(lowest));
            self.rising = None;
            return;
        };
        let highest = fits(RISE_MARGIN).unwrap_or(lowest);
        if rates[highest] > rates[held] {
            match self.rising {
                Some((layer, since)) if layer == highest => {
                    if now.saturating_duration_since(since) >= RISE_AFTER {
                        self.wanted = Some(highest);
                        self.rising = None;
                    }
                }
                _ => self.rising = Some((highest, now)),
            }
            return;
        }
        self.rising = None;
        if rates[held] > room && !settles {
            self.wanted = Some(fits(100).unwrap_or(lowest));
        }
    }
}

/// The time after a switch. The first large frames of a higher layer make a small queue, of which the
/// estimator learns while what has arrived is still that of the lower one: it falls below that. So it
/// isn't believed for a while, and begins anew from the layer's rate when it falls; unless the
/// subscriber's own reports say that the path is overloaded.
#[derive(Debug, Default)]
pub(super) struct Settling {
    since: Option<Instant>,
    anew: Option<Instant>,
}

impl Settling {
    /// Another layer is sent from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.anew = Some(now);
    }

    /// The path is overloaded.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Whether estimates are not to be believed.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now < since + SETTLE)
    }

    /// Whether to measure anew from the layer's rate, where the estimate is below.
    pub(super) fn fires(&mut self, now: Instant) -> bool {
        let fires = self.is_on(now) && self.anew.is_some_and(|last| now >= last + ANEW);
        if fires {
            self.anew = Some(now);
        }
        fires
    }
}

/// When to measure a path anew that takes less than the best layer. An estimate that fell finds up by
/// itself only if much less than it is sent; a lower layer of nearly its rate keeps it down.
#[derive(Debug, Default)]
pub(super) struct Retry {
    next: Option<(Instant, Duration)>,
}

impl Retry {
    /// Whether to measure now; `missing`: whether a better layer is missed. In vain it waits twice as
    /// long for the next time.
    pub(super) fn fires(&mut self, now: Instant, missing: bool) -> bool {
        if !missing {
            self.next = None;
            return false;
        }
        let (at, pause) = *self.next.get_or_insert((now + RETRY, RETRY));
        if now < at {
            return false;
        }
        let pause = (pause * 2).min(LONGEST_RETRY);
        self.next = Some((now + pause, pause));
        true
    }
}

/// The layer with the highest rate among those that are sent and pass.
fn best(rates: &[u64], pass: impl Fn(u64) -> bool) -> Option<usize> {
    rates
        .iter()
        .enumerate()
        .filter(|&(_, &rate)| rate > 0 && pass(rate))
        .max_by_key(|&(_, &rate)| rate)
        .map(|(layer, _)| layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [1_500_000, 500_000, 150_000];

    #[test]
    fn the_first_choice_is_the_highest_that_fits() {
        for (estimate, layer) in [(3_000_000, 0), (1_000_000, 1), (300_000, 2), (10_000, 2)] {
            let mut choice = Choice::default();
            choice.choose(Instant::now(), &RATES, estimate, false);
            assert_eq!(choice.wanted(), Some(layer), "{estimate}");
        }
    }

    #[test]
    fn a_fall_is_immediate_and_a_rise_waits() {
        let mut now = Instant::now();
        let mut choice = Choice::default();
        choice.choose(now, &RATES, 3_000_000, false);
        choice.choose(now, &RATES, 600_000, false);
        assert_eq!(choice.wanted(), Some(1));
        choice.choose(now, &RATES, 3_000_000, false);
        assert_eq!(choice.wanted(), Some(1));
        now += RISE_AFTER / 2;
        choice.choose(now, &RATES, 3_000_000, false);
        assert_eq!(choice.wanted(), Some(1));
        now += RISE_AFTER / 2;
        choice.choose(now, &RATES, 3_000_000, false);
        assert_eq!(choice.wanted(), Some(0));
    }

    #[test]
    fn an_estimate_that_wavers_about_a_rate_does_not_switch_back_and_forth() {
        let mut now = Instant::now();
        let mut choice = Choice::default();
        choice.choose(now, &RATES, 1_000_000, false);
        for step in 0..100 {
            now += PERIOD;
            let estimate = if step % 2 == 0 { 1_500_000 } else { 1_700_000 };
            choice.choose(now, &RATES, estimate, false);
            assert_eq!(choice.wanted(), Some(1));
        }
    }

    #[test]
    fn a_better_layer_is_missed_while_a_lower_one_is_held() {
        let mut choice = Choice::default();
        assert!(!choice.is_missing(&RATES));
        choice.choose(Instant::now(), &RATES, 1_000_000, false);
        assert!(choice.is_missing(&RATES));
        assert!(!choice.is_missing(&[0, 500_000, 150_000]));
    }

    #[test]
    fn a_path_is_measured_anew_ever_more_rarely_while_a_layer_is_missed() {
        let begin = Instant::now();
        let mut retry = Retry::default();
        let mut fired = |missing: bool, seconds: std::ops::Range<u64>| {
            seconds
                .filter(|&s| retry.fires(begin + Duration::from_secs(s), missing))
                .collect::<Vec<_>>()
        };
        assert_eq!(fired(true, 0..100), [4, 12, 28, 60, 92]);
        assert!(fired(false, 100..110).is_empty());
        assert_eq!(fired(true, 110..120), [114]);
    }

    #[test]
    fn a_layer_that_stops_is_left() {
        let now = Instant::now();
        let mut choice = Choice::default();
        choice.choose(now, &RATES, 3_000_000, false);
        choice.choose(now, &[0, 500_000, 150_000], 3_000_000, false);
        assert_eq!(choice.wanted(), Some(1));
        choice.choose(now, &[0, 0, 0], 3_000_000, false);
        assert_eq!(choice.wanted(), Some(1));
    }

    #[test]
    fn a_meter_tells_the_rate_and_that_a_layer_stopped() {
        let mut meter = Meter::default();
        for _ in 0..20 {
            meter.add(12_500);
            meter.tick();
        }
        assert_eq!(meter.rate(), 500_000);
        for _ in 0..3 {
            meter.tick();
        }
        assert_eq!(meter.rate(), 0);
    }

    #[test]
    fn an_overload_leads_to_the_smallest_layer_at_once() {
        let mut choice = Choice::default();
        assert!(!choice.fall());
        choice.choose(Instant::now(), &RATES, 3_000_000, false);
        assert!(choice.fall());
        assert_eq!(choice.wanted(), Some(2));
        assert!(!choice.fall());
    }

    #[test]
    fn a_switch_is_given_time_before_an_estimate_ends_it() {
        let now = Instant::now();
        let mut choice = Choice::default();
        choice.choose(now, &RATES, 3_000_000, false);
        let mut settling = Settling::default();
        assert!(!settling.is_on(now) && !settling.fires(now));
        settling.begin(now);
        choice.choose(now, &RATES, 400_000, settling.is_on(now));
        assert_eq!(choice.wanted(), Some(0));
        assert!(!settling.fires(now));
        assert!(settling.fires(now + ANEW) && !settling.fires(now + ANEW));
        assert!(settling.fires(now + 2 * ANEW) && !settling.fires(now + SETTLE));
        choice.choose(now, &RATES, 400_000, settling.is_on(now + SETTLE));
        assert_eq!(choice.wanted(), Some(2));
        settling.begin(now);
        settling.end();
        assert!(!settling.is_on(now));
    }
}

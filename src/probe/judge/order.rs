//! Numbers that wrap around, and what their order tells.

/// How far back a late number is still told from a new count.
const WINDOW: u64 = 1024;
/// A jump ahead by more than this is a new count.
const JUMP: u64 = 1 << 16;

/// Numbers of so many bits, as they come.
#[derive(Debug, Clone)]
pub(super) struct Order {
    bits: u32,
    /// The greatest number yet, without wrap-around.
    top: Option<u64>,
    /// Whether each of the last numbers was seen; bit 0 of the first word is `top`.
    seen: [u64; (WINDOW / 64) as usize],
}

/// What a number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The first one.
    First,
    /// A new one; so many before it have not been seen.
    Next(u64),
    /// Seen already.
    Repeated,
    /// An earlier one, not seen before.
    Late,
    /// The count has begun anew.
    Restart,
}

impl Order {
    pub(super) const fn new(bits: u32) -> Self {
        Self {
            bits,
            top: None,
            seen: [0; (WINDOW / 64) as usize],
        }
    }

    /// Takes the next number.
    pub(super) fn take(&mut self, number: u32) -> Step {
        let Some(top) = self.top else {
            self.begin(number);
            return Step::First;
        };
        let modulus = 1_u64 << self.bits;
        // How far ahead of the top it is, as the shorter way round.
        let ahead = u64::from(number).wrapping_sub(top) & (modulus - 1);
        let behind = modulus - ahead;
        if ahead == 0 {
            return Step::Repeated;
        }
        if ahead <= JUMP.min(modulus / 2) {
            self.top = Some(top + ahead);
            self.shift(ahead);
            self.set(0);
            return Step::Next(ahead - 1);
        }
        if behind >= WINDOW || behind > top {
            self.begin(number);
            return Step::Restart;
        }
        if self.is_set(behind) {
            return Step::Repeated;
        }
        self.set(behind);
        Step::Late
    }

    /// Begins anew.
    pub(super) const fn forget(&mut self) {
        self.top = None;
    }

    fn begin(&mut self, number: u32) {
        // One round up, so that a late number before the first one is no negative one.
        self.top = Some(u64::from(number) + (1 << self.bits));
        self.seen = [0; (WINDOW / 64) as usize];
        self.set(0);
    }

    /// Moves everything back by so many places.
    fn shift(&mut self, by: u64) {
        let (words, bits) = (usize::try_from(by / 64).unwrap_or(usize::MAX), by % 64);
        for at in (0..self.seen.len()).rev() {
            let word = |back: usize| {
                at.checked_sub(words.saturating_add(back))
                    .and_then(|index| self.seen.get(index).copied())
                    .unwrap_or_default()
            };
            let carried = if bits == 0 { 0 } else { word(1) >> (64 - bits) };
            let moved = word(0) << bits | carried;
            if let Some(slot) = self.seen.get_mut(at) {
                *slot = moved;
            }
        }
    }

    fn set(&mut self, back: u64) {
        let word = usize::try_from(back / 64).unwrap_or(usize::MAX);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= 1 << (back % 64);
        }
    }

    fn is_set(&self, back: u64) -> bool {
        let word = usize::try_from(back / 64).unwrap_or(usize::MAX);
        self.seen
            .get(word)
            .is_some_and(|word| word >> (back % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(numbers: &[u32]) -> Vec<Step> {
        let mut order = Order::new(24);
        numbers.iter().map(|&number| order.take(number)).collect()
    }

    #[test]
    fn each_number_is_new_repeated_late_or_of_a_new_count() {
        use Step::{First, Late, Next, Repeated, Restart};
        assert_eq!(
            steps(&[5, 6, 6, 9, 7, 7, 9, 10, 4, 2000, 3]),
            [
                First,
                Next(0),
                Repeated,
                Next(2),
                Late,
                Repeated,
                Repeated,
                Next(0),
                Late,
                Next(1989),
                Restart
            ]
        );
        assert_eq!(steps(&[100_000, 0, 1]), [First, Restart, Next(0)]);
        assert_eq!(steps(&[0, 1_000_000]), [First, Restart]);
    }

    #[test]
    fn a_count_goes_on_after_its_greatest_number() {
        use Step::{First, Late, Next, Repeated};
        let last = (1 << 24) - 1;
        assert_eq!(
            steps(&[last - 1, 0, last, 1, 0]),
            [First, Next(1), Late, Next(0), Repeated]
        );
    }

    #[test]
    fn a_number_is_remembered_for_the_whole_window_and_no_longer() {
        for distance in [63, 64, 65, 500, 1023] {
            assert_eq!(steps(&[0, distance, 0])[2], Step::Repeated, "{distance}");
            assert_eq!(steps(&[0, distance, 1])[2], Step::Late, "{distance}");
        }
        assert_eq!(steps(&[0, 1024, 0])[2], Step::Restart);
    }
}

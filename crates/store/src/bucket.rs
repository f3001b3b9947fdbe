//! A token bucket in whole numbers.
//!
//! A bucket holds a minute's allowance and refills evenly. Its level is counted in sixty-millionths of a unit, so that
//! `n` per minute is exactly `n` per microsecond: nothing is lost to rounding however often it is asked.

use std::time::Duration;

/// Parts of one request or token.
const PARTS: i64 = 60_000_000;

/// How full a bucket was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// In parts; below zero after more was used than had been foreseen.
    pub(crate) level: i64,
    /// In microseconds since 1970.
    pub(crate) filled_at: i64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn full(per_minute: u32, now: i64) -> Self {
        Self { level: i64::from(per_minute) * PARTS, filled_at: now }
    }

    /// Adds what has run in since. A clock that was set back adds nothing.
    pub(crate) fn refill(&mut self, per_minute: u32, now: i64) {
        let elapsed = now.saturating_sub(self.filled_at).max(0);
        let level = self.level.saturating_add(elapsed.saturating_mul(i64::from(per_minute)));
        *self = Self { level: level.min(i64::from(per_minute) * PARTS), filled_at: now };
    }

    /// How long until `amount` can be taken; nothing where it can be now. What is more than a minute's allowance can be
    /// taken from a full bucket, which then is in debt: otherwise it could never be had.
    pub(crate) fn wait(&self, amount: u32, per_minute: u32) -> Option<Duration> {
        let missing = i64::from(amount.min(per_minute)) * PARTS - self.level;
        let micros = (missing > 0).then(|| (missing as u64).div_ceil(u64::from(per_minute.max(1))))?;
        Some(Duration::from_micros(micros))
    }

    /// Takes it, into debt where need be. A negative amount gives back.
    pub(crate) fn take(&mut self, amount: i64) {
        self.level = self.level.saturating_sub(parts(amount));
    }

    /// Whole units left.
    pub(crate) fn left(&self) -> u32 {
        u32::try_from(self.level.max(0) / PARTS).unwrap_or(u32::MAX)
    }
}

/// An amount in parts.
pub(crate) fn parts(amount: i64) -> i64 {
    amount.saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn sixty_a_minute_are_one_a_second() {
        let mut bucket = Bucket::full(60, 0);
        for _ in 0..60 {
            assert_eq!(bucket.wait(1, 60), None);
            bucket.take(1);
        }
        assert_eq!(bucket.wait(1, 60), Some(Duration::from_secs(1)));
        bucket.refill(60, SECOND - 1);
        assert_eq!(bucket.wait(1, 60), Some(Duration::from_micros(1)));
        bucket.refill(60, SECOND);
        assert_eq!((bucket.wait(1, 60), bucket.left()), (None, 1));
        bucket.refill(60, 1000 * SECOND);
        assert_eq!(bucket.left(), 60);
    }

    #[test]
    fn debt_is_waited_for_and_a_refund_shortens_it() {
        let mut bucket = Bucket::full(600, 0);
        assert_eq!(bucket.wait(5000, 600), None);
        bucket.take(5000);
        assert_eq!(bucket.left(), 0);
        assert_eq!(bucket.wait(1, 600), Some(Duration::from_millis(440_100)));
        bucket.take(-4400);
        assert_eq!(bucket.wait(1, 600), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_clock_set_back_gives_nothing() {
        let mut bucket = Bucket::full(60, 100 * SECOND);
        bucket.take(60);
        bucket.refill(60, 0);
        assert_eq!(bucket.left(), 0);
        bucket.refill(60, SECOND);
        assert_eq!(bucket.left(), 1);
    }

    proptest! {
        /// However often and whenever it is asked, no more runs out than had run in.
        #[test]
        fn nothing_is_made_or_lost(per_minute in 1_u32..100_000, steps in prop::collection::vec((0_i64..5_000_000, 1_u32..500), 1..200)) {
            let mut bucket = Bucket::full(per_minute, 0);
            let (mut now, mut taken) = (0_i64, 0_i64);
            for (pause, amount) in steps {
                now += pause;
                bucket.refill(per_minute, now);
                let amount = amount.min(per_minute);
                match bucket.wait(amount, per_minute) {
                    None => { bucket.take(i64::from(amount)); taken += i64::from(amount); }
                    Some(wait) => {
                        // Waiting as long as told is enough, and a microsecond less is not.
                        let wait = i64::try_from(wait.as_micros()).unwrap();
                        let mut later = bucket;
                        later.refill(per_minute, now + wait);
                        prop_assert_eq!(later.wait(amount, per_minute), None);
                        let mut sooner = bucket;
                        sooner.refill(per_minute, now + wait - 1);
                        prop_assert!(sooner.wait(amount, per_minute).is_some());
                    }
                }
            }
            let run_in = i128::from(per_minute) * i128::from(PARTS) + i128::from(now) * i128::from(per_minute);
            prop_assert!(i128::from(taken) * i128::from(PARTS) <= run_in);
        }
    }
}

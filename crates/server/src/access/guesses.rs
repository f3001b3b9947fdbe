//! Wrong passwords, so many from one place and no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords that one place may try at once, and then one for each [`EVERY`].
const AT_ONCE: u32 = 5;
const EVERY: Duration = Duration::from_secs(30);
/// Places that are remembered. Where there are more, all that come anew share one.
const MOST: usize = 10_000;

/// Who tried how often.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<Option<IpAddr>, Tries>>);

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    /// When one was last taken off.
    since: Instant,
}

impl Guesses {
    /// Counts a try before it is looked at, so that many at once are many. Tells how long to wait where there were too
    /// many.
    pub(super) fn begin(&self, source: Option<IpAddr>) -> Result<(), Duration> {
        self.begin_at(source, Instant::now())
    }

    fn begin_at(&self, source: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, tries| tries.at(now).count > 0);
        }
        let mut place = source.map(network);
        if known.len() >= MOST && !known.contains_key(&place) {
            place = None;
        }
        let tries = known.entry(place).or_insert(Tries { count: 0, since: now });
        *tries = tries.at(now);
        if tries.count >= AT_ONCE {
            return Err(EVERY.saturating_sub(now.saturating_duration_since(tries.since)));
        }
        tries.count += 1;
        Ok(())
    }

    /// The password was right: what was tried before is forgotten.
    pub(super) fn forget(&self, source: Option<IpAddr>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&source.map(network));
    }
}

impl Tries {
    /// As they stand now: each [`EVERY`] takes one off.
    fn at(self, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.since).as_secs() / EVERY.as_secs();
        let off = u32::try_from(passed).unwrap_or(u32::MAX);
        if off >= self.count {
            return Self { count: 0, since: now };
        }
        Self { count: self.count - off, since: self.since + EVERY * off }
    }
}

/// An address, or of those that one household has billions of, what they have in common.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn five_at_once_and_then_one_each_half_minute() {
        let guesses = Guesses::default();
        let begun = Instant::now();
        let tried = |source: &str, seconds| guesses.begin_at(address(source), begun + Duration::from_secs(seconds));
        assert!((0..5).all(|_| tried("10.0.0.1", 0).is_ok()));
        assert_eq!(tried("10.0.0.1", 10), Err(Duration::from_secs(20)));
        assert!(tried("10.0.0.2", 10).is_ok(), "others are not kept out");
        assert!(tried("10.0.0.1", 30).is_ok() && tried("10.0.0.1", 30).is_err());
        assert_eq!((0..10).filter(|_| tried("10.0.0.1", 100).is_ok()).count(), 2);
        assert_eq!((0..10).filter(|_| tried("10.0.0.1", 10_000).is_ok()).count(), 5);
        guesses.forget(address("10.0.0.1"));
        assert!(tried("10.0.0.1", 10_000).is_ok());
    }

    #[test]
    fn a_household_is_one_place_and_so_are_those_beyond_what_is_remembered() {
        let guesses = Guesses::default();
        let begun = Instant::now();
        let tried = |source: &str| guesses.begin_at(address(source), begun).is_ok();
        assert!((1..=5).all(|host| tried(&format!("2001:db8::{host}"))) && !tried("2001:db8::6"));
        assert!((0..5).all(|_| tried("::ffff:10.0.0.1")) && !tried("10.0.0.1"));
        let many =
            |from: u32, count| (from..from + count).filter(|host| tried(&format!("11.{}.{}.1", host >> 8, host & 255)));
        assert_eq!(many(0, 20_000).count(), MOST - 2 + 5);
        assert!(guesses.0.lock().unwrap().len() <= MOST + 1);
    }
}

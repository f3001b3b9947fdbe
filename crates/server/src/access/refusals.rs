//! Refusals in the audit log, so many and no more: whoever is refused must not be able to fill a disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are noted at once, and then one for each [`EVERY`].
const AT_ONCE: u32 = 60;
const EVERY: Duration = Duration::from_secs(1);

/// How many refusals may be noted, and how many were not.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    noted: u32,
    last: Option<Instant>,
    unnoted: u64,
}

impl Refusals {
    /// Whether this refusal is noted: then how many before it were not.
    pub(super) fn next(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = state.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let free = u32::try_from(elapsed.as_secs() / EVERY.as_secs()).unwrap_or(u32::MAX);
        if free > 0 || state.last.is_none() {
            state.noted = state.noted.saturating_sub(free);
            state.last = Some(now);
        }
        if state.noted >= AT_ONCE {
            state.unnoted += 1;
            return None;
        }
        state.noted += 1;
        Some(std::mem::take(&mut state.unnoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let refusals = Refusals::default();
        let begun = Instant::now();
        let noted = (0..1000).filter(|_| refusals.at(begun).is_some()).count();
        assert_eq!(noted, 60);
        // A second later one more is noted, and it tells of the 940.
        let later = begun + Duration::from_secs(1);
        assert_eq!((refusals.at(later), refusals.at(later)), (Some(940), None));
        let much_later = begun + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| refusals.at(much_later).is_some()).count(), 60);
    }
}

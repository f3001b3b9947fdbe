//! The random numbers of sampling: fixed algorithms, so that a seed gives the same text in every release.
//!
//! The generator is xoshiro256++ 1.0 (Blackman and Vigna, 2019), its state filled by `SplitMix64`, as its authors
//! advise. Each candidate of a request draws from a stream of its own, derived from (seed, candidate); nothing else
//! enters, so neither the number of threads nor the other sequences of a batch can change a draw.

/// Adds entropy to a word: the output function of `SplitMix64`.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// `SplitMix64`: a counter and [`mix`].
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of candidate `candidate` under `seed`. Candidate 0 is xoshiro256++ seeded with `seed` itself.
    #[must_use]
    pub fn new(seed: u64, candidate: usize) -> Self {
        // `mix(0)` is 0, and multiplying by an odd constant is one-to-one: streams of one seed never coincide.
        let mut splitter = SplitMix(seed ^ mix((candidate as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Self { state: [splitter.next(), splitter.next(), splitter.next(), splitter.next()] }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number in `0.0 .. 1.0` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// A seed nobody chose: the random key of a hash map, which the operating system provides.
#[must_use]
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // 53 bits, so that the seed survives a trip through JSON numbers.
    RandomState::new().hash_one(0x5ae3_u64) >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published sequences of both generators.
    #[test]
    fn reference_values() {
        let mut splitter = SplitMix(1_477_776_061_723_855_037);
        for expected in [1_985_237_415_132_408_290, 2_979_275_885_539_914_483, 13_511_426_838_097_143_398] {
            assert_eq!(splitter.next(), expected);
        }
        let mut random = Random { state: [1, 2, 3, 4] };
        for expected in
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386, 9_228_616_714_210_784_205]
        {
            assert_eq!(random.next_u64(), expected);
        }
    }

    #[test]
    fn candidates_have_streams_of_their_own() {
        let mut firsts: Vec<u64> = (0..1_000).map(|candidate| Random::new(42, candidate).next_u64()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1_000);
    }

    /// Kept as a constant: a change would change every seeded text.
    #[test]
    fn a_seed_keeps_its_numbers() {
        let mut random = Random::new(7, 0);
        let mut again = Random::new(7, 0);
        let draws: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(draws, (0..3).map(|_| again.next_u64()).collect::<Vec<_>>());
        let mean = (0..100_000).map(|_| random.uniform()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }
}

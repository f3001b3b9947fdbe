//! Mutations of valid files. Deterministic: the same seed gives the same inputs on every machine.

/// A small generator of pseudo-random numbers (xorshift64*, Marsaglia 2003 and Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Numbers at which counts, lengths and offsets break.
pub(crate) fn breaking_numbers(len: usize) -> Vec<u64> {
    let len = len as u64;
    let powers = [0, 1, 2, 3, 4, 7, 8, 9, 13, 31, 32, 33, 63, 64, 255, 256, 65_535, 65_536, 1 << 20, 1 << 31, 1 << 32];
    let limits =
        [u64::MAX, u64::MAX - 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 31, 1 << 62, 1 << 61, 1 << 48, 1 << 40];
    let near = [len, len.wrapping_sub(1), len + 1, len / 2, len / 8, len / 13, len.wrapping_sub(24), len * 2];
    [&powers[..], &limits[..], &near[..]].concat()
}

/// Text that breaks a JSON header.
const SNIPPETS: [&str; 20] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "1e999",
    "18446744073709551615",
    "9223372036854775808",
    "0.5",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\"shape\":[0,18446744073709551615,2],",
    "\"dtype\":\"F64\",",
    "\"__metadata__\":{\"a\":\"b\"},",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// One to four mutations of `input`; `other` is a file to take pieces from.
pub(crate) fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        mutate_once(random, &mut bytes, other);
    }
    bytes
}

fn mutate_once(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    // Half of the places lie near the start, where the counts are.
    let near = random.below(2) == 0;
    let at = if near { random.below(bytes.len().min(64)) } else { random.below(bytes.len()) };
    match random.below(12) {
        0 => flip(bytes, at, 1 << random.below(8)),
        1 => flip(bytes, at, random.next() as u8),
        2 | 3 => {
            let number = random.pick(&breaking_numbers(bytes.len()));
            overwrite(bytes, at, &number.to_le_bytes());
        }
        4 => {
            let number = random.pick(&breaking_numbers(bytes.len())) as u32;
            overwrite(bytes, at, &number.to_le_bytes());
        }
        5 => {
            // Type numbers and small counts.
            let number = random.below(48) as u32;
            overwrite(bytes, at, &number.to_le_bytes());
        }
        6 => bytes.truncate(at),
        7 => {
            let end = (at + 1 + random.below(32)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        8 => {
            let from = random.below(bytes.len());
            let piece = bytes[from..(from + random.below(64)).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        9 => {
            let from = random.below(other.len());
            let piece = &other[from..(from + random.below(128)).min(other.len())];
            let end = (at + random.below(64)).min(bytes.len());
            bytes.splice(at.min(end)..end, piece.iter().copied());
        }
        10 => {
            let snippet = random.pick(&SNIPPETS);
            bytes.splice(at..at, snippet.bytes());
        }
        _ => {
            // A digit of a header, or any byte, becomes another digit.
            let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map_or(at, |found| at + found);
            overwrite(bytes, digit, &[b'0' + random.below(10) as u8]);
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= mask.max(1);
    }
}

/// Writes `new` over the bytes at `at`, as far as there are any.
pub(crate) fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
}

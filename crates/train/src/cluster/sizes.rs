//! Counts and bytes as people write them: `600M`, `1.3B`, `24GiB`.

/// Why a size cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: write it like {example}")]
pub struct SizeError {
    /// What was written.
    pub text: String,
    /// `count` or `size`.
    pub what: &'static str,
    /// How it could have been written.
    pub example: &'static str,
}

/// Factors of a count. `B` is a billion, as in the names of models.
const COUNTS: [(&str, f64); 5] = [("k", 1e3), ("m", 1e6), ("b", 1e9), ("g", 1e9), ("t", 1e12)];
/// Factors of bytes.
const BYTES: [(&str, f64); 14] = [
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("k", 1e3),
    ("m", 1e6),
    ("g", 1e9),
    ("t", 1e12),
    ("bytes", 1.0),
    ("b", 1.0),
];

/// A count: `600M`, `1.3B`, `2T`, `64k`, `1e9`, `137_000_000`.
///
/// # Errors
/// [`SizeError`] where it is none, or negative.
///
/// ```
/// use saem_train::cluster::parse_count;
/// assert_eq!(parse_count("1.3B")?, 1.3e9);
/// assert_eq!(parse_count("600m")?, 600e6);
/// assert!(parse_count("many").is_err());
/// # Ok::<(), saem_train::cluster::SizeError>(())
/// ```
pub fn parse_count(text: &str) -> Result<f64, SizeError> {
    parse(text, &COUNTS).ok_or_else(|| SizeError { text: text.to_owned(), what: "count", example: "600M or 1.3B" })
}

/// Bytes: `24GiB`, `900MB`, `24G` (a thousand millions).
///
/// # Errors
/// [`SizeError`] where it is no size, or negative.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let bytes = parse(text, &BYTES).filter(|bytes| *bytes < 1e18);
    bytes.map(|bytes| bytes.round() as u64).ok_or_else(|| SizeError {
        text: text.to_owned(),
        what: "size",
        example: "24GiB or 900MB",
    })
}

fn parse(text: &str, factors: &[(&str, f64)]) -> Option<f64> {
    let plain: String = text.chars().filter(|letter| !letter.is_whitespace() && !"_,".contains(*letter)).collect();
    let plain = plain.to_ascii_lowercase();
    let unit = factors.iter().find(|(unit, _)| plain.ends_with(unit));
    let (number, factor) = unit.map_or((&*plain, 1.0), |(unit, factor)| (plain.trim_end_matches(unit), *factor));
    let number = number.parse::<f64>().ok()? * factor;
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, count) in [
            ("600M", 6e8),
            ("1.3B", 1.3e9),
            ("2T", 2e12),
            ("64k", 64e3),
            ("1e9", 1e9),
            ("137_000_000", 1.37e8),
            ("0", 0.0),
        ] {
            assert_eq!(parse_count(text).unwrap(), count, "{text}");
        }
        for (text, bytes) in [
            ("24GiB", 24 << 30),
            ("900 MB", 900_000_000),
            ("24G", 24_000_000_000),
            ("0.5kib", 512),
            ("7", 7),
            ("12 bytes", 12),
            ("1,024B", 1024),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "many", "-1B", "1.2.3M", "NaN", "infB", "B"] {
            assert!(parse_count(text).is_err() && parse_bytes(text).is_err(), "{text}");
        }
    }
}

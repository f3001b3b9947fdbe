//! Stop strings, found wherever token borders lie.
//!
//! A stop string ends the text at the first moment at which the text ends with it, and is no part of the output (nor
//! is anything after it). Where several end at the same byte, the one that starts first counts. Both rules are about
//! the text, not about the pieces in which it arrives, so tokenisation cannot change the result. Whatever could still
//! become a stop string is held back, and nothing else.

use crate::EngineError;

/// Stop strings that one request may have.
pub const MAX_STOP_STRINGS: usize = 64;
/// Bytes that one stop string may have.
pub const MAX_STOP_BYTES: usize = 1024;

/// Watches one text for its stop strings.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text that has arrived and is not yet known to be output: always shorter than the longest stop string.
    held: String,
}

impl StopMatcher {
    /// A matcher for `stops`.
    ///
    /// # Errors
    /// [`EngineError::Parameter`] where a stop string is empty or too long, or there are too many.
    pub fn new(stops: &[String]) -> Result<Self, EngineError> {
        let error = |value: String, expected: String| EngineError::Parameter { parameter: "stop", value, expected };
        if stops.len() > MAX_STOP_STRINGS {
            return Err(error(format!("{} strings", stops.len()), format!("at most {MAX_STOP_STRINGS}")));
        }
        for stop in stops {
            if stop.is_empty() || stop.len() > MAX_STOP_BYTES {
                return Err(error(format!("a string of {} bytes", stop.len()), format!("1 to {MAX_STOP_BYTES} bytes")));
            }
        }
        Ok(Self { stops: stops.to_vec(), held: String::new() })
    }

    /// Takes the next piece of text, appends to `out` what is certainly output, and tells whether a stop string was
    /// found. After that nothing more may be pushed.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stops.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let matches = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = matches.min() {
            out.push_str(self.held.get(..start).unwrap_or_default());
            self.held.clear();
            return true;
        }
        let safe = self.held.len() - self.could_grow();
        out.extend(self.held.drain(..safe));
        false
    }

    /// Ends the text: what was held back is output after all.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Bytes at the end of the held text that begin a stop string.
    fn could_grow(&self) -> usize {
        let held = self.held.as_bytes();
        let longest = |stop: &String| {
            let stop = stop.as_bytes();
            (1..stop.len().min(held.len() + 1)).rev().find(|len| stop.get(..*len).is_some_and(|p| held.ends_with(p)))
        };
        self.stops.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: the first prefix of the text that ends with a stop string, minus the longest such string.
    fn reference(text: &str, stops: &[String]) -> (String, bool) {
        for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let prefix = &text[..end];
            if let Some(longest) = stops.iter().filter(|stop| prefix.ends_with(*stop)).map(String::len).max() {
                return (text[..end - longest].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    fn run(pieces: &[String], stops: &[String]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops).unwrap();
        let mut out = String::new();
        for piece in pieces {
            if matcher.push(piece, &mut out) {
                return (out, true);
            }
        }
        matcher.finish(&mut out);
        (out, false)
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[ab가]{0,4}", 0..12),
            stops in prop::collection::vec("[ab가]{1,4}", 0..4),
        ) {
            prop_assert_eq!(run(&pieces, &stops), reference(&pieces.concat(), &stops));
        }
    }

    #[test]
    fn holds_back_only_what_could_match() {
        let mut matcher = StopMatcher::new(&["\n\n".into(), "사용자:".into()]).unwrap();
        let mut out = String::new();
        assert!(!matcher.push("네.\n", &mut out));
        assert_eq!(out, "네.");
        assert!(!matcher.push("사용", &mut out));
        assert_eq!(out, "네.\n");
        assert!(!matcher.push("법", &mut out));
        assert_eq!(out, "네.\n사용법");
        assert!(!matcher.push("\n사용자", &mut out));
        assert!(matcher.push(": 또", &mut out));
        assert_eq!(out, "네.\n사용법\n");
    }

    #[test]
    fn bad_stop_strings_are_refused() {
        assert!(StopMatcher::new(&[String::new()]).is_err());
        assert!(StopMatcher::new(&["x".repeat(2_000)]).is_err());
        assert!(StopMatcher::new(&vec!["x".to_owned(); 65]).is_err());
    }
}

//! Texts of strangers on their way into a row.

use crate::StoreError;
use crate::error::Result;

/// Longest text of a log row, in bytes; a name that is longer tells nothing more.
const LONGEST: usize = 256;

/// A text that both databases store and a terminal shows as one line: without control characters (Postgres refuses
/// NUL, and a line feed would forge a line of a log) and of bounded length.
pub(crate) fn line(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len().min(LONGEST));
    for letter in text.chars() {
        let letter = if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        if cleaned.len() + letter.len_utf8() > LONGEST {
            break;
        }
        cleaned.push(letter);
    }
    cleaned
}

/// A name that people give something: a line with at least one character.
pub(crate) fn name(text: &str) -> Result<String> {
    let name = line(text.trim());
    if name.is_empty() {
        return Err(StoreError::Invalid { field: "name", expected: "at least one character" });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn control_characters_are_replaced_and_long_texts_cut_between_letters() {
        assert_eq!(line("a\0b\nc\u{1b}[31m"), "a\u{fffd}b\u{fffd}c\u{fffd}[31m");
        let long = line(&"샘".repeat(1000));
        assert_eq!(long.len(), 255);
        assert!(long.chars().all(|letter| letter == '샘'));
    }
}
